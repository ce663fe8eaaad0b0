#!/usr/bin/env bash
# Stage 0: Libri2Mix is made, not fetched; this takes the folder that --corpus names.
# Leaves behind: DOWNLOADS_DIR/corpus, a link.
set -euo pipefail
export LC_ALL=C

. "$(dirname "$0")/../../../utils/corpus_folder.sh"

usage() {
  cat <<EOF
Usage: local/download.sh --corpus DIR DOWNLOADS_DIR

  DOWNLOADS_DIR   where a link to the corpus goes
  --corpus DIR    the unpacked corpus: it holds wav16k/max/ as LibriMix generates it
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -maxdepth 3 -path "*/wav16k/max" -print -quit)" ] || \
    die "$1: no wav16k/max" "wav16k/max/ as LibriMix generates it" "$2"
}

read_options "$@"
link_corpus
[ ! -d "$downloads/corpus" ] || { check_corpus "$downloads/corpus" "name another folder after --corpus"; exit 0; }
die "no corpus yet" "the folder of the corpus" \
  "Libri2Mix is generated, not fetched; README.md says how; then: --corpus DIR"
