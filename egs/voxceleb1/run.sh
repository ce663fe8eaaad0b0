#!/usr/bin/env bash
# VoxCeleb1: interviews of 1251 people, for speaker identification and verification.
#
#   ./run.sh --corpus FOLDER                  all stages, for identification
#   ./run.sh --stage 3 --protocol verification --upstream mfcc,logmel
#
# --corpus FOLDER       where dev/wav, test/wav and the lists are unpacked (stage 0); the data are had on request
# --dev-speakers N      people of the development set whose trials choose the verifier; 0: train on all, as SUPERB does, which
#                       then needs --superb-compatible true: the test trials choose
# --protocol NAME       identification or verification: which parts the stages from 3 on are for
# --partial BOOL        true: go on with an incomplete corpus, and say what is missing
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --upstream SPEC       what is evaluated: mfcc, logmel, a checkpoint, random:CHECKPOINT, or a folder in transformers' format;
#                       several by commas, each SPEC or NAME=SPEC, paths as from this folder
# --task TASK           by what: names by commas, or all that the corpus can run; sid, or for verification asv, where not given
# --superb-compatible B true: take on the reference's habits that change numbers, each of which is named; verification is then
#                       of speech with its silences cut out, and trained on what is longer than 2 s (stage 1)
# --sweep B             true: choose each task's learning rate on dev
# --conf FILE           the features of stage 3 beside MFCC: conf/logmel.yaml
# --seed N              seed of everything that is drawn; several by commas: one after another, into one table
# --set KEY=VALUE       override a value of a task's configuration; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0
device=auto processes=1
corpus= partial=false
dev_speakers=40
protocol=identification
upstream=mfcc task=
superb_compatible=false sweep=false skip_bad=false
conf=conf/logmel.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

case $protocol in
  identification) task=${task:-sid} ;;
  verification) task=${task:-asv} ;;
  *) echo "run.sh: --protocol $protocol; wanted: identification or verification" >&2; exit 2 ;;
esac
data=$protocol
[ "$protocol-$superb_compatible" != verification-true ] || data=verification_trimmed
[ "$data" = "$protocol" ] || command -v sox >/dev/null ||
  { echo "run.sh: no program 'sox', which stage 1 needs (Debian: apt-get install sox)" >&2; exit 1; }
folders=(--data "data/$data" --exp "exp/$data")

# What utils/evaluate.sh reads.
export upstream task superb_compatible sweep seed nj device processes

plan
[ "$partial" = true ] || check_disk 70000 .

if stage 0 "download: here, take the folder that --corpus names" "1 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders with speakers, and trials, checked"; then
  partially=()
  [ "$partial" = false ] || partially=(--partial)
  python local/prepare.py --dev-speakers "$dev_speakers" "${partially[@]}" downloads/corpus data
  speechrep check "${skip_args[@]}" --rate 16000 --nj "$nj" data/{identification,verification}/*/
  if [ "$data" = verification_trimmed ]; then
    for part in train dev test; do
      above_sec=2
      # All trials are scored, however little remains.
      [ "$part" != test ] || above_sec=0
      [ ! -d "data/verification/$part" ] ||
        speechrep trim --nj "$nj" --above-sec "$above_sec" "data/verification/$part" "data/$data/$part"
    done
  fi
fi

if stage 3 "dump: log-mel and MFCC features"; then
  for features in "$conf" conf/mfcc.yaml; do
    kind=$(basename "$features" .yaml)
    speechrep dump --conf "$features" --nj "$nj" --cmvn "data/$data/train" "dump/$data/$kind/train"
    for part in dev test; do
      [ ! -d "data/$data/$part" ] ||
        speechrep dump --conf "$features" --nj "$nj" "data/$data/$part" "dump/$data/$kind/$part"
    done
  done
fi

if stage 6 "downstream: the tasks, on frozen features"; then
  "$root/utils/evaluate.sh" train "${folders[@]}" --dump "dump/$data" "${set_args[@]}"
fi

if stage 7 "decode and score"; then
  "$root/utils/evaluate.sh" score "${folders[@]}" --dump "dump/$data"
fi

if stage 8 "report: the table" "1 min"; then
  cat "exp/$data/METHODS.md"
  speechrep suite report "${folders[@]}"
fi
