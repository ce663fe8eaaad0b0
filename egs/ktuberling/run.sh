#!/usr/bin/env bash
# KTuberling: words in ten languages, one voice each.
#
#   ./run.sh                                        everything, on MFCC
#   ./run.sh --upstream SPEC --stage 6      another upstream, on what is prepared
#
# --corpus FOLDER       the package, already unpacked (default: stage 0 fetches it)
# --upstream SPEC       what is evaluated: mfcc, logmel, a checkpoint, random:CHECKPOINT, or a folder in transformers' format;
#                       several by commas, each SPEC or NAME=SPEC, paths as from this folder
# --task TASK           by what: names by commas, or all that the corpus can run
# --superb-compatible B true: take on the reference's habits that change numbers, each of which is named
# --sweep B             true: choose each task's learning rate on dev
# --lexicon FILE        own pronunciations, `word phone phone ...` or `es:word ...` a line, which go before any phonemiser's
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --conf FILE           the features of stage 3 beside MFCC: conf/logmel.yaml
# --seed N              seed of everything that is drawn; several by commas: one after another, into one table
# --set KEY=VALUE       override a value of the tasks' configurations; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0 device=auto processes=1
corpus= lexicon=
upstream=mfcc task=all
superb_compatible=false sweep=false skip_bad=false
conf=conf/logmel.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
[ -z "$lexicon" ] || lexicon=$(realpath "$lexicon")
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

# What utils/evaluate.sh reads.
export upstream task superb_compatible sweep seed nj device processes

plan
check_disk 300 .

if stage 0 "download: the package, unpacked here, with its attribution" "20 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders, checked, and phones" "3 min"; then
  python local/prepare.py downloads/corpus data
  speechrep check "${skip_args[@]}" data/train data/dev data/test
  speechrep phonemize ${lexicon:+--lexicon "$lexicon"} data/train data/dev data/test
fi

if stage 3 "dump: log-mel and MFCC features" "10 s an hour of speech"; then
  for features in "$conf" conf/mfcc.yaml; do
    kind=$(basename "$features" .yaml)
    speechrep dump --conf "$features" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for part in dev test; do
      speechrep dump --conf "$features" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 6 "downstream: training on frozen features" "not yet measured"; then
  "$root/utils/evaluate.sh" train "${set_args[@]}"
fi

if stage 7 "decode and score" "not yet measured"; then
  "$root/utils/evaluate.sh" score
fi

if stage 8 "report: the table" "10 s"; then
  "$root/utils/evaluate.sh" report
fi
