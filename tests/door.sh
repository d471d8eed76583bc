#!/usr/bin/env bash
# The door, as a newcomer finds it: a producer that is not ours writes the same readings as
# JSON, nested JSON, Avro and Protobuf (with a schema registry), CSV, Debezium's change events,
# bare numbers, and Avro as Apicurio's serializers frame it, in the value and by headers; `tidecast init` looks at each topic and writes its pipeline; they run; and
# the forecasts are compared to the bit. All of it by TLS and with a SCRAM login.
#
#   tests/door.sh            a Kafka and Apicurio's registry, both from Maven, for the while
#
# Needs cargo, a JDK 17, openssl, Maven and Python 3 (confluent-kafka comes from PyPI). About ten minutes
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
  exec 3>&- || true
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
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
mkfifo "$work/broker.in" "$work/broker.out"
"$here/kafka/kafka.sh" serve secure < "$work/broker.in" > "$work/broker.out" 2> "$work/broker.log" &
pids+=($!)
# It ends when its input does.
exec 3> "$work/broker.in" 4< "$work/broker.out"
read -r said <&4 || { cat "$work/broker.log"; exit 1; }
broker=$(sed 's/.* sasl=\([^ ]*\).*/\1/' <<< "$said")
certificates=$(sed 's/.* certificates=\([^ ]*\).*/\1/' <<< "$said")
echo hush-512 > "$work/password"
export TIDECAST_KAFKA__PROPERTIES__SECURITY_PROTOCOL=SASL_SSL
export TIDECAST_KAFKA__PROPERTIES__SASL_MECHANISM=SCRAM-SHA-512
export TIDECAST_KAFKA__PROPERTIES__SASL_USERNAME=service
export TIDECAST_KAFKA__PROPERTIES__SASL_PASSWORD_FILE=$work/password
export TIDECAST_KAFKA__PROPERTIES__SSL_CA_LOCATION=$certificates/ca.pem
# The same for librdkafka in Python.
export DOOR_KAFKA='{"security.protocol":"SASL_SSL","sasl.mechanism":"SCRAM-SHA-512","sasl.username":"service","sasl.password":"hush-512","ssl.ca.location":"'$certificates'/ca.pem"}'
for _ in $(seq 120); do
  curl -sf "$url/subjects" >/dev/null && break
  sleep 0.5
done
curl -sf "$url/subjects" >/dev/null || { tail "$work/registry.log"; exit 1; }

say "readings, by confluent-kafka for Python"
start=$(((($(date +%s) / 60) - 90) * 60000))
PYTHONPATH=$work "$python" "$here/door/produce.py" "$broker" "$url" door "$start"

say "pipelines, by tidecast init"
for format in json nested avro protobuf csv debezium raw apicurio headers; do
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
for format in json nested avro protobuf csv debezium raw apicurio headers; do
  "$TIDECAST" run "$work/$format.sql" --set "kafka.group_prefix=$format" --set "state.url=off" \
    --set "pipeline.instance=$format" \
    --set "server.listen=127.0.0.1:0" > "$work/$format.log" 2>&1 &
  pids+=($!)
done
# Four meters, sixty minutes each, of which the first 29 are too few for a forecast.
"$python" "$here/door/compare.py" "$broker" door 124
