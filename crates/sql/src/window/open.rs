//! One window that rows still come into.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{cast, concat, concat_batches, filter_record_batch, take_arrays};
use arrow::datatypes::Field;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::cast::as_boolean_array;
use datafusion_common::error::Result;
use datafusion_expr::EmitTo;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use tidecast_stream::{EventTime, Offset};

use super::aggregate::AggregateState;
use super::ahead::AheadWindow;
use super::output::{ClosedWindow, FailedGroup};
use super::query::{Key, QueryPlan};
use super::stage::{self, Selection};

mod saved;

pub use saved::SavedWindow;

/// What the aggregation reads of some rows.
#[derive(Debug, Clone)]
pub(crate) struct AggregateInput {
    /// `GROUP BY`, without the window's bounds.
    pub(crate) keys: Vec<ArrayRef>,
    /// Per aggregate its arguments and sort keys.
    pub(crate) inputs: Vec<Vec<ArrayRef>>,
    /// Per aggregate its `FILTER`.
    pub(crate) filters: Vec<Option<BooleanArray>>,
}

impl AggregateInput {
    /// Returns some of the rows.
    pub(crate) fn take(&self, rows: &UInt32Array) -> Result<Self> {
        self.with_arrays(take_arrays(&self.arrays(), rows, None)?)
    }

    /// Returns the rows of all parts, one after the other.
    fn concat(parts: &[Self]) -> Result<Option<Self>> {
        let Some(first) = parts.first() else { return Ok(None) };
        let arrays: Vec<Vec<ArrayRef>> = parts.iter().map(Self::arrays).collect();
        let columns = (0..first.arrays().len()).map(|index| {
            let pieces = arrays.iter().filter_map(|arrays| arrays.get(index));
            Ok(concat(&pieces.map(AsRef::as_ref).collect::<Vec<_>>())?)
        });
        first.with_arrays(columns.collect::<Result<_>>()?).map(Some)
    }

    /// Returns all its arrays in one row.
    fn arrays(&self) -> Vec<ArrayRef> {
        let filters = self.filters.iter().flatten();
        let filters = filters.map(|filter| Arc::new(filter.clone()) as ArrayRef);
        self.keys.iter().chain(self.inputs.iter().flatten()).cloned().chain(filters).collect()
    }

    /// Returns the same expressions over other rows, their arrays in one row.
    fn with_arrays(&self, arrays: Vec<ArrayRef>) -> Result<Self> {
        let (inputs, filters) = (self.inputs.iter(), self.filters.iter());
        let (inputs, filters) = (inputs.map(Vec::len), filters.map(Option::is_some));
        Self::from_arrays(arrays, self.keys.len(), inputs.zip(filters))
    }

    /// Takes arrays apart that lie in one row: those of the keys, those of each aggregate's
    /// inputs, of which is said how many there are, then the filters of those that have one.
    fn from_arrays(
        arrays: Vec<ArrayRef>,
        keys: usize,
        aggregates: impl Iterator<Item = (usize, bool)>,
    ) -> Result<Self> {
        let mut arrays = arrays.into_iter();
        let keys = arrays.by_ref().take(keys).collect();
        let (inputs, filtered): (Vec<Vec<ArrayRef>>, Vec<bool>) = aggregates
            .map(|(inputs, is_filtered)| (arrays.by_ref().take(inputs).collect(), is_filtered))
            .unzip();
        let mut filters = Vec::with_capacity(filtered.len());
        for is_filtered in filtered {
            let array = if is_filtered { arrays.next() } else { None };
            filters.push(array.map(|array| as_boolean_array(&array).cloned()).transpose()?);
        }
        Ok(Self { keys, inputs, filters })
    }
}

/// The groups of one window and what is aggregated in them.
pub(crate) struct OpenWindow {
    start: i64,
    end: i64,
    pub(crate) first_offset: Offset,
    /// `None` where the window's bounds are the only keys: then there is one group.
    groups: Option<Box<dyn GroupValues>>,
    states: Vec<AggregateState>,
    /// Why the window has no result: an aggregate failed.
    failure: Option<String>,
    /// Where forecasts look into open windows: all that came in, because asking
    /// an accumulator for its result ends it.
    kept: Option<Kept>,
}

/// What came into a window, and what it amounts to so far.
#[derive(Default)]
struct Kept {
    /// Inputs with their number of rows.
    inputs: Vec<(AggregateInput, usize)>,
    /// The result, until another row comes.
    result: Option<Arc<AheadWindow>>,
}

impl OpenWindow {
    /// Returns a window without rows; `keeps` says whether it can be [peeked]
    /// into.
    ///
    /// [peeked]: Self::peek
    pub(crate) fn new(
        plan: &QueryPlan,
        start: i64,
        first_offset: Offset,
        keeps: bool,
    ) -> Result<Self> {
        let groups = match plan.key_schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(&plan.key_schema), &GroupOrdering::None)?),
        };
        let states = plan.aggregates.iter().map(|a| a.start()).collect::<Result<_>>()?;
        let end = plan.end_of(start);
        let kept = keeps.then(Kept::default);
        Ok(Self { start, end, first_offset, groups, states, failure: None, kept })
    }

    /// Adds `rows` rows, in offset order. A failing aggregate spoils the window,
    /// not the stream: the failure is reported when the window closes.
    pub(crate) fn add(&mut self, input: &AggregateInput, rows: usize, ids: &mut Vec<usize>) {
        if let Some(kept) = &mut self.kept {
            kept.inputs.push((input.clone(), rows));
            kept.result = None;
        }
        if self.failure.is_none()
            && let Err(error) = self.try_add(input, rows, ids)
        {
            self.failure = Some(stage::reason(&error));
        }
    }

    fn try_add(&mut self, input: &AggregateInput, rows: usize, ids: &mut Vec<usize>) -> Result<()> {
        ids.clear();
        let total = match &mut self.groups {
            Some(groups) => {
                groups.intern(&input.keys, ids)?;
                groups.len()
            }
            None => {
                ids.resize(rows, 0);
                1
            }
        };
        for ((state, inputs), filter) in
            self.states.iter_mut().zip(&input.inputs).zip(&input.filters)
        {
            state.update(inputs, ids, filter.as_ref(), total)?;
        }
        Ok(())
    }

    /// Returns the view's rows for this window as if it closed now, without
    /// touching what it aggregates.
    ///
    /// A group that fails has no row here; that is reported when the window
    /// closes, once.
    pub(crate) fn peek(&mut self, plan: &QueryPlan) -> Result<Arc<AheadWindow>> {
        let Some(kept) = &mut self.kept else {
            let rows = RecordBatch::new_empty(Arc::clone(&plan.output));
            return Ok(Arc::new(AheadWindow { start: EventTime::from_micros(self.start), rows }));
        };
        if let Some(result) = &kept.result {
            return Ok(Arc::clone(result));
        }
        kept.merge()?;
        let mut copy = Self::new(plan, self.start, self.first_offset, false)?;
        let mut ids = Vec::new();
        for (input, rows) in &kept.inputs {
            copy.add(input, *rows, &mut ids);
        }
        let (ClosedWindow { start, rows, .. }, _reported_later) = copy.close(plan)?;
        let result = Arc::new(AheadWindow { start, rows });
        kept.result = Some(Arc::clone(&result));
        Ok(result)
    }

    /// Returns the view's rows for this window, groups in order of appearance,
    /// and those groups that failed.
    pub(crate) fn close(self, plan: &QueryPlan) -> Result<(ClosedWindow, Vec<FailedGroup>)> {
        let closed = |rows| ClosedWindow {
            start: EventTime::from_micros(self.start),
            end: EventTime::from_micros(self.end),
            first_offset: self.first_offset,
            rows,
            ahead: Vec::new(),
        };
        let (start, end, first_offset) = (self.start, self.end, self.first_offset);
        let failed = |group, reason| FailedGroup {
            window_end: EventTime::from_micros(end),
            first_offset,
            group,
            reason,
        };
        let empty = RecordBatch::new_empty(Arc::clone(&plan.output));
        if let Some(reason) = self.failure {
            return Ok((closed(empty), vec![failed(None, reason)]));
        }
        let (grouped, beyond) = match grouped(plan, start, end, self.groups, self.states) {
            Ok(grouped) => grouped,
            Err(error) => {
                return Ok((closed(empty), vec![failed(None, stage::reason(&error))]));
            }
        };
        let mut failures: Vec<FailedGroup> = beyond
            .iter()
            .map(|(group, reason)| failed(Some(grouped.slice(*group, 1)), reason.clone()))
            .collect();
        let grouped = without(grouped, &beyond)?;
        let mut done = Vec::new();
        stage::run_apart(
            Selection::contiguous(grouped, 0),
            &mut |selection| stage::run(&plan.after, selection),
            &mut |selection| done.push(selection.rows),
            &mut |group, error| failures.push(failed(Some(group.rows), stage::reason(&error))),
        );
        let rows = concat_batches(&plan.output, &relabelled(plan, done)?)?;
        Ok((closed(rows), failures))
    }
}

impl Kept {
    /// Puts what came in pieces together: it will be gone through again.
    fn merge(&mut self) -> Result<()> {
        if self.inputs.len() < 2 {
            return Ok(());
        }
        let rows = self.inputs.iter().map(|(_, rows)| rows).sum();
        let parts: Vec<_> = self.inputs.iter().map(|(input, _)| input.clone()).collect();
        self.inputs =
            AggregateInput::concat(&parts)?.map(|whole| (whole, rows)).into_iter().collect();
        Ok(())
    }
}

/// Gives batches the view's schema, whose field names and types are theirs but
/// whose metadata may not be.
fn relabelled(plan: &QueryPlan, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let relabel = |batch: RecordBatch| {
        let rows = batch.num_rows();
        stage::batch(&plan.output, batch.columns().to_vec(), rows)
    };
    batches.into_iter().map(relabel).collect()
}

fn grouped(
    plan: &QueryPlan,
    start: i64,
    end: i64,
    groups: Option<Box<dyn GroupValues>>,
    states: Vec<AggregateState>,
) -> Result<(RecordBatch, Vec<Beyond>)> {
    let (count, keys) = match groups {
        Some(mut groups) => (groups.len(), groups.emit(EmitTo::All)?),
        None => (1, Vec::new()),
    };
    let mut own_keys = keys.into_iter();
    let bound =
        |micros| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(micros, count)) };
    let mut columns = Vec::with_capacity(plan.grouped.fields().len());
    for key in &plan.keys {
        match key {
            Key::WindowStart => columns.push(bound(start)),
            Key::WindowEnd => columns.push(bound(end)),
            Key::Expression(_) => columns.extend(own_keys.next()),
        }
    }
    let mut beyond: Vec<Beyond> = Vec::new();
    for state in states {
        let result = state.finish()?;
        let field = plan.grouped.fields().get(columns.len());
        columns.push(match field.filter(|field| field.data_type() != result.data_type()) {
            Some(field) => fitted(&result, field, &mut beyond)?,
            None => result,
        });
    }
    beyond.sort_by_key(|(group, _)| *group);
    beyond.dedup_by_key(|(group, _)| *group);
    Ok((stage::batch(&plan.grouped, columns, count)?, beyond))
}

/// A group whose result its column cannot hold, and what it was.
type Beyond = (usize, String);

/// Casts a result that was added up in more digits than its column has.
fn fitted(result: &ArrayRef, field: &Field, beyond: &mut Vec<Beyond>) -> Result<ArrayRef> {
    let column = cast(result, field.data_type())?;
    if column.null_count() > result.null_count() {
        let shown = ArrayFormatter::try_new(result, &FormatOptions::default())?;
        let lost = (0..column.len()).filter(|row| column.is_null(*row) && result.is_valid(*row));
        beyond.extend(lost.map(|row| {
            let reason = format!(
                "`{}` is {}, beyond what 64-bit whole numbers hold; add up CAST(… AS DOUBLE) instead",
                field.name(),
                shown.value(row)
            );
            (row, reason)
        }));
    }
    Ok(column)
}

/// Leaves groups out.
fn without(grouped: RecordBatch, beyond: &[Beyond]) -> Result<RecordBatch> {
    if beyond.is_empty() {
        return Ok(grouped);
    }
    let lost = |row: usize| beyond.iter().any(|(group, _)| *group == row);
    let kept: BooleanArray = (0..grouped.num_rows()).map(|row| Some(!lost(row))).collect();
    Ok(filter_record_batch(&grouped, &kept)?)
}
