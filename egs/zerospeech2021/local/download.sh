#!/usr/bin/env bash
# Stage 0: the evaluation sets of ZeroSpeech 2021, or the folder that --corpus names.
# Leaves behind: DOWNLOADS_DIR/archives, DOWNLOADS_DIR/corpus.
set -euo pipefail
export LC_ALL=C

url=
more_options="url"

. "$(dirname "$0")/../../../utils/archives.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] [--url URL] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes
  --corpus DIR    use what is unpacked in DIR instead: it holds phonetic/ and semantic/
  --url URL       the address of the archive, from the list at https://download.zerospeech.com
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -maxdepth 3 -name dev-clean.item -print -quit)" ] || \
    die "$1: no phonetic/dev-clean.item" "phonetic/ and semantic/ of ZeroSpeech 2021" "$2"
}

read_options "$@"
link_corpus
[ -n "$url" ] || [ -d "$downloads/corpus" ] || \
  die "no address of the archive" "--url URL, from https://download.zerospeech.com, or --corpus DIR" "see README.md"
[ -d "$downloads/corpus" ] || fetch_archive "$url" - . .
check_corpus "$downloads/corpus" \
  "fetch the archive by hand from https://download.zerospeech.com and name its folder: --corpus DIR"
echo "corpus: $downloads/corpus; CC BY 4.0 (see its README.md); parts of LibriSpeech in it are (c) 2014 Vassil Panayotov" >&2
