//! What a source hands on.

use std::fmt;

use arrow::array::{Int64Array, RecordBatch};

use crate::partition::{Offset, OffsetRange, Partition};

/// Rows of one partition, in offset order, decoded to the table's schema.
///
/// `rows`, `offsets` and `timestamps` have the same length; `bad` holds the
/// records of the same range that could not be decoded.
#[derive(Clone)]
pub struct SourceBatch {
    /// Where the rows come from.
    pub partition: Partition,
    /// The stretch of the partition that is dealt with once this batch is: it
    /// starts where the previous batch ended.
    pub range: OffsetRange,
    /// The decoded rows; columns are the table's, in its order.
    pub rows: RecordBatch,
    /// Each row's offset, never less than the one before: a record may be several rows.
    pub offsets: Int64Array,
    /// Each row's record timestamp (Kafka's), in milliseconds since the epoch;
    /// null where the source has none.
    pub timestamps: Int64Array,
    /// Records that are no row of the table, with the reason.
    pub bad: Vec<BadRecord>,
    /// Size of the payloads in bytes, for metering.
    pub payload_bytes: usize,
}

impl fmt::Debug for SourceBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBatch")
            .field("partition", &self.partition.to_string())
            .field("range", &self.range.to_string())
            .field("rows", &self.rows.num_rows())
            .field("bad", &self.bad.len())
            .finish()
    }
}

/// The place of one record: what every error and dead letter names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPosition {
    /// The record's partition.
    pub partition: Partition,
    /// The record's offset.
    pub offset: Offset,
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// A record that cannot be used: its raw bytes, its place and the reason. It
/// goes to the dead-letter topic, or is counted when none is set.
#[derive(Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it stood.
    pub position: RecordPosition,
    /// The record's key as it came.
    pub key: Option<Vec<u8>>,
    /// The record's payload as it came; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// What is wrong with it, and what was expected.
    pub error: String,
}

impl BadRecord {
    /// Returns about how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let part = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + part(&self.key) + part(&self.payload) + self.error.len()
    }
}

impl fmt::Debug for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BadRecord")
            .field("position", &self.position.to_string())
            .field("payload_bytes", &self.payload.as_ref().map(Vec::len))
            .field("error", &self.error)
            .finish()
    }
}
