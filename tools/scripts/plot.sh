#!/usr/bin/env bash
# Draws training runs: top-1 of each over its epochs and, for a run of prefold, the alphas.
# usage: plot.sh OUT.png DIR...      (folders with a log.jsonl, as train, prefold and finetune write them)
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: plot.sh OUT.png DIR..." >&2
  exit 2
fi
out=$1
shift
for tool in jq gnuplot; do
  command -v $tool >/dev/null || { echo "plot.sh: $tool is missing; tools/scripts/setup.sh demo installs it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

accuracies="" panels=1
alphas=()
names=()
longest=1
n=0
for dir in "$@"; do
  [ -s "$dir/log.jsonl" ] || { echo "plot.sh: $dir/log.jsonl: is missing, or holds no epoch" >&2; exit 1; }
  n=$((n + 1))
  name=$(basename "$dir")
  jq -r '[.epoch, 100 * .test_top1, 100 * .train_top1] | @tsv' "$dir/log.jsonl" >"$work/accuracy$n"
  epochs=$(wc -l <"$work/accuracy$n")
  if [ "$epochs" -gt "$longest" ]; then longest=$epochs; fi
  accuracies+="'$work/accuracy$n' using 1:2 with linespoints linestyle $n title '$name, test', "
  accuracies+="'' using 1:3 with lines linestyle $n dashtype 3 title '$name, training', "
  if [ "$(head -n 1 "$dir/log.jsonl" | jq 'has("alphas")')" = true ]; then
    # Columns: the epoch, then one for each alpha, in network order; the first line holds their names.
    jq -rs '(.[0].alphas | keys_unsorted) as $k | (["epoch"] + $k), (.[] | [.epoch] + [.alphas[$k[]]]) | @tsv' \
      "$dir/log.jsonl" >"$work/alphas$n"
    alphas+=("$work/alphas$n")
    names+=("$name")
    panels=$((panels + 1))
  fi
done

# A mark for each epoch, as long as they can be told apart.
marks=$((longest / 20 + 1))
{
  cat <<EOF
set terminal pngcairo size 1100,$((460 * panels)) font 'sans,12' background '#ffffff'
set output '$out'
set multiplot layout $panels,1
set grid linecolor '#dddddd' linetype 1
set border 3 linecolor '#666666'
set tics nomirror out
set key outside right top Left reverse samplen 2 font ',10'
set lmargin 9
set rmargin 26
set xlabel 'epoch'
set xtics nomirror $((longest / 20 + 1))
EOF
  n=0
  for colour in '#0072b2' '#d55e00' '#009e73' '#cc79a7' '#56b4e9' '#e69f00'; do
    n=$((n + 1))
    echo "set style line $n linecolor '$colour' linewidth 2 pointtype 7 pointsize 0.7 pointinterval $marks"
  done
  echo "set title 'Accuracy' font ',14'; set ylabel 'top-1, %'; set xrange [0.5:$longest.5]"
  echo "plot ${accuracies%, }"
  for i in "${!alphas[@]}"; do
    columns=$(head -n 1 "${alphas[$i]}" | wc -w)
    # From the network's first activation (dark) to its last (bright).
    cat <<EOF
set title 'Alphas, ${names[$i]}: 1 is the identity, 0 the activation as it was' font ',14'
set ylabel 'alpha'; set yrange [-0.03:1.03]; set xrange [0.5:$(($(wc -l <"${alphas[$i]}") - 1)).5]
set palette defined (0 '#30123b', 0.2 '#4662d7', 0.4 '#1bcfd4', 0.6 '#8fd94a', 0.8 '#fb8022', 1 '#7a0403')
unset colorbox; set cbrange [2:$columns]
plot for [i=2:$columns] '${alphas[$i]}' using 1:i:(i) with linespoints linewidth 2 pointtype 7 pointsize 0.6 \
  pointinterval $marks linecolor palette title columnheader(i) noenhanced
EOF
  done
  echo "unset multiplot"
} >"$work/plot.gnuplot"
gnuplot "$work/plot.gnuplot"
