#!/usr/bin/env bash
# Trains ResNet-20 on CIFAR-10 from scratch in 40 epochs, to the 91.7 that akamaster/pytorch_resnet_cifar10 reaches in 200:
# Muon for convolutions, one cycle of the learning rate, label smoothing, no weight decay on batch norms.
# usage: resnet20-cifar10.sh FOLDER [SEED [f32|bf16]]
source "$(dirname "$0")/steps.sh"
seed=${2:-1} dtype=${3:-f32}

run "$dtype-$seed" train resnet20 --data cifar10 --threads 2 --seed "$seed" --dtype "$dtype" --epochs 40 \
  --schedule onecycle --warmup 6 --lr 0.2 --muon-lr 0.06 --nesterov --weight-decay 0.003 --norm-weight-decay 0 \
  --label-smoothing 0.1
