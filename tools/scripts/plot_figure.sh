#!/usr/bin/env bash
# Draws accuracy against depth, with the paper's points, and against measured latency: RESULTS/figure-cifar10.png and
# RESULTS/figure-cifar100.png. Writes the figures as tables, RESULTS/figure.md. Without any training.
# usage: plot_figure.sh RESULTS      (a folder with the curve.json files of finished experiments as curves/*.json)
set -euo pipefail
results=${1:?usage: plot_figure.sh RESULTS}
for tool in jq gnuplot; do
  command -v $tool >/dev/null || { echo "plot_figure.sh: $tool is missing; tools/scripts/setup.sh figure installs it" >&2; exit 1; }
done
paper=$(dirname "$0")/../../results/paper.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# paper_of NETWORK DATA: base_depth, base_top1, depth and top1.
paper_of() { awk -F '\t' -v n="$1" -v d="$2" '$1 == n && $2 == d { print $3, $4, $5, $6 }' "$paper"; }

# What the figure needs of each curve, or the reason why it cannot be had.
curves=() names=()
for file in "$results"/curves/*.json; do
  [ -e "$file" ] || continue
  name=$(basename "$file" .json)
  # Columns: depth, top-1 in percent, latency in ms. The base and a network are timed in turn, and machines drift from
  # day to day, so a latency is its ratio to the base's, times the median of the base's over all depths.
  jq -er 'def median: sort | .[length / 2 | floor];
    ([.points[].latency_ms_base] | median) as $base
    | [.base.depth, 100 * .base.top1, $base], (.points[] | [.depth, 100 * .top1, .latency_ms / .latency_ms_base * $base]) | @tsv' \
    "$file" >"$work/$name" 2>/dev/null && jq -er '"\(.network) \(.data)"' "$file" >"$work/$name.of" ||
    { echo "plot_figure.sh: $file: cut short, or not a curve.json of pleat curve" >&2; exit 1; }
  curves+=("$file") names+=("$name")
done

colours=('#0072b2' '#d55e00' '#009e73' '#cc79a7')
# panel DATA COLUMN NETWORK...: one family's curves, by depth (COLUMN 1, with the paper's points) or by latency (3).
panel() {
  local data=$1 column=$2 n=0 plots= network i points
  shift 2
  for network in "$@"; do
    n=$((n + 1))
    for i in "${!names[@]}"; do
      [ "$(cat "$work/${names[i]}.of")" = "$network $data" ] || continue
      plots+="'$work/${names[i]}' using $column:2 with linespoints linestyle $n title '${network%_cifar}${names[i]#*-"$data"}', "
    done
    [ "$column" = 1 ] || continue
    read -r -a points <<<"$(paper_of "$network" "$data")"
    printf '%s %s\n' "${points[@]}" >"$work/paper-$network-$data"
    plots+="'$work/paper-$network-$data' using 1:2 with linespoints linestyle 1$n title '${network%_cifar}, paper', "
  done
  if [ -n "$plots" ]; then
    echo "plot ${plots%, }"
  else
    echo "set label 1 'nothing measured yet' at graph 0.5,0.5 center textcolor '#999999'; set xrange [0:1]; set yrange [0:1]"
    echo "plot NaN notitle; unset label 1; set xrange [*:*]; set yrange [*:*]"
  fi
}

draw() {
  local data=$1 n
  {
    cat <<END
set terminal pngcairo size 1500,1000 font 'sans,11' background '#ffffff'
set output '$results/figure-$data.png'
set multiplot layout 2,3 title 'Accuracy on CIFAR-${data#cifar} as activations are dropped' font ',15'
set grid linecolor '#dddddd' linetype 1
set border 3 linecolor '#666666'
set tics nomirror out
set key below Left reverse samplen 2 maxcols 2 font ',9' noenhanced
set ylabel 'top-1, %'
set offsets graph 0.04, graph 0.04, graph 0.06, graph 0.04
END
    for n in 1 2 3 4; do
      echo "set style line $n linecolor '${colours[n - 1]}' linewidth 2 pointtype 7 pointsize 0.8"
      echo "set style line 1$n linecolor '${colours[n - 1]}' linewidth 1.5 dashtype 3 pointtype 6 pointsize 1.3"
    done
    for n in 1 3; do
      [ $n = 1 ] && echo "set xlabel 'depth: remaining activations + 1'" || echo "set xlabel 'measured latency of the merged network, ms'"
      echo "set title 'ResNet'"
      panel "$data" $n resnet20 resnet32 resnet44 resnet56
      echo "set title 'VGG'"
      panel "$data" $n vgg16_bn vgg19_bn
      echo "set title 'MobileNetV2'"
      panel "$data" $n mobilenet_v2_0.75_cifar mobilenet_v2_1.0_cifar mobilenet_v2_1.4_cifar
    done
    echo "unset multiplot"
  } >"$work/plot.gnuplot"
  gnuplot "$work/plot.gnuplot"
}

# A row for each curve, at the paper's depth.
rows_at_depth() {
  local i network data points
  for i in "${!curves[@]}"; do
    read -r network data <"$work/${names[i]}.of"
    read -r -a points <<<"$(paper_of "$network" "$data")"
    jq -r --argjson depth "${points[2]:-0}" --argjson base "${points[1]:-null}" --argjson top1 "${points[3]:-null}" '
      def percent: . * 10000 | round / 100;
      def signed: if . >= 0 then "+\(.)" else "\(.)" end;
      def hours: . / 360 | round / 10;
      . as $c | (.points[] | select(.depth == $depth)) // null | . as $p
      | [$c.network, $c.data, $c.seed, "\($c.base.top1 | percent) (\($base))"]
        + if $p == null then ["not at depth \($depth)"] + [range(7) | ""] else
          [$depth, $top1, "**\($p.top1 | percent)**", ($p.top1 * 10000 - $top1 * 100 | round / 100 | signed),
           "\($c.base.convs) → \($p.convs)", "\($c.base.macs / 1e5 | round / 10) → \($p.macs / 1e5 | round / 10)",
           "\($p.latency_ms_base * 1000 | round / 1000) → \($p.latency_ms * 1000 | round / 1000)",
           ($p.latency_ms_base / $p.latency_ms * 100 | round / 100)] end
        + ["\($c.plan.base) + \($c.plan.prefold) + \($c.plan.depths | length) x \($c.plan.depth)",
           ([$c.base.seconds, $c.prefold.seconds, $c.points[].seconds] | add | hours)]
      | "| " + (map(tostring) | join(" | ")) + " |"' "${curves[i]}"
  done
}

rows_of_all() {
  local i
  for i in "${!curves[@]}"; do
    jq -r 'def percent: . * 10000 | round / 100;
      . as $c | .points[] | [$c.network, $c.data, $c.seed, .depth, (.top1 | percent), .convs, (.macs / 1e5 | round / 10), .params,
        (.latency_ms * 1000 | round / 1000), (.latency_ms_base / .latency_ms * 100 | round / 100),
        (.latency_ms_base / .latency_ms_kept * 100 | round / 100), .max_rel_diff, "`\(.mask)`"]
      | "| " + (map(tostring) | join(" | ")) + " |"' "${curves[i]}"
  done
}

write_tables() {
  cat <<'END'
# Accuracy against depth

Written by `make figure` from `curves/*.json`; do not edit. The paper's figures are in `paper.tsv`, top-1 is in percent, on
all test pictures with the last epoch's weights. A latency is that of the merged network, one picture a call, timed in turn
with the base, so that the ratio holds where the milliseconds do not.

## At the paper's depth

| network | data | seed | base (paper's) | depth | paper | Pleat | difference | convolutions | MACs, millions | latency, ms | times as fast | epochs: base + alphas + depths | hours |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
END
  rows_at_depth
  cat <<'END'

## All depths

The largest difference is that of the merged network's logits from those before merging, as a part of their range. A mask
has a character for each activation that can be dropped (for each block in MobileNetV2): `#` keeps it, `.` drops it.

| network | data | seed | depth | top-1 | convolutions | MACs, millions | parameters | latency, ms | times as fast | the same, not merged | largest difference | mask |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
END
  rows_of_all
}

draw cifar10
draw cifar100
write_tables >"$work/figure.md"
cp "$work/figure.md" "$results/figure.md"
echo "drawn: $results/figure-cifar10.png, figure-cifar100.png, figure.md, from ${#curves[@]} curves"
