#!/usr/bin/env bash
# tuxpaint: spoken descriptions of pictures in eleven languages, from the published package to text-to-speech, voice
# conversion and recognition with CTAP, their scores and a page to listen to.
#
#   ./run.sh                        everything, at the quick size
#   ./run.sh --stop-stage 3         data, alignment and features only
#   ./run.sh --stage 5              from pretraining on
#
# --corpus FOLDER       the stamps, already unpacked (default: stage 0 fetches them)
# --lexicon FILE        own pronunciations, `word phone phone ...` or `es:word ...` a line, which go before any phonemiser's
# --nj N                jobs at a time
# --processes N         processes that share a training; by default one, with a thread on each core
# --device D            cpu, cuda, cuda:1 ... for what learns and what hears; auto (default): a GPU where there is one
# --skip-bad B          true: go on without utterances that are bad, which skipped.tsv of their data folder lists
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --method METHOD       the representation: ctap; or methods of speech alone (hubert,cpc ... or all), compared with each other
# --iteration N         iterations of hubert, each behind the first on units of the one before: 1
# --upstream SPEC       stages 6 to 8 are for these instead, and 4 and 5 are left out: mfcc, logmel, a checkpoint,
#                       random:CHECKPOINT, or a folder in transformers' format; several by commas, each SPEC or
#                       NAME=SPEC, paths as from this folder
# --task TASK           what --upstream, and methods of speech alone, are compared by: asr,sid,abx ...; all: what the corpus has
# --superb-compatible B true: take on the reference's habits that change numbers, each of which is named
# --sweep B             true: choose each task's learning rate on dev
# --conf FILE           its configuration: conf/quick.yaml
# --vocoder VOCODER     what speech is made with: griffin-lim, or neural, the one that stage 5 trains
# --vocoder-conf FILE   the configuration of that one: conf/vocoder.yaml
# --labelled-min N      learn from the phones of only so many minutes of one voice (minimal supervision), in rows of its own
# --seed N              seed of everything that is drawn; several by commas: one after another, into one table
# --set KEY=VALUE       override a value of --conf; may be repeated
# --tag NAME            keep this training beside the others, such as one with another --set: exp/METHOD/SIZE-NAME-SEED
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0
device=auto processes=1 labelled_min=0 iteration=1
corpus= lexicon=
method=ctap upstream= task=all
superb_compatible=false sweep=false skip_bad=false
conf=conf/quick.yaml tag=
vocoder=griffin-lim vocoder_conf=conf/vocoder.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
[ -z "$lexicon" ] || lexicon=$(realpath "$lexicon")
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

# What the scripts of the stages 4 to 8 read.
export method iteration upstream task superb_compatible sweep conf tag seed nj device processes vocoder vocoder_conf labelled_min count=30 pair_count=1
methods=$root/utils/ctap.sh
[ "$method" = ctap ] || methods=$root/utils/compare_methods.sh
evaluate=$methods
[ -z "$upstream" ] || evaluate=$root/utils/evaluate.sh

# The model of speech and pictures is trained beside CTAP, or as one of the methods that are compared.
pictured=
case $upstream,$method, in
  ,ctap,) pictured=exp/resdavenet_vq/small ;;
  ,all, | ,resdavenet_vq,* | ,*,resdavenet_vq,*) pictured=exp/resdavenet_vq/small${tag:+-$tag} ;;
esac
IFS=, read -ra seeds <<<"$seed"

plan
check_disk 1500 .

if stage 0 "download: the package, unpacked here, with its attribution" "20 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders, checked, and phones" "40 s"; then
  python local/prepare.py downloads/corpus data
  speechrep check "${skip_args[@]}" data/train data/dev data/test
  speechrep phonemize ${lexicon:+--lexicon "$lexicon"} data/train data/dev data/test
fi

if stage 2 "align: when each phone is said" "2 min"; then
  speechrep align --exp exp/align --nj "$nj" --textgrids data/train data/dev data/test
fi

if stage 3 "dump: log-mel and MFCC features" "15 s"; then
  for kind in logmel mfcc; do
    speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for part in dev test; do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 4 "units: clusters of MFCC, for the methods that guess them" "1 min; CTAP none"; then
  "$methods" units
fi

if stage 5 "pretrain: the joint space, the durations, the vocoder" "20 min; other methods 5 each, with pictures 11"; then
  "$methods" pretrain "${set_args[@]}"
  if [ "$method" = ctap ]; then
    for own in "${seeds[@]}"; do
      speechrep pretrain --conf conf/resdavenet_vq.yaml --train data/train --dev data/dev --dump dump/logmel --seed "$own" \
        --device "$device" --processes "$processes" --exp "$pictured-$own"
    done
  fi
fi

if stage 6 "downstream: recognition of phones, and other tasks on frozen features" "4 min"; then
  "$evaluate" train
fi

if stage 7 "decode and score" "4 to 8 min"; then
  "$evaluate" score
  if [ -n "$pictured" ]; then
    for own in "${seeds[@]}"; do
      speechrep score pictures --checkpoint "$pictured-$own/best.pt" --test data/test --dump dump --system resdavenet_vq \
        --seed "$own" --device "$device" --out "$pictured-$own/pictures"
    done
  fi
fi

if stage 8 "report: tables, plots and audio" "1 min"; then
  "$evaluate" report --credits downloads/attribution/ATTRIBUTION.txt
fi
