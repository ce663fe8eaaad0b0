#!/usr/bin/env bash
# Stage 0: the Debian package klettres-data, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages, DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

package=klettres-data

. "$(dirname "$0")/../../../utils/debian_packages.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 150 MB
  --corpus DIR    use what is unpacked in DIR instead of fetching the Debian package: DIR, or a folder below it, holds
                  LANGUAGE/sounds.xml and LANGUAGE/{alpha,syllab}/*.ogg
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -name sounds.xml -print -quit)" ] || \
    die "$1: no sounds.xml" "LANGUAGE/sounds.xml and LANGUAGE/{alpha,syllab}/*.ogg" "$2"
}

read_options "$@"
link_corpus
fetch_packages "$package"

cat >"$work/attribution/ATTRIBUTION.txt" <<'EOF'
Letters and syllables of KLettres (https://invent.kde.org/education/klettres), as packaged by Debian (package and version:
packages.txt). (c) 2001-2011 Anne-Marie Mahfouf and others. GNU General Public License, version 2 or later
(klettres-data.copyright).

Recorded, as its handbook and the files' own tags say, by:
  Brazilian Portuguese  Lindonjohnson Monte and Michelle Monte    Hebrew      Assaf Gorgon
  Czech                 Eva Mikulčíková                           Italian     Pietro Pasotti
  Danish                Erik Kjaer Pedersen                       Lithuanian  Liudas Ališauskas
  Dutch                 Geert Stams                               Low Saxon   Manfred Wiese, Sönke Dibbern
  English               Robert Wadley                             Norwegian   Johnstad/Gabor
  French                Ludovic Grossard                          Russian     Dashk0 (Google Code-in 2010)
  German                Helmut Kriege                             Spanish     Ana Belén Caballero, Juan Pedro Paredes
Others are not named.

The recipe mixes the recordings down to one channel at 16 kHz. What is derived from this material falls under the GPL,
version 2 or later, when you pass it on.
EOF

keep_corpus
