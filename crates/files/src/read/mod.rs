//! Readers: each turns a stretch of a file into columns in the table's order,
//! not yet cast to the table's types.

mod csv;
mod json;
mod parquet;

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidecast_stream::{FieldColumn, FileFormat};

use crate::error::{FileError, nearest};

pub(crate) use self::csv::{CsvReader, Delimiter};
pub(crate) use self::json::Lines;
pub(crate) use self::parquet::file_schema;

/// A stretch of rows as the file holds them.
pub(crate) struct RawBatch {
    /// One array per column of the table.
    pub(crate) columns: Vec<ArrayRef>,
    /// The number of each row, ascending; rows of one object have the same.
    pub(crate) offsets: Vec<i64>,
    /// The rows as written, for what turns out to be bad.
    pub(crate) written: Written,
    /// What is no row at all: row number, bytes and reason.
    pub(crate) bad: Vec<(i64, Option<Vec<u8>>, String)>,
    /// The number of the first row of the stretch.
    pub(crate) start: i64,
    /// The number behind its last row.
    pub(crate) end: i64,
    /// Size in bytes, for metering.
    pub(crate) bytes: usize,
}

/// Rows as written, and the lines they stand on.
pub(crate) enum Written {
    /// CSV records, one behind the other.
    Records {
        /// The records, line ends included.
        text: Vec<u8>,
        /// Where each ends in `text`.
        ends: Vec<usize>,
        /// The line each starts on.
        lines: Vec<u64>,
    },
    /// Lines.
    Lines(Vec<(u64, Vec<u8>)>),
    /// Nothing readable: a columnar format, with these columns.
    Columns(Vec<String>),
}

impl RawBatch {
    /// Returns where a row stands, for a message.
    pub(crate) fn place(&self, row: usize) -> String {
        let line = match &self.written {
            Written::Records { lines, .. } => lines.get(row).copied(),
            Written::Lines(lines) => lines.get(row).map(|(line, _)| *line),
            Written::Columns(_) => None,
        };
        match (line, self.offsets.get(row)) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(offset)) => format!("row {offset}"),
            (None, None) => "row unknown".to_owned(),
        }
    }

    /// Returns a row's bytes, for the dead letter: of a columnar format the
    /// table's columns as JSON.
    pub(crate) fn payload(&self, row: usize) -> Option<Vec<u8>> {
        match &self.written {
            Written::Records { text, ends, .. } => {
                let start = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
                text.get(start?..*ends.get(row)?).map(<[u8]>::to_vec)
            }
            Written::Lines(lines) => lines.get(row).map(|(_, line)| line.clone()),
            Written::Columns(names) => {
                let columns = names
                    .iter()
                    .zip(&self.columns)
                    .map(|(name, column)| (name, column.slice(row, 1)));
                let batch = RecordBatch::try_from_iter(columns).ok()?;
                let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
                writer.write(&batch).ok()?;
                Some(writer.into_inner())
            }
        }
    }
}

/// The error for a column that the file does not have.
pub(crate) fn missing_column(path: &Path, column: &str, found: &[String]) -> FileError {
    FileError::MissingColumn {
        path: path.to_owned(),
        column: column.to_owned(),
        nearest: nearest(column, found.iter().map(String::as_str)),
        found: found.to_vec(),
    }
}

/// Returns where the column stands among those `found`, which must have it once.
fn position(
    path: &Path,
    format: FileFormat,
    column: &str,
    found: &[String],
) -> Result<usize, FileError> {
    let mut positions = found.iter().enumerate().filter(|(_, name)| *name == column);
    let Some((first, _)) = positions.next() else {
        return Err(missing_column(path, column, found));
    };
    match positions.next() {
        None => Ok(first),
        Some((second, _)) => Err(FileError::ColumnTwice {
            path: path.to_owned(),
            column: column.to_owned(),
            first: first + 1,
            second: second + 1,
            remedy: match format {
                FileFormat::Parquet => "write the file with names that differ",
                _ => "give one of them another name in the header",
            },
        }),
    }
}

/// Reads a file from some row on.
pub(crate) trait Reader: Send {
    /// Returns up to `limit` further rows, or `None` at the end.
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError>;
}

/// Opens `path` for reading from row `start`, having checked that every column
/// of `schema` is there; `fields` are those of JSON that are inside of others.
pub(crate) fn open(
    path: &Path,
    format: FileFormat,
    schema: &SchemaRef,
    fields: &[FieldColumn],
    start: i64,
) -> Result<Box<dyn Reader>, FileError> {
    Ok(match format {
        FileFormat::Csv => Box::new(csv::CsvReader::open(path, schema, start)?),
        FileFormat::JsonLines => Box::new(json::JsonReader::open(path, schema, fields, start)?),
        FileFormat::Parquet => Box::new(parquet::ParquetReader::open(path, schema, start)?),
    })
}
