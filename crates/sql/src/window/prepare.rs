//! Rows on their way to the aggregation.

use std::sync::Arc;

use arrow::array::{BooleanArray, TimestampMicrosecondArray, UInt32Array};
use datafusion_common::cast::as_boolean_array;
use datafusion_common::error::Result;

use super::clock::Times;
use super::condition::WatermarkCondition;
use super::open::AggregateInput;
use super::output::RejectedRow;
use super::query::{Key, QueryPlan};
use super::stage::{self, Selection};

/// Takes the truth from rejected rows.
pub(super) fn exclude(usable: &mut [bool], rejected: &[RejectedRow]) {
    for rejected in rejected {
        if let Some(usable) = usable.get_mut(rejected.row) {
            *usable = false;
        }
    }
}

/// Says in `moves` which rows move the watermark, and returns the rows that it
/// could be said of; the others are rejected.
pub(super) fn evaluate(
    condition: &WatermarkCondition,
    selection: Selection,
    moves: &mut [bool],
    rejected: &mut Vec<RejectedRow>,
) -> Result<Selection> {
    fn set(rows: &mut [bool], row: u32, value: bool) {
        if let Some(place) = rows.get_mut(row as usize) {
            *place = value;
        }
    }
    let mut judged = vec![false; moves.len()];
    stage::run_apart(
        selection.clone(),
        &mut |selection| Ok((condition.evaluate(&selection)?, selection.origin)),
        &mut |(mask, origin)| {
            for (row, is_true) in origin.values().iter().zip(mask.values()) {
                set(&mut judged, *row, true);
                set(moves, *row, is_true);
            }
        },
        &mut |row, error| {
            let reason = stage::reason(&error);
            rejected.push(RejectedRow { row: row.origin.value(0) as usize, reason });
        },
    );
    let kept = selection.origin.values().iter();
    let kept: BooleanArray =
        kept.map(|row| Some(judged.get(*row as usize) == Some(&true))).collect();
    selection.filter(&kept)
}

/// Runs rows up to the aggregation.
pub(super) fn prepare(
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
    let mut last = (i64::MIN, i64::MIN);
    let ends = starts.iter().map(|start| {
        if last.0 != *start {
            last = (*start, plan.end_of(*start));
        }
        last.1
    });
    let ends = ends.collect::<Vec<_>>();
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
