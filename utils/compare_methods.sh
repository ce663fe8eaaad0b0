#!/usr/bin/env bash
# Methods that learn from speech alone, on the same speech and by the same tasks. Run it in a recipe's folder, behind
# its stages 1 to 3; the stages 4 to 8 of run.sh call it for every --method but ctap.
#
#   utils/compare_methods.sh STAGE [MORE ...]
#
# STAGE is units, pretrain (MORE: --set KEY=VALUE), train, score or report; the last three are utils/evaluate.sh on
# these methods, plain features and the network of each method untrained, which is what it has to beat.
# run.sh exports method, task, seed (or several by commas), nj, device (auto), processes, tag, which names trainings apart
# from others, and iteration: 3 adds HuBERT's second and third to its first.
# $method names methods, separated by commas, or `all`; each is configured by
# conf/METHOD.yaml, or where the recipe has none by mini's. hubert2 is HuBERT's second iteration, on units of the first,
# hubert3 its third and so on; ctap, which learns from phones too, is the run of --method ctap at the quick size. All hear
# the same hours of speech, save that tuxpaint's resdavenet_vq hears more. Methods are trained side by side, as many as
# the cores have room for, one that builds on another's units behind that; what each says goes to
# exp/log/pretrain-METHOD-SEED.log.
set -euo pipefail
. "$(dirname "$0")/jobs.sh"
stage=$1 names=$method device=${device:-auto}
shift
if [ "$names" = all ]; then
  names=apc,vq_apc,mockingjay,tera,decoar2,pase,vqvae,cpc,vq_wav2vec,vq_wav2vec_kmeans,discrete_bert,wav2vec2,hubert
  names+=,hubert2,wavlm,data2vec,mt4ssl,ctap
  # Pictures are in some corpora only.
  [ ! -f conf/resdavenet_vq.yaml ] || names+=,resdavenet_vq
fi
for ((i = 2; i <= ${iteration:-1}; i++)); do
  [[ ,$names, = *,hubert$i,* ]] || names+=,hubert$i
done
IFS=, read -ra methods <<<"$names"
tagged=${tag:+-$tag}

# A recipe's own configuration, or mini's.
conf() {
  if [ -f "conf/$1.yaml" ]; then echo "conf/$1.yaml"; else echo "../mini/conf/$1.yaml"; fi
}

units() { # NAME SPEC [OPTION ...]
  speechrep units --name "$1" --upstream "$2" --train data/train --dump dump --nj "$nj" --device "$device" "${@:3}" data/dev \
    data/test
}

size() { # METHOD
  if [ "$1" = ctap ]; then echo "quick$tagged"; else echo "small$tagged"; fi
}

# The method whose units this one learns from.
before() { # METHOD
  case $1 in
    hubert2) echo hubert ;;
    hubert[3-9]) echo "hubert$((${1#hubert} - 1))" ;;
    discrete_bert) echo vq_wav2vec ;;
  esac
}

pretrain() { # METHOD CONF [OPTION ...]
  speechrep pretrain --conf "$2" --train data/train --dev data/dev --dump dump/logmel --seed "$seed" \
    --device "$device" --processes "$processes" --exp "exp/$1/$(size "$1")-$seed" "${@:3}"
}

systems() {
  local exp
  for method in "${methods[@]}"; do
    exp="exp/$method/$(size "$method")-{seed}/best.pt"
    printf '%s-%s=%s,' "$method" "$(size "$method")" "$exp"
    # Each iteration's network is the first's. A tagged training may be of another network than the one before.
    [[ $method = hubert[2-9] && ,$names, = *,hubert,* ]] ||
      printf 'random-%s%s=random:%s,' "$method" "${tag:+-$(size "$method")}" "$exp"
  done
  echo mfcc,logmel
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
    # A method, and those that learn from its units behind it.
    line() { # METHOD [OPTION ...]
      local nj=1 next
      pretrain_one "$@"
      for next in "${methods[@]}"; do
        if [ "$(before "$next")" = "$1" ]; then line "$next" "${@:2}"; fi
      done
    }
    pretrain_one() { # METHOD [OPTION ...]
      case $1 in
        hubert[2-9])
          from=$(before "$1")
          made=hubert$((${1#hubert} - 1))$tagged-$seed
          # Learnt features hold more clusters than MFCC does: HuBERT's paper too has several times as many (100, then 500).
          units "$made" "exp/$from/$(size "$from")-$seed/best.pt" --conf "$(conf units)" --set layer=-2 --set clusters=200
          pretrain "$1" "$(conf hubert)" --set "model.units=$made" --set model.unit_rate_hz=50 --set model.codes=200 "${@:2}"
          ;;
        discrete_bert)
          units "vq$tagged-$seed" "exp/vq_wav2vec/$(size vq_wav2vec)-$seed/best.pt" --set clusters=499
          pretrain discrete_bert "$(conf discrete_bert)" --set "model.units=vq$tagged-$seed" "${@:2}"
          ;;
        ctap) pretrain ctap "$(conf quick)" "${@:2}" ;;
        *) pretrain "$1" "$(conf "$1")" "${@:2}" ;;
      esac
    }
    # A task that the corpus has no labels for is told of before methods are trained for it.
    [ "${task:-all}" = all ] || "$(dirname "${BASH_SOURCE[0]}")/evaluate.sh" tasks >/dev/null
    nj=$(side_by_side)
    IFS=, read -ra seeds <<<"$seed"
    heads=()
    for method in "${methods[@]}"; do
      from=$(before "$method")
      [[ ,$names, != *,"$from",* ]] || continue
      heads+=("$method")
      for own in "${seeds[@]}"; do
        [ -z "$from" ] || [ -f "exp/$from/$(size "$from")-$own/best.pt" ] || {
          echo "compare_methods.sh: no exp/$from/$(size "$from")-$own/best.pt, from whose units $method learns; wanted: $from" \
            "among the methods (--method $from,$method), or trained before" >&2
          exit 2
        }
      done
    done
    planned=$((${#seeds[@]} * ${#heads[@]}))
    for seed in "${seeds[@]}"; do
      for method in "${heads[@]}"; do background "pretrain-$method-$seed" line "$method" "$@"; done
    done
    all_done
    ;;
  train | score | report)
    upstream=$(systems) "$(dirname "${BASH_SOURCE[0]}")/evaluate.sh" "$stage" "$@"
    ;;
  *)
    echo "compare_methods.sh: no stage '$stage'; wanted: units, pretrain, train, score or report" >&2
    exit 2
    ;;
esac
