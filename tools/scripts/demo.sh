#!/usr/bin/env bash
# Shows all of Pleat in about ten minutes: trains a ResNet-20, learns which activations matter least, replaces the
# residual blocks around them by single convolutions fitted to pictures, fine-tunes with the first network as the
# teacher, merges, proves the merge by numbers and times both networks. Everything goes into BUILD/demo, which is made
# anew each time.
# usage: demo.sh BUILD
set -euo pipefail

build=${1:?usage: demo.sh BUILD}
pleat=$build/pleat
scripts=$(dirname "$0")
demo=$build/demo
train_seconds=300  # that all epochs together may take, unless even three epochs, the minimum, take longer
blocks=5           # of the nine residual blocks that become single convolutions; each saves 6% of the base's MACs
began=$SECONDS

section() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
# run NAME PROGRAM ARGUMENTS...: prints a command and runs it; its JSON result goes to $demo/NAME.json.
run() {
  local name=$1
  shift
  printf '$ %s\n' "$*"
  "$@" --json >"$demo/$name.json" || fail "$1 $2 failed (exit code $?)"
}
# get NAME FILTER: prints a field of a result.
get() { jq -er "$2" "$demo/$1.json"; }

for program in "$pleat" "$build/pleat-run"; do
  [ -x "$program" ] || fail "$program is missing; run make first"
done
for tool in jq gnuplot; do
  command -v $tool >/dev/null || fail "$tool is missing; tools/scripts/setup.sh demo installs it"
done
[ ! -e "$demo" ] || echo "removing the results of the last demo, $demo"
rm -rf "$demo"
mkdir -p "$demo"

section "Data"
have() { "$pleat" data info "$1" --json >"$demo/data.json" 2>/dev/null; }
if have cifar10; then
  data=cifar10
elif echo "CIFAR-10 is not in \$PLEAT_DATA or ./local: fetching it (170 MB)" &&
  "$pleat" data fetch cifar10 --json >"$demo/data.json"; then
  data=cifar10
else
  echo "CIFAR-10 is not available, so Fashion-MNIST takes its place, from Debian's package dataset-fashion-mnist."
  data=fashion-mnist
  have $data || { "$scripts/setup.sh" demo && have $data; } ||
    fail "no data set found: set PLEAT_DATA to a folder that holds one (see pleat data info --help)"
fi
images=$(get data .images)
echo "$data: $images training pictures, $(get data .test_images) test pictures, $(get data .classes) classes"

section "Speed of this machine"
run speed "$pleat" bench resnet20 --training --batch 128 --warmup 1 --runs 5 --quiet
rate=$(get speed '.models[0].images_per_second | floor')
# Half of the epochs go to training, an eighth to pre-folding and the rest to fine-tuning, whose epochs take about as
# long: the teacher computes its logits as well, but the network does a third less work.
epochs=$((train_seconds * rate / images))
[ $epochs -ge 3 ] || epochs=3
[ $epochs -le 20 ] || epochs=20
first_epochs=$((epochs / 2))
fold_epochs=$((epochs / 8 > 0 ? epochs / 8 : 1))
tune_epochs=$((epochs - first_epochs - fold_epochs))
echo "$rate pictures a second: $first_epochs epochs of training, $fold_epochs of pre-folding, $tune_epochs of fine-tuning"

section "1. Train ResNet-20"
warmup=$(jq -n "$first_epochs * 0.3")
run train "$pleat" train resnet20 --data $data --epochs $first_epochs --schedule onecycle --warmup "$warmup" --lr 0.3 \
  --nesterov --seed 1 --out "$demo/train"
base=$demo/train/model.safetensors

section "2. Pre-fold: weights and alphas together, so that activations that matter little become the identity"
run prefold "$pleat" prefold "$base" --data $data --epochs $fold_epochs --lr 0.01 --seed 1 --out "$demo/prefold"
get prefold '.alphas | to_entries | sort_by(-.value)[] | "  \(.key)  \(.value * 1000 | round / 1000)"'

section "3. Fold: of the $blocks blocks whose inner activations have the largest alphas, fit one 3x3 convolution each"
# The mask has a character for each activation: '.' drops it, '#' keeps it. A block's inner activation is its alpha1.
mask=$(jq -er --argjson blocks $blocks '.alphas as $alphas
  | ($alphas | to_entries | map(select(.key | endswith(".alpha1"))) | sort_by(-.value) | .[:$blocks] | map(.key))
  as $drop
  | [$alphas | keys_unsorted[] | if IN($drop[]) then "." else "#" end] | add' "$demo/prefold.json")
run fold "$pleat" fold "$demo/prefold/model.safetensors" --mask "$mask" --fit $data --merge none \
  --out "$demo/folded.safetensors"
get fold '.plan.fits[] | "  \(.op) leaves \(.unexplained * 1000 | round / 10)% of the variance unexplained"'

section "4. Fine-tune the folded network, with the first network as its teacher"
run finetune "$pleat" finetune "$demo/folded.safetensors" --data $data --epochs $tune_epochs --teacher "$base" \
  --lr 0.01 --warmup 0.3 --schedule cosine --nesterov --alternate-flip --seed 1 --out "$demo/finetune"

section "5. Merge what is linear still: batch norms"
merged=$demo/merged.safetensors
run merge "$pleat" fold "$demo/finetune/model.safetensors" --out "$merged"

section "6. Verify that the merged and the fine-tuned network compute the same"
run verify "$pleat" verify "$demo/finetune/model.safetensors" "$merged" --data $data
jq -e '.max_rel_diff <= 1e-4 and .same_top1 >= 0.9999' "$demo/verify.json" >/dev/null ||
  fail "the merged network differs from the fine-tuned one: $(jq -c . "$demo/verify.json")"

section "7. Score both networks with pleat-run, the inference engine alone"
run base_score "$build/pleat-run" "$base" --data $data
run merged_score "$build/pleat-run" "$merged" --data $data

section "8. Time both networks in turn, one picture a call"
run bench "$pleat" bench "$base" "$merged" --batch 1

section "Before and after"
run base_sizes "$pleat" inspect "$base" 2>/dev/null
run merged_sizes "$pleat" inspect "$merged" 2>/dev/null
row() { printf '%-22s %12s %12s\n' "$@"; }
# row_of TITLE RESULT-KIND FILTER: one quantity of both networks.
row_of() { row "$1" "$(get "base_$2" "$3")" "$(get "merged_$2" "$3")"; }
{
  row "" ResNet-20 folded
  row_of "top-1, %" score '.top1 * 10000 | round / 100'
  row_of depth sizes .depth
  row_of convolutions sizes .convs
  row_of "MACs, millions" sizes '.macs / 1e4 | round / 100'
  row_of parameters sizes .params
  row "latency, ms" "$(get bench '.models[0].median_ms * 1000 | round / 1000')" \
    "$(get bench '.models[1].median_ms * 1000 | round / 1000')"
  row "times as fast" 1 "$(get bench '.models[1].ratio_to_first * 100 | round / 100')"
} | tee "$demo/table.txt"
echo
jq -nr --slurpfile base "$demo/base_score.json" --slurpfile merged "$demo/merged_score.json" \
  --slurpfile bench "$demo/bench.json" 'def hundredths: . * 100 | round / 100;
  "Folded: \($bench[0].models[1].ratio_to_first | hundredths) times as fast as the base, top-1 " +
  "\(($merged[0].top1 - $base[0].top1) * 100 | hundredths) points from it."'
jq -e '.models[1].ratio_to_first > 1' "$demo/bench.json" >/dev/null ||
  fail "the folded network is not faster than its base"
echo "A few epochs show how it works, not what the method reaches: docs/performance-log.md has whole runs."

"$scripts/plot.sh" "$demo/runs.png" "$demo/train" "$demo/prefold" "$demo/finetune"
section "Files, after $((SECONDS - began)) seconds"
find "$demo" -type f ! -name state.safetensors ! -name best.safetensors ! -name '*.json' -printf '%9s  %p\n' | sort -k 2
