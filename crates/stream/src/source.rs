//! The port through which records come in.

use std::time::Duration;

use crate::batch::SourceBatch;
use crate::partition::{Offset, Partition};
use crate::sink::PartitionCommit;

/// What a [`Source`] has to say.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one event carries thousands of rows; a box around its head saves nothing"
)]
pub enum SourceEvent {
    /// These partitions are ours now. For each, the commit its last owner left,
    /// if any. The source reads nothing of them until [`Source::start`].
    Assigned(Vec<(Partition, Option<PartitionCommit>)>),
    /// These partitions are to be given up: finish and commit what is under way,
    /// then call [`Source::release`].
    Revoked(Vec<Partition>),
    /// These partitions are gone already: drop their state, commit nothing.
    Lost(Vec<Partition>),
    /// Rows and bad records of one partition.
    Batch(SourceBatch),
    /// A partition has been read up to its end: it is caught up.
    CaughtUp(Partition),
    /// Nothing came within the time waited.
    Idle,
    /// A bounded source (a file) has been read to its end; nothing will follow.
    Finished,
}

/// Where a record stream comes in: Kafka, files, memory.
///
/// A source is owned by one thread, which polls it. It must never stall a
/// partition or fail on account of a record: what cannot be decoded travels as
/// [`BadRecord`](crate::BadRecord). Ranges of consecutive batches of a partition
/// touch (see [`Checkpoint`](crate::Checkpoint)).
pub trait Source: Send {
    /// Waits up to `wait` for the next event. A source in which nothing can happen
    /// meanwhile says [`SourceEvent::Idle`] at once, and is asked again when the time
    /// is over or it was told something.
    ///
    /// # Errors
    /// Only when the source as a whole cannot go on. [`SourceError::blame`] says
    /// who can mend it and [`SourceError::retriable`] whether to try again.
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError>;

    /// Starts reading `partition` at `from`; at the startup position configured
    /// for the source when `None`.
    ///
    /// # Errors
    /// If the position cannot be sought.
    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError>;

    /// Gives up partitions that were revoked, once what was under way is committed.
    ///
    /// # Errors
    /// If the source cannot go on without them.
    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError>;

    /// Brings no more of `partition`, or brings it again: whoever takes its batches is
    /// slower than they come. What was fetched already may still come. Until this is
    /// called with `false`, and after [`start`](Self::start), nothing is held.
    ///
    /// # Errors
    /// If the source cannot go on.
    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError>;

    /// Returns what whoever runs the pipeline should know of the records so far,
    /// a sentence each, as it is now: a column, say, that none of them has. Cheap,
    /// and empty where all is well.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The one who wrote the SQL, the configuration or the data.
    User,
    /// Something we talk to: the broker, the disk, the device.
    External,
    /// A bug of ours.
    Internal,
}

/// Why a source cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What happened, where, and what to do.
    pub message: String,
    /// Who has to act.
    pub blame: Blame,
    /// Whether a new generation may succeed without anybody acting.
    pub retriable: bool,
}
