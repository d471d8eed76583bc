#!/usr/bin/env bash
# Disturbs a running service at random points, many times over, and compares what it
# committed with an undisturbed run, message for message, on a real Kafka.
#
#   tests/faults.sh [--runs N] [--seed S] [--brokers 1|3]
#
# A run takes about a minute. Each prints a line; the last line sums them up as JSON.
# kill -9, SIGTERM, services that join and leave, one that is stalled for longer than
# its session and comes back, damaged snapshots and a store that fails. One run in four
# forecasts with MOIRAI-MoE, half of them slower than the stream, the others with the
# seasonal naive method. With --brokers
# the brokers are the runs' own, and one of them is killed and brought back now and
# then; without, TIDECAST_TEST_BOOTSTRAP may name one that runs already.
set -euo pipefail
runs=50 seed=1 brokers=0
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    --brokers) brokers=$2; shift 2 ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "unknown argument \`$1\`; see --help" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
TIDECAST_FAULTS_RUNS=$runs TIDECAST_FAULTS_SEED=$seed TIDECAST_FAULTS_BROKERS=$brokers \
  cargo test --workspace --locked --test it -- --exact --nocapture \
  faults::whatever_happens_to_the_service_the_forecasts_are_those_of_a_calm_run 2>&1 |
  grep -E '^\{|panicked|^test result|error'
