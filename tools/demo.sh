#!/usr/bin/env bash
# The whole of Pleat in some minutes: trains a ResNet-20 on Fashion-MNIST, folds it to a third of its depth, proves that
# the merged network is the fine-tuned one, and times both. usage: demo.sh BUILD
set -euo pipefail
build=$1
out=local/demo
data=fashion-mnist
start=$SECONDS

# Says what comes, shows the command, runs it.
run() {
  printf '\n== %s\n   $ %s\n' "$1" "${*:2}"
  "${@:2}"
}

"$build/pleat" data info $data >/dev/null 2>&1 || run "Getting $data" "$build/pleat" data fetch $data
rm -rf "$out"
mkdir -p "$out"

run "Train: 19 convolutions, 18 foldable activations" \
  "$build/pleat" train resnet20 --data $data --epochs 2 --lr 0.1 --schedule onecycle --out $out/base
run "Prefold: each activation learns how little it is needed (its alpha)" \
  "$build/pleat" prefold $out/base/model.safetensors --data $data --epochs 1 --lr 0.02 --out $out/prefold
run "Fold: keep the eight activations with the smallest alphas, move the padding of each group to its first convolution" \
  "$build/pleat" fold $out/prefold/model.safetensors --depth 9 --merge none --out $out/folded.safetensors
run "Fine-tune the folded network" \
  "$build/pleat" finetune $out/folded.safetensors --data $data --epochs 1 --lr 0.02 --out $out/finetune
run "Merge: each group becomes one convolution, exactly" \
  "$build/pleat" fold $out/finetune/model.safetensors --merge cheaper --out $out/merged.safetensors
run "Prove it: fine-tuned and merged network on the same pictures" \
  "$build/pleat" verify $out/finetune/model.safetensors $out/merged.safetensors --data $data
run "Accuracy before folding, by the inference engine" "$build/pleat-run" $out/base/model.safetensors --data $data
run "Accuracy after folding" "$build/pleat-run" $out/merged.safetensors --data $data
run "Latency, both in turn" "$build/pleat" bench $out/base/model.safetensors $out/merged.safetensors

printf '\nDone in %d:%02d minutes; the models and logs are in %s.\n' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) $out
