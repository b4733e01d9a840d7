#!/usr/bin/env bash
# Checks training by several ranks under each MPI that is installed: the same bits from the same number of ranks, after
# kill -9 of a rank and after an interrupt as well; that other numbers of ranks go on with a run; that synchronised norms
# learn what one rank learns; that what goes wrong is said once and ends all ranks.
# usage: check_mpi.sh BUILD
set -uo pipefail
build=$(realpath "${1:?usage: check_mpi.sh BUILD}")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PLEAT_DATA=$PWD/tests/fixtures/data XDG_CACHE_HOME=$work/cache
# Open MPI refuses root unless it is told twice.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
source tools/scripts/counted_checks.sh

# ranks N COMMAND...: on however few cores.
ranks() {
  local n=$1 options=()
  shift
  [ "$mpi" = openmpi ] && options=(--oversubscribe)
  timeout 120 "mpirun.$mpi" "${options[@]}" -n "$n" "$build/pleat" "$@"
}
# train N FOLDER [OPTION...]. (Open MPI would take `--tune off` for itself.)
train() {
  local n=$1 folder=$2
  shift 2
  ranks "$n" train resnet20 --data cifar10 --batch 4 --epochs 4 --lr 0.02 --threads 1 --tune=off --quiet \
    --out "$work/$mpi/$folder" "$@"
}
# start N FOLDER [OPTION...]: many epochs in the background, and waits until some of them are done.
start() {
  local folder=$work/$mpi/$2
  train "$@" --epochs 60 >"$work/started.txt" 2>&1 &
  started=$!
  for ((i = 0; i < 600; ++i)); do
    [ "$(wc -l <"$folder/log.jsonl" 2>/dev/null || echo 0)" -ge 3 ] && return 0
    sleep 0.1
  done
  cat "$work/started.txt"
  return 1
}
kill_a_rank() {
  start 2 killed || return 1
  pkill -KILL -n -f "$build/pleat train.*$work/$mpi/killed"
  wait "$started" && { echo "mpirun was content"; return 1; }
  ! pgrep -f "$work/$mpi/killed"
}
interrupt() {
  start 2 interrupted || return 1
  pkill -INT -o -f "^$build/pleat train.*$work/$mpi/interrupted"
  wait "$started"
  cat "$work/started.txt"
  grep -q "pleat: interrupted in epoch" "$work/started.txt"
}
same_model() { cmp "$work/$mpi/$1/model.safetensors" "$work/$mpi/$2/model.safetensors"; }
resume_to_60() { train 2 "$1" --epochs 60 --resume && cmp "$work/$mpi/$1/model.safetensors" "$work/$mpi/whole/model.safetensors"; }
first_loss() { jq -s '.[0].train_loss' "$work/$mpi/$1/log.jsonl"; }
is_near() { # is_near A B LIMIT: relative
  echo "$1 and $2"
  jq -ne "(($1 - $2) / $2 | fabs) <= $3" >/dev/null
}
differ() { ! cmp -s "$work/$mpi/$1/model.safetensors" "$work/$mpi/$2/model.safetensors"; }
says_once() { # says_once TEXT COMMAND...: fails, and says so in one line
  local text=$1
  shift
  "$@" >"$work/said.txt" 2>&1 && { echo "it passed"; return 1; }
  cat "$work/said.txt"
  [ "$(grep -c "pleat: error: .*$text" "$work/said.txt")" -eq 1 ]
}

for mpi in openmpi mpich; do
  command -v "mpirun.$mpi" >/dev/null && [ -e "$build/libpleat-$mpi.so" ] || { echo "skipped: $mpi is not installed"; continue; }
  check "$mpi: one rank" train 1 one
  check "$mpi: two ranks" train 2 two
  check "$mpi: two ranks once more" train 2 again
  check "$mpi: the same bits from two ranks" same_model two again
  check "$mpi: synchronised norms, two ranks" train 2 sync2 --sync-norms
  check "$mpi: synchronised norms, four ranks" train 4 sync4 --sync-norms
  check "$mpi: they learn as one rank does (2)" is_near "$(first_loss sync2)" "$(first_loss one)" 0.01
  check "$mpi: they learn as one rank does (4)" is_near "$(first_loss sync4)" "$(first_loss one)" 0.01
  check "$mpi: gradients in bf16" train 2 bf16 --bf16-wire
  check "$mpi: they are rounded" differ bf16 two
  check "$mpi: and close" is_near "$(first_loss bf16)" "$(first_loss two)" 0.05
  check "$mpi: 60 epochs" train 2 whole --epochs 60
  check "$mpi: a rank that is killed ends all" kill_a_rank
  check "$mpi: the run goes on from there, to the same bits" resume_to_60 killed
  check "$mpi: an interrupt saves" interrupt
  check "$mpi: that run goes on, to the same bits" resume_to_60 interrupted
  check "$mpi: pre-folding with a teacher's network" ranks 2 prefold "$work/$mpi/two/model.safetensors" --data cifar10 \
    --batch 4 --epochs 1 --tune=off --quiet --out "$work/$mpi/prefold"
  check "$mpi: fine-tuning under a teacher" ranks 2 finetune "$work/$mpi/prefold/model.safetensors" --data cifar10 --batch 4 \
    --epochs 1 --tune=off --quiet --teacher "$work/$mpi/two/model.safetensors" --out "$work/$mpi/finetune"
  check "$mpi: a batch that the ranks cannot share" says_once "expected a multiple of the 2 ranks" train 2 odd --batch 3
  check "$mpi: a command that fails" says_once "neither a known name nor a file" ranks 2 inspect nothing
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
