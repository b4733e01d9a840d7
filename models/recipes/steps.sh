# Sourced by the recipes of this folder: what they share. A recipe is called with the folder for its runs; a run that
# was interrupted goes on, a finished one is passed over. PLEAT= names the program.
set -euo pipefail

pleat=${PLEAT:-build/pleat}
out=${1:?usage: $0 FOLDER   (PLEAT=build/pleat; data in \$PLEAT_DATA or ./local)}
mkdir -p "$out"

# run RUN COMMAND MODEL OPTIONS...: a training; its folder is $out/RUN.
run() {
  local folder=$out/$1
  shift
  [ ! -e "$folder/done" ] || return 0
  echo "\$ pleat $* --out $folder"
  local resume=()
  [ ! -e "$folder/state.safetensors" ] || resume=(--resume)
  "$pleat" "$@" --out "$folder" "${resume[@]}"
  touch "$folder/done"
}

# fold_to DEPTH: drops the largest alphas of $out/prefold, with padding moved, for fine-tuning.
fold_to() {
  "$pleat" fold "$out/prefold/model.safetensors" --depth "$1" --merge none --out "$out/folded.safetensors"
}

# Merges what was fine-tuned, and proves it on the test pictures of data set $1.
merge_and_verify() {
  "$pleat" fold "$out/finetune/model.safetensors" --out "$out/merged.safetensors"
  "$pleat" verify "$out/finetune/model.safetensors" "$out/merged.safetensors" --data "$1"
  "$pleat" eval "$out/base/model.safetensors" --data "$1"
  "$pleat" eval "$out/merged.safetensors" --data "$1"
}
