//! How long a step is, and within which delay rows come.

use std::collections::{BTreeMap, BTreeSet};

use super::super::columns::Sample;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A step that people have.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Step {
    micros: i64,
    /// As SQL writes it.
    pub(in super::super) text: &'static str,
    /// Steps that a forecast of it suitably has.
    pub(in super::super) horizon: usize,
}

const fn of(micros: i64, text: &'static str, horizon: usize) -> Step {
    Step { micros, text, horizon }
}

const A_MINUTE: Step = of(MINUTE, "'1' MINUTE", 60);
/// Of 28 to 31 days.
const A_MONTH: Step = of(31 * DAY, "'1' MONTH", 12);

const STEPS: [Step; 17] = [
    of(SECOND, "'1' SECOND", 60),
    of(5 * SECOND, "'5' SECOND", 60),
    of(10 * SECOND, "'10' SECOND", 60),
    of(15 * SECOND, "'15' SECOND", 60),
    of(30 * SECOND, "'30' SECOND", 60),
    A_MINUTE,
    of(2 * MINUTE, "'2' MINUTE", 60),
    of(5 * MINUTE, "'5' MINUTE", 48),
    of(10 * MINUTE, "'10' MINUTE", 48),
    of(15 * MINUTE, "'15' MINUTE", 96),
    of(30 * MINUTE, "'30' MINUTE", 48),
    of(HOUR, "'1' HOUR", 48),
    of(3 * HOUR, "'3' HOUR", 56),
    of(6 * HOUR, "'6' HOUR", 28),
    of(DAY, "'1' DAY", 28),
    of(7 * DAY, "'7' DAY", 13),
    A_MONTH,
];

/// Delays, as SQL writes them.
const DELAYS: [(i64, &str); 9] = [
    (0, "'0' SECOND"),
    (SECOND, "'1' SECOND"),
    (10 * SECOND, "'10' SECOND"),
    (MINUTE, "'1' MINUTE"),
    (5 * MINUTE, "'5' MINUTE"),
    (15 * MINUTE, "'15' MINUTE"),
    (HOUR, "'1' HOUR"),
    (6 * HOUR, "'6' HOUR"),
    (DAY, "'1' DAY"),
];

/// Returns the step that suits the distance of values.
pub(super) fn step(names: &[String], times: &[Option<i64>], doubts: &mut Vec<String>) -> Step {
    let mut by_series: BTreeMap<&String, BTreeSet<i64>> = BTreeMap::new();
    for (name, time) in names.iter().zip(times) {
        by_series.entry(name).or_default().extend(time);
    }
    let mut distances: Vec<i64> = Vec::new();
    for times in by_series.values() {
        let next = times.iter().skip(1);
        distances.extend(times.iter().zip(next).map(|(this, next)| next - this));
    }
    distances.sort_unstable();
    let Some(median) = distances.get(distances.len() / 2).copied() else {
        doubts.push("no series has two values: the step is a minute".to_owned());
        return A_MINUTE;
    };
    let fitting = STEPS.into_iter().find(|step| step.micros * 10 >= median * 9);
    let step = fitting.unwrap_or(A_MONTH);
    let seconds = median as f64 / SECOND as f64;
    doubts.push(format!(
        "values of a series are {seconds} s apart (the median), so a step is {}",
        step.text.replace('\'', "")
    ));
    if median > 2 * A_MONTH.micros {
        doubts.push("a step in which a series has no value is missing".to_owned());
    }
    step
}

/// Returns the delay within which all of the sample's rows came.
pub(super) fn delay(sample: &Sample, times: &[Option<i64>]) -> &'static str {
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut latest = 0;
    for (partition, time) in sample.partitions.iter().zip(times) {
        let Some(time) = time else { continue };
        let newest = newest.entry(*partition).or_insert(*time);
        latest = latest.max(*newest - time);
        *newest = (*newest).max(*time);
    }
    let fitting = DELAYS.iter().find(|(length, _)| *length >= latest);
    fitting.or(DELAYS.last()).map_or("'0' SECOND", |(_, text)| text)
}
