# What the recipes in this folder share; they source it. A recipe is called with the folder for its runs. A run that was
# interrupted is resumed, and a finished one is skipped. PLEAT= names the program (default: build/pleat).
set -euo pipefail

pleat=${PLEAT:-build/pleat}
out=${1:?usage: $0 FOLDER   (PLEAT=build/pleat; data in \$PLEAT_DATA or ./local)}
mkdir -p "$out"

# run RUN COMMAND MODEL OPTIONS...: trains; the folder is $out/RUN.
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

# fold_to DEPTH: drops the activations of $out/prefold with the largest alphas and moves the padding, for fine-tuning.
fold_to() {
  "$pleat" fold "$out/prefold/model.safetensors" --depth "$1" --merge none --out "$out/folded.safetensors"
}

# merge_and_verify DATA: merges what was fine-tuned, and proves and scores it on the data set's test pictures.
merge_and_verify() {
  "$pleat" fold "$out/finetune/model.safetensors" --out "$out/merged.safetensors"
  "$pleat" verify "$out/finetune/model.safetensors" "$out/merged.safetensors" --data "$1"
  "$pleat" eval "$out/base/model.safetensors" --data "$1"
  "$pleat" eval "$out/merged.safetensors" --data "$1"
}
