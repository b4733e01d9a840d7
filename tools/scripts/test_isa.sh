#!/usr/bin/env bash
# Runs the kernels' tests once for each instruction set that this CPU has, except for the best one, which all tests use
# anyway. Says which sets are skipped because the CPU lacks them, and ends with the line `N passed, N failed`.
# usage: test_isa.sh BUILD
set -uo pipefail
build=$1
tests='*simd_test*,*ops_test*,*kink_test*,*depthwise_test*,*winograd*_test*,*product_test*,*fused_inverted_residual_test*'
tests+=',*borders_test*,*exec_test*,*engine_test*,*nonlinearity_test*'

doctor=$("$build/pleat" doctor --json --quiet) || exit 1
# The names in one of the lists that `pleat doctor` gives.
names() {
  sed -nE "s/.*\"$1\":\[([^]]*)\].*/\1/p" <<<"$doctor" | tr -d '"' | tr ',' ' '
}

passed=0 failed=0
for isa in $(names missing); do echo "instruction set $isa: skipped, this CPU lacks it"; done
best=
for isa in $(names choices); do
  if [ -z "$best" ]; then
    best=$isa
    echo "instruction set $isa: the best of this CPU, which the other tests use"
    continue
  fi
  echo "instruction set $isa:"
  counts=$(PLEAT_ISA=$isa tools/scripts/run_tests.sh "$build" --source-file="$tests" | tee /dev/stderr | tail -1)
  passed=$((passed + ${counts%% *})) counts=${counts#*, }
  failed=$((failed + ${counts%% *}))
done 2>&1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
