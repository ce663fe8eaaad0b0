#!/usr/bin/env bash
# Stage 0: the sound and transcript packages of Asterisk's core prompts, unpacked into a folder of this recipe.
# Nothing is installed system-wide. Leaves behind: DOWNLOADS_DIR/corpus, DOWNLOADS_DIR/packages, DOWNLOADS_DIR/attribution.
set -euo pipefail
export LC_ALL=C

languages="en es fr it ru"

. "$(dirname "$0")/../../../utils/debian_packages.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; needs 230 MB
  --corpus DIR    use the prompts unpacked in DIR instead of fetching the Debian packages: anywhere below it a folder of
                  wav files for each language ($languages; or en_US_f_Allison, es_MX_f_Allison, ...)
                  and the transcripts core-sounds-LANGUAGE.txt or .txt.gz
EOF
}

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

read_options "$@"
link_corpus
packages=()
for language in $languages; do
  packages+=("asterisk-core-sounds-$language-wav" "asterisk-core-sounds-$language")
done
fetch_packages "${packages[@]}"

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

keep_corpus
for language in $languages; do
  printf '%s: %s prompts\n' "$language" "$(count_wavs "$downloads/corpus" "$language")" >&2
done
