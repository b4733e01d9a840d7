#!/usr/bin/env bash
# Compares the speed of training with PyTorch (eager and compile): every network below in every precision of this CPU.
# PyTorch's processes prepare once; then all take turns, one at a time. Prints the medians over the rounds as a table and
# writes results/bench-train-<cpu>.json, which also has the peak memory of each process, and the share that Pleat reaches of
# the rate that oneDNN's convolutions alone would allow. That rate is taken from a step in which oneDNN computes all
# convolutions, of which only the time of convolutions and linear layers is counted. Winograd may exceed it.
# usage: bench_train.sh BUILD [ROUNDS [STEPS]]      (default: 5 rounds; steps a round as below)
# PyTorch is installed by tools/scripts/python_with.sh.
set -euo pipefail

build=$1 rounds=${2:-5}
declare -A steps=([resnet20]=10 [vgg16_bn]=4 [mobilenet_v2_1.0_cifar]=4)
batch=128 warmup=3
here=$(dirname "$0")
python=$("$here/python_with.sh" "$build" torch==2.13.0 numpy)
. "$here/bench_machine.sh" "$build"
. "$here/bench_workers.sh"
work=$(mktemp -d)
finish() {
  kill_workers
  rm -rf "$work"
}
trap finish EXIT

# pleat OPTIONS...: times training steps; sets `reply`.
pleat() {
  reply=$("$build/pleat" bench "$net" --training --dtype "$precision" --batch $batch --threads "$threads" --json --quiet \
    "$@" 2>"$work/log" | jq -c '.models[0]') && [ -n "$reply" ]
}
# convolutions OPTIONS...: the same for oneDNN's convolutions alone; sets `reply`.
convolutions() {
  pleat --profile --tune "$direct" "$@" && reply=$(jq -c --argjson batch $batch '{images_per_second: ($batch * 1000 /
    ([.profile.kinds[] | select(.kind | IN("conv2d", "depthwise_conv2d", "linear")) | .total_ms] | add)), peak_memory: 0}' \
    <<<"$reply")
}
# note WHO FILTER: adds `reply` to $work/rates.
note() {
  jq -c --arg net "$net" --arg precision "$precision" --arg who "$1" "$2 + {\$net, \$precision, \$who}" <<<"$reply" >>"$work/rates"
}

for net in resnet20 vgg16_bn mobilenet_v2_1.0_cifar; do
  for precision in "${precisions[@]}"; do
    runs=${3:-${steps[$net]}} ready=(pleat convolutions)
    pleat --runs 1
    direct=$(jq -r '.algorithms | gsub("."; "d")' <<<"$reply")
    for mode in eager compile; do
      if start_worker $mode "$work/log" "$python" "$here/bench_train_torch.py" --mode $mode --net $net \
        --dtype "$precision" --batch $batch --warmup $warmup --threads "$threads"; then
        ready+=($mode)
      else
        echo "$net $precision: $mode failed and counts as 0: $(grep -i error "$work/log" | tail -n 1)" >&2
        reply='{"images_per_second": 0, "peak_memory": 0}'
        note $mode .
      fi
    done
    for ((round = 1; round <= rounds; ++round)); do
      line="round $round: $net $precision"
      for who in "${ready[@]:round % ${#ready[@]}}" "${ready[@]:0:round % ${#ready[@]}}"; do # each round begins with another one
        sleep 0.1 # the threads of the one before may still be spinning
        case $who in
          pleat | convolutions) $who --warmup $warmup --runs "$runs" ;;
          *) ask "$who" "$runs" ;;
        esac ||
          { echo "$net $precision: $who died: $(tail -n 1 "$work/log")" >&2; exit 1; }
        note "$who" '{images_per_second, peak_memory, algorithms}'
        line+=", $who $(jq '.images_per_second | round' <<<"$reply")"
      done
      echo "$line images/s" >&2
    done
    dismiss_all
  done
done

result=$(results_for bench-train).json
jq -s --argjson doctor "$doctor" --argjson batch $batch --argjson rounds "$rounds" \
  --arg torch "$("$python" -c 'import torch; print(torch.__version__)')" '
  def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
  # The median over the rounds of the ratio within a round, so that a drifting machine does little harm.
  def to($other): [.pleat, .[$other]] | transpose | map(.[0] / .[1]) | median;
  {command: "make bench-train", cpu: $doctor.cpu, features: $doctor.features, threads: $doctor.threads,
   onednn: $doctor.onednn, $torch, $batch, $rounds,
   results: [group_by([.net, .precision])[] | . as $all
     | (reduce group_by(.who)[] as $of ({}; .[$of[0].who] = $of)) as $by_who
     | ($by_who | map_values(map(.images_per_second))) as $rates
     | ($rates | map_values(median)) as $medians
     | (if $medians.eager > $medians.compile then "eager" else "compile" end) as $best
     | {network: $all[0].net, precision: $all[0].precision, images_per_second: $medians,
        ratio_to_best_torch: (if $medians[$best] > 0 then $rates | to($best) else null end),
        share_of_convolutions_alone: ($rates | to("convolutions")),
        peak_memory: ($by_who | del(.convolutions) | map_values(map(.peak_memory) | max)), algorithms: $by_who.pleat[0].algorithms,
        each_round: $rates}]}' \
  "$work/rates" >"$work/result"
mv "$work/result" "$result"
chmod 644 "$result"

printf '\n%-24s %-9s %8s %12s %14s %20s %13s %22s\n' network precision pleat "torch eager" "torch compile" \
  "ratio to the better" "of conv alone" "MB: pleat, least torch"
jq -r '.results[] | [.network, .precision, (.images_per_second | .pleat, .eager, .compile), .ratio_to_best_torch,
  100 * .share_of_convolutions_alone, (.peak_memory | .pleat, ([.eager, .compile] | map(select(. > 0)) | min)) / 1e6] | @tsv' \
  "$result" | while IFS=$'\t' read -r net precision pleat eager compile ratio share own least; do
  LC_ALL=C printf '%-24s %-9s %8.1f %12.1f %14.1f %20.2f %12.0f%% %15.0f %6.0f\n' "$net" "$precision" "$pleat" "$eager" \
    "$compile" "${ratio:-0}" "$share" "$own" "${least:-0}"
done
echo "images a second, batch $batch, $threads threads, medians of $rounds rounds -> $result" >&2
