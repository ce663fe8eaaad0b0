# Source this to run commands side by side. $nj says how many at a time; each gets its share of the cores as threads.
#
#   job_threads                              how many threads that is
#   side_by_side                             how many trainings may run at a time: $nj, of $processes each, but no more than
#                                            the cores have room for, and one where there is a GPU, which one of them fills
#                                            (unless $device is cpu)
#   background NAME COMMAND [ARGUMENT ...]   runs COMMAND, a function too, as soon as fewer than $nj run; what it says goes
#                                            to exp/log/NAME.log
#   all_done                                 waits for all, and tells every $tell_sec seconds (60) how far they are; where
#                                            $planned says how many there will be, how far all of them are too
#
# When one fails, no more are begun, unless keep_going=true; the end of its log is shown, and the script stops. A script that is stopped takes
# with it what still runs.

declare -A _running=()
_failed=()
_ended_count=0 _worked_count=0 _worked_sec=0
# Each job says here how it ended: `wait -n` now and then overlooks one that ended while another command ran (bash 5.2).
_ends_folder=$(mktemp -d)
mkfifo "$_ends_folder/ends"
exec {_ends}<>"$_ends_folder/ends"
rm -r "$_ends_folder"

job_threads() {
  local share=$(($(nproc) / nj))
  echo $((share > 1 ? share : 1))
}

side_by_side() {
  local most=$(($(nproc) / ${processes:-1}))
  if [ "${device:-auto}" != cpu ] && nvidia-smi -L 2>/dev/null | grep -q GPU; then most=1; fi
  [ "$most" -le "$nj" ] || most=$nj
  echo $((most > 1 ? most : 1))
}

. "$(dirname "${BASH_SOURCE[0]}")/stop.sh"
# shellcheck disable=SC2046
trap 'stop_with_children $(jobs -rp)' EXIT

# Until one job ends, or it is time to tell how far they are.
_wait() {
  local ended="" status=0 took=0 name pid gone=()
  if read -r -t "${tell_sec:-60}" -u "$_ends" ended status took; then
    _ended "$ended" "$status" "$took"
    return
  fi
  for name in "${_running[@]}"; do printf '  %s: %s\n' "$name" "$(_last_line "$name")"; done | sort
  [ "${planned:-1}" -eq 1 ] || _tell_all
  for pid in "${!_running[@]}"; do
    kill -0 "$pid" 2>/dev/null || gone+=("$pid")
  done
  [ "${#gone[@]}" -gt 0 ] || return 0
  # Who ended by itself since has said how; who was killed itself, not what it runs, could say nothing.
  while read -r -t 0.1 -u "$_ends" ended status took; do _ended "$ended" "$status" "$took"; done
  for pid in "${gone[@]}"; do _ended "$pid" 1 0; done
}

# Those that run are half done on average.
_tell_all() {
  local to_go="" minutes
  if [ "$_worked_count" -gt 0 ]; then
    minutes=$(((2 * (planned - _ended_count) - ${#_running[@]}) * _worked_sec / (_worked_count * nj * 120) + 1))
    to_go=", about "
    [ "$minutes" -lt 60 ] || to_go+="$((minutes / 60)) h "
    to_go+="$((minutes % 60)) min to go"
  fi
  echo "  $_ended_count of $planned done$to_go"
}

_ended() { # PID STATUS SECONDS
  [ -n "${_running[$1]:-}" ] || return 0
  _ended_count=$((_ended_count + 1))
  # What took less had been done before, and says nothing of what is to come.
  if [ "$3" -ge 10 ]; then _worked_count=$((_worked_count + 1)) _worked_sec=$((_worked_sec + $3)); fi
  wait "$1" || true
  [ "$2" = 0 ] || _failed+=("${_running[$1]}")
  unset "_running[$1]"
}

# A progress bar in a log is one line of many carriage returns.
_last_line() {
  { tail -c 2000 "exp/log/$1.log" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-120; } 2>/dev/null || true
}

background() {
  local log=exp/log/$1.log
  while [ "${#_running[@]}" -ge "$nj" ]; do _wait; done
  [ "${#_failed[@]}" -eq 0 ] || [ "${keep_going:-false}" = true ] || all_done
  mkdir -p exp/log
  (
    set -euo pipefail
    began=$SECONDS
    trap 'echo "$BASHPID $? $((SECONDS - began))" >&"$_ends"' EXIT
    OMP_NUM_THREADS=$(job_threads)
    export OMP_NUM_THREADS
    "${@:2}" >"$log" 2>&1
    echo "$1: done in $((SECONDS - began)) s"
  ) &
  _running[$!]=$1
}

all_done() {
  local name
  while [ "${#_running[@]}" -gt 0 ]; do _wait; done
  for name in "${_failed[@]}"; do
    printf '%s failed; the end of exp/log/%s.log:\n' "$name" "$name" >&2
    tail -n 20 "exp/log/$name.log" >&2
  done
  [ "${#_failed[@]}" -eq 0 ] || exit 1
}
