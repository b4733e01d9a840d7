#!/usr/bin/env bash
# Runs BUILD/pleat-tests, which also runs the programs in BUILD from outside, and ends with the line `N passed, N failed`.
# usage: run_tests.sh BUILD [doctest options]
set -uo pipefail
build=$1
shift

log=$(mktemp)
trap 'rm -f "$log"' EXIT
PLEAT_BUILD="$build" "$build/pleat-tests" --no-colors "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# doctest: "[doctest] test cases: 12 | 12 passed | 0 failed | 0 skipped"
counts=$(sed -nE 's/^\[doctest\] test cases: .*\| +([0-9]+) passed \| +([0-9]+) failed.*/\1 passed, \2 failed/p' "$log")
if [ -z "$counts" ]; then
  echo "the test program ended before it printed its summary (exit code $status)" >&2
  counts="0 passed, 1 failed"
fi
echo "$counts"
case "$counts" in
  "0 passed,"*) exit 1 ;;
esac
exit "$status"
