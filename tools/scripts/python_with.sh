#!/usr/bin/env bash
# Prints the path of a Python that has the packages (with ==version where it matters): $PLEAT_PEERS_PYTHON if that is set,
# else the one in the virtual environment BUILD/peers-venv, into which missing packages are installed over the network, once.
# usage: python_with.sh BUILD PACKAGE...
set -euo pipefail

build=$1
shift
python=${PLEAT_PEERS_PYTHON:-$build/peers-venv/bin/python}
lacks() { ! "$python" -c 'import importlib.util, sys; sys.exit(any(not importlib.util.find_spec(n) for n in sys.argv[1:]))' "${@%%==*}" 2>/dev/null; }

if lacks "$@"; then
  if [ -n "${PLEAT_PEERS_PYTHON:-}" ]; then
    echo "python_with.sh: \$PLEAT_PEERS_PYTHON ($python) lacks one of: $*" >&2
    exit 1
  fi
  echo "installing $* into $build/peers-venv" >&2
  [ -x "$python" ] || python3 -m venv "$build/peers-venv"
  # PyTorch's own index for CPUs, where it can be reached, because PyPI's package brings CUDA along.
  index=https://download.pytorch.org/whl/cpu/
  reachable() { "$python" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=10)' "$1" 2>/dev/null; }
  case " $*" in *" torch"*) reachable $index || index= ;; *) index= ;; esac
  "$python" -m pip install --quiet ${index:+--extra-index-url $index} "$@" >&2
fi
echo "$python"
