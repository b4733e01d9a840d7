#!/usr/bin/env bash
# Runs tests/race_test.cpp under ThreadSanitizer, after a race that it must find (tests/tsan/planted.cpp). Exits with 1
# if that one is not reported, or if anything else is.
# usage: tsan.sh BUILD
set -uo pipefail
program=$1/pleat-race
# Archer, which comes with clang's OpenMP runtime, tells ThreadSanitizer what the runtime's barriers put in order. What
# clang has not compiled here (oneDNN, the runtime itself) is left out: half of what happens there is unseen, so that
# all reports of it would be false.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"
OMP_TOOL_LIBRARIES=$(clang -print-resource-dir)/../../libarcher.so
[ -e "$OMP_TOOL_LIBRARIES" ] || { echo "tsan: $OMP_TOOL_LIBRARIES, a part of libomp-dev, is missing" >&2; exit 1; }
export OMP_TOOL_LIBRARIES

planted=$("$program" --no-skip --test-case='planted*' 2>&1)
if [ $? -ne 66 ] || ! grep -q 'WARNING: ThreadSanitizer: data race' <<<"$planted"; then
  printf 'ThreadSanitizer did not report the race in tests/tsan/planted.cpp, but printed:\n%s\n' "$planted" >&2
  exit 1
fi
echo "The planted race was reported."
"$program" --test-case='races*' || exit 1
