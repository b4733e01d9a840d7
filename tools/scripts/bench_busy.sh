#!/usr/bin/env bash
# What is left of Pleat's speed when other programs want the same cores: training, with PyTorch's where it can be installed,
# and the engine, beside 0, 1, 2 and 4 busy loops of equal priority; several Pleat processes at once; a control group's quota
# of one core. Prints tables and writes results/bench-busy-<cpu>.json.
# usage: bench_busy.sh BUILD [STEPS]      (default: 20 training steps of each network in each state)
#
# The fair share of T threads beside B busy loops on C cores is what a scheduler that treats all threads alike grants them,
# T * C / (T + B) cores, of the C that they have alone. "kept" is the share of the quiet rate, by the mean step.
# The busy loops are children of this script, and so in its session. They have to be: Linux groups processes by sessions
# (/proc/sys/kernel/sched_autogroup_enabled) and is fair to the groups first, so that a loop started elsewhere, in another
# terminal, say, would compete with all of Pleat's threads together, and would get more than its share.
# Where PyTorch goes: tools/scripts/python_with.sh.
set -euo pipefail

build=$1 steps=${2:-20} batch=128 loops=(0 1 2 4)
here=$(dirname "$0")
. "$here/bench_machine.sh" "$build"
. "$here/bench_workers.sh"
work=$(mktemp -d)
neighbours=()
stop_neighbours() {
  [ ${#neighbours[@]} -eq 0 ] || { kill "${neighbours[@]}" && wait "${neighbours[@]}"; } 2>/dev/null || true
  neighbours=()
}
finish() {
  stop_neighbours
  kill_workers
  rm -rf "$work"
}
trap finish EXIT

start_neighbours() { # start_neighbours COUNT
  local i
  for ((i = 0; i < $1; ++i)); do
    while :; do :; done &
    neighbours+=($!)
  done
  sleep 0.5 # until the scheduler has spread them
}
note() { # note KIND NETWORK WHO LOOPS JSON: a line of $work/measured
  jq -nc --arg kind "$1" --arg net "$2" --arg who "$3" --argjson loops "$4" --argjson fair \
    "$(jq -n "$threads / ($threads + $4) * ([$threads + $4, $cores] | min) / ([$threads, $cores] | min)")" "$5 + {\$kind, \$net, \$who, \$loops, \$fair}" \
    >>"$work/measured"
}
train() { # train THREADS RUNS: prints images a second by the mean step
  "$build/pleat" bench "$net" --training --batch $batch --threads "$1" --warmup 2 --runs "$2" --json --quiet 2>"$work/log" |
    jq "$batch * 1000 / .models[0].mean_ms"
}

cores=$(jq .physical_cores <<<"$doctor")
python=$("$here/python_with.sh" "$build" torch==2.13.0 numpy) || { echo "PyTorch is not to be had and left out" >&2; python=; }
for net in resnet20 mobilenet_v2_1.0_cifar vgg16_bn; do
  train "$threads" 1 >"$work/tuned" # convolutions are tuned while it is quiet
  torch=
  if [ -n "$python" ] && start_worker torch "$work/log" "$python" "$here/bench_train_torch.py" --net $net \
    --batch $batch --warmup 2 --threads "$threads"; then torch=1; fi
  for count in "${loops[@]}"; do
    start_neighbours "$count"
    note training $net pleat "$count" "{rate: $(train "$threads" "$steps")}"
    if [ -n "$torch" ]; then
      start=$EPOCHREALTIME
      ask torch "$steps"
      note training $net torch "$count" "{rate: ($batch * $steps / ($EPOCHREALTIME - $start))}"
    fi
    stop_neighbours
    echo "$net, $count busy loops" >&2
  done
  dismiss_all
done

net=mobilenet_v2_1.0
for count in "${loops[@]}"; do
  start_neighbours "$count"
  reply=$("$build/pleat" bench $net --batch 1 --threads "$threads" --runs 200 --json --quiet 2>"$work/log" |
    jq -c '.models[0] | {median_ms, p99_ms, rate: (1000 / .median_ms)}')
  note engine $net pleat "$count" "$reply"
  stop_neighbours
done

# Several processes at once: each counts the steps of the time in which all of them compute.
net=resnet20
alone=$(train "$threads" "$steps")
for processes in 2 4; do
  waits=()
  for ((i = 0; i < processes; ++i)); do
    train "$threads" "$steps" >"$work/rate.$i" &
    waits+=($!)
  done
  wait "${waits[@]}"
  note processes $net pleat 0 "{processes: $processes, kept: ($(cat "$work"/rate.[0-9] | paste -sd+) | . / $alone)}"
  rm "$work"/rate.[0-9]
done

# A group of 1.0 cores: of version 2, or of version 1's controller.
limit_group() {
  group=/sys/fs/cgroup/pleat-bench-$$
  [ -e /sys/fs/cgroup/cgroup.controllers ] || group=/sys/fs/cgroup/cpu/pleat-bench-$$
  mkdir "$group" || return 1
  if [ -e "$group/cpu.max" ]; then echo "100000 100000" >"$group/cpu.max"; else echo 100000 >"$group/cpu.cfs_quota_us"; fi
}
if limit_group 2>/dev/null; then
  one=$(train 1 "$steps")
  # Without --threads: the quota is what the default must heed.
  limited=$(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$build/pleat" bench $net --training --batch $batch \
    --warmup 2 --runs "$steps" --json --quiet 2>"$work/log" | jq "$batch * 1000 / .models[0].mean_ms")
  note quota $net pleat 0 "{cores: 1, kept: ($limited / $one)}"
else
  echo "no control group can be made here: the quota is not measured" >&2
fi
rmdir "$group" 2>/dev/null || true

result=$(results_for bench-busy).json
jq -s --argjson doctor "$doctor" --argjson steps "$steps" '
  (map(select(.loops == 0 and .rate)) | map({key: "\(.kind) \(.net) \(.who)", value: .rate}) | from_entries) as $quiet
  | {command: "make bench-busy", cpu: $doctor.cpu, features: $doctor.features, threads: $doctor.threads, steps: $steps,
     results: map(if .rate then .kept = .rate / $quiet["\(.kind) \(.net) \(.who)"] | .of_fair = .kept / .fair else . end)}' \
  "$work/measured" >"$work/result"
mv "$work/result" "$result"
chmod 644 "$result"

printf '\n%-24s %-9s %6s %12s %9s %8s %8s\n' network who loops "rate, 1/s" "fair" kept "of fair"
jq -r '.results[] | select(.rate) | [.net, .who, .loops, .rate, 100 * .fair, 100 * .kept, 100 * .of_fair] | @tsv' "$result" |
  while IFS=$'\t' read -r net who loops rate fair kept of_fair; do
    LC_ALL=C printf '%-24s %-9s %6s %12.1f %8.0f%% %7.0f%% %7.0f%%\n' "$net" "$who" "$loops" "$rate" "$fair" "$kept" "$of_fair"
  done
jq -r '.results[] | select(.kind == "engine") | "\(.net), batch 1, \(.loops) busy loops: median \(.median_ms) ms, p99 \(.p99_ms) ms"' "$result"
jq -r '.results[] | select(.processes) | "\(.processes) processes: together \(100 * .kept | round)% of one alone"' "$result"
jq -r '.results[] | select(.cores) | "quota of one core: \(100 * .kept | round)% of one thread"' "$result"
echo "-> $result" >&2
