#!/usr/bin/env bash
# Trains VGG16-BN on CIFAR-10, folds it to depth 9 (the paper's: 94.16 -> 93.89), fine-tunes and merges it.
# usage: vgg16_bn-cifar10.sh FOLDER
source "$(dirname "$0")/steps.sh"
data=(--data cifar10 --threads 2 --seed 1)

run base train vgg16_bn "${data[@]}" --epochs 16 --schedule onecycle --lr 0.1 --warmup 3 --nesterov --label-smoothing 0.1
run prefold prefold "$out/base/model.safetensors" "${data[@]}" --epochs 4 --lr 0.002 --lambda 0.25 --weight-decay 0.0005
fold_to 9
run finetune finetune "$out/folded.safetensors" "${data[@]}" --epochs 5 --lr 0.02 --nesterov \
  --teacher "$out/base/model.safetensors"
merge_and_verify cifar10
