#!/usr/bin/env bash
# ONNX files against Pleat: every network of `pleat list` (or those named), whole and folded with random masks (borders
# exact and moved), with random batch norms and alphas, and a small model of every op, exported, passed through ONNX's
# checker and run by onnxruntime on random pictures: within 1e-4 of the range of Pleat's outputs.
# usage: check_onnx.sh BUILD [NETWORK...]      (BUILD/pleat-tests must be there)
# Where onnx and onnxruntime go: tools/scripts/python_with.sh.
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
