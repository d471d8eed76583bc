//! Raw columns into rows of the table, bad rows apart.

mod cells;
mod names;

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::filter;
use arrow::datatypes::{Int64Type, SchemaRef};

use tidecast_formats::time::TimeRule;
use tidecast_stream::{BadRecord, Offset, OffsetRange, Partition, RecordPosition, SourceBatch};

use crate::error::FileError;
use crate::numbers::NumberStyle;
use crate::read::RawBatch;

pub(crate) use self::cells::unpacked;
pub(crate) use self::names::found_name;

/// How a column's values are written, decided once for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ColumnRule {
    /// Of text where numbers are wanted.
    pub(crate) numbers: NumberStyle,
    /// Of text and numbers where times are wanted.
    pub(crate) times: TimeRule,
}

/// Casts `raw` to the table's `schema`, each column by its rule; rows that do
/// not fit become bad records.
pub(crate) fn conform(
    raw: RawBatch,
    schema: &SchemaRef,
    rules: &[ColumnRule],
    partition: &Partition,
) -> Result<SourceBatch, FileError> {
    let rows = raw.offsets.len();
    let mut reasons: Vec<Option<String>> = vec![None; rows];
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (number, (field, column)) in schema.fields().iter().zip(&raw.columns).enumerate() {
        let rule = rules.get(number).copied().unwrap_or_default();
        let converted = cells::convert(column, field, rule)?;
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

    let offsets = Int64Array::from(raw.offsets);
    let is_good: Option<BooleanArray> = reasons
        .iter()
        .any(Option::is_some)
        .then(|| reasons.iter().map(|reason| Some(reason.is_none())).collect());
    let only_good = |column: &dyn Array| -> Result<ArrayRef, FileError> {
        Ok(match &is_good {
            Some(is_good) => filter(column, is_good)?,
            None => column.slice(0, column.len()),
        })
    };
    let columns = columns.iter().map(|column| only_good(column)).collect::<Result<Vec<_>, _>>()?;
    let good_rows = is_good.as_ref().map_or(rows, BooleanArray::true_count);
    let options = RecordBatchOptions::new().with_row_count(Some(good_rows));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
    let range = OffsetRange::new(Offset(raw.start), Offset(raw.end)).ok_or_else(|| {
        arrow::error::ArrowError::ComputeError("rows are numbered backwards".to_owned())
    })?;
    Ok(SourceBatch {
        range,
        timestamps: Int64Array::new_null(rows.num_rows()),
        rows,
        offsets: only_good(&offsets)?.as_primitive::<Int64Type>().clone(),
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

/// Returns `value` as a message shows it: on one line, and not all of a long one.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    const MOST: usize = 60;
    if value.len() <= MOST && !value.chars().any(char::is_control) {
        return Cow::Borrowed(value);
    }
    let mut short = String::new();
    for character in value.chars().take(MOST) {
        if character.is_control() {
            short.extend(character.escape_default());
        } else {
            short.push(character);
        }
    }
    if value.chars().nth(MOST).is_some() {
        short.push('…');
    }
    Cow::Owned(short)
}
