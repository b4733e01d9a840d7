#!/usr/bin/env bash
# Checks the rules that a compiler does not: formatting, clang-tidy, who includes whom, what pleat-run and libpleat.so link
# and show, and whether the paths and links in documents exist. Prints what breaks a rule and exits with 1.
# usage: lint.sh BUILD      (with pleat-run and libpleat.so built)
set -uo pipefail
run=$1/pleat-run
library=$(ls -t "$1"/libpleat.so.* | head -1)
sources=$(git ls-files '*.cpp' '*.hpp' '*.h' '*.c')
failed=0

# expect_nothing RULE FOUND: FOUND lists what breaks the rule.
expect_nothing() {
  local what=$1 found=$2
  if [ -z "$found" ]; then
    echo "  ok    $what"
  else
    printf '  FAIL  %s\n%s\n' "$what" "$(sed 's/^/          /' <<<"$found")"
    failed=1
  fi
}

# includes_besides FOLDER ALLOWED: the folder's includes of our own headers that do not match the regular expression.
includes_besides() {
  grep -nE '^#include "' $(grep "^$1/" <<<"$sources") | grep -vE "#include \"($2)"
}

# users_besides HEADERS ALLOWED: files that include an outside library's headers and are not among those that may.
users_besides() {
  grep -lE "^#include <$1" $sources | grep -vxE "$2"
}

# Paths of this repository that documents, scripts and comments name and that are not there. Names with placeholders
# (<op>, *, {a,b}) are passed over, and so are includes, which the compiler checks.
missing_paths() {
  local file path
  git grep -oE '(^|[^[:alnum:]_./$"-])(core|ops|models|data|fold|tools|tests|examples|docs|results)/[[:alnum:]_./-]+\.(hpp|cpp|h|c|sh|py|md|svg|png|txt|map|in)\b' \
    -- '*.md' '*.hpp' '*.cpp' '*.h' '*.c' '*.sh' Makefile ':!CHANGELOG.md' | sed -E 's/:[^[:alnum:]]/:/' | sort -u |
    while IFS=: read -r file path; do [ -e "$path" ] || echo "$file: $path"; done
}

# Links in documents whose file, or whose heading in it, is not there.
broken_links() {
  local document link target
  for document in $(git ls-files '*.md'); do
    grep -v '^    ' "$document" | grep -oE '\]\([^) ]+\)' | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^https?:' | while read -r link; do
      target=${link%%#*}
      target=$([ -n "$target" ] && echo "$(dirname "$document")/$target" || echo "$document")
      [ -e "$target" ] || { echo "$document: $link"; continue; }
      case $link in
        *'#'*)
          sed -nE 's/^#+ +//p' "$target" | tr '[:upper:]' '[:lower:]' | sed -E 's/[^[:alnum:] _-]//g; s/ /-/g' |
            grep -qxF -- "${link#*#}" || echo "$document: $link" ;;
      esac
    done
  done
}

expect_nothing "formatting (make format mends it)" \
  "$(clang-format --dry-run -Werror $sources 2>&1 | grep 'error:' | cut -d: -f1 | sort | uniq -c)"

expect_nothing "core includes core" "$(includes_besides core 'core/')"
expect_nothing "ops include core, ops" "$(includes_besides ops '(core|ops)/')"
expect_nothing "models include core, models, ops/spec" "$(includes_besides models '(core|models)/|ops/spec\.hpp"')"
expect_nothing "data includes core, data" "$(includes_besides data '(core|data)/')"
# The plain C++ of some ops, and the ways to compute convolutions that the engine shares with training.
shared_ops='ops/(spec|model_file|add|alpha_act|convert|shortcut|activation|conv/border_conv2d|conv/window|conv/tuner)\.hpp|ops/conv/(winograd|gemm)/'
expect_nothing "fold includes core, fold, ops/spec, ops/model_file, and what the engine shares with training" \
  "$(includes_besides fold "(core|fold)/|$shared_ops")"
expect_nothing "tools/train, a library, includes core, ops, models, data, fold, tools/train" \
  "$(includes_besides tools/train '(core|ops|models|data|fold|tools/train)/')"
expect_nothing "only tools/commands include tools/commands" \
  "$(grep -nE '#include "tools/commands/' $sources | grep -vE '^(tools/commands|tests)/')"

expect_nothing "BLAS in ops/conv/gemm/gemm alone" "$(users_besides cblas 'ops/conv/gemm/gemm\.cpp')"
expect_nothing "oneDNN in core/onednn alone" "$(users_besides 'dnnl|oneapi' 'core/onednn\.hpp')"
expect_nothing "oneDNN's users" "$(grep -l '#include "core/onednn.hpp"' $sources | grep -vxE 'ops/conv/conv2d_onednn\.cpp|fold/engine/.*|core/(machine|parallel)\.cpp|core/onednn_slices\.hpp|tests/.*')"
expect_nothing "OpenMP in core/parallel alone, and in a test of callers that use it" \
  "$(users_besides omp 'core/parallel\.cpp|tests/c_api_test\.cpp')"
expect_nothing "stb_image in data/stb, libjpeg in data/jpeg alone" \
  "$(users_besides stb 'data/stb\.cpp')$(users_besides jpeglib 'data/jpeg\.cpp')"
expect_nothing "cxxopts in tools/cli alone" "$(users_besides cxxopts 'tools/cli\.cpp')"
expect_nothing "MPI in tools/mpi alone" "$(users_besides mpi 'tools/mpi/mpi_transport\.cpp')"
expect_nothing "ONNX in tools/onnx/onnx_writer alone" "$(users_besides onnx 'tools/onnx/onnx_writer\.hpp|tests/onnx_test\.cpp')"
expect_nothing "doctest in tests alone" "$(users_besides doctest 'tests/.*')"

expect_nothing "ops are visited, not guessed (std::get_if)" "$(grep -nE 'std::get_if' $sources | grep -v '^tests/')"
expect_nothing "paths named in documents, scripts and comments exist" "$(missing_paths)"
expect_nothing "links in documents lead somewhere" "$(broken_links)"
expect_nothing "no paths of one machine" "$(git grep -nE '(^|[^a-zA-Z0-9_.)])/(home|root|work)/' -- . ':!tools/scripts/lint.sh')"
expect_nothing "nothing left unfinished" "$(git grep -nE 'TODO|FIXME' -- . ':!tools/scripts/lint.sh' ':!LICENSE')"

for file in "$run" "$library"; do
  expect_nothing "$(basename "$file") links oneDNN and the OpenMP, C++ and C runtimes alone" \
    "$(readelf -d "$file" | grep NEEDED | grep -vE '\[(libdnnl|libgomp|libstdc\+\+|libgcc_s|libm|libc|ld-linux[^.]*)\.so\.[0-9]+\]')"
done
strip -o "$run.stripped" "$run"
expect_nothing "pleat-run is under 1.5 MB when stripped" \
  "$(wc -c <"$run.stripped" | awk '$1 >= 1500000 { print $1, "bytes" }')"
rm -f "$run.stripped"
expect_nothing "libpleat.so shows the C API alone" "$(nm -D --defined-only "$library" | grep -vE ' (T pleat_[a-z_]+|A PLEAT_[0-9]+)(@|$)')"
expect_nothing "pleat.h is C99" "$(gcc -x c -std=c99 -Wall -Wextra -Wpedantic -fsyntax-only fold/engine/pleat.h 2>&1)"
expect_nothing "pleat-run holds nothing of training" "$(nm -C "$run" | grep -E 'pleat::(Exec|Tape|Sgd|WinogradConv2d|[a-z0-9_]+_backward|gemm)\b' | head)"

# clang-tidy, two files at a time; headers are checked with the files that include them. With TIDY_SHARE=N one file in N is
# checked, other ones after each commit, as clang-tidy takes longer than everything else here together.
share=${TIDY_SHARE:-1} turn=$(git rev-list --count HEAD)
tidy=$(grep '\.cpp$' <<<"$sources" | grep -v '^tests/' | awk "(NR + $turn) % $share == 0" | xargs -P "$(nproc)" -n 2 \
  sh -c 'clang-tidy --quiet "$@" -- -std=c++20 -I. -I"$0/generated" -isystem /usr/include/stb -DONNX_ML -DONNX_NAMESPACE=onnx 2>/dev/null' "$1")
expect_nothing "clang-tidy$([ "$share" -gt 1 ] && echo " (one file in $share)")" "$(grep -E '(error|warning):' <<<"$tidy" | sort -u)"

wc -l $sources | grep -v ' total$' | sort -n | awk '{ lines[NR] = $1; name[NR] = $2 } END {
  printf "  %d files, median %d lines, longest %d (%s)\n", NR, lines[int((NR + 1) / 2)], lines[NR], name[NR] }'
exit $failed
