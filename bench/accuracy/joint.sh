#!/usr/bin/env bash
# How wide the bands of sums and peaks are: the table of docs/accuracy.md.
#
#   bench/accuracy/joint.sh DATA_FOLDER [ARGUMENTS OF tidecast backtest…]
#
# DATA_FOLDER is that of run.sh, which this runs once a line: paths drawn independently, as
# in the reference, and as they are told, with 16 and 64 of them. A cell is WQL / share of
# what happened inside the 80 % band, of sums of 4, 16 and 48 steps and of the largest of
# each 24, mean of three seeds; - where the horizon is shorter. Takes ten minutes on two
# cores. TIDECAST=path/to/tidecast takes a program that is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case ${1:---help} in
  -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit ;;
esac
data=$1
shift
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

run() { # name, arguments
  local name=$1
  shift
  "$here/run.sh" "$data" --rollout cached --repeats 3 --horizon-aggregate sum:4,sum:16,sum:48,max:24 "$@" \
    2>/dev/null | tail -1 >"$results/$name"
}
run independent --model-option sampling=independent "$@"
run told "$@"
run more --samples 64 "$@"

python3 - "$results" <<'PY'
import json, sys
names = {"independent": "independent, 100 paths", "told": "told, 16 paths", "more": "told, 64 paths"}
found = {name: json.load(open(f"{sys.argv[1]}/{name}"))["tasks"] for name in names}
print("| task (horizon) | paths | sums of 4 | sums of 16 | sums of 48 | largest of 24 |")
print("|---|---|---|---|---|---|")
for index, task in enumerate(found["told"]):
    for name, title in names.items():
        model = found[name][index]["models"][0]
        cells = []
        for one in model["aggregates"]:
            is_there = one["wql"] is not None
            cells.append(f"{one['wql']:.4f} / {100 * one['coverage']:.0f} %" if is_there else "-")
        first = f"{task['task']} ({task['horizon']})" if name == "independent" else ""
        print(f"| {first} | {title} | {' | '.join(cells)} |")
PY
