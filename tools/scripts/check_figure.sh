#!/usr/bin/env bash
# Checks `make figure` on a tiny data set: what it would train and in what order; that it draws; that a figure whose
# experiments are killed again and again ends in the same bytes; that nothing finished is trained again; what it refuses.
# usage: check_figure.sh BUILD
set -uo pipefail
build=$(realpath "${1:?usage: check_figure.sh BUILD}")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PLEAT_DATA=$PWD/tests/fixtures/data XDG_CACHE_HOME=$work/cache TMPDIR=$work
unset NETWORKS DATA BUDGET SEED OPTIONS RUNS RESULTS TRAIN
source tools/scripts/counted_checks.sh

# fails_with CODE TEXT COMMAND...: the command fails with this code and says this.
fails_with() {
  local code=$1 text=$2 status=0
  shift 2
  "$@" >"$work/said.txt" 2>&1 || status=$?
  cat "$work/said.txt"
  [ $status -eq "$code" ] && grep -qF -- "$text" "$work/said.txt"
}
contains() { grep -qF -- "$2" <<<"$1" || { echo "expected '$2' in"; echo "$1"; return 1; }; }
same() { [ "$1" = "$2" ] || { echo "got '$1', expected '$2'"; return 1; }; }
tasks() { env "$@" RUNS="$work/none" RESULTS="$work/none" tools/scripts/figure_tasks.sh build; }

cat >"$work/tiny.json" <<'END'
{"train": {"epochs": 2, "batch": 4, "lr": 0.05}, "prefold": {"epochs": 1, "batch": 4, "lr": 0.01},
 "finetune": {"epochs": 2, "batch": 4, "lr": 0.01}}
END
# figure FOLDER [NAME=VALUE...]: two small experiments and their figure.
figure() {
  local folder=$1
  shift
  env NETWORKS="resnet20 mobilenet_v2_0.75_cifar" DATA=cifar10 RUNS="$work/$folder/runs" RESULTS="$work/$folder" \
    OPTIONS="--recipe $work/tiny.json --depths 12,9 --threads 2 --seconds 0 --tune off --quiet" "$@" \
    tools/scripts/figure.sh "$build"
}
is_picture() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] && [ "$(wc -c <"$1")" -gt 10000 ]; }
# Everything in curves/*.json but what is measured.
unmeasured() { jq -S 'del(.. | .seconds?, .latency_ms?, .latency_ms_base?, .latency_ms_kept?)' "$work/$1"/curves/*.json; }
models() { (cd "$work/$1/runs" && find . -name '*.safetensors' -exec sha256sum {} + | sort -k 2); }

check "all tasks" same "$(tasks A=1 | wc -l)" 18
check "the order: most for the next hour first" same "$(tasks A=1 | sed -n '1p;2p;10p' | cut -d ' ' -f 3,5 | tr '\n' ';')" \
  "resnet20 cifar10;vgg16_bn cifar10;resnet20 cifar100;"
check "a task is one command" same "$(tasks NETWORKS=vgg19_bn DATA=cifar100 BUDGET=0.3 SEED=2 OPTIONS='--threads 2')" \
  "build/pleat curve vgg19_bn --data cifar100 --seed 2 --recipe vgg-cifar --budget 0.3 --threads 2 --out $work/none/vgg19_bn-cifar100-seed2"
check "an unknown network" fails_with 2 "'resnet18' is not in the paper's figure" env NETWORKS=resnet18 tools/scripts/figure_tasks.sh build
check "an unknown data set" fails_with 2 "got 'mnist', expected cifar10 or cifar100" env DATA=mnist tools/scripts/figure_tasks.sh build

check "trains and draws" figure whole
check "draws CIFAR-10" is_picture "$work/whole/figure-cifar10.png"
check "draws CIFAR-100 without curves" is_picture "$work/whole/figure-cifar100.png"
check "tables" contains "$(cat "$work/whole/figure.md")" "| resnet20 | cifar10 | 1 |"
check "the paper's figures" contains "$(cat "$work/whole/figure.md")" "(92.6) | 9 | 89.82 |"
check "every depth has its row" same "$(grep -c '^| .*`[#.]*` |$' "$work/whole/figure.md")" 4
check "no network is missing" contains "$(figure whole 2>/dev/null)" "no network is missing"

export -f figure
export work build
# kill -9 of the whole process group, at moments that hit both experiments and the drawing.
kills=0
for delay in 0.5 1.5 2.5 4 5.5; do
  setsid bash -c 'figure killed' >/dev/null 2>&1 &
  group=$!
  sleep $delay
  kill -0 $group 2>/dev/null || break
  kill -KILL -- -$group && kills=$((kills + 1))
  wait $group 2>/dev/null
done 2>/dev/null
check "killed at least three times" test $kills -ge 3
check "goes on" figure killed
check "the same curves as without being killed" same "$(unmeasured killed)" "$(unmeasured whole)"
check "the same models, byte for byte" same "$(models killed)" "$(models whole)"

# Each line alone, as GNU parallel would run it.
each_task() {
  local task
  figure_tasks apart | while read -r task; do bash -c "$task" || return 1; done
}
figure_tasks() {
  env NETWORKS=resnet20 DATA=cifar10 RUNS="$work/$1/runs" RESULTS="$work/$1" \
    OPTIONS="--recipe $work/tiny.json --depths 12,9 --threads 2 --seconds 0 --tune off --quiet" tools/scripts/figure_tasks.sh "$build"
}
check "tasks by themselves" each_task
check "are then no tasks any more" same "$(figure_tasks apart)" ""
check "are collected without training" figure apart TRAIN=0
check "and are the same" cmp <(jq -S 'del(.. | .seconds?, .latency_ms?, .latency_ms_base?, .latency_ms_kept?)' "$work/apart/curves/resnet20-cifar10.json") \
  <(jq -S 'del(.. | .seconds?, .latency_ms?, .latency_ms_base?, .latency_ms_kept?)' "$work/whole/curves/resnet20-cifar10.json")

check "a data set that is not here" fails_with 1 "not done: all of cifar100, which is not here" figure apart DATA=cifar100 NETWORKS=resnet20
check "draws all the same" is_picture "$work/apart/figure-cifar100.png"
head -c 200 "$work/apart/curves/resnet20-cifar10.json" >"$work/cut" && cp "$work/cut" "$work/apart/curves/resnet20-cifar10.json"
rm -r "$work/apart/runs"
check "a curve that was cut short" fails_with 1 "resnet20-cifar10.json: cut short" figure apart TRAIN=0
check "the committed curves are drawn without training" env TRAIN=0 RUNS="$work/none" RESULTS="$work/committed" \
  bash -c 'mkdir -p "$RESULTS/curves"; cp results/curves/*.json "$RESULTS/curves"; tools/scripts/figure.sh build'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
