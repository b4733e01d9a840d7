#!/usr/bin/env bash
# Runs tests/race_test.cpp under ThreadSanitizer, after a race that it must find (tests/tsan/planted.cpp). Exits with 1
# if that one is not reported, or if anything else is.
# usage: tsan.sh BUILD
set -uo pipefail
program=$1/pleat-race
# What is not compiled here (oneDNN, OpenBLAS) is left out: half of what happens there is unseen, so that all reports of it
# would be false.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"

planted=$("$program" --no-skip --test-case='planted*' 2>&1)
if [ $? -ne 66 ] || ! grep -q 'WARNING: ThreadSanitizer: data race' <<<"$planted"; then
  printf 'ThreadSanitizer did not report the race in tests/tsan/planted.cpp, but printed:\n%s\n' "$planted" >&2
  exit 1
fi
echo "The planted race was reported."
"$program" --test-case='races*' || exit 1
