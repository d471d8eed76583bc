//! From series laid out in steps to the rows that each group's pipeline reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidecast_stream::EventTime;

use super::source::GroupRows;
use crate::arguments::ForecastArguments;
use crate::commands::counted;
use crate::commands::series::edges::whole_steps;
use crate::commands::series::plan::{Group, SeriesPlan};
use crate::commands::series::rows::FileRows;
use crate::commands::series::said::NAMED;
use crate::print::note;

/// Things to be said of some series: how many, and the first of them.
#[derive(Debug, Default)]
struct Named {
    count: usize,
    first: Vec<String>,
}

impl Named {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(text());
        }
    }

    fn named(&self) -> String {
        let more = match self.count.saturating_sub(self.first.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}", self.first.join(", "))
    }
}

/// What was left out of the groups' rows.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Series with rows behind their last value.
    trailing: Named,
    /// Series with a step at an end that is covered in part.
    partly: Named,
    /// Series of which no step is covered as a whole.
    pub(super) without_whole_step: BTreeSet<usize>,
    /// Steps of sums without a row, and all steps.
    empty_steps: (usize, usize),
}

/// Returns the rows of a group.
pub(super) fn rows_of(
    rows: &Arc<FileRows>,
    plan: &SeriesPlan,
    group: &Group,
    arguments: &ForecastArguments,
    left_out: &mut LeftOut,
) -> GroupRows {
    let keeps_ahead = !arguments.future_covariates.is_empty();
    let is_total = is_total(&arguments.aggregate);
    let mut order = Vec::new();
    for &series in &group.series {
        let own = plan.rows.get(series).map(Vec::as_slice).unwrap_or_default();
        let name = || rows.key_of(series, &arguments.series).label();
        let mut kept = 0..own.len();
        if !keeps_ahead && let Some(last) = own.iter().rposition(|row| rows.is_observed(*row)) {
            if last + 1 < own.len() {
                let at = own.get(last).map_or(EventTime::MIN, |row| rows.time(*row));
                left_out.trailing.add(|| format!("{} behind {at}", quoted(&name())));
            }
            kept.end = last + 1;
        }
        if is_total {
            let observed = own.get(kept.clone()).unwrap_or_default();
            let (whole, partly) = whole_steps(rows, observed, group.steps);
            for part in partly {
                left_out.partly.add(|| format!("{} at {}", quoted(&name()), part.step));
            }
            if whole.is_empty() && !observed.is_empty() {
                left_out.without_whole_step.insert(series);
            }
            kept = whole;
        }
        let own = own.get(kept).unwrap_or_default();
        let first = order.len();
        order.extend(own.iter().filter_map(|row| {
            let time = group.steps.time_of(rows.time(*row))?;
            Some((time.as_micros(), *row))
        }));
        if is_total {
            let steps = order.get(first..).unwrap_or_default();
            left_out.count_steps(steps, group);
        }
    }
    if !order.is_sorted_by_key(|(time, _)| *time) {
        order.sort_by_key(|(time, _)| *time);
    }
    GroupRows { rows: Arc::clone(rows), order, series_columns: arguments.series.len() }
}

/// Whether an aggregate grows with the part of a step that is covered.
fn is_total(aggregate: &str) -> bool {
    matches!(aggregate.to_lowercase().as_str(), "sum" | "count")
}

/// A series' label, or the word for the only one of a file.
fn quoted(label: &str) -> String {
    match label {
        "" => "the series".to_owned(),
        label => format!("`{label}`"),
    }
}

impl LeftOut {
    /// Counts the steps of a series with and without rows, from its first to its last.
    fn count_steps(&mut self, order: &[(i64, usize)], group: &Group) {
        let number =
            |(time, _): &(i64, usize)| group.steps.grid.number(EventTime::from_micros(*time));
        let (Some(first), Some(last)) = (order.first(), order.last()) else { return };
        let all = usize::try_from(number(last) - number(first) + 1).unwrap_or(0);
        let with_rows = order.chunk_by(|a, b| a.0 == b.0).count();
        self.empty_steps.0 += all.saturating_sub(with_rows);
        self.empty_steps.1 += all;
    }

    /// Says what was left out, and what may be meant otherwise.
    pub(super) fn note(&self, arguments: &ForecastArguments) {
        if self.trailing.count > 0 {
            note(format_args!(
                "{} rows behind the last value; forecasts begin there: {}",
                has_or_have(self.trailing.count),
                self.trailing.named()
            ));
        }
        if self.partly.count > 0 {
            note(format_args!(
                "{}, of which the file has a part only, left out of the {}: {}",
                counted(self.partly.count, "step", "steps"),
                match arguments.aggregate.to_lowercase().as_str() {
                    "count" => "counts",
                    _ => "sums",
                },
                self.partly.named()
            ));
        }
        let (empty, all) = self.empty_steps;
        let is_sum = arguments.aggregate.eq_ignore_ascii_case("sum");
        if is_sum && arguments.fill.is_none() && empty * 2 > all {
            note(format_args!(
                "warning: {empty} of {all} steps have no row, and a sum without rows is taken for \
                 missing, not for 0: if nothing happened then, say --fill zero (or --fill null, to \
                 hear no more of it)"
            ));
        }
    }
}

fn has_or_have(count: usize) -> String {
    match count {
        1 => "1 series has".to_owned(),
        count => format!("{count} series have"),
    }
}
