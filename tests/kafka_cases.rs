//! Topics as people have them, on which something was once read wrong: each under
//! `cases/kafka-…`, with what is right, on a real Kafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use tidecast_kafka::tools::Record;

use crate::support::messages::{Subscriber, records};
use crate::support::service::Service;
use crate::support::topics::Topics;
use crate::support::{broker, repository_text};

/// A case's pipeline, on topics of its own and at their end without waiting for more.
struct Case {
    topics: Topics,
    script: String,
}

impl Case {
    fn new(bootstrap: &str, name: &str, partitions: i32) -> Self {
        let topics = Topics::create(bootstrap, partitions);
        let pipeline = broker::unique("case").replace('-', "_");
        let script = repository_text(&format!("tests/cases/{name}/pipeline.sql"))
            .replace("'readings.late'", &format!("'{}'", topics.late))
            .replace("'readings.bad'", &format!("'{}'", topics.bad))
            .replace("'readings.forecasts'", &format!("'{}'", topics.forecasts))
            .replace("'topic'='readings'", &format!("'topic'='{}'", topics.source))
            .replace("'idle.timeout'='3s'", "'idle.timeout'='500ms'")
            .replace("CREATE PIPELINE p ", &format!("CREATE PIPELINE {pipeline} "));
        Self { topics, script }
    }

    fn lines(name: &str) -> Vec<Vec<u8>> {
        let text = repository_text(&format!("tests/cases/{name}/records.jsonl"));
        text.lines().map(|line| line.as_bytes().to_vec()).collect()
    }

    fn start(&self) -> Service {
        Service::start(&self.script, &self.topics.bootstrap, &["state.url=off"])
    }

    /// Waits for so many forecasts.
    fn forecasts(&self, service: &Service, count: usize) -> Subscriber {
        let mut subscriber = Subscriber::new(&self.topics.bootstrap, &self.topics.forecasts);
        subscriber.await_distinct(count, service);
        subscriber
    }
}

#[test]
fn a_field_is_found_whatever_its_case() {
    let Some(broker) = broker::shared() else { return };
    let case = Case::new(broker.bootstrap(), "kafka-camel-case", 1);
    let lines: Vec<_> = Case::lines("kafka-camel-case").into_iter().map(|line| (0, line)).collect();
    case.topics.send(&lines);
    let service = case.start();
    let subscriber = case.forecasts(&service, lines.len());
    let last = subscriber.messages.last().unwrap();
    assert_eq!(last.body["context"]["observed"], lines.len());
    assert_eq!(last.status(), "ok");
}

#[test]
fn a_column_that_no_record_has_is_said() {
    let Some(broker) = broker::shared() else { return };
    let case = Case::new(broker.bootstrap(), "kafka-camel-case", 1);
    let record = |index: i64| {
        let row = serde_json::json!({
            "site": "a", "activePwr": 1.0,
            "ts": format!("2026-11-01T{:02}:{:02}:00Z", index / 60, index % 60),
        });
        (0, row.to_string().into_bytes())
    };
    case.topics.send(&(0..1_100).map(record).collect::<Vec<_>>());
    let service = case.start();
    crate::support::eventually(
        || {
            let report: Value = serde_json::from_str(&service.get("/pipelines").body).ok()?;
            let text = report["pipelines"][0]["findings"][0]["text"].as_str()?.to_owned();
            (text.contains("`activepower`") && text.contains("activePwr")).then_some(())
        },
        || format!("a finding about `activepower`: {}", service.get("/pipelines").body),
    );
    assert!(service.metric("tidecast_pipeline_findings", "kind=\"source\"") > 0.0);
}

#[test]
fn milliseconds_are_milliseconds_in_any_timestamp_column() {
    let Some(broker) = broker::shared() else { return };
    let case = Case::new(broker.bootstrap(), "kafka-epoch-milliseconds", 1);
    let lines = Case::lines("kafka-epoch-milliseconds");
    case.topics.send(&lines.iter().map(|line| (0, line.clone())).collect::<Vec<_>>());
    let service = case.start();
    let subscriber = case.forecasts(&service, lines.len());
    let origins: Vec<&str> = subscriber.messages.iter().map(|message| message.origin()).collect();
    assert_eq!(origins[0], "2026-11-01T00:00:00Z");
    assert_eq!(origins[lines.len() - 1], "2026-11-01T00:11:00Z");
    assert!(records(broker.bootstrap(), &case.topics.bad).is_empty());
}

#[test]
fn a_series_in_two_partitions_is_said_and_its_halves_have_two_ids() {
    let Some(broker) = broker::shared() else { return };
    let name = "kafka-series-in-two-partitions";
    let case = Case::new(broker.bootstrap(), name, 2);
    let lines = Case::lines(name);
    let sent = lines.iter().map(|line| {
        let line: Value = serde_json::from_slice(line).unwrap();
        let partition = i32::try_from(line["partition"].as_i64().unwrap()).unwrap();
        (partition, line["value"].to_string().into_bytes())
    });
    case.topics.send(&sent.collect::<Vec<_>>());
    let service = case.start();
    let subscriber = case.forecasts(&service, lines.len());
    let ids: std::collections::BTreeSet<&str> =
        subscriber.messages.iter().map(|message| message.id()).collect();
    assert_eq!(ids.len(), subscriber.messages.len());
    let report: Value = serde_json::from_str(&service.get("/pipelines").body).unwrap();
    let text = report["pipelines"][0]["findings"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("series a comes in partitions 0 and 1 of"), "{text}");
    let labels = "kind=\"series_in_two_partitions\"";
    assert!(service.metric("tidecast_pipeline_findings", labels) == 1.0);
}

#[test]
fn wrapped_values_are_unwrapped_or_named() {
    let Some(broker) = broker::shared() else { return };
    let case = Case::new(broker.bootstrap(), "kafka-epoch-milliseconds", 1);
    let text = repository_text("tests/cases/kafka-wrapped-values/records.base64");
    let values: Vec<(i32, Vec<u8>)> = text.lines().map(|line| (0, base64(line))).collect();
    assert_eq!(values.len(), 5);
    case.topics.send(&values);
    // A registry's header in front of what is no JSON is named.
    case.topics.send(&[(0, vec![0, 0, 0, 0, 42, 6, 97])]);
    let service = case.start();
    let subscriber = case.forecasts(&service, 1);
    assert_eq!(subscriber.messages[0].status(), "ok");
    assert_eq!(subscriber.messages[0].origin(), "2026-11-01T00:00:00Z");
    // Five values of one minute: 1, 2, 1, 2, 1.
    assert!((subscriber.messages[0].mean()[0] - 1.4).abs() < 1e-12);
    let letters = records(broker.bootstrap(), &case.topics.bad);
    let [letter] = letters.as_slice() else { panic!("one letter: {letters:?}") };
    let error = letter.header("error").unwrap();
    assert!(error.contains("schema registry") && error.contains("42"), "{error}");
}

#[test]
fn a_dead_letter_of_any_size_stops_nothing() {
    let Some(broker) = broker::shared() else { return };
    let name = "kafka-dead-letter-size";
    let case = Case::new(broker.bootstrap(), name, 1);
    let lines = Case::lines(name);
    let (before, after) = lines.split_at(lines.len() / 2);
    let numbered = |lines: &[Vec<u8>]| -> Vec<(i32, Vec<u8>)> {
        lines.iter().map(|line| (0, line.clone())).collect()
    };
    case.topics.send(&numbered(before));
    send_large(&case.topics, &vec![b'k'; 110_000], &vec![b'x'; 915_000]);
    case.topics.send(&numbered(after));
    let service = case.start();
    let subscriber = case.forecasts(&service, lines.len());
    subscriber.assert_no_repeats();
    assert_eq!(subscriber.messages.len(), lines.len());
    let letters: Vec<Record> = records(broker.bootstrap(), &case.topics.bad);
    let [letter] = letters.as_slice() else { panic!("one letter") };
    let key = letter.key.as_ref().map_or(0, Vec::len);
    let payload = letter.payload.as_ref().map_or(0, Vec::len);
    assert!(key + payload < 1_000_000 && payload > 500_000, "key {key}, payload {payload}");
    assert_eq!(letter.header("truncated_from_bytes"), Some("915000"));
}

/// Sends a record that a producer's defaults would refuse.
fn send_large(topics: &Topics, key: &[u8], payload: &[u8]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &topics.bootstrap)
        .set("message.max.bytes", "2000000")
        .create()
        .unwrap();
    let record = BaseRecord::to(&topics.source).partition(0).key(key).payload(payload);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap();
        (bits, count) = (bits << 6 | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
