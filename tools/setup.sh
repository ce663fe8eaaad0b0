#!/usr/bin/env bash
# tools/setup.sh [--test]
#
# Makes .venv in the checkout with pinned versions of everything a recipe needs; with --test also what the tests need.
# Installs Debian packages where apt-get and root are there, otherwise names them in one line. Run it as often as you
# like: it does nothing when all is in place, and goes on where it was stopped.
# PYTHON=python3.12 tools/setup.sh chooses the interpreter (3.11 or 3.12).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=recipe
case "${1:-}" in
  "") ;;
  --test) kind=test ;;
  -h|--help) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "setup: unknown option $1; wanted: --test or nothing" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }

# The stamp holds for these files, this folder (a virtual environment cannot be moved) and the interpreter inside.
key() {
  { pwd; cat setup.py pyproject.toml tools/constraints.txt tools/no-deps.txt tools/debian-packages.txt tools/setup.sh
    grep -i '^version' .venv/pyvenv.cfg; } 2>/dev/null | sha256sum | cut -c1-32
}
in_place() {
  [ -x .venv/bin/python ] && { [ "$(cat .venv/setup.test 2>/dev/null)" = "$(key)" ] ||
    [ "$(cat ".venv/setup.$kind" 2>/dev/null)" = "$(key)" ]; }
}
in_place && exit 0

if command -v flock >/dev/null; then
  exec 9>.setup-lock
  flock -n 9 || { say "another set-up is running here; waiting for it"; flock 9; }
  in_place && exit 0
fi

# Debian packages

wanted=()
while read -r group package program _; do
  [ "$group" != test ] || [ "$kind" = test ] || continue
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || wanted+=("$package")
done < <(grep -v '^#' tools/debian-packages.txt)
can_install() { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; }
apt_install() {
  say "Debian packages: $* (about 1 min)"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
    </dev/null >.setup-apt.log 2>&1
}
if [ ${#wanted[@]} -gt 0 ]; then
  if ! can_install || ! apt_install "${wanted[@]}"; then
    say "not there, and what needs them is left out: apt-get install ${wanted[*]}"
  fi
fi

# Python

works() { "$1" -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 13)' >/dev/null 2>&1; }
with_venv() { works "$1" && "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
find_python() {
  local candidate
  while read -r candidate; do
    if "$1" "$candidate"; then echo "$candidate"; return; fi
  done < <(if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"; else type -aP python3.11 python3.12 python3; fi)
  return 1
}
if [ -n "${PYTHON:-}" ] && ! works "$PYTHON"; then
  say "PYTHON=$PYTHON is not Python 3.11 or 3.12"; exit 1
fi
if ! works .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
    ! grep -qF "$PWD/.venv" .venv/bin/activate 2>/dev/null; then
  if ! python=$(find_python with_venv); then
    if python=$(find_python works) && can_install; then
      apt_install python3-venv || true
      python=$(find_python with_venv) || python=""
    else
      python=""
    fi
  fi
  if [ -z "$python" ]; then
    say "no Python 3.11 or 3.12 with venv found; install one (Debian: apt-get install python3 python3-venv) or set PYTHON"
    exit 1
  fi
  if [ -e .venv ]; then say "the .venv that is there does not work here; making it anew"; fi
  rm -rf .venv
  "$python" -m venv .venv
fi
free=$(df -Pm . | awk 'NR == 2 {print $4}')
if [ ! -e .venv/setup.recipe ] && [ ! -e .venv/setup.test ] && [ "$free" -lt 8000 ]; then
  say "$free MB free in $PWD; wanted: 8000 MB for .venv; free some space"; exit 1
fi

# Packages

say "$(.venv/bin/python --version), $kind packages into .venv: the first time about 3 min and 7 GB (log: .venv/setup.log)"
export PIP_CONSTRAINT=tools/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# pip's own progress bars are lost in a pipe; of its lines only the long downloads are of interest here.
show() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >> .venv/setup.log
    if [[ $line =~ ^\ *(Downloading|Using\ cached)\ ([^ ]*/)?([A-Za-z0-9_.]+)-([0-9][^- ]*).*\(([0-9]+)(\.[0-9]+)?\ MB\) ]]; then
      [ "${BASH_REMATCH[5]}" -lt 60 ] || say "  ${BASH_REMATCH[1],} ${BASH_REMATCH[3]} ${BASH_REMATCH[4]}, ${BASH_REMATCH[5]} MB"
    elif [[ $line =~ ^Downloading\ ([A-Za-z0-9_.-]+)\ \(([0-9]+)\.[0-9]MiB\) ]]; then
      [ "${BASH_REMATCH[2]}" -lt 60 ] || say "  downloading ${BASH_REMATCH[1]}, ${BASH_REMATCH[2]} MB"
    elif [[ $line == "Installed "*" packages in "* ]]; then
      say "  ${line,}"
    elif [[ $line == "Installing collected packages: "* ]]; then
      local names=(${line#*: })
      say "  installing ${#names[@]} packages"
    fi
  done
}
pip_install() { .venv/bin/python -m pip install "$@" 2>&1 </dev/null | show; }
# uv fetches and unpacks side by side, in half the time; what it cannot do (an index that only pip is told of), pip does.
# Its cache stands beside what is installed from it, so that files are linked, and goes when all is done.
uv_install() {
  .venv/bin/python -m uv pip install --python .venv/bin/python --cache-dir .venv/uv-cache -c tools/constraints.txt "$@" \
    2>&1 </dev/null | show
}
install() {
  [ -z "$uv" ] || ! uv_install "$@" || return 0
  pip_install "$@" || {
    say "pip failed; the last lines of .venv/setup.log:"
    tail -n 15 .venv/setup.log | sed 's/^/  | /' >&2
    say "mend that (the network? the disk?) and run the same command again"
    exit 1
  }
}
: > .venv/setup.log
uv=
if pip_install uv; then uv=yes; fi
install -e ".[$kind]"
install --no-deps -r tools/no-deps.txt
{ [ -n "$uv" ] && uv_install -e ".[world]"; } || pip_install -e ".[world]" || {
  say "pyworld did not compile; without it the scores lack MCD and F0. It needs a C++ compiler and Python's headers"
  say "(Debian: apt-get install g++ python3-dev); then: .venv/bin/pip install -c tools/constraints.txt pyworld"; }
.venv/bin/python -c 'import torch, torchaudio, soundfile, speechrep' || {
  say "the packages are there but do not import; remove .venv and run this again"; exit 1; }
rm -rf .venv/uv-cache
key > ".venv/setup.$kind.tmp"
mv ".venv/setup.$kind.tmp" ".venv/setup.$kind"
say "done in $SECONDS s"
