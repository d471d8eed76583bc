//! JSON: objects, one a line, or in an array, or one behind the other.

mod shape;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidecast_formats::{Decoded, Decoder, DecoderConfig, Payload};
use tidecast_stream::FieldColumn;

use self::values::Values;
use super::{RawBatch, Reader, Written, missing_column};
use crate::error::FileError;
use crate::format::open_text;

/// The values of a file, each with the line on which it starts.
pub(crate) struct Lines {
    path: PathBuf,
    values: Values,
    /// The second one, looked at when the first was asked for.
    ahead: Option<(u64, Vec<u8>)>,
    is_begun: bool,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let values = Values::new(open_text(path)?);
        let values = values.map_err(|error| unreadable(path, error.to_string()))?;
        Ok(Self { path: path.to_owned(), values, ahead: None, is_begun: false })
    }

    /// Returns the next value as it is written, and the number of the line, from
    /// 1, on which it starts.
    ///
    /// # Errors
    /// If the file cannot be read on, or all of it is one object that holds rows
    /// rather than being one.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, FileError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let next = self.read()?;
        if !std::mem::replace(&mut self.is_begun, true) {
            self.ahead = self.read()?;
            if let (Some((_, value)), None) = (&next, &self.ahead)
                && let Some(reason) = shape::of_rows(value)
            {
                return Err(unreadable(&self.path, reason));
            }
        }
        Ok(next)
    }

    fn read(&mut self) -> Result<Option<(u64, Vec<u8>)>, FileError> {
        self.values.next().map_err(|error| {
            unreadable(&self.path, format!("behind line {}: {error}", self.values.line()))
        })
    }
}

fn unreadable(path: &Path, reason: String) -> FileError {
    FileError::Unreadable { path: path.to_owned(), format: "JSON", reason }
}

/// Reads the table's columns of a JSON file by the decoder that topics have, but
/// for times, which are left as text: what a column's numbers count is decided
/// for all of them.
pub(crate) struct JsonReader {
    path: PathBuf,
    lines: Lines,
    decoder: Decoder,
    next_row: i64,
    is_checked: bool,
}

impl JsonReader {
    pub(crate) fn open(
        path: &Path,
        schema: &SchemaRef,
        fields: &[FieldColumn],
        start: i64,
    ) -> Result<Self, FileError> {
        let as_written = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Timestamp(..) => Field::new(field.name(), DataType::Utf8, true),
            _ => field.as_ref().clone(),
        });
        let as_written = Arc::new(Schema::new(as_written.collect::<Vec<_>>()));
        let config = DecoderConfig {
            capacity: crate::BATCH_ROWS,
            fields: fields.to_vec(),
            ..DecoderConfig::new(as_written)
        };
        let decoder = Decoder::new(config, None)?;
        let mut lines = Lines::open(path)?;
        let mut next_row = 0;
        while next_row < start && lines.next()?.is_some() {
            next_row += 1;
        }
        // Whoever reads on in the middle has had the columns checked.
        let is_checked = start > 0;
        Ok(Self { path: path.to_owned(), lines, decoder, next_row, is_checked })
    }

    /// Refuses a table with a column that no record of the first batch has: a
    /// misspelt column would otherwise be all missing.
    fn check_columns(&mut self) -> Result<(), FileError> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Ok(());
        }
        match self.decoder.absent_columns().into_iter().next() {
            Some(absent) => Err(missing_column(&self.path, &absent.column, &absent.seen)),
            None => Ok(()),
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
        self.next_row += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let bytes = lines.iter().map(|(_, line)| line.len()).sum();
        let payloads: Vec<Payload<'_>> =
            lines.iter().map(|(_, line)| Some(line.as_slice())).collect();
        let Decoded { rows, indices, bad: errors, .. } = self.decoder.decode(&payloads)?;
        self.check_columns()?;

        let offset = |index: usize| start.saturating_add(i64::try_from(index).unwrap_or(i64::MAX));
        let mut bad = Vec::new();
        for (index, error) in errors {
            let Some((line, text)) = lines.get(index) else { continue };
            bad.push((offset(index), Some(text.clone()), format!("line {line}: {error}")));
        }
        // An object may be several rows, or none.
        let good = indices.iter().filter_map(|index| lines.get(*index).cloned()).collect();
        let offsets = indices.iter().map(|index| offset(*index)).collect();
        Ok(Some(RawBatch {
            columns: rows.columns().to_vec(),
            offsets,
            written: Written::Lines(good),
            bad,
            start,
            end: self.next_row,
            bytes,
        }))
    }
}

#[cfg(test)]
mod tests;
