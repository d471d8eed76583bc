//! From source batches to contexts that want a forecast.

use std::collections::VecDeque;

use arrow::array::{Int64Array, RecordBatch};
use tidecast_stream::{
    BadRecord, EventTime, LateRecord, Offset, Partition, RecordPosition, SeriesKey, SourceBatch,
    TimeGrid, Watermark,
};

use super::contexts::{ContextRings, SeriesContext};
use super::identity::StateIdentity;
use super::json;
use super::operator::WindowOperator;
use super::output::{FailedGroup, LateRow, WindowError, WindowOutput};
use crate::spec::{PipelinePlan, Refresh};

mod parts;
mod restart;

use parts::Pending;
pub use restart::{ForcedClose, ReplayPoint, Snapshot};

/// How many forced closes [`ReplayPoint`] remembers, of those that something came too
/// late for; more would not fit beside a committed offset.
const CLOSES_KEPT: usize = 32;

/// Windows and contexts of one partition of a pipeline.
///
/// It is fed with records, or told to close windows, and what that triggers is taken from
/// it part by part, so that the series that close together need not be in memory
/// together: [`feed`](Self::feed) and its like, then [`take_part`](Self::take_part) while
/// it [`has_more`](Self::has_more). [`process`](Self::process) and its like take all at
/// once.
///
/// # Snapshots
/// [`snapshot`] gives the state behind the last record; a successor takes it with
/// [`restore_snapshot`], feeds the records from the offset that returns up to the
/// committed one and discards what comes out, then goes on: with the same words as
/// the predecessor, to the bit.
///
/// [`snapshot`]: Self::snapshot
/// [`restore_snapshot`]: Self::restore_snapshot
///
/// # Replay
/// Without a snapshot [`replay_point`] says from which offset re-reading rebuilds it: the first record of any window
/// that is open or that a context still reaches back to. Whoever commits keeps
/// it beside the offset; a successor calls [`restore`], feeds the records from
/// [`ReplayPoint::from`] up to the committed offset and discards what comes out,
/// then goes on. Windows, late rows and the values of contexts are then those of
/// the predecessor, to the bit. Two things are not:
///
/// * [`Prior`](super::Prior) covers what was re-read only. (A series whose whole
///   history fits into its context has no prior anyway.)
/// * Of the closes that the wall clock forced, those are known that turned a row away
///   (without such a row, records bring the same windows about), the newest 32 of them,
///   and those within that stretch are repeated where they happened. After an older
///   one, a record that came late is counted in; only the context's older steps can
///   show that. (A snapshot that is older than one of these is refused.)
///
/// [`replay_point`]: Self::replay_point
/// [`restore`]: Self::restore
#[derive(Debug)]
pub struct Windower {
    operator: WindowOperator,
    rings: ContextRings,
    refresh: Refresh,
    windows: TimeGrid,
    /// What the state follows from.
    identity: StateIdentity,
    partition: Option<Partition>,
    /// Where the last batch ended.
    position: Offset,
    /// Closed windows that contexts reach back to, oldest first.
    closed: VecDeque<(EventTime, Offset)>,
    /// First instant of the oldest window that contexts reach back to.
    reach: Option<i64>,
    /// The newest forced closes of those that have to be known.
    closes: VecDeque<ForcedClose>,
    /// Where the newest forced close was that is not among them any more.
    forgotten: Option<Offset>,
    /// Forced closes to repeat during a replay, in order.
    to_repeat: VecDeque<ForcedClose>,
    /// What is not in the contexts yet, in order.
    pending: VecDeque<Pending>,
    /// What the next part says beside contexts.
    said: WindowerOutput,
    /// Whether windows have closed since it was last seen how far contexts reach back.
    has_closed: bool,
}

/// What a batch led to.
#[derive(Debug, Default)]
pub struct WindowerOutput {
    /// Contexts that want a forecast, in order of time.
    pub contexts: Vec<SeriesContext>,
    /// Rows that came after their window had closed.
    pub late: Vec<LateRecord>,
    /// Rows that cannot be used, and groups of a closed window without a result.
    /// The payload is the row as JSON, since the bytes it came as are gone; for a
    /// group it is the group as JSON, and the place that of its window's first
    /// record. What the source could not decode ([`SourceBatch::bad`]) is not
    /// repeated here.
    pub bad: Vec<BadRecord>,
    /// Windows that closed.
    pub windows_closed: usize,
    /// Rows taken in.
    pub rows: usize,
    /// Steps of some series for which a row came.
    pub steps: usize,
    /// Steps of some series for which no row came.
    pub gap_steps: usize,
    /// Target values of closed windows that were null or not finite.
    pub missing_values: usize,
}

impl Windower {
    /// Returns a windower that has seen nothing.
    ///
    /// # Errors
    /// If the `forecast` clause does not fit the view.
    pub fn new(plan: &PipelinePlan) -> Result<Self, WindowError> {
        let clause = &plan.forecast;
        let mut operator = WindowOperator::new(&plan.window)?;
        if clause.looks_ahead() {
            operator = operator.looking_ahead(clause.horizon);
        }
        Ok(Self {
            operator,
            rings: ContextRings::new(clause, &plan.window.output_schema(), plan.is_bounded())?,
            refresh: plan.forecast.refresh,
            windows: plan.window.grid(),
            identity: StateIdentity::of(plan),
            partition: None,
            position: Offset::default(),
            closed: VecDeque::new(),
            reach: None,
            closes: VecDeque::new(),
            forgotten: None,
            to_repeat: VecDeque::new(),
            pending: VecDeque::new(),
            said: WindowerOutput::default(),
            has_closed: false,
        })
    }

    /// Says which partition it is of before a record does: a close may come first.
    #[must_use]
    pub fn of_partition(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Takes a batch and returns all that it leads to.
    ///
    /// # Errors
    /// As [`feed`](Self::feed) and [`take_part`](Self::take_part).
    pub fn process(&mut self, batch: &SourceBatch) -> Result<WindowerOutput, WindowError> {
        self.feed(batch)?;
        self.take_all()
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// If the batch is not of the source's schema. Bad rows are no error.
    pub fn feed(&mut self, batch: &SourceBatch) -> Result<(), WindowError> {
        self.partition = Some(batch.partition.clone());
        let mut done = 0;
        while let Some(close) = self.to_repeat.front().copied() {
            if close.offset > batch.range.end() {
                break;
            }
            self.to_repeat.pop_front();
            let until = batch.offsets.values().partition_point(|row| *row < close.offset.0);
            self.take_rows(batch, done..until.max(done))?;
            done = until.max(done);
            self.position = close.offset;
            self.feed_watermark(close.watermark)?;
        }
        self.take_rows(batch, done..batch.rows.num_rows())?;
        self.position = batch.range.end();
        Ok(())
    }

    /// Repeats the forced closes up to an offset that no record stands before any more.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn repeat_closes(&mut self, until: Offset) -> Result<(), WindowError> {
        while let Some(close) = self.to_repeat.pop_front_if(|close| close.offset <= until) {
            self.position = close.offset;
            self.feed_watermark(close.watermark)?;
        }
        Ok(())
    }

    /// Adds records that could not be used to what is said with the next part.
    pub fn reject(&mut self, bad: Vec<BadRecord>) {
        self.said.bad.extend(bad);
    }

    /// Closes the windows that have begun, as when nothing comes from the
    /// partition; windows that hold only what is known ahead stay open.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn feed_idle(&mut self) -> Result<(), WindowError> {
        self.close(WindowOperator::close_idle)
    }

    /// Closes the windows that have begun and returns all that this leads to.
    ///
    /// # Errors
    /// As [`feed_idle`](Self::feed_idle) and [`take_part`](Self::take_part).
    pub fn close_idle(&mut self) -> Result<WindowerOutput, WindowError> {
        self.feed_idle()?;
        self.take_all()
    }

    /// Closes all open windows and returns all that this leads to.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn close_all(&mut self) -> Result<WindowerOutput, WindowError> {
        self.close(WindowOperator::close_all)?;
        self.take_all()
    }

    fn close(
        &mut self,
        close: impl FnOnce(&mut WindowOperator) -> Result<WindowOutput, WindowError>,
    ) -> Result<(), WindowError> {
        let before = self.operator.watermark();
        let closed = close(&mut self.operator)?;
        self.remember_close(before);
        self.queue(closed, &NoRows);
        Ok(())
    }

    /// Ends a bounded source: closes all open windows and, where forecasts are
    /// wanted `'at_end'`, hands out the context of every series.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn feed_end(&mut self) -> Result<(), WindowError> {
        self.close(WindowOperator::close_all)?;
        if self.refresh == Refresh::AtEnd {
            // Of series that only these windows bring, too.
            self.absorb_all()?;
            self.pending.push_back(Pending::AtEnd(self.rings.keys_in_order().into_iter()));
        }
        Ok(())
    }

    /// Ends a bounded source and returns all that this leads to.
    ///
    /// # Errors
    /// As [`feed_end`](Self::feed_end) and [`take_part`](Self::take_part).
    pub fn finish(&mut self) -> Result<WindowerOutput, WindowError> {
        self.feed_end()?;
        self.take_all()
    }

    /// Moves the watermark forward, as a forced close did that is repeated.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn feed_watermark(&mut self, watermark: Watermark) -> Result<(), WindowError> {
        self.close(|operator| operator.advance_to(watermark))
    }

    /// Moves the watermark forward and returns all that this leads to.
    ///
    /// # Errors
    /// As [`feed_watermark`](Self::feed_watermark) and [`take_part`](Self::take_part).
    pub fn advance_to(&mut self, watermark: Watermark) -> Result<WindowerOutput, WindowError> {
        self.feed_watermark(watermark)?;
        self.take_all()
    }

    /// Returns the watermark behind the last record.
    pub fn watermark(&self) -> Watermark {
        self.operator.watermark()
    }

    /// Returns how many series have a context.
    pub fn series(&self) -> usize {
        self.rings.series()
    }

    /// Returns the series that have appeared since this was asked the last time, those
    /// of a snapshot among them.
    pub fn take_appeared(&mut self) -> Vec<SeriesKey> {
        self.rings.take_appeared()
    }

    /// Returns how many windows are open.
    pub fn open_windows(&self) -> usize {
        self.operator.open_windows()
    }

    /// Returns the offset to re-read from so that open windows and contexts are
    /// as they are now; `None` if there are none.
    pub fn replay_from(&self) -> Option<Offset> {
        let closed = self.closed.iter().map(|(_, first_offset)| *first_offset);
        closed.chain(self.operator.replay_from()).min()
    }

    fn take_rows(
        &mut self,
        batch: &SourceBatch,
        range: std::ops::Range<usize>,
    ) -> Result<(), WindowError> {
        if range.is_empty() {
            return Ok(());
        }
        let rows = batch.rows.slice(range.start, range.len());
        let offsets = batch.offsets.slice(range.start, range.len());
        let timestamps = batch.timestamps.slice(range.start, range.len());
        let windows = self.operator.push(&rows, &offsets, &timestamps)?;
        self.said.rows += rows.num_rows();
        self.review_close(&windows.late);
        self.queue(windows, &Rows { rows, offsets });
        Ok(())
    }

    fn remember_close(&mut self, before: Watermark) {
        let watermark = self.operator.watermark();
        if watermark == before {
            return;
        }
        // Nothing came too late for the one before: this one does all that it did.
        self.closes.pop_back_if(|close| !close.turned_away);
        if self.closes.len() == CLOSES_KEPT {
            self.forgotten = self.closes.pop_front().map(|close| close.offset);
        }
        let offset = self.position;
        self.closes.push_back(ForcedClose { offset, watermark, turned_away: false });
    }

    /// Sees what the newest forced close has led to: it has to be known where a row came
    /// too late for it and, as long as none did, until records alone have come as far.
    fn review_close(&mut self, late: &[LateRow]) {
        let Some(close) = self.closes.back_mut() else { return };
        close.turned_away |= late.iter().any(|late| late.watermark == close.watermark);
        if !close.turned_away && self.operator.watermark_of_records() > close.watermark {
            self.closes.pop_back();
        }
    }

    /// Takes down what the operator said, for parts to be taken.
    fn queue(&mut self, windows: WindowOutput, rows: &dyn Describe) {
        let output = &mut self.said;
        let WindowOutput { closed, failed, late, rejected } = windows;
        if let Some(partition) = &self.partition {
            let place = |offset| RecordPosition { partition: partition.clone(), offset };
            let described = rows.describe(late.iter().map(|late| late.row).collect());
            output.late.extend(late.iter().zip(described).map(|(late, (offset, row))| {
                let watermark = late.watermark.event_time().unwrap_or(EventTime::MIN);
                let reason = format!(
                    "its window ended at {}, the watermark was at {watermark}",
                    late.window_end
                );
                LateRecord { position: place(offset), row, reason }
            }));
            let described = rows.describe(rejected.iter().map(|rejected| rejected.row).collect());
            output.bad.extend(
                rejected.into_iter().zip(described).map(|(rejected, (offset, row))| {
                    bad(place(offset), Some(row), rejected.reason)
                }),
            );
            output.bad.extend(failed.into_iter().map(|failed| {
                let FailedGroup { window_end, first_offset, group, reason } = failed;
                let payload = group.map(|group| json::some_objects(&group, &[0]).concat());
                let error =
                    format!("the window that ended at {window_end} has no result: {reason}");
                bad(place(first_offset), payload, error)
            }));
        }
        self.pending.extend(closed.into_iter().map(|window| Pending::Window(window, 0)));
    }
}

/// Finds the rows that the operator speaks of.
trait Describe {
    /// Returns offset and JSON of each row.
    fn describe(&self, rows: Vec<usize>) -> Vec<(Offset, String)>;
}

struct Rows {
    rows: RecordBatch,
    offsets: Int64Array,
}

impl Describe for Rows {
    fn describe(&self, rows: Vec<usize>) -> Vec<(Offset, String)> {
        let offsets: Vec<Offset> =
            rows.iter().map(|row| Offset(self.offsets.value(*row))).collect();
        offsets.into_iter().zip(json::some_objects(&self.rows, &rows)).collect()
    }
}

/// A close without rows speaks of none.
struct NoRows;

impl Describe for NoRows {
    fn describe(&self, _rows: Vec<usize>) -> Vec<(Offset, String)> {
        Vec::new()
    }
}

fn bad(position: RecordPosition, payload: Option<String>, error: String) -> BadRecord {
    BadRecord { position, key: None, payload: payload.map(String::into_bytes), error }
}
