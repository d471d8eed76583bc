//! Which columns are time, series and target, and how long a step is.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::{Column, Sample};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Steps that people have, as SQL writes them, and a horizon that suits.
const STEPS: [(i64, &str, usize); 13] = [
    (SECOND, "'1' SECOND", 60),
    (5 * SECOND, "'5' SECOND", 60),
    (10 * SECOND, "'10' SECOND", 60),
    (30 * SECOND, "'30' SECOND", 60),
    (MINUTE, "'1' MINUTE", 60),
    (5 * MINUTE, "'5' MINUTE", 48),
    (10 * MINUTE, "'10' MINUTE", 48),
    (15 * MINUTE, "'15' MINUTE", 96),
    (30 * MINUTE, "'30' MINUTE", 48),
    (HOUR, "'1' HOUR", 48),
    (6 * HOUR, "'6' HOUR", 28),
    (DAY, "'1' DAY", 28),
    (7 * DAY, "'7' DAY", 13),
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

/// Parts of the names that times have, the likelier first.
const TIME_NAMES: [&str; 12] = [
    "event_time",
    "eventtime",
    "timestamp",
    "datetime",
    "measured",
    "observed",
    "ts",
    "time",
    "date",
    "created",
    "at",
    "updated",
];

/// Parts of the names that series have.
const SERIES_NAMES: [&str; 26] = [
    "meter", "sensor", "device", "station", "site", "series", "location", "zone", "region",
    "store", "sku", "product", "item", "host", "instance", "machine", "asset", "plant", "symbol",
    "customer", "account", "metric", "channel", "key", "name", "id",
];

/// Parts of the names that values have.
const TARGET_NAMES: [&str; 28] = [
    "value",
    "reading",
    "kwh",
    "kw",
    "mw",
    "power",
    "load",
    "demand",
    "energy",
    "consumption",
    "temperature",
    "temp",
    "sales",
    "quantity",
    "qty",
    "units",
    "amount",
    "price",
    "usage",
    "cpu",
    "requests",
    "latency",
    "count",
    "total",
    "level",
    "flow",
    "pressure",
    "rate",
];

/// Parts of the names of values that are added up over a step.
const SUMS: [&str; 9] =
    ["sales", "quantity", "qty", "units", "amount", "kwh", "requests", "revenue", "orders"];

/// What tells the time of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimeFrom {
    /// A column.
    Column(usize),
    /// Kafka's time.
    Record,
}

/// What names the series of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SeriesFrom {
    /// These columns.
    Columns(Vec<usize>),
    /// The record's key.
    Key,
    /// Nothing: all rows are of one.
    Nothing,
}

/// What a pipeline for the topic may look like.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) time: TimeFrom,
    pub(super) series: SeriesFrom,
    /// The column that is forecast.
    pub(super) target: usize,
    /// Whether what is forecast adds up over a step.
    pub(super) is_sum: bool,
    /// The step as SQL writes it.
    pub(super) step: &'static str,
    pub(super) horizon: usize,
    /// The delay as SQL writes it.
    pub(super) delay: &'static str,
    /// How many series there are.
    pub(super) count: usize,
    /// What was guessed, in words.
    pub(super) doubts: Vec<String>,
}

/// How well a column's name fits: the place of the part of it that is known, from behind.
fn likeness(name: &str, known: &[&str]) -> usize {
    let parts: BTreeSet<&str> = name.split('_').collect();
    let fits = |known: &&str| parts.contains(known) || (known.len() > 3 && name.contains(*known));
    known.iter().position(fits).map_or(0, |place| known.len() - place)
}

impl Choice {
    /// Chooses among the columns of a sample.
    ///
    /// # Errors
    /// If none of them is a number.
    pub(super) fn of(sample: &Sample) -> Result<Self, String> {
        let mut doubts = Vec::new();
        let (time, times) = time(sample, &mut doubts);
        let is_time = |column: usize| time == TimeFrom::Column(column);
        let target = target(sample, &is_time, &mut doubts)?;
        let (series, names) = series(sample, &is_time, target, &times, &mut doubts);
        let count = names.iter().collect::<BTreeSet<_>>().len();
        let (step, horizon) = step(&names, &times, &mut doubts);
        let delay = delay(sample, &times);
        let name = sample.columns.get(target).map_or("", |column| column.name.as_str());
        let is_sum = likeness(name, &SUMS) > 0;
        let what = if is_sum { "added up" } else { "averaged" };
        doubts.push(format!("values of `{name}` within a step are {what}"));
        Ok(Self { time, series, target, is_sum, step, horizon, delay, count, doubts })
    }
}

/// Returns what the time is, and that of each row.
fn time(sample: &Sample, doubts: &mut Vec<String>) -> (TimeFrom, Vec<Option<i64>>) {
    let columns = sample.columns.iter().enumerate();
    let mut candidates: Vec<(usize, usize, &Column, Vec<Option<i64>>)> = columns
        .filter(|(_, column)| column.share() > 0.9)
        .filter_map(|(place, column)| {
            let times = column.times()?;
            let fits = likeness(&column.name, &TIME_NAMES);
            // Of a number its name has to say so, if it has one.
            let is_said = fits > 0 || column.name.starts_with("field_");
            (is_said || !column.data_type.is_numeric()).then_some((fits, place, column, times))
        })
        .collect();
    // Those that are times by type, then by name, then the first.
    candidates.sort_by_key(|(fits, place, column, _)| {
        (column.data_type.is_numeric(), usize::MAX - fits, *place)
    });
    if candidates.len() > 1 {
        let names = candidates.iter().map(|(_, _, column, _)| format!("`{}`", column.name));
        doubts.push(format!("the event time is one of {}", names.collect::<Vec<_>>().join(", ")));
    }
    match candidates.into_iter().next() {
        Some((_, place, _, times)) => (TimeFrom::Column(place), times),
        None => {
            doubts.push("no field is a time: the event time is the record's own".to_owned());
            (TimeFrom::Record, sample.timestamps.clone())
        }
    }
}

/// Returns the column to be forecast.
fn target(
    sample: &Sample,
    is_time: &impl Fn(usize) -> bool,
    doubts: &mut Vec<String>,
) -> Result<usize, String> {
    let columns = sample.columns.iter().enumerate().filter(|(place, _)| !is_time(*place));
    let mut candidates: Vec<(usize, &Column)> = columns
        .filter(|(_, column)| {
            let is_id = column.name == "id" || column.name.ends_with("_id");
            let is_time = column.times().is_some() && likeness(&column.name, &TIME_NAMES) > 0;
            column.numbers().is_some() && !is_id && !is_time
        })
        .collect();
    let varies = |column: &Column| {
        let numbers = column.numbers().unwrap_or_default();
        let distinct: BTreeSet<u64> =
            numbers.iter().flatten().map(|number| number.to_bits()).collect();
        distinct.len().min(10)
    };
    candidates.sort_by_key(|(place, column)| {
        let fits = likeness(&column.name, &TARGET_NAMES);
        let is_whole = usize::from(column.data_type.is_integer());
        (usize::MAX - fits, usize::MAX - varies(column), is_whole, *place)
    });
    let names = candidates.iter().skip(1).map(|(_, column)| format!("`{}`", column.name));
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

/// Returns what names the series, and the name of each row's.
fn series(
    sample: &Sample,
    is_time: &impl Fn(usize) -> bool,
    target: usize,
    times: &[Option<i64>],
    doubts: &mut Vec<String>,
) -> (SeriesFrom, Vec<String>) {
    let rows = sample.rows();
    let names = |texts: &[Option<String>]| -> Vec<String> {
        texts.iter().map(|text| text.clone().unwrap_or_default()).collect()
    };
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    let mut candidates: Vec<(usize, usize, Vec<String>)> = Vec::new();
    for (place, column) in sample.columns.iter().enumerate() {
        let is_name = column.data_type == arrow::datatypes::DataType::Utf8
            || (column.data_type.is_integer() && likeness(&column.name, &SERIES_NAMES) > 0);
        if place == target || is_time(place) || !is_name || column.share() < 0.95 {
            continue;
        }
        let names = names(&column.texts());
        // A series has more than one value.
        if distinct(&names) * 2 <= rows.max(2) {
            candidates.push((likeness(&column.name, &SERIES_NAMES), place, names));
        }
    }
    candidates.sort_by_key(|(fits, place, names)| {
        (usize::MAX - fits, usize::MAX - distinct(names), *place)
    });
    let repeated = |names: &[String]| {
        let mut seen = BTreeSet::new();
        let rows = names.iter().zip(times).filter(|(_, time)| time.is_some());
        rows.filter(|row| !seen.insert(*row)).count()
    };
    let Some((_, first, mut chosen)) = candidates.first().cloned() else {
        let keys = sample.keys.iter().flatten().count();
        let names = names(&sample.keys);
        if keys * 10 >= rows * 9 && distinct(&names) * 2 <= rows.max(2) {
            return (SeriesFrom::Key, names);
        }
        doubts.push("no field and no key names series: all records are of one".to_owned());
        return (SeriesFrom::Nothing, vec![String::new(); rows]);
    };
    let mut places = vec![first];
    // Where a series has several values at one time, another column may tell them apart.
    for (fits, place, names) in candidates.iter().skip(1) {
        let now = repeated(&chosen);
        if now * 20 <= rows {
            break;
        }
        let both: Vec<String> =
            chosen.iter().zip(names).map(|(a, b)| format!("{a}\u{1f}{b}")).collect();
        if *fits > 0 && repeated(&both) * 2 < now {
            places.push(*place);
            chosen = both;
        }
    }
    if candidates.len() > places.len() {
        let others = candidates.iter().filter(|(_, place, _)| !places.contains(place));
        let others = others.filter_map(|(_, place, _)| sample.columns.get(*place));
        let others: Vec<String> = others.take(8).map(|it| format!("`{}`", it.name)).collect();
        doubts.push(format!("a series could also be named by {}", others.join(", ")));
    }
    places.sort_unstable();
    (SeriesFrom::Columns(places), chosen)
}

/// Returns the step that suits the distance of values, and a horizon.
fn step(
    names: &[String],
    times: &[Option<i64>],
    doubts: &mut Vec<String>,
) -> (&'static str, usize) {
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
    let (_, fallback, horizon) = STEPS[4];
    let Some(median) = distances.get(distances.len() / 2).copied() else {
        doubts.push("no series has two values: the step is a minute".to_owned());
        return (fallback, horizon);
    };
    let fitting = STEPS.iter().find(|(length, _, _)| *length * 10 >= median * 9);
    let (_, text, horizon) = fitting.or(STEPS.last()).copied().unwrap_or(STEPS[4]);
    let seconds = median as f64 / SECOND as f64;
    doubts.push(format!(
        "values of a series are {seconds} s apart (the median), so a step is {}",
        text.replace('\'', "")
    ));
    (text, horizon)
}

/// Returns the delay within which all of the sample's rows came.
fn delay(sample: &Sample, times: &[Option<i64>]) -> &'static str {
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
