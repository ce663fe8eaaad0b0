#!/usr/bin/env bash
# Stage 0: VoxCeleb1 is had on request; this takes the folder where it is unpacked. Leaves behind: DOWNLOADS_DIR/corpus.
set -euo pipefail
export LC_ALL=C

. "$(dirname "$0")/../../../utils/corpus_folder.sh"

usage() {
  cat <<EOF
Usage: local/download.sh --corpus DIR DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus is linked to
  --corpus DIR    the corpus: in it, or in VoxCeleb1 in it, dev/wav and test/wav as the archives vox1_dev_wav and vox1_test_wav
                  unpack in dev and test, and, there or in meta/, veri_test_class.txt (or iden_split.txt) and veri_test2.txt
EOF
}

check_corpus() {
  local half
  for half in dev test; do
    [ -n "$(find -L "$1" -maxdepth 3 -type d -path "*/$half/wav" -print -quit)" ] || \
      die "$1: no folder $half/wav" "dev/wav and test/wav" "$2"
  done
}

read_options "$@"
link_corpus
not_open VoxCeleb1 "ask for access at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html and unpack the archives"
