#!/usr/bin/env bash
# Checks exported ONNX files against Pleat: every network of `pleat list` (or those named), with random batch norms and
# alphas, whole and folded with random masks (borders exact and moved), and a small model of every op. Each file is passed
# through ONNX's checker and run by onnxruntime on random pictures; its outputs must equal Pleat's within 1e-4 of their range.
# usage: check_onnx.sh BUILD [NETWORK...]      (BUILD/pleat-tests must be built)
# onnx and onnxruntime are installed by tools/scripts/python_with.sh.
set -euo pipefail

build=$(realpath "${1:?usage: check_onnx.sh BUILD [NETWORK...]}")
shift
here=$(dirname "$0")
python=$("$here/python_with.sh" "$build" onnx onnxruntime safetensors)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/ops"
PLEAT_ONNX_MODELS=$work/ops "$build/pleat-tests" --test-case='onnx: every op *' >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
networks=("$@")
[ $# -gt 0 ] || mapfile -t networks < <("$build/pleat" list --json 2>"$work/log" | jq -r '.models[]')
"$python" "$here/check_onnx.py" "$build/pleat" "$work" "${networks[@]}"
