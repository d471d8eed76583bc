//! What columns a file has.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_formats::is_missing;
use tidecast_formats::json::{FieldValue, fields};
use tidecast_formats::time::TimeRule;
use tidecast_stream::FileFormat;

use crate::conform::{found_name, unpacked};
use crate::error::FileError;
use crate::format::format_of;
use crate::read::{self, Lines, file_schema, missing_column};
use crate::survey::{CsvSurvey, SAMPLE_ROWS, absurdity, time_rule};

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The columns of a file, with the types their values look like.
///
/// These are guesses from the first rows: a table over the file declares what
/// the columns are for. What names a series is text whatever it looks like
/// ([`InferredSchema::as_text`]), and is then read as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredSchema {
    /// The columns, all nullable. Times are microsecond timestamps, integers
    /// `Int64`, other numbers `Float64`; `Null` where no value was seen. Nested
    /// and binary columns are in `unusable`.
    pub schema: SchemaRef,
    /// Names of the columns that hold times.
    pub time_columns: Vec<String>,
    /// Names of the columns of which all values seen are numbers, those among
    /// them that may be times, too.
    pub number_columns: Vec<String>,
    /// Columns that cannot be read as values, in the order of the file.
    pub unusable: Vec<UnusableColumn>,
    /// How the file is written, where that is out of the ordinary: separated by
    /// `;`, with decimal commas. For a note to whoever reads it.
    pub dialect: Option<String>,
}

/// A column of lists, structs, bytes and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableColumn {
    /// Its name.
    pub name: String,
    /// What it holds, in words.
    pub found: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A column that has values: its name, its type, and whether they are numbers.
struct Guessed {
    name: String,
    data_type: DataType,
    is_number: bool,
}

impl InferredSchema {
    fn new(columns: impl IntoIterator<Item = Guessed>) -> Self {
        let (mut time_columns, mut number_columns) = (Vec::new(), Vec::new());
        let mut fields: Vec<Field> = Vec::new();
        for Guessed { name, data_type, is_number } in columns {
            // Of two columns of one name neither can be asked for.
            if name.is_empty() || fields.iter().any(|field| *field.name() == name) {
                continue;
            }
            if data_type == TIMESTAMP {
                time_columns.push(name.clone());
            }
            if is_number {
                number_columns.push(name.clone());
            }
            fields.push(Field::new(name, data_type, true));
        }
        let schema = Arc::new(Schema::new(fields));
        Self { schema, time_columns, number_columns, unusable: Vec::new(), dialect: None }
    }

    /// Returns the column that is asked for.
    ///
    /// # Errors
    /// If there is none of the name, or it holds no plain values.
    pub fn column(&self, path: &Path, name: &str) -> Result<&Field, FileError> {
        if let Ok(field) = self.schema.field_with_name(name) {
            return Ok(field);
        }
        if let Some(unusable) = self.unusable.iter().find(|unusable| unusable.name == name) {
            return Err(FileError::ColumnType {
                path: path.to_owned(),
                column: name.to_owned(),
                found: unusable.found.clone(),
                wanted: "one value a row".to_owned(),
                remedy: unusable.remedy,
            });
        }
        let names: Vec<String> =
            self.schema.fields().iter().map(|field| field.name().clone()).collect();
        Err(missing_column(path, name, &names))
    }

    /// Returns the column as what names a series: text, as written.
    ///
    /// # Errors
    /// As for [`InferredSchema::column`].
    pub fn as_text(&self, path: &Path, name: &str) -> Result<Field, FileError> {
        self.column(path, name).map(|field| Field::new(field.name(), DataType::Utf8, true))
    }

    /// Returns whether all values seen in the column are numbers, or none was seen.
    pub fn may_be_numeric(&self, name: &str) -> bool {
        let is_empty = |field: &Field| *field.data_type() == DataType::Null;
        self.number_columns.iter().any(|number| number == name)
            || self.schema.field_with_name(name).is_ok_and(is_empty)
    }
}

/// Returns the columns of the file at `path` and what types they look like,
/// judged by its first 10,000 rows and, of CSV that is not packed, some thousand
/// from all over the file. The format is told by the extension.
///
/// # Errors
/// If the file cannot be read, has no rows, or none that can be read.
pub fn infer_schema(path: &Path) -> Result<InferredSchema, FileError> {
    match format_of(path)? {
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
    time: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { seen: 0, boolean: true, integer: true, number: true, time: true }
    }
}

impl Guess {
    fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut guess = Self::default();
        texts.into_iter().for_each(|text| guess.look_at(text));
        guess
    }

    fn look_at(&mut self, text: &str) {
        if is_missing(text) {
            return;
        }
        let text = text.trim();
        self.seen += 1;
        self.boolean &= text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        self.integer &= text.parse::<i64>().is_ok();
        self.number &= text.parse::<f64>().is_ok();
        // Only what is no number is worth the slow parser.
        self.time &= !self.number && TimeRule::default().parse(text).is_ok();
    }

    /// The type, apart from numbers that may be times.
    fn data_type(self) -> DataType {
        match self {
            Self { seen: 0, .. } => DataType::Null,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { number: true, .. } => DataType::Float64,
            Self { time: true, .. } => TIMESTAMP,
            _ => DataType::Utf8,
        }
    }
}

/// Numbers are times only where the column's name says so, too: a counter may be
/// just as large, and a year is a number like others.
fn are_times(name: &str, column: &ArrayRef) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_instant = words
        .any(|word| matches!(word, "t" | "ts" | "ds" | "at" | "epoch" | "date" | "datetime"))
        || name.contains("time");
    let is_period = matches!(name.as_str(), "date" | "day" | "month" | "year" | "period" | "ds");
    let rule = time_rule(column);
    match rule.compact {
        Some(_) => is_period,
        None => is_instant && absurdity(column, rule).is_none(),
    }
}

fn infer_csv(path: &Path) -> Result<InferredSchema, FileError> {
    let survey = CsvSurvey::of(path)?;
    if survey.has_no_header {
        return Err(FileError::no_header(path, &survey.names));
    }
    match &survey.first_bad {
        Some(reason) if survey.good_rows == 0 => {
            return Err(FileError::NoGoodRow {
                path: path.to_owned(),
                rows: survey.bad_rows,
                reason: reason.clone(),
            });
        }
        None if survey.good_rows == 0 => {
            return Err(FileError::NoRows { path: path.to_owned(), is_header: true });
        }
        _ => {}
    }
    let columns = survey.names.iter().zip(&survey.columns).enumerate();
    let columns = columns.map(|(index, (name, column))| {
        let texts = column.as_string::<i32>().iter().flatten();
        let guess = Guess::of(texts);
        let is_styled = survey.is_numeric.get(index).copied().unwrap_or(false);
        let data_type = match guess.data_type() {
            // Dots between digits look like dates to nobody here.
            DataType::Utf8 | TIMESTAMP if is_styled => DataType::Float64,
            DataType::Int64 | DataType::Float64 if are_times(name, column) => TIMESTAMP,
            other => other,
        };
        let is_number = guess.seen > 0 && (guess.number || is_styled);
        Guessed { name: name.clone(), data_type, is_number }
    });
    let mut inferred = InferredSchema::new(columns);
    inferred.dialect = survey.dialect(|_, name| inferred.may_be_numeric(name));
    Ok(inferred)
}

fn infer_json(path: &Path) -> Result<InferredSchema, FileError> {
    let mut lines = Lines::open(path)?;
    // Columns in the order of their first appearance; `None`: nested.
    let mut columns: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for _ in 0..SAMPLE_ROWS {
        let Some((_, line)) = lines.next()? else { break };
        // A bad line has no say; its fields in front of the damage are as good as
        // any.
        let _bad_lines_are_told_when_read = fields(&line, |name, value| {
            let position = columns.iter().position(|(known, _)| *known == name);
            let index = position.unwrap_or(columns.len());
            if position.is_none() {
                columns.push((name.into_owned(), Some(Vec::new())));
            }
            let Some((_, texts)) = columns.get_mut(index) else { return };
            match value {
                FieldValue::Missing => {}
                FieldValue::Nested(_) => *texts = None,
                FieldValue::Text(text) | FieldValue::Plain(text) => {
                    texts.iter_mut().for_each(|texts| texts.push(text.to_string()));
                }
            }
        });
    }
    let mut unusable = Vec::new();
    let mut guessed = Vec::new();
    for (name, texts) in columns {
        let Some(texts) = texts else {
            let found = "lists or objects".to_owned();
            unusable.push(UnusableColumn { name, found, remedy: "write one value a row" });
            continue;
        };
        let guess = Guess::of(texts.iter().map(String::as_str));
        let is_number = guess.seen > 0 && guess.number;
        let column: ArrayRef = Arc::new(arrow::array::StringArray::from(texts));
        let data_type = match guess.data_type() {
            DataType::Int64 | DataType::Float64 if are_times(&name, &column) => TIMESTAMP,
            other => other,
        };
        guessed.push(Guessed { name, data_type, is_number });
    }
    let mut inferred = InferredSchema::new(guessed);
    inferred.unusable = unusable;
    Ok(inferred)
}

fn infer_parquet(path: &Path) -> Result<InferredSchema, FileError> {
    let (schema, rows) = file_schema(path)?;
    if rows == 0 {
        return Err(FileError::NoRows { path: path.to_owned(), is_header: false });
    }
    let mut unusable = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    for field in schema.fields() {
        let is_known = fields.iter().any(|known| known.name() == field.name());
        match usable(field.data_type()) {
            true if !is_known => fields.push(field.as_ref().clone()),
            true => {}
            false => {
                let (found, remedy) = found_name(field.data_type());
                unusable.push(UnusableColumn { name: field.name().clone(), found, remedy });
            }
        }
    }
    // A name that stands twice is refused by who asks for it; here it is left out.
    let once = |field: &Field| {
        schema.fields().iter().filter(|other| other.name() == field.name()).count() == 1
    };
    let readable: Vec<Field> = fields.iter().filter(|field| once(field)).cloned().collect();
    let sampled = Arc::new(Schema::new(readable));
    let sample = read::open(path, FileFormat::Parquet, &sampled, &[], 0)?.next(SAMPLE_ROWS)?;
    let columns = fields.iter().map(|field| {
        let index = sampled.index_of(field.name()).ok();
        let column =
            sample.as_ref().zip(index).and_then(|(sample, index)| sample.columns.get(index));
        let data_type = parquet_type(field, column);
        let is_number = match field.data_type() {
            DataType::Dictionary(_, values) => values.is_numeric(),
            other => other.is_numeric(),
        };
        let is_number = is_number || matches!(data_type, DataType::Int64 | DataType::Float64);
        Guessed { name: field.name().clone(), data_type, is_number }
    });
    let mut inferred = InferredSchema::new(columns);
    inferred.unusable = unusable;
    Ok(inferred)
}

/// Whether values of the type are numbers, truth values, times or text; bytes
/// may be text that was written without saying so.
fn usable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => usable(values),
        DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::FixedSizeBinary(16) | DataType::Null => true,
        other => other.is_numeric() || other.is_string(),
    }
}

/// Only texts and numbers leave something to guess: whether they are times.
fn parquet_type(field: &Field, sample: Option<&ArrayRef>) -> DataType {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let may_be_time = sample.is_some_and(|sample| {
        sample.null_count() < sample.len() && are_times(field.name(), sample)
    });
    match data_type {
        DataType::Boolean => DataType::Boolean,
        DataType::Null => DataType::Null,
        number if number.is_numeric() && may_be_time => TIMESTAMP,
        integer if integer.is_integer() => DataType::Int64,
        number if number.is_numeric() => DataType::Float64,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => TIMESTAMP,
        text if text.is_string() => {
            let texts = sample.and_then(|sample| unpacked(sample).ok());
            let guess = texts.map(|texts| Guess::of(texts.as_string::<i32>().iter().flatten()));
            match guess {
                Some(guess) if guess.seen > 0 && guess.time => TIMESTAMP,
                _ => DataType::Utf8,
            }
        }
        _ => DataType::Utf8,
    }
}
