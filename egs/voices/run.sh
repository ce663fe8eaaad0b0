#!/usr/bin/env bash
# voices: the speech of asterisk and tuxpaint together, twelve languages, from the packages to text-to-speech, voice
# conversion and recognition with CTAP, their scores and a page to listen to.
#
#   ./run.sh                        everything, at the quick size
#   ./run.sh --stop-stage 3         data, alignment and features only
#   ./run.sh --stage 5              from pretraining on
#
# --asterisk FOLDER     the packages of egs/asterisk, already unpacked (default: its stage 0 fetches them)
# --tuxpaint FOLDER     the stamps of egs/tuxpaint, already unpacked (default: its stage 0 fetches them)
# --nj N                jobs at a time
# --stage N             begin with this stage
# --stop-stage N        end with this one
# --method METHOD       the representation: ctap
# --conf FILE           its configuration: conf/quick.yaml
# --vocoder VOCODER     what speech is made with: griffin-lim, or neural, the one that stage 5 trains
# --seed N              seed of everything that is drawn
# --set KEY=VALUE       override a value of --conf; may be repeated
set -euo pipefail
stage=0 stop_stage=100 nj=$(nproc) seed=0
asterisk= tuxpaint=
method=ctap
conf=conf/quick.yaml
vocoder=griffin-lim
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$asterisk" ] || asterisk=$(cd "$asterisk" && pwd)
[ -z "$tuxpaint" ] || tuxpaint=$(cd "$tuxpaint" && pwd)
cd "$(dirname "$0")"
. ./path.sh
. ./cmd.sh
. "$root/utils/stage.sh"

size=$(basename "$conf" .yaml)
exp=exp/$method/$size-$seed
best=$exp/best.pt
neural=exp/vocoder/$seed/best.pt
[ "$vocoder" != neural ] || vocoder=$neural

plan
check_disk 1500 .

if stage 0 "download: each corpus by its own recipe, prepared there" "4 min"; then
  local/download.sh ${asterisk:+asterisk="$asterisk"} ${tuxpaint:+tuxpaint="$tuxpaint"}
fi

if stage 1 "prepare: data folders, checked, and phones" "5 min, 20 on a busy machine"; then
  python local/prepare.py ../asterisk ../tuxpaint data
  speechrep check data/train data/dev data/test
  # One of the Spanish voices is Mexican; where the other is from is not known.
  speechrep phonemize --g2p es=espeak:es-419 data/train data/dev data/test
fi

if stage 2 "align: when each phone is said" "not yet measured"; then
  speechrep align --exp exp/align --nj "$nj" data/train data/dev data/test
fi

if stage 3 "dump: log-mel and MFCC features" "not yet measured"; then
  for kind in logmel mfcc; do
    speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for part in dev test; do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 5 "pretrain: the joint space, the durations, the vocoder" "not yet measured"; then
  parts=(--train data/train --dev data/dev --dump dump/logmel --seed "$seed")
  speechrep pretrain --conf "$conf" "${parts[@]}" --exp "$exp" "${set_args[@]}"
  speechrep pretrain --conf conf/duration.yaml "${parts[@]}" --exp "exp/duration/diffusion-$seed"
  speechrep pretrain --conf conf/duration.yaml "${parts[@]}" --exp "exp/duration/regression-$seed" \
    --set model.kind=regression
  speechrep pretrain --conf conf/vocoder.yaml "${parts[@]}" --exp "exp/vocoder/$seed"
fi

if stage 6 "downstream: recognition of phones by CTC, frozen and fine-tuned" "not yet measured"; then
  parts=(--train data/train --dev data/dev --dump dump --seed "$seed")
  speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_frozen"
  speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_finetuned" \
    --set model.finetune=true
  speechrep train --conf conf/asr.yaml --upstream mfcc "${parts[@]}" --exp "exp/mfcc/asr_frozen-$seed"
fi

if stage 7 "decode and score" "not yet measured"; then
  "$root/utils/score_ctap.sh" "$exp" "$seed" "$vocoder" "$neural" 40 3
fi

if stage 8 "report: tables, plots and audio" "not yet measured"; then
  cat ../{asterisk,tuxpaint}/downloads/attribution/ATTRIBUTION.txt >exp/ATTRIBUTION.txt
  speechrep report --exp exp --data data --dump dump --ctap "$best" --out exp/report \
    --credits exp/ATTRIBUTION.txt
  cat exp/RESULTS.md
  echo "Listen and look: $PWD/exp/report/index.html"
fi
