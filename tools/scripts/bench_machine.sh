# For the benchmarks against other programs, which source it: what this machine is, and where its results go.
# Sets doctor (JSON of `pleat doctor`), threads, precisions. usage: . bench_machine.sh BUILD

doctor=$("$1/pleat" doctor --json --quiet 2>/dev/null) || { "$1/pleat" doctor >&2; exit 1; }
threads=$(jq .threads <<<"$doctor")
precisions=(f32)
if jq -e '.features | any(. == "avx512_bf16" or . == "amx_bf16")' <<<"$doctor" >/dev/null; then precisions+=(bf16); fi

# results/NAME-<cpu>: processors of one name differ in what they can do, so the best instruction set that counts here is
# named, too.
results_for() {
  local cpu
  cpu=$(jq -r '.features as $has | .cpu + " " + ([("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx") | select(IN($has[]))][0])' <<<"$doctor")
  echo "$(dirname "${BASH_SOURCE[0]}")/../../results/$1-$(tr -cs '[:alnum:]' - <<<"${cpu,,}" | sed 's/-*$//')"
}
