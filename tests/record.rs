//! What a record is beyond its value: columns from key, headers and Kafka's own time, and
//! values that are no objects.

use tidecast_kafka::tools::Producer;

use crate::support::broker;
use crate::support::command::run;
use crate::support::messages::{Subscriber, records};
use crate::support::service::{Service, run_to_end};
use crate::support::topics::Topics;

/// Waits no longer for what was sent.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// An hour ago, in whole minutes: the broker deletes what looks old.
fn start() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (i64::try_from(now.as_secs() / 60).unwrap() - 60) * 60_000
}

fn script(topics: &Topics, name: &str, columns: &str, format: &str) -> String {
    let Topics { source, forecasts, bad, .. } = topics;
    format!(
        "CREATE TABLE readings ({columns}, WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
         WITH ('connector'='kafka', 'topic'='{source}', 'format'='{format}', 'idle.timeout'='500ms',
           'bad.topic'='{bad}', 'max.past'='none', 'scan.startup.mode'='earliest-offset');
         CREATE MODEL naive WITH ('provider'='seasonal-naive');
         CREATE TABLE f WITH ('connector'='kafka', 'topic'='{forecasts}', 'format'='json');
         CREATE VIEW v AS SELECT site, window_start AS t, avg(kw) AS kw, max(n) AS n
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY site, window_start;
         CREATE PIPELINE {name} AS INSERT INTO f SELECT * FROM forecast(TABLE v, model => 'naive',
           series => 'site', time => 't', target => ['kw', 'n'], horizon => 2, context => 8,
           min_context => 1, quantiles => [0.5]);"
    )
}

fn pipeline() -> String {
    broker::unique("record").replace('-', "_")
}

#[test]
fn a_number_under_its_series_as_key_is_a_reading() {
    let Some(broker) = broker::shared() else { return };
    let start = start();
    let topics = Topics::create(broker.bootstrap(), 1);
    let columns = "kw DOUBLE, site VARCHAR NOT NULL METADATA FROM 'key',
        ts TIMESTAMP NOT NULL METADATA FROM 'timestamp', n BIGINT METADATA FROM 'offset' VIRTUAL";
    let script_of = |topics: &Topics, columns: &str| script(topics, &pipeline(), columns, "raw");
    let script = script_of(&topics, columns);
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let send = |key: Option<&[u8]>, value: Option<&[u8]>, at: i64| {
        producer.send_to(&topics.source, Some(0), key, value, Some(start + at)).unwrap();
    };
    for minute in 0..4 {
        for (site, kw) in [("007", 1.5), ("café", 2.5)] {
            let value = (kw + minute as f64).to_string();
            send(Some(site.as_bytes()), Some(value.as_bytes()), minute * 60_000 + 5);
        }
    }
    // What is no reading is apart, with the reason, and holds up nothing.
    send(None, Some(b"1.5"), 200_000);
    send(Some(b"\xff\xfe"), Some(b"1.5"), 200_000);
    send(Some(b"007"), Some(b"warm"), 200_000);
    send(Some(b"007"), None, 200_000);
    producer.flush(LIMIT).unwrap();
    let service = Service::start(&script, broker.bootstrap(), &["state.url=off"]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(8, &service);
    service.stop();
    // Unless a record without a value is said to be nothing.
    let others = topics.with_other_forecasts();
    let skipping = script_of(&others, columns).replace("'raw'", "'raw', 'tombstones'='skip'");
    let service = Service::start(&skipping, broker.bootstrap(), &["state.url=off"]);
    Subscriber::new(broker.bootstrap(), &others.forecasts).await_distinct(8, &service);
    assert_eq!(service.metric("tidecast_source_tombstones_total", ""), 1.0);
    service.stop();
    let last = subscriber.find("007", &minute(start, 3));
    // The value of the minute, and the offset of its record.
    assert_eq!(last.body["variates"][0]["mean"][0], 4.5);
    assert_eq!(last.body["variates"][1]["mean"][0], 6.0);
    assert_eq!(subscriber.find("café", &minute(start, 0)).body["variates"][0]["mean"][0], 2.5);
    let bad: Vec<String> = records(broker.bootstrap(), &topics.bad)
        .iter()
        .map(|record| record.header("error").unwrap().to_owned())
        .collect();
    for (bad, reason) in bad.iter().zip(["`site`", "UTF-8", "`kw`", "tombstone"]) {
        assert!(bad.contains(reason), "{reason}: {bad}");
    }
    assert_eq!(bad.len(), 4 + 3, "those of the second one but the tombstone");
}

#[test]
fn a_new_pipeline_may_begin_warm_and_says_nothing_of_what_was() {
    let Some(broker) = broker::shared() else { return };
    let start = start() - 2_940 * 60_000;
    let topics = Topics::create(broker.bootstrap(), 1);
    let columns = "kw DOUBLE, site VARCHAR METADATA FROM 'key' NOT NULL,
        ts TIMESTAMP METADATA FROM 'timestamp', n BIGINT METADATA FROM 'offset'";
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let send = |minutes: std::ops::Range<i64>| {
        for minute in minutes {
            let value = (minute % 7).to_string();
            let at = Some(start + minute * 60_000);
            let value = Some(value.as_bytes());
            producer.send_to(&topics.source, Some(0), Some(b"A"), value, at).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    };
    send(0..3_000);
    let at = Some(start + 2_999 * 60_000 + 1);
    producer.send_to(&topics.source, Some(0), Some(b"A"), Some(b"warm"), at).unwrap();
    producer.flush(LIMIT).unwrap();
    let run = |mode: &str, forecasts: &Topics| {
        let script = script(forecasts, &pipeline(), columns, "raw");
        // By its records alone.
        let script = script.replace("'idle.timeout'='500ms'", "'idle.timeout'='none'");
        let script = script.replace("'earliest-offset'", mode);
        Service::start(&script, broker.bootstrap(), &["state.url=off"])
    };
    let mut service = run("'warm'", &topics);
    service.until("it has read what was", |log| log.contains("partition assigned").then_some(()));
    let read = || service.metric("tidecast_source_records_total", "");
    let lag = || service.metric("tidecast_source_lag_records", "");
    crate::support::eventually(
        || (read() >= 8.0 && lag() == 0.0).then_some(()),
        || format!("caught up: {} records read, {} to go", read(), lag()),
    );
    let read = read();
    // Eight steps and the open one, and no more than it is worth looking for, of 3,000.
    assert!((8.0..1_040.0).contains(&read), "{read} records read");
    send(3_000..3_004);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(4, &service);
    assert!(service.log().contains("that contexts were filled from could not be used"));
    service.stop();
    subscriber.read_to_end();
    // Equal, but for the name, to what a pipeline says that has read it all.
    let others = topics.with_other_forecasts();
    let service = run("'earliest-offset'", &others);
    let mut all = Subscriber::new(broker.bootstrap(), &others.forecasts);
    all.await_distinct(3_003, &service);
    service.stop();
    for number in 2_999..3_003 {
        let (warm, whole) =
            (subscriber.find("A", &minute(start, number)), all.find("A", &minute(start, number)));
        assert_eq!(warm.context_steps(), 8);
        assert_eq!(warm.body["variates"], whole.body["variates"], "minute {number}");
    }
    assert_eq!(subscriber.messages.len(), 4, "nothing of what was there before");
}

/// The start of a minute as messages have it.
fn minute(start: i64, minute: i64) -> String {
    tidecast_stream::EventTime::from_millis(start + minute * 60_000).to_string()
}

#[test]
fn parts_of_a_record_are_columns_beside_its_fields_and_not_of_their_name() {
    let Some(broker) = broker::shared() else { return };
    let start = start();
    let topics = Topics::create(broker.bootstrap(), 1);
    let columns = "kw DOUBLE, site VARCHAR METADATA FROM 'key' NOT NULL,
        ts TIMESTAMP(3) METADATA FROM 'timestamp', n INT METADATA FROM 'partition'";
    let script = script(&topics, &pipeline(), columns, "json");
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    for minute in 0..3 {
        // Fields of these names are no columns any more.
        let value = format!(r#"{{"kw": {minute}.5, "site": "other", "ts": 7, "n": "x"}}"#);
        let at = Some(start + minute * 60_000);
        let value = Some(value.as_bytes());
        producer.send_to(&topics.source, Some(0), Some(b"A"), value, at).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let service = Service::start(&script, broker.bootstrap(), &["state.url=off"]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(3, &service);
    service.stop();
    let last = subscriber.find("A", &minute(start, 2));
    assert_eq!(last.body["variates"][0]["mean"][0], 2.5);
    assert_eq!(last.body["variates"][1]["mean"][0], 0.0);
    assert!(records(broker.bootstrap(), &topics.bad).is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.sql");
    std::fs::write(&path, script).unwrap();
    let explained = run(&["explain", path.to_str().unwrap()]);
    let text = explained.succeeded();
    assert!(
        text.contains("of the record: site from key, ts from timestamp, n from partition"),
        "{text}"
    );
}

#[test]
fn reading_begins_where_it_is_said_to() {
    let Some(broker) = broker::shared() else { return };
    let start = start();
    let topics = Topics::create(broker.bootstrap(), 1);
    let columns = "kw DOUBLE, site VARCHAR METADATA FROM 'key' NOT NULL,
        ts TIMESTAMP METADATA FROM 'timestamp', n BIGINT METADATA FROM 'offset'";
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    for minute in 0..10 {
        let value = Some(&b"1.5"[..]);
        let at = Some(start + minute * 60_000);
        producer.send_to(&topics.source, Some(0), Some(b"A"), value, at).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let began = |mode: &str, forecasts: &Topics, count: usize| {
        let script = script(forecasts, &pipeline(), columns, "raw");
        let script = script.replace("'scan.startup.mode'='earliest-offset'", mode);
        let service = Service::start(&script, broker.bootstrap(), &["state.url=off"]);
        let mut subscriber = Subscriber::new(broker.bootstrap(), &forecasts.forecasts);
        subscriber.await_distinct(count, &service);
        service.stop();
        subscriber.read_to_end();
        subscriber.messages.iter().map(|message| message.origin().to_owned()).min().unwrap()
    };
    // Of a time between two records the next one is first.
    let millis = start + 6 * 60_000 + 1;
    let mode =
        format!("'scan.startup.mode'='timestamp', 'scan.startup.timestamp-millis'='{millis}'");
    assert_eq!(began(&mode, &topics, 3), minute(start, 7));
    let time = minute(start, 4);
    let mode = format!("'scan.startup.mode'='timestamp', 'scan.startup.timestamp'='{time}'");
    assert_eq!(began(&mode, &topics.with_other_forecasts(), 6), minute(start, 4));
    // Without a committed offset there is no place to go on from.
    let script = script(&topics, &pipeline(), columns, "raw");
    let script = script.replace("'earliest-offset'", "'group-offsets'");
    let ended = run_to_end(&script, broker.bootstrap(), &["state.url=off"]);
    assert!(ended.refused().contains("has no committed offset in partition"), "{ended:?}");
}
