#!/usr/bin/env python3
"""Exports models, runs the ONNX files in onnxruntime and compares the outputs with Pleat's, for tools/scripts/check_onnx.sh.

usage: check_onnx.py PLEAT FOLDER NETWORK...      FOLDER/ops has model files; files of the networks go to FOLDER

Ends with the line `N passed, N failed`; exits 1 if any failed.
"""
import glob
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

TOLERANCE = 1e-4  # of the outputs' range
PICTURES = 3


def pleat(*arguments):
    """Runs a command of Pleat and returns its JSON."""
    done = subprocess.run([PLEAT, *arguments, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout.splitlines()[-1])


def randomise(file, rng):
    """Gives a model batch norms as training leaves them, biases that matter, and alphas between 0 and 1."""
    with safe_open(file, "numpy") as model:
        metadata = model.metadata()
    tensors = load_file(file)
    for name, tensor in tensors.items():
        last = name.rsplit(".", 1)[-1]
        if last == "running_var" or (last == "weight" and tensor.ndim == 1):
            tensor[:] = rng.uniform(0.5, 1.5, tensor.shape)
        elif last in ("running_mean", "bias"):
            tensor[:] = 0.3 * rng.standard_normal(tensor.shape)
        elif last.startswith("alpha"):
            tensor[:] = rng.uniform(0, 1, tensor.shape)
    save_file(tensors, file, metadata)


def compare(file, folder, rng):
    """Returns the greatest difference of onnxruntime's outputs from Pleat's, divided by the range of Pleat's."""
    onnx_file, given, result = (os.path.join(folder, name) for name in ("net.onnx", "in.safetensors", "out.safetensors"))
    pleat("export", file, "--onnx", onnx_file)
    onnx.checker.check_model(onnx_file, full_check=True)
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    pictures = rng.standard_normal((PICTURES, *taken.shape[1:])).astype(np.float32)
    save_file({"input": pictures}, given)
    pleat("predict", file, "--input", given, "--output", result)
    expected = load_file(result)["output"]
    (got,) = session.run(None, {taken.name: pictures})
    (first,) = session.run(None, {taken.name: pictures[:1]})
    if got.shape != expected.shape:
        raise RuntimeError(f"onnxruntime's output is {got.shape}, Pleat's {expected.shape}")
    worst = max(np.abs(got - expected).max(), np.abs(first - expected[:1]).max())
    return float(worst / (expected.max() - expected.min()))


def main():
    global PLEAT
    PLEAT, folder, *networks = sys.argv[1:]
    rng = np.random.default_rng(1)
    passed = failed = 0

    def check(name, file):
        nonlocal passed, failed
        try:
            difference = compare(file, folder, rng)
            ok = difference <= TOLERANCE  # false for NaN
            text = f"{difference:.1e}"
        except Exception as error:  # of onnx, of onnxruntime, or ours: all count as one failure
            ok, text = False, str(error)
        passed, failed = passed + ok, failed + (not ok)
        print(f"  {'ok  ' if ok else 'FAIL'}  {name}: {text}", flush=True)

    for file in sorted(glob.glob(os.path.join(folder, "ops", "*.safetensors")), key=lambda name: (len(name), name)):
        check(pleat("inspect", file)["nodes"][-1]["kind"] + " " + os.path.basename(file), file)
    for network in networks:
        whole, folded = (os.path.join(folder, name + ".safetensors") for name in ("whole", "folded"))
        cells = len(pleat("fold", network, "--threshold", "1", "--merge", "none", "--out", whole)["mask"])
        randomise(whole, rng)
        check(network, whole)
        for borders in ("exact", "reorder"):
            mask = "".join(rng.choice(["#", "."], cells))
            pleat("fold", whole, "--mask", mask, "--borders", borders, "--out", folded)
            check(f"{network} folded, borders {borders}, {mask}", folded)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
