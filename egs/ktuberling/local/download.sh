#!/usr/bin/env bash
# Stage 0: the Debian package ktuberling-data, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages, DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

package=ktuberling-data

. "$(dirname "$0")/../../../utils/debian_packages.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 150 MB
  --corpus DIR    use what is unpacked in DIR instead of fetching the Debian package: DIR, or a folder below it, holds
                  LANGUAGE.soundtheme and LANGUAGE/*.wav, .ogg or .opus
EOF
}

check_corpus() {
  [ -n "$(find -L "$1" -name fr.soundtheme -print -quit)" ] || \
    die "$1: no fr.soundtheme" "LANGUAGE.soundtheme and LANGUAGE/*.wav, .ogg or .opus" "$2"
}

read_options "$@"
link_corpus
fetch_packages "$package"

cat >"$work/attribution/ATTRIBUTION.txt" <<'EOF'
Words of KTuberling (https://invent.kde.org/games/ktuberling), as packaged by Debian (package and version: packages.txt).
(c) 1999-2017 Albert Astals Cid, Éric Bischoff, Meni Livne, the KDE team and others. GNU General Public License, version 2
or later (ktuberling-data.copyright).

English by John Calhoun, as its handbook says (of the first version); the files' own tags name Martha Schou (Danish,
"robin-tux"), Donatas Glodenis (Lithuanian), Djan Cayron (Walloon), clavisound.gr and patty (Greek), and eight speakers of
Catalan. Others are not named.

The recipe mixes the recordings down to one channel at 16 kHz and gives file names their accents back. What is derived from
this material falls under the GPL, version 2 or later, when you pass it on.
EOF

keep_corpus
