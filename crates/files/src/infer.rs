//! What columns a file has.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value};

use crate::conform::MISSING;
use crate::error::FileError;
use crate::format::FileFormat;
use crate::read::{self, CsvTable, Lines, file_schema};
use crate::time::{parse_epoch, parse_time};

/// Rows looked at.
const SAMPLE_ROWS: usize = 10_000;
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The columns of a file, with the types a table over it may declare.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredSchema {
    /// The columns, all nullable. Times are microsecond timestamps, integers
    /// `Int64`, other numbers `Float64`; nested and binary columns are left out.
    pub schema: SchemaRef,
    /// Names of the columns that hold times.
    pub time_columns: Vec<String>,
}

impl InferredSchema {
    fn new(columns: impl IntoIterator<Item = (String, DataType)>) -> Self {
        let fields: Vec<Field> = columns
            .into_iter()
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .collect();
        let is_time = |field: &&Field| *field.data_type() == TIMESTAMP;
        let time_columns =
            fields.iter().filter(is_time).map(|field| field.name().clone()).collect();
        Self { schema: Arc::new(Schema::new(fields)), time_columns }
    }
}

/// Returns the columns of the file at `path` and what types they look like,
/// judged by its first 10,000 rows. The format is told by the extension.
///
/// # Errors
/// If the file cannot be read.
pub fn infer_schema(path: &Path) -> Result<InferredSchema, FileError> {
    match FileFormat::of_path(path)? {
        FileFormat::Csv => infer_csv(path),
        FileFormat::JsonLines => infer_json(path),
        FileFormat::Parquet => infer_parquet(path),
    }
}

/// What the values of a text column have been so far.
#[derive(Clone, Copy, Debug)]
struct Guess {
    seen: usize,
    boolean: bool,
    integer: bool,
    number: bool,
    epoch: bool,
    time: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { seen: 0, boolean: true, integer: true, number: true, epoch: true, time: true }
    }
}

impl Guess {
    fn look_at(&mut self, text: &str) {
        let text = text.trim();
        if MISSING.contains(&text) || text.eq_ignore_ascii_case("nan") {
            return;
        }
        let integer = text.parse::<i64>().ok();
        self.seen += 1;
        self.boolean &= text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        self.integer &= integer.is_some();
        self.number &= text.parse::<f64>().is_ok();
        self.epoch &= integer.and_then(parse_epoch).is_some();
        // Only what is no number any more is worth the slow parser.
        self.time &= integer.is_none() && (!self.time || parse_time(text).is_some());
    }

    /// Whole numbers are times only where the column's name says so, too: a
    /// counter may be just as large.
    fn data_type(self, name: &str) -> DataType {
        match self {
            Self { seen: 0, .. } => DataType::Float64,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { epoch: true, .. } if names_a_time(name) => TIMESTAMP,
            Self { integer: true, .. } => DataType::Int64,
            Self { number: true, .. } => DataType::Float64,
            Self { time: true, .. } => TIMESTAMP,
            _ => DataType::Utf8,
        }
    }
}

fn names_a_time(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "t" | "ts" | "ds" | "at" | "epoch" | "date" | "datetime"))
        || name.contains("time")
}

fn infer_csv(path: &Path) -> Result<InferredSchema, FileError> {
    let mut table = CsvTable::open(path)?;
    let mut guesses = vec![Guess::default(); table.header().len()];
    for _ in 0..SAMPLE_ROWS {
        let Some(row) = table.next()? else { break };
        if let Ok(fields) = row.fields {
            guesses.iter_mut().zip(&fields).for_each(|(guess, text)| guess.look_at(text));
        }
    }
    let columns = table.header().iter().zip(guesses);
    Ok(InferredSchema::new(columns.map(|(name, guess)| (name.clone(), guess.data_type(name)))))
}

fn infer_json(path: &Path) -> Result<InferredSchema, FileError> {
    let mut lines = Lines::open(path)?;
    // Columns in the order of their first appearance; `None`: nested.
    let mut guesses: Vec<(String, Option<Guess>)> = Vec::new();
    for _ in 0..SAMPLE_ROWS {
        let Some((_, line)) = lines.next()? else { break };
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(&line) else { continue };
        for (name, value) in &object {
            let position = guesses.iter().position(|(known, _)| known == name);
            let index = position.unwrap_or(guesses.len());
            if position.is_none() {
                guesses.push((name.clone(), Some(Guess::default())));
            }
            let Some((_, guess)) = guesses.get_mut(index) else { continue };
            match value {
                Value::Null => {}
                Value::Array(_) | Value::Object(_) => *guess = None,
                Value::String(text) => {
                    if let Some(guess) = guess {
                        guess.look_at(text);
                    }
                }
                plain => {
                    if let Some(guess) = guess {
                        guess.look_at(&plain.to_string());
                    }
                }
            }
        }
    }
    let columns = guesses.into_iter().filter_map(|(name, guess)| {
        let data_type = guess?.data_type(&name);
        Some((name, data_type))
    });
    Ok(InferredSchema::new(columns))
}

fn infer_parquet(path: &Path) -> Result<InferredSchema, FileError> {
    let schema = file_schema(path)?;
    let sample = read::open(path, FileFormat::Parquet, &schema, 0)?.next(SAMPLE_ROWS)?;
    let sampled = |index: usize| sample.as_ref().and_then(|sample| sample.columns.get(index));
    let columns = schema.fields().iter().enumerate().filter_map(|(index, field)| {
        let data_type = parquet_type(field, sampled(index))?;
        Some((field.name().clone(), data_type))
    });
    Ok(InferredSchema::new(columns))
}

/// Only texts and integers leave something to guess: whether they are times.
fn parquet_type(field: &Field, sample: Option<&ArrayRef>) -> Option<DataType> {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let is_epoch = |sample: &ArrayRef| {
        let numbers = cast(sample, &DataType::Int64).ok()?;
        let mut numbers = numbers.as_primitive::<Int64Type>().iter().flatten();
        Some(numbers.all(|number| parse_epoch(number).is_some()))
    };
    let is_time = |sample: &ArrayRef| {
        let texts = cast(sample, &DataType::Utf8).ok()?;
        let mut guess = Guess::default();
        texts.as_string::<i32>().iter().flatten().for_each(|text| guess.look_at(text));
        Some(guess.seen > 0 && guess.time)
    };
    match data_type {
        DataType::Boolean => Some(DataType::Boolean),
        integer if integer.is_integer() => {
            let is_time = names_a_time(field.name()) && sample.and_then(is_epoch) == Some(true);
            Some(if is_time { TIMESTAMP } else { DataType::Int64 })
        }
        number if number.is_numeric() => Some(DataType::Float64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let is_time = sample.and_then(is_time) == Some(true);
            Some(if is_time { TIMESTAMP } else { DataType::Utf8 })
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(TIMESTAMP),
        _ => None,
    }
}
