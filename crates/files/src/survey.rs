//! How a file's columns are written: by its first rows and, where one can go to
//! any place of it, some from all over it.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat, max, min};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use tidecast_formats::is_missing;
use tidecast_formats::time::{AbsurdTimes, TimeRule};
use tidecast_stream::FileFormat;

use crate::conform::{ColumnRule, unpacked};
use crate::error::FileError;
use crate::numbers::{Decimal, Decision, Evidence, NumberStyle};
use crate::read::{self, CsvReader, Delimiter, RawBatch, Reader};
use crate::source::FileSourceConfig;

/// Rows looked at.
pub(crate) const SAMPLE_ROWS: usize = 10_000;
/// Values looked at in a file of many columns.
const SAMPLE_VALUES: usize = 2_000_000;

/// A sample of a CSV file: all its columns as text.
pub(crate) struct CsvSurvey {
    /// The header.
    pub(crate) names: Vec<String>,
    /// By column, what it holds; null where empty.
    pub(crate) columns: Vec<ArrayRef>,
    /// By column, how its numbers are written.
    pub(crate) styles: Vec<NumberStyle>,
    /// By column, whether all its values are numbers.
    pub(crate) is_numeric: Vec<bool>,
    /// Rows looked at that are records.
    pub(crate) good_rows: usize,
    /// Those that are none, and why the first is none.
    pub(crate) bad_rows: usize,
    pub(crate) first_bad: Option<String>,
    /// What separates its fields.
    delimiter: Delimiter,
    /// By column, what to say of how its numbers are written.
    doubts: Vec<Option<String>>,
    has_marks: Vec<bool>,
    /// Whether its first line is values.
    pub(crate) has_no_header: bool,
}

impl CsvSurvey {
    pub(crate) fn of(path: &Path) -> Result<Self, FileError> {
        let mut reader = CsvReader::open_all(path)?;
        let (names, delimiter) = (reader.names().to_vec(), reader.delimiter());
        let has_no_header = reader.has_no_header();
        let rows = SAMPLE_ROWS.min(SAMPLE_VALUES / names.len().max(1)).max(100);
        let sample = reader.next(rows)?;
        let (columns, bad, good_rows) = match sample {
            Some(RawBatch { columns, bad, offsets, .. }) => (columns, bad, offsets.len()),
            None => (Vec::new(), Vec::new(), 0),
        };
        let columns: Vec<ArrayRef> = columns
            .into_iter()
            .zip(reader.spread())
            .map(|(head, rest)| concat(&[&*head, &*rest]))
            .collect::<Result<_, _>>()?;
        let evidence: Vec<Evidence> = columns.iter().map(evidence).collect();
        let of_file = majority(&evidence);
        let decisions: Vec<Decision> = evidence
            .iter()
            .map(|evidence| evidence.decide(of_file, Some(delimiter.byte)))
            .collect();
        Ok(Self {
            names,
            columns,
            styles: decisions.iter().map(|decision| decision.style).collect(),
            is_numeric: evidence.iter().map(Evidence::is_all_numbers).collect(),
            good_rows,
            bad_rows: bad.len(),
            first_bad: bad.into_iter().next().map(|(_, _, reason)| reason),
            delimiter,
            has_marks: evidence.iter().map(Evidence::has_marks).collect(),
            doubts: decisions.into_iter().map(|decision| decision.doubt).collect(),
            has_no_header,
        })
    }

    /// Returns what is out of the ordinary in how the file, and those of its
    /// columns that are numbers, are written.
    pub(crate) fn dialect(&self, is_number: impl Fn(usize, &str) -> bool) -> Option<String> {
        let mut said: Vec<String> = Vec::new();
        if self.delimiter.byte != b',' {
            said.push(self.delimiter.to_string());
        }
        let mut by_style: Vec<(NumberStyle, Vec<&str>)> = Vec::new();
        let mut doubts = Vec::new();
        let columns = self.names.iter().zip(&self.styles).zip(&self.has_marks).zip(&self.doubts);
        for (index, (((name, style), has_marks), doubt)) in columns.enumerate() {
            if !is_number(index, name) {
                continue;
            }
            if !style.is_plain() && *has_marks {
                match by_style.iter_mut().find(|(known, _)| known == style) {
                    Some((_, names)) => names.push(name),
                    None => by_style.push((*style, vec![name])),
                }
            }
            doubts.extend(doubt.iter().map(|doubt| format!("`{name}`: {doubt}")));
        }
        said.extend(
            by_style.into_iter().map(|(style, names)| format!("{} with {style}", listed(&names))),
        );
        said.extend(doubts);
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn rule(&self, field: &Field) -> ColumnRule {
        let position = self.names.iter().position(|name| name == field.name());
        let of = |index: usize| ColumnRule {
            numbers: self.styles.get(index).copied().unwrap_or_default(),
            times: match (field.data_type(), self.columns.get(index)) {
                (DataType::Timestamp(..), Some(column)) => time_rule(column),
                _ => TimeRule::default(),
            },
        };
        position.map(of).unwrap_or_default()
    }
}

/// Names for a message: not all of many.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 3;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The decimal sign that most columns show.
fn majority(columns: &[Evidence]) -> Option<Decimal> {
    let shown = |decimal| columns.iter().filter(|column| column.decimal() == Some(decimal)).count();
    match (shown(Decimal::Point), shown(Decimal::Comma)) {
        (0, 0) => None,
        (points, commas) if points >= commas => Some(Decimal::Point),
        _ => Some(Decimal::Comma),
    }
}

fn evidence(column: &ArrayRef) -> Evidence {
    let mut evidence = Evidence::default();
    let texts = column.as_string::<i32>().iter().flatten();
    texts.filter(|text| !is_missing(text)).for_each(|text| evidence.add(text));
    evidence
}

/// Returns what a column's values mean as times.
pub(crate) fn time_rule(column: &ArrayRef) -> TimeRule {
    let Ok(column) = unpacked(column) else { return TimeRule::default() };
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter().flatten();
            TimeRule::infer(texts.filter(|text| !is_missing(text)))
        }
        found if found.is_integer() && *found != DataType::UInt64 => {
            let numbers = cast(&column, &DataType::Int64).ok();
            let numbers = numbers.as_ref().map(|numbers| numbers.as_primitive::<Int64Type>());
            TimeRule::infer_integers(
                numbers.into_iter().flat_map(|numbers| numbers.iter().flatten()),
            )
        }
        found if found.is_numeric() => {
            let numbers = cast(&column, &DataType::Float64).ok();
            let numbers = numbers.as_ref().map(|numbers| numbers.as_primitive::<Float64Type>());
            TimeRule::infer_floats(numbers.into_iter().flat_map(|numbers| numbers.iter().flatten()))
        }
        _ => TimeRule::default(),
    }
}

/// Returns what is wrong with a column of which all numbers are absurd as times.
pub(crate) fn absurdity(column: &ArrayRef, rule: TimeRule) -> Option<AbsurdTimes> {
    let column = unpacked(column).ok()?;
    let numbers = match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter().flatten();
            let numbers = texts.filter(|text| !is_missing(text)).map(|text| {
                NumberStyle::default().number(text).filter(|number| number.is_finite())
            });
            // A text among them is a time of its own, and right or wrong by itself.
            let numbers: Option<Vec<f64>> = numbers.collect();
            arrow::array::Float64Array::from(numbers?)
        }
        found if found.is_numeric() => {
            cast(&column, &DataType::Float64).ok()?.as_primitive::<Float64Type>().clone()
        }
        _ => return None,
    };
    rule.absurd(min(&numbers)?, max(&numbers)?)
}

/// Returns how each column of a table over the file is to be read, and what is
/// out of the ordinary in how the file is written. Numbers that are times are in
/// `unit`, if it is said.
///
/// # Errors
/// If the file cannot be read, or a column of times holds numbers that are none.
pub(crate) fn rules(
    config: &FileSourceConfig,
) -> Result<(Vec<ColumnRule>, Option<String>), FileError> {
    let FileSourceConfig { path, schema, fields, .. } = config;
    let (format, unit) = (config.format, config.timestamp_unit);
    if format == FileFormat::Csv {
        let survey = CsvSurvey::of(path)?;
        let mut rules: Vec<ColumnRule> =
            schema.fields().iter().map(|field| survey.rule(field)).collect();
        if let Some(unit) = unit {
            rules.iter_mut().for_each(|rule| rule.times = TimeRule::in_unit(unit));
        }
        let column = |field: &Field| {
            let position = survey.names.iter().position(|name| name == field.name())?;
            survey.columns.get(position)
        };
        for (field, rule) in schema.fields().iter().zip(&rules) {
            check(path, field, column(field), rule.times, unit.is_some())?;
        }
        let is_number = |_: usize, name: &str| {
            schema.field_with_name(name).is_ok_and(|field| field.data_type().is_numeric())
        };
        return Ok((rules, survey.dialect(is_number)));
    }
    let sample = read::open(path, format, schema, fields, 0)?.next(SAMPLE_ROWS)?;
    let columns = sample.map(|sample| sample.columns).unwrap_or_default();
    let mut rules = Vec::with_capacity(schema.fields().len());
    let mut doubts: Vec<String> = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let mut rule = ColumnRule::default();
        if let Some(column) = columns.get(index) {
            if matches!(field.data_type(), DataType::Timestamp(..)) {
                rule.times = unit.map_or_else(|| time_rule(column), TimeRule::in_unit);
                check(path, field, Some(column), rule.times, unit.is_some())?;
            } else if field.data_type().is_numeric() && *column.data_type() == DataType::Utf8 {
                let Decision { style, doubt } = evidence(column).decide(None, None);
                rule.numbers = style;
                doubts.extend(doubt.map(|doubt| format!("`{}`: {doubt}", field.name())));
            }
        }
        rules.push(rule);
    }
    Ok((rules, (!doubts.is_empty()).then(|| doubts.join("; "))))
}

/// Refuses a column of which all numbers are absurd as times. Whoever said the unit
/// may mean January 1970, unless another unit makes times of our days of them.
fn check(
    path: &Path,
    field: &Field,
    column: Option<&ArrayRef>,
    rule: TimeRule,
    is_said: bool,
) -> Result<(), FileError> {
    if !matches!(field.data_type(), DataType::Timestamp(..)) {
        return Ok(());
    }
    let absurd = column.and_then(|column| absurdity(column, rule));
    match absurd.filter(|absurd| !is_said || absurd.likely_unit().is_some()) {
        None => Ok(()),
        Some(absurd) => Err(FileError::AbsurdTimes {
            path: path.to_owned(),
            column: field.name().clone(),
            reason: absurd.to_string(),
        }),
    }
}
