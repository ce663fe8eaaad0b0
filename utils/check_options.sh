# Source this, as stage.sh does, for
#
#   check_options     stops here for a value of an option that recipes share which a later stage would refuse, hours on
#
# It looks at those that are set among $nj, $processes, $device, $vocoder, $vocoder_conf, $tag, $method, $iteration, $task, $upstream and
# $conf, and where something is to be learned behind other stages, at the configurations with "${set_args[@]}".

_wrong() { # FOUND WANTED
  echo "${0##*/}: $1; wanted: $2" >&2
  exit 2
}

# The configuration of a method: the recipe's own, or mini's; nothing for what is no method.
_conf_of() { # METHOD
  local name=$1 folder
  [[ $name != hubert[2-9] ]] || name=hubert
  for folder in conf ../mini/conf; do
    if grep -qs '^method:' "$folder/$name.yaml"; then
      echo "$folder/$name.yaml"
      return
    fi
  done
}

check_options() {
  local name found
  local confs=()
  for name in nj processes; do
    [ "${!name:-1}" -ge 1 ] || _wrong "--$name ${!name}" "1 or more"
  done
  [[ ${device:-auto} =~ ^(auto|cpu|cuda(:[0-9]+)?)$ ]] || _wrong "--device $device" "auto, cpu, cuda, cuda:1 ..."
  [[ ${vocoder:-neural} =~ ^(griffin-lim|neural)$ ]] || _wrong "--vocoder $vocoder" "griffin-lim or neural"
  [[ ${tag:-} =~ ^[A-Za-z0-9_.-]*$ ]] || _wrong "--tag $tag" "letters, digits and _ . - alone, since folders are named by it"
  if [ "${iteration:-1}" != 1 ] && { [[ $iteration != [2-9] || -n ${upstream:-} ]] || [[ ,$method, != *,hubert,* && $method != all ]]; }; then
    _wrong "--iteration $iteration" "1 to 9, above 1 with hubert among the methods and without --upstream"
  fi
  # A recipe that only scores upstreams has none of the usual ones.
  for name in vocoder_conf conf; do
    [[ ${!name:-} =~ ^(conf/(vocoder|quick)\.yaml)?$ || -f ${!name} ]] || _wrong "--${name/_/-} ${!name}" "a file, as seen from $PWD"
  done
  [ -z "${conf:-}" ] || ! grep -qsE '^(method|task):' "$conf" || confs=("$conf")
  if [ "${method:-}" = ctap ] && [ -z "${upstream:-}" ] && ! grep -qs '^method: ctap$' "$conf"; then
    _wrong "--conf $conf" "the configuration of ctap, with a line 'method: ctap'"
  fi
  if [ -n "${method:-}" ] && [[ $method != ctap && $method != all ]]; then
    confs=()
    for name in ${method//,/ }; do
      [ "$name" != ctap ] || { confs+=("${conf:-conf/quick.yaml}"); continue; }
      found=$(_conf_of "$name")
      [ -n "$found" ] || _wrong "--method $name" "ctap, all, or a method with its conf/$name.yaml here or in egs/mini"
      confs+=("$found")
    done
  fi
  if [ "$stage" -lt 6 ] && [ "$stop_stage" -ge 6 ] && { [ "${task:-all}" != all ] || [[ ${upstream:-mfcc} != mfcc ]]; }; then
    speechrep suite tasks --names --conf conf --conf ../mini/conf --task "${task:-all}" --upstream "${upstream:-}" \
      --seed "${seed:-0}" >/dev/null || exit
  fi
  # Where the first thing is to learn, that tells by itself.
  if [ "$stage" -lt 5 ] && [ "$stop_stage" -ge 5 ] && [ -z "${upstream:-}" ]; then
    [ ${#confs[@]} -eq 0 ] || speechrep config --conf "${confs[@]}" "${set_args[@]}" >/dev/null || exit
  fi
}
