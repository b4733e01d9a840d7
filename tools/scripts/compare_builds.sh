#!/usr/bin/env bash
# Whether a change made Pleat faster or slower: times two builds in turn, inference at batch 1 and training steps of three
# networks, every convolution chosen by rule so that both builds compute the same way. In each round the ratio is the old
# build's median time divided by the new one's: above 1, the new one is faster. The median of the rounds is printed, and the
# least and greatest of them, which say how noisy the machine is.
# usage: compare_builds.sh OLD NEW [ROUNDS]      OLD and NEW: folders with pleat in them; ROUNDS: default 15
set -euo pipefail

old=$1 new=$2 rounds=${3:-15}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Further precisions where the CPU has them.
dtypes=(f32)
if "$new/pleat" doctor --json --quiet 2>"$log" | jq -e '.features | any(. == "avx512_bf16" or . == "amx_bf16")' >/dev/null; then
  dtypes+=(bf16)
fi
cases=("resnet20 --runs 400" "vgg16_bn --runs 100" "mobilenet_v2_1.0 --runs 50"
  "resnet20 --training --batch 128 --warmup 2 --runs 6" "vgg16_bn --training --batch 64 --warmup 1 --runs 3"
  "mobilenet_v2_1.0_cifar --training --batch 32 --warmup 1 --runs 4")

median() { # median BUILD ARGUMENTS...: milliseconds
  local build=$1
  shift
  "$build/pleat" bench "$@" --tune off --json --quiet 2>"$log" | jq -e '.models[0].median_ms' || { cat "$log" >&2; exit 1; }
}

printf '%-58s %-5s %8s %8s %6s  %s\n' network dtype "old ms" "new ms" ratio "least and greatest round"
for arguments in "${cases[@]}"; do
  for dtype in "${dtypes[@]}"; do
    for ((round = 0; round < rounds; ++round)); do
      # Who begins changes from round to round: the first may find the machine cooler, or the second its caches warmer.
      # shellcheck disable=SC2086
      if ((round % 2)); then
        b=$(median "$new" $arguments --dtype "$dtype") a=$(median "$old" $arguments --dtype "$dtype")
      else
        a=$(median "$old" $arguments --dtype "$dtype") b=$(median "$new" $arguments --dtype "$dtype")
      fi
      echo "{\"old\": $a, \"new\": $b}"
    done | jq -sr --arg name "$arguments" --arg dtype "$dtype" '
      def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2] + .[length / 2 - 1]) / 2 end;
      (map(.old) | median) as $old | (map(.new) | median) as $new | map(.old / .new) as $ratios |
      [$name, $dtype, $old, $new, ($ratios | median), ($ratios | min), ($ratios | max)] | @tsv' |
      awk -F '\t' '{ printf "%-58s %-5s %8.3f %8.3f %6.3f  %.2f %.2f\n", $1, $2, $3, $4, $5, $6, $7 }'
  done
done
