//! One window that rows still come into.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use datafusion::arrow::compute::{concat_batches, take, take_arrays};
use datafusion::error::Result;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use tidecast_stream::{EventTime, Offset};

use super::aggregate::AggregateState;
use super::operator::{ClosedWindow, FailedGroup};
use super::query::{Key, QueryPlan};
use super::stage::{self, Selection};

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
        let inputs = self.inputs.iter().map(|inputs| Ok(take_arrays(inputs, rows, None)?));
        let filters = self.filters.iter().map(|filter| {
            let Some(filter) = filter else { return Ok(None) };
            let taken = take(filter, rows, None)?;
            Ok(Some(datafusion::common::cast::as_boolean_array(&taken)?.clone()))
        });
        Ok(Self {
            keys: take_arrays(&self.keys, rows, None)?,
            inputs: inputs.collect::<Result<_>>()?,
            filters: filters.collect::<Result<_>>()?,
        })
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
}

impl OpenWindow {
    pub(crate) fn new(plan: &QueryPlan, start: i64, first_offset: Offset) -> Result<Self> {
        let groups = match plan.key_schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(&plan.key_schema), &GroupOrdering::None)?),
        };
        let states = plan.aggregates.iter().map(|a| a.start()).collect::<Result<_>>()?;
        let end = start + plan.size_micros;
        Ok(Self { start, end, first_offset, groups, states, failure: None })
    }

    /// Adds `rows` rows, in offset order. A failing aggregate spoils the window,
    /// not the stream: the failure is reported when the window closes.
    pub(crate) fn add(&mut self, input: &AggregateInput, rows: usize, ids: &mut Vec<usize>) {
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

    /// Returns the view's rows for this window, groups in order of appearance,
    /// and those groups that failed.
    pub(crate) fn close(self, plan: &QueryPlan) -> Result<(ClosedWindow, Vec<FailedGroup>)> {
        let closed = |rows| ClosedWindow {
            start: EventTime::from_micros(self.start),
            end: EventTime::from_micros(self.end),
            first_offset: self.first_offset,
            rows,
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
        let grouped = match grouped(plan, start, end, self.groups, self.states) {
            Ok(grouped) => grouped,
            Err(error) => {
                return Ok((closed(empty), vec![failed(None, stage::reason(&error))]));
            }
        };
        let mut failures = Vec::new();
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
) -> Result<RecordBatch> {
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
    for state in states {
        columns.push(state.finish()?);
    }
    stage::batch(&plan.grouped, columns, count)
}
