#!/usr/bin/env bash
# Stage 0: IEMOCAP is not fetched by a script; this takes the folder that --corpus names.
# Leaves behind: DOWNLOADS_DIR/corpus, a link.
set -euo pipefail
export LC_ALL=C

. "$(dirname "$0")/../../../utils/corpus_folder.sh"

usage() {
  cat <<EOF
Usage: local/download.sh --corpus DIR DOWNLOADS_DIR

  DOWNLOADS_DIR   where a link to the corpus goes
  --corpus DIR    the unpacked corpus: it holds Session1 ... Session5
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -maxdepth 3 -path "*/Session1" -print -quit)" ] || \
    die "$1: no Session1" "Session1 ... Session5" "$2"
}

read_options "$@"
link_corpus
not_open "IEMOCAP" "ask for it at https://sail.usc.edu/iemocap/iemocap_release.htm and unpack it"
