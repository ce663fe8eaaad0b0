# Source this in a local/download.sh that fetches archives from where a corpus is published. It brings corpus_folder.sh along
# (usage and check_corpus FOLDER CURE are the script's), and gives
#
#   fetch_archive URL SHA256 DEST PATH...   fetches URL to $downloads/archives, going on where a killed run stopped, and checks
#                                           it; unpacks it and puts each PATH of it to $downloads/corpus/DEST/PATH. A PATH of
#                                           `.` is the whole of it, put to $downloads/corpus/DEST. Nothing is done where
#                                           the first PATH is there already. SHA256 is `-` where none is published.

. "$(dirname "${BASH_SOURCE[0]}")/corpus_folder.sh"

_fetch() { # URL FILE
  if command -v curl >/dev/null; then
    curl --fail --location --silent --show-error --retry 3 --continue-at - --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --continue --output-document "$2" "$1"
  else
    die "neither curl nor wget on this machine" "one of them" "install curl, or fetch $1 yourself into ${2%/*}"
  fi
}

_unpack() { # FILE FOLDER
  case $1 in
    *.zip) if command -v unzip >/dev/null; then unzip -q "$1" -d "$2"; else python3 -m zipfile -e "$1" "$2"; fi ;;
    *) tar -xf "$1" -C "$2" ;;
  esac
}

fetch_archive() {
  local url=$1 sha256=$2 dest=$downloads/corpus/$3 file=$downloads/archives/${1##*/} work path target
  shift 3
  if [ "$1" = . ]; then target=$dest; else target=$dest/$1; fi
  if [ -e "$target" ]; then
    echo "$target is there already" >&2
    return 0
  fi
  mkdir -p "$downloads/archives"
  if [ ! -f "$file" ]; then
    echo "fetching $url" >&2
    _fetch "$url" "$file.part" || \
      die "$url could not be fetched" "a reachable address" "run this stage again: it goes on where it stopped"
    if [ "$sha256" != - ] && [ "$(sha256sum <"$file.part" | cut -d' ' -f1)" != "$sha256" ]; then
      rm "$file.part"
      die "$url: another content than is published (its SHA-256 differs)" "$sha256" \
        "run this stage again; if it stays so, fetch it from another mirror"
    fi
    mv "$file.part" "$file"
  fi
  work=$downloads/.unpack.$$
  rm -rf "$downloads"/.unpack.*
  mkdir -p "$work"
  if ! _unpack "$file" "$work"; then
    rm -rf "$work"
    die "$file: does not unpack" "a whole archive" "remove it and run this stage again"
  fi
  if [ "$1" = . ]; then
    mkdir -p "${dest%/*}"
    mv "$work" "$dest"
    return 0
  fi
  # The first path tells that the archive is there, so it comes last.
  for path in "${@:2}" "$1"; do
    if [ ! -e "$work/$path" ]; then
      rm -rf "$work"
      die "$file: no $path in it" "the archive as published" "look in README.md for another source"
    fi
    mkdir -p "$(dirname "$dest/$path")"
    [ -e "$dest/$path" ] || mv "$work/$path" "$dest/$path"
  done
  rm -rf "$work"
}
