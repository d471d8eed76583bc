//! The task that the flags describe: one file, one horizon.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use super::USUAL_CONTEXT;
use super::arguments::BacktestArguments;
use super::placement::{Placement, gift_windows};
use super::task::Task;
use crate::commands::counted;
use crate::commands::series::plan::SaidSteps;
use crate::commands::series::regular::usual_season;
use crate::commands::series::table::InputColumns;
use crate::commands::series::{SameSteps, Series, read};
use crate::print::note;

/// Reads the file and chooses what was not said; the choices are noted. Series with
/// different steps are a task each.
///
/// # Errors
/// If the file or an argument is wrong, or no series is long enough.
pub(super) fn tasks(arguments: &BacktestArguments) -> anyhow::Result<Vec<Task>> {
    let path = arguments.input.as_deref().context("--input is missing: name a file, or --suite")?;
    let horizon = arguments.horizon.context("--horizon is missing: the steps to forecast")?;
    let (time, target) = (arguments.time.as_ref(), arguments.target.as_ref());
    let columns = InputColumns::univariate(path, time, target, &arguments.series)?;
    let columns = InputColumns { timestamp_unit: arguments.timestamp_unit, ..columns };
    let said = SaidSteps { period: arguments.step, zone: arguments.time_zone };
    let (aggregate, fill) = (arguments.aggregate, arguments.fill);
    let found = read(columns, said, aggregate, fill, arguments.strict)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let several = found.len() > 1;
    let named = |same: &SameSteps| match several {
        true => format!("{name}, step {}", same.period),
        false => name.clone(),
    };
    found.into_iter().map(|same| task(arguments, horizon, named(&same), same)).collect()
}

fn task(
    arguments: &BacktestArguments,
    horizon: usize,
    name: String,
    same: SameSteps,
) -> anyhow::Result<Task> {
    let SameSteps { period, series } = same;
    let placement = placement(arguments, horizon, &series)?;
    let season = season(arguments, usual_season(period), placement, &series)?;
    Ok(Task {
        name,
        series,
        placement,
        season,
        context: arguments.context.unwrap_or(USUAL_CONTEXT),
        levels: arguments.quantiles.clone(),
        baselines: BTreeMap::new(),
    })
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
