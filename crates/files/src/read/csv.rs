//! CSV with a header line.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::SchemaRef;
use csv::{ByteRecord, StringRecord};

use super::{RawBatch, Reader, Written};
use crate::error::{FileError, nearest};
use crate::format::open_text;

/// A CSV file as records of text.
pub(crate) struct Table {
    path: PathBuf,
    reader: csv::Reader<BufReader<Box<dyn Read + Send>>>,
    header: Vec<String>,
    record: ByteRecord,
}

/// One record, or why it is none.
pub(crate) struct Row {
    /// The line it starts on, from 1.
    pub(crate) line: u64,
    /// Its fields, as many as the header has.
    pub(crate) fields: Result<StringRecord, (Vec<u8>, String)>,
}

impl Table {
    /// Opens the file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(open_text(path)?);
        let unreadable =
            |reason: String| FileError::Unreadable { path: path.to_owned(), format: "CSV", reason };
        let header = reader.headers().map_err(|error| unreadable(error.to_string()))?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if header.is_empty() {
            return Err(unreadable("it is empty; expected a header line".to_owned()));
        }
        Ok(Self { path: path.to_owned(), reader, header, record: ByteRecord::new() })
    }

    /// Returns the names of the columns.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// Returns the next record, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, FileError> {
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| {
            FileError::Unreadable {
                path: self.path.clone(),
                format: "CSV",
                reason: error.to_string(),
            }
        })?;
        if !more {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let raw = |record: &ByteRecord| record.iter().collect::<Vec<_>>().join(&b',');
        let (found, expected) = (self.record.len(), self.header.len());
        let fields = if found != expected {
            let lines = self.reader.position().line().saturating_sub(line);
            let hint = if lines > 1 {
                format!(" (the record runs over {lines} lines: is a quote left open?)")
            } else {
                String::new()
            };
            let reason =
                format!("line {line}: has {found} fields, the header has {expected}{hint}");
            Err((raw(&self.record), reason))
        } else {
            StringRecord::from_byte_record(self.record.clone()).map_err(|error| {
                let reason = format!("line {line}: is not UTF-8: {}", error.utf8_error());
                (raw(&self.record), reason)
            })
        };
        Ok(Some(Row { line, fields }))
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

/// Reads the table's columns of a CSV file, as text.
pub(crate) struct CsvReader {
    table: Table,
    /// Where each column of the table stands in a record.
    fields: Vec<usize>,
    next_row: i64,
}

impl CsvReader {
    pub(crate) fn open(path: &Path, schema: &SchemaRef, start: i64) -> Result<Self, FileError> {
        let mut table = Table::open(path)?;
        let mut fields = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let position = table.header.iter().position(|name| name == field.name());
            fields.push(position.ok_or_else(|| missing_column(path, field.name(), &table.header))?);
        }
        let mut next_row = 0;
        while next_row < start && table.next()?.is_some() {
            next_row += 1;
        }
        Ok(Self { table, fields, next_row })
    }
}

impl Reader for CsvReader {
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError> {
        let start = self.next_row;
        let (mut offsets, mut records, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while offsets.len() + bad.len() < limit {
            let Some(row) = self.table.next()? else { break };
            match row.fields {
                Ok(fields) => {
                    bytes += fields.as_slice().len();
                    offsets.push(self.next_row);
                    records.push((row.line, fields));
                }
                Err((raw, reason)) => {
                    bytes += raw.len();
                    bad.push((self.next_row, Some(raw), reason));
                }
            }
            self.next_row += 1;
        }
        if start == self.next_row {
            return Ok(None);
        }
        let columns = self.fields.iter().map(|field| {
            let mut column = StringBuilder::new();
            for (_, record) in &records {
                column.append_option(record.get(*field));
            }
            Arc::new(column.finish()) as ArrayRef
        });
        Ok(Some(RawBatch {
            columns: columns.collect(),
            offsets,
            written: Written::Records(records),
            bad,
            start,
            end: self.next_row,
            bytes,
        }))
    }
}
