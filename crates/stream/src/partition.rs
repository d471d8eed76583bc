//! Partitions and offsets.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One partition of one topic (or one file of a file source).
///
/// ```
/// use tidecast_stream::Partition;
/// assert_eq!(Partition::new("readings", 3).to_string(), "readings[3]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic's name, or the file's path.
    pub topic: Arc<str>,
    /// The partition's number within the topic.
    pub number: i32,
}

impl Partition {
    /// Returns the partition `number` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Self {
        Self { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// The position of a record in its partition.
///
/// As a *position to read from* it names the next record wanted, as Kafka's
/// committed offsets do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// Returns the position just behind this record.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open stretch of a partition: `start` is in it, `end` is not.
///
/// It may hold fewer records than `end - start`: compaction and transaction
/// markers leave holes. What matters is that everything before `end` was seen.
///
/// ```
/// use tidecast_stream::{Offset, OffsetRange};
/// let range = OffsetRange::new(Offset(3), Offset(7)).unwrap();
/// assert!(range.contains(Offset(3)) && !range.contains(Offset(7)));
/// assert!(OffsetRange::new(Offset(7), Offset(3)).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    start: Offset,
    end: Offset,
}

impl OffsetRange {
    /// Returns `start..end`, or `None` if it would run backwards.
    pub fn new(start: Offset, end: Offset) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// Returns the first offset of the range.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// Returns the offset just behind the range: where to read on.
    pub const fn end(self) -> Offset {
        self.end
    }

    /// Returns whether `offset` lies in the range.
    pub fn contains(self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}
