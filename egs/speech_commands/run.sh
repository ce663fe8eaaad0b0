#!/usr/bin/env bash
# Speech Commands: one-second words, for keyword spotting with SUPERB's twelve classes, or all words.
#
#   ./run.sh                                  fetches version 1, which SUPERB uses
#   ./run.sh --version 2 --corpus FOLDER      or takes what is unpacked there
#
# --corpus FOLDER       where speech_commands_v0.0N/ and speech_commands_test_set_v0.0N/ are unpacked (stage 0)
# --version N           1 (64,721 words) or 2 (105,829)
# --classes KIND        superb: ten words, _unknown_ and _silence_; words: every word is a class
# --partial BOOL        true: go on with an incomplete corpus, and say what is missing
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --upstream SPEC       what is evaluated: mfcc, logmel, a checkpoint, random:CHECKPOINT, or a folder in transformers' format;
#                       several by commas, each SPEC or NAME=SPEC, paths as from this folder
# --task TASK           by what: names by commas, or all that the corpus can run
# --superb-compatible B true: take on the reference's habits that change numbers, each of which is named
# --sweep B             true: choose each task's learning rate on dev
# --conf FILE           the features of stage 3 beside MFCC: conf/logmel.yaml
# --seed N              seed of everything that is drawn; several by commas: one after another, into one table
# --set KEY=VALUE       override a value of a task's configuration; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0
device=auto processes=1
corpus= partial=false
version=1 classes=superb
upstream=mfcc task=all
superb_compatible=false sweep=false skip_bad=false
conf=conf/logmel.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

# What utils/evaluate.sh reads.
export upstream task superb_compatible sweep seed nj device processes

plan
[ "$partial" = true ] || check_disk 6000 .

if stage 0 "download: the corpus and its test set" "1.5 GB"; then
  local/download.sh --version "$version" ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders with a class each, checked"; then
  partially=()
  [ "$partial" = false ] || partially=(--partial)
  python local/prepare.py --version "$version" --classes "$classes" "${partially[@]}" downloads/corpus data
  speechrep check "${skip_args[@]}" --rate 16000 --nj "$nj" data/*/
fi

if stage 3 "dump: log-mel and MFCC features"; then
  for features in "$conf" conf/mfcc.yaml; do
    kind=$(basename "$features" .yaml)
    speechrep dump --conf "$features" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for part in dev test test_list; do
      [ -d "data/$part" ] || continue
      speechrep dump --conf "$features" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 6 "downstream: the tasks, on frozen features"; then
  "$root/utils/evaluate.sh" train "${set_args[@]}"
fi

if stage 7 "decode and score"; then
  "$root/utils/evaluate.sh" score
fi

if stage 8 "report: the table" "1 min"; then
  "$root/utils/evaluate.sh" report
fi
