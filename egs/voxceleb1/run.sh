#!/usr/bin/env bash
# VoxCeleb1: interviews of 1251 people, for speaker identification and verification.
#
#   ./run.sh --corpus FOLDER                  all stages
#   ./run.sh --stage 6 --task sid --upstream mfcc,logmel
#
# --corpus FOLDER       where dev/wav, test/wav and the lists are unpacked (stage 0); the data are had on request
# --dev-speakers N      people of the development set whose trials choose the verifier; 0: train on all, as SUPERB does
# --partial BOOL        true: go on with an incomplete corpus, and say what is missing
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --upstream SPEC       what is evaluated: mfcc, logmel, a checkpoint, random:CHECKPOINT, or a folder in transformers' format;
#                       several by commas, each SPEC or NAME=SPEC, paths as from this folder
# --task TASK           by what: names by commas, or all that the corpus can run
# --superb-compatible B true: take on the reference's habits that change numbers, each of which is named
# --sweep B             true: choose each task's learning rate on dev
# --conf FILE           the features of stage 3 beside MFCC: conf/logmel.yaml
# --seed N              seed of everything that is drawn
# --set KEY=VALUE       override a value of a task's configuration; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0
processes=1
corpus= partial=false
dev_speakers=40
upstream=mfcc task=all
superb_compatible=false sweep=false
conf=conf/logmel.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

# What utils/evaluate.sh reads.
export upstream task superb_compatible sweep seed nj processes

plan
check_disk 200000 .

if stage 0 "download: here, take the folder that --corpus names" "1 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders with speakers, and trials, checked" "30 min, not measured"; then
  partially=()
  [ "$partial" = false ] || partially=(--partial)
  python local/prepare.py --dev-speakers "$dev_speakers" "${partially[@]}" downloads/corpus data
  speechrep check --nj "$nj" data/*/
fi

if stage 3 "dump: log-mel and MFCC features" "1 h, not measured"; then
  for features in "$conf" conf/mfcc.yaml; do
    kind=$(basename "$features" .yaml)
    for train in train asv_train; do
      speechrep dump --conf "$features" --nj "$nj" --cmvn "data/$train" "dump/$kind/$train"
    done
    for part in dev test asv_dev asv_test; do
      [ ! -d "data/$part" ] || speechrep dump --conf "$features" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 6 "downstream: the tasks, on frozen features" "minutes to days, by size"; then
  "$root/utils/evaluate.sh" train "${set_args[@]}"
fi

if stage 7 "decode and score" "minutes to hours"; then
  "$root/utils/evaluate.sh" score
fi

if stage 8 "report: the table" "1 min"; then
  "$root/utils/evaluate.sh" report
fi
