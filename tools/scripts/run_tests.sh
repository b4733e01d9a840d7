#!/usr/bin/env bash
# Runs BUILD/pleat-tests, which also runs the programs in BUILD from outside, and ends with the line `N passed, N failed`.
# After PLEAT_TEST_MINUTES (40) it says what every thread waits for, and ends the tests: one that hangs is a failure.
# usage: run_tests.sh BUILD [doctest options]
set -uo pipefail
build=$1
shift
limit=$((${PLEAT_TEST_MINUTES:-40} * 60))

# The tests and the programs they started: their threads' states, and where the kernel or gdb sees them.
tell_where_it_hangs() {
  local process task
  for process in $(pgrep -f "^[^ ]*$build/pleat"); do
    echo "after $limit s process $process still runs: $(tr '\0' ' ' <"/proc/$process/cmdline")"
    for task in "/proc/$process"/task/*; do
      echo "  thread ${task##*/}: $(grep -s State: "$task/status"), $(cat "$task/wchan" 2>/dev/null)"
    done
    command -v gdb >/dev/null && gdb -p "$process" -batch -ex "thread apply all backtrace 12" 2>/dev/null | grep '^[#T]'
  done
}

log=$(mktemp)
{ sleep "$limit" && tell_where_it_hangs >&2; } &
watchdog=$!
disown # or bash would say that it was ended
trap 'rm -f "$log"; pkill -P "$watchdog"; kill "$watchdog" 2>/dev/null' EXIT
PLEAT_BUILD="$build" timeout --signal=ABRT --kill-after=60 $((limit + 60)) \
  "$build/pleat-tests" --no-colors "$@" 2>&1 | tee "$log"
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
