//! The window operator of one partition.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::{DataFusionError, Result};
use tidecast_stream::{EventTime, Offset, Watermark};

use super::clock::{self, Times};
use super::gate::Gate;
use super::open::{AggregateInput, OpenWindow};
use super::query::{Key, QueryPlan, WindowQuery};
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
/// A row whose event time cannot be used, or on which an expression fails, is
/// *rejected* with the reason; the others go on.
pub struct WindowOperator {
    plan: Arc<QueryPlan>,
    watermark: Watermark,
    /// By first instant, in microseconds.
    open: BTreeMap<i64, OpenWindow>,
    /// Group numbers of the rows at hand, kept to save the allocation.
    ids: Vec<usize>,
}

/// What came of some rows.
#[derive(Debug, Default)]
pub struct WindowOutput {
    /// Windows that closed, in the order of their ends.
    pub closed: Vec<ClosedWindow>,
    /// Groups of these windows for which there is no result.
    pub failed: Vec<FailedGroup>,
    /// Rows that came too late, in order.
    pub late: Vec<LateRow>,
    /// Rows that cannot be used, in order.
    pub rejected: Vec<RejectedRow>,
}

/// A window that is complete.
#[derive(Debug, Clone)]
pub struct ClosedWindow {
    /// Its first instant.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
    /// The offset of its first row.
    pub first_offset: Offset,
    /// The view's rows, groups in order of first appearance.
    pub rows: RecordBatch,
}

/// A group of a closed window whose result could not be computed.
#[derive(Debug, Clone)]
pub struct FailedGroup {
    /// The first instant after its window.
    pub window_end: EventTime,
    /// The offset of the window's first row.
    pub first_offset: Offset,
    /// Keys and aggregates of the group, one row; `None` if an aggregate itself
    /// failed, which concerns all groups of the window.
    pub group: Option<RecordBatch>,
    /// What failed.
    pub reason: String,
}

/// A row that came after its window had closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    /// Index of the row in the batch.
    pub row: usize,
    /// The first instant after its window.
    pub window_end: EventTime,
    /// The watermark before the row.
    pub watermark: Watermark,
}

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Index of the row in the batch.
    pub row: usize,
    /// What is wrong with it, and what was expected.
    pub reason: String,
}

/// A failure that no row is to blame for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WindowError {
    /// What happened.
    pub message: String,
}

impl WindowError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<DataFusionError> for WindowError {
    fn from(error: DataFusionError) -> Self {
        Self::new(stage::reason(&error))
    }
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
            open: BTreeMap::new(),
            ids: Vec::new(),
        })
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
        mark(&mut usable, &rejected);

        let mut selection = Selection::contiguous(rows.clone(), 0);
        if !rejected.is_empty() {
            selection = selection.filter(&BooleanArray::from(usable.clone()))?;
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
        mark(&mut usable, &rejected);

        let mut output = WindowOutput { rejected, ..WindowOutput::default() };
        let mut gate = Gate::new(&plan, self.watermark, &times, &usable);
        for (origin, input) in parts {
            let members = gate.sort_into_windows(&origin, &mut output.late);
            for (start, members) in members {
                self.add(start, members, &origin, &input, offsets)?;
            }
        }
        self.watermark = gate.finish();
        self.close_due(&mut output)?;
        Ok(output)
    }

    /// Closes all open windows: the watermark moves to the end of the last one.
    /// For the end of a bounded source, or a partition that nothing comes from.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub fn close_all(&mut self) -> Result<WindowOutput, WindowError> {
        match self.open.last_key_value() {
            Some((start, _)) => {
                let end = EventTime::from_micros(start + self.plan.size_micros);
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

    /// Returns how many windows are open.
    pub fn open_windows(&self) -> usize {
        self.open.len()
    }

    /// Returns the first offset of any open window.
    pub fn replay_from(&self) -> Option<Offset> {
        self.open.values().map(|window| window.first_offset).min()
    }

    /// Returns the first instant of the oldest open window.
    pub(crate) fn oldest_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
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
                entry.insert(OpenWindow::new(&self.plan, start, first_offset)?)
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
            let end = EventTime::from_micros(entry.key() + self.plan.size_micros);
            if !self.watermark.has_passed(end) {
                break;
            }
            let (closed, failed) = entry.remove().close(&self.plan)?;
            output.closed.push(closed);
            output.failed.extend(failed);
        }
        Ok(())
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

fn mark(usable: &mut [bool], rejected: &[RejectedRow]) {
    for rejected in rejected {
        if let Some(usable) = usable.get_mut(rejected.row) {
            *usable = false;
        }
    }
}

/// Runs rows up to the aggregation.
fn prepare(
    plan: &QueryPlan,
    times: &Times,
    selection: Selection,
) -> Result<(UInt32Array, AggregateInput)> {
    let selection = stage::run(&plan.below, selection)?;
    let starts: Vec<i64> = selection
        .origin
        .values()
        .iter()
        .filter_map(|row| times.starts.get(*row as usize).copied())
        .collect();
    let ends = starts.iter().map(|start| start + plan.size_micros).collect::<Vec<_>>();
    let mut columns = selection.rows.columns().to_vec();
    columns.push(Arc::new(TimestampMicrosecondArray::from(starts)));
    columns.push(Arc::new(TimestampMicrosecondArray::from(ends)));
    let rows = stage::batch(&plan.windowed, columns, selection.rows.num_rows())?;
    let Selection { rows, origin } =
        stage::run(&plan.above, Selection { rows, origin: selection.origin })?;

    let mut input = AggregateInput { keys: Vec::new(), inputs: Vec::new(), filters: Vec::new() };
    for key in &plan.keys {
        if let Key::Expression(expression) = key {
            input.keys.push(stage::evaluate(expression, &rows)?);
        }
    }
    for aggregate in &plan.aggregates {
        let inputs = aggregate.inputs.iter().map(|argument| stage::evaluate(argument, &rows));
        input.inputs.push(inputs.collect::<Result<_>>()?);
        let filter = match &aggregate.filter {
            Some(filter) => Some(as_boolean_array(&stage::evaluate(filter, &rows)?)?.clone()),
            None => None,
        };
        input.filters.push(filter);
    }
    Ok((origin, input))
}
