//! JSON, one object a line.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value};

use super::{RawBatch, Reader, Written, missing_column};
use crate::error::FileError;
use crate::format::open_text;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A file as lines, blank ones left out.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    line: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Ok(Self { path: path.to_owned(), reader: open_text(path)?, line: 0 })
    }

    /// Returns the next line that is not blank, and its number from 1.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, FileError> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.read_until(b'\n', &mut line).map_err(|error| {
                FileError::Unreadable {
                    path: self.path.clone(),
                    format: "JSON lines",
                    reason: format!("after line {}: {error}", self.line),
                }
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.line == 1 && line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            let content = line.trim_ascii();
            if !content.is_empty() {
                return Ok(Some((self.line, content.to_vec())));
            }
        }
    }
}

/// Reads the table's columns of a JSON lines file: plain values as text, so
/// that one bad value costs its row only.
pub(crate) struct JsonReader {
    path: PathBuf,
    lines: Lines,
    schema: SchemaRef,
    next_row: i64,
    is_checked: bool,
}

impl JsonReader {
    pub(crate) fn open(path: &Path, schema: &SchemaRef, start: i64) -> Result<Self, FileError> {
        let as_written = schema.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                nested if nested.is_nested() => nested.clone(),
                _ => DataType::Utf8,
            };
            Field::new(field.name(), data_type, true)
        });
        let schema = Arc::new(Schema::new(as_written.collect::<Vec<_>>()));
        let mut lines = Lines::open(path)?;
        let mut next_row = 0;
        while next_row < start && lines.next()?.is_some() {
            next_row += 1;
        }
        // Whoever reads on in the middle has had the columns checked.
        let is_checked = start > 0;
        Ok(Self { path: path.to_owned(), lines, schema, next_row, is_checked })
    }

    fn decode(&self, lines: &[(u64, Vec<u8>)]) -> Result<RecordBatch, String> {
        let mut decoder = arrow_json::ReaderBuilder::new(self.schema.clone())
            .with_batch_size(lines.len() + 1)
            .with_coerce_primitive(true)
            .build_decoder()
            .map_err(|error| error.to_string())?;
        for (number, (_, line)) in lines.iter().enumerate() {
            decoder.decode(line).map_err(|error| error.to_string())?;
            // The decoder needs no line ends: half an object, or two, would go
            // unnoticed and shift all rows behind.
            if decoder.has_partial_record() || decoder.len() != number + 1 {
                return Err("expected exactly one JSON object on the line".to_owned());
            }
        }
        match decoder.flush().map_err(|error| error.to_string())? {
            Some(batch) => Ok(batch),
            None => Ok(RecordBatch::new_empty(self.schema.clone())),
        }
    }

    /// Refuses a table with a column that no line of the first batch has: a
    /// misspelt column would otherwise be all missing.
    fn check_columns(&self, lines: &[(u64, Vec<u8>)]) -> Result<(), FileError> {
        let mut found = BTreeSet::new();
        for (_, line) in lines {
            if let Ok(object) = serde_json::from_slice::<Map<String, Value>>(line) {
                found.extend(object.into_iter().map(|(key, _)| key));
            }
        }
        let absent = self.schema.fields().iter().find(|field| !found.contains(field.name()));
        match absent {
            Some(field) if !found.is_empty() => {
                let found: Vec<String> = found.into_iter().collect();
                Err(missing_column(&self.path, field.name(), &found))
            }
            _ => Ok(()),
        }
    }
}

impl Reader for JsonReader {
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError> {
        let start = self.next_row;
        let mut lines = Vec::new();
        while lines.len() < limit {
            let Some(line) = self.lines.next()? else { break };
            lines.push(line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        if !self.is_checked {
            self.check_columns(&lines)?;
            self.is_checked = true;
        }
        self.next_row += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let bytes = lines.iter().map(|(_, line)| line.len()).sum();

        let mut offsets: Vec<i64> = (start..self.next_row).collect();
        let mut bad = Vec::new();
        let rows = match self.decode(&lines) {
            Ok(rows) => rows,
            Err(_) => {
                let (mut good_lines, mut good_offsets) = (Vec::new(), Vec::new());
                for (line, offset) in lines.into_iter().zip(offsets) {
                    match self.decode(std::slice::from_ref(&line)) {
                        Ok(_) => {
                            good_lines.push(line);
                            good_offsets.push(offset);
                        }
                        Err(reason) => {
                            let reason = format!("line {}: {reason}", line.0);
                            bad.push((offset, Some(line.1), reason));
                        }
                    }
                }
                (lines, offsets) = (good_lines, good_offsets);
                self.decode(&lines).map_err(|reason| FileError::Unreadable {
                    path: self.path.clone(),
                    format: "JSON lines",
                    reason,
                })?
            }
        };
        Ok(Some(RawBatch {
            columns: rows.columns().to_vec(),
            offsets,
            written: Written::Lines(lines),
            bad,
            start,
            end: self.next_row,
            bytes,
        }))
    }
}
