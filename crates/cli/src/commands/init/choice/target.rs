//! Which column is forecast, and what its values come to in a step.

use std::collections::{BTreeMap, BTreeSet};

use super::super::columns::{Column, Sample};
use super::series::is_named;
use super::words::{SERIES, SUMS, TARGETS, TIMES, likeness};

/// Values of a series from which on it can be told that it never falls.
const ENOUGH: usize = 10;

/// What the values of a step come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum OfStep {
    Mean,
    Sum,
    /// Of what only grows, as a meter's register does, and of which there is no sum.
    Largest,
}

impl OfStep {
    /// Returns the aggregate of SQL.
    pub(in super::super) fn function(self) -> &'static str {
        match self {
            Self::Mean => "avg",
            Self::Sum => "sum",
            Self::Largest => "max",
        }
    }
}

/// Returns the column to be forecast.
///
/// # Errors
/// If none is a number.
pub(super) fn target(
    sample: &Sample,
    is_time: &impl Fn(usize) -> bool,
    doubts: &mut Vec<String>,
) -> Result<usize, String> {
    let columns = sample.columns.iter().enumerate().filter(|(place, _)| !is_time(*place));
    let mut candidates: Vec<(usize, &Column)> = columns
        .filter(|(_, column)| {
            let is_id = column.words.last().is_some_and(|word| word == "id");
            let is_time = column.times().is_some() && likeness(column, &TIMES) > 0;
            column.numbers().is_some() && !is_id && !is_time
        })
        .collect();
    let varies = |column: &Column| {
        let numbers = column.numbers().unwrap_or_default();
        let distinct: BTreeSet<u64> =
            numbers.iter().flatten().map(|number| number.to_bits()).collect();
        distinct.len().min(10)
    };
    // A whole number that is called like a series tells which one, rather than how much.
    let is_name = |column: &Column| {
        likeness(column, &TARGETS) == 0 && likeness(column, &SERIES) > 0 && is_named(column)
    };
    candidates.sort_by_key(|(place, column)| {
        let fits = likeness(column, &TARGETS);
        let is_whole = usize::from(column.data_type.is_integer());
        (is_name(column), usize::MAX - fits, usize::MAX - varies(column), is_whole, *place)
    });
    let others = candidates.iter().skip(1).filter(|(_, column)| !is_name(column));
    let names = others.map(|(_, column)| format!("`{}`", column.name));
    let others: Vec<String> = names.take(12).collect();
    if !others.is_empty() {
        doubts.push(format!("what is forecast could also be {}", others.join(", ")));
    }
    match candidates.first() {
        Some((target, _)) => Ok(*target),
        None => Err("no field is a number, so there is nothing to forecast; count records in a \
                     view (`count(*)`) by hand"
            .to_owned()),
    }
}

/// Returns what the values of a step come to, of series with these names by row.
pub(super) fn of_step(
    target: &Column,
    names: &[String],
    times: &[Option<i64>],
    doubts: &mut Vec<String>,
) -> OfStep {
    let name = &target.name;
    if never_falls(target, names, times) {
        doubts.push(format!(
            "values of `{name}` never fall, as a running total does: a step has the largest; for \
             what was added in it write `max({name}) - min({name})`"
        ));
        return OfStep::Largest;
    }
    let of_step = if likeness(target, &SUMS) > 0 { OfStep::Sum } else { OfStep::Mean };
    let what = if of_step == OfStep::Sum { "added up" } else { "averaged" };
    doubts.push(format!("values of `{name}` within a step are {what}"));
    of_step
}

/// Whether in each series that can tell, values only grow as time goes on.
fn never_falls(target: &Column, names: &[String], times: &[Option<i64>]) -> bool {
    let mut by_series: BTreeMap<&String, Vec<(i64, f64)>> = BTreeMap::new();
    let numbers = target.numbers().unwrap_or_default();
    for ((name, time), number) in names.iter().zip(times).zip(numbers) {
        if let (Some(time), Some(number)) = (time, number) {
            by_series.entry(name).or_default().push((*time, number));
        }
    }
    let mut growing = 0;
    for values in by_series.values_mut().filter(|values| values.len() >= ENOUGH) {
        values.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        let next = values.iter().skip(1);
        if values.iter().zip(next).any(|(this, next)| next.1 < this.1) {
            return false;
        }
        let [(_, first), .., (_, last)] = values.as_slice() else { continue };
        growing += usize::from(last > first);
    }
    growing > 0
}
