//! What a record is beyond its value.

use std::fmt;
use std::str::FromStr;

/// A part of a record beside its value, as Flink's `METADATA FROM` names it.
///
/// ```
/// use tidecast_stream::RecordMetadata;
/// let header: RecordMetadata = "headers.Site".parse()?;
/// assert_eq!(header, RecordMetadata::Header("Site".to_owned()));
/// assert_eq!(header.to_string(), "headers.Site");
/// # Ok::<(), tidecast_stream::RecordMetadataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordMetadata {
    /// The key, as text.
    Key,
    /// When the record was made or written: Kafka's own time.
    Timestamp,
    /// The number of its partition.
    Partition,
    /// Its offset.
    Offset,
    /// Its topic.
    Topic,
    /// The last header of a name, as text.
    Header(String),
}

impl RecordMetadata {
    /// The names there are; `NAME` stands for any.
    pub const NAMES: [&str; 6] =
        ["key", "timestamp", "partition", "offset", "topic", "headers.NAME"];
}

impl fmt::Display for RecordMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("key"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Partition => f.write_str("partition"),
            Self::Offset => f.write_str("offset"),
            Self::Topic => f.write_str("topic"),
            Self::Header(name) => write!(f, "headers.{name}"),
        }
    }
}

/// Text that names no part of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record has no metadata `{0}`")]
pub struct RecordMetadataError(pub String);

impl FromStr for RecordMetadata {
    type Err = RecordMetadataError;

    fn from_str(text: &str) -> Result<Self, RecordMetadataError> {
        Ok(match text {
            "key" => Self::Key,
            "timestamp" => Self::Timestamp,
            "partition" => Self::Partition,
            "offset" => Self::Offset,
            "topic" => Self::Topic,
            other => match other.strip_prefix("headers.") {
                Some(name) if !name.is_empty() => Self::Header(name.to_owned()),
                _ => return Err(RecordMetadataError(text.to_owned())),
            },
        })
    }
}

/// What a record without a value is, which in a compacted topic says that its key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tombstones {
    /// A record that cannot be used.
    #[default]
    Bad,
    /// Nothing: it is counted and passed over.
    Skip,
}

/// A column that is filled with a part of the record beside its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// The column's place in the table.
    pub column: usize,
    /// What it is filled with.
    pub from: RecordMetadata,
}
