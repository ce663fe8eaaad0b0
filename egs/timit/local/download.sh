#!/usr/bin/env bash
# Stage 0: TIMIT is had from the LDC; this takes the folder where it is unpacked. Leaves behind: DOWNLOADS_DIR/corpus.
set -euo pipefail
export LC_ALL=C

. "$(dirname "$0")/../../../utils/corpus_folder.sh"

usage() {
  cat <<EOF
Usage: local/download.sh --corpus DIR DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus is linked to
  --corpus DIR    the corpus: in it, or in TIMIT or timit in it, TRAIN/ and TEST/, in upper or lower case
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -maxdepth 2 -type d -iname train -print -quit)" ] || die "$1: no folder TRAIN" "TRAIN and TEST" "$2"
}

read_options "$@"
link_corpus
not_open TIMIT "order LDC93S1 at https://catalog.ldc.upenn.edu/LDC93S1 and unpack it"
