#!/usr/bin/env bash
# The door, as a newcomer finds it: a producer that is not ours writes the same readings as
# JSON, nested JSON, Avro and Protobuf (with a schema registry), CSV, Debezium's change events,
# bare numbers, and Avro as Apicurio's serializers frame it, in the value and by headers;
# `tidecast init` looks at each topic and writes its pipeline; they run; and the forecasts are
# compared to the bit. Then the forecasts go out as rows, Avro and Protobuf, and Confluent's
# deserializers read them back. All of it by TLS and with a SCRAM login.
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

run() { # the pipeline's file, a name that tells its group and transactions apart
  "$TIDECAST" run "$work/$1.sql" --set "kafka.group_prefix=$1" --set "state.url=off" \
    --set "pipeline.instance=$1" \
    --set "server.listen=127.0.0.1:0" > "$work/$1.log" 2>&1 &
  pids+=($!) runs+=($!)
}

say "forecasts"
runs=()
for format in json nested avro protobuf csv debezium raw apicurio headers; do run "$format"; done
# Four meters, sixty minutes each, of which the first 29 are too few for a forecast.
"$python" "$here/door/compare.py" "$broker" door 124
kill "${runs[@]}"

say "forecasts in other formats"
runs=()
others=()
for format in json avro-confluent protobuf-confluent; do
  for layout in nested long; do
    [ "$format-$layout" = json-nested ] && continue
    topic=door-out-$format-$layout
    registered=
    [ "$format" = json ] || registered=", 'schema.registry.url' = '$url'"
    sed "s|'topic' = 'door-json.forecasts'|'topic' = '$topic', 'format' = '$format', 'layout' = '$layout'$registered|" \
      "$work/json.sql" > "$work/out-$format-$layout.sql"
    "$TIDECAST" check --live "$work/out-$format-$layout.sql" | grep -v newest
    run "out-$format-$layout"
    others+=("$format/$layout/$topic")
  done
done
for layout in nested long; do
  "$TIDECAST" explain --schema "$work/out-protobuf-confluent-$layout.sql" > "$work/$layout.proto"
  "$python" -m grpc_tools.protoc -I "$work" --python_out="$work" "$layout.proto"
done
PYTHONPATH=$work "$python" "$here/door/forecasts.py" "$broker" "$url" door-json.forecasts "${others[@]}"

say "another version of the pipeline"
# Avro by the strictest rule. Of Protobuf Apicurio lets fields come, and not go.
for format in avro-confluent protobuf-confluent; do
  topic=door-out-$format-long
  case $format in
    avro-*) rule=FULL_TRANSITIVE levels=0.05,0.5 ;;
    *) rule=BACKWARD_TRANSITIVE levels=0.05,0.1,0.5,0.9 ;;
  esac
  curl -sf -X PUT "$url/config/$topic-value" -H 'content-type: application/json' \
    -d "{\"compatibility\":\"$rule\"}" > /dev/null
  sed "s/quantiles => \[.*\]/quantiles => [$levels]/" "$work/out-$format-long.sql" > "$work/levels.sql"
  "$TIDECAST" check --live "$work/levels.sql" | grep subject
  sed "s/'layout' = 'long'/'layout' = 'nested'/" "$work/out-$format-long.sql" > "$work/layout.sql"
  if "$TIDECAST" check --live "$work/layout.sql" > "$work/layout.log" 2>&1; then
    echo "$format: rows became messages, and nobody minds"
    exit 1
  fi
  # And when it starts the registry's own answer says so.
  "$TIDECAST" run "$work/layout.sql" --set "kafka.group_prefix=layout" --set "state.url=off" \
    --set "server.listen=127.0.0.1:0" > "$work/layout.log" 2>&1 && exit 1
  grep -o 'refuses the forecasts.*' "$work/layout.log" | head -n 1
done
