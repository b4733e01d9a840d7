#!/usr/bin/env bash
# Draws a result of tools/scripts/bench_infer.sh: for every case the speed of each runtime relative to the fastest besides Pleat.
# usage: plot_infer.sh RESULT.json OUT.png
set -euo pipefail

result=$1 out=$2
for tool in jq gnuplot; do
  command -v $tool >/dev/null || { echo "plot_infer.sh: $tool is missing; tools/scripts/setup.sh peers installs it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One file for each precision, with a line for each case and a column for each runtime; 0 where one did not run.
mapfile -t precisions < <(jq -r '[.results[].precision] | unique | reverse[]' "$result")
mapfile -t runtimes < <(jq -r '[.results[].median_ms | keys[]] | unique | sort_by(startswith("pleat") | not)[]' "$result")
for precision in "${precisions[@]}"; do
  jq -r --arg precision "$precision" '([.results[].median_ms | keys[]] | unique | sort_by(startswith("pleat") | not)) as $all
    | .results[] | select(.precision == $precision) | . as $r
    | [.case | split(":")[:2] | join(", batch ")]
      + [$all[] | $r.median_ms[.] as $ms | if $ms and $r.best_peer then $r.median_ms[$r.best_peer] / $ms else 0 end] | @tsv' \
    "$result" >"$work/$precision"
done
colours=('#0072b2' '#d55e00' '#009e73' '#cc79a7' '#56b4e9' '#e69f00' '#999999' '#000000')
{
  cat <<EOG
set terminal pngcairo size 1300,$((430 * ${#precisions[@]})) font 'sans,11' background '#ffffff'
set output '$out'
set multiplot layout ${#precisions[@]},1
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set grid ytics linecolor '#dddddd' linetype 1
set border 3 linecolor '#666666'
set tics nomirror out
set yrange [0:*]
set ylabel 'speed (fastest peer: 1)'
set xtics rotate by -12 font ',10' noenhanced
set key outside right top Left reverse samplen 1 font ',10' noenhanced
set datafile separator '\t'
EOG
  for precision in "${precisions[@]}"; do
    plots=
    for i in "${!runtimes[@]}"; do
      plots+="'$work/$precision' using $((i + 2)):xtic(1) linecolor '${colours[i % 8]}' title '${runtimes[i]}', "
    done
    echo "set title '$(jq -r '"\(.cpu), \(.threads) threads"' "$result"), $precision'"
    echo "plot ${plots%, }"
  done
} >"$work/plot.gnuplot"
gnuplot "$work/plot.gnuplot"
