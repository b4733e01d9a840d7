#!/usr/bin/env bash
# Runs every fuzz target in DIR (fuzz-NAME) on its seeds and on mutations of them, for SECONDS in all. After a crash it prints
# the file with the input that caused it and exits with 1. usage: fuzz.sh DIR SECONDS
set -euo pipefail
dir=$1 seconds=$2
targets=("$dir"/fuzz-*)

for target in "${targets[@]}"; do
  name=${target##*/fuzz-}
  mkdir -p "$dir/corpus/$name"
  echo "fuzz: $name"
  "$target" -max_total_time=$((seconds / ${#targets[@]})) -timeout=10 -rss_limit_mb=4096 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix="$dir/$name-" "$dir/corpus/$name" "tests/fuzz/seeds/$name" 2>&1 |
    grep -vE '^(Dictionary|stat::(new_units|slowest|peak|average))|^$|^#####|^"|INFO'
done
