#!/usr/bin/env bash
# Methods that learn from speech alone, on the same speech and by the same tasks. Run it in a recipe's folder, behind its
# stages 1 to 3; the stages 4 to 8 of run.sh call it for every --method but ctap.
#
#   utils/compare_methods.sh STAGE [MORE ...]
#
# STAGE is units, pretrain (MORE: --set KEY=VALUE), train, score or report. run.sh exports method, tasks, seed, nj and processes.
# $method names methods, separated by commas, or `all`; each is configured by conf/METHOD.yaml, or where the recipe has none
# by mini's, and hubert2 is HuBERT's second iteration, on units of the first. A method that builds on another's units
# comes behind it.
set -euo pipefail
stage=$1 methods=$method
shift
[ "$methods" != all ] ||
  methods=apc,vq_apc,mockingjay,tera,decoar2,pase,vqvae,cpc,vq_wav2vec,discrete_bert,wav2vec2,hubert,hubert2,wavlm,data2vec,mt4ssl
IFS=, read -ra methods <<<"$methods"

# A recipe's own configuration, or mini's.
conf() {
  if [ -f "conf/$1.yaml" ]; then echo "conf/$1.yaml"; else echo "../mini/conf/$1.yaml"; fi
}

units() { # NAME SPEC [OPTION ...]
  speechrep units --name "$1" --upstream "$2" --train data/train --dump dump --nj "$nj" "${@:3}" data/dev data/test
}

pretrain() { # METHOD CONF [OPTION ...]
  speechrep pretrain --conf "$2" --train data/train --dev data/dev --dump dump/logmel --seed "$seed" \
    --processes "$processes" --exp "exp/$1/small-$seed" "${@:3}"
}

# The systems of the table: the methods, plain features, and an untrained network of the first method's shape.
systems() {
  printf '%s\n' "${methods[@]/%/-small}" mfcc logmel random
}
spec() { # SYSTEM
  case $1 in
    mfcc | logmel) echo "$1" ;;
    random) echo "random:exp/${methods[0]}/small-$seed/best.pt" ;;
    *) echo "exp/${1%-small}/small-$seed/best.pt" ;;
  esac
}
tasks() {
  [ "$tasks" = all ] || { echo "${tasks//,/ }"; return; }
  echo asr frame_phones
  [ "$(cut -d' ' -f2 data/train/utt2lang | sort -u | wc -l)" -lt 2 ] || echo lid
  # Speakers are told apart within a language only.
  [ -z "$(join data/train/utt2lang data/train/utt2spk | cut -d' ' -f2- | sort -u | cut -d' ' -f1 | uniq -d)" ] || echo sid
  [ ! -f data/train/intent ] || echo intent
}

case $stage in
  units)
    for method in "${methods[@]}"; do
      case $method in
        hubert | wavlm | mt4ssl) units mfcc mfcc --conf "$(conf units)" ;;
      esac
    done
    ;;
  pretrain)
    for method in "${methods[@]}"; do
      case $method in
        hubert2)
          units "hubert1-$seed" "exp/hubert/small-$seed/best.pt" --conf "$(conf units)" --set layer=-2
          pretrain hubert2 "$(conf hubert)" --set "model.units=hubert1-$seed" --set model.unit_rate_hz=50 "$@"
          ;;
        discrete_bert)
          units "vq-$seed" "exp/vq_wav2vec/small-$seed/best.pt" --set clusters=499
          pretrain discrete_bert "$(conf discrete_bert)" --set "model.units=vq-$seed" "$@"
          ;;
        *) pretrain "$method" "$(conf "$method")" "$@" ;;
      esac
    done
    ;;
  train)
    for system in $(systems); do
      for task in $(tasks); do
        speechrep train --conf "$(conf "$task")" --upstream "$(spec "$system")" --train data/train --dev data/dev --dump dump \
          --cache dump/layers --seed "$seed" --exp "exp/tasks/$system-$seed/$task"
      done
    done
    ;;
  score)
    for system in $(systems); do
      for task in $(tasks); do
        out=exp/tasks/$system-$seed/$task
        kind=predictions
        [ "$task" != asr ] || kind=recognition
        speechrep decode "$task" --data data/test --dump dump --checkpoint "$out/best.pt" --out "$out/test"
        speechrep score "$kind" --part test --system "$system" --seed "$seed" --out "$out/test" "$out/test"
      done
      speechrep score abx --upstream "$(spec "$system")" --train data/train --test data/test --dev data/dev --dump dump \
        --cache dump/layers --system "$system" --seed "$seed" --out "exp/tasks/$system-$seed/abx"
    done
    readarray -t scores < <(find exp/tasks -name score.json | sort)
    speechrep score table --out exp/METHODS.md "${scores[@]}"
    ;;
  report)
    cat exp/METHODS.md
    ;;
  *)
    echo "compare_methods.sh: no stage '$stage'; wanted: units, pretrain, train, score or report" >&2
    exit 2
    ;;
esac
