#!/usr/bin/env bash
# Stage 0: the sound and transcript packages of Asterisk's core prompts, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages, DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

languages="en es fr it ru"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 230 MB
  --corpus DIR    use the prompts unpacked in DIR instead of fetching the Debian packages: anywhere below it a folder of
                  wav files for each language ($languages; or en_US_f_Allison, es_MX_f_Allison, ...)
                  and the transcripts core-sounds-LANGUAGE.txt or .txt.gz
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

# The number of wav files below $1 in the voice folder of language $2, whichever of its two names it has.
count_wavs() {
  find -L "$1" -type d \( -name "${2}_*_[fm]_*" -o -name "$2" \) -exec find -L {} -name '*.wav' \; 2>/dev/null | sort -u | wc -l
}

check_corpus() {
  local language
  for language in $languages; do
    [ "$(count_wavs "$1" "$language")" -gt 0 ] || die "$1: no prompts for the language '$language'" \
      "a folder '$language' or '${language}_*' with wav files" "$2"
    [ -n "$(find -L "$1" -name "core-sounds-$language.txt*" -print -quit)" ] || \
      die "$1: no transcript core-sounds-$language.txt" "core-sounds-$language.txt or .txt.gz" "$2"
  done
}

if [ -n "$corpus" ]; then
  [ -d "$corpus" ] || die "$corpus: no such folder" "a folder with the unpacked prompts" "name another after --corpus"
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
    "unpack the packages asterisk-core-sounds-{en,es,fr,it,ru}{,-wav} elsewhere and give their folder: --corpus DIR"
done
packages=
for language in $languages; do
  packages="$packages asterisk-core-sounds-$language-wav asterisk-core-sounds-$language"
done
# shellcheck disable=SC2086
if ! apt-cache show $packages >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] && apt-get update >&2
  # shellcheck disable=SC2086
  apt-cache show $packages >/dev/null || die "the package lists do not have asterisk-core-sounds-*" \
    "Debian or a system with its packages" "as root: apt-get update; on other systems: --corpus DIR"
fi

work=$downloads/.download.$$
trap 'rm -rf "$work"' EXIT
rm -rf "$downloads"/.download.*
mkdir -p "$work/corpus" "$work/attribution" "$downloads/packages"
for package in $packages; do
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
  dpkg-deb --extract "$deb" "$work/corpus" || \
    die "$deb: does not unpack" "a whole Debian package" "remove it and run this stage again"
  version=$(dpkg-deb --field "$deb" Version)
  cp "$work/corpus/usr/share/doc/$package/copyright" "$work/attribution/$package.copyright"
  printf '%s %s\n' "$package" "$version" >>"$work/attribution/packages.txt"
done
check_corpus "$work/corpus" "remove $downloads/packages and run this stage again"

cat >"$work/attribution/ATTRIBUTION.txt" <<'EOF'
Recorded prompts "asterisk-core-sounds" (http://downloads.asterisk.org/pub/telephony/asterisk/), as packaged by Debian
(packages and versions: packages.txt). What each package says of its origin and licence is in <package>.copyright.

  English, Spanish  recorded by Allison Smith (http://www.theivrvoice.com), (c) 2003-2010; financial contributions by
                    Digium, Inc. CC BY-SA 3.0
  French            recorded by June Wallack (http://www.junewallack.com), (c) 2006-2008; translated by Clod Patry,
                    Kristopher Lalletti and June Wallack; financial contributions by Digium, Inc., Unlimitel and BGM
                    Informatique. CC BY-SA 3.0
  Italian           recorded by Carlo Flora (http://www.carloflora.com), (c) 2012; translated by Silvia Petrin. CC BY 3.0
  Russian           provided by Maxim Topal (http://www.ivrvoice.ru), (c) 2010. CC BY 3.0

The recipe changes nothing in the recordings. It corrects some transcripts (egs/asterisk/local/corrections.tsv and
spelling_es.tsv), spells numbers out and removes case and punctuation. Audio and models derived from English, Spanish and
French prompts fall under CC BY-SA 3.0: say so, and name the speakers, when you pass them on.
EOF

rm -rf "$downloads/attribution"
mv "$work/attribution" "$downloads/attribution"
mv "$work/corpus" "$downloads/corpus"
for language in $languages; do
  printf '%s: %s prompts\n' "$language" "$(count_wavs "$downloads/corpus" "$language")" >&2
done
echo "corpus: $downloads/corpus; credits and licences: $downloads/attribution" >&2
