//! What a windower leaves to its successor, and how that one takes it on.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use tidecast_stream::{EventTime, Offset, Watermark};

use super::Windower;
use crate::window::captured::Captured;
use crate::window::identity::IDENTITY_VERSION;
use crate::window::open::SavedWindow;
use crate::window::output::WindowError;
use crate::window::snapshot::{self, FORMAT, Head, OpenWindows, Restored, SnapshotError};

/// A windower's state behind an offset, which the windower may go on from meanwhile.
#[derive(Debug, Clone)]
pub struct Snapshot {
    head: Head,
    rings: Captured,
    windows: Vec<SavedWindow>,
    windows_schema: SchemaRef,
}

impl Snapshot {
    /// Returns the offset: records before it are in the state.
    pub fn offset(&self) -> Offset {
        self.head.offset
    }

    /// Returns the state as Arrow IPC streams. With many series this takes a while, and
    /// can be done elsewhere.
    ///
    /// # Errors
    /// If Arrow cannot write it, which is a bug.
    pub fn encode(&self) -> Result<Vec<u8>, WindowError> {
        snapshot::write(&self.head, &self.rings, &self.windows, &self.windows_schema)
            .map_err(|error| WindowError::new(error.to_string()))
    }
}

/// Where a replay has to start, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPoint {
    /// The first offset to read again; `None`: nothing needs to be.
    pub from: Option<Offset>,
    /// The watermark to start from: windows that ended before are done with.
    pub floor: Watermark,
    /// What the wall clock closed and records alone would not have, as far back as is
    /// known: a snapshot may be older than `from`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub closes: Vec<ForcedClose>,
    /// Where the newest close was that `closes` has no room for; `None`: all are there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forgotten: Option<Offset>,
}

/// A close that no record brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedClose {
    /// The offset of the first record after it.
    pub offset: Offset,
    /// The watermark it moved to.
    pub watermark: Watermark,
    /// Whether a row came too late for it since.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub turned_away: bool,
}

impl Windower {
    /// Returns what a successor needs to rebuild this state.
    pub fn replay_point(&self) -> ReplayPoint {
        let (closes, forgotten) = (self.closes.iter().copied().collect(), self.forgotten);
        let Some(from) = self.replay_from() else {
            let floor = self.operator.watermark();
            return ReplayPoint { from: None, floor, closes, forgotten };
        };
        // Windows that end by the floor are done with: older than any that matters,
        // and closed. Between the floor and the true watermark at `from`, which was
        // below the end of the oldest that matters, no window with rows ends; so
        // rows are late after the floor exactly when they were.
        let oldest = self.reach.into_iter().chain(self.operator.oldest_open()).min();
        let oldest = oldest.map(EventTime::from_micros).map(Watermark::at);
        ReplayPoint {
            from: Some(from),
            floor: self.operator.watermark().min(oldest.unwrap_or_default()),
            closes,
            forgotten,
        }
    }

    /// Prepares for the replay that `point` describes; call it before the first
    /// batch.
    ///
    /// # Errors
    /// None on a windower that has seen nothing.
    pub fn restore(&mut self, point: &ReplayPoint) -> Result<(), WindowError> {
        self.operator.advance_to(point.floor)?;
        self.forgotten = point.forgotten;
        let is_ahead = |close: &ForcedClose| point.from.is_some_and(|from| close.offset > from);
        let closes = point.closes.iter().copied();
        (self.to_repeat, self.closes) = closes.partition(is_ahead);
        Ok(())
    }

    /// Returns the state behind the last record, for [`restore_snapshot`]; `None`
    /// if nothing has come, or if a replay is under
    /// way or parts are still to be taken.
    ///
    /// Contexts are shared with it until they change. Accumulators are not: this takes
    /// a moment for each group of each open window.
    ///
    /// # Errors
    /// If an accumulator cannot be asked, which is a bug; the windower is of no use then.
    ///
    /// [`restore_snapshot`]: Self::restore_snapshot
    pub fn snapshot(&mut self) -> Result<Option<Snapshot>, WindowError> {
        let is_under_way = !self.to_repeat.is_empty() || self.has_more();
        if self.partition.is_none() || is_under_way || !self.rings.has_snapshots() {
            return Ok(None);
        }
        let windows = self.operator.save()?;
        let (newest_step, swept, next_serial) = self.rings.numbers();
        let closed = self.closed.iter().map(|(start, offset)| (start.as_micros(), offset.0));
        let head = Head {
            format: FORMAT,
            identity_version: IDENTITY_VERSION,
            identity: self.identity.current().to_vec(),
            offset: self.position,
            series: self.rings.series() as u64,
            open: windows.as_deref().map(OpenWindows::of),
            open_from: self.operator.replay_from(),
            watermark: self.operator.watermark(),
            newest_time: self.operator.newest(),
            closed: closed.collect(),
            reach: self.reach,
            closes: self.closes.iter().copied().collect(),
            forgotten: self.forgotten,
            newest_step,
            swept,
            next_serial,
        };
        Ok(Some(Snapshot {
            head,
            rings: self.rings.capture(),
            windows: windows.unwrap_or_default(),
            windows_schema: self.operator.saved_schema()?,
        }))
    }

    /// Takes on the state of a snapshot; call it before the first batch. `point` is
    /// that of the commit, for the sake of its forced closes. Returns the offset to
    /// read from: everything up to the committed offset is to be discarded as in a
    /// replay.
    ///
    /// # Errors
    /// If the snapshot is damaged, of another format, of another query, or older than
    /// the closes that the commit knows of; the windower is as it was.
    pub fn restore_snapshot(
        &mut self,
        bytes: &[u8],
        point: &ReplayPoint,
    ) -> Result<Offset, SnapshotError> {
        let schema = self.operator.saved_schema();
        let schema = schema.map_err(|error| SnapshotError::Damaged(error.message))?;
        let Restored { head, series, windows } = snapshot::read(bytes, &self.identity, &schema)?;
        if let Some(close) = point.forgotten.filter(|close| *close >= head.offset) {
            return Err(SnapshotError::Outlived { close });
        }
        self.operator
            .restore(windows.unwrap_or_default())
            .map_err(|error| SnapshotError::Damaged(error.message))?;
        let numbers = (head.newest_step, head.swept, head.next_serial);
        if let Err(reason) = self.rings.restore(series, numbers) {
            self.operator.restore(Vec::new()).ok();
            return Err(SnapshotError::Damaged(reason));
        }
        let read_from = head.read_from();
        self.operator.resume(head.watermark, head.newest_time);
        let closed = head.closed.iter();
        self.closed = closed
            .map(|(start, offset)| (EventTime::from_micros(*start), Offset(*offset)))
            .collect();
        self.reach = head.reach;
        self.closes = head.closes.into();
        self.forgotten = head.forgotten;
        self.position = head.offset;
        // At the snapshot's offset itself a close may have come before or after it:
        // one that came before has moved the watermark already.
        let is_after = |close: &&ForcedClose| {
            close.offset > head.offset
                || close.offset == head.offset && close.watermark > head.watermark
        };
        self.to_repeat = point.closes.iter().filter(is_after).copied().collect();
        Ok(read_from)
    }
}
