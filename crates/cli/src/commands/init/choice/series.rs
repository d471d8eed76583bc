//! What names the series of a row.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;

use super::super::columns::{Column, Sample};
use super::time::unread;
use super::words::{SERIES, likeness};

/// What names the series of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum SeriesFrom {
    /// These columns.
    Columns(Vec<usize>),
    /// The record's key.
    Key,
    /// Nothing: all rows are of one.
    Nothing,
}

/// A column that may name series.
struct Candidate {
    place: usize,
    fits: usize,
    /// Of each row.
    names: Vec<String>,
}

/// Whether a column's values are names rather than measures: texts, or whole numbers that
/// never are between two.
pub(super) fn is_named(column: &Column) -> bool {
    let numbers = || column.numbers().unwrap_or_default();
    column.data_type == DataType::Utf8 || numbers().iter().flatten().all(|it| it.fract() == 0.0)
}

/// Returns what names the series, and the name of each row's.
pub(super) fn series(
    sample: &Sample,
    is_time: &impl Fn(usize) -> bool,
    target: usize,
    times: &[Option<i64>],
    doubts: &mut Vec<String>,
) -> (SeriesFrom, Vec<String>) {
    let rows = sample.rows();
    let candidates = candidates(sample, is_time, target);
    let Some(first) = candidates.first() else {
        let keys = sample.keys.iter().flatten().count();
        let names = named(&sample.keys);
        if keys * 10 >= rows * 9 && is_repeated(&names) {
            return (SeriesFrom::Key, names);
        }
        doubts.push("no field and no key names series: all records are of one".to_owned());
        return (SeriesFrom::Nothing, vec![String::new(); rows]);
    };
    let (mut places, mut chosen) = (vec![first.place], first.names.clone());
    // Where a series has several values at one time, another column may tell them apart: one
    // that is called so if it tells some apart, any other only if it tells all.
    for candidate in candidates.iter().skip(1) {
        let now = twice(&chosen, times);
        if !is_much(now, rows) {
            break;
        }
        let both: Vec<String> = chosen
            .iter()
            .zip(&candidate.names)
            .map(|(known, more)| format!("{known}\u{1f}{more}"))
            .collect();
        let then = twice(&both, times);
        if (candidate.fits > 0 && then * 2 < now) || !is_much(then, rows) {
            places.push(candidate.place);
            chosen = both;
        }
    }
    let left = twice(&chosen, times);
    if is_much(left, rows) {
        let share = 100 * left / rows.max(1);
        doubts.push(format!(
            "{share} of 100 rows are of a time that their series has another row of: something \
             else may tell series apart"
        ));
    }
    let others = candidates.iter().filter(|other| !places.contains(&other.place));
    let others = others.filter_map(|other| sample.columns.get(other.place));
    let others: Vec<String> = others.take(8).map(|it| format!("`{}`", it.name)).collect();
    if !others.is_empty() {
        doubts.push(format!("a series could also be named by {}", others.join(", ")));
    }
    places.sort_unstable();
    (SeriesFrom::Columns(places), chosen)
}

/// Returns the columns that may name series, the likelier first.
fn candidates(sample: &Sample, is_time: &impl Fn(usize) -> bool, target: usize) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (place, column) in sample.columns.iter().enumerate() {
        let fits = likeness(column, &SERIES);
        let is_text = column.data_type == DataType::Utf8;
        let is_name = is_text || (column.data_type.is_numeric() && fits > 0 && is_named(column));
        let is_other = place == target || is_time(place) || unread(column).is_some();
        if is_other || !is_name || column.share() < 0.95 {
            continue;
        }
        let names = named(&column.texts());
        if is_repeated(&names) {
            candidates.push(Candidate { place, fits, names });
        }
    }
    candidates.sort_by_key(|candidate| {
        let Candidate { place, fits, names } = candidate;
        (usize::MAX - fits, usize::MAX - distinct(names), *place)
    });
    candidates
}

fn named(texts: &[Option<String>]) -> Vec<String> {
    texts.iter().map(|text| text.clone().unwrap_or_default()).collect()
}

pub(super) fn distinct(names: &[String]) -> usize {
    names.iter().collect::<BTreeSet<_>>().len()
}

/// Whether a series has more than one value.
fn is_repeated(names: &[String]) -> bool {
    distinct(names) * 2 <= names.len().max(2)
}

/// Returns how many rows are of a time that their series has another row of.
fn twice(names: &[String], times: &[Option<i64>]) -> usize {
    let mut rows: BTreeMap<(&String, &i64), usize> = BTreeMap::new();
    for (name, time) in names.iter().zip(times) {
        if let Some(time) = time {
            *rows.entry((name, time)).or_default() += 1;
        }
    }
    rows.values().map(|count| count - 1).sum()
}

/// Whether so many rows are more than what is sent twice now and then.
fn is_much(rows: usize, of: usize) -> bool {
    rows * 20 > of
}
