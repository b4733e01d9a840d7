#!/usr/bin/env bash
# Compares the latency of inference with PyTorch (eager and compile), ONNX Runtime, OpenVINO and ncnn: every case in every
# precision of this CPU. All runtimes run the same network, with random weights, from one ONNX file. Each is a process that
# prepares the network once, and whose outputs are compared before anything is timed; then they take turns, one at a time.
# Prints the medians over the rounds as a table, writes results/bench-infer-<cpu>.json and draws
# results/bench-infer-<cpu>.png, or OUT.json and OUT.png.
# usage: bench_infer.sh BUILD [--rounds N] [--out OUT] [CASE...]      (default: 5 rounds of the cases below)
# CASE is NETWORK:BATCH[:FILE...]. NETWORK is a name of `pleat list` or a model file. The FILEs are models that Pleat alone
# runs, beside the others' NETWORK: folded networks against unfolded ones.
# The other runtimes are installed by tools/scripts/python_with.sh.
set -euo pipefail

build=$1
shift
here=$(dirname "$0")
rounds=5 out= cases=()
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    -*) echo "bench_infer.sh: unknown option $1; expected --rounds N, --out OUT" >&2; exit 2 ;;
    *) cases+=("$1"); shift ;;
  esac
done
[ ${#cases[@]} -gt 0 ] || cases=(mobilenet_v2_{0.75,1.0,1.4}:1 mobilenet_v2_1.0:16 resnet20:{1,128} vgg16_bn:{1,128} efficientnet_lite0:1)
milliseconds=400 # that Pleat's calls of a round take together; the others make as many calls
peers=(eager compile onnxruntime openvino ncnn)

python=$("$here/python_with.sh" "$build" torch==2.13.0 numpy onnx onnxruntime openvino ncnn pnnx safetensors)
. "$here/bench_machine.sh" "$build"
. "$here/bench_workers.sh"
out=${out:-$(results_for bench-infer)}
work=$(mktemp -d)
finish() {
  kill_workers
  rm -rf "$work"
}
trap finish EXIT

ready=() # the workers that can be timed

# start WHO RUNTIME NETWORK FOLDER: prepares a worker, checks its outputs and notes how far they are off.
start() {
  local who=$1
  if ! start_worker "$who" "$work/log" "$python" "$here/bench_infer_worker.py" "$2" "$3" --pleat "$build/pleat" \
    --onnx "$work/net.onnx" --folder "$4" --dtype "$precision" --batch "$batch" --threads "$threads"; then
    echo "$case_ $precision: $who cannot run it: $(grep -i error "$work/log" | tail -n 1)" >&2
  elif [ "$precision" = f32 ] && ! jq -e '.difference <= 1e-3' <<<"$reply" >/dev/null; then
    echo "$case_ $precision: the outputs of $who differ from Pleat's, so it is not timed: $reply" >&2
    dismiss "$who"
  else
    ready+=("$who")
    jq --arg who "$who" --arg case_ "$case_" --arg precision "$precision" '. + {$case_, $precision, $who}' <<<"$reply" >>"$work/ready"
  fi
}

# round WHO WARM-UP CALLS: one round of a worker; sets `reply` to the milliseconds of a call.
round() {
  ask "$1" "$2 $3" || { echo "$case_ $precision: $1 died: $(tail -n 1 "$work/log")" >&2; exit 1; }
}

# describe MODEL FOLDER: writes random pictures and Pleat's outputs for them, in f32, into the folder.
describe() {
  local inspected
  inspected=$("$build/pleat" inspect "$1" --json 2>"$work/log") || { grep -A 1 'pleat: error' "$work/log" >&2; exit 1; }
  mkdir -p "$2"
  jq .input <<<"$inspected" | "$python" -c '
import json, sys, numpy, safetensors.numpy
size = json.load(sys.stdin)
shape = (int(sys.argv[2]), size["channels"], size["height"], size["width"])
pictures = numpy.random.default_rng(1).standard_normal(shape).astype(numpy.float32)
safetensors.numpy.save_file({"input": pictures}, sys.argv[1])' "$2/in.safetensors" "$batch"
  "$build/pleat" predict "$1" --input "$2/in.safetensors" --output "$2/out.safetensors" --threads "$threads" --quiet >/dev/null
}

for case_ in "${cases[@]}"; do
  IFS=: read -r network batch files <<<"$case_"
  IFS=: read -ra files <<<"$files"
  rm -f "$work"/net.*
  describe "$network" "$work/whole"
  "$build/pleat" export "$network" --onnx "$work/net.onnx" --quiet >/dev/null
  for precision in "${precisions[@]}"; do
    ready=()
    start pleat pleat "$network" "$work/whole"
    [ ${#ready[@]} -gt 0 ] || continue
    for file in "${files[@]}"; do
      describe "$file" "$work/folded"
      start "pleat $file" pleat "$file" "$work/folded"
    done
    for who in "${peers[@]}"; do start $who $who "$network" "$work/whole"; done
    round pleat 1 3
    runs=$(jq -n "[[$milliseconds / $reply, 3] | max, 200] | min | floor")
    for ((i = 1; i <= rounds; ++i)); do
      line="round $i: $case_ $precision"
      for who in "${ready[@]:i % ${#ready[@]}}" "${ready[@]:0:i % ${#ready[@]}}"; do # each round begins with another one
        sleep 0.1 # the threads of the one before may still be spinning
        round "$who" $((runs / 10 + 1)) "$runs"
        jq -n --arg case_ "$case_" --arg precision "$precision" --arg who "$who" --argjson ms "$reply" \
          '{$case_, $precision, $who, $ms}' >>"$work/times"
        line+=", $who $(LC_ALL=C printf %.3f "$reply")"
      done
      echo "$line ms" >&2
    done
    dismiss_all
  done
done

jq -n --argjson doctor "$doctor" --argjson rounds "$rounds" --slurpfile times "$work/times" --slurpfile ready "$work/ready" '
  def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
  def by_who(f): reduce group_by(.who)[] as $of ({}; .[$of[0].who] = ($of | f));
  {command: "make bench-infer", cpu: $doctor.cpu, features: $doctor.features, threads: $doctor.threads,
   onednn: $doctor.onednn, versions: ($ready | by_who(.[0].version)), $rounds,
   results: [(reduce $times[] as $t ([]; if index([[$t.case_, $t.precision]]) then . else . + [[$t.case_, $t.precision]] end))[]
     | . as $key | [$times[] | select([.case_, .precision] == $key)]
     | by_who(map(.ms)) as $rounds_ms
     | ($rounds_ms | map_values(median)) as $medians
     | ([$medians | to_entries[] | select(.key | startswith("pleat") | not)] | min_by(.value).key) as $best
     | {case: $key[0], precision: $key[1], median_ms: $medians, best_peer: $best,
        # The median over the rounds of the ratio within a round, so that a drifting machine does little harm.
        ratio_to_best_peer: ($rounds_ms | with_entries(select(.key | startswith("pleat"))
          | .value = (if $best then [.value, $rounds_ms[$best]] | transpose | map(.[1] / .[0]) | median else null end))),
        difference: ([$ready[] | select([.case_, .precision] == $key)] | by_who(.[0].difference)),
        each_round_ms: $rounds_ms}]}' >"$work/result"
mv "$work/result" "$out.json"
chmod 644 "$out.json"

columns=(pleat "${peers[@]}")
printf '%-28s %-9s' case precision
printf ' %11s' "${columns[@]}"
printf '  %s\n' 'ratio to the best peer'
jq -r '.results[] | . as $r | [.case, .precision, (("pleat", "eager", "compile", "onnxruntime", "openvino", "ncnn") | $r.median_ms[.] // "-"),
  ([$r.ratio_to_best_peer | to_entries[] | (.key | ltrimstr("pleat") | ltrimstr(" ") | if . == "" then . else . + " " end)
    + (.value | if . then . * 100 | round / 100 | tostring else "-" end)] | join(", "))] | @tsv' "$out.json" |
  while IFS=$'\t' read -r name precision a b c d e f ratio; do
    printf '%-28s %-9s' "$name" "$precision"
    for ms in "$a" "$b" "$c" "$d" "$e" "$f"; do
      [ "$ms" = - ] && printf ' %11s' - || LC_ALL=C printf ' %11.3f' "$ms"
    done
    printf '  %s\n' "$ratio"
  done
"$here/plot_infer.sh" "$out.json" "$out.png"
echo "milliseconds of a call, $threads threads, medians of $rounds rounds -> $out.json, $out.png" >&2
