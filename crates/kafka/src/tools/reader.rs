//! A plain reader.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tidecast_stream::ClientProperties;

use super::KafkaToolError;
use crate::client::{self, PlainContext, TopicState};
use crate::error::Verdict;

/// How long an answer of the brokers is waited for.
const TIMEOUT: Duration = Duration::from_secs(15);

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

    /// Returns the value of the last header `name`.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter().rev();
        headers.find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// Where a [`TopicReader`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record.
    Beginning,
    /// Behind the newest record.
    End,
    /// So many records, gaps counted, before the end of each partition.
    Newest(i64),
    /// At the first record whose timestamp is no less than this, in milliseconds since 1970;
    /// behind the newest where none is.
    Since(i64),
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
    consumer: BaseConsumer<PlainContext>,
    topic: String,
    bootstrap: String,
    partitions: usize,
    /// Partitions that have not been read to their end.
    behind: std::collections::BTreeSet<i32>,
}

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
        Self::open_with(bootstrap, topic, from, isolation, &ClientProperties::default())
    }

    /// Opens `topic` with further settings of librdkafka's.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if a setting is wrong.
    pub fn open_with(
        bootstrap: &str,
        topic: &str,
        from: ReadFrom,
        isolation: Isolation,
        properties: &ClientProperties,
    ) -> Result<Self, KafkaToolError> {
        let doing = format!("reading topic `{topic}`");
        let verdict = |error: &KafkaError| Verdict::of(&doing, bootstrap, error);
        let level = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut config = ClientConfig::new();
        let properties = properties
            .with_files_read()
            .map_err(|error| KafkaToolError::new(format!("{doing}: {error}")))?;
        for (name, value) in properties.iter() {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", bootstrap)
            // librdkafka assigns partitions only to members of a group; this
            // one neither joins nor commits.
            .set("group.id", "tidecast-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20")
            .set("isolation.level", level);
        let consumer: BaseConsumer<PlainContext> =
            config.create_with_context(PlainContext::default()).map_err(|error| verdict(&error))?;
        let last_error = &consumer.context().0;
        let found = client::find_topic(consumer.client(), topic, TIMEOUT, last_error, || {});
        let partitions = match found {
            TopicState::Partitions(count) => i32::try_from(count).unwrap_or(i32::MAX),
            TopicState::Failed(failure) => {
                return Err(Verdict::of_failure(&doing, bootstrap, &failure).into());
            }
        };
        let list =
            beginnings(&consumer, topic, partitions, from).map_err(|error| verdict(&error))?;
        consumer.assign(&list).map_err(|error| verdict(&error))?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            bootstrap: bootstrap.to_owned(),
            partitions: usize::try_from(partitions).unwrap_or_default(),
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
                Some(Err(error)) => self.verdict(&error)?,
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
                Some(Err(error)) => self.verdict(&error)?,
                None => {}
            }
        }
        Ok(records)
    }

    /// Returns records up to the end of every partition, or as many as `most`, or those that
    /// come within `wait`.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn sample(&mut self, most: usize, wait: Duration) -> Result<Vec<Record>, KafkaToolError> {
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        while !self.behind.is_empty() && records.len() < most && Instant::now() < deadline {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => records.push(Record::of(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.behind.remove(&partition);
                }
                Some(Err(error)) => self.verdict(&error)?,
                None => {}
            }
        }
        Ok(records)
    }

    /// Returns how many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Passes on what librdkafka does not mend by itself.
    fn verdict(&self, error: &KafkaError) -> Result<(), KafkaToolError> {
        let doing = format!("reading topic `{}`", self.topic);
        let verdict = Verdict::of(&doing, &self.bootstrap, error);
        match verdict.retriable {
            true => Ok(()),
            false => Err(verdict.into()),
        }
    }
}

/// Says where each partition is read from.
fn beginnings(
    consumer: &BaseConsumer<PlainContext>,
    topic: &str,
    partitions: i32,
    from: ReadFrom,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let offset = match from {
            ReadFrom::Beginning => KafkaOffset::Beginning,
            ReadFrom::Since(millis) => KafkaOffset::Offset(millis.max(0)),
            // Now, not when the first fetch goes out.
            ReadFrom::End | ReadFrom::Newest(_) => {
                let (start, end) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
                KafkaOffset::Offset(match from {
                    ReadFrom::Newest(count) => end.saturating_sub(count).max(start),
                    _ => end,
                })
            }
        };
        list.add_partition_offset(topic, partition, offset)?;
    }
    match from {
        // The times in the list for the offsets of the first records of then.
        ReadFrom::Since(_) => consumer.offsets_for_times(list, TIMEOUT),
        _ => Ok(list),
    }
}
