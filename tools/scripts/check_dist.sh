#!/usr/bin/env bash
# Runs the tarball of `make dist` on machines where nothing was installed: in an empty root file system, where it brings its
# own C library, and in one that holds a C library and nothing else. In both it must classify a picture to the same bits as
# outside, and time itself. It needs root, for chroot; where that is not permitted, it says so and passes.
# usage: check_dist.sh BUILD TARBALL     (with BUILD/pleat and BUILD/pleat-run built)
set -euo pipefail

build=$(realpath "${1:?usage: check_dist.sh BUILD TARBALL}") tarball=$(realpath "${2:?}")
name=$(basename "$tarball" .tar.gz)
if ! chroot / true 2>/dev/null; then
  echo "check-dist: SKIPPED: chroot is not permitted here (it needs root)" >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "check-dist: $*" >&2; exit 1; }

cp tests/fixtures/data/sharp.png "$work"
PLEAT_DATA=tests/fixtures/data "$build/pleat" train resnet20 --data cifar10 --epochs 4 --batch 4 --out "$work" --quiet >/dev/null
classify=(model.safetensors sharp.png --top 10 --threads 2 --tune off --json)
bench=(model.safetensors --bench --threads 2 --tune off)
cd "$work"
expected=$("$build/pleat-run" "${classify[@]}" 2>/dev/null)

# check WHAT ROOT COMMAND...: runs pleat-run, started by COMMAND, in the root file system ROOT.
check() {
  local what=$1 root=$2 got
  shift 2
  cp model.safetensors sharp.png "$root"
  got=$(chroot "$root" "$@" "${classify[@]}" 2>error) || fail "$what: $(cat error)"
  [ "$got" = "$expected" ] || fail "$what: got"$'\n'"$got"$'\n'"outside"$'\n'"$expected"
  got=$(chroot "$root" "$@" "${bench[@]}") || fail "$what: --bench failed"
  printf '  ok    %s\n%s\n' "$what" "$got"
}

mkdir empty
tar -C empty -xf "$tarball"
loader=$(cd empty && ls "$name"/libc/ld-*)
check "an empty root file system, with the tarball's own C library" empty \
  "/$loader" --library-path "/$name/libc:/$name" "/$name/pleat-run"

mkdir bare
tar -C bare -xf "$tarball"
rm -r "bare/$name/libc"
ldd "$build/pleat-run" | grep -oE '/[^ ]*/(ld-linux|libc\.|libm\.)[^ ]*' | xargs cp --parents -Lt bare
# $ORIGIN stands for the program's folder, which ld.so learns from /proc or, without it, from this variable.
LD_ORIGIN_PATH=/$name check "a C library and nothing else" bare "/$name/pleat-run"
