#!/usr/bin/env python3
"""Times training steps in PyTorch, for tools/scripts/bench_train.sh. It prepares the network, says "ready", and then answers each
line of standard input, a number of steps, with JSON: images a second, by the median step, and the process's peak memory in
bytes.

usage: bench_train_torch.py [--net NAME] [--dtype f32|bf16] [--mode eager|compile] [--batch 128] [--threads 2]

The networks are those that `pleat bench NAME --training` times, alphas included: ResNet-20 with option A skips, VGG16-BN,
MobileNetV2 with one alpha a block; 32x32 pictures, channels-last, SGD with momentum. bf16 is autocast.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class AlphaAct(nn.Module):
    """a*x + (1-a)*s(x); blocks whose activations fold together share `alpha`."""

    def __init__(self, s=F.relu, alpha=None):
        super().__init__()
        self.s, self.alpha = s, alpha if alpha is not None else nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.alpha * x + (1 - self.alpha) * self.s(x)


def conv_norm(channels_in, channels, kernel, stride=1, groups=1, bias=False):
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return [conv, nn.BatchNorm2d(channels)]


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.body = nn.Sequential(*conv_norm(channels_in, channels, 3, stride), AlphaAct(), *conv_norm(channels, channels, 3))
        self.act = AlphaAct()
        self.stride, self.extra = stride, (channels - channels_in) // 2

    def forward(self, x):
        y = self.body(x)
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return self.act(y + x)


def resnet20():
    layers, channels_in = [*conv_norm(3, 16, 3), nn.ReLU()], 16
    for channels, first_stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(3):
            layers.append(BasicBlock(channels_in, channels, first_stride if block == 0 else 1))
            channels_in = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def vgg16_bn():
    layers, channels_in = [], 3
    for channels, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convs):
            layers += [*conv_norm(channels_in, channels, 3, bias=True), AlphaAct()]
            channels_in = channels
        layers.append(nn.MaxPool2d(2))
    classifier = [nn.Linear(512, 512), AlphaAct(), nn.Linear(512, 512), AlphaAct(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *classifier)


class InvertedResidual(nn.Module):
    def __init__(self, channels_in, channels, stride, expand):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        between = channels_in * expand
        layers = [*conv_norm(channels_in, between, 1), AlphaAct(F.relu6, self.alpha)] if expand != 1 else []
        layers += [*conv_norm(between, between, 3, stride, groups=between), AlphaAct(F.relu6, self.alpha)]
        self.body = nn.Sequential(*layers, *conv_norm(between, channels, 1))
        self.skips = stride == 1 and channels_in == channels

    def forward(self, x):
        return self.body(x) + x if self.skips else self.body(x)


def mobilenet_v2_cifar():
    layers, channels_in = [*conv_norm(3, 32, 3), nn.ReLU6()], 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, channels, blocks, first_stride in stages:
        for block in range(blocks):
            layers.append(InvertedResidual(channels_in, channels, first_stride if block == 0 else 1, expand))
            channels_in = channels
    layers += [*conv_norm(channels_in, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 10))


NETS = {"resnet20": resnet20, "vgg16_bn": vgg16_bn, "mobilenet_v2_1.0_cifar": mobilenet_v2_cifar}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, default="resnet20")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--mode", choices=("eager", "compile"), default="eager")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net = NETS[args.net]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    forward = torch.compile(net) if args.mode == "compile" else net
    x = torch.randn(args.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (args.batch,))

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = F.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()

    for _ in range(args.warmup):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        step()
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        rate = round(args.batch / statistics.median(times), 1)
        print(json.dumps({"images_per_second": rate, "peak_memory": peak}), flush=True)


if __name__ == "__main__":
    main()
