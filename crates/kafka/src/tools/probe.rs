//! What the newest records of a topic are to a table.

use std::sync::Arc;
use std::time::Duration;

use tidecast_formats::{AbsentColumn, Payload};
use tidecast_stream::Partition;

use super::KafkaToolError;
use super::reader::{Isolation, ReadFrom, Record, TopicReader};
use crate::config::KafkaSourceConfig;
use crate::source::decoder::decoder;
use crate::source::metadata::{self, Beside};

/// How long records are waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of a topic's newest records.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How many partitions it has.
    pub partitions: usize,
    /// How many records were looked at.
    pub records: usize,
    /// How many of them are rows of the table, or several.
    pub usable: usize,
    /// How many had no value and are passed over.
    pub tombstones: u64,
    /// Why the others are none, in their order.
    pub bad: Vec<String>,
    /// Columns that none of them had.
    pub absent: Vec<AbsentColumn>,
}

impl<'a> Beside<'a> for &'a Record {
    fn key(&self) -> Option<&'a [u8]> {
        self.key.as_deref()
    }

    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.header_bytes(name)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    fn offset(&self) -> i64 {
        self.offset
    }
}

/// Reads the newest records of a source's topic, `each` of every partition, and decodes them
/// as the source would. It joins no group and commits nothing.
///
/// # Errors
/// If the topic cannot be read, or a schema cannot be had.
pub fn probe(config: &KafkaSourceConfig, each: i64) -> Result<Probe, KafkaToolError> {
    let topic = config.topic.as_str();
    let doing = |error: String| KafkaToolError::new(format!("reading topic `{topic}`: {error}"));
    let mut reader = TopicReader::open_with(
        &config.bootstrap_servers,
        topic,
        ReadFrom::Newest(each),
        Isolation::ReadCommitted,
        &config.properties,
    )?;
    let partitions = reader.partitions();
    let most = usize::try_from(each).unwrap_or(usize::MAX).saturating_mul(partitions);
    let mut records = reader.sample(most, PATIENCE)?;
    records.sort_by_key(|record| (record.partition, record.offset));
    let mut decoder = decoder(config).map_err(doing)?;
    let payloads: Vec<Payload<'_>> =
        records.iter().map(|record| record.payload.as_deref()).collect();
    let shared: Arc<str> = Arc::from(topic);
    let value = |index: usize, column: usize| {
        let from = config.metadata.iter().find(|it| it.column == column).map(|it| &it.from);
        match (records.get(index), from) {
            (Some(record), Some(from)) => {
                let partition = Partition::new(Arc::clone(&shared), record.partition);
                metadata::text(&record, &partition, from)
            }
            _ => Ok(None),
        }
    };
    let header = |index: usize, name: &str| records.get(index).and_then(|it| it.header_bytes(name));
    let decoded = decoder.decode_records(&payloads, value, header);
    let decoded = decoded.map_err(|error| doing(error.to_string()))?;
    let mut usable = decoded.indices;
    usable.dedup();
    Ok(Probe {
        partitions,
        records: records.len(),
        usable: usable.len(),
        tombstones: decoded.tombstones,
        bad: decoded.bad.into_iter().map(|(_, reason)| reason).collect(),
        absent: decoder.absent_columns(),
    })
}
