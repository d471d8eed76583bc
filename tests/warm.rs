//! `'scan.startup.mode'='warm'` where Kafka's timestamps say nothing of when things happened.

use serde_json::{Value, json};
use tidecast_kafka::tools::Producer;
use tidecast_stream::EventTime;

use crate::support::messages::Subscriber;
use crate::support::pipeline::{CONTEXT, Pipeline};
use crate::support::service::Service;
use crate::support::topics::Topics;
use crate::support::{LIMIT, broker, eventually};

const MINUTES: i64 = 10_000;
/// The sites of the two partitions.
const SITES: [&str; 2] = ["A", "B"];

/// Sends minutes of 2024. One partition was filled just now, the other two hours ago up to
/// the last few records: by Kafka's timestamps these alone are as young as a context.
fn send(topics: &Topics, minutes: std::ops::Range<i64>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs() / 60).unwrap() * 60_000;
    let producer = Producer::connect(broker::shared().unwrap().bootstrap()).unwrap();
    for minute in minutes {
        for (partition, site) in (0..).zip(SITES) {
            let row = json!({"site": site, "kw": (minute * 7) % 113, "ts": time(minute)});
            let is_old = partition == 1 && minute < MINUTES - 10;
            let written = if is_old { now - 7_200_000 } else { now };
            let row = row.to_string();
            let row = Some(row.as_bytes());
            producer
                .send_to(&topics.source, Some(partition), Some(b"k"), row, Some(written))
                .unwrap();
        }
    }
    producer.flush(LIMIT).unwrap();
}

fn time(minute: i64) -> String {
    let start: EventTime = "2024-08-01T00:00:00Z".parse().unwrap();
    start.plus_micros(minute * 60_000_000).to_string()
}

#[test]
fn what_was_filled_later_is_found_by_event_time_and_forecast_to_the_bit() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 2);
    send(&topics, 0..MINUTES);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics).replace("'earliest-offset'", "'warm'");
    let service = Service::start(&script, broker.bootstrap(), &[]);
    // Rather than 20,000: a context of 24 steps, and what is not worth looking for.
    service.assert_metric("tidecast_source_records_total", "", f64::from(625 + 1_024));
    let findings = eventually(
        || {
            let report: Value = serde_json::from_str(&service.get("/pipelines").body).ok()?;
            let findings = report["pipelines"][0]["findings"].to_string();
            findings.contains("[1]`: when records").then_some(findings)
        },
        || format!("a finding: {}", service.get("/pipelines").body),
    );
    for part in
        ["was read from offset 8976, event time 2024-08-07T05:4", "1024 of 10000", "begun at 9990"]
    {
        assert!(findings.contains(part), "{part}: {findings}");
    }
    assert!(!findings.contains("[0]"), "Kafka's word was no later there: {findings}");

    send(&topics, MINUTES..MINUTES + 3);
    let mut warm = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    warm.await_distinct(2 * 3, &service);
    service.stop();
    warm.read_to_end();
    assert_eq!(warm.messages.len(), 6, "nothing of what was there before");

    let others = topics.with_other_forecasts();
    let whole = Pipeline { group: broker::unique("whole"), ..pipeline };
    let service = Service::start(&whole.script(&others), broker.bootstrap(), &[]);
    let mut all = Subscriber::new(broker.bootstrap(), &others.forecasts);
    all.await_distinct(2 * usize::try_from(MINUTES + 2).unwrap(), &service);
    service.stop();
    for message in &warm.messages {
        assert_eq!(message.context_steps(), CONTEXT, "the first one's is full already");
        let same = all.find(message.site(), message.origin());
        assert_eq!(message.body["variates"], same.body["variates"], "{:?}", message.name());
        assert_eq!(message.id(), same.id());
    }
}
