#!/usr/bin/env bash
# How many sample paths a forecast takes, drawn how: the table of docs/accuracy.md.
#
#   bench/accuracy/sampling.sh DATA_FOLDER [ARGUMENTS OF tidecast backtest…]
#
# DATA_FOLDER is that of run.sh, which this runs once a line: for each way to draw, number
# of paths and of points a path, WQL and MASE beside the seasonal naive method (geometric
# mean over the tasks, of the mean of three seeds), by how much the seeds' WQL differ
# (root mean square over the tasks, in percent), and seconds of processor, reading of
# the sets included. PATHS="8 16" takes others; TIDECAST=path/to/tidecast a program that
# is there already. Takes a quarter of an hour on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case ${1:---help} in
  -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit ;;
esac
data=$1
shift
paths=${PATHS:-8 16 32}
result=$(mktemp) times=$(mktemp)
trap 'rm -f "$result" "$times"' EXIT

line() { # way, paths, points, further arguments
  local way=$1 count=$2 points=$3
  shift 3
  { TIMEFORMAT='%U'; time "$here/run.sh" "$data" --rollout cached --repeats 3 --samples "$count" \
      --model-option "sampling=$way" --model-option "points=$points" "$@" 2>/dev/null | tail -1 >"$result"; } 2>"$times"
  python3 - "$way" "$count" "$points" "$result" "$times" <<'PY'
import json, math, sys
way, count, points, result, times = sys.argv[1:]
scores = json.load(open(result))
mean = scores["geometric_means"][0]
spread = []
for task in scores["tasks"]:
    seeds = [seed["wql"] for seed in task["models"][0]["seeds"]]
    middle = sum(seeds) / len(seeds)
    spread.append(sum((seed / middle - 1) ** 2 for seed in seeds) / (len(seeds) - 1))
spread = 100 * math.sqrt(sum(spread) / len(spread))
print(f"| {way} | {count} | {points} | {mean['wql_ratio']:.4f} | {mean['mase_ratio']:.4f} | {spread:.2f} % "
      f"| {float(open(times).read()):.0f} |", flush=True)
PY
}

echo "| drawn | paths | points a path and step | WQL | MASE | seeds differ by | CPU s |"
echo "|---|---|---|---|---|---|---|"
for count in $paths; do
  for points in 1 16; do line independent "$count" "$points" "$@"; done
  for points in 1 4 16; do line stratified "$count" "$points" "$@"; done
done
line independent 100 1 "$@"
line stratified 100 16 "$@"
