# Source this in a recipe's run.sh, once $stage and $stop_stage are set. It gives
#
#   plan                              what will run: the stages of this script from $stage to $stop_stage; stops here for a
#                                     value of an option that one of them would refuse (see check_options.sh)
#   if stage N TITLE [ESTIMATE]       true when stage N is to run; prints a heading
#                                     (where $upstream says what is compared, nothing is pretrained: not the stages 4 and 5)
#   check_disk MB [FOLDER]            stops here when less than that is free
#   "${skip_args[@]}"                 for `speechrep check`: --skip-bad where $skip_bad is true
#
# and tells, when the script ends, how long it took or at which stage to go on. A script that is stopped takes with it what
# still runs.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/stop.sh"
. "$(dirname "${BASH_SOURCE[0]}")/check_options.sh"
_stage_now="" _stage_title="" _stage_began=0
skip_args=()
[ "${skip_bad:-false}" = false ] || skip_args=(--skip-bad)

_clock() {
  if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

_stage_close() {
  [ -z "$_stage_now" ] || echo "-- stage $_stage_now took $(_clock $((SECONDS - _stage_began)))"
  _stage_now=""
}

_wanted() {
  [ "$1" -ge "$stage" ] && [ "$1" -le "$stop_stage" ] || return 1
  [ -z "${upstream:-}" ] || [[ $1 != [45] ]]
}

stage() {
  _wanted "$1" || { _stage_close; return 1; }
  _stage_close
  _stage_now=$1 _stage_title=$2 _stage_began=$SECONDS
  echo "== stage $1: $2${3:+ (about $3)}, $(_clock $SECONDS) since the start"
}

# The list is read from the script itself, so that it cannot differ from what runs.
plan() {
  check_options
  echo "Stages of ${0##*/}, with what each takes:"
  local number title estimate
  while IFS='|' read -r number title estimate; do
    _wanted "$number" || estimate="(not now)"
    printf '  %2d  %-58s %s\n' "$number" "$title" "$estimate"
  done < <(sed -nE 's/^ *if stage +([0-9]+) +"([^"]*)"( +"([^"]*)")?.*/\1|\2|\4/p' "${_script:-$0}")
}

check_disk() {
  local folder=${2:-.} free
  free=$(df -Pm "$folder" | awk 'NR == 2 {print $4}')
  if [ "$free" -lt "$1" ]; then
    echo "${0##*/}: $free MB free in $folder; wanted: $1 MB; free some space or link that folder to another disk" >&2
    exit 1
  fi
  echo "Disk: about $1 MB will be used in $folder, $free MB are free."
}

_stage_end() {
  local status=$? children=""
  # A script that was asked to end while a command ran: bash ends it at once, and leaves the command to itself.
  read -r children 2>/dev/null <"/proc/$$/task/$$/children" || true
  if [ -n "$children" ]; then
    # shellcheck disable=SC2086
    stop_with_children $children
    echo "!! stopped${_stage_now:+ in stage $_stage_now ($_stage_title)} after $(_clock $SECONDS)." \
      "Go on with: ${_script:-$0}${_stage_now:+ --stage $_stage_now}" >&2
  elif [ "$status" -ne 0 ] && [ -n "$_stage_now" ]; then
    echo "!! stage $_stage_now ($_stage_title) failed after $(_clock $((SECONDS - _stage_began)))." \
      "Mend what it says above and go on with: ${_script:-$0} --stage $_stage_now" >&2
  elif [ "$status" -eq 0 ]; then
    _stage_close
    echo "Done in $(_clock $SECONDS)."
  fi
}
trap _stage_end EXIT
