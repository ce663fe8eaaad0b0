#!/usr/bin/env bash
# Stage 0: the package of Tux Paint's stamps, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages,
# DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

package=tuxpaint-stamps-default

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 400 MB
  --corpus DIR    use the stamps unpacked in DIR instead of fetching the Debian package: DIR, or a folder 'stamps' below
                  it, holds animals/, food/, town/ ... with NAME.png or .svg, NAME.txt and NAME_desc_LANGUAGE.ogg
EOF
}

die() {
  printf 'error: %s\n  wanted: %s\n  cure: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

corpus=
while [ $# -gt 0 ]; do
  case $1 in
    --corpus) [ $# -ge 2 ] || { usage >&2; exit 2; }; corpus=$2; shift 2 ;;
    -h|--help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) break ;;
  esac
done
[ $# -eq 1 ] || { usage >&2; exit 2; }
downloads=$1
mkdir -p "$downloads"
downloads=$(cd "$downloads" && pwd)

count_descriptions() {
  find -L "$1" -name '*_desc*.ogg' | wc -l
}

check_corpus() {
  [ "$(count_descriptions "$1")" -gt 0 ] || \
    die "$1: no spoken descriptions" "files NAME_desc_LANGUAGE.ogg, with animals/ among their folders" "$2"
  [ -n "$(find -L "$1" -type d -name animals -print -quit)" ] || \
    die "$1: no folder 'animals'" "the folder of stamps, with all its folders" "$2"
}

if [ -n "$corpus" ]; then
  [ -d "$corpus" ] || die "$corpus: no such folder" "a folder with the unpacked stamps" "name another after --corpus"
  corpus=$(cd "$corpus" && pwd)
  check_corpus "$corpus" "see local/download.sh --help"
  [ ! -e "$downloads/corpus" ] || [ -L "$downloads/corpus" ] || \
    die "$downloads/corpus is there already" "no corpus, or a link to one" "remove it, or leave --corpus out"
  ln -sfn "$corpus" "$downloads/corpus"
  echo "corpus: $downloads/corpus -> $corpus; its licence and credits stay with it: keep them" >&2
  exit 0
fi

if [ -d "$downloads/corpus" ]; then
  echo "corpus: $downloads/corpus is there already" >&2
  exit 0
fi

for tool in apt-get apt-cache dpkg-deb; do
  command -v "$tool" >/dev/null || die "no $tool on this machine" "Debian's package client" \
    "unpack the package $package, or Tux Paint's archive of stamps, elsewhere and give its folder: --corpus DIR"
done
if ! apt-cache show "$package" >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] && apt-get update >&2
  apt-cache show "$package" >/dev/null || die "the package lists do not have $package" \
    "Debian or a system with its packages" "as root: apt-get update; on other systems: --corpus DIR"
fi

work=$downloads/.download.$$
trap 'rm -rf "$work"' EXIT
rm -rf "$downloads"/.download.*
mkdir -p "$work/corpus" "$work/attribution" "$downloads/packages"
deb=$(find "$downloads/packages" -name "${package}_*.deb" -print -quit)
if [ -z "$deb" ]; then
  echo "fetching $package" >&2
  # apt-get checks the package against the signed lists; it warns that it cannot drop to the user _apt in a folder of
  # another user, which is harmless.
  (cd "$work" && apt-get download "$package" >"$package.log" 2>&1) || {
    cat "$work/$package.log" >&2
    die "$package could not be fetched" "a reachable mirror" "look at the lines above; as root: apt-get update"
  }
  mv "$work/${package}"_*.deb "$downloads/packages/"
  deb=$(find "$downloads/packages" -name "${package}_*.deb" -print -quit)
fi
dpkg-deb --extract "$deb" "$work/corpus" || die "$deb: does not unpack" "a whole Debian package" \
  "remove it and run this stage again"
printf '%s %s\n' "$package" "$(dpkg-deb --field "$deb" Version)" >"$work/attribution/packages.txt"
cp "$work/corpus/usr/share/doc/$package/copyright" "$work/attribution/$package.copyright"
# Who drew, recorded and translated what.
cp "$work/corpus/usr/share/doc/$package/changelog.gz" "$work/attribution/$package.changelog.gz"
check_corpus "$work/corpus" "remove $downloads/packages and run this stage again"

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

rm -rf "$downloads/attribution"
mv "$work/attribution" "$downloads/attribution"
mv "$work/corpus" "$downloads/corpus"
printf '%s sound files that describe a picture\n' "$(count_descriptions "$downloads/corpus")" >&2
echo "corpus: $downloads/corpus; credits and licences: $downloads/attribution" >&2
