# Source this to run commands side by side. $nj says how many at a time; each gets its share of the cores as threads.
#
#   job_threads                              how many threads that is
#   side_by_side                             how many trainings may run at a time: $nj, of $processes each, but no more than
#                                            the cores have room for, and one where there is a GPU, which one of them fills
#   background NAME COMMAND [ARGUMENT ...]   runs COMMAND, a function too, as soon as fewer than $nj run; what it says goes
#                                            to exp/log/NAME.log
#   all_done                                 waits for all, and tells every $tell_sec seconds (60) how far they are
#
# When one fails, no more are begun, the end of its log is shown, and the script stops. A script that is stopped takes
# with it what still runs.

_job_names=() _job_pids=()

job_threads() {
  local share=$(($(nproc) / nj))
  echo $((share > 1 ? share : 1))
}

side_by_side() {
  local most=$(($(nproc) / ${processes:-1}))
  if nvidia-smi -L 2>/dev/null | grep -q GPU; then most=1; fi
  [ "$most" -le "$nj" ] || most=$nj
  echo $((most > 1 ? most : 1))
}

_stop() { # PID ...
  local pid
  for pid; do
    # shellcheck disable=SC2046
    _stop $(ps -o pid= --ppid "$pid")
    kill -TERM "$pid" 2>/dev/null || true
  done
}
# shellcheck disable=SC2046
trap '_stop $(jobs -rp)' EXIT

# Until fewer than $1 jobs run.
_fewer() {
  local i running told=$SECONDS
  while running=" $(jobs -rp | tr '\n' ' ')" && [ "$(wc -w <<<"$running")" -ge "$1" ]; do
    if [ $((SECONDS - told)) -ge "${tell_sec:-60}" ]; then
      told=$SECONDS
      for i in "${!_job_pids[@]}"; do
        [[ $running != *" ${_job_pids[$i]} "* ]] || printf '  %s: %s\n' "${_job_names[$i]}" "$(_last_line "${_job_names[$i]}")"
      done
    fi
    sleep 0.2
  done
}

# A progress bar in a log is one line of many carriage returns.
_last_line() {
  { tail -c 2000 "exp/log/$1.log" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-120; } 2>/dev/null || true
}

background() {
  local log=exp/log/$1.log pid running
  _fewer "$nj"
  running=" $(jobs -rp | tr '\n' ' ')"
  for pid in "${_job_pids[@]}"; do
    [[ $running = *" $pid "* ]] || wait "$pid" || all_done
  done
  mkdir -p exp/log
  (
    set -euo pipefail
    began=$SECONDS
    OMP_NUM_THREADS=$(job_threads)
    export OMP_NUM_THREADS
    "${@:2}" >"$log" 2>&1
    echo "$1: done in $((SECONDS - began)) s"
  ) &
  _job_names+=("$1") _job_pids+=($!)
}

all_done() {
  local i failed=0
  _fewer 1
  for i in "${!_job_pids[@]}"; do
    if ! wait "${_job_pids[$i]}"; then
      failed=1
      printf '%s failed; the end of exp/log/%s.log:\n' "${_job_names[$i]}" "${_job_names[$i]}" >&2
      tail -n 20 "exp/log/${_job_names[$i]}.log" >&2
    fi
  done
  _job_names=() _job_pids=()
  [ "$failed" = 0 ] || exit 1
}
