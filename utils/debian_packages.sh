# Source this in a local/download.sh that takes a corpus from the distribution. It brings corpus_folder.sh along (usage and
# check_corpus FOLDER CURE are the script's), and gives
#
#   fetch_packages PACKAGE...  unpacks packages of the distribution, without installing them, into $work/corpus, with their
#                              copyright files and versions in $work/attribution; ends the script if that was done before
#   keep_corpus                moves both to downloads/, complete or not at all

. "$(dirname "${BASH_SOURCE[0]}")/corpus_folder.sh"

fetch_packages() {
  local tool package deb
  if [ -d "$downloads/corpus" ]; then
    echo "corpus: $downloads/corpus is there already" >&2
    exit 0
  fi
  for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "no $tool on this machine" "Debian's package client" \
      "unpack these elsewhere and give their folder, --corpus DIR: $*"
  done
  if ! apt-cache show "$@" >/dev/null 2>&1; then
    [ "$(id -u)" != 0 ] || apt-get update >&2
    apt-cache show "$@" >/dev/null || die "the package lists do not have all of $*" \
      "Debian or a system with its packages" "as root: apt-get update; on other systems: --corpus DIR"
  fi
  work=$downloads/.download.$$
  trap 'rm -rf "$work"' EXIT
  rm -rf "$downloads"/.download.*
  mkdir -p "$work/corpus" "$work/attribution" "$downloads/packages"
  for package; do
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
    cp "$work/corpus/usr/share/doc/$package/copyright" "$work/attribution/$package.copyright"
    printf '%s %s\n' "$package" "$(dpkg-deb --field "$deb" Version)" >>"$work/attribution/packages.txt"
  done
  check_corpus "$work/corpus" "remove $downloads/packages and run this stage again"
}

keep_corpus() {
  rm -rf "$downloads/attribution"
  mv "$work/attribution" "$downloads/attribution"
  mv "$work/corpus" "$downloads/corpus"
  echo "corpus: $downloads/corpus; credits and licences: $downloads/attribution" >&2
}
