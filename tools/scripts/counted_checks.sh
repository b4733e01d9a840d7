# What scripts share that count checks: to be sourced, with $work a folder for their output.

passed=0 failed=0

# check WHAT COMMAND...: runs a command and counts whether it passed.
check() {
  local what=$1
  shift
  if "$@" >"$work/out.txt" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "  FAIL  $what"
    sed 's/^/        /' "$work/out.txt"
  fi
}
