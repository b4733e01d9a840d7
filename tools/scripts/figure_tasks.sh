#!/usr/bin/env bash
# Prints the experiments that results/figure-<data>.png still lacks: one independent command a line, the one that gives most
# for the next hour first. For GNU parallel, or for line $SLURM_ARRAY_TASK_ID of it in a Slurm job array:
#   tools/scripts/figure_tasks.sh build | parallel -j 1
#   sbatch --array=1-18 --wrap 'sed -n "${SLURM_ARRAY_TASK_ID}p" tasks | bash'      # after figure_tasks.sh build >tasks
# Each command goes on with what was begun. Afterwards `make figure TRAIN=0` collects and draws what is finished.
# usage: figure_tasks.sh BUILD
#   NETWORKS="resnet20 …" DATA="cifar10 cifar100"   which ones (default: all nine, both)
#   BUDGET=HOURS    for each experiment: a quicker one, in a folder of its own
#   SEED=N          (1)
#   OPTIONS="…"     further options for pleat curve, such as --threads 2 or --dtype bf16
#   RUNS=DIR, RESULTS=DIR    where the experiments run, and where finished ones are kept as curves/*.json
set -euo pipefail
build=${1:?usage: figure_tasks.sh BUILD}
source "$(dirname "$0")/figure_settings.sh"

recipe_of() {
  case $1 in
    resnet*) echo resnet-cifar ;;
    vgg*) echo vgg-cifar ;;
    mobilenet_v2*) echo mobilenet_v2-cifar ;;
    *) echo short ;;
  esac
}

for task in "${tasks[@]}"; do
  read -r network data <<<"$task"
  name=$(name_of "$network" "$data")
  [ ! -e "$results/curves/$name.json" ] || continue
  if [ -e "$runs/$name/curve.json" ] && is_finished "$runs/$name/curve.json"; then continue; fi
  printf '%q ' "$build/pleat" curve "$network" --data "$data" --seed "$seed" --recipe "$(recipe_of "$network")" \
    ${budget:+--budget "$budget"} ${OPTIONS:-} --out
  printf '%q\n' "$runs/$name"
done
