//! The task that the flags describe: one file, one horizon.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use tidecast_stream::EventTime;

use super::arguments::{BacktestArguments, StepAggregate};
use super::placement::{Placement, gift_windows};
use super::regular::{regular, usual_season};
use super::task::{Series, Task};
use super::{USUAL_CONTEXT, counted};
use crate::commands::forecast::table::{BadRows, InputColumns, InputTable, infer_step};
use crate::print::note;

/// Reads the file and chooses what was not said; the choices are noted.
///
/// # Errors
/// If the file or an argument is wrong, or no series is long enough.
pub(super) fn task(arguments: &BacktestArguments) -> anyhow::Result<Task> {
    let path = arguments.input.as_deref().context("--input is missing: name a file, or --suite")?;
    let horizon = arguments.horizon.context("--horizon is missing: the steps to forecast")?;
    let columns = InputColumns {
        path,
        time: arguments.time.as_deref().context("--time is missing: the column with the time")?,
        targets: std::slice::from_ref(
            arguments.target.as_ref().context("--target is missing: what to forecast")?,
        ),
        past_covariates: &[],
        future_covariates: &[],
        series: &arguments.series,
    };
    let (series, step) = read(columns, arguments.step, arguments.aggregate)?;
    let placement = placement(arguments, horizon, &series)?;
    let season = season(arguments, usual_season(step), placement, &series)?;
    Ok(Task {
        name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        series,
        placement,
        season,
        context: arguments.context.unwrap_or(USUAL_CONTEXT),
        levels: arguments.quantiles.clone(),
        baselines: BTreeMap::new(),
    })
}

/// Reads a file's series and makes them regular; returns the step, too, which is
/// found in the data if it was not said.
///
/// # Errors
/// If the file or a column is wrong, or no step can be found.
pub(in crate::commands) fn read(
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

fn placement(
    arguments: &BacktestArguments,
    horizon: usize,
    series: &[Series],
) -> anyhow::Result<Placement> {
    let lengths = || series.iter().map(|series| series.values.len());
    let longest = lengths().max().unwrap_or(0);
    let Some(shortest) = lengths().filter(|length| *length > horizon).min() else {
        bail!(
            "no series is long enough for one window: the longest has {}, a window needs {} (--horizon {horizon} and a step before); give a shorter --horizon",
            counted(longest, "step", "steps"),
            horizon.saturating_add(1)
        );
    };
    let windows = arguments.windows.unwrap_or_else(|| gift_windows(shortest, horizon));
    let placement = Placement { horizon, stride: arguments.stride.unwrap_or(horizon), windows };
    let left_out: usize = lengths().map(|length| placement.left_out(length)).sum();
    let chosen = match arguments.windows {
        Some(_) => String::new(),
        None => format!(", a tenth of the shortest series' {shortest} steps"),
    };
    note(format_args!(
        "{} a series{chosen}, horizon {horizon}, stride {}",
        counted(windows, "window", "windows"),
        placement.stride
    ));
    if left_out > 0 {
        let short = lengths().filter(|length| placement.left_out(*length) > 0).count();
        note(format_args!(
            "warning: {} of {} left out: too short for them",
            counted(left_out, "window", "windows"),
            counted(short, "series", "series")
        ));
    }
    Ok(placement)
}

fn season(
    arguments: &BacktestArguments,
    usual: Option<(usize, &str)>,
    placement: Placement,
    series: &[Series],
) -> anyhow::Result<usize> {
    let last_origins = series.iter().filter_map(|s| placement.origins(s.values.len()).last());
    let longest_past = last_origins.max().unwrap_or(0);
    let season = match (arguments.season, usual) {
        (Some(season), _) if season >= longest_past => bail!(
            "--season {season} is too long: the longest past before a window has {}, and seasonal differences need more than a season",
            counted(longest_past, "step", "steps")
        ),
        (Some(season), _) => season,
        (None, Some((season, name))) if season < longest_past => {
            note(format_args!("season {season}, {name}; --season says otherwise"));
            season
        }
        (None, _) => {
            note(format_args!(
                "season 1: the yardstick repeats the last value; --season says otherwise"
            ));
            1
        }
    };
    Ok(season)
}
