#!/usr/bin/env bash
# Compares the loading of training pictures (decoding, random resized crop to 224x224, flip, normalising): Pleat's worker
# threads against as many processes with Pillow and numpy, in turn. Prints the best round of each and their ratio.
# usage: bench_data.sh BUILD FOLDER [ROUNDS [WORKERS]]      FOLDER has train/<class>/*.JPEG; 5 rounds, 2 workers
# $PLEAT_PILLOW_PYTHON names a Python that has Pillow and numpy (default: the system's, /usr/bin/python3).
set -euo pipefail

build=$1 folder=$2 rounds=${3:-5} workers=${4:-2} batch=32
python=${PLEAT_PILLOW_PYTHON:-/usr/bin/python3}
here=$(dirname "$0")

best() { printf '%s\n' "$@" | sort -g | tail -n 1; }

pleat=() pillow=()
for ((round = 1; round <= rounds; ++round)); do
  pleat+=("$("$build/pleat" data bench "$folder" --threads "$workers" --batch $batch --json --quiet 2>/dev/null |
    jq -e .images_per_second)")
  pillow+=("$("$python" "$here/bench_data_pillow.py" "$folder/train" "$workers" $batch)")
  LC_ALL=C printf 'round %d: pleat %.0f, Pillow %.0f pictures/s\n' $round "${pleat[-1]}" "${pillow[-1]}" >&2
done
LC_ALL=C printf 'best of %d rounds, %d workers: pleat %.0f pictures/s, Pillow %s %.0f pictures/s, ratio %.2f\n' \
  "$rounds" "$workers" "$(best "${pleat[@]}")" "$("$python" -c 'import PIL; print(PIL.__version__)')" \
  "$(best "${pillow[@]}")" "$(jq -n "$(best "${pleat[@]}") / $(best "${pillow[@]}")")"
