#!/usr/bin/env bash
# Opens reports of a small experiment in headless Chromium, and checks that every part is there, that the console shows no
# error, and that the page is drawn. With KEEP=DIR the page and its picture stay there.
# usage: check_report.sh BUILD
set -uo pipefail
build=$(realpath "${1:?usage: check_report.sh BUILD}")
cd "$(dirname "$0")/../.."
command -v chromium >/dev/null || { echo "check-report: chromium is missing; tools/scripts/setup.sh report installs it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PLEAT_DATA=$PWD/tests/fixtures/data XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config HOME=$work
passed=0 failed=0
result() { if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "  FAIL  $2"; fi; }
pleat() { "$build/pleat" "$@" --quiet; }

# browse PAGE ARGUMENTS...: opens a page without a network; what the console shows goes to console.txt.
browse() {
  local page=$1
  shift
  timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
    --host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr --hide-scrollbars "$@" "file://$page" 2>"$work/log.txt"
  local status=$?
  grep 'CONSOLE' "$work/log.txt" >"$work/console.txt"
  return $status
}

cat >"$work/tiny.json" <<'END'
{"train": {"epochs": 3, "batch": 4}, "prefold": {"epochs": 3, "batch": 4, "lr": 0.01}, "finetune": {"epochs": 2, "batch": 4}}
END
cd "$work" || exit 1
{
  pleat curve resnet20 --data cifar10 --depths 17,12,9 --recipe ./tiny.json --seconds 0 --tune off --threads 2 --out curve &&
    { pleat plan curve/prefold/model.safetensors --out plan.json --seconds 1 --tune off ||  # refused if measured too badly
      pleat plan curve/prefold/model.safetensors --out plan.json --seconds 5 --tune off; } &&
    pleat verify curve/depth-9/kept.safetensors curve/depth-9/merged.safetensors --random 10 --json >verify.json &&
    pleat bench curve/base/model.safetensors curve/depth-9/merged.safetensors --runs 20 --tune off --json >bench.json &&
    pleat report curve curve/prefold curve/base/model.safetensors curve/depth-9/merged.safetensors plan.json verify.json \
      bench.json --out report.html
} >said.txt 2>&1 || { cat said.txt >&2; exit 1; }

browse "$work/report.html" --dump-dom >dom.html
result $? "chromium opens the page"
[ ! -s console.txt ]
result $? "no error in the console: $(head -c 500 console.txt)"
# Each part, as the browser has understood it: tags that it had to mend would stand elsewhere.
while IFS= read -r part; do
  grep -qF -- "$part" dom.html
  result $? "the page has: $part"
done <<'END'
<h1>Pleat report
<h2>Accuracy against depth</h2>
<h2>Training run</h2>
<h2>Folded network</h2>
<h2>Plan</h2>
<h2>Result of pleat verify</h2>
<h2>Result of pleat bench</h2>
<pre>pleat curve resnet20 --data cifar10
<pre>pleat prefold base --out DIR
<figcaption>Accuracy against depth</figcaption>
<figcaption>Accuracy against latency</figcaption>
<figcaption>Alphas: 1 is the identity, 0 the activation as it was</figcaption>
<h3>The network before and after</h3>
<svg class="network"
class="gone"
<h3>The plan's points</h3>
max_rel_diff
median_ms
</html>
END
[ "$(grep -c '<section id="part[0-9]*">' dom.html)" = 7 ]
result $? "a section for each input"

browse "$work/report.html" --screenshot="$work/report.png" --window-size=1240,6000
[ "$(wc -c <report.png)" -gt 50000 ]
result $? "the page is drawn"

# The check must be able to fail: this page has a script, which the report's policy forbids, and the console says so.
sed 's|</main>|<script>1</script></main>|' report.html >planted.html
browse "$work/planted.html" --dump-dom >/dev/null
grep -q 'Content Security Policy' console.txt
result $? "an error in the console is seen"

if [ -n "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp report.html report.png "$KEEP"; fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
