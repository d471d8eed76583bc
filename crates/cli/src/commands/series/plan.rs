//! What is made of a file's rows before they are steps: times that stand for no time
//! are set aside, each series gets its steps, and series with the same steps go together.

use std::collections::BTreeMap;

use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Period, TimeGrid};

use super::rows::FileRows;
use super::steps::{self, Steps};

/// What was said of the steps.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::commands) struct SaidSteps {
    pub(in crate::commands) period: Option<Period>,
    pub(in crate::commands) zone: Option<Tz>,
}

/// Series with the same steps.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Group {
    pub(in crate::commands) steps: Steps,
    /// Their numbers, ascending.
    pub(in crate::commands) series: Vec<usize>,
}

/// The series of a file, laid out.
#[derive(Debug)]
pub(in crate::commands) struct SeriesPlan {
    /// By series: its rows in order of time, without those set aside.
    pub(in crate::commands) rows: Vec<Vec<usize>>,
    /// The largest first.
    pub(in crate::commands) groups: Vec<Group>,
    /// Rows whose time lies so far from all others of the series that it stands for
    /// none.
    pub(in crate::commands) set_aside: Vec<usize>,
}

/// A time as far off as this, and a thousand steps, from the rest is no time.
const FAR_OFF_MICROS: i64 = 20 * 365 * 86_400_000_000;
const FAR_OFF_STEPS: i64 = 1_000;

/// Phases of one length of step that are kept apart; with more, steps of all series
/// begin at full hours.
const MOST_PHASES: usize = 16;

/// Lays out the series of a file; `None` if no step was said and none can be found.
pub(in crate::commands) fn plan(rows: &FileRows, said: SaidSteps) -> Option<SeriesPlan> {
    let mut by_series = rows.by_series();
    let mut set_aside = Vec::new();
    let reach = reach_of(&by_series, rows);
    for of_series in &mut by_series {
        let times: Vec<EventTime> = of_series.iter().map(|row| rows.time(*row)).collect();
        let kept = kept(&times, reach);
        set_aside.extend(of_series.get(..kept.start).unwrap_or_default());
        set_aside.extend(of_series.get(kept.end..).unwrap_or_default());
        *of_series = of_series.get(kept).unwrap_or_default().to_vec();
    }
    let times = |series: &Vec<usize>| -> Vec<EventTime> {
        let observed = series.iter().filter(|row| rows.is_observed(**row));
        let mut times: Vec<EventTime> = observed.map(|row| rows.time(*row)).collect();
        times.dedup();
        times
    };
    let own: Vec<Option<Steps>> = by_series
        .iter()
        .map(|series| {
            let times = times(series);
            match said.period {
                Some(period) => Some(steps::aligned(period, &times, said.zone)),
                None => steps::infer(&times, said.zone),
            }
        })
        .collect();
    let groups = grouped(own)?;
    Some(SeriesPlan { rows: by_series, groups, set_aside })
}

/// Puts series with the same steps together. A series of one row has the steps of most.
fn grouped(mut own: Vec<Option<Steps>>) -> Option<Vec<Group>> {
    let mut phases: BTreeMap<String, Vec<Steps>> = BTreeMap::new();
    for steps in own.iter().flatten() {
        let of_length = phases.entry(steps.grid.period().to_string()).or_default();
        if !of_length.contains(steps) && of_length.len() <= MOST_PHASES {
            of_length.push(*steps);
        }
    }
    let together = |steps: &Steps| match steps.grid.period() {
        Period::Fixed(_) => phases
            .get(&steps.grid.period().to_string())
            .is_some_and(|phases| phases.len() > MOST_PHASES),
        _ => false,
    };
    for steps in own.iter_mut().flatten().filter(|steps| together(steps)) {
        let grid = TimeGrid::new(steps.grid.period(), 0, Tz::UTC);
        *steps = Steps { grid, early_micros: 0 };
    }
    let mut groups: Vec<Group> = Vec::new();
    let add = |groups: &mut Vec<Group>, steps: Steps, series: usize| match groups
        .iter_mut()
        .find(|group| group.steps == steps)
    {
        Some(group) => group.series.push(series),
        None => groups.push(Group { steps, series: vec![series] }),
    };
    for (series, steps) in own.iter().enumerate() {
        if let Some(steps) = steps {
            add(&mut groups, *steps, series);
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.series.len()));
    let most = groups.first()?.steps;
    for series in (0..own.len()).filter(|series| own.get(*series) == Some(&None)) {
        add(&mut groups, most, series);
    }
    groups.iter_mut().for_each(|group| group.series.sort_unstable());
    Some(groups)
}

/// Returns which of ascending times are those of a series: from one end as many are left
/// out as lie far off the rest. A series of a few rows is compared with `reach`, where
/// those of others lie.
fn kept(times: &[EventTime], reach: Option<(i64, i64)>) -> std::ops::Range<usize> {
    let micros = |index: usize| times.get(index).map_or(0, |time| time.as_micros());
    let mut range = 0..times.len();
    let mut apart: Vec<i64> =
        (1..times.len()).map(|index| micros(index).saturating_sub(micros(index - 1))).collect();
    let gaps = apart.clone();
    apart.retain(|distance| *distance > 0);
    apart.sort_unstable();
    let usual = apart.get(apart.len() / 2).copied().unwrap_or(0);
    let is_far = |gap: i64, steps: i64| gap >= FAR_OFF_MICROS && gap / usual.max(1) >= steps;
    // Few rows: a placeholder or two, not half of a series.
    let few = |count: usize| count <= 1 + times.len() / 20;
    if times.len() >= 3 {
        for (index, gap) in gaps.iter().enumerate() {
            if is_far(*gap, FAR_OFF_STEPS) && few(index + 1) {
                range.start = index + 1;
            }
            if is_far(*gap, FAR_OFF_STEPS) && few(times.len() - index - 1) {
                range.end = range.end.min(index + 1);
            }
        }
        return range;
    }
    let Some((from, until)) = reach else { return range };
    let is_off = |time: i64| {
        from.saturating_sub(time) >= FAR_OFF_MICROS || time.saturating_sub(until) >= FAR_OFF_MICROS
    };
    while range.start < range.end && is_off(micros(range.start)) {
        range.start += 1;
    }
    while range.start < range.end && is_off(micros(range.end - 1)) {
        range.end -= 1;
    }
    range
}

/// Returns from when to when the rows of the series with three rows and more are.
fn reach_of(by_series: &[Vec<usize>], rows: &FileRows) -> Option<(i64, i64)> {
    by_series
        .iter()
        .filter(|series| series.len() >= 3)
        .filter_map(|series| {
            let times: Vec<EventTime> = series.iter().map(|row| rows.time(*row)).collect();
            let times = times.get(kept(&times, None))?;
            Some((times.first()?.as_micros(), times.last()?.as_micros()))
        })
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
