#!/usr/bin/env bash
# The paper's first figure, accuracy against depth, with Pleat's points beside the paper's: draws what is there, then trains
# what is missing, one network after another, and draws again after each. Ctrl-C saves what is under way; the same command
# goes on with it, also after kill -9.
# usage: figure.sh BUILD      (settings as in tools/scripts/figure_tasks.sh, and TRAIN=0: only draw)
set -euo pipefail
build=${1:?usage: figure.sh BUILD}
scripts=$(dirname "$0")
source "$scripts/figure_settings.sh"

# Finished experiments become files of the repository; checkpoints stay in $runs.
collect() {
  local folder name
  mkdir -p "$results/curves"
  for folder in "$runs"/*/; do
    name=$(basename "$folder")
    [ -e "$folder/curve.json" ] || continue
    is_finished "$folder/curve.json" || continue
    if ! cmp -s "$folder/curve.json" "$results/curves/$name.json"; then
      cp "$folder/curve.json" "$results/curves/$name.json.new"
      mv "$results/curves/$name.json.new" "$results/curves/$name.json"
      echo "finished: $results/curves/$name.json"
    fi
  done
  "$scripts/plot_figure.sh" "$results"
}

collect
[ "${TRAIN:-1}" != 0 ] || exit 0
missing=$("$scripts/figure_tasks.sh" "$build")
[ -n "$missing" ] || { echo "no network is missing"; exit 0; }

# Known before the first of them has trained for hours: whether the later ones can begin.
failed=()
for data in $(grep -oE -- '--data [a-z0-9]+' <<<"$missing" | cut -d ' ' -f 2 | sort -u); do
  "$build/pleat" data info "$data" --json >/dev/null && continue
  failed+=("all of $data, which is not here")
  missing=$(grep -v -- "--data $data " <<<"$missing") || true
done
total=$(grep -c . <<<"$missing") || true
number=0
while read -r task <&3; do
  [ -n "$task" ] || continue
  number=$((number + 1))
  printf '\n== %d of %d: %s\n' $number "$total" "$task"
  status=0
  bash -c "exec $task" || status=$?
  if [ $status -eq 130 ]; then
    echo "interrupted; the same command goes on with it" >&2
    exit 130
  elif [ $status -ne 0 ]; then
    failed+=("${task##*/}")
  else
    collect
  fi
done 3<<<"$missing"
[ ${#failed[@]} -eq 0 ] || { printf 'figure: not done: %s\n' "${failed[@]}" >&2; exit 1; }
