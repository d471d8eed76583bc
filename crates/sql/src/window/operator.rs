//! The window operator of one partition.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion_common::error::Result;
use tidecast_stream::{EventTime, Offset, Watermark};

use super::aggregate::Aggregate;
use super::ahead::AheadWindow;
use super::clock;
use super::gate::Gate;
use super::open::{AggregateInput, OpenWindow, SavedWindow};
use super::output::{RejectedRow, WindowError, WindowOutput};
use super::prepare::{evaluate, exclude, prepare};
use super::query::{QueryPlan, WindowQuery};
use super::stage::{self, Selection};

/// Runs a [`WindowQuery`] over one partition.
///
/// * A row's window is the one its event time lies in.
/// * The watermark before a row is the greatest event time of the rows before it,
///   less the allowed delay; rejected rows do not count, rows that `WHERE` drops
///   do.
/// * A row is *late*, and takes no part, if the watermark before it has reached
///   the end of its window. A row that `WHERE` drops is never late.
/// * A window closes when the watermark reaches its end. Windows close in the
///   order of their ends, their groups come in order of first appearance.
///
/// Where the source's watermark has a condition, only rows for which it is true
/// move the watermark; all of this holds for the others, too.
///
/// A row whose event time cannot be used, or on which an expression fails, is
/// *rejected* with the reason; the others go on.
pub struct WindowOperator {
    plan: Arc<QueryPlan>,
    watermark: Watermark,
    /// The greatest event time that moved the watermark.
    newest: Option<i64>,
    /// By first instant, in microseconds.
    open: BTreeMap<i64, OpenWindow>,
    /// How many windows behind one that closes are looked into, if they are open.
    look_ahead: Option<usize>,
    /// Group numbers of the rows at hand, kept to save the allocation.
    ids: Vec<usize>,
}

impl WindowOperator {
    /// Returns an operator that has seen nothing.
    ///
    /// # Errors
    /// None at present; the query was checked when it was compiled.
    pub fn new(query: &WindowQuery) -> Result<Self, WindowError> {
        Ok(Self {
            plan: Arc::clone(&query.plan),
            watermark: Watermark::default(),
            newest: None,
            open: BTreeMap::new(),
            look_ahead: None,
            ids: Vec::new(),
        })
    }

    /// Lets every window that closes say what is known of the `windows` windows
    /// behind it: the rows up to the record that closed it and no others,
    /// wherever the batch ended. Windows then keep what comes into them.
    pub fn looking_ahead(mut self, windows: usize) -> Self {
        self.look_ahead = Some(windows);
        self
    }

    /// Takes rows of the source table in offset order.
    ///
    /// `offsets` are theirs, `timestamps` the records' own in milliseconds, null
    /// where there is none.
    ///
    /// # Errors
    /// If the batch is not of the source's schema. Bad rows are no error.
    pub fn push(
        &mut self,
        rows: &RecordBatch,
        offsets: &Int64Array,
        timestamps: &Int64Array,
    ) -> Result<WindowOutput, WindowError> {
        self.check(rows, offsets)?;
        if rows.num_rows() == 0 {
            return Ok(WindowOutput::default());
        }
        let plan = Arc::clone(&self.plan);
        let mut times = clock::read(&plan, rows.column(plan.time_index), timestamps);
        let mut rejected = std::mem::take(&mut times.rejected);
        let mut usable = vec![true; rows.num_rows()];
        exclude(&mut usable, &rejected);

        let mut selection = Selection::contiguous(rows.clone(), 0);
        if !rejected.is_empty() {
            selection = selection.filter(&BooleanArray::from(usable.clone()))?;
        }
        let mut moves = vec![true; rows.num_rows()];
        if let Some(condition) = &plan.source.watermark_condition {
            moves.fill(false);
            selection = evaluate(condition, selection, &mut moves, &mut rejected)?;
        }
        let mut parts: Vec<(UInt32Array, AggregateInput)> = Vec::new();
        stage::run_apart(
            selection,
            &mut |selection| prepare(&plan, &times, selection),
            &mut |part| parts.push(part),
            &mut |row, error| {
                let reason = stage::reason(&error);
                let row = row.origin.value(0) as usize;
                rejected.push(RejectedRow { row, reason });
            },
        );
        rejected.sort_by_key(|rejected| rejected.row);
        moves.iter_mut().zip(&usable).for_each(|(moves, usable)| *moves &= usable);
        exclude(&mut moves, &rejected);

        let mut output = WindowOutput { rejected, ..WindowOutput::default() };
        // What forecasts look into is what was known when they would have been made, so a
        // file is then read as it would have come.
        let until_end = plan.source.is_bounded && self.look_ahead.is_none();
        let mut gate = Gate::new(&plan, self.watermark, &times, &moves, until_end);
        for (origin, input) in parts {
            let mut done = 0;
            while done < origin.len() {
                let oldest_end = self.look_ahead.map(|_| self.oldest_end());
                let (members, until) =
                    gate.sort_into_windows(&origin, done, oldest_end, &mut output.late);
                for (start, members) in members {
                    self.add(start, members, &origin, &input, offsets)?;
                }
                done = until;
                if done < origin.len() {
                    self.watermark = gate.watermark;
                    self.close_due(&mut output)?;
                }
            }
        }
        let (watermark, newest) = gate.finish();
        self.watermark = watermark;
        self.newest = self.newest.max(newest);
        self.close_due(&mut output)?;
        Ok(output)
    }

    /// Closes what a partition from which nothing comes any more has begun: all
    /// open windows up to the one of the newest record that moved the watermark.
    /// Windows behind that one hold only what is known ahead; they stay open.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn close_idle(&mut self) -> Result<WindowOutput, WindowError> {
        if self.plan.source.watermark_condition.is_none() {
            return self.close_all();
        }
        let Some(newest) = self.newest else { return Ok(WindowOutput::default()) };
        let begun = self.open.range(..=newest).next_back();
        match begun.map(|(start, _)| EventTime::from_micros(self.plan.end_of(*start))) {
            Some(end) => self.advance_to(Watermark::at(end)),
            None => Ok(WindowOutput::default()),
        }
    }

    /// Closes all open windows: the watermark moves to the end of the last one.
    /// For the end of a bounded source.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn close_all(&mut self) -> Result<WindowOutput, WindowError> {
        match self.open.last_key_value() {
            Some((start, _)) => {
                let end = EventTime::from_micros(self.plan.end_of(*start));
                self.advance_to(Watermark::at(end))
            }
            None => Ok(WindowOutput::default()),
        }
    }

    /// Moves the watermark forward and closes what that completes; does nothing
    /// if it is there already.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn advance_to(&mut self, watermark: Watermark) -> Result<WindowOutput, WindowError> {
        let mut output = WindowOutput::default();
        self.watermark = self.watermark.max(watermark);
        self.close_due(&mut output)?;
        Ok(output)
    }

    /// Returns the watermark behind the last row.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Returns the watermark as it would be if nothing but records had moved it.
    pub(crate) fn watermark_of_records(&self) -> Watermark {
        self.newest.map_or(Watermark::default(), |newest| {
            let time = newest.saturating_sub(self.plan.source.delay_micros);
            Watermark::at(EventTime::from_micros(time))
        })
    }

    /// Returns how many windows are open.
    pub fn open_windows(&self) -> usize {
        self.open.len()
    }

    /// Returns the greatest event time that moved the watermark, in microseconds.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Goes on from a watermark and the event time that moved it there.
    pub(crate) fn resume(&mut self, watermark: Watermark, newest: Option<i64>) {
        (self.watermark, self.newest) = (watermark, newest);
    }

    /// Returns the columns of [`save`](Self::save)'s windows.
    pub(crate) fn saved_schema(&self) -> Result<SchemaRef, WindowError> {
        Ok(SavedWindow::schema(&self.plan, self.look_ahead.is_some())?)
    }

    /// Returns the open windows as they are, and goes on from that; `None` if some
    /// function's state cannot be written down.
    ///
    /// # Errors
    /// If an accumulator cannot be asked, which is a bug; the operator is of no use then.
    pub fn save(&mut self) -> Result<Option<Vec<SavedWindow>>, WindowError> {
        if self.look_ahead.is_none() && !self.plan.aggregates.iter().all(Aggregate::is_restorable) {
            return Ok(None);
        }
        let windows = self.open.values_mut().map(|window| window.save(&self.plan));
        let windows = windows.collect::<Result<Vec<_>>>()?;
        let schema = self.saved_schema()?;
        Ok(windows.iter().all(|window| window.is_of(&schema)).then_some(windows))
    }

    /// Takes up windows that an operator of the same query saved; the watermark it was
    /// at is to be told apart ([`advance_to`](Self::advance_to)).
    ///
    /// # Errors
    /// If they are not what was written; the operator is as it was.
    pub fn restore(&mut self, windows: Vec<SavedWindow>) -> Result<(), WindowError> {
        let keeps = self.look_ahead.is_some();
        let windows = windows
            .into_iter()
            .map(|window| Ok((window.start, OpenWindow::restore(&self.plan, window, keeps)?)));
        self.open = windows.collect::<Result<_>>()?;
        Ok(())
    }

    /// Returns the first offset of any open window.
    pub fn replay_from(&self) -> Option<Offset> {
        self.open.values().map(|window| window.first_offset).min()
    }

    /// Returns the first instant of the oldest open window.
    pub(crate) fn oldest_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    fn oldest_end(&self) -> i64 {
        self.oldest_open().map_or(i64::MAX, |start| self.plan.end_of(start))
    }

    fn check(&self, rows: &RecordBatch, offsets: &Int64Array) -> Result<(), WindowError> {
        let expected = &self.plan.source.schema;
        let found = rows.schema_ref();
        let same = expected.fields().len() == found.fields().len()
            && expected
                .fields()
                .iter()
                .zip(found.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !same {
            return Err(WindowError::new(format!(
                "the batch has the columns `{found}`, the query was compiled for `{expected}`"
            )));
        }
        if offsets.len() != rows.num_rows() {
            return Err(WindowError::new(format!(
                "the batch has {} rows but {} offsets",
                rows.num_rows(),
                offsets.len()
            )));
        }
        Ok(())
    }

    /// Adds rows to the window that starts at `start`; `members` are indices into
    /// `input`, `origin` says which rows of the batch these are.
    fn add(
        &mut self,
        start: i64,
        members: Vec<u32>,
        origin: &UInt32Array,
        input: &AggregateInput,
        offsets: &Int64Array,
    ) -> Result<(), WindowError> {
        let Some(first) = members.first().map(|first| origin.value(*first as usize)) else {
            return Ok(());
        };
        let window = match self.open.entry(start) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let first_offset = Offset(offsets.value(first as usize));
                let keeps = self.look_ahead.is_some();
                entry.insert(OpenWindow::new(&self.plan, start, first_offset, keeps)?)
            }
        };
        let rows = members.len();
        if rows == origin.len() {
            window.add(input, rows, &mut self.ids);
        } else {
            window.add(&input.take(&UInt32Array::from(members))?, rows, &mut self.ids);
        }
        Ok(())
    }

    fn close_due(&mut self, output: &mut WindowOutput) -> Result<(), WindowError> {
        while let Some(entry) = self.open.first_entry() {
            let end = EventTime::from_micros(self.plan.end_of(*entry.key()));
            if !self.watermark.has_passed(end) {
                break;
            }
            let (start, window) = entry.remove_entry();
            let (mut closed, failed) = window.close(&self.plan)?;
            closed.ahead = self.peek(start)?;
            output.closed.push(closed);
            output.failed.extend(failed);
        }
        Ok(())
    }

    /// Returns what is known of the windows behind the one at `start`.
    fn peek(&mut self, start: i64) -> Result<Vec<Arc<AheadWindow>>> {
        let Some(windows) = self.look_ahead else { return Ok(Vec::new()) };
        let windows = i64::try_from(windows).unwrap_or(i64::MAX);
        let last = self.plan.grid.after(EventTime::from_micros(start), windows);
        let ahead = self.open.range_mut(start..=last.map_or(i64::MAX, EventTime::as_micros));
        ahead.map(|(_, window)| window.peek(&self.plan)).collect()
    }
}

impl fmt::Debug for WindowOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowOperator")
            .field("watermark", &self.watermark.event_time())
            .field("open_windows", &self.open.len())
            .finish_non_exhaustive()
    }
}
