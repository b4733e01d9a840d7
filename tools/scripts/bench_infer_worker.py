#!/usr/bin/env python3
"""Prepares one network in one runtime and times it on request, for tools/scripts/bench_infer.sh.

usage: bench_infer_worker.py RUNTIME NETWORK --pleat PROGRAM --onnx FILE --folder DIR [--dtype f32|bf16] [--batch 1]
       [--threads 2]

RUNTIME is pleat, eager, compile (both PyTorch), onnxruntime, openvino or ncnn. DIR has the pictures (in.safetensors) and
Pleat's outputs for them in f32 (out.safetensors). When the network is ready, it prints a line of JSON: the
greatest difference of its outputs from those, divided by their range, and the runtime's version. Then it answers each line
`WARMUP RUNS` of standard input with the median time of RUNS calls in milliseconds, until the input ends.
"""
import argparse
import json
import operator
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from safetensors.numpy import load_file, save_file


class Pleat:
    """Starts a program for every request; what it prepares before its calls does not count."""

    def __init__(self, args):
        self.args = args
        self.version = self.command("list", [])["version"]

    def command(self, name, more):
        args = self.args
        if name != "list":
            more = [args.network, *more, "--dtype", args.dtype]
        done = subprocess.run(
            [args.pleat, name, *more, "--threads", str(args.threads), "--json", "--quiet"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout.splitlines()[-1])

    def outputs(self):
        result = os.path.join(self.args.folder, "own.safetensors")
        self.command("predict", ["--input", os.path.join(self.args.folder, "in.safetensors"), "--output", result])
        return load_file(result)["output"]

    def time(self, warmup, runs):
        batch = ["--batch", str(self.args.batch), "--warmup", str(warmup), "--runs", str(runs)]
        return self.command("bench", batch)["models"][0]["median_ms"]


class Peer:
    """A runtime in this process: `call` runs the network on the pictures, and its result is the outputs."""

    def outputs(self):
        return np.asarray(self.call(), dtype=np.float32)

    def time(self, warmup, runs):
        for _ in range(warmup):
            self.call()
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times)


class OnnxRuntime(Peer):
    def __init__(self, args, pictures):
        import onnxruntime

        if args.dtype != "f32":
            raise RuntimeError("no bf16 on CPUs")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.add_free_dimension_override_by_name("N", args.batch)
        session = onnxruntime.InferenceSession(args.onnx, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        self.call = lambda: session.run(None, {name: pictures})[0]
        self.version = onnxruntime.__version__


class OpenVino(Peer):
    def __init__(self, args, pictures):
        import openvino

        core = openvino.Core()
        model = core.read_model(args.onnx)
        model.reshape(pictures.shape)
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": args.dtype}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(pictures))

        def call():
            request.infer()
            return request.get_output_tensor().data

        self.call = call
        self.version = openvino.__version__.split("-")[0]


def torch_module(onnx_file):
    """The network as PyTorch code, with an operator for each one in the ONNX file."""
    import onnx
    import torch
    from onnx import helper, numpy_helper
    from torch import fx, nn
    from torch.nn import functional as F

    graph = onnx.load(onnx_file).graph
    constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    modules, code = nn.Module(), fx.Graph()
    values = {graph.input[0].name: code.placeholder("x")}

    def padded(x, pads):
        top, left, bottom, right = pads
        return code.call_function(F.pad, (x, (left, right, top, bottom))) if any(pads) else x

    for i, node in enumerate(graph.node):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x = values.get(node.input[0])
        given = [constants.get(name) for name in node.input[1:]]

        def module(made, x):
            modules.add_module(f"m{i}", made)
            return code.call_module(f"m{i}", (x,))

        if node.op_type == "Conv":
            weight, bias, pads = given[0], given[1] if len(given) > 1 else None, attributes["pads"]
            own = tuple(pads[:2]) if pads[:2] == pads[2:] else (0, 0)
            conv = nn.Conv2d(weight.shape[1] * attributes["group"], len(weight), weight.shape[2:], attributes["strides"],
                             own, groups=attributes["group"], bias=bias is not None)
            conv.weight.data = weight
            if bias is not None:
                conv.bias.data = bias
            y = module(conv, x if pads[:2] == pads[2:] else padded(x, pads))
        elif node.op_type == "Gemm":
            linear = nn.Linear(given[0].shape[1], given[0].shape[0])
            linear.weight.data, linear.bias.data = given
            y = module(linear, x)
        elif node.op_type == "Relu":
            y = module(nn.ReLU(), x)
        elif node.op_type == "Clip" and [float(limit) for limit in given] == [0, 6]:
            y = module(nn.ReLU6(), x)
        elif node.op_type == "MaxPool":
            y = module(nn.MaxPool2d(attributes["kernel_shape"], attributes["strides"], tuple(attributes["pads"][:2])), x)
        elif node.op_type == "GlobalAveragePool":
            y = module(nn.AdaptiveAvgPool2d(1), x)
        elif node.op_type == "Flatten":
            y = module(nn.Flatten(), x)
        elif node.op_type == "Add":
            y = code.call_function(operator.add, (x, values[node.input[1]]))
        elif node.op_type == "Slice":  # every stride-th row and column, in a form that ncnn also has
            y = module(nn.MaxPool2d(1, int(given[3][0])), x)
        elif node.op_type == "Pad":  # of channels only
            y = code.call_function(F.pad, (x, (0, 0, 0, 0, int(given[0][1]), int(given[0][5]))))
        else:
            raise RuntimeError(f"no PyTorch form of {node.op_type}")
        values[node.output[0]] = y
    code.output(values[graph.output[0].name])
    return fx.GraphModule(modules, code).eval()


class Torch(Peer):
    def __init__(self, args, pictures, compiled):
        import torch

        torch.set_num_threads(args.threads)
        torch.set_grad_enabled(False)
        dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
        layout = torch.contiguous_format if compiled else torch.channels_last  # the compiler chooses the layout itself
        net = torch_module(args.onnx).to(dtype=dtype, memory_format=layout)
        x = torch.from_numpy(pictures).to(dtype=dtype).contiguous(memory_format=layout)
        if compiled:
            import torch._inductor.config

            torch._inductor.config.freezing = True
            net = torch.compile(net)
        self.call = lambda: net(x)
        self.version = torch.__version__

    def outputs(self):
        return self.call().float().numpy()


class Ncnn(Peer):
    """ncnn has no batches, so the pictures run one after another."""

    def __init__(self, args, pictures):
        import ncnn
        import torch

        stem = os.path.splitext(args.onnx)[0]
        if not os.path.exists(stem + ".ncnn.param"):
            example = torch.zeros(1, *pictures.shape[1:])
            torch.jit.trace(torch_module(args.onnx), example).save(stem + ".pt")
            shape = ",".join(str(n) for n in example.shape)
            pnnx = os.path.join(os.path.dirname(sys.executable), "pnnx")
            subprocess.run([pnnx, stem + ".pt", f"inputshape=[{shape}]", "fp16=0"], cwd=os.path.dirname(stem), check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.net = ncnn.Net()
        self.net.opt.num_threads = args.threads
        self.net.opt.use_bf16_storage = args.dtype == "bf16"
        self.net.opt.use_fp16_packed = self.net.opt.use_fp16_storage = self.net.opt.use_fp16_arithmetic = False
        self.net.load_param(stem + ".ncnn.param")
        self.net.load_model(stem + ".ncnn.bin")
        self.pictures = [ncnn.Mat(picture) for picture in pictures]
        self.version = ncnn.__version__

    def one(self, picture):
        extractor = self.net.create_extractor()
        extractor.input("in0", picture)
        return extractor.extract("out0")[1]

    def call(self):
        return [self.one(picture) for picture in self.pictures]


def prepare(args, pictures):
    if args.runtime == "pleat":
        return Pleat(args)
    if args.runtime == "onnxruntime":
        return OnnxRuntime(args, pictures)
    if args.runtime == "openvino":
        return OpenVino(args, pictures)
    if args.runtime == "ncnn":
        return Ncnn(args, pictures)
    return Torch(args, pictures, args.runtime == "compile")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=("pleat", "eager", "compile", "onnxruntime", "openvino", "ncnn"))
    parser.add_argument("network")
    for name in ("pleat", "onnx", "folder"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    pictures = load_file(os.path.join(args.folder, "in.safetensors"))["input"]
    expected = load_file(os.path.join(args.folder, "out.safetensors"))["output"]
    runtime = prepare(args, pictures)
    difference = np.abs(runtime.outputs().reshape(expected.shape) - expected).max() / (expected.max() - expected.min())
    print(json.dumps({"difference": float(difference), "version": runtime.version}), flush=True)
    for line in sys.stdin:
        warmup, runs = map(int, line.split())
        print(runtime.time(warmup, runs), flush=True)


if __name__ == "__main__":
    main()
