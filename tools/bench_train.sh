#!/usr/bin/env bash
# ResNet-20 training, f32: Pleat against PyTorch (eager and compile), interleaved, medians over the rounds.
# usage: bench_train.sh BUILD [ROUNDS]      (PyTorch goes into BUILD/torch-venv; needs python3-venv and network once)
set -euo pipefail

build=$1 rounds=${2:-5}
batch=128 steps=10 threads=$("$build/pleat" doctor --json --quiet 2>/dev/null | jq .threads)
here=$(dirname "$0")
python=${PLEAT_TORCH_PYTHON:-$build/torch-venv/bin/python}

if [ ! -x "$python" ]; then
  echo "bench: installing PyTorch 2.13.0 into $build/torch-venv" >&2
  python3 -m venv "$build/torch-venv"
  "$build/torch-venv/bin/pip" install --quiet torch==2.13.0 numpy
fi

pleat() { "$build/pleat" bench resnet20 --training --batch $batch --runs $steps --threads "$threads" --json 2>/dev/null | jq '.models[0].images_per_second'; }
torch() { "$python" "$here/bench_train_torch.py" --batch $batch --steps $steps --threads "$threads" --mode "$1"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

declare -A rates=([pleat]="" [eager]="" [compile]="")
for ((round = 1; round <= rounds; ++round)); do
  for who in pleat eager compile; do
    if [ $who = pleat ]; then rate=$(pleat); else rate=$(torch $who || echo 0); fi
    rates[$who]+="$rate"$'\n'
    echo "round $round: $who $rate images/s" >&2
  done
done

p=$(printf %s "${rates[pleat]}" | median) e=$(printf %s "${rates[eager]}" | median) c=$(printf %s "${rates[compile]}" | median)
cpu=$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)
jq -n --arg cpu "$cpu" --argjson threads "$threads" --argjson batch $batch --argjson rounds "$rounds" \
  --argjson pleat "$p" --argjson eager "$e" --argjson compile "$c" \
  '{network: "resnet20 with alphas, 32x32", precision: "f32", $cpu, $threads, $batch, $rounds,
    images_per_second: {$pleat, torch_eager: $eager, torch_compile: $compile},
    ratio_to_best_torch: ($pleat / ([$eager, $compile] | max))}'
