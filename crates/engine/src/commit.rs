//! What is kept beside a committed offset.
//!
//! The offset alone says through where every triggered forecast is out. The
//! state behind it (open windows, contexts) has to be built again after a
//! restart, so the commit also says where to re-read from; and what the wall
//! clock decided (the close of an idle partition) cannot be found in the records
//! at all, so it is kept as well: [`ReplayPoint`]. Kafka holds up to 4 KiB of
//! metadata per offset; this takes two hundred bytes, and some 80 more per close
//! of an idle partition that a record came too late for; the windower keeps 32 at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidecast_sql::window::window_identity;
use tidecast_sql::{PipelinePlan, ReplayPoint};
use tidecast_stream::{Offset, PartitionCommit, Watermark};

use crate::snapshots::digest;

/// Version of the notation.
const VERSION: u32 = 1;

/// The notation of [`PartitionCommit::metadata`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CommitMetadata {
    v: u32,
    replay: ReplayPoint,
    #[serde(default, skip_serializing_if = "WindowMarks::is_empty")]
    windows: WindowMarks,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
}

/// How much of what records behind the offset trigger is out already: a close of many
/// series is published part by part.
///
/// What records trigger, and in which order, follows from the records alone, so a
/// number tells which of it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Forecasts that are out.
    pub(crate) out: u64,
    /// The first bits of the last one's id: whether it is the same ones.
    pub(crate) last: u32,
    /// Where the watermark was moved to by the close of the wall clock at the offset
    /// that triggered them; else it was records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) close: Option<Watermark>,
}

/// What windows follow from, by name, each as the beginning of its SHA-256: enough to
/// see what was changed, and short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowMarks(BTreeMap<String, String>);

impl WindowMarks {
    /// Returns the marks of a pipeline.
    pub(crate) fn of(plan: &PipelinePlan) -> Self {
        let mark = |text: String| {
            let mut mark = digest(text.as_bytes());
            mark.truncate(8);
            mark
        };
        let parts = window_identity(plan).into_iter();
        Self(parts.map(|(name, text)| (name.to_owned(), mark(text))).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is another than in `now`; nothing if it was not written down.
    pub(crate) fn changed<'a>(&'a self, now: &Self) -> Vec<&'a str> {
        let differs = |(name, mark): &(&String, &String)| now.0.get(*name) != Some(*mark);
        self.0.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
    }
}

/// Where a partition starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Publish nothing for records before this offset: it is out already. `None`:
    /// nobody has committed, the source's startup position decides.
    pub(crate) committed: Option<Offset>,
    /// What to rebuild the state from, where the last owner left word.
    pub(crate) replay: Option<ReplayPoint>,
    /// What the state was built with.
    pub(crate) windows: WindowMarks,
    /// What is out beyond `committed`.
    pub(crate) part: Option<Part>,
}

impl Resume {
    /// Returns the offset to read from.
    pub(crate) fn read_from(&self) -> Option<Offset> {
        self.replay.as_ref().and_then(|replay| replay.from).or(self.committed)
    }
}

/// Returns the metadata of a commit.
pub(crate) fn metadata(replay: ReplayPoint, windows: &WindowMarks, part: Option<Part>) -> String {
    let metadata = CommitMetadata { v: VERSION, replay, windows: windows.clone(), part };
    // Numbers, texts and lists of them always serialise.
    serde_json::to_string(&metadata).unwrap_or_default()
}

/// Reads what the last owner of a partition left.
///
/// Metadata of another tool, or of a later version, is not an error: the offset
/// is honoured and the contexts start empty, which is said in the log.
pub(crate) fn resume(commit: Option<&PartitionCommit>) -> Resume {
    let Some(commit) = commit else {
        return Resume::default();
    };
    let metadata = serde_json::from_str::<CommitMetadata>(&commit.metadata)
        .ok()
        .filter(|metadata| metadata.v == VERSION)
        .filter(|metadata| metadata.replay.from.is_none_or(|from| from <= commit.offset));
    if metadata.is_none() && !commit.metadata.is_empty() {
        tracing::warn!(
            partition = %commit.partition,
            offset = %commit.offset,
            "the committed metadata is not ours; contexts start empty at the committed offset"
        );
    }
    let Some(CommitMetadata { replay, windows, part, .. }) = metadata else {
        return Resume { committed: Some(commit.offset), ..Resume::default() };
    };
    Resume { committed: Some(commit.offset), replay: Some(replay), windows, part }
}

#[cfg(test)]
mod tests {
    use tidecast_sql::ForcedClose;
    use tidecast_stream::{EventTime, Partition};

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
            turned_away: true,
        };
        let replay = ReplayPoint {
            from: Some(Offset(3)),
            floor: Watermark::default(),
            closes: vec![close; 32],
            forgotten: Some(Offset(i64::MAX)),
        };
        let names = ["the watermark", "the window query", "the series", "the time"];
        let mark = |name: &str| (name.to_owned(), "0123abcd".to_owned());
        let windows = WindowMarks(names.map(mark).into());
        let part = Part { out: u64::MAX, last: u32::MAX, close: Some(close.watermark) };
        let text = metadata(replay.clone(), &windows, Some(part));
        assert!(text.len() < 4096, "Kafka's limit: {} bytes", text.len());
        let resume = resume(Some(&commit(7, &text)));
        assert_eq!(resume.read_from(), Some(Offset(3)));
        assert!(resume.windows.changed(&windows).is_empty());
        let mut others = windows.clone();
        others.0.insert("the series".to_owned(), "ffffffff".to_owned());
        assert_eq!(resume.windows.changed(&others), ["the series"]);
        let replay = Some(replay);
        let part = Some(part);
        assert_eq!(resume, Resume { committed: Some(Offset(7)), replay, windows, part });
    }

    #[test]
    fn an_earlier_versions_commit_says_nothing_of_windows() {
        let point = ReplayPoint { from: Some(Offset(3)), ..ReplayPoint::default() };
        let text = metadata(point, &WindowMarks::default(), None);
        assert!(!text.contains("windows"), "{text}");
        let resume = resume(Some(&commit(7, &text)));
        assert_eq!(resume.read_from(), Some(Offset(3)));
        let windows = WindowMarks([("the series".to_owned(), "0".to_owned())].into());
        assert!(resume.windows.changed(&windows).is_empty());
    }

    #[test]
    fn foreign_or_impossible_metadata_falls_back_to_the_offset() {
        let beyond = ReplayPoint { from: Some(Offset(9)), ..ReplayPoint::default() };
        let beyond = metadata(beyond, &WindowMarks::default(), None);
        for text in ["", "hello", r#"{"v":2,"replay":{}}"#, &beyond] {
            let resume = resume(Some(&commit(7, text)));
            let expected = Resume { committed: Some(Offset(7)), ..Resume::default() };
            assert_eq!(resume, expected, "{text}");
            assert_eq!(resume.read_from(), Some(Offset(7)));
        }
    }

    #[test]
    fn without_a_commit_the_source_decides() {
        assert_eq!(resume(None).read_from(), None);
    }
}
