#!/usr/bin/env bash
# Every network on every data set of CIFAR, on a few hundred of its pictures: a short training lowers the loss, goes on
# bit for bit after an interruption, pre-folds; folded with random masks, merged = unmerged within 1e-4 of the logits'
# range, borders exact and moved. Networks for ImageNet have no such data set: they are folded as they start.
# usage: check_networks.sh BUILD [NETWORK...]     (default: all of `pleat list`); MASKS=20 a network, $PLEAT_DATA
set -euo pipefail

build=$(realpath "${1:?usage: check_networks.sh BUILD [NETWORK...]}")
shift
pleat=$build/pleat
masks=${MASKS:-20}
pictures=40 # of each training batch file
command -v jq >/dev/null || { echo "check-networks: jq is missing; tools/setup.sh demo installs it" >&2; exit 1; }
whole_sets=$(realpath -m "${PLEAT_DATA:-local/data}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # check WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "  FAIL  $what"
  fi
}
quiet() { "$pleat" "$@" --quiet --json >"$work/out.json" 2>"$work/err.txt" || { cat "$work/err.txt" >&2; return 1; }; }

# The first pictures of a data set, in its own layout.
shorten() {
  local file
  case $1 in
    cifar10) set -- cifar-10-batches-bin 3073 ;;
    cifar100) set -- cifar-100-binary 3074 ;;
  esac
  [ -d "$whole_sets/$1" ] || return 1
  mkdir -p "$work/$1"
  cp "$whole_sets/$1"/*.txt "$work/$1"
  for file in "$whole_sets/$1"/*.bin; do head -c $((pictures * $2)) "$file" >"$work/$1/$(basename "$file")"; done
}

lowers_the_loss() { jq -es 'map(select(.train_loss)) | .[-1].train_loss < .[0].train_loss' "$work/whole/log.jsonl" >/dev/null; }

# Stops a training after its first epoch, goes on, and compares.
resumes() {
  "$pleat" train "$1" "${recipe[@]}" --out "$work/broken" --quiet >"$work/out.json" 2>&1 &
  local run=$!
  until [ "$(wc -l 2>/dev/null <"$work/broken/log.jsonl" || echo 0)" -ge 1 ] || ! kill -0 $run 2>/dev/null; do sleep 0.05; done
  kill -INT $run 2>/dev/null || true
  wait $run || true
  [ "$(wc -l <"$work/broken/log.jsonl")" -lt 3 ] || { echo "  ended before it was interrupted" >&2; return 1; }
  quiet train "$1" "${recipe[@]}" --out "$work/broken" --resume &&
    cmp -s "$work/whole/model.safetensors" "$work/broken/model.safetensors"
}

# Of the unmerged and the merged network, both from model $1 without the activations of mask $2.
merges() {
  local borders
  for borders in exact reorder; do
    quiet fold "$1" --mask "$2" --max-kernel 5 --merge none --borders $borders --out "$work/unmerged.safetensors" &&
      quiet fold "$1" --mask "$2" --max-kernel 5 --borders $borders --out "$work/merged.safetensors" &&
      quiet verify "$work/unmerged.safetensors" "$work/merged.safetensors" --random 10 &&
      jq -e '.max_rel_diff <= 1e-4' "$work/out.json" >/dev/null || return 1
  done
}

folds() {
  local i cell mask cells
  quiet fold "$1" --threshold 1 --merge none --out "$work/none.safetensors"
  cells=$(jq -r '.mask | length' "$work/out.json")
  for ((i = 0; i < masks; ++i)); do
    mask=
    for ((cell = 0; cell < cells; ++cell)); do mask+=$([ $((RANDOM % 2)) = 0 ] && echo '#' || echo .); done
    check "$1: mask $mask" merges "$1" "$mask"
  done
}

networks=("$@")
[ $# -gt 0 ] || mapfile -t networks < <("$pleat" list --json | jq -r '.models[]')
RANDOM=1
for data in cifar10 cifar100; do
  shorten $data || { echo "skipped: no $data in $whole_sets"; continue; }
  export PLEAT_DATA=$work
  for network in "${networks[@]}"; do
    case $network in
      resnet* | vgg* | *_cifar) ;;
      *) continue ;;
    esac
    echo "$network, $data"
    rm -rf "$work"/{whole,broken,prefold}
    recipe=(--data $data --epochs 3 --batch 40 --lr 0.02)
    check "trains" quiet train "$network" "${recipe[@]}" --out "$work/whole"
    check "lowers the loss" lowers_the_loss
    check "resumes bit for bit" resumes "$network"
    check "pre-folds" quiet prefold "$work/whole/model.safetensors" --data $data --epochs 1 --batch 40 --lr 0.01 --out "$work/prefold"
    folds "$work/prefold/model.safetensors"
  done
done
for network in "${networks[@]}"; do
  case $network in
    resnet* | vgg* | *_cifar) continue ;;
  esac
  echo "$network"
  folds "$network"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
