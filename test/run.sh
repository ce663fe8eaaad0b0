#!/usr/bin/env bash
# test/run.sh [pytest options]
#
# Sets up what the tests need, then runs the fast ones on two processes (under 15 min on 2 cores).
#   test/run.sh -m slow        the slow ones: whole recipes, training to convergence
#   test/run.sh -k launch      one subject
#   test/run.sh test/data      one room
set -euo pipefail
case "${1:-}" in -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/tools/setup.sh" --test
. "$root/.venv/bin/activate"
export OMP_NUM_THREADS=1 LC_ALL=C.UTF-8
cd "$root"
exec python -m pytest -q -n 2 --dist worksteal --durations=10 -m "not slow" "$@"
