#!/usr/bin/env bash
# IEMOCAP: acted dialogues, for SUPERB's emotion recognition (ER), five folds that leave a session out.
#
#   ./run.sh --corpus FOLDER                        everything, on MFCC
#   ./run.sh --upstream SPEC --stage 6      another upstream, on what is prepared
#
# --corpus FOLDER       the unpacked corpus; it is not fetched by a script (README.md)
# --partial BOOL        go on with an incomplete corpus: true or false
# --upstream SPECS      mfcc, logmel, a checkpoint, a folder in transformers' format; several by commas, each perhaps NAME=SPEC,
#                       in which {seed} stands for the seed
# --folds FOLDS         which sessions are held out, one after the other, by commas; their scores are joined
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --conf FILE           the task's configuration: ../mini/conf/er.yaml, or er_superb.yaml there
# --seed N              seed of everything that is drawn; several by commas: one after another, into one table
# --set KEY=VALUE       override a value of --conf; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0 device=auto processes=1
corpus= partial=false skip_bad=false
upstream=mfcc folds=1,2,3,4,5
conf=../mini/conf/er.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

plan
[ "$partial" = true ] || check_disk 1000 .

IFS=, read -ra systems <<<"$upstream"
IFS=, read -ra sessions <<<"$folds"
IFS=, read -ra seeds <<<"$seed"
name_of() { # SPEC, or NAME=SPEC
  local name=${1%%=*}
  echo "${name//\//_}"
}
each() { # COMMAND: of each system in each seed, with $name, $spec, $own and the folder of its folds, $exp
  local system name spec own exp
  for own in "${seeds[@]}"; do
    for system in "${systems[@]}"; do
      name=$(name_of "$system") spec=${system#*=}
      spec=${spec//"{seed}"/$own}
      exp=exp/tasks/$name-$own/er
      "$@"
    done
  done
}

if stage 0 "download: take the folder that --corpus names" "1 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: a data folder, checked" "not yet measured"; then
  partially=()
  [ "$partial" = false ] || partially=(--partial)
  python local/prepare.py "${partially[@]}" downloads/corpus data
  speechrep check "${skip_args[@]}" --rate 16000 data/emotion
fi

if stage 3 "dump: log-mel and MFCC features" "10 s an hour of speech"; then
  for kind in logmel mfcc; do
    speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn data/emotion "dump/$kind/emotion"
  done
fi

train() {
  local fold
  for fold in "${sessions[@]}"; do
    speechrep train --conf "$conf" --upstream "$spec" --train data/emotion --dev data/emotion --dump dump \
      --cache dump/layers --seed "$own" --device "$device" --processes "$processes" --exp "$exp/fold$fold" \
      --set model.fold="$fold" "${set_args[@]}"
  done
}

score() {
  local fold tested=()
  for fold in "${sessions[@]}"; do
    tested+=("$exp/fold$fold/test")
    speechrep decode er --data data/emotion --dump dump --checkpoint "$exp/fold$fold/best.pt" --device "$device" \
      --out "$exp/fold$fold/test"
  done
  speechrep score predictions --part emotion --system "$name" --seed "$own" --out "$exp/test" "${tested[@]}"
}

if stage 6 "downstream: a training for each fold" "not yet measured"; then
  each train
fi

if stage 7 "decode and score: the folds joined" "not yet measured"; then
  each score
fi

if stage 8 "report: the table" "1 s"; then
  readarray -t scores < <(find exp -path '*/er/test/score.json' | sort)
  speechrep score table --out exp/RESULTS.md "${scores[@]}"
  cat exp/RESULTS.md
fi
