#!/usr/bin/env bash
# What a trained CTAP says, converts and recognises on the test part, scored beside natural speech and plain features.
# Run it in a recipe's folder, behind its stages 1 to 6.
#
#   utils/score_ctap.sh EXP SEED VOCODER NEURAL COUNT PAIR_COUNT
#
# EXP is what pretraining left, such as exp/ctap/quick-0. VOCODER makes the speech of CTAP; natural speech goes through
# griffin-lim and through NEURAL, a trained vocoder's best.pt. COUNT utterances of the test part are spoken and judged, and
# PAIR_COUNT for each pair of speakers.
set -euo pipefail
exp=$1 seed=$2 vocoder=$3 neural=$4 count=$5 pair_count=$6
name=$(basename "$(dirname "$exp")")-$(basename "$exp")
best=$exp/best.pt
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

readarray -t scores < <(find exp -name score.json | sort)
speechrep score table --out exp/RESULTS.md "${scores[@]}"
