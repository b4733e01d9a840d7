#!/usr/bin/env bash
# Installs what Pleat needs and this machine lacks, on Debian and Ubuntu, saying what it does; silent when all is there.
# usage: setup.sh [build] [demo] [lint] [data]      (default: build)
set -euo pipefail

build=(g++ make libdnnl-dev libopenblas-dev libstb-dev doctest-dev libcxxopts-dev nlohmann-json3-dev zlib1g-dev)
demo=(gnuplot-nox curl ca-certificates)
lint=(clang-format clang-tidy libomp-dev binutils)
data=(python3 libjxl-tools)

wanted=()
for group in "${@:-build}"; do
  case "$group" in
    build) wanted+=("${build[@]}") ;;
    demo) wanted+=("${demo[@]}") ;;
    lint) wanted+=("${lint[@]}") ;;
    data) wanted+=("${data[@]}") ;;
    *) echo "setup.sh: unknown group '$group'; expected build, demo, lint or data" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here; these must be installed by other means: ${wanted[*]}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: missing packages: ${missing[*]}" >&2
    echo "hint: as root: apt-get update && apt-get install ${missing[*]}" >&2
    exit 1
  fi
  root=(sudo)
fi

echo "setup: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { "${root[@]}" apt-get update && "${root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "setup: apt-get failed (its output is above)" >&2
  exit 1
fi
