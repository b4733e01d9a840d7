#!/usr/bin/env bash
# Installs what Pleat needs and this machine lacks, on Debian and Ubuntu. Says what it installs, and nothing if all is there.
# usage: setup.sh [build] [demo] [figure] [report] [lint] [fuzz] [data] [pillow] [peers] [ship]      (default: build)
set -euo pipefail

# Installs those of the packages that are missing.
ensure() {
  local package missing=() root=() log
  if ! command -v apt-get >/dev/null; then
    echo "setup: there is no apt-get here; please install these by other means: $*" >&2
    return
  fi
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: missing packages: ${missing[*]}" >&2
      echo "hint: run as root: apt-get update && apt-get install ${missing[*]}" >&2
      exit 1
    fi
    root=(sudo)
  fi
  echo "setup: installing ${missing[*]}" >&2
  log=$(mktemp)
  if ! { "${root[@]}" apt-get update &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    echo "setup: apt-get failed (its output is above)" >&2
    exit 1
  fi
  rm -f "$log"
}

for group in "${@:-build}"; do
  case "$group" in
    build)
      ensure g++ make libdnnl-dev libopenblas-dev libstb-dev libjpeg-dev zlib1g-dev doctest-dev \
        libcxxopts-dev nlohmann-json3-dev libonnx-dev libprotobuf-dev
      ;;
    demo) ensure dataset-fashion-mnist gnuplot-nox jq curl ca-certificates ;;
    figure) ensure gnuplot-nox jq ;;
    report) ensure chromium ;;
    mpi) ensure libopenmpi-dev openmpi-bin libmpich-dev mpich ;;
    lint) ensure git clang-format clang-tidy libomp-dev binutils ;;
    fuzz)
      ensure clang llvm libomp-dev
      ensure "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" # libFuzzer; named after clang's version
      ;;
    data) ensure python3 python3-venv libjxl-tools ;;
    ship) ensure gcc pkg-config binutils ;;
    pillow) ensure python3 python3-pil python3-numpy jq ;;
    peers) ensure python3 python3-venv python3-dev jq gnuplot-nox ca-certificates ;; # torch.compile wants Python's headers
    *)
      echo "setup.sh: unknown group '$group'; expected build, demo, figure, report, lint, fuzz, data, pillow, peers or ship" >&2
      exit 2
      ;;
  esac
done
