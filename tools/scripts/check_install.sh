#!/usr/bin/env bash
# Uses what `make install` puts in place as another project would: compiles examples/classify.c with pkg-config against the
# shared and the static library, runs it on a picture and compares its answer with pleat-run's. Then gives it a damaged model.
# usage: check_install.sh PREFIX     (where Pleat was installed)
set -euo pipefail

prefix=$(realpath "${1:?usage: check_install.sh PREFIX}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib XDG_CACHE_HOME=$work/cache
fail() { echo "check-install: $*" >&2; exit 1; }
compile() { cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Wno-sign-conversion "$@" -lm; }

[ "$(pkg-config --modversion pleat)" = "$("$prefix/bin/pleat" --version | cut -d' ' -f2)" ] || fail "pleat.pc has another version"
compile examples/classify.c -o "$work/shared" $(pkg-config --cflags --libs pleat)
mkdir "$work/static-libs" && ln -s "$prefix/lib/libpleat.a" "$work/static-libs"
compile examples/classify.c -o "$work/static" $(pkg-config --cflags pleat) -L"$work/static-libs" \
  $(pkg-config --static --libs-only-l pleat)
ldd "$work/shared" | grep -q "libpleat\.so\.0 => $prefix/lib/" || fail "the shared example does not load libpleat.so.0"
! ldd "$work/static" | grep libpleat || fail "the static example loads libpleat.so"

PLEAT_DATA=tests/fixtures/data "$prefix/bin/pleat" train resnet20 --data cifar10 --epochs 4 --batch 4 --out "$work" --quiet >/dev/null
picture=tests/fixtures/data/sharp
expected=$("$prefix/bin/pleat-run" "$work/model.safetensors" $picture.png --top 1 | tail -1 | xargs) # score, name
for kind in shared static; do
  got=$("$work/$kind" "$work/model.safetensors" $picture.ppm | sed 's/class .*, //' | xargs)
  [ "$got" = "$expected" ] || fail "$kind: got '$got', pleat-run says '$expected'"
  echo "  ok    examples/classify.c, $kind: $got"
done

head -c 1000 "$work/model.safetensors" >"$work/cut.safetensors"
if "$work/shared" "$work/cut.safetensors" $picture.ppm 2>"$work/error"; then fail "a truncated model was accepted"; fi
grep -q "cut.safetensors: " "$work/error" || fail "a truncated model: $(cat "$work/error")"
echo "  ok    a truncated model: $(sed "s|$work/||" "$work/error")"

# The C++ library: train, fold and fine-tune on the few pictures of the fixtures; what comes out is a model.
g++ -std=c++20 -O2 -Wall -Wextra -Wpedantic -Werror -I "$prefix/include/pleat" examples/train.cpp \
  "$prefix/lib/libpleat.a" -lopenblas -ldnnl -lgomp -ljpeg -lz -o "$work/train"
PLEAT_DATA=tests/fixtures/data "$work/train" cifar10 2 "$work/run" >"$work/said" 2>"$work/error" ||
  fail "examples/train.cpp: $(cat "$work/error")"
grep -q '^depth 7 -> 4, convolutions 6 -> ' "$work/said" || fail "examples/train.cpp says: $(cat "$work/said")"
"$prefix/bin/pleat" verify "$work/run/finetune/model.safetensors" "$work/run/merged.safetensors" --random 10 --json \
  2>/dev/null | grep -q '"same_top1":1.0' || fail "examples/train.cpp: the merged network is another one"
echo "  ok    examples/train.cpp: $(cat "$work/said")"
