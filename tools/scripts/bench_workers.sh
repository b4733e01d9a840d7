# Sourced by the benchmarks against other programs. A worker is a process that prepares its work once, prints a line, and
# from then on answers each line it reads with one line. usage: . bench_workers.sh

workers=()           # their process numbers
declare -A to from   # and their file descriptors

# start_worker WHO LOG COMMAND...: starts one and sets `reply` to its first line; false if it ended before that.
start_worker() {
  local who=$1 log=$2 pipes reading writing
  shift 2
  pipes=$(mktemp -d)
  mkfifo "$pipes/to" "$pipes/from"
  "$@" <"$pipes/to" >"$pipes/from" 2>"$log" &
  workers+=($!)
  exec {writing}>"$pipes/to" {reading}<"$pipes/from"
  rm -r "$pipes"
  to[$who]=$writing from[$who]=$reading
  read -r reply <&"$reading" || { dismiss "$who"; return 1; }
}

# ask WHO LINE: sends a line and sets `reply` to the answer; false if the worker has ended.
ask() {
  echo "$2" >&"${to[$1]}" && read -r reply <&"${from[$1]}"
}

# dismiss WHO: closes its input, after which it ends.
dismiss() {
  local writing=${to[$1]} reading=${from[$1]}
  exec {writing}>&- {reading}<&-
  unset "to[$1]" "from[$1]"
}

dismiss_all() {
  local who
  for who in "${!to[@]}"; do dismiss "$who"; done
  wait "${workers[@]}" 2>/dev/null || true
  workers=()
}

kill_workers() { [ ${#workers[@]} -eq 0 ] || kill "${workers[@]}" 2>/dev/null || true; }
