# Sourced by the benchmarks against other programs: what this machine is, and where its results go. Sets `doctor` (the JSON
# of `pleat doctor`), `threads` and `precisions`. usage: . bench_machine.sh BUILD

doctor=$("$1/pleat" doctor --json --quiet 2>/dev/null) || { "$1/pleat" doctor >&2; exit 1; }
threads=$(jq .threads <<<"$doctor")
precisions=(f32)
if jq -e '.features | any(. == "avx512_bf16" or . == "amx_bf16")' <<<"$doctor" >/dev/null; then precisions+=(bf16); fi

# results_for NAME: prints results/NAME-<cpu>-<instruction set>. Processors of one name differ in what they can do, so the
# best instruction set that matters here is part of the name.
results_for() {
  local cpu
  cpu=$(jq -r '.features as $has | .cpu + " " + ([("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx") | select(IN($has[]))][0])' <<<"$doctor")
  echo "$(dirname "${BASH_SOURCE[0]}")/../../results/$1-$(tr -cs '[:alnum:]' - <<<"${cpu,,}" | sed 's/-*$//')"
}
