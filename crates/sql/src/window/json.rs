//! Rows as JSON objects, for the late and the dead-letter topic.

use arrow_json::writer::{LineDelimited, Writer, WriterBuilder};
use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::error::ArrowError;

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

/// Returns some rows as JSON objects, one each; where they cannot be written, as
/// where a time is beyond the calendar, the reason stands in their place.
pub(crate) fn some_objects(rows: &RecordBatch, wanted: impl Iterator<Item = usize>) -> Vec<String> {
    let one = |row: usize| {
        let row = UInt32Array::from(vec![row as u32]);
        let written = take_record_batch(rows, &row).and_then(|row| objects(&row));
        match written {
            Ok(mut lines) => lines.pop().unwrap_or_default(),
            Err(error) => serde_json::json!({ "unwritable": error.to_string() }).to_string(),
        }
    };
    wanted.map(one).collect()
}
