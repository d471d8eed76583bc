//! Records that cannot be used: none is lost silently, none stops a partition.

use std::collections::BTreeMap;

use serde_json::Value;
use tidecast_kafka::tools::Record;

use crate::support::broker;
use crate::support::messages::{Subscriber, records};
use crate::support::pipeline::Pipeline;
use crate::support::service::Service;
use crate::support::topics::{Series, Topics, row, time};

const SERIES: [Series; 1] = [Series { name: "a", partition: 0, level: 7.0 }];

/// Payloads that cannot be decoded, and a word of what is said about each.
const UNDECODABLE: [(&[u8], &str); 9] = [
    (b"not json", "not a JSON object"),
    (b"{\"site\":\"a\",\"kw\":1.0", "cut off"),
    (b"{\"site\":\"a\",\"kw\":Nil,\"ts\":\"2024-08-01T00:10:20Z\"}", "malformed JSON"),
    (
        b"{\"site\":\"a\",\"kw\":\"many\",\"ts\":\"2024-08-01T00:10:20Z\"}",
        "column `kw`: expected a number, got `\"many\"`",
    ),
    (b"{\"site\":\"a\",\"kw\":1e999,\"ts\":\"2024-08-01T00:10:20Z\"}", "column `kw`"),
    (b"{\"site\":\"a\",\"kw\":1.0,\"ts\":\"yesterday\"}", "column `ts`: `yesterday` is no time"),
    (b"{\"kw\":1.0,\"ts\":\"2024-08-01T00:10:20Z\"}", "column `site` is NOT NULL"),
    (b"{\"site\":\"\xff\",\"kw\":1.0,\"ts\":\"2024-08-01T00:10:20Z\"}", "UTF-8"),
    (b"[1, 2]", "object"),
];
/// A clock that runs ahead must not close every window.
const FROM_THE_FUTURE: &[u8] = br#"{"site":"a","kw":1.0,"ts":"2999-01-01T00:00:00Z"}"#;
/// The minute after which the bad records come, and the one that is late.
const MINUTE: i64 = 10;

/// Sends twenty good minutes with everything bad in their middle; returns the
/// offset of the first bad record.
fn send_good_and_bad(topics: &Topics) -> i64 {
    topics.send_minutes(&SERIES, 0..MINUTE + 1);
    let mut bad: Vec<(i32, Vec<u8>)> =
        UNDECODABLE.iter().map(|(payload, _)| (0, payload.to_vec())).collect();
    bad.push((0, FROM_THE_FUTURE.to_vec()));
    bad.push((0, row("a", MINUTE - 5, 30, 1e6)));
    topics.send(&bad);
    topics.send_minutes(&SERIES, MINUTE + 1..20);
    2 * (MINUTE + 1)
}

/// The good rows are forecast as if nothing else had been there.
fn check_good(subscriber: &Subscriber) {
    subscriber.assert_no_repeats();
    assert_eq!(subscriber.messages.len(), 19);
    for minute in 8..19 {
        let message = subscriber.find("a", &time(minute, 0));
        assert_eq!(message.context_steps(), minute + 1);
        assert_eq!(message.mean()[0], SERIES[0].value(minute + 1), "{:?}", message.name());
    }
}

#[test]
fn bad_and_late_records_go_to_topics_of_their_own() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let first_bad = send_good_and_bad(&topics);
    let pipeline = Pipeline::new("exactly-once");
    let service = Service::start(&pipeline.script(&topics), broker.bootstrap(), &[]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(19, &service);
    check_counts(&service);
    service.stop();
    subscriber.read_to_end();
    check_good(&subscriber);
    assert_eq!(topics.committed(&pipeline.group), topics.ends());

    let letters = records(broker.bootstrap(), &topics.bad);
    let letters: BTreeMap<i64, &Record> =
        letters.iter().map(|letter| (check_position(letter, &topics), letter)).collect();
    assert_eq!(letters.len(), UNDECODABLE.len() + 1);
    for (offset, (payload, reason)) in (first_bad..).zip(UNDECODABLE) {
        let letter = letters[&offset];
        assert_eq!(letter.payload.as_deref(), Some(payload), "the bytes as they came");
        assert_eq!(letter.key.as_deref(), Some(b"k".as_slice()));
        let error = letter.header("error").unwrap();
        assert!(error.contains(reason), "{}: {error}", String::from_utf8_lossy(payload));
    }
    // It could be decoded: the row comes as JSON.
    let from_future = letters[&(first_bad + UNDECODABLE.len() as i64)];
    let found: Value = serde_json::from_slice(from_future.payload.as_deref().unwrap()).unwrap();
    assert_eq!(found["site"], "a");
    let error = from_future.header("error").unwrap();
    assert!(error.contains("2999-01-01") && error.contains("`max.future`"), "{error}");

    let late = records(broker.bootstrap(), &topics.late);
    let [late] = late.as_slice() else { panic!("one late row, not {late:?}") };
    assert_eq!(check_position(late, &topics), first_bad + UNDECODABLE.len() as i64 + 1);
    let found: Value = serde_json::from_slice(late.payload.as_deref().unwrap()).unwrap();
    assert_eq!(found["kw"], 1e6);
    assert!(late.header("reason").unwrap().contains("its window ended at 2024-08-01T00:06:00Z"));
}

/// Returns the offset that a dead letter or late row says it had.
fn check_position(record: &Record, topics: &Topics) -> i64 {
    assert_eq!(record.header("topic"), Some(topics.source.as_str()));
    assert_eq!(record.header("partition"), Some("0"));
    record.header("offset").unwrap().parse().unwrap()
}

#[test]
fn without_topics_for_them_bad_and_late_records_are_counted() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    send_good_and_bad(&topics);
    let pipeline = Pipeline { side_topics: false, ..Pipeline::new("at-least-once") };
    let service = Service::start(&pipeline.script(&topics), broker.bootstrap(), &[]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(19, &service);
    check_counts(&service);
    service.stop();
    subscriber.read_to_end();
    check_good(&subscriber);
    assert_eq!(topics.committed(&pipeline.group), topics.ends());
    assert!(records(broker.bootstrap(), &topics.bad).is_empty());
    assert!(records(broker.bootstrap(), &topics.late).is_empty());
}

fn check_counts(service: &Service) {
    let bad = (UNDECODABLE.len() + 1) as f64;
    for (name, expected) in [
        ("tidecast_source_records_total", 40.0 + bad + 1.0),
        ("tidecast_source_bad_records_total", bad),
        ("tidecast_windower_late_rows_total", 1.0),
        ("tidecast_publisher_messages_total", 19.0),
    ] {
        service.assert_metric(name, "", expected);
    }
}
