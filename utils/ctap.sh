#!/usr/bin/env bash
# CTAP and what belongs to it: the stages 4 to 8 of run.sh, for --method ctap. Run in a recipe's folder by its run.sh.
#
#   utils/ctap.sh STAGE [MORE ...]
#
# STAGE is units, pretrain (MORE: --set KEY=VALUE), train, score or report (MORE: its options). run.sh exports conf, seed,
# nj, processes, labelled_min; vocoder, which makes the speech of CTAP: griffin-lim or neural; count, how many utterances of
# the test part are spoken and judged, and pair_count, how many for each pair of speakers.
set -euo pipefail
stage=$1
shift
size=$(basename "$conf" .yaml)
[ "$labelled_min" = 0 ] || size=$size-${labelled_min}min
exp=exp/ctap/$size-$seed
name=ctap-$size-$seed
best=$exp/best.pt
neural=exp/vocoder/$seed/best.pt
[ "$vocoder" != neural ] || vocoder=$neural

case $stage in
  units)
    echo "CTAP needs none."
    ;;
  pretrain)
    parts=(--train data/train --dev data/dev --dump dump/logmel --seed "$seed" --processes "$processes")
    labelled=()
    if [ "$labelled_min" != 0 ]; then
      speechrep subset --minutes "$labelled_min" --out "exp/$size.labelled" data/train
      labelled=(--labelled "exp/$size.labelled")
    fi
    speechrep pretrain --conf "$conf" "${parts[@]}" --exp "$exp" "${labelled[@]}" "$@"
    speechrep pretrain --conf conf/duration.yaml "${parts[@]}" --exp "exp/duration/diffusion-$seed"
    speechrep pretrain --conf conf/duration.yaml "${parts[@]}" --exp "exp/duration/regression-$seed" \
      --set model.kind=regression
    speechrep pretrain --conf conf/vocoder.yaml "${parts[@]}" --exp "exp/vocoder/$seed"
    ;;
  train)
    parts=(--train data/train --dev data/dev --dump dump --seed "$seed" --processes "$processes")
    speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_frozen"
    speechrep train --conf conf/asr.yaml --upstream "$best" "${parts[@]}" --exp "$exp/asr_finetuned" \
      --init "$exp/asr_frozen/best.pt" --set model.finetune=true --set train.lr=5e-4 --set train.steps=300
    speechrep train --conf conf/asr.yaml --upstream mfcc "${parts[@]}" --exp "exp/mfcc/asr_frozen-$seed"
    ;;
  score)
    data=(--data data/test --dump dump)
    # Half of some test parts are words of under a second, of which an error rate says little.
    speech=("${data[@]}" --min-sec 1.5)
    voices=(--prompts data/train --vocoder "$vocoder")

    # Speech: the ceilings once, then each system.
    speechrep decode natural "${speech[@]}" --count "$count" --out exp/natural/test
    speechrep decode vocoded "${speech[@]}" --count "$count" --vocoder "$neural" --out "exp/vocoded/neural-$seed/test"
    speechrep decode vocoded "${speech[@]}" --count "$count" --out exp/vocoded/griffin-lim/test
    speechrep decode tts "${speech[@]}" "${voices[@]}" --count "$count" --checkpoint "$best" --seed "$seed" \
      --duration "exp/duration/diffusion-$seed/best.pt" --out "$exp/tts/test"
    speechrep decode tts "${speech[@]}" "${voices[@]}" --count "$count" --checkpoint "$best" --seed "$seed" \
      --duration "exp/duration/regression-$seed/best.pt" --out "$exp/tts_regression/test"
    # Conversion needs two speakers.
    [ "$(wc -l <data/test/spk2utt)" -lt 2 ] ||
      speechrep decode vc "${speech[@]}" "${voices[@]}" --count "$pair_count" --checkpoint "$best" --out "$exp/vc/test"

    score() {
      [ ! -d "$3/data" ] || [ -f "$3/score/score.json" ] ||
        speechrep score synthesis --reference data/test --enroll data/train --seed "$seed" --task "$1" --system "$2" --cache exp/judges \
          --out "$3/score" "$3/data"
    }
    score speech natural exp/natural/test
    score speech "natural, neural vocoder" "exp/vocoded/neural-$seed/test"
    score speech "natural, Griffin-Lim" exp/vocoded/griffin-lim/test
    score speech "$name tts" "$exp/tts/test"
    score speech "$name tts, regressed durations" "$exp/tts_regression/test"
    score speech "$name vc" "$exp/vc/test"

    # Recognition of phones.
    speechrep decode prototype "${data[@]}" --prompts data/train --dev data/dev --checkpoint "$best" --out "$exp/prototype/test"
    speechrep decode asr "${data[@]}" --checkpoint "$exp/asr_frozen/best.pt" --out "$exp/asr_frozen/test"
    speechrep decode asr "${data[@]}" --checkpoint "$exp/asr_finetuned/best.pt" --out "$exp/asr_finetuned/test"
    speechrep decode asr "${data[@]}" --checkpoint "exp/mfcc/asr_frozen-$seed/best.pt" --out "exp/mfcc/asr_frozen-$seed/test"
    for folder in "$exp/prototype" "$exp/asr_frozen" "$exp/asr_finetuned" "exp/mfcc/asr_frozen-$seed"; do
      speechrep score recognition --part test --seed "$seed" --system "${folder#exp/}" --out "$folder/test" "$folder/test"
    done

    # What the joint space holds, beside the features it is made of and an untrained network.
    for system in "$name=$best" "random=random:$best" logmel=logmel mfcc=mfcc; do
      speechrep score representation --upstream "${system#*=}" --system "${system%%=*}" --seed "$seed" --train data/train \
        --test data/test --dump dump --out "exp/representation/${system%%=*}-$seed"
    done

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
