#!/usr/bin/env bash
# Stage 0: each corpus by its own recipe, as far as its stage 1, where that is not done yet.
#
#   local/download.sh [RECIPE=FOLDER ...]      FOLDER holds the corpus of ../RECIPE, already unpacked
#
# run.sh says in $skip_bad whether bad utterances are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
# run.sh exports these for its own stages; a recipe without them would take them for its own.
unset method iteration
for corpus in asterisk tuxpaint klettres ktuberling; do
  folder=
  for given in "$@"; do
    [ "${given%%=*}" != "$corpus" ] || folder=${given#*=}
  done
  if [ -f "../$corpus/data/test/wav.scp" ]; then
    echo "$corpus: ../$corpus/data is there already"
  else
    "../$corpus/run.sh" --stop-stage 1 --skip-bad "${skip_bad:-false}" ${folder:+--corpus "$folder"}
  fi
done
