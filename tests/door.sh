#!/usr/bin/env bash
# The door, as a newcomer finds it: a producer that is not ours writes the same readings as
# JSON, nested JSON, Avro and Protobuf (with a schema registry), CSV, Debezium's change events
# and bare numbers; `tidecast init` looks at each topic and writes its pipeline; they run; and
# the forecasts are compared to the bit.
#
#   tests/door.sh            a Kafka and Apicurio's registry, both from Maven, for the while
#
# Needs cargo, Java 17, Maven and Python 3 (confluent-kafka comes from PyPI). About ten minutes
# when all of it has to be fetched and built, one afterwards. Not in CI: 300 MB of downloads for
# what tests/formats.rs shows with a registry of its own.
#
# Settings (environment):
#   TIDECAST      the program; built (debug) without it
#   DOOR_CACHE    what was fetched (~/.cache/tidecast/door)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DOOR_CACHE:-$HOME/.cache/tidecast/door}
version=2.6.13.Final
mkdir -p "$cache"
work=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  KAFKA_RUN=$work/kafka "$here/kafka/kafka.sh" stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

say() { echo "== $*"; }

if [ -z "${TIDECAST:-}" ]; then
  say "building"
  (cd "$here/.." && cargo build --locked -p tidecast-cli)
  TIDECAST=${CARGO_TARGET_DIR:-$here/../target}/debug/tidecast
fi

say "the producer's libraries"
python=$cache/venv/bin/python
[ -x "$python" ] || python3 -m venv "$cache/venv"
"$python" -c 'import confluent_kafka, fastavro, grpc_tools' 2>/dev/null \
  || "$cache/venv/bin/pip" -q install 'confluent-kafka[avro,protobuf,schemaregistry]' grpcio-tools
"$python" -m grpc_tools.protoc -I "$here/door" --python_out="$work" reading.proto

say "the registry"
registry=$cache/apicurio-$version
if [ ! -f "$registry/.done" ]; then
  mvn -q dependency:get -Dtransitive=false \
    -Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all
  mkdir -p "$registry"
  tar xzf "${M2:-$HOME/.m2/repository}/io/apicurio/apicurio-registry-app/$version/apicurio-registry-app-$version-all.tar.gz" -C "$registry"
  touch "$registry/.done"
fi
port=$((15000 + RANDOM % 15000))
url=http://127.0.0.1:$port/apis/ccompat/v7
(cd "$registry" && QUARKUS_HTTP_PORT=$port exec java -Xmx512m -jar "apicurio-registry-app-$version-runner.jar") \
  > "$work/registry.log" 2>&1 &
pids+=($!)

say "the broker"
broker=$(KAFKA_RUN=$work/kafka "$here/kafka/kafka.sh" start | tail -n1)
for _ in $(seq 120); do
  curl -sf "$url/subjects" >/dev/null && break
  sleep 0.5
done
curl -sf "$url/subjects" >/dev/null || { tail "$work/registry.log"; exit 1; }

say "readings, by confluent-kafka for Python"
start=$(((($(date +%s) / 60) - 90) * 60000))
PYTHONPATH=$work "$python" "$here/door/produce.py" "$broker" "$url" door "$start"

say "pipelines, by tidecast init"
for format in json nested avro protobuf csv debezium raw; do
  # One name for all, since the draws of a forecast follow from it.
  "$TIDECAST" init --kafka "$broker" --topic "door-$format" --registry "$url" --name door \
    --output "$work/$format.sql" 2> "$work/$format.notes"
  # Not from now on but of all that is there, and its end soon.
  # And one name for what a series is called and for its value, for the same reason.
  sed -i "s/'warm'/'earliest-offset'/; s/'idle.timeout' = '30s'/'idle.timeout' = '2s'/; s/context => 512/context => 512, min_context => 30/" "$work/$format.sql"
  case $format in
    csv) sed -i "s/field_1/meter/g" "$work/$format.sql" ;;
    raw) sed -i "s/record_key/meter/g" "$work/$format.sql" ;;
  esac
  "$TIDECAST" check "$work/$format.sql"
done
head -n 40 "$work/avro.sql"

say "forecasts"
for format in json nested avro protobuf csv debezium raw; do
  "$TIDECAST" run "$work/$format.sql" --set "kafka.group_prefix=$format" --set "state.url=off" \
    --set "pipeline.instance=$format" \
    --set "server.listen=127.0.0.1:0" > "$work/$format.log" 2>&1 &
  pids+=($!)
done
# Four meters, sixty minutes each, of which the first 29 are too few for a forecast.
"$python" "$here/door/compare.py" "$broker" door 124
