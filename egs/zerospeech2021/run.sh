#!/usr/bin/env bash
# ZeroSpeech 2021: what a representation tells apart without training, phones (ABX) and the meanings of words (sSIMI).
#
#   ./run.sh --corpus FOLDER                        everything, on MFCC
#   ./run.sh --upstream SPEC --stage 7      another upstream, on what is prepared
#
# --corpus FOLDER       the unpacked archive; --url fetches it
# --url URL             where it is fetched from (README.md)
# --partial BOOL        go on with an incomplete corpus: true or false
# --upstream SPECS      mfcc, logmel, a checkpoint, a folder in transformers' format; several by commas, each perhaps NAME=SPEC
# --layer LAYER         which layer of it, counted from 0, and for sSIMI the mean of a word's frames; where not given, what is
#                       best on dev: the layer on phonetic_dev_clean, for sSIMI layer and pooling on semantic_dev
# --nj N                jobs at a time
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --conf FILE           the features of stage 3 besides log-mel: conf/mfcc.yaml
# --seed N              the seed that the upstream was trained with, for the table
# --set KEY=VALUE       is taken by every recipe; nothing is trained here
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0 device=auto
corpus= url= partial=false skip_bad=false
upstream=mfcc layer=
conf=conf/mfcc.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

plan
[ "$partial" = true ] || check_disk 2000 .

if stage 0 "download: the archive, or the folder that --corpus names" "as long as the archive takes"; then
  local/download.sh ${corpus:+--corpus "$corpus"} ${url:+--url "$url"} downloads
fi

if stage 1 "prepare: data folders, checked" "not yet measured"; then
  partially=()
  [ "$partial" = false ] || partially=(--partial)
  python local/prepare.py "${partially[@]}" downloads/corpus data
  speechrep check "${skip_args[@]}" --rate 16000 data/*/
fi

if stage 3 "dump: log-mel and MFCC features" "10 s an hour of speech"; then
  for features in conf/logmel.yaml "$conf"; do
    kind=$(basename "$features" .yaml)
    # There is no training part: plain features have their statistics from clean dev.
    speechrep dump --conf "$features" --nj "$nj" --cmvn data/phonetic_dev_clean "dump/$kind/phonetic_dev_clean"
    for folder in data/*/; do
      part=$(basename "$folder")
      [ "$part" = phonetic_dev_clean ] ||
        speechrep dump --conf "$features" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 6 "downstream: nothing is trained" "0 s"; then
  echo "ABX and sSIMI judge the layers as they are."
fi

if stage 7 "decode and score: ABX, and sSIMI" "not yet measured"; then
  phonetic=(--dev data/phonetic_dev_clean) semantic=(--dev data/semantic_dev)
  [ -z "$layer" ] || phonetic=(--layer "$layer") semantic=(--layer "$layer")
  IFS=, read -ra systems <<<"$upstream"
  for system in "${systems[@]}"; do
    name=${system%%=*} spec=${system#*=}
    name=${name//\//_}
    for items in data/phonetic_*/items.item; do
      part=$(basename "$(dirname "$items")")
      speechrep score abx --upstream "$spec" --train data/phonetic_dev_clean --test "data/$part" --items "$items" --dump dump \
        --cache dump/layers "${phonetic[@]}" --device "$device" --system "$name" --seed "$seed" \
        --out "exp/$name-$seed/abx_$part"
    done
    for table in data/semantic_*/gold.csv; do
      part=$(basename "$(dirname "$table")")
      speechrep score ssimi --upstream "$spec" --train data/phonetic_dev_clean --test "data/$part" --dump dump \
        --cache dump/layers "${semantic[@]}" --device "$device" --system "$name" --seed "$seed" \
        --out "exp/$name-$seed/ssimi_$part"
    done
  done
fi

if stage 8 "report: the table" "1 s"; then
  readarray -t scores < <(find exp -name score.json | sort)
  speechrep score table --out exp/RESULTS.md "${scores[@]}"
  cat exp/RESULTS.md
fi
