# Source this for
#
#   stop_with_children PID ...    asks processes and all that they began to end

stop_with_children() {
  local pid children
  for pid; do
    # First who waits: its next command must not begin when the child that it waits for is gone.
    children=$(ps -o pid= --ppid "$pid" || true)
    kill -TERM "$pid" 2>/dev/null || true
    # shellcheck disable=SC2086
    stop_with_children $children
  done
}
