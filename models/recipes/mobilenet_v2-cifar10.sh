#!/usr/bin/env bash
# Trains MobileNetV2-1.0 on CIFAR-10, folds it to depth 10 (the paper's: 93.79 -> 92.03), fine-tunes and merges it, in bf16
# where the CPU has it.
# usage: mobilenet_v2-cifar10.sh FOLDER
source "$(dirname "$0")/steps.sh"
data=(--data cifar10 --threads 2 --seed 1 --dtype auto)

run base train mobilenet_v2_1.0_cifar "${data[@]}" --epochs 10 --schedule onecycle --lr 0.2 --warmup 2 --nesterov
run prefold prefold "$out/base/model.safetensors" "${data[@]}" --epochs 3 --lr 0.002 --lambda 0.25
fold_to 10
run finetune finetune "$out/folded.safetensors" "${data[@]}" --epochs 6 --lr 0.05 --nesterov \
  --teacher "$out/base/model.safetensors"
merge_and_verify cifar10
