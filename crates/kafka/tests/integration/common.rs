//! What the tests share: a table, records of it, and a reader that drives a
//! source as the engine does.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tidecast_formats::json::decode_forecast;
use tidecast_kafka::tools::{Isolation, Producer, ReadFrom, Record, TopicReader, create_topics};
use tidecast_kafka::{KafkaSource, KafkaSourceConfig};
use tidecast_stream::{
    ContextSummary, EventTime, ForecastId, ForecastMessage, ForecastStatus, ModelRef, Offset,
    Partition, PartitionCommit, Period, SeriesKey, Source, SourceBatch, SourceEvent, Transaction,
    VariateForecast,
};

/// Long enough for a loaded machine; a test that passes never waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

/// A record of the table, number `index` of its partition.
pub(crate) fn row(index: i64) -> String {
    format!(
        r#"{{"site":"S{}","kw":{index}.5,"ts":{}}}"#,
        index % 7,
        1_793_491_200_000 + 1_000 * index
    )
}

/// Sends `count` rows to each of `partitions`, and waits until they are there.
pub(crate) fn fill(bootstrap: &str, topic: &str, partitions: i32, count: i64) {
    let producer = Producer::connect(bootstrap).unwrap();
    for index in 0..count {
        for partition in 0..partitions {
            let payload = row(index);
            let timestamp = Some(5_000 + index);
            producer
                .send_to(topic, Some(partition), None, Some(payload.as_bytes()), timestamp)
                .unwrap();
        }
    }
    producer.flush(LIMIT).unwrap();
}

/// Makes topics on a real broker.
pub(crate) fn topics(bootstrap: &str, topics: &[(&str, i32)]) {
    create_topics(bootstrap, topics).unwrap();
}

pub(crate) fn source_config(bootstrap: &str, group: &str, topic: &str) -> KafkaSourceConfig {
    let mut config = KafkaSourceConfig::new(bootstrap, group, topic, schema());
    for (name, value) in [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "200")] {
        config.properties.insert(name, value);
    }
    config
}

/// A source and what it has said.
pub(crate) struct Reader {
    pub(crate) source: KafkaSource,
    /// The commits that came with assignments.
    pub(crate) commits: BTreeMap<i32, Option<PartitionCommit>>,
    /// Partitions started and not given up.
    pub(crate) reading: BTreeSet<i32>,
    pub(crate) batches: Vec<SourceBatch>,
    pub(crate) caught_up: BTreeSet<i32>,
    /// Revoked partitions wait here instead of being released, where asked.
    pub(crate) hold_revoked: bool,
    pub(crate) revoked: Vec<Partition>,
    pub(crate) lost: Vec<Partition>,
}

impl Reader {
    pub(crate) fn new(config: KafkaSourceConfig) -> Self {
        Self {
            source: KafkaSource::connect(config).unwrap(),
            commits: BTreeMap::new(),
            reading: BTreeSet::new(),
            batches: Vec::new(),
            caught_up: BTreeSet::new(),
            hold_revoked: false,
            revoked: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Polls once and does what the engine would.
    pub(crate) fn step(&mut self, wait: Duration) {
        match self.source.poll(wait).unwrap() {
            SourceEvent::Assigned(assigned) => {
                for (partition, commit) in assigned {
                    let from = commit.as_ref().map(|commit| commit.offset);
                    self.source.start(&partition, from).unwrap();
                    self.reading.insert(partition.number);
                    self.commits.insert(partition.number, commit);
                }
            }
            SourceEvent::Revoked(partitions) => {
                self.revoked.extend(partitions.iter().cloned());
                if !self.hold_revoked {
                    self.release(&partitions);
                }
            }
            SourceEvent::Lost(partitions) => {
                self.forget(&partitions);
                self.lost.extend(partitions);
            }
            SourceEvent::Batch(batch) => {
                self.caught_up.remove(&batch.partition.number);
                self.batches.push(batch);
            }
            SourceEvent::CaughtUp(partition) => {
                self.caught_up.insert(partition.number);
            }
            SourceEvent::Idle => {}
            SourceEvent::Finished => panic!("a topic never ends"),
        }
    }

    pub(crate) fn release(&mut self, partitions: &[Partition]) {
        self.source.release(partitions).unwrap();
        self.forget(partitions);
    }

    fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.reading.remove(&partition.number);
            self.caught_up.remove(&partition.number);
        }
    }

    /// Polls until `done`.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "not within {LIMIT:?}: {what}; assigned {:?}, reading {:?}, {} batches, lost {:?}",
                self.commits,
                self.reading,
                self.batches.len(),
                self.lost
            );
            self.step(Duration::from_millis(50));
        }
    }

    /// Polls until that many partitions are assigned and read to their ends.
    pub(crate) fn catch_up(&mut self, partitions: usize) {
        self.until("caught up", |reader| reader.caught_up.len() == partitions);
    }

    /// The offsets of all rows of a partition, in the order they came.
    pub(crate) fn offsets(&self, partition: i32) -> Vec<i64> {
        let of_partition = self.batches.iter().filter(|b| b.partition.number == partition);
        of_partition.flat_map(|batch| batch.offsets.values().to_vec()).collect()
    }

    /// Where the partition's ranges end, having checked that they touch.
    pub(crate) fn contiguous_end(&self, partition: i32, start: i64) -> i64 {
        let mut next = start;
        for batch in self.batches.iter().filter(|b| b.partition.number == partition) {
            assert_eq!(batch.range.start(), Offset(next), "{batch:?}");
            let inside = |offset: i64| batch.range.contains(Offset(offset));
            assert!(batch.offsets.values().iter().all(|offset| inside(*offset)), "{batch:?}");
            assert!(batch.offsets.values().is_sorted_by(|a, b| a < b), "{batch:?}");
            assert_eq!(batch.rows.num_rows(), batch.offsets.len());
            assert_eq!(batch.rows.num_rows(), batch.timestamps.len());
            next = batch.range.end().0;
        }
        next
    }
}

/// Polls several members of a group in turn until `done`.
pub(crate) fn until_all(readers: &mut [Reader], what: &str, done: impl Fn(&[Reader]) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done(readers) {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        for reader in readers.iter_mut() {
            reader.step(Duration::from_millis(10));
        }
    }
}

/// A forecast of the series `id`.
pub(crate) fn forecast(id: &str) -> ForecastMessage {
    ForecastMessage {
        id: ForecastId([0xf0; 16]),
        pipeline: "p".into(),
        series: SeriesKey::new([("site", id.into())]),
        origin: EventTime::from_millis(60_000),
        revision: 0,
        step: Period::Fixed(60_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "sha256:0".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 8, observed: 7 },
        variates: vec![VariateForecast::new("kw", [0.5], &[1.0, 2.0], [[1.0, 2.0]]).unwrap()],
        is_backfill: false,
    }
}

/// A transaction of forecasts of these series and commits of (partition, offset).
pub(crate) fn transaction(ids: &[&str], topic: &str, commits: &[(i32, i64)]) -> Transaction {
    Transaction {
        forecasts: ids.iter().map(|id| forecast(id)).collect(),
        commits: commits
            .iter()
            .map(|(partition, offset)| PartitionCommit {
                partition: Partition::new(topic, *partition),
                offset: Offset(*offset),
                metadata: format!("replay-from={}", offset - 1),
            })
            .collect(),
        ..Transaction::default()
    }
}

/// All records of a topic.
pub(crate) fn read_all(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<Record> {
    let mut reader = TopicReader::open(bootstrap, topic, ReadFrom::Beginning, isolation).unwrap();
    reader.read_to_end(LIMIT).unwrap()
}

/// The series of the forecasts in a topic, sorted.
pub(crate) fn ids(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<String> {
    let records = read_all(bootstrap, topic, isolation);
    let id = |record: &Record| {
        let message = decode_forecast(record.payload.as_deref().unwrap()).unwrap();
        message.series.0["site"].as_str().unwrap().to_owned()
    };
    let mut ids: Vec<String> = records.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

/// Waits for one of rdkafka's futures.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

pub(crate) fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap()
}
