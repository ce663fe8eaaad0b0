#!/usr/bin/env bash
# TIMIT: read sentences with the times of their phones set by hand, from the corpus to text-to-speech, voice conversion
# and recognition with CTAP, or other representations compared; on true phone times.
#
#   ./run.sh --corpus FOLDER                  all stages
#   ./run.sh --stage 5                        from pretraining on
#
# --corpus FOLDER       where the corpus is unpacked, with TRAIN/ and TEST/ (stage 0); it is had from the LDC
# --phones N            61, 48 or 39: as labelled, or folded as Lee and Hon do
# --keep-silences BOOL  true: silences are phones too, as error rates in the literature count them
# --times KIND          hand: those of the corpus; aligned: stage 2 finds them itself
# --partial BOOL        true: go on with an incomplete corpus, and say what is missing
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
corpus= partial=false
phones=48 keep_silences=false times=hand
method=ctap upstream= task=all
superb_compatible=false sweep=false skip_bad=false
conf=conf/quick.yaml tag=
vocoder=griffin-lim vocoder_conf=conf/vocoder.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
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

plan
[ "$partial" = true ] || check_disk 3000 .

# The data folders beside data/train.
others() {
  find data -mindepth 2 -maxdepth 2 -name wav.scp -printf '%h\n' | grep -v '^data/train$' | sort
}

if stage 0 "download: here, take the folder that --corpus names" "1 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders with text, phones and their times, checked"; then
  settings=(--phones "$phones")
  [ "$partial" = false ] || settings+=(--partial)
  [ "$keep_silences" = false ] || settings+=(--keep-silences)
  python local/prepare.py "${settings[@]}" downloads/corpus data
  speechrep check "${skip_args[@]}" --rate 16000 --nj "$nj" data/train $(others)
fi

if stage 2 "align: when each phone is said, set by hand or found"; then
  case $times in
    hand) for folder in data/train $(others); do cp "$folder/ali.true" "$folder/ali"; done ;;
    aligned) speechrep align --exp exp/align --nj "$nj" --textgrids data/train $(others) ;;
    *) echo "run.sh: --times $times; wanted: hand or aligned" >&2; exit 2 ;;
  esac
fi

if stage 3 "dump: log-mel and MFCC features"; then
  for kind in logmel mfcc; do
    speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for folder in $(others); do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" "$folder" "dump/$kind/${folder#data/}"
    done
  done
fi

if stage 4 "units: clusters of MFCC, for the methods that guess them" "1 min; CTAP none"; then
  "$methods" units
fi

if stage 5 "pretrain: the joint space, the durations, the vocoder" "9 min at the quick size; other methods 5 min each"; then
  "$methods" pretrain "${set_args[@]}"
fi

if stage 6 "downstream: recognition of phones, and other tasks on frozen features"; then
  "$evaluate" train
fi

if stage 7 "decode and score" "4 to 8 min"; then
  "$evaluate" score
fi

if stage 8 "report: tables, plots and audio" "1 min"; then
  "$evaluate" report
fi
