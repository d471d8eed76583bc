//! Apache Parquet.

use std::path::{Path, PathBuf};

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{RawBatch, Reader, Written, missing_column};
use crate::conform::sql_name;
use crate::error::FileError;
use crate::format::open;

/// Reads the table's columns of a Parquet file.
pub(crate) struct ParquetReader {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// The table's columns, as the file names them.
    names: Vec<String>,
    /// Rows read ahead of what was asked for.
    rest: Option<arrow::array::RecordBatch>,
    next_row: i64,
}

impl ParquetReader {
    pub(crate) fn open(path: &Path, schema: &SchemaRef, start: i64) -> Result<Self, FileError> {
        let builder = builder(path)?;
        let found = builder.schema().clone();
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let Some((index, column)) = found.fields().find(field.name()) else {
                let names: Vec<String> =
                    found.fields().iter().map(|field| field.name().clone()).collect();
                return Err(missing_column(path, field.name(), &names));
            };
            if !is_castable(column.data_type(), field.data_type()) {
                return Err(FileError::ColumnType {
                    path: path.to_owned(),
                    column: field.name().clone(),
                    found: column.data_type().to_string(),
                    wanted: sql_name(field.data_type()),
                });
            }
            roots.push(index);
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(crate::BATCH_ROWS)
            .with_offset(usize::try_from(start).unwrap_or(0))
            .build()
            .map_err(|error| unreadable(path, &error.to_string()))?;
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { path: path.to_owned(), reader, names, rest: None, next_row: start.max(0) })
    }
}

impl Reader for ParquetReader {
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.reader.next() {
                None => return Ok(None),
                Some(batch) => batch.map_err(|error| unreadable(&self.path, &error.to_string()))?,
            },
        };
        let rows = batch.num_rows().min(limit.max(1));
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let batch = batch.slice(0, rows);
        let columns = self.names.iter().map(|name| {
            let column = batch.column_by_name(name).cloned();
            column.ok_or_else(|| unreadable(&self.path, &format!("column `{name}` went missing")))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let start = self.next_row;
        self.next_row += i64::try_from(rows).unwrap_or(i64::MAX);
        Ok(Some(RawBatch {
            columns,
            offsets: (start..self.next_row).collect(),
            written: Written::Columns(self.names.clone()),
            bad: Vec::new(),
            start,
            end: self.next_row,
            bytes: batch.get_array_memory_size(),
        }))
    }
}

/// Returns the columns of a Parquet file.
pub(crate) fn file_schema(path: &Path) -> Result<SchemaRef, FileError> {
    Ok(builder(path)?.schema().clone())
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>, FileError> {
    ParquetRecordBatchReaderBuilder::try_new(open(path)?)
        .map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, reason: &str) -> FileError {
    FileError::Unreadable { path: path.to_owned(), format: "Parquet", reason: reason.to_owned() }
}

fn is_castable(from: &DataType, to: &DataType) -> bool {
    let number_as_time = from.is_integer() && matches!(to, DataType::Timestamp(..));
    // Arrow would cast a moment to the number of its microseconds; nobody who
    // declares DOUBLE means that.
    let time_as_number = from.is_temporal() && to.is_numeric();
    number_as_time || (!time_as_number && can_cast_types(from, to))
}
