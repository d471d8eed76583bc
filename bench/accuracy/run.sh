#!/usr/bin/env bash
# The accuracy table on the evaluation sets, with one command.
#
#   bench/accuracy/run.sh DATA_FOLDER [ARGUMENTS OF tidecast backtest…]
#
# DATA_FOLDER holds the Parquet files that suite.toml names. Without arguments both
# rollouts are measured with one seed; `--rollout cached` takes minutes, `exact` tens
# of them. Prints a table and, as its last line, JSON; the same digits each time on one
# kind of processor. TIDECAST=path/to/tidecast takes a program that is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case ${1:---help} in
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
esac
data=$1
shift
if ! [ -d "$data" ]; then
  echo "\`$data\` is no folder: expected the one with the evaluation sets" >&2
  exit 2
fi
[ $# -gt 0 ] || set -- --rollout both
if [ -z "${TIDECAST:-}" ]; then
  echo "building" >&2
  cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p tidecast-cli --bin tidecast
  target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  TIDECAST=$target/release/tidecast
fi
exec "$TIDECAST" backtest --suite "$here/suite.toml" --data "$data" --json "$@"
