#!/usr/bin/env bash
# Stage 0: LibriSpeech from OpenSLR, and Libri-light's limited training sets.
# Leaves behind: DOWNLOADS_DIR/archives, DOWNLOADS_DIR/corpus/LibriSpeech, DOWNLOADS_DIR/corpus/librispeech_finetuning.
set -euo pipefail
export LC_ALL=C

parts=train-clean-100,dev-clean,dev-other,test-clean,test-other
limited=true
mirror=https://www.openslr.org/resources/12
limited_url=https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz
more_options="parts limited mirror"

. "$(dirname "$0")/../../../utils/archives.sh"

usage() {
  cat <<EOF
Usage: local/download.sh [--corpus DIR] [--parts PART,...|all] [--limited true|false] [--mirror URL] DOWNLOADS_DIR

  DOWNLOADS_DIR   where the corpus goes; archive and unpacked, train-clean-100 needs 13 GB, the dev and test parts 3 GB,
                  train-clean-360 46 GB, train-other-500 60 GB, Libri-light's sets 1.2 GB
  --corpus DIR    use what is unpacked in DIR instead: it holds LibriSpeech/, and librispeech_finetuning/ where wanted
  --parts         which parts of LibriSpeech ($parts)
  --limited       also Libri-light's 10 min, 1 h and 10 h ($limited)
  --mirror URL    another address of SLR12, such as https://openslr.elda.org/resources/12
EOF
}

check_corpus() {
  [ -f "$1/LibriSpeech/SPEAKERS.TXT" ] || [ -f "$1/SPEAKERS.TXT" ] || \
    die "$1: no LibriSpeech/SPEAKERS.TXT" "LibriSpeech as its archives unpack" "$2"
}

# SHA-256 of the archives, as torchaudio 2.11 checks them.
declare -A sha256=(
  [dev-clean]=76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3
  [dev-other]=12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365
  [test-clean]=39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23
  [test-other]=d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29
  [train-clean-100]=d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2
  [train-clean-360]=146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf
  [train-other-500]=ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2
)

read_options "$@"
link_corpus
[ "$parts" != all ] || parts=train-clean-100,train-clean-360,train-other-500,dev-clean,dev-other,test-clean,test-other
for part in ${parts//,/ }; do
  [ -n "${sha256[$part]:-}" ] || die "--parts $parts: no part '$part'" "some of ${!sha256[*]}" "name others"
done
for part in ${parts//,/ }; do
  fetch_archive "$mirror/$part.tar.gz" "${sha256[$part]}" . "LibriSpeech/$part" LibriSpeech/SPEAKERS.TXT
done
if [ "$limited" = true ]; then
  fetch_archive "$limited_url" 5d1efdc777b548194d7e09ba89126e2188026df9fd57aa57eb14408d2b2342af . librispeech_finetuning
fi
check_corpus "$downloads/corpus" "remove $downloads/corpus and run this stage again"
echo "corpus: $downloads/corpus; CC BY 4.0, https://www.openslr.org/12" >&2
