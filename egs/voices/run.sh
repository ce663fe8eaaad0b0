#!/usr/bin/env bash
# voices: the speech of asterisk and tuxpaint together, with further voices from klettres and ktuberling, twelve languages,
# from the packages to text-to-speech, voice conversion and recognition with CTAP, their scores and a page to listen to.
#
#   ./run.sh                        everything, at the quick size
#   ./run.sh --stop-stage 3         data, alignment and features only
#   ./run.sh --stage 5              from pretraining on
#
# --asterisk FOLDER     the packages of egs/asterisk, already unpacked (default: its stage 0 fetches them)
# --tuxpaint FOLDER     the stamps of egs/tuxpaint, already unpacked (default: its stage 0 fetches them)
# --klettres FOLDER     the package of egs/klettres, already unpacked (default: its stage 0 fetches it)
# --ktuberling FOLDER   the package of egs/ktuberling, already unpacked (default: its stage 0 fetches it)
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
asterisk= tuxpaint= klettres= ktuberling= lexicon=
method=ctap upstream= task=all
superb_compatible=false sweep=false skip_bad=false
conf=conf/quick.yaml tag=
vocoder=griffin-lim vocoder_conf=conf/vocoder.yaml
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$asterisk" ] || asterisk=$(cd "$asterisk" && pwd)
[ -z "$tuxpaint" ] || tuxpaint=$(cd "$tuxpaint" && pwd)
[ -z "$klettres" ] || klettres=$(cd "$klettres" && pwd)
[ -z "$ktuberling" ] || ktuberling=$(cd "$ktuberling" && pwd)
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

plan
# All methods leave 7 GB: two thirds of it is what their tasks have learned.
if [ "$method" = all ]; then check_disk 7000 .; else check_disk 1500 .; fi

if stage 0 "download: each corpus by its own recipe, prepared there" "4 to 10 min"; then
  skip_bad=$skip_bad local/download.sh ${asterisk:+asterisk="$asterisk"} ${tuxpaint:+tuxpaint="$tuxpaint"} \
    ${klettres:+klettres="$klettres"} ${ktuberling:+ktuberling="$ktuberling"}
fi

if stage 1 "prepare: data folders, checked, and phones" "2 min"; then
  python local/prepare.py ../asterisk ../tuxpaint data --more ../klettres ../ktuberling
  speechrep check "${skip_args[@]}" data/train data/dev data/test
  # One of the Spanish voices is Mexican; where the others are from is not known.
  speechrep phonemize ${lexicon:+--lexicon "$lexicon"} --g2p es=espeak:es-419 data/train data/dev data/test
  # Slots, and voices with another pitch and tempo, for the tasks that want them.
  python local/derive.py --nj "$nj" data
fi

if stage 2 "align: when each phone is said; queries, words and mixtures are cut by it" "2 min"; then
  speechrep align --exp exp/align --nj "$nj" --textgrids data/train data/dev data/test
  for part in train dev test; do
    # Some corpora are 19 dB louder than others.
    speechrep mix --level -26 "data/$part" "data/mix_$part"
  done
  for part in dev test; do
    speechrep queries "data/$part" "data/queries_$part"
  done
  speechrep keywords data/train data/dev data/test
  python local/semantic.py data
fi

if stage 3 "dump: log-mel and MFCC features" "2 min"; then
  # Emotions are not made without pyworld, nor pairs of words of a small corpus.
  emotion=() semantic=()
  [ ! -d data/emotion ] || emotion=(emotion)
  [ ! -d data/semantic_test ] || semantic=(semantic_dev semantic_test)
  for kind in logmel mfcc; do
    for part in train mix_train keyword_train "${emotion[@]}"; do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn "data/$part" "dump/$kind/$part"
    done
    for part in dev test mix_dev mix_test keyword_dev keyword_test queries_dev queries_test "${semantic[@]}"; do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 4 "units: clusters of MFCC, for the methods that guess them" "1 min; CTAP none"; then
  "$methods" units
fi

if stage 5 "pretrain: the joint space, the durations, the vocoder" "9 min; other methods 5 min each"; then
  "$methods" pretrain "${set_args[@]}"
fi

if stage 6 "downstream: recognition of phones, and other tasks on frozen features" "7 min"; then
  "$evaluate" train
fi

if stage 7 "decode and score" "4 to 8 min"; then
  "$evaluate" score
fi

if stage 8 "report: tables, plots and audio" "1 min"; then
  cat ../{asterisk,tuxpaint,klettres,ktuberling}/downloads/attribution/ATTRIBUTION.txt >exp/ATTRIBUTION.txt
  "$evaluate" report --credits exp/ATTRIBUTION.txt
fi
