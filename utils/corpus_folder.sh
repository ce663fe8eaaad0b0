# Source this in a local/download.sh that defines usage and check_corpus FOLDER CURE. It gives
#
#   die FOUND WANTED CURE
#   read_options "$@"     sets $downloads and, from --corpus DIR, $corpus; makes the former, prints usage for --help. Names in
#                         $more_options are options of the script: more_options="version" lets --version V set $version
#   link_corpus           ends the script with downloads/corpus linked to $corpus, where one was named
#   not_open NAME WHERE   ends the script: this corpus is not to be fetched by a script

die() {
  printf 'error: %s\n  wanted: %s\n  cure: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

read_options() {
  corpus=
  while [ $# -gt 0 ]; do
    case $1 in
      --corpus) [ $# -ge 2 ] || { usage >&2; exit 2; }; corpus=$2; shift 2 ;;
      -h|--help) usage; exit 0 ;;
      --*)
        [[ " ${more_options:-} " == *" ${1#--} "* && $# -ge 2 ]] || { usage >&2; exit 2; }
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
      -*) usage >&2; exit 2 ;;
      *) break ;;
    esac
  done
  [ $# -eq 1 ] || { usage >&2; exit 2; }
  mkdir -p "$1"
  downloads=$(cd "$1" && pwd)
}

link_corpus() {
  [ -n "$corpus" ] || return 0
  [ -d "$corpus" ] || die "$corpus: no such folder" "the folder of the unpacked corpus" "name another after --corpus"
  corpus=$(cd "$corpus" && pwd)
  check_corpus "$corpus" "see local/download.sh --help"
  [ ! -e "$downloads/corpus" ] || [ -L "$downloads/corpus" ] || \
    die "$downloads/corpus is there already" "no corpus, or a link to one" "remove it, or leave --corpus out"
  ln -sfn "$corpus" "$downloads/corpus"
  echo "corpus: $downloads/corpus -> $corpus; its licence and credits stay with it: keep them" >&2
  exit 0
}

not_open() {
  if [ -d "$downloads/corpus" ]; then
    check_corpus "$downloads/corpus" "name another folder after --corpus"
    echo "corpus: $downloads/corpus is there already" >&2
    exit 0
  fi
  die "$1 is not fetched by a script: its terms have to be agreed to" "the unpacked corpus" "$2; then: --corpus DIR"
}
