#!/usr/bin/env bash
# NAME: a folder of <speaker>/<utt>.wav with <utt>.txt beside it, from the corpus to features.
#
#   ./run.sh --corpus FOLDER                  all stages
#   ./run.sh --stage 2 --stop-stage 3         some of them
#
# --corpus FOLDER       where the recordings are (stage 0)
# --lang CODE           their language: en es fr it ru zh ... (ISO 639-1)
# --nj N                jobs at a time
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --conf FILE           the features
# --set KEY=VALUE       override a value of --conf; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc)
corpus=
lang=en
conf=conf/logmel.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

plan
check_disk 500 .

if stage 0 "download: here, take the folder that --corpus names" "1 s"; then
  if [ -n "$corpus" ]; then
    mkdir -p downloads
    ln -sfn "$corpus" downloads/corpus
  fi
  [ -d downloads/corpus ] || { echo "run.sh: no corpus yet; name its folder: --corpus FOLDER" >&2; exit 1; }
fi

if stage 1 "prepare: data folders with text, checked, and phones" "1 min an hour of speech"; then
  python local/prepare.py --lang "$lang" downloads/corpus data
  speechrep check data/train data/dev data/test
  speechrep phonemize data/train data/dev data/test
fi

if stage 2 "align: when each phone is said" "2 min an hour of speech"; then
  speechrep align --exp exp/align --nj "$nj" data/train data/dev data/test
fi

if stage 3 "dump: features" "10 s an hour of speech"; then
  for part in train dev test; do
    speechrep dump --conf "$conf" "${set_args[@]}" --nj "$nj" "data/$part" "dump/logmel/$part"
  done
fi
