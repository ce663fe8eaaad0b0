# Source this after giving each option of the script its default as a variable:
#
#   stage=0; nj=2; conf=conf/ctap.yaml
#   . ../../utils/parse_options.sh
#
# `--stop-stage 3` and `--stop-stage=3` set $stop_stage, for variables that have a default only. A number stays a number
# (or several by commas, where the comment at the top says so) and true/false stays that. `--set key=value` may be
# repeated: "${set_args[@]}" then holds `--set key=value ...`, ready for a speechrep verb. `--help` prints the comment at
# the top of the script. What is not an option stays in "$@".

set_args=()
# The script changes its folder later, and $0 may be relative.
_script=$(cd "$(dirname "$0")" && pwd)/${0##*/}

_usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$_script"; }

# The documented option nearest to $1, by Levenshtein's distance.
_nearest_option() {
  _usage | grep -oE -- '--[a-z][a-z0-9-]*' | sort -u | awk -v given="$1" '
    function distance(a, b,   i, j, cost, d) {
      for (i = 0; i <= length(a); i++) d[i, 0] = i
      for (j = 0; j <= length(b); j++) d[0, j] = j
      for (i = 1; i <= length(a); i++) for (j = 1; j <= length(b); j++) {
        cost = d[i - 1, j - 1] + (substr(a, i, 1) != substr(b, j, 1))
        if (d[i - 1, j] + 1 < cost) cost = d[i - 1, j] + 1
        if (d[i, j - 1] + 1 < cost) cost = d[i, j - 1] + 1
        d[i, j] = cost
      }
      return d[length(a), length(b)]
    }
    { far = distance(given, $0); if (!best || far < least) { best = $0; least = far } }
    END { print best }'
}

_refuse() { echo "${0##*/}: $1" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) _usage; exit 0 ;;
    --) shift; break ;;
    --*) ;;
    *) break ;;
  esac
  _option=${1%%=*}
  if [[ $1 == *=* ]]; then _value=${1#*=}; shift
  elif [ $# -ge 2 ]; then _value=$2; shift 2
  else _refuse "$_option needs a value (--help tells more)"; fi

  if [ "$_option" = --set ]; then
    [[ $_value =~ ^[A-Za-z_][A-Za-z0-9_.]*= ]] || _refuse "--set $_value; wanted: --set key=value"
    set_args+=(--set "$_value")
    continue
  fi
  _name=${_option#--}; _name=${_name//-/_}
  if ! [[ $_name =~ ^[a-z][a-z0-9_]*$ ]] || [ -z "${!_name+set}" ]; then
    _near=$(_nearest_option "$_option")
    _refuse "no option $_option${_near:+; did you mean $_near?} (--help tells more)"
  fi
  if [[ ${!_name} =~ ^(true|false)$ && ! $_value =~ ^(true|false)$ ]]; then
    _refuse "$_option $_value; wanted: true or false"
  elif [[ $_value =~ ^[0-9]+(,[0-9]+)+$ ]] && grep -q "^--$_name .*by commas" <<<"$(_usage)"; then :
  elif [[ ${!_name} =~ ^[0-9]+$ && ! $_value =~ ^[0-9]+$ ]]; then
    _refuse "$_option $_value; wanted: a whole number"
  fi
  printf -v "$_name" %s "$_value"
done
unset _option _value _name _near
