#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft) on the loopback, for tests and for trying things out.
#
#   kafka.sh serve [NODES]     in the foreground, on free ports, with data in a temporary folder;
#                              prints "bootstrap.servers=…", ends and cleans up when its standard
#                              input closes (Ctrl-D) or it is interrupted. The tests use this.
#   kafka.sh serve secure      the same with an authorizer and further listeners: TLS with and
#                              without a client's certificate, SASL, and bad certificates.
#                              Prints where they are and the folder of the certificates
#                              (certificates.sh). Each line of standard input is then the
#                              arguments of a kafka-acls.sh, answered with `ok`
#   kafka.sh start [NODES]     in the background; prints the bootstrap servers. 1 (default) or 3 nodes
#   kafka.sh bootstrap         prints the bootstrap servers of what `start` started
#   kafka.sh kill N | up N     kills node N without warning; brings it back
#   kafka.sh stop              stops what `start` started and deletes its data
#   kafka.sh jars              only fetches the jars (once, about 45 MB)
#   kafka.sh tool CLASS ARG…   runs a Kafka console tool, for example
#                              kafka.sh tool org.apache.kafka.tools.TopicCommand --bootstrap-server … --list
#
# Needs Java 17 or newer (`serve secure` a JDK and openssl), and once Maven with access to Maven Central. `serve 1` takes Docker
# instead where KAFKA_VIA=docker is set.
#
# Settings (environment):
#   KAFKA_VERSION  the pom's by default      KAFKA_HEAP  heap of a node (256m)
#   KAFKA_VIA      jars (default), docker    WAIT_S      seconds a node may take to start (60)
#   KAFKA_RUN      folder of `start` (default: tidecast-kafka-UID in the temporary folder)
#   XDG_CACHE_HOME the jars are kept in its tidecast/kafka-VERSION (default ~/.cache)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${KAFKA_VERSION:-$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidecast
lib=$cache/kafka-$version
run=${KAFKA_RUN:-${TMPDIR:-/tmp}/tidecast-kafka-$(id -u)}
heap=${KAFKA_HEAP:-256m}
wait_s=${WAIT_S:-60}
cluster_id=MkU3OEVBNTcwNTJENDM2Qg # any 16 bytes in url-safe base64
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

die() { echo "kafka.sh: $*" >&2; exit 1; }
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
alive() { [ -f "$run/node$1/pid" ] && kill -0 "$(cat "$run/node$1/pid")" 2>/dev/null; }

# Fetches into a folder of its own and renames it, so that two runs at once do no harm.
jars() {
  local into=$lib suffix=''
  if [ -n "${KAFKA_TOOLS:-}" ]; then into=$lib-tools suffix=-Ptools; fi
  [ -f "$into/.done" ] && return 0
  command -v mvn >/dev/null || die "mvn not found; install Maven, or set KAFKA_VIA=docker"
  mkdir -p "$cache"
  local fresh; fresh=$(mktemp -d "$cache/fetch.XXXXXX")
  mvn -B -q -f "$here/pom.xml" $suffix -Dkafka.version="$version" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh" >&2 \
    || { rm -rf "$fresh"; die "Maven could not fetch Kafka $version (see above)"; }
  ls "$fresh"/kafka_2.13-*.jar >/dev/null 2>&1 || die "no kafka_2.13 jar in $fresh"
  touch "$fresh/.done"
  chmod 755 "$fresh"
  mv -T "$fresh" "$into" 2>/dev/null || rm -rf "$fresh" # another run was quicker
}

# Runs CLASS ARGS… in this process's place (use it in a subshell).
java_exec() {
  local log4j=$run/log4j2.properties
  cat > "$log4j" <<'L'
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=${sys:kafka.level:-INFO}
rootLogger.appenderRef.out.ref=OUT
L
  local guard=()
  # The broker must not outlive this script, not even when that is killed with -9.
  if [ -n "${GUARD:-}" ] && command -v setpriv >/dev/null; then guard=(setpriv --pdeathsig KILL); fi
  exec "${guard[@]}" "$java" -Xmx"$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Djava.awt.headless=true -Dkafka.level="${LEVEL:-INFO}" -Dlog4j2.configurationFile="$log4j" \
    -cp "${CLASSES:-$lib}/*" "$@"
}

# Prints COUNT free ports. Below the kernel's ephemeral range, so that no client takes them
# between this check and the broker's start.
free_ports() {
  local found='' port
  while [ "$(wc -w <<< "$found")" -lt "$1" ]; do
    port=$((15000 + RANDOM % 17000))
    case " $found " in *" $port "*) continue ;; esac
    listening "$port" || found+=" $port"
  done
  echo $found
}

# configure NODE COUNT PORT…   two ports a node: broker, controller
configure() {
  local node=$1 count=$2; shift 2
  local ports=("$@") folder=$run/node$node voters='' i
  local port=${ports[$((2 * node - 2))]} controller=${ports[$((2 * node - 1))]}
  local isr=$((count > 1 ? 2 : 1))
  for i in $(seq 1 "$count"); do voters+="${voters:+,}$i@127.0.0.1:${ports[$((2 * i - 1))]}"; done
  mkdir -p "$folder"
  echo "$port" > "$folder/port"
  cat > "$folder/server.properties" <<C
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$folder/data
num.partitions=4
default.replication.factor=$count
min.insync.replicas=$isr
auto.create.topics.enable=false
# transactions and group offsets
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$count
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=$isr
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=$count
share.coordinator.state.topic.min.isr=$isr
# groups form and fail quickly: the classic protocol, then KIP-848
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
# a small machine
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=67108864
# Tests write records of 1970, which a check of retention half a minute on would remove.
log.retention.ms=-1
controlled.shutdown.enable=$([ "$count" -gt 1 ] && echo true || echo false)
C
}

# The listeners of `serve secure`, beside those of `configure`, in the order of their ports.
# Super users: the broker itself, which has no name here, `service`, and the client of client.pem.
secure_listeners=(ssl mtls sasl expired elsewhere)
secure() { # PORT…
  local tls=$run/tls list='' advertised='' map='' name certificate i=0
  mkdir -p "$tls"
  "$here/certificates.sh" "$tls"
  for name in "${secure_listeners[@]}"; do
    list+=,${name^^}://127.0.0.1:${*:i+1:1}
    advertised+=,${name^^}://localhost:${*:i+1:1}
    case $name in sasl) map+=,SASL:SASL_SSL ;; *) map+=,${name^^}:SSL ;; esac
    i=$((i + 1))
  done
  local file=$run/node1/server.properties login=org.apache.kafka.common.security
  # A later line stands for an earlier one.
  sed -n "s|^listeners=.*|&$list|p; s|^advertised.listeners=.*|&$advertised|p" "$file" > "$file.more"
  sed -n "s|^listener.security.protocol.map=.*|&$map|p" "$file" >> "$file.more"
  for name in "${secure_listeners[@]}"; do
    case $name in expired | elsewhere) certificate=broker-$name ;; *) certificate=broker ;; esac
    cat <<C
listener.name.$name.ssl.keystore.type=PEM
listener.name.$name.ssl.keystore.location=$tls/$certificate.pem
listener.name.$name.ssl.truststore.type=PEM
listener.name.$name.ssl.truststore.location=$tls/ca.pem
C
  done >> "$file.more"
  cat >> "$file.more" <<C
listener.name.mtls.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:service;User:CN=client
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required \
  user_service="hush-plain" user_limited="hush-limited" user_looking="hush-looking";
listener.name.sasl.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required \
  unsecuredLoginStringClaim_sub="broker";
C
  cat "$file.more" >> "$file"
  scram=(--add-scram 'SCRAM-SHA-256=[name=service,password=hush-256]'
    --add-scram 'SCRAM-SHA-512=[name=service,password=hush-512]')
}
scram=()

format() {
  local folder=$run/node$1
  [ -f "$folder/data/meta.properties" ] && return 0
  (LEVEL=WARN java_exec kafka.tools.StorageTool format -t "$cluster_id" \
    -c "$folder/server.properties" "${scram[@]}") > "$folder/format.log" 2>&1 \
    || { cat "$folder/format.log" >&2; die "formatting the storage of node $1 failed"; }
}

up() {
  alive "$1" && return 0
  local folder=$run/node$1
  [ -f "$folder/server.properties" ] || die "node $1 is not configured: start first"
  (java_exec kafka.Kafka "$folder/server.properties") > "$folder/server.log" 2>&1 < /dev/null &
  echo $! > "$folder/pid"
  disown # its end is ours to report
}

# Ready: the port is open and the controller has unfenced the broker.
wait_ready() {
  local folder=$run/node$1 port deadline=$((SECONDS + wait_s)); port=$(cat "$folder/port")
  while [ $SECONDS -lt $deadline ]; do
    alive "$1" || { tail -n 20 "$folder/server.log" >&2; echo "kafka.sh: node $1 died" >&2; return 1; }
    if listening "$port" && grep -q 'Kafka Server started' "$folder/server.log"; then return 0; fi
    sleep 0.1
  done
  tail -n 20 "$folder/server.log" >&2
  echo "kafka.sh: node $1 is not ready after $wait_s s" >&2
  return 1
}

launch() {
  local count=$1 node ports
  read -r -a ports <<< "$(free_ports $((2 * count + ${#secure_listeners[@]})))"
  for node in $(seq 1 "$count"); do
    configure "$node" "$count" "${ports[@]}"
    if [ -n "${SECURE:-}" ]; then
      secure_ports=("${ports[@]:2 * count}")
      secure "${secure_ports[@]}"
    fi
    format "$node"
  done
  for node in $(seq 1 "$count"); do up "$node"; done
  for node in $(seq 1 "$count"); do wait_ready "$node" || return 1; done
}

start() {
  local count=$1 attempt
  case $count in 1 | 3) ;; *) die "\`$count\` nodes: expected 1 or 3" ;; esac
  command -v "$java" >/dev/null || die "java not found; install Java 17 or newer"
  jars
  mkdir -p "$run"
  for attempt in 1 2 3; do # another program may take a port between the check and the bind
    launch "$count" && return 0
    grep -qs 'Address already in use' "$run"/node*/server.log || break
    halt
  done
  die "the broker did not start; its log is $run/node1/server.log"
}

bootstrap() {
  local servers='' file
  for file in "$run"/node*/port; do
    [ -f "$file" ] && servers+="${servers:+,}127.0.0.1:$(cat "$file")"
  done
  [ -n "$servers" ] || die "nothing was started in $run"
  echo "$servers"
}

# The data is thrown away, so there is nothing to shut down in order.
halt() {
  local folder
  for folder in "$run"/node*; do
    alive "${folder##*node}" && kill -9 "$(cat "$folder/pid")" 2>/dev/null || true
    rm -rf "$folder"
  done
}

serve() {
  run=$(mktemp -d "${TMPDIR:-/tmp}/tidecast-kafka.XXXXXX")
  trap 'halt; rm -rf "$run"' EXIT
  trap 'exit 0' INT TERM HUP
  GUARD=1 start "$1"
  echo "bootstrap.servers=$(bootstrap)"
  wait_for_end
}

serve_secure() {
  local i line
  run=$(mktemp -d "${TMPDIR:-/tmp}/tidecast-kafka.XXXXXX")
  trap 'halt; rm -rf "$run"' EXIT
  trap 'exit 0' INT TERM HUP
  SECURE=1 GUARD=1 start 1
  line="bootstrap.servers=$(bootstrap) certificates=$run/tls"
  for i in "${!secure_listeners[@]}"; do
    line+=" ${secure_listeners[i]}=localhost:${secure_ports[i]}"
  done
  echo "$line"
  (GUARD=1 LEVEL=WARN java_exec "$here/Acls.java" "$(bootstrap)")
}

# Returns when standard input closes.
wait_for_end() { while read -r _; do :; done; }

serve_docker() {
  local port deadline=$((SECONDS + wait_s))
  container=tidecast-kafka-$$ # not local: the trap runs after this function
  port=$(free_ports 1)
  trap 'docker rm -f "$container" >/dev/null 2>&1' EXIT
  trap 'exit 0' INT TERM HUP
  docker run -d --rm --name "$container" -p "127.0.0.1:$port:$port" \
    -e CLUSTER_ID="$cluster_id" -e KAFKA_NODE_ID=1 -e KAFKA_PROCESS_ROLES=broker,controller \
    -e KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093 \
    -e KAFKA_LISTENERS="HOST://:$port,CONTROLLER://:9093" \
    -e KAFKA_ADVERTISED_LISTENERS="HOST://127.0.0.1:$port" \
    -e KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=HOST:PLAINTEXT,CONTROLLER:PLAINTEXT \
    -e KAFKA_INTER_BROKER_LISTENER_NAME=HOST -e KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER \
    -e KAFKA_AUTO_CREATE_TOPICS_ENABLE=false \
    -e KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 -e KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1 \
    -e KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1 \
    -e KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0 -e KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS=1000 \
    -e KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS=1000 \
    -e KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS=6000 \
    -e KAFKA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS=200 \
    -e KAFKA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS=500 \
    "apache/kafka:$version" >/dev/null || die "docker could not run apache/kafka:$version"
  until docker logs "$container" 2>&1 | grep -q 'Kafka Server started'; do
    [ $SECONDS -lt $deadline ] || die "the container was not ready after $wait_s s"
    sleep 0.2
  done
  echo "bootstrap.servers=127.0.0.1:$port"
  wait_for_end
}

case ${1:-} in
  jars) jars ;;
  serve) if [ "${2:-}" = secure ]; then serve_secure; elif [ "${KAFKA_VIA:-jars}" = docker ]; then serve_docker; else serve "${2:-1}"; fi ;;
  start) [ -d "$run/node1" ] && die "$run is in use: stop first"; start "${2:-1}"; bootstrap ;;
  bootstrap) bootstrap ;;
  kill) alive "${2:?which node?}" && kill -9 "$(cat "$run/node$2/pid")"; rm -f "$run/node$2/pid" ;;
  up) up "${2:?which node?}"; wait_ready "$2" ;;
  stop) halt; rm -rf "$run" ;;
  tool) shift; export KAFKA_TOOLS=1; jars; mkdir -p "$run"; (LEVEL=WARN CLASSES=$lib-tools java_exec "$@") ;;
  *) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
