//! Apache Parquet.
//!
//! A damaged file can make its decoder fail in every way there is, so all calls
//! of it go through [`guarded`], and what the file says of its own sizes is
//! checked before anything is read by it.

mod footer;
mod pages;
mod thrift;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetStatisticsPolicy,
};
use tidecast_formats::guard::guarded;
use tidecast_stream::FileFormat;
use tidecast_stream::column_type::sql_name;

use super::{RawBatch, Reader, Written, position};
use crate::conform::found_name;
use crate::error::FileError;
use crate::format::open;

/// Reads the table's columns of a Parquet file.
pub(crate) struct ParquetReader {
    path: PathBuf,
    /// `None` once it failed: it must not be asked again.
    reader: Option<ParquetRecordBatchReader>,
    /// The table's columns, as the file names them.
    names: Vec<String>,
    /// Rows read ahead of what was asked for.
    rest: Option<RecordBatch>,
    next_row: i64,
}

impl ParquetReader {
    pub(crate) fn open(path: &Path, schema: &SchemaRef, start: i64) -> Result<Self, FileError> {
        let (file, metadata) = load(path)?;
        let found = metadata.schema().clone();
        let found_names: Vec<String> =
            found.fields().iter().map(|field| field.name().clone()).collect();
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let index = position(path, FileFormat::Parquet, field.name(), &found_names)?;
            let column = found.field(index).data_type();
            if !is_castable(column, field.data_type()) {
                let (name, remedy) = found_name(column);
                return Err(FileError::ColumnType {
                    path: path.to_owned(),
                    column: field.name().clone(),
                    found: name,
                    wanted: sql_name(field.data_type()),
                    remedy,
                });
            }
            roots.push(index);
        }
        check_columns(path, &file, &metadata, &roots)?;
        let reader = guarded(|| {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_projection(mask)
                .with_batch_size(crate::BATCH_ROWS)
                .with_offset(usize::try_from(start).unwrap_or(0))
                .build()
        });
        let reader = flatten(path, reader)?;
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self {
            path: path.to_owned(),
            reader: Some(reader),
            names,
            rest: None,
            next_row: start.max(0),
        })
    }

    /// Returns the next rows that the decoder hands out.
    fn decode(&mut self) -> Result<Option<RecordBatch>, FileError> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let decoded = guarded(|| reader.next().transpose());
        let batch = flatten(&self.path, decoded)?;
        self.reader = Some(reader);
        Ok(batch)
    }
}

impl Reader for ParquetReader {
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.decode()? {
                None => return Ok(None),
                Some(batch) => batch,
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

/// Returns the columns of a Parquet file, and how many rows it has.
pub(crate) fn file_schema(path: &Path) -> Result<(SchemaRef, u64), FileError> {
    let (_, metadata) = load(path)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok((metadata.schema().clone(), u64::try_from(rows).unwrap_or(0)))
}

fn load(path: &Path) -> Result<(File, ArrowReaderMetadata), FileError> {
    let mut file = open(path)?;
    let failed = |source| FileError::Open { path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len();
    let checked = footer::check(&mut file, length).map_err(failed)?;
    checked.map_err(|reason| damaged(path, reason))?;
    let metadata = flatten(path, guarded(|| metadata(&file)))?;
    check_sizes(metadata.metadata(), length).map_err(|reason| damaged(path, &reason))?;
    Ok((file, metadata))
}

fn metadata(file: &File) -> parquet::errors::Result<ArrowReaderMetadata> {
    // Statistics and indexes serve for leaving rows out; all are read here.
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let metadata = ArrowReaderMetadata::load(file, options.clone())?;
    match in_microseconds(&metadata) {
        None => Ok(metadata),
        Some(schema) => {
            ArrowReaderMetadata::try_new(metadata.metadata().clone(), options.with_schema(schema))
        }
    }
}

/// INT96 times are days and nanoseconds of a day; as 64-bit nanoseconds since
/// 1970 those after 2262 would wrap around. Returns the schema with such columns
/// in microseconds, if there are any.
fn in_microseconds(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let columns = metadata.parquet_schema();
    let is_int96 = |root: usize| {
        (0..columns.num_columns()).any(|leaf| {
            columns.get_column_root_idx(leaf) == root
                && columns.column(leaf).physical_type() == PhysicalType::INT96
        })
    };
    let micros = |field: &Field| {
        let zone = match field.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => zone.clone(),
            _ => return field.clone(),
        };
        field.clone().with_data_type(DataType::Timestamp(TimeUnit::Microsecond, zone))
    };
    let schema = metadata.schema();
    if !(0..schema.fields().len()).any(is_int96) {
        return None;
    }
    let fields = schema.fields().iter().enumerate();
    let fields = fields
        .map(|(root, field)| if is_int96(root) { micros(field) } else { field.as_ref().clone() });
    let fields = fields.collect::<Vec<_>>();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// Whether what the metadata says of sizes can be true of a file of `length`
/// bytes.
fn check_sizes(metadata: &ParquetMetaData, length: u64) -> Result<(), String> {
    let mut rows: i64 = 0;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let of_group = |reason: &str| format!("row group {number}: {reason}");
        if group.num_rows() < 0 {
            return Err(of_group("it claims a negative number of rows"));
        }
        rows = rows.saturating_add(group.num_rows());
        for chunk in group.columns() {
            check_chunk(chunk, group.num_rows(), length).map_err(|reason| {
                of_group(&format!("column `{}`: {reason}", chunk.column_path().string()))
            })?;
        }
    }
    let claimed = metadata.file_metadata().num_rows();
    if claimed != rows {
        return Err(format!("it claims {claimed} rows, its row groups {rows}"));
    }
    Ok(())
}

fn check_chunk(chunk: &ColumnChunkMetaData, rows: i64, length: u64) -> Result<(), String> {
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let (Ok(start), Ok(size)) = (u64::try_from(start), u64::try_from(chunk.compressed_size()))
    else {
        return Err("it claims a negative place or size".to_owned());
    };
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Err(format!(
            "it claims {size} bytes from byte {start}, and the file has {length} (is it cut off?)"
        ));
    }
    let is_flat = chunk.column_descr().max_rep_level() == 0;
    if chunk.num_values() < 0 || (is_flat && chunk.num_values() != rows) {
        return Err(format!("it claims {} values of {rows} rows", chunk.num_values()));
    }
    Ok(())
}

/// Refuses a file of which a column to be read is compressed by what is not
/// compiled in, or has page headers that the decoder must not see.
fn check_columns(
    path: &Path,
    file: &File,
    metadata: &ArrowReaderMetadata,
    roots: &[usize],
) -> Result<(), FileError> {
    let schema = metadata.parquet_schema();
    for group in metadata.metadata().row_groups() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let is_read =
                leaf < schema.num_columns() && roots.contains(&schema.get_column_root_idx(leaf));
            let is_known = matches!(
                chunk.compression(),
                Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
            );
            if !is_read {
                continue;
            }
            if !is_known {
                let name = chunk.compression().to_string();
                let name = name.split('(').next().unwrap_or_default().to_owned();
                let reason = format!(
                    "column `{}` is compressed by {name}; expected Snappy, Zstandard or none: \
                     write the file with one of these",
                    chunk.column_path().string()
                );
                return Err(unreadable(path, &reason));
            }
            pages::check(file, chunk).map_err(|reason| damaged(path, &reason))?;
        }
    }
    Ok(())
}

/// An error or a panic of the decoder as an error of the file.
fn flatten<T>(
    path: &Path,
    outcome: Result<Result<T, impl std::fmt::Display>, String>,
) -> Result<T, FileError> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(unreadable(path, &error.to_string())),
        Err(panic) => Err(damaged(path, &panic)),
    }
}

fn damaged(path: &Path, reason: &str) -> FileError {
    // Of a panic's words the first line says enough.
    let reason = reason.lines().next().unwrap_or_default();
    unreadable(path, &format!("it is damaged: {reason}"))
}

fn unreadable(path: &Path, reason: &str) -> FileError {
    FileError::Unreadable { path: path.to_owned(), format: "Parquet", reason: reason.to_owned() }
}

fn is_castable(from: &DataType, to: &DataType) -> bool {
    let from = match from {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    if from == to {
        return true;
    }
    let is_binary = matches!(from, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    if let DataType::FixedSizeBinary(size) = from {
        return *size == 16 && to.is_string();
    }
    if is_binary {
        return to.is_string();
    }
    if from.is_nested() && !to.is_nested() {
        return false;
    }
    let is_instant = matches!(from, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    let is_number_as_time = from.is_numeric() && matches!(to, DataType::Timestamp(..));
    // Arrow would cast a moment to the number of its microseconds, and a time of
    // day to one of 1970; nobody who declares DOUBLE or TIMESTAMP means that.
    let is_time_as_number = from.is_temporal() && to.is_numeric();
    let is_no_instant = from.is_temporal() && !is_instant && to.is_temporal();
    is_number_as_time || (!is_time_as_number && !is_no_instant && can_cast_types(from, to))
}
