#!/usr/bin/env bash
# utils/new_recipe.sh NAME
#
# Makes egs/NAME from egs/TEMPLATE. It works as it is for a folder of <speaker>/<utt>.wav with <utt>.txt beside it
# (egs/NAME/run.sh --corpus FOLDER); for another layout change egs/NAME/local/prepare.py.
set -euo pipefail
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }
case "${1:-}" in
  -h|--help) usage; exit 0 ;;
  "") usage >&2; exit 2 ;;
esac
name=$1
egs=$(cd "$(dirname "$0")/../egs" && pwd)
if ! [[ $name =~ ^[a-z][a-z0-9_-]*$ ]]; then
  echo "new_recipe: '$name'; wanted: a folder name in lower case: letters, digits, - and _" >&2; exit 2
fi
if [ -e "$egs/$name" ]; then
  echo "new_recipe: egs/$name is there already; choose another name or remove it" >&2; exit 1
fi
made=$(mktemp -d "$egs/.$name.XXXXXX")
trap 'rm -rf "$made"' EXIT
cp -R "$egs/TEMPLATE/." "$made"
sed -i.bak "s/\bNAME\b/$name/g" "$made/run.sh" "$made/README.md"
rm -f "$made"/*.bak
chmod 755 "$made"
mv "$made" "$egs/$name"
echo "egs/$name is there. Next: egs/$name/run.sh --corpus FOLDER, and egs/$name/local/prepare.py for another layout."
