//! What is kept beside a committed offset.
//!
//! The offset alone says through where every triggered forecast is out. The
//! state behind it (open windows, contexts) has to be built again after a
//! restart, so the commit also says where to re-read from; and what the wall
//! clock decided (the close of an idle partition) cannot be found in the records
//! at all, so it is kept as well: [`ReplayPoint`]. And since another query cannot go
//! on with that state, there are digests of what its windows follow from. Kafka holds up to
//! 4 KiB of metadata per offset; this takes three hundred bytes, and some 80 more per close
//! of an idle partition that a record came too late for; the windower keeps 32 at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidecast_sql::window::{IDENTITY_VERSION, legacy_window_identity, window_identity};
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
    /// The digests of builds that knew no version of them: read, never written.
    #[serde(default, skip_serializing)]
    windows: Digests,
    /// A name of its own: one of those builds beside this one, as while instances are
    /// replaced one by one, passes over it and goes on, where under `windows` it would
    /// find the digests of another query.
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    identity: Digests,
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

/// By name of a part the beginning of its SHA-256: enough to see what was
/// changed, and short.
type Digests = BTreeMap<String, String>;

/// How a digest of this build begins: with the version of the form that it is of.
fn prefix() -> String {
    format!("v{IDENTITY_VERSION}:")
}

/// What windows follow from, as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WindowDigests {
    /// Those that are written, `v2:` and digits.
    current: Digests,
    /// Those that older builds wrote, digits alone.
    legacy: Digests,
}

impl WindowDigests {
    /// Returns the digests of a pipeline, in all forms that a commit may have.
    pub(crate) fn of(plan: &PipelinePlan) -> Self {
        let short = |text: String| {
            let mut digest = digest(text.as_bytes());
            digest.truncate(8);
            digest
        };
        let versioned = |text: String| format!("{}{}", prefix(), short(text));
        let current = window_identity(plan).into_iter();
        let legacy = legacy_window_identity(plan).into_iter();
        Self {
            current: current.map(|(name, text)| (name.to_owned(), versioned(text))).collect(),
            legacy: legacy.map(|(name, text)| (name.to_owned(), short(text))).collect(),
        }
    }

    /// Returns what is another than in `now`; nothing if it was not written down. Digests are
    /// compared with those of their own form: another form has other digests for the same
    /// query.
    pub(crate) fn changed<'a>(&'a self, now: &Self) -> Vec<&'a str> {
        let (found, now) = match self.current.is_empty() {
            true => (&self.legacy, &now.legacy),
            false => (&self.current, &now.current),
        };
        let differs = |(name, digest): &(&String, &String)| now.get(*name) != Some(*digest);
        found.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
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
    pub(crate) windows: WindowDigests,
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
pub(crate) fn metadata(replay: ReplayPoint, windows: &WindowDigests, part: Option<Part>) -> String {
    let identity = windows.current.clone();
    let metadata = CommitMetadata { v: VERSION, replay, windows: Digests::new(), identity, part };
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
    let mut resume = Resume { committed: Some(commit.offset), ..Resume::default() };
    if let Some(CommitMetadata { replay, windows: legacy, identity, part, .. }) = metadata {
        let (current, others): (Digests, Digests) =
            identity.into_iter().partition(|(_, digest)| digest.starts_with(&prefix()));
        if !others.is_empty() {
            tracing::warn!(
                partition = %commit.partition,
                offset = %commit.offset,
                "another version committed, whose digests this one cannot compare with its own; \
                 it goes on as if the query had not changed"
            );
        }
        resume.replay = Some(replay);
        resume.part = part;
        resume.windows = WindowDigests { current, legacy };
    }
    resume
}

#[cfg(test)]
mod migration;

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

    fn digests_of(names: &[&str]) -> WindowDigests {
        let digest = |name: &&str| ((*name).to_owned(), "v2:0123abcd".to_owned());
        WindowDigests { current: names.iter().map(digest).collect(), ..WindowDigests::default() }
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
        let names =
            ["the watermark", "timestamp.unit", "the window query", "the series", "the time"];
        let windows = digests_of(&names);
        let part = Part { out: u64::MAX, last: u32::MAX, close: Some(close.watermark) };
        let text = metadata(replay.clone(), &windows, Some(part));
        assert!(text.len() < 4096, "Kafka's limit: {} bytes", text.len());
        let resume = resume(Some(&commit(7, &text)));
        assert_eq!(resume.read_from(), Some(Offset(3)));
        assert!(resume.windows.changed(&windows).is_empty());
        let mut others = windows.clone();
        others.current.insert("the series".to_owned(), "v2:ffffffff".to_owned());
        assert_eq!(resume.windows.changed(&others), ["the series"]);
        let replay = Some(replay);
        let part = Some(part);
        assert_eq!(resume, Resume { committed: Some(Offset(7)), replay, windows, part });
    }

    #[test]
    fn an_earlier_versions_commit_says_nothing_of_windows() {
        let point = ReplayPoint { from: Some(Offset(3)), ..ReplayPoint::default() };
        let text = metadata(point, &WindowDigests::default(), None);
        assert!(!text.contains("windows") && !text.contains("identity"), "{text}");
        let resume = resume(Some(&commit(7, &text)));
        assert_eq!(resume.read_from(), Some(Offset(3)));
        assert!(resume.windows.changed(&digests_of(&["the series"])).is_empty());
    }

    #[test]
    fn digests_are_compared_with_those_of_their_form() {
        let ours = WindowDigests {
            legacy: [("the series".to_owned(), "77777777".to_owned())].into(),
            ..digests_of(&["the series", "timestamp.unit"])
        };
        let found = |digests: &str| {
            let text = format!(r#"{{"v":1,"replay":{{"from":3,"floor":0}},{digests}}}"#);
            let resume = resume(Some(&commit(7, &text)));
            assert_eq!(resume.read_from(), Some(Offset(3)), "{text}");
            resume.windows
        };
        // An older build's; it knew no `timestamp.unit`.
        let same = found(r#""windows":{"the series":"77777777"}"#);
        assert_eq!(same.changed(&ours), [""; 0]);
        let other = found(r#""windows":{"the series":"0123abcd"}"#);
        assert_eq!(other.changed(&ours), ["the series"]);
        let same =
            found(r#""identity":{"the series":"v2:0123abcd","timestamp.unit":"v2:0123abcd"}"#);
        assert_eq!(same.changed(&ours), [""; 0]);
        let other = found(r#""identity":{"the series":"v2:0123abcd","timestamp.unit":"v2:0"}"#);
        assert_eq!(other.changed(&ours), ["timestamp.unit"]);
        let later = found(r#""identity":{"the series":"v3:77777777"}"#);
        assert_eq!(later.changed(&ours), [""; 0], "nobody can tell");
    }

    #[test]
    fn foreign_or_impossible_metadata_falls_back_to_the_offset() {
        let beyond = ReplayPoint { from: Some(Offset(9)), ..ReplayPoint::default() };
        let beyond = metadata(beyond, &WindowDigests::default(), None);
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
