# Source this to run commands side by side. $nj says how many at a time; each gets its share of the cores as threads.
#
#   job_threads                              how many threads that is
#   background NAME COMMAND [ARGUMENT ...]   runs COMMAND, a function too, as soon as fewer than $nj run; what it says goes
#                                            to exp/log/NAME.log
#   all_done                                 waits for all
#
# When one fails, no more are begun, the end of its log is shown, and the script stops. A script that is stopped takes
# with it what still runs.

_job_names=() _job_pids=()

job_threads() {
  local share=$(($(nproc) / nj))
  echo $((share > 1 ? share : 1))
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

background() {
  local log=exp/log/$1.log pid running
  while [ "$(jobs -rp | wc -l)" -ge "$nj" ]; do wait -n || true; done
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
