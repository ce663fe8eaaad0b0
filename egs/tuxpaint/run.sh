#!/usr/bin/env bash
# tuxpaint: spoken descriptions of pictures in eleven languages, from the published package to text-to-speech, voice
# conversion and recognition with CTAP, their scores and a page to listen to.
#
#   ./run.sh                        everything, at the quick size
#   ./run.sh --stop-stage 3         data, alignment and features only
#   ./run.sh --stage 5              from pretraining on
#
# --corpus FOLDER       the stamps, already unpacked (default: stage 0 fetches them)
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
corpus=
method=ctap
conf=conf/quick.yaml
vocoder=griffin-lim
. "$(dirname "$0")/../../utils/parse_options.sh"
[ -z "$corpus" ] || corpus=$(cd "$corpus" && pwd)
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

if stage 0 "download: the package, unpacked here, with its attribution" "20 s"; then
  local/download.sh ${corpus:+--corpus "$corpus"} downloads
fi

if stage 1 "prepare: data folders, checked, and phones" "5 min, 20 on a busy machine"; then
  python local/prepare.py downloads/corpus data
  speechrep check data/train data/dev data/test
  speechrep phonemize data/train data/dev data/test
fi

if stage 2 "align: when each phone is said" "20 min on a busy machine"; then
  speechrep align --exp exp/align --nj "$nj" data/train data/dev data/test
fi

if stage 3 "dump: log-mel and MFCC features" "4 min on a busy machine"; then
  for kind in logmel mfcc; do
    speechrep dump --conf "conf/$kind.yaml" --nj "$nj" --cmvn data/train "dump/$kind/train"
    for part in dev test; do
      speechrep dump --conf "conf/$kind.yaml" --nj "$nj" "data/$part" "dump/$kind/$part"
    done
  done
fi

if stage 5 "pretrain: the joint spaces, the durations, the vocoder" "not yet measured"; then
  parts=(--train data/train --dev data/dev --dump dump/logmel --seed "$seed")
  speechrep pretrain --conf "$conf" "${parts[@]}" --exp "$exp" "${set_args[@]}"
  speechrep pretrain --conf conf/resdavenet_vq.yaml "${parts[@]}" --exp "exp/resdavenet_vq/$seed"
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
  speechrep score pictures --checkpoint "exp/resdavenet_vq/$seed/best.pt" --test data/test --dump dump \
    --system resdavenet_vq --seed "$seed" --out "exp/resdavenet_vq/$seed/pictures"
  "$root/utils/score_ctap.sh" "$exp" "$seed" "$vocoder" "$neural" 40 3
fi

if stage 8 "report: tables, plots and audio" "not yet measured"; then
  speechrep report --exp exp --data data --dump dump --ctap "$best" --out exp/report \
    --credits downloads/attribution/ATTRIBUTION.txt
  cat exp/RESULTS.md
  echo "Listen and look: $PWD/exp/report/index.html"
fi
