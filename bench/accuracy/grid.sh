#!/usr/bin/env bash
# What a grid of patches that stays put costs in accuracy: see docs/performance.md.
#
#   bench/accuracy/grid.sh DATA_FOLDER [CONTEXT [MODEL]]
#
# DATA_FOLDER is that of run.sh. Writes the sets as CSV and runs the example `grid` of
# tidecast-moirai on them: WQL of the next 16 steps, over that of contexts whose patches end
# at the origin, where 4, 8 or 12 of the newest patch's 16 steps are there. A checkpoint that
# was trained on such patches would have to show it here. Takes some minutes on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case ${1:---help} in
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
esac
data=$1
shift
[ -d "$data" ] || { echo "\`$data\` is no folder: expected the one with the evaluation sets" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
example() { # CRATE NAME ARGUMENTS…
  local crate=$1 name=$2
  shift 2
  cargo run --quiet --release --locked --manifest-path "$root/Cargo.toml" -p "$crate" --example "$name" -- "$@"
}
for set in ett1_h m4_hourly us_births_d exchange_rate m3_monthly tourism_monthly nn5 eia_2024h2; do
  example tidecast-files long_csv "$data/$set.parquet" "$folder/$set.csv"
done
example tidecast-moirai grid "$folder" "$@"
