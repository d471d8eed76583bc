#!/usr/bin/env bash
# Public sets as people's files (a CSV with a row per step) beside the suite.
#
#   bench/accuracy/files.sh DATA_FOLDER
#
# For M3 monthly, tourism monthly, nn5 and ETT: writes the set as CSV, runs `tidecast
# backtest` on it with nothing said of its steps, and prints the scores beside those of
# the suite's task. The seasonal naive ones have to be the same; the model's paths have
# other seeds. Needs Python. TIDECAST=path/to/tidecast takes a program that is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case ${1:---help} in
  -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit ;;
esac
data=$1
[ -d "$data" ] || { echo "\`$data\` is no folder: expected the one with the evaluation sets" >&2; exit 2; }
if [ -z "${TIDECAST:-}" ]; then
  cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p tidecast-cli --bin tidecast
  target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  TIDECAST=$target/release/tidecast
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
long_csv=${LONG_CSV:-}
convert() {
  if [ -n "$long_csv" ]; then "$long_csv" "$@"; else
    cargo run --quiet --locked --manifest-path "$root/Cargo.toml" -p tidecast-files --example long_csv -- "$@"
  fi
}
score() { # KEY: WQL and MASE of the JSON's first task
  python3 -c '
import json, sys
task = json.load(sys.stdin)["tasks"][0]
of = task["models"][0] if sys.argv[1] == "model" else task[sys.argv[1]]
print("%.10f %.8f" % (of["wql"], of["mase"]))' "$1"
}
printf '%-32s %-24s %-24s %s\n' 'task' 'seasonal naive WQL MASE' 'model WQL MASE' 'step found'
row() { # TASK FILE HORIZON SEASON WINDOWS
  local name=$1 file=$2 horizon=$3 season=$4 windows=$5 json notes
  convert "$data/$file.parquet" "$folder/$file.csv"
  json=$("$TIDECAST" backtest --suite "$here/suite.toml" --data "$data" --only "$name" --json 2>/dev/null | tail -n 1)
  printf '%-32s %-24s %-24s\n' "$name, suite" "$(score seasonal_naive <<<"$json")" "$(score model <<<"$json")"
  json=$("$TIDECAST" backtest --input "$folder/$file.csv" --time time --target value --series series \
    --horizon "$horizon" --season "$season" --windows "$windows" --json 2>"$folder/notes" | tail -n 1)
  notes=$(sed -n 's/.*, step \(.*\)/\1/p;s/.*, steps \(.*\)/\1/p' "$folder/notes" | head -n 1)
  printf '%-32s %-24s %-24s %s\n' "$name, file" "$(score seasonal_naive <<<"$json")" "$(score model <<<"$json")" "$notes"
}
row chronos:monash_m3_monthly m3_monthly 18 12 1
row chronos:monash_tourism_monthly tourism_monthly 24 12 1
row own:nn5 nn5 56 7 1
row gift:ett1/H/short ett1_h 48 24 20
