//! A file's series, as the commands take them that work without Kafka.

pub(super) mod regular;
pub(super) mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tidecast_stream::EventTime;

use self::regular::regular;
use self::table::{BadRows, InputColumns, InputTable, infer_step};
use super::counted;
use crate::print::note;

/// A series of equidistant steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// NaN where a step is missing.
    pub(super) values: Vec<f64>,
}

/// How rows of one step become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StepAggregate {
    /// Their mean.
    Avg,
    /// Their sum.
    Sum,
}

/// Reads a file's series and makes them regular; returns the step, too, which is
/// found in the data if it was not said.
///
/// # Errors
/// If the file or a column is wrong, or no step can be found.
pub(super) fn read(
    columns: InputColumns<'_>,
    step: Option<Duration>,
    aggregate: StepAggregate,
) -> anyhow::Result<(Vec<Series>, Duration)> {
    let path = columns.path;
    let mut rows = BTreeMap::<Vec<String>, Vec<(EventTime, Option<f64>)>>::new();
    let bad = InputTable::open(columns)?.for_each_row(path, |row| {
        rows.entry(row.series)
            .or_default()
            .push((row.time, row.values.into_iter().next().flatten()));
    })?;
    warn_of(&bad);

    let step = match step {
        Some(step) if step.as_micros() == 0 => bail!("--step is too short: expected 1us or more"),
        Some(step) => step,
        None => infer_step(rows.values().map(|rows| observed_times(rows))).with_context(|| {
            let path = path.display();
            format!(
                "the step cannot be found: no series of `{path}` has rows at two times; give --step"
            )
        })?,
    };
    let count = rows.values().map(Vec::len).sum::<usize>();
    let series = rows
        .into_iter()
        .map(|(key, rows)| {
            let name = key.join("/");
            let values = regular(&name, &rows, step, aggregate)?;
            Ok(Series { name, values })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    note(format_args!(
        "{}, {}, step {}",
        counted(series.len(), "series", "series"),
        counted(count, "row", "rows"),
        humantime::format_duration(step)
    ));
    Ok((series, step))
}

fn warn_of(bad: &BadRows) {
    if let Some(first) = &bad.first {
        note(format_args!(
            "warning: {} could not be used; the first at {}: {}",
            counted(bad.count, "row", "rows"),
            first.position,
            first.error
        ));
    }
}

/// As `tidecast forecast` looks for the step: only where something was observed.
fn observed_times(rows: &[(EventTime, Option<f64>)]) -> Vec<EventTime> {
    let observed = rows.iter().filter(|(_, value)| value.is_some_and(f64::is_finite));
    let mut times: Vec<EventTime> = observed.map(|(time, _)| *time).collect();
    times.sort_unstable();
    times
}
