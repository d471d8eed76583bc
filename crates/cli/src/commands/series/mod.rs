//! A file's series, as the commands take them that work without Kafka.

pub(super) mod edges;
pub(super) mod plan;
pub(super) mod regular;
pub(super) mod rows;
pub(super) mod said;
pub(super) mod steps;
pub(super) mod table;

use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tidecast_stream::Period;

use self::edges::whole_steps;
use self::plan::{SaidSteps, SeriesPlan, plan};
use self::regular::regular;
use self::rows::FileRows;
use self::table::{InputColumns, InputTable};
use super::counted;
use crate::print::note;

/// A series of adjacent steps.
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
    /// How many there are.
    Count,
}

/// What a step without a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fill {
    /// Missing; of a count 0.
    Null,
    /// 0: nothing happened.
    Zero,
}

/// Series whose steps have one length.
#[derive(Debug)]
pub(super) struct SameSteps {
    pub(super) period: Period,
    pub(super) series: Vec<Series>,
}

/// Reads a file's series and makes them regular, those of one step together; steps are
/// found in the data if none was said.
///
/// # Errors
/// If the file or a column is wrong, or no step can be found.
pub(super) fn read(
    columns: InputColumns<'_>,
    said: SaidSteps,
    aggregate: StepAggregate,
    fill: Option<Fill>,
    strict: bool,
) -> anyhow::Result<Vec<SameSteps>> {
    let names = columns.series;
    let (rows, plan) = read_rows(&InputTable::open(columns)?, columns.path, said, names, strict)?;
    let is_zero = aggregate == StepAggregate::Count || fill == Some(Fill::Zero);
    let mut found: Vec<SameSteps> = Vec::new();
    let mut partly_covered_steps = 0;
    for group in &plan.groups {
        for &series in &group.series {
            let name = rows.key_of(series, names).label();
            let own = plan.rows.get(series).map(Vec::as_slice).unwrap_or_default();
            // As in `forecast`: half an hour's sum is no hour's.
            let whole = match aggregate {
                StepAggregate::Avg => 0..own.len(),
                StepAggregate::Sum | StepAggregate::Count => {
                    let (whole, partly) = whole_steps(&rows, own, group.steps);
                    partly_covered_steps += partly.len();
                    whole
                }
            };
            let own = own.get(whole).unwrap_or_default();
            let mut values = regular(&name, &rows, own, group.steps, aggregate)?;
            if is_zero {
                values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
            }
            let period = group.steps.grid.period();
            let series = Series { name, values };
            match found.iter_mut().find(|same| same.period == period) {
                Some(same) => same.series.push(series),
                None => found.push(SameSteps { period, series: vec![series] }),
            }
        }
    }
    if partly_covered_steps > 0 {
        note(format_args!(
            "{}, of which the file has a part only, left out",
            counted(partly_covered_steps, "step", "steps")
        ));
    }
    found.iter_mut().for_each(|same| same.series.sort_by(|a, b| a.name.cmp(&b.name)));
    Ok(found)
}

/// Reads a file, lays its series out and says what was found.
///
/// # Errors
/// If the file is wrong, no step can be found, or `strict` and some row cannot be used.
pub(super) fn read_rows(
    table: &InputTable,
    path: &Path,
    steps: SaidSteps,
    names: &[String],
    strict: bool,
) -> anyhow::Result<(FileRows, SeriesPlan)> {
    let rows = table.read(path)?;
    let plan = plan(&rows, steps).with_context(|| {
        let path = path.display();
        format!(
            "the step cannot be found: no series of `{path}` has rows at two times; give --step"
        )
    })?;
    let too_fine = |group: &&plan::Group| {
        group.steps.grid.fixed_micros().is_some_and(|micros| micros % 1_000 != 0)
    };
    if let Some(group) = plan.groups.iter().find(too_fine) {
        bail!(
            "a step of {} is no whole number of milliseconds, expected one; give a longer --step",
            group.steps.grid
        );
    }
    said::what_was_read(&rows, &plan, steps);
    said::what_was_not(&rows, &plan, names, strict)?;
    Ok((rows, plan))
}
