//! Files as tables of a few columns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use tidecast_files::{BATCH_ROWS, FileSource, FileSourceConfig, format_of};
use tidecast_stream::{Source, SourceBatch, SourceEvent};

pub(crate) const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(crate) fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn parquet(folder: &TempDir, name: &str, rows: &RecordBatch) -> PathBuf {
    let path = folder.path().join(name);
    let out = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(out, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    path
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(crate) fn open(path: &Path, schema: &SchemaRef) -> Result<FileSource, String> {
    FileSource::open(FileSourceConfig {
        path: path.to_owned(),
        format: format_of(path).map_err(|error| error.to_string())?,
        schema: schema.clone(),
        fields: Vec::new(),
        batch_rows: BATCH_ROWS,
        timestamp_unit: None,
    })
    .map_err(|error| error.to_string())
}

/// Reads the whole file.
pub(crate) fn read(path: &Path, schema: &SchemaRef) -> Result<Vec<SourceBatch>, String> {
    let mut source = open(path, schema)?;
    let partition = source.partition().clone();
    source.start(&partition, None).map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    loop {
        match source.poll(Duration::ZERO).map_err(|error| error.to_string())? {
            SourceEvent::Batch(batch) => batches.push(batch),
            SourceEvent::Finished => return Ok(batches),
            _ => {}
        }
    }
}

/// The values of one column, and the errors of the rows without one.
pub(crate) type Column<T> = (Vec<Option<T>>, Vec<String>);

fn column<T>(
    path: &Path,
    name: &str,
    kind: DataType,
    values: impl Fn(&dyn Array) -> Vec<Option<T>>,
) -> Result<Column<T>, String> {
    let batches = read(path, &schema(&[(name, kind)]))?;
    let found = batches.iter().flat_map(|batch| values(batch.rows.column(0)));
    let errors = batches.iter().flat_map(|batch| batch.bad.iter().map(|bad| bad.error.clone()));
    Ok((found.collect(), errors.collect()))
}

pub(crate) fn texts(path: &Path, name: &str) -> Result<Column<String>, String> {
    column(path, name, DataType::Utf8, |array| {
        array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    })
}

pub(crate) fn numbers(path: &Path, name: &str) -> Result<Column<f64>, String> {
    column(path, name, DataType::Float64, |array| {
        array.as_primitive::<Float64Type>().iter().collect()
    })
}

/// Times in microseconds since 1970.
pub(crate) fn times(path: &Path, name: &str) -> Result<Column<i64>, String> {
    column(path, name, TIME, |array| {
        array.as_primitive::<TimestampMicrosecondType>().iter().collect()
    })
}
