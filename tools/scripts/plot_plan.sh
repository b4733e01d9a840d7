#!/usr/bin/env bash
# Draws a plan of `pleat plan`: speed-up against loss, as predicted and as measured.
# usage: plot_plan.sh OUT.png PLAN.json
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: plot_plan.sh OUT.png PLAN.json" >&2
  exit 2
fi
for tool in jq gnuplot; do
  command -v $tool >/dev/null || { echo "plot_plan.sh: $tool is missing; tools/scripts/setup.sh demo installs it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ "$(jq -r .format "$2")" = "pleat plan" ] || { echo "plot_plan.sh: $2: not a plan written by \`pleat plan\`" >&2; exit 1; }
# Columns: loss, predicted speed-up, measured speed-up, depth.
jq -r '.points | sort_by(.loss)[] | [.loss, .predicted_speedup, .measured_speedup, .depth] | @tsv' "$2" >"$work/points"
jq -r '.points[.chosen] | [.loss, .predicted_speedup] | @tsv' "$2" >"$work/chosen"
title=$(jq -r '"\(.model | sub(".*/"; "")), batch \(.batch), \(.threads) threads, \(.dtype): \(.base_ms * 1000 | round / 1000) ms unfolded"' "$2")
unit=$(jq -r .loss.text "$2")
cat >"$work/plot.gnuplot" <<END
set terminal pngcairo size 1000,620 font 'sans,12' background '#ffffff'
set output '$1'
set grid linecolor '#dddddd' linetype 1
set border 3 linecolor '#666666'
set tics nomirror out
set key top left reverse Left
set title '${title//\'/}' noenhanced font ',14'
set xlabel 'predicted loss: ${unit//\'/}' noenhanced font ',9'
set ylabel 'speed-up'
set xrange [0:*]; set offsets 0, graph 0.05, graph 0.08, graph 0.05
plot '$work/points' using 1:2 with points linecolor '#0072b2' pointtype 7 pointsize 1.2 title 'predicted', \
  '' using 1:3 with points linecolor '#d55e00' pointtype 4 pointsize 1.2 linewidth 2 title 'measured', \
  '' using 1:2:4 with labels offset 0,-1 font ',9' textcolor '#666666' title 'depth', \
  '$work/chosen' using 1:2 with points linecolor '#009e73' pointtype 6 pointsize 2.4 linewidth 2 title 'chosen'
END
gnuplot "$work/plot.gnuplot"
