#!/usr/bin/env bash
# Training speed, Pleat against PyTorch (eager and compile): every network below in every precision of this CPU, in
# interleaved rounds. Prints the medians over the rounds as a table and writes results/bench-train-<cpu>.json, with the
# peak memory of the processes.
# usage: bench_train.sh BUILD [ROUNDS [STEPS]]      (default: 5 rounds; steps a round as below)
# Where PyTorch goes: tools/python_with.sh.
set -euo pipefail

build=$1 rounds=${2:-5}
declare -A steps=([resnet20]=10 [vgg16_bn]=4 [mobilenet_v2_1.0_cifar]=4)
batch=128 warmup=3
here=$(dirname "$0")
python=$("$here/python_with.sh" "$build" torch==2.13.0 numpy)
. "$here/bench_machine.sh" "$build"
log=$(mktemp) rates=$(mktemp)
trap 'rm -f "$log" "$rates"' EXIT

# One round, {images_per_second, peak_memory (bytes)}: who, network, precision, steps.
run() {
  if [ "$1" = pleat ]; then
    "$build/pleat" bench "$2" --training --dtype "$3" --batch $batch --warmup $warmup --runs "$4" --threads "$threads" \
      --json --quiet | jq -e '.models[0] | {images_per_second, peak_memory, algorithms}'
  else
    "$python" "$here/bench_train_torch.py" --mode "$1" --net "$2" --dtype "$3" --batch $batch --warmup $warmup \
      --steps "$4" --threads "$threads"
  fi
}

for ((round = 1; round <= rounds; ++round)); do
  for net in resnet20 vgg16_bn mobilenet_v2_1.0_cifar; do
    for precision in "${precisions[@]}"; do
      for who in pleat eager compile; do
        if ! result=$(run $who $net "$precision" "${3:-${steps[$net]}}" 2>"$log"); then
          result='{"images_per_second": 0, "peak_memory": 0}'
          echo "round $round: $net $precision: $who failed and counts as 0: $(grep -i error "$log" | tail -n 1)" >&2
        fi
        echo "round $round: $net $precision $who $(jq .images_per_second <<<"$result") images/s" >&2
        jq --arg net $net --arg precision "$precision" --arg who $who '. + {$net, $precision, $who}' <<<"$result" >>"$rates"
      done
    done
  done
done

result=$(results_for bench-train).json
jq -s --argjson doctor "$doctor" --argjson batch $batch --argjson rounds "$rounds" \
  --arg torch "$("$python" -c 'import torch; print(torch.__version__)')" '
  def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
  {command: "make bench-train", cpu: $doctor.cpu, features: $doctor.features, threads: $doctor.threads,
   onednn: $doctor.onednn, $torch, $batch, $rounds,
   results: [group_by([.net, .precision])[] | . as $all
     | (reduce group_by(.who)[] as $of ({}; .[$of[0].who] = $of)) as $by_who
     | ($by_who | map_values(map(.images_per_second) | median)) as $medians
     | ([$medians.eager, $medians.compile] | max) as $best
     | {network: $all[0].net, precision: $all[0].precision, images_per_second: $medians,
        ratio_to_best_torch: (if $best > 0 then $medians.pleat / $best else null end),
        peak_memory: ($by_who | map_values(map(.peak_memory) | max)), algorithms: $by_who.pleat[0].algorithms,
        each_round: ($by_who | map_values(map(.images_per_second)))}]}' \
  "$rates" >"$log"
mv "$log" "$result"
chmod 644 "$result"

printf '\n%-24s %-9s %8s %12s %14s %20s %22s\n' network precision pleat "torch eager" "torch compile" \
  "ratio to the better" "MB: pleat, least torch"
jq -r '.results[] | [.network, .precision, (.images_per_second | .pleat, .eager, .compile), .ratio_to_best_torch,
  (.peak_memory | .pleat, ([.eager, .compile] | map(select(. > 0)) | min)) / 1e6] | @tsv' \
  "$result" | while IFS=$'\t' read -r net precision pleat eager compile ratio own least; do
  LC_ALL=C printf '%-24s %-9s %8.1f %12.1f %14.1f %20.2f %15.0f %6.0f\n' "$net" "$precision" "$pleat" "$eager" "$compile" \
    "${ratio:-0}" "$own" "${least:-0}"
done
echo "images a second, batch $batch, $threads threads, medians of $rounds rounds -> $result" >&2
