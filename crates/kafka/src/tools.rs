//! A plain producer and a plain reader, so that demonstrations and tests need no
//! rdkafka of their own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use crate::client::{self, LastError, TopicState};
use crate::error::{KafkaToolError, Verdict};

/// Sends records; partitions by key like every Kafka client written in C.
pub struct Producer {
    producer: ThreadedProducer<ProducerState>,
    bootstrap: String,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct ProducerState {
    undelivered: AtomicU64,
    last_error: LastError,
}

impl ClientContext for ProducerState {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.keep(&error, reason);
    }
}

impl ProducerContext for ProducerState {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            self.last_error.keep(error, "not delivered");
        }
    }
}

impl Producer {
    /// Returns a producer for the brokers at `bootstrap`.
    ///
    /// # Errors
    /// If librdkafka cannot start one.
    pub fn connect(bootstrap: &str) -> Result<Self, KafkaToolError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2");
        let producer = config
            .create_with_context(ProducerState::default())
            .map_err(|error| Verdict::of("starting a producer", bootstrap, &error))?;
        Ok(Self { producer, bootstrap: bootstrap.to_owned() })
    }

    /// Sends a record; waits while the buffer is full. `timestamp_ms` is in
    /// milliseconds since the epoch; now when `None`. Whether it arrived,
    /// [`flush`](Self::flush) says.
    ///
    /// # Errors
    /// If the record cannot be sent as it is.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), KafkaToolError> {
        self.send_to(topic, None, key, payload, timestamp_ms)
    }

    /// As [`send`](Self::send), to a certain partition.
    ///
    /// # Errors
    /// If the record cannot be sent as it is.
    pub fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), KafkaToolError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.partition = partition;
        record.key = key;
        record.payload = payload;
        record.timestamp = timestamp_ms;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    let doing = format!("sending to topic `{topic}`");
                    return Err(Verdict::of(&doing, &self.bootstrap, &error).into());
                }
            }
        }
    }

    /// Waits until all that was sent has arrived, at most for `wait`.
    ///
    /// # Errors
    /// If something has not arrived.
    pub fn flush(&self, wait: Duration) -> Result<(), KafkaToolError> {
        let flushed = self.producer.flush(wait);
        let state = self.producer.context();
        let undelivered = state.undelivered.swap(0, Ordering::Relaxed);
        if flushed.is_ok() && undelivered == 0 {
            return Ok(());
        }
        let code = state.last_error.get().unwrap_or(RDKafkaErrorCode::OperationTimedOut);
        let waiting = self.producer.in_flight_count();
        let doing = format!("sending ({undelivered} records refused, {waiting} still under way)");
        Err(Verdict::of_code(&doing, &self.bootstrap, code).into())
    }
}

/// A record as it lies in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition's number.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
            };
            headers.iter().map(pair).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }

    /// Returns the value of the header `name` as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// Where a [`TopicReader`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record.
    Beginning,
    /// Behind the newest record.
    End,
}

/// Which records of transactions a [`TopicReader`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions.
    ReadCommitted,
    /// All, aborted and open ones included.
    ReadUncommitted,
}

/// Reads all partitions of a topic, without a group.
pub struct TopicReader {
    consumer: BaseConsumer<ReaderState>,
    topic: String,
    bootstrap: String,
    /// Partitions that have not been read to their end.
    behind: std::collections::BTreeSet<i32>,
}

#[derive(Default)]
struct ReaderState(LastError);

impl ClientContext for ReaderState {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.keep(&error, reason);
    }
}

impl ConsumerContext for ReaderState {}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Opens `topic`.
    ///
    /// # Errors
    /// If the broker does not answer or the topic does not exist.
    pub fn open(
        bootstrap: &str,
        topic: &str,
        from: ReadFrom,
        isolation: Isolation,
    ) -> Result<Self, KafkaToolError> {
        let doing = format!("reading topic `{topic}`");
        let judge = |error: &KafkaError| Verdict::of(&doing, bootstrap, error);
        let level = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            // librdkafka assigns partitions only to members of a group; this
            // one neither joins nor commits.
            .set("group.id", "tidecast-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20")
            .set("isolation.level", level);
        let consumer: BaseConsumer<ReaderState> =
            config.create_with_context(ReaderState::default()).map_err(|error| judge(&error))?;
        let found = client::find_topic(consumer.client(), topic, Duration::from_secs(15), || {});
        let partitions = match found {
            TopicState::Partitions(count) => i32::try_from(count).unwrap_or(i32::MAX),
            TopicState::Failed(code) => {
                return Err(Verdict::of_code(&doing, bootstrap, code).into());
            }
        };
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            let offset = match from {
                ReadFrom::Beginning => KafkaOffset::Beginning,
                // Now, not when the first fetch goes out.
                ReadFrom::End => {
                    let timeout = Duration::from_secs(15);
                    let bounds = consumer.fetch_watermarks(topic, partition, timeout);
                    KafkaOffset::Offset(bounds.map_err(|error| judge(&error))?.1)
                }
            };
            list.add_partition_offset(topic, partition, offset).map_err(|error| judge(&error))?;
        }
        consumer.assign(&list).map_err(|error| judge(&error))?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            bootstrap: bootstrap.to_owned(),
            behind: (0..partitions).collect(),
        })
    }

    /// Returns the next record, or `None` if none comes within `wait`.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Record>, KafkaToolError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    self.behind.insert(message.partition());
                    return Ok(Some(Record::of(&message)));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                }
                Some(Err(error)) => self.judge(&error)?,
                None => {}
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Returns all records up to the end of every partition, in the order of
    /// each; gives up waiting for the end after `wait`.
    ///
    /// # Errors
    /// If the topic cannot be read to its end.
    pub fn read_to_end(&mut self, wait: Duration) -> Result<Vec<Record>, KafkaToolError> {
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        while !self.behind.is_empty() {
            if Instant::now() >= deadline {
                let message = format!(
                    "reading topic `{}`: the end of partitions {:?} was not reached in {wait:?}",
                    self.topic, self.behind
                );
                return Err(KafkaToolError::new(message));
            }
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => records.push(Record::of(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                }
                Some(Err(error)) => self.judge(&error)?,
                None => {}
            }
        }
        Ok(records)
    }

    /// Passes on what librdkafka does not mend by itself.
    fn judge(&self, error: &KafkaError) -> Result<(), KafkaToolError> {
        let doing = format!("reading topic `{}`", self.topic);
        let verdict = Verdict::of(&doing, &self.bootstrap, error);
        match verdict.retriable {
            true => Ok(()),
            false => Err(verdict.into()),
        }
    }
}
