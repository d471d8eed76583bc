//! Topics with names of their own, and what goes in.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use tidecast_kafka::tools::{Producer, create_topics};

use super::broker::unique;
use super::{LIMIT, eventually};

/// The topics of one pipeline.
#[derive(Clone)]
pub(crate) struct Topics {
    pub(crate) bootstrap: String,
    pub(crate) source: String,
    pub(crate) forecasts: String,
    pub(crate) late: String,
    pub(crate) bad: String,
    pub(crate) partitions: i32,
}

impl Topics {
    /// Creates topics, the source with that many partitions.
    pub(crate) fn create(bootstrap: &str, partitions: i32) -> Self {
        let name = unique("readings");
        let topics = Self {
            bootstrap: bootstrap.to_owned(),
            forecasts: format!("{name}-forecasts"),
            late: format!("{name}-late"),
            bad: format!("{name}-bad"),
            source: name,
            partitions,
        };
        let wanted = [
            (topics.source.as_str(), partitions),
            (topics.forecasts.as_str(), 2),
            (topics.late.as_str(), 1),
            (topics.bad.as_str(), 1),
        ];
        create_topics(bootstrap, &wanted).unwrap();
        topics
    }

    /// Returns the same source with another, new topic of forecasts.
    pub(crate) fn with_other_forecasts(&self) -> Self {
        let forecasts = unique("forecasts");
        create_topics(&self.bootstrap, &[(forecasts.as_str(), 2)]).unwrap();
        Self { forecasts, ..self.clone() }
    }

    /// Sends payloads to partitions of the source, and waits until they are
    /// there. Records carry the time they are sent, not the event's: the broker
    /// deletes what looks old.
    pub(crate) fn send(&self, records: &[(i32, Vec<u8>)]) {
        let producer = Producer::connect(&self.bootstrap).unwrap();
        for (partition, payload) in records {
            producer
                .send_to(&self.source, Some(*partition), Some(b"k"), Some(payload), None)
                .unwrap();
        }
        producer.flush(LIMIT).unwrap();
    }

    /// Sends two rows for each of these minutes to each series.
    pub(crate) fn send_minutes(&self, series: &[Series], minutes: std::ops::Range<i64>) {
        let rows = minutes.flat_map(|minute| {
            series.iter().flat_map(move |series| {
                [(10, -1.0), (40, 1.0)].map(|(second, difference)| {
                    let value = series.value(minute) + difference;
                    (series.partition, row(series.name, minute, second, value))
                })
            })
        });
        self.send(&rows.collect::<Vec<_>>());
    }

    /// Returns a group's committed offset for each partition of the source.
    pub(crate) fn committed(&self, group: &str) -> Vec<Option<i64>> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(&self.source, partition);
        }
        let client = self.client(group);
        let found = answer(|| client.committed_offsets(asked.clone(), CALL));
        let offset = |partition| match found.find_partition(&self.source, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        (0..self.partitions).map(offset).collect()
    }

    /// Returns the end of each partition of the source.
    pub(crate) fn ends(&self) -> Vec<Option<i64>> {
        let client = self.client("tidecast-tests");
        let ask = |partition| client.fetch_watermarks(&self.source, partition, CALL);
        let end = |partition| answer(|| ask(partition)).1;
        (0..self.partitions).map(|partition| Some(end(partition))).collect()
    }

    fn client(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group);
        config.create().unwrap()
    }
}

/// Asks until there is an answer: a broker that was just brought back may not know yet
/// what it leads.
fn answer<T>(ask: impl Fn() -> KafkaResult<T>) -> T {
    eventually(|| ask().ok(), || format!("an answer: {:?}", ask().err()))
}

const CALL: Duration = Duration::from_secs(60);

/// A series, its partition, and what it is worth.
#[derive(Clone, Copy)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) partition: i32,
    pub(crate) level: f64,
}

/// The season of [`Series::value`], in steps.
pub(crate) const SEASON: i64 = 6;

impl Series {
    /// The mean of a minute's rows.
    pub(crate) fn value(self, minute: i64) -> f64 {
        self.level + (minute.rem_euclid(SEASON)) as f64
    }
}

/// Returns a row as JSON.
pub(crate) fn row(series: &str, minute: i64, second: i64, value: f64) -> Vec<u8> {
    json!({"site": series, "kw": value, "ts": time(minute, second)}).to_string().into_bytes()
}

/// Returns a time of the tests' day as text.
pub(crate) fn time(minute: i64, second: i64) -> String {
    format!(
        "2024-08-{:02}T{:02}:{:02}:{second:02}Z",
        1 + minute / 1440,
        minute / 60 % 24,
        minute % 60
    )
}
