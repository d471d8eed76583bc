//! The port through which forecasts go out.

use crate::batch::{BadRecord, RecordPosition};
use crate::forecast::ForecastMessage;
use crate::partition::{Offset, Partition};
use crate::source::Blame;

/// How far one partition's forecasts are out.
///
/// ```
/// use tidecast_stream::{Offset, Partition, PartitionCommit};
/// let commit = PartitionCommit::new(Partition::new("readings", 0), Offset(42));
/// assert_eq!(commit.metadata, "");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCommit {
    /// The source partition.
    pub partition: Partition,
    /// The position through which everything triggered is published.
    pub offset: Offset,
    /// What the wall clock decided and where a replay has to start, in the
    /// engine's own notation. Kafka keeps it beside the offset (4 KiB at most).
    pub metadata: String,
}

impl PartitionCommit {
    /// Returns a commit without metadata.
    pub fn new(partition: Partition, offset: Offset) -> Self {
        Self { partition, offset, metadata: String::new() }
    }
}

/// A row that came after its window had closed.
#[derive(Clone, Debug, PartialEq)]
pub struct LateRecord {
    /// Where it stood.
    pub position: RecordPosition,
    /// The row as a JSON object, columns as in the table.
    pub row: String,
    /// Why it was late: its window and the watermark.
    pub reason: String,
}

impl LateRecord {
    /// Returns about how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.row.len() + self.reason.len()
    }
}

/// Everything that becomes visible together.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Forecasts, in order per series.
    pub forecasts: Vec<ForecastMessage>,
    /// Rows that came too late, for the late topic.
    pub late: Vec<LateRecord>,
    /// Records that could not be used, for the dead-letter topic.
    pub bad: Vec<BadRecord>,
    /// Through which offsets all of the above is complete.
    pub commits: Vec<PartitionCommit>,
}

impl Transaction {
    /// Returns whether there is nothing to publish and nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.forecasts.is_empty()
            && self.late.is_empty()
            && self.bad.is_empty()
            && self.commits.is_empty()
    }
}

/// Where forecasts go: Kafka, files, the terminal, memory.
///
/// A sink is used by one thread at a time and may block.
pub trait Sink: Send {
    /// Publishes `transaction` and commits its offsets. With an exactly-once
    /// sink both happen or neither; otherwise the messages are acknowledged
    /// before the offsets are committed, so a crash between repeats messages and
    /// loses none.
    ///
    /// # Errors
    /// If it is not certain that everything is out. The generation then ends and
    /// the next one starts from the last committed offsets.
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError>;

    /// Completes what is buffered; nothing is published afterwards.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    fn close(&mut self) -> Result<(), SinkError>;
}

/// Why a sink could not publish.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What happened, where, and what to do.
    pub message: String,
    /// Who has to act.
    pub blame: Blame,
    /// Whether a new generation may succeed without anybody acting.
    pub retriable: bool,
}
