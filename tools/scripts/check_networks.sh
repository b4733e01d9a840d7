#!/usr/bin/env bash
# Checks every network on a few pictures of every data set it is made for: networks for small pictures on CIFAR-10 and
# CIFAR-100, those for ImageNet on imagenette. A short training must lower the loss and, when interrupted, resume bit for
# bit; pre-folding must work; and folded with random masks, the merged network must equal the unmerged one within 1e-4 of
# the logits' range, with exact borders and with moved padding. Prints a line for each network: the loss of the first and of
# the last epoch, and the largest difference.
# usage: check_networks.sh BUILD [NETWORK...]      (default: all of `pleat list`)
#   MASKS=20 for each network, THREADS=all cores; data sets in $PLEAT_DATA, imagenette as imagenette/{train,val}/<class>/
set -euo pipefail

build=$(realpath "${1:?usage: check_networks.sh BUILD [NETWORK...]}")
shift
pleat=$build/pleat
masks=${MASKS:-20}
threads=(${THREADS:+--threads "$THREADS"})
command -v jq >/dev/null || { echo "check-networks: jq is missing; tools/scripts/setup.sh demo installs it" >&2; exit 1; }
whole_sets=$(realpath -m "${PLEAT_DATA:-local/data}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# check WHAT COMMAND...: runs a command and counts whether it passed.
check() {
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "  FAIL  $what"
  fi
}
quiet() {
  "$pleat" "$@" "${threads[@]}" --quiet --json >"$work/out.json" 2>"$work/err.txt" || { cat "$work/err.txt" >&2; return 1; }
}

# first_records COUNT BYTES FILE: copies the first records of a data set's file.
first_records() {
  mkdir -p "$work/$(dirname "$3")"
  head -c $(($1 * $2)) "$whole_sets/$3" >"$work/$3"
}

# first_pictures COUNT FOLDER: copies the first pictures of each class.
first_pictures() {
  local class
  for class in "$whole_sets/$2"/*/; do
    mkdir -p "$work/$2/$(basename "$class")"
    find "$class" -type f | sort | head -n "$1" | xargs -d '\n' cp -t "$work/$2/$(basename "$class")"
  done
}

# shorten SET: copies a few of its pictures, in its own layout; false if it is not there.
shorten() {
  local batch
  case $1 in
    cifar10)
      [ -d "$whole_sets/cifar-10-batches-bin" ] || return 1
      for batch in data_batch_{1..5} test_batch; do first_records 40 3073 cifar-10-batches-bin/$batch.bin; done
      cp "$whole_sets"/cifar-10-batches-bin/*.txt "$work/cifar-10-batches-bin"
      ;;
    cifar100)
      [ -d "$whole_sets/cifar-100-binary" ] || return 1
      first_records 200 3074 cifar-100-binary/train.bin
      first_records 40 3074 cifar-100-binary/test.bin
      cp "$whole_sets"/cifar-100-binary/*.txt "$work/cifar-100-binary"
      ;;
    imagenette)
      [ -d "$whole_sets/imagenette/train" ] || return 1
      first_pictures 4 imagenette/train
      first_pictures 1 imagenette/val
      ;;
  esac
}

# Prints the training losses in the log, one line an epoch.
losses() { jq '.train_loss // empty' "$work/whole/log.jsonl"; }
lowers_the_loss() { losses | jq -es '.[-1] < .[0]' >/dev/null; }

# resumes NETWORK: interrupts a training after its first epoch, resumes it, and compares the result.
resumes() {
  "$pleat" train "$1" "${recipe[@]}" "${threads[@]}" --out "$work/broken" --quiet >"$work/out.json" 2>&1 &
  local run=$!
  until [ "$(wc -l 2>/dev/null <"$work/broken/log.jsonl" || echo 0)" -ge 1 ] || ! kill -0 $run 2>/dev/null; do sleep 0.05; done
  kill -INT $run 2>/dev/null || true
  wait $run || true
  [ "$(wc -l <"$work/broken/log.jsonl")" -lt 3 ] || { echo "  the training ended before it was interrupted" >&2; return 1; }
  quiet train "$1" "${recipe[@]}" --out "$work/broken" --resume &&
    cmp -s "$work/whole/model.safetensors" "$work/broken/model.safetensors"
}

# merges MODEL MASK: compares the unmerged and the merged network.
merges() {
  local borders
  for borders in exact reorder; do
    quiet fold "$1" --mask "$2" --max-kernel 5 --merge none --borders $borders --out "$work/unmerged.safetensors" &&
      quiet fold "$1" --mask "$2" --max-kernel 5 --borders $borders --out "$work/merged.safetensors" &&
      quiet verify "$work/unmerged.safetensors" "$work/merged.safetensors" --random 10 &&
      jq '.max_rel_diff' "$work/out.json" >>"$work/differences" &&
      jq -e '.max_rel_diff | type == "number" and . <= 1e-4' "$work/out.json" >/dev/null || return 1
  done
}

folds() {
  local i cell mask cells
  cells=$(jq -r '.alphas | length' "$work/prefold.json")
  for ((i = 0; i < masks; ++i)); do
    mask=
    for ((cell = 0; cell < cells; ++cell)); do mask+=$([ $((RANDOM % 2)) = 0 ] && echo '#' || echo .); done
    check "mask $mask" merges "$work/prefold/model.safetensors" "$mask"
  done
}

# check_network NETWORK DATA
check_network() {
  local start=$SECONDS
  rm -rf "$work"/{whole,broken,prefold,differences}
  check "trains" quiet train "$1" "${recipe[@]}" --out "$work/whole"
  check "lowers the loss" lowers_the_loss
  check "resumes bit for bit" resumes "$1"
  check "pre-folds" quiet prefold "$work/whole/model.safetensors" "${recipe[@]}" --epochs 1 --lr 0.01 --out "$work/prefold"
  cp "$work/out.json" "$work/prefold.json"
  folds
  printf '%-24s %-11s %6.3f -> %6.3f %6d %14.1e %8d\n' "$1" "$2" "$(losses | head -n 1)" "$(losses | tail -n 1)" \
    "$masks" "$(jq -s max "$work/differences")" $((SECONDS - start))
}

networks=("$@")
[ $# -gt 0 ] || mapfile -t networks < <("$pleat" list --json 2>/dev/null | jq -r '.models[]')
RANDOM=1
printf '%-24s %-11s %16s %6s %14s %8s\n' network data "training loss" masks "max rel diff" seconds
for data in cifar10 cifar100 imagenette; do
  shorten $data || { echo "skipped: no $data in $whole_sets"; continue; }
  for network in "${networks[@]}"; do
    case $network in
      resnet* | vgg* | *_cifar)
        [ $data != imagenette ] || continue
        recipe=(--data $data --epochs 3 --batch 40 --lr 0.02 --tune off)
        ;;
      *)
        [ $data = imagenette ] || continue
        recipe=(--data "$work/imagenette" --epochs 3 --batch 10 --lr 0.01 --tune off)
        ;;
    esac
    PLEAT_DATA=$work check_network "$network" $data
  done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
