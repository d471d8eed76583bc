//! Raw columns into rows of the table, bad rows apart.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options, filter, nullif};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit};

use tidecast_stream::{BadRecord, Offset, OffsetRange, Partition, RecordPosition, SourceBatch};

use crate::error::FileError;
use crate::read::RawBatch;
use crate::time::{parse_epoch, parse_time};

/// Texts that mean "missing" in a column that is not text.
pub(crate) const MISSING: [&str; 6] = ["", "NA", "N/A", "null", "NULL", "None"];

/// A column of the table, and which of its rows are no values of it.
struct Converted {
    array: ArrayRef,
    problems: Vec<(usize, String)>,
}

/// Casts `raw` to the table's `schema`; rows that do not fit become bad records.
pub(crate) fn conform(
    raw: RawBatch,
    schema: &SchemaRef,
    partition: &Partition,
) -> Result<SourceBatch, FileError> {
    let rows = raw.offsets.len();
    let mut reasons: Vec<Option<String>> = vec![None; rows];
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(&raw.columns) {
        let converted = convert(column, field)?;
        for (row, problem) in converted.problems {
            if let Some(reason) = reasons.get_mut(row) {
                reason.get_or_insert(problem);
            }
        }
        columns.push(converted.array);
    }

    let mut bad = raw.bad.clone();
    for (row, reason) in reasons.iter().enumerate() {
        if let (Some(reason), Some(offset)) = (reason, raw.offsets.get(row)) {
            bad.push((*offset, raw.payload(row), format!("{}: {reason}", raw.place(row))));
        }
    }
    bad.sort_by_key(|(offset, ..)| *offset);

    let is_good: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
    let columns =
        columns.iter().map(|column| filter(column, &is_good)).collect::<Result<Vec<_>, _>>()?;
    let options =
        arrow::array::RecordBatchOptions::new().with_row_count(Some(is_good.true_count()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
    let offsets = filter(&Int64Array::from(raw.offsets.clone()), &is_good)?;
    let range = OffsetRange::new(Offset(raw.start), Offset(raw.end)).ok_or_else(|| {
        arrow::error::ArrowError::ComputeError("rows are numbered backwards".to_owned())
    })?;
    Ok(SourceBatch {
        range,
        timestamps: Int64Array::new_null(rows.num_rows()),
        rows,
        offsets: offsets.as_primitive::<Int64Type>().clone(),
        bad: bad
            .into_iter()
            .map(|(offset, payload, error)| BadRecord {
                position: RecordPosition { partition: partition.clone(), offset: Offset(offset) },
                key: None,
                payload,
                error,
            })
            .collect(),
        payload_bytes: raw.bytes,
        partition: partition.clone(),
    })
}

/// Casts one column to its field's type.
fn convert(column: &ArrayRef, field: &Field) -> Result<Converted, FileError> {
    let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8);
    let column = if is_text { tidy_text(column, field.data_type())? } else { column.clone() };
    let array = match (column.data_type(), field.data_type()) {
        (DataType::Utf8, DataType::Timestamp(unit, _)) => {
            let micros = column.as_string::<i32>().iter().map(|text| {
                text.and_then(parse_time).and_then(|time| in_unit(time.as_micros(), *unit))
            });
            cast(&micros.collect::<Int64Array>(), field.data_type())?
        }
        (from, DataType::Timestamp(unit, _)) if from.is_integer() => {
            let numbers = cast(&column, &DataType::Int64)?;
            let micros = numbers.as_primitive::<Int64Type>().iter().map(|number| {
                number.and_then(parse_epoch).and_then(|time| in_unit(time.as_micros(), *unit))
            });
            cast(&micros.collect::<Int64Array>(), field.data_type())?
        }
        (_, wanted) => cast_with_options(
            &column,
            wanted,
            &CastOptions { safe: true, ..CastOptions::default() },
        )?,
    };

    let mut problems = Vec::new();
    if array.null_count() > column.null_count() {
        let texts = cast(&column, &DataType::Utf8).ok();
        for row in (0..array.len()).filter(|row| array.is_null(*row) && column.is_valid(*row)) {
            let value = texts.as_ref().map(|texts| texts.as_string::<i32>().value(row));
            problems.push((row, not_a_value(value.unwrap_or("value"), field)));
        }
    }
    let array = if field.data_type().is_floating() {
        missing_where_not_finite(&array, field, &mut problems)?
    } else {
        array
    };
    if !field.is_nullable() && array.null_count() > 0 {
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            problems.push((row, format!("`{}` is missing, and it is NOT NULL", field.name())));
        }
    }
    Ok(Converted { array, problems })
}

fn not_a_value(value: &str, field: &Field) -> String {
    let shown: String = value.chars().take(60).collect();
    let wanted = sql_name(field.data_type());
    let remedy = match field.data_type() {
        DataType::Timestamp(..) => {
            "; expected e.g. `2024-08-01T10:00:00Z` or milliseconds since 1970"
        }
        _ => "",
    };
    format!("`{shown}` in column `{}` is no {wanted}{remedy}", field.name())
}

/// Text as it is for text columns, with empty as missing; for the others
/// blanks are taken off and the words for "missing" heeded.
fn tidy_text(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, FileError> {
    let column = cast(column, &DataType::Utf8)?;
    let texts = column.as_string::<i32>();
    let keeps_text = matches!(
        wanted,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    let tidied: StringArray = if keeps_text {
        texts.iter().map(|text| text.filter(|text| !text.is_empty())).collect()
    } else {
        texts
            .iter()
            .map(|text| text.map(str::trim).filter(|text| !MISSING.contains(text)))
            .collect()
    };
    Ok(std::sync::Arc::new(tidied))
}

/// In files NaN says "missing"; an infinity is an error of whoever wrote it.
fn missing_where_not_finite(
    array: &ArrayRef,
    field: &Field,
    problems: &mut Vec<(usize, String)>,
) -> Result<ArrayRef, FileError> {
    let wide = cast(array, &DataType::Float64)?;
    let values: &Float64Array = wide.as_primitive();
    if values.iter().flatten().all(f64::is_finite) {
        return Ok(array.clone());
    }
    for (row, value) in values.iter().enumerate() {
        if let Some(value) = value.filter(|value| value.is_infinite()) {
            problems.push((row, format!("`{value}` in column `{}` is not finite", field.name())));
        }
    }
    let is_nan: BooleanArray =
        values.iter().map(|value| Some(value.is_some_and(f64::is_nan))).collect();
    Ok(nullif(array, &is_nan)?)
}

fn in_unit(micros: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(micros.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Some(micros.div_euclid(1_000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000),
    }
}

/// Returns the type as SQL calls it.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        other => other.to_string(),
    }
}
