#!/usr/bin/env bash
# Stage 0: Fluent Speech Commands is not fetched by a script; this takes the folder that --corpus names.
# Leaves behind: DOWNLOADS_DIR/corpus, a link.
set -euo pipefail
export LC_ALL=C

. "$(dirname "$0")/../../../utils/corpus_folder.sh"

usage() {
  cat <<EOF
Usage: local/download.sh --corpus DIR DOWNLOADS_DIR

  DOWNLOADS_DIR   where a link to the corpus goes
  --corpus DIR    the unpacked corpus: it holds data/{train,valid,test}_data.csv and wavs/speakers/
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -maxdepth 3 -path "*/data/train_data.csv" -print -quit)" ] || \
    die "$1: no data/train_data.csv" "data/{train,valid,test}_data.csv and wavs/speakers/" "$2"
}

read_options "$@"
link_corpus
not_open "Fluent Speech Commands" \
  "ask for it at https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/ and unpack it"
