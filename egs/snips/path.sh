# Source this in the recipe's folder: sets up the toolkit (nothing to do when it is) and puts `speechrep` on the PATH.

root=$(cd ../.. && pwd)
"$root/tools/setup.sh" || exit 1
export PATH=$root/.venv/bin:$PATH
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
