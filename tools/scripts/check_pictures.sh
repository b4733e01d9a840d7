#!/usr/bin/env bash
# Picture files against Pillow: the JPEG, PNG, BMP, PPM and PGM files of Pillow's own tests (out of its source package),
# and of the FOLDERs named, must be decoded to Pillow's pixels or refused by both; what differs on purpose is named in
# check_pictures.py. usage: check_pictures.sh BUILD [FOLDER...]      (BUILD/pleat-tests must be there)
# $PLEAT_PILLOW_PYTHON names a Python that has Pillow and numpy (default: a virtual environment in BUILD, made once).
set -euo pipefail

build=$(realpath "${1:?usage: check_pictures.sh BUILD [FOLDER...]}")
shift
here=$(dirname "$0")
python=${PLEAT_PILLOW_PYTHON:-$build/pillow-venv/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv "$build/pillow-venv"
  "$python" -m pip install --quiet pillow==13.0.0 numpy >&2
fi
sources=$build/pillow-source
if [ ! -d "$sources" ]; then
  mkdir -p "$sources.part"
  version=$("$python" -c 'import PIL; print(PIL.__version__)')
  "$python" -m pip download --quiet --no-deps --no-binary :all: --dest "$sources.part" "pillow==$version" >&2
  tar -xzf "$sources.part"/pillow-*.tar.gz -C "$sources.part" --wildcards '*/Tests/images/*'
  mv "$sources.part" "$sources"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
find -L "$sources" "$@" -type f -regextype posix-extended -iregex '.*\.(jpe?g|png|bmp|ppm|pgm)' | sort >"$work/list"
PLEAT_PICTURES=$work/list PLEAT_PIXELS=$work/pixels "$build/pleat-tests" --no-skip --test-case='pictures listed in a file are decoded into another' \
  >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
"$python" "$here/check_pictures.py" "$work/list" "$work/pixels"
