//! Files with one row a series: how forecasting benchmarks hand out their sets.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use tidecast_stream::{EventTime, FileFormat};

use crate::error::FileError;
use crate::read;

/// One row of such a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedSeries {
    /// `series_id`.
    pub id: String,
    /// `freq`, as the file spells it: `h`, `D`, `MS`.
    pub freq: String,
    /// `start`: the time of the first value.
    pub start: EventTime,
    /// `target`, a step after the other; NaN where it is missing.
    pub values: Vec<f32>,
}

/// Reads a Parquet file with the columns `series_id` and `freq` (text), `start`
/// (timestamp) and `target` (list of numbers); a null or NaN in a list is a
/// missing step.
///
/// # Errors
/// If the file cannot be read, lacks one of the columns or has one of another
/// type, or if a row lacks a value.
pub fn read_listed_series(path: &Path) -> Result<Vec<ListedSeries>, FileError> {
    let schema = schema();
    let mut reader = read::open(path, FileFormat::Parquet, &schema, &[], 0)?;
    let mut series = Vec::new();
    while let Some(batch) = reader.next(crate::BATCH_ROWS)? {
        let columns = schema.fields().iter().zip(&batch.columns);
        let columns = columns
            .map(|(field, column)| typed(path, field, column))
            .collect::<Result<Vec<_>, _>>()?;
        gather(path, &columns, &mut series)?;
    }
    Ok(series)
}

fn schema() -> SchemaRef {
    let numbers = Arc::new(Field::new_list_field(DataType::Float32, true));
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("series_id", DataType::Utf8, false),
        Field::new("freq", DataType::Utf8, false),
        Field::new("start", time, false),
        Field::new("target", DataType::List(numbers), false),
    ]))
}

/// Arrow would cast nearly anything to anything, a number to a list of one.
fn typed(path: &Path, field: &Field, column: &ArrayRef) -> Result<ArrayRef, FileError> {
    let found = column.data_type();
    let (fits, wanted) = match field.data_type() {
        DataType::List(_) => {
            let item = match found {
                DataType::List(item) | DataType::LargeList(item) => Some(item.data_type()),
                _ => None,
            };
            (item.is_some_and(DataType::is_numeric), "lists of numbers")
        }
        DataType::Timestamp(..) => (found.is_temporal(), "timestamps"),
        _ => (found.is_string() || matches!(found, DataType::Dictionary(..)), "text"),
    };
    if !fits {
        let name = field.name();
        return Err(unreadable(path, format!("column `{name}` holds {found}: expected {wanted}")));
    }
    Ok(cast(column, field.data_type())?)
}

/// `columns` are those of [`schema`].
fn gather(
    path: &Path,
    columns: &[ArrayRef],
    series: &mut Vec<ListedSeries>,
) -> Result<(), FileError> {
    let [ids, freqs, starts, targets] = columns else { return Ok(()) };
    let names = ["series_id", "freq", "start", "target"];
    let (ids, freqs) = (ids.as_string::<i32>(), freqs.as_string::<i32>());
    let (starts, targets) =
        (starts.as_primitive::<TimestampMicrosecondType>(), targets.as_list::<i32>());
    for row in 0..ids.len() {
        if let Some((name, _)) = names.iter().zip(columns).find(|(_, column)| column.is_null(row)) {
            return Err(unreadable(path, format!("row {} has no `{name}`", series.len())));
        }
        let values = targets.value(row);
        let values = values.as_primitive::<Float32Type>().iter();
        series.push(ListedSeries {
            id: ids.value(row).to_owned(),
            freq: freqs.value(row).to_owned(),
            start: EventTime::from_micros(starts.value(row)),
            values: values.map(|value| value.unwrap_or(f32::NAN)).collect(),
        });
    }
    Ok(())
}

fn unreadable(path: &Path, reason: String) -> FileError {
    let reason = format!("{reason} (one row a series: series_id, freq, start, target)");
    FileError::Unreadable { path: path.to_owned(), format: "Parquet", reason }
}
