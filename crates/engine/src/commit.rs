//! What is kept beside a committed offset.
//!
//! The offset alone says through where every triggered forecast is out. The
//! state behind it (open windows, contexts) has to be built again after a
//! restart, so the commit also says where to re-read from; and what the wall
//! clock decided (the close of an idle partition) cannot be found in the records
//! at all, so it is kept as well: [`ReplayPoint`]. Kafka holds up to 4 KiB of
//! metadata per offset; this takes a hundred bytes, and some 60 more per close
//! of an idle partition, of which the windower keeps 32 at most.

use serde::{Deserialize, Serialize};
use tidecast_sql::ReplayPoint;
use tidecast_stream::{Offset, PartitionCommit};

/// Version of the notation.
const VERSION: u32 = 1;

/// The notation of [`PartitionCommit::metadata`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CommitMetadata {
    v: u32,
    replay: ReplayPoint,
}

/// Where a partition starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Publish nothing for records before this offset: it is out already. `None`:
    /// nobody has committed, the source's startup position decides.
    pub(crate) committed: Option<Offset>,
    /// What to rebuild the state from, where the last owner left word.
    pub(crate) replay: Option<ReplayPoint>,
}

impl Resume {
    /// Returns the offset to read from.
    pub(crate) fn read_from(&self) -> Option<Offset> {
        self.replay.as_ref().and_then(|replay| replay.from).or(self.committed)
    }
}

/// Returns the metadata of a commit.
pub(crate) fn metadata(replay: ReplayPoint) -> String {
    // Numbers and lists of numbers always serialise.
    serde_json::to_string(&CommitMetadata { v: VERSION, replay }).unwrap_or_default()
}

/// Reads what the last owner of a partition left.
///
/// Metadata of another tool, or of a later version, is not an error: the offset
/// is honoured and the contexts start empty, which is said in the log.
pub(crate) fn resume(commit: Option<&PartitionCommit>) -> Resume {
    let Some(commit) = commit else {
        return Resume::default();
    };
    let replay = serde_json::from_str::<CommitMetadata>(&commit.metadata)
        .ok()
        .filter(|metadata| metadata.v == VERSION)
        .map(|metadata| metadata.replay)
        .filter(|replay| replay.from.is_none_or(|from| from <= commit.offset));
    if replay.is_none() && !commit.metadata.is_empty() {
        tracing::warn!(
            partition = %commit.partition,
            offset = %commit.offset,
            "the committed metadata is not ours; contexts start empty at the committed offset"
        );
    }
    Resume { committed: Some(commit.offset), replay }
}

#[cfg(test)]
mod tests {
    use tidecast_sql::ForcedClose;
    use tidecast_stream::{EventTime, Partition, Watermark};

    use super::*;

    fn commit(offset: i64, metadata: &str) -> PartitionCommit {
        PartitionCommit {
            partition: Partition::new("readings", 0),
            offset: Offset(offset),
            metadata: metadata.to_owned(),
        }
    }

    #[test]
    fn a_commit_is_read_back_as_it_was_written() {
        let close = ForcedClose {
            offset: Offset(i64::MAX),
            watermark: Watermark::at(EventTime::from_millis(i64::MAX / 2000)),
        };
        let replay = ReplayPoint {
            from: Some(Offset(3)),
            floor: Watermark::default(),
            closes: vec![close; 32],
            forgotten: Some(Offset(i64::MAX)),
        };
        let text = metadata(replay.clone());
        assert!(text.len() < 4096, "Kafka's limit: {} bytes", text.len());
        let resume = resume(Some(&commit(7, &text)));
        assert_eq!(resume.read_from(), Some(Offset(3)));
        assert_eq!(resume, Resume { committed: Some(Offset(7)), replay: Some(replay) });
    }

    #[test]
    fn foreign_or_impossible_metadata_falls_back_to_the_offset() {
        let beyond = metadata(ReplayPoint { from: Some(Offset(9)), ..ReplayPoint::default() });
        for text in ["", "hello", r#"{"v":2,"replay":{}}"#, &beyond] {
            let resume = resume(Some(&commit(7, text)));
            assert_eq!(resume, Resume { committed: Some(Offset(7)), replay: None }, "{text}");
            assert_eq!(resume.read_from(), Some(Offset(7)));
        }
    }

    #[test]
    fn without_a_commit_the_source_decides() {
        assert_eq!(resume(None).read_from(), None);
    }
}
