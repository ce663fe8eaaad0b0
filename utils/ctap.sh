#!/usr/bin/env bash
# CTAP and what belongs to it: the stages 4 to 8 of run.sh, for --method ctap. Run in a recipe's folder by its run.sh.
#
#   utils/ctap.sh STAGE [MORE ...]
#
# STAGE is units, pretrain (MORE: --set KEY=VALUE), train, score or report (MORE: its options). run.sh exports conf, seed
# (or several by commas), nj, processes, labelled_min; tag, which names a training apart from others of its size; vocoder,
# which makes the speech of CTAP: griffin-lim or neural, and vocoder_conf, of which the latter is (conf/vocoder.yaml); count, how many utterances of the test part are spoken and judged;
# pair_count, how many for each pair of speakers; device, what learns and decodes on (auto).
set -euo pipefail
. "$(dirname "$0")/jobs.sh"
stage=$1 device=${device:-auto}
shift
if [[ $seed = *,* ]]; then
  # One after another into the same table; the page is of the first.
  IFS=, read -ra seeds <<<"$seed"
  if [ "$stage" = report ]; then seeds=("${seeds[0]}"); fi
  for seed in "${seeds[@]}"; do "$0" "$stage" "$@"; done
  exit
fi
size=$(basename "$conf" .yaml)
# An untrained network of this shape is a row too.
random=random-$size
# The phones of a minimally supervised run are those of a little speech, whatever learns from phones: durations and heads too.
labelled=() notes=() own=$seed
if [ "$labelled_min" != 0 ]; then
  size=$size-${labelled_min}min
  own=$size-$seed
  labelled=(--labelled "exp/$size.labelled")
  notes=(
    --note "learnt from the phones of $labelled_min min of one voice; the aligner that set their times has heard all texts"
    --note "dev, whose phones are all known, chose the weights"
  )
fi
run=$size${tag:+-$tag}-$seed
exp=exp/ctap/$run
name=ctap-$run
best=$exp/best.pt
# Another vocoder than the usual one stands beside it.
vocoder_conf=${vocoder_conf:-conf/vocoder.yaml}
kind=$(basename "$vocoder_conf" .yaml)
if [ "$kind" = vocoder ]; then kind=neural own_vocoder=$seed; else own_vocoder=$kind-$seed; fi
neural=exp/vocoder/$own_vocoder/best.pt
[ "$vocoder" != neural ] || vocoder=$neural

case $stage in
  units)
    echo "CTAP needs none."
    ;;
  pretrain)
    parts=(--train data/train --dev data/dev --dump dump/logmel --seed "$seed" --device "$device" --processes "$processes")
    [ "$labelled_min" = 0 ] || speechrep subset --minutes "$labelled_min" --out "exp/$size.labelled" data/train
    # Steps as small as those of the quick size leave a second thread half idle: models that do not need each other are
    # trained side by side.
    others() {
      speechrep pretrain --conf conf/duration.yaml "${parts[@]}" "${labelled[@]}" --exp "exp/duration/diffusion-$own"
      speechrep pretrain --conf conf/duration.yaml "${parts[@]}" "${labelled[@]}" --exp "exp/duration/regression-$own" \
        --set model.kind=regression
      speechrep pretrain --conf "$vocoder_conf" "${parts[@]}" --exp "exp/vocoder/$own_vocoder"
    }
    nj=2
    background "others-$seed" others
    OMP_NUM_THREADS=$(job_threads) speechrep pretrain --conf "$conf" "${parts[@]}" --exp "$exp" "${labelled[@]}" "$@"
    all_done
    ;;
  train)
    parts=(--train data/train --dev data/dev --dump dump --seed "$seed" --device "$device" --processes "$processes"
      "${labelled[@]}")
    nj=2
    background "mfcc-asr-$own" speechrep train --conf conf/asr.yaml --upstream mfcc "${parts[@]}" \
      --exp "exp/mfcc/asr_frozen-$own"
    OMP_NUM_THREADS=$(job_threads) speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_frozen"
    speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_finetuned" \
      --init "$exp/asr_frozen/best.pt" --set model.finetune=true --set train.lr=5e-4 --set train.steps=300
    all_done
    ;;
  score)
    data=(--data data/test --dump dump)
    # Half of some test parts are words of under a second, of which an error rate says little.
    speech=("${data[@]}" --min-sec 1.5)
    voices=(--prompts data/train --vocoder "$vocoder")

    # Each system speaks and is judged in a job of its own.
    speak() { # SYSTEM FOLDER KIND [OPTION ...]
      [[ $2 = "$exp"/* ]] || notes=()
      speechrep decode "${@:3}" "${speech[@]}" --device "$device" --out "$2"
      # A judge that was not there before may be now.
      [ ! -d "$2/data" ] ||
        speechrep score synthesis --keep --reference data/test --enroll data/train --seed "$seed" --task speech --system "$1" \
          --cache exp/judges --threads "$(job_threads)" "${notes[@]}" --out "$2/score" "$2/data"
    }
    recognise() { # FOLDER KIND [OPTION ...]
      [[ $1 = "$exp"/* ]] || notes=()
      speechrep decode "${@:2}" "${data[@]}" --device "$device" --out "$1/test"
      speechrep score recognition --part test --seed "$seed" --system "${1#exp/}" "${notes[@]}" --out "$1/test" \
        "$1/test"
    }
    represent() { # SYSTEM UPSTREAM
      speechrep score representation --upstream "$2" --system "$1" --seed "$seed" --train data/train --test data/test \
        --dump dump --device "$device" --out "exp/representation/$1-$seed"
    }
    tts=(tts "${voices[@]}" "${labelled[@]}" --count "$count" --checkpoint "$best" --seed "$seed")

    # Natural speech is judged first, and with it the voices of the speakers, which the others are compared to.
    background natural speak natural exp/natural/test natural --count "$count"
    background prototype recognise "$exp/prototype" prototype --prompts data/train "${labelled[@]}" --dev data/dev \
      --checkpoint "$best"
    # What the joint space holds, beside the features it is made of and an untrained network.
    for system in "$name=$best" "$random=random:$best" logmel=logmel mfcc=mfcc; do
      background "representation-${system%%=*}" represent "${system%%=*}" "${system#*=}"
    done
    background tts speak "$name tts" "$exp/tts/test" "${tts[@]}" --duration "exp/duration/diffusion-$own/best.pt"
    background tts_regression speak "$name tts, regressed durations" "$exp/tts_regression/test" "${tts[@]}" \
      --duration "exp/duration/regression-$own/best.pt"
    # Conversion needs two speakers. It says other utterances than text-to-speech, whose ceilings are their own.
    if [ "$(wc -l <data/test/spk2utt)" -ge 2 ]; then
      background vc speak "$name vc" "$exp/vc/test" vc "${voices[@]}" --count "$pair_count" --checkpoint "$best"
      sources=(--sources --count "$pair_count")
      background sources speak "natural, sources of vc" exp/sources/natural/test natural "${sources[@]}"
      background sources-griffin-lim speak "natural, sources of vc, Griffin-Lim" exp/sources/griffin-lim/test vocoded "${sources[@]}"
    fi
    background vocoded-neural speak "natural, ${kind/neural/neural vocoder}" "exp/vocoded/$kind-$seed/test" vocoded --count "$count" \
      --vocoder "$neural"
    background vocoded-griffin-lim speak "natural, Griffin-Lim" exp/vocoded/griffin-lim/test vocoded --count "$count"
    for folder in "$exp/asr_frozen" "$exp/asr_finetuned" "exp/mfcc/asr_frozen-$own"; do
      background "${folder##*/}" recognise "$folder" asr --checkpoint "$folder/best.pt"
    done
    all_done

    readarray -t scores < <(find exp -name score.json -not -path 'exp/tasks/*' -not -path 'exp/units/*' | sort)
    speechrep score table --out exp/RESULTS.md "${scores[@]}"
    ;;
  report)
    speechrep report --exp exp --data data --dump dump --ctap "$best" --out exp/report "$@"
    cat exp/RESULTS.md
    echo "Listen and look: $PWD/exp/report/index.html"
    ;;
  *)
    echo "ctap.sh: no stage '$stage'; wanted: units, pretrain, train, score or report" >&2
    exit 2
    ;;
esac
