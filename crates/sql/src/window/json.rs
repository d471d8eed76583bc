//! Rows as JSON objects, for the late and the dead-letter topic.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use arrow_json::writer::{LineDelimited, Writer, WriterBuilder};

/// Returns each row as one JSON object: all columns, nulls written out, times
/// as ISO 8601.
pub(crate) fn objects(rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let mut writer: Writer<_, LineDelimited> =
        WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner())
        .map_err(|error| ArrowError::JsonError(error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Returns some rows as JSON objects, one each; where one cannot be written, as
/// where a time is beyond the calendar, the reason stands in its place.
pub(crate) fn some_objects(rows: &RecordBatch, wanted: &[usize]) -> Vec<String> {
    let written = |wanted: &[usize]| {
        let indices = UInt32Array::from_iter_values(wanted.iter().map(|row| *row as u32));
        take_record_batch(rows, &indices).and_then(|rows| objects(&rows))
    };
    let alone = |row: &usize| match written(&[*row]) {
        Ok(lines) => lines.concat(),
        Err(error) => serde_json::json!({ "unwritable": error.to_string() }).to_string(),
    };
    match wanted {
        [] => Vec::new(),
        _ => written(wanted).unwrap_or_else(|_| wanted.iter().map(alone).collect()),
    }
}
