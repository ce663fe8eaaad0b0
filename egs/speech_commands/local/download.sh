#!/usr/bin/env bash
# Stage 0: Speech Commands and its separate test set.
# Leaves behind: DOWNLOADS_DIR/archives, DOWNLOADS_DIR/corpus/{speech_commands,speech_commands_test_set}_v0.0VERSION.
set -euo pipefail
export LC_ALL=C

version=1
mirror=http://download.tensorflow.org/data
more_options="version mirror"

. "$(dirname "$0")/../../../utils/archives.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] [--version 1|2] [--mirror URL] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; archives and unpacked, version 1 needs 3.7 GB, version 2 6 GB
  --corpus DIR    use what is unpacked in DIR instead: speech_commands_v0.0N/ and speech_commands_test_set_v0.0N/
  --version       1, which SUPERB uses, or 2 ($version)
  --mirror URL    another address of the archives, such as https://storage.googleapis.com/download.tensorflow.org/data
EOF
}

check_corpus() {
  local name
  for name in speech_commands speech_commands_test_set; do
    [ -d "$1/${name}_v0.0$version" ] || \
      die "$1: no folder ${name}_v0.0$version" "the archives of version $version, each unpacked to a folder of its name" "$2"
  done
}

read_options "$@"
case $version in
  # SHA-256 as torchaudio 2.11 checks them; for the test sets none is published.
  1) sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d ;;
  2) sha256=af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58 ;;
  *) die "--version $version" "1 or 2" "name one of them" ;;
esac
link_corpus
fetch_archive "$mirror/speech_commands_v0.0$version.tar.gz" "$sha256" "speech_commands_v0.0$version" .
fetch_archive "$mirror/speech_commands_test_set_v0.0$version.tar.gz" - "speech_commands_test_set_v0.0$version" .
check_corpus "$downloads/corpus" "remove $downloads/corpus and run this stage again"
echo "corpus: $downloads/corpus; CC BY 4.0, see LICENSE in each folder" >&2
