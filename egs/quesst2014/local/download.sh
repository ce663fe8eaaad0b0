#!/usr/bin/env bash
# Stage 0: the database of QUESST 2014. Leaves behind: DOWNLOADS_DIR/archives, DOWNLOADS_DIR/corpus/quesst14Database.
set -euo pipefail
export LC_ALL=C

mirror=https://speech.fit.vutbr.cz/files
more_options="mirror"

. "$(dirname "$0")/../../../utils/archives.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] [--mirror URL] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; archive and unpacked, it needs 2.5 GB
  --corpus DIR    use what is unpacked in DIR instead: it holds quesst14Database/
  --mirror URL    another address of quesst14Database.tgz
EOF
}

check_corpus() {
  [ -d "$1/quesst14Database/scoring" ] || [ -d "$1/scoring" ] || \
    die "$1: no quesst14Database/scoring" "the database as its archive unpacks" "$2"
}

read_options "$@"
link_corpus
# SHA-256 as torchaudio 2.11 checks it.
fetch_archive "$mirror/quesst14Database.tgz" 4f869e06bc066bbe9c5dde31dbd3909a0870d70291110ebbb38878dcbc2fc5e4 . quesst14Database
check_corpus "$downloads/corpus" "remove $downloads/corpus and run this stage again"
echo "corpus: $downloads/corpus; its terms stand in README.md" >&2
