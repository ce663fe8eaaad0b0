#!/usr/bin/env bash
# Stage 0: the package of Tux Paint's stamps, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages,
# DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

package=tuxpaint-stamps-default

. "$(dirname "$0")/../../../utils/debian_packages.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 400 MB
  --corpus DIR    use the stamps unpacked in DIR instead of fetching the Debian package: DIR, or a folder 'stamps' below
                  it, holds animals/, food/, town/ ... with NAME.png or .svg, NAME.txt and NAME_desc_LANGUAGE.ogg
EOF
}

count_descriptions() {
  find -L "$1" -name '*_desc*.ogg' | wc -l
}

check_corpus() {
  [ "$(count_descriptions "$1")" -gt 0 ] || \
    die "$1: no spoken descriptions" "files NAME_desc_LANGUAGE.ogg, with animals/ among their folders" "$2"
  [ -n "$(find -L "$1" -type d -name animals -print -quit)" ] || \
    die "$1: no folder 'animals'" "the folder of stamps, with all its folders" "$2"
}

read_options "$@"
link_corpus
fetch_packages "$package"
# Who drew, recorded and translated what.
cp "$work/corpus/usr/share/doc/$package/changelog.gz" "$work/attribution/$package.changelog.gz"

cat >"$work/attribution/ATTRIBUTION.txt" <<'EOF'
Stamps of Tux Paint (http://www.tuxpaint.org/), as packaged by Debian (package and version: packages.txt).
(c) 2002-2022 Bill Kendrick and contributors. GNU General Public License, version 2
(tuxpaint-stamps-default.copyright). Who contributed which picture, text or recording is in
tuxpaint-stamps-default.changelog.gz.

Spoken descriptions, as that changelog credits them:
  Belarusian  Kseniya Buraya               French     PaulK; older ones Jacques Chion; others not named
  Bulgarian   Krasimir Petkov              Romanian   Tabbytha
  Catalan     contributed by Pere Pujal i Carabantes
  Danish      Joe Dalton                   Russian    Edwin Veber
  Greek       Kiriaki Serafeim             Spanish    Estefania Ortiz
  English, Dutch   not named

The recipe mixes the recordings down to one channel at 16 kHz, scales the pictures down, spells numbers out and removes
case and punctuation. What is derived from this material falls under the GPL, version 2, when you pass it on.
EOF

keep_corpus
printf '%s sound files that describe a picture\n' "$(count_descriptions "$downloads/corpus")" >&2
