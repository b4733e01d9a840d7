#!/usr/bin/env python3
"""Writes golden.safetensors: two small networks trained for ten steps by PyTorch, for tests/golden_test.cpp.

Needs torch (made with 2.13.0, CPU) and nothing else; deterministic. The networks are Pleat's own graph text, read here
by a few lines of torch.nn.functional, so that their structure is written once. All is computed in double and stored
rounded to F32; images are NHWC, weights as PyTorch has them. Tensors of a network NET:
  NET.images [2,8,H,W,3]  NET.labels [2,8]      batches, used in turn
  NET.initial.P  NET.final.P                    parameters and running statistics before and after the ten steps
  NET.logits [8,10]  NET.gradient.P             of the first step, alpha loss included, weight decay not
  NET.losses [10]                               cross entropy plus alpha loss, before each step
Metadata: NET.graph and NET.<hyperparameter>.
"""
import json
import pathlib
import struct

import torch
import torch.nn.functional as F

BATCH, BATCHES, STEPS, CLASSES = 8, 2, 10, 10

NETS = {
    # CIFAR ResNet with one block a stage and option A skips; alphas pushed towards 1.
    "option_a": (
        dict(lr=0.05, momentum=0.9, nesterov=1, weight_decay=0.001, label_smoothing=0, alpha_lambda=0.25, alpha_p=2),
        """
input x : channels=3 height=9 width=9
conv2d conv1 <- x : out=4 kernel=3 stride=1 pad=1
batch_norm bn1 <- conv1
alpha_act relu1 <- bn1 : s=relu
conv2d a.conv1 <- relu1 : out=4 kernel=3 stride=1 pad=1
batch_norm a.bn1 <- a.conv1
alpha_act a.relu1 <- a.bn1 : s=relu alpha=a.alpha1
conv2d a.conv2 <- a.relu1 : out=4 kernel=3 stride=1 pad=1
batch_norm a.bn2 <- a.conv2
add a.add <- a.bn2 relu1
alpha_act a.relu2 <- a.add : s=relu alpha=a.alpha2
conv2d b.conv1 <- a.relu2 : out=8 kernel=3 stride=2 pad=1
batch_norm b.bn1 <- b.conv1
alpha_act b.relu1 <- b.bn1 : s=relu alpha=b.alpha1
conv2d b.conv2 <- b.relu1 : out=8 kernel=3 stride=1 pad=1
batch_norm b.bn2 <- b.conv2
shortcut b.shortcut <- a.relu2 : out=8 stride=2
add b.add <- b.bn2 b.shortcut
alpha_act b.relu2 <- b.add : s=relu alpha=b.alpha2
conv2d c.conv1 <- b.relu2 : out=16 kernel=3 stride=2 pad=1
batch_norm c.bn1 <- c.conv1
alpha_act c.relu1 <- c.bn1 : s=relu alpha=c.alpha1
conv2d c.conv2 <- c.relu1 : out=16 kernel=3 stride=1 pad=1
batch_norm c.bn2 <- c.conv2
shortcut c.shortcut <- b.relu2 : out=16 stride=2
add c.add <- c.bn2 c.shortcut
alpha_act c.relu2 <- c.add : s=relu alpha=c.alpha2
global_avg_pool avg_pool <- c.relu2
linear linear <- avg_pool : out=10
""",
    ),
    # A projected skip, then the ops that ResNets lack: depthwise and grouped convolutions, biases, ReLU6, pools, flatten.
    "projection": (
        dict(lr=0.02, momentum=0.9, nesterov=0, weight_decay=0.01, label_smoothing=0.1, alpha_lambda=0, alpha_p=1),
        """
input x : channels=3 height=12 width=10
conv2d conv1 <- x : out=6 kernel=3 stride=1 pad=0,0,1,1 bias=1
alpha_act relu1 <- conv1 : s=relu alpha=alpha1
max_pool2d pool1 <- relu1 : kernel=3 stride=2 pad=1
conv2d a.conv1 <- pool1 : out=8 kernel=3 stride=2 pad=1
batch_norm a.bn1 <- a.conv1
alpha_act a.relu1 <- a.bn1 : s=relu6 alpha=a.alpha1
conv2d a.conv2 <- a.relu1 : out=8 kernel=3 stride=1 pad=1 groups=2
batch_norm a.bn2 <- a.conv2
conv2d a.shortcut.0 <- pool1 : out=8 kernel=1 stride=2
batch_norm a.shortcut.1 <- a.shortcut.0
add a.add <- a.bn2 a.shortcut.1
alpha_act a.relu2 <- a.add : s=relu alpha=a.alpha2
depthwise_conv2d b.conv <- a.relu2 : kernel=3 stride=1 pad=1
batch_norm b.bn <- b.conv : eps=0.001 momentum=0.01
alpha_act b.relu <- b.bn : s=relu6 alpha=a.alpha2
avg_pool2d pool2 <- b.relu : kernel=2 stride=1 pad=1
flatten flatten <- pool2
linear linear <- flatten : out=10
""",
    ),
}


def parse(text):
    """[(kind, name, input names, attributes)] of a graph's text."""
    nodes = []
    for line in text.strip().splitlines():
        left, _, right = line.partition(" : ")
        left, _, inputs = left.partition(" <- ")
        kind, name = left.split()
        attributes = dict(pair.split("=") for pair in right.split())
        nodes.append((kind, name, inputs.split(), attributes))
    return nodes


def padding(attributes):
    """(left, right, top, bottom), as F.pad wants it, from pad=all or pad=top,left,bottom,right."""
    pad = [int(p) for p in attributes.get("pad", "0").split(",")]
    top, left, bottom, right = pad if len(pad) == 4 else pad * 4
    return left, right, top, bottom


def initial_parameters(nodes, generator):
    """Every parameter the graph needs, at values that leave no gradient zero, and the names that are not trained."""
    p, statistics = {}, set()

    def uniform(name, low, high, *shape):
        p[name] = low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(name, *shape):
        fan_in = torch.Size(shape[1:]).numel()
        p[name] = (2 / fan_in) ** 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    shapes = {}
    for kind, name, inputs, at in nodes:
        n = lambda key, default=1: int(at.get(key, default))
        c, h, w = shapes[inputs[0]] if inputs else (0, 0, 0)
        if kind == "input":
            c, h, w = n("channels"), n("height"), n("width")
        elif kind in ("conv2d", "depthwise_conv2d"):
            depthwise = kind == "depthwise_conv2d"
            out = c if depthwise else n("out")
            normal(name + ".weight", out, 1 if depthwise else c // n("groups"), n("kernel"), n("kernel"))
            if n("bias", 0):
                uniform(name + ".bias", -0.5, 0.5, out)
            c = out
        elif kind == "batch_norm":
            uniform(name + ".weight", 0.5, 1.5, c)
            uniform(name + ".bias", -0.5, 0.5, c)
            uniform(name + ".running_mean", -0.5, 0.5, c)
            uniform(name + ".running_var", 0.5, 1.5, c)
            statistics |= {name + ".running_mean", name + ".running_var"}
        elif kind == "alpha_act" and "alpha" in at:
            p[at["alpha"]] = torch.full((1,), 0.3, dtype=torch.float64)
        elif kind == "linear":
            normal(name + ".weight", n("out"), c * h * w)
            uniform(name + ".bias", -0.5, 0.5, n("out"))
        elif kind == "shortcut":
            c = n("out")
        left, right, top, bottom = padding(at)
        if kind in ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "shortcut"):
            h = (h + top + bottom - n("kernel")) // n("stride") + 1
            w = (w + left + right - n("kernel")) // n("stride") + 1
        elif kind == "global_avg_pool":
            h = w = 1
        shapes[name] = c, h, w
    # What the file holds is what training starts from.
    return {name: value.float().double() for name, value in p.items()}, statistics


def forward(nodes, p, images):
    """The logits; running statistics in `p` are updated."""
    values = {}
    for kind, name, inputs, at in nodes:
        x = values[inputs[0]] if inputs else images
        kernel, stride = int(at.get("kernel", 1)), int(at.get("stride", 1))
        if kind == "input":
            y = x
        elif kind in ("conv2d", "depthwise_conv2d"):
            groups = x.shape[1] if kind == "depthwise_conv2d" else int(at.get("groups", 1))
            y = F.conv2d(F.pad(x, padding(at)), p[name + ".weight"], p.get(name + ".bias"), stride, groups=groups)
        elif kind == "batch_norm":
            y = F.batch_norm(x, p[name + ".running_mean"], p[name + ".running_var"], p[name + ".weight"],
                             p[name + ".bias"], True, float(at.get("momentum", 0.1)), float(at.get("eps", 1e-5)))
        elif kind == "alpha_act":
            s = F.relu6(x) if at["s"] == "relu6" else F.relu(x)
            a = p[at["alpha"]] if "alpha" in at else 0
            y = a * x + (1 - a) * s
        elif kind == "max_pool2d":
            y = F.max_pool2d(x, kernel, stride, padding(at)[0])
        elif kind == "avg_pool2d":
            y = F.avg_pool2d(x, kernel, stride, padding(at)[0])
        elif kind == "global_avg_pool":
            y = x.mean((2, 3), keepdim=True)
        elif kind == "flatten":
            y = x.flatten(1)
        elif kind == "linear":
            y = F.linear(x.flatten(1), p[name + ".weight"], p[name + ".bias"])
        elif kind == "add":
            y = x + values[inputs[1]]
        elif kind == "shortcut":
            extra = int(at["out"]) - x.shape[1]
            y = F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        else:
            raise ValueError(kind)
        values[name] = y
    return y


def run(net, hyper, text, generator, tensors):
    nodes = parse(text)
    p, statistics = initial_parameters(nodes, generator)
    alphas = {at["alpha"] for kind, _, _, at in nodes if "alpha" in at}
    trained = [name for name in p if name not in statistics]
    tensors.update({f"{net}.initial.{name}": value.clone() for name, value in p.items()})

    size = [int(nodes[0][3][key]) for key in ("height", "width", "channels")]
    images = torch.randn(BATCHES, BATCH, *size, generator=generator, dtype=torch.float64).float().double()
    labels = torch.randint(CLASSES, (BATCHES, BATCH), generator=generator)
    tensors[f"{net}.images"], tensors[f"{net}.labels"] = images, labels

    for name in trained:
        p[name].requires_grad_()
    optimiser = torch.optim.SGD(
        [{"params": [p[name] for name in trained if name not in alphas], "weight_decay": hyper["weight_decay"]},
         {"params": [p[name] for name in trained if name in alphas], "weight_decay": 0}],
        lr=hyper["lr"], momentum=hyper["momentum"], nesterov=bool(hyper["nesterov"]))
    losses = []
    for step in range(STEPS):
        batch = step % BATCHES
        logits = forward(nodes, p, images[batch].permute(0, 3, 1, 2))
        loss = F.cross_entropy(logits, labels[batch], label_smoothing=hyper["label_smoothing"])
        for name in alphas:
            loss = loss + hyper["alpha_lambda"] * (1 - p[name] ** hyper["alpha_p"]).sum()
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            tensors[f"{net}.logits"] = logits.detach()
            tensors.update({f"{net}.gradient.{name}": p[name].grad.clone() for name in trained})
        optimiser.step()
        losses.append(loss.item())
    print(net, " ".join(f"{loss:.4f}" for loss in losses), "alphas",
          " ".join(f"{p[name].item():.3f}" for name in sorted(alphas)))
    tensors[f"{net}.losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors.update({f"{net}.final.{name}": value.detach().clone() for name, value in p.items()})


def save(path, tensors, metadata):
    """The safetensors format, all F32."""
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in sorted(tensors.items()):
        raw = struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(path, path.stat().st_size, "bytes")


def main():
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(1)
    tensors, metadata = {}, {"torch": torch.__version__}
    for net, (hyper, text) in NETS.items():
        run(net, hyper, text, generator, tensors)
        metadata |= {f"{net}.graph": text.lstrip()} | {f"{net}.{key}": str(value) for key, value in hyper.items()}
    save(pathlib.Path(__file__).with_name("golden.safetensors"), tensors, metadata)


if __name__ == "__main__":
    main()
