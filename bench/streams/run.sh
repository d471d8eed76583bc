#!/usr/bin/env bash
# Minute averages from topic to topic: Tidecast beside Flink SQL, Kafka Streams and Quix Streams,
# and a consumer that does nothing, on one real Kafka in one run.
#
#   bench/streams/run.sh [SYSTEM@SET…]       everything without arguments (half an hour)
#   bench/streams/run.sh --quick             a small set once: does it all run, are rows right
#   bench/streams/run.sh --stop              ends the broker and deletes its data
#
# Systems: tidecast, flink, kstreams, quix, bare. Sets: 1k-p4, 1k-p1, 100k-p4, 100k-p1 (series,
# partitions), `-short` for slow ones, small-p4. Every system reads the same 102 bytes of JSON,
# waits 10 s for stragglers and writes each closed minute exactly once (Quix at least once, its
# default); each row is compared with what DuckDB says of the same records.
#
# Prints a line for each run, a table of medians and, as its last line, JSON with every ratio.
# Settings (environment): TIDECAST, a program that is there already; REPEATS (1); WORK, a folder
# for topics and programs (~/.cache/tidecast/streams, 5 GB); QUIET_S, how long is waited for other
# work on the machine to end (60). Needs cargo, Java 17, Maven, python3 with venv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case ${1:-} in -h | --help) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit ;; esac
export WORK=${WORK:-${XDG_CACHE_HOME:-$HOME/.cache}/tidecast/streams}
mkdir -p "$WORK"
if ! [ -x "$WORK/venv/bin/python" ]; then
  echo 'fetching Quix Streams and DuckDB' >&2
  python3 -m venv "$WORK/venv"
  "$WORK/venv/bin/pip" install --quiet --no-input --disable-pip-version-check -r "$here/requirements.txt"
fi
for peer in flink kstreams; do
  if ! [ -d "$WORK/$peer/lib" ]; then
    echo "building the $peer program" >&2
    mkdir -p "$WORK/$peer"
    cp -r "$here/peers/$peer/." "$WORK/$peer"
    mvn -B -q -f "$WORK/$peer/pom.xml" package >&2
    mv "$WORK/$peer/target/lib" "$WORK/$peer/lib"
    cp "$WORK/$peer"/target/*.jar "$WORK/$peer/lib"
  fi
done
if [ -z "${TIDECAST:-}" ]; then
  echo 'building' >&2
  cargo build --quiet --release --manifest-path "$root/Cargo.toml" --workspace --bin tidecast
  target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps \
    | "$WORK/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  export TIDECAST=$target/release/tidecast
fi
if [ -z "${BARE:-}" ]; then
  cargo build --quiet --release --manifest-path "$root/Cargo.toml" --workspace --example consume_bare
  target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps \
    | "$WORK/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  export BARE=$target/release/examples/consume_bare
fi
exec "$WORK/venv/bin/python" "$here/measure.py" "$@"
