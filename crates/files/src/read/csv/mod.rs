//! Separated values with a header line.

mod dialect;
mod lines;
mod record;
mod spread;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::SchemaRef;
use memchr::memchr;
use tidecast_formats::time::TimeRule;

pub(crate) use self::dialect::Delimiter;
use self::lines::{Lines, unreadable};
use self::record::{Fields, Split};
use self::spread::Layout;
use super::{RawBatch, Reader, Written, position};
use crate::error::FileError;
use crate::numbers::NumberStyle;
use tidecast_stream::FileFormat;

/// A quoted text that runs over more lines, or more bytes, was opened by mistake.
const MAX_QUOTED_LINES: u64 = 1000;
const MAX_QUOTED_BYTES: usize = 1024 * 1024;

/// A file as records.
struct Table {
    path: PathBuf,
    lines: Lines,
    delimiter: Delimiter,
    header: Vec<String>,
    /// How many names the header has, empty ones at its end not counted.
    names: usize,
    fields: Fields,
    /// Length of the record handed out last, and how many lines it is.
    handed_out: (usize, u64),
}

/// One record, or why it is none.
struct Row<'a> {
    /// The line it starts on, from 1.
    line: u64,
    /// It as written, line end included.
    raw: &'a [u8],
    /// Its fields, as many as the header has.
    fields: Result<Record<'a>, String>,
}

/// The fields of a record.
#[derive(Clone, Copy)]
struct Record<'a> {
    text: &'a str,
    fields: &'a Fields,
}

impl<'a> Record<'a> {
    /// Returns the text of a field, quotes off; empty if there is none.
    fn get(&self, field: usize) -> &'a str {
        self.text.get(self.fields.range(field)).unwrap_or_default()
    }
}

impl Table {
    /// Opens the file, tells its delimiter and reads its header.
    fn open(path: &Path) -> Result<Self, FileError> {
        let lines = Lines::open(path)?;
        let delimiter = Delimiter::sniff(lines.ahead(), lines.is_done());
        let mut table = Self {
            path: path.to_owned(),
            lines,
            delimiter,
            header: Vec::new(),
            names: 0,
            fields: Fields::default(),
            handed_out: (0, 0),
        };
        if delimiter.is_said {
            let length = table.lines.find_end(0)?.unwrap_or_default();
            table.lines.advance(length, 1);
        }
        table.read_header()?;
        Ok(table)
    }

    fn read_header(&mut self) -> Result<(), FileError> {
        let Some(problem) = self.find_record()? else {
            return Err(unreadable(&self.path, "it is empty; expected a header line".to_owned()));
        };
        if let Some(reason) = problem {
            let line = self.lines.line();
            return Err(unreadable(&self.path, format!("the header on line {line} {reason}")));
        }
        let raw = self.lines.text(self.handed_out.0);
        let text = text_of(&self.fields, raw, self.lines.may_hold_nul()).map_err(|reason| {
            let line = self.lines.line();
            unreadable(&self.path, format!("the header on line {line} {reason}"))
        })?;
        let record = Record { text, fields: &self.fields };
        self.header =
            (0..self.fields.len()).map(|field| record.get(field).trim().to_owned()).collect();
        let last_name = self.header.iter().rposition(|name| !name.is_empty());
        self.names = last_name.map_or(0, |last| last + 1);
        Ok(())
    }

    /// Returns whether the first line holds values rather than names: each a
    /// number or a time, and not all of them years, which may be names.
    fn has_no_header(&self) -> bool {
        let named = self.header.iter().filter(|name| !name.is_empty());
        let is_number = |text: &str| NumberStyle::default().number(text).is_some();
        let is_value = |text: &str| is_number(text) || TimeRule::default().parse(text).is_ok();
        let is_year = |text: &str| text.parse().is_ok_and(|year: u32| (1500..2300).contains(&year));
        let mut is_all_years = true;
        let mut count = 0;
        for name in named {
            if !is_value(name) {
                return false;
            }
            is_all_years &= is_year(name);
            count += 1;
        }
        count > 1 && !is_all_years
    }

    /// Returns the next record, or `None` at the end. Those of which all fields
    /// are empty are left out like blank lines.
    fn next(&mut self) -> Result<Option<Row<'_>>, FileError> {
        let Some(problem) = self.find_record()? else { return Ok(None) };
        let line = self.lines.line();
        let raw = self.lines.text(self.handed_out.0);
        let fields = match problem {
            Some(reason) => Err(reason),
            None => text_of(&self.fields, raw, self.lines.may_hold_nul())
                .map(|text| Record { text, fields: &self.fields }),
        };
        Ok(Some(Row { line, raw, fields }))
    }

    /// Finds the next record that is not blank; says what is wrong with it.
    fn find_record(&mut self) -> Result<Option<Option<String>>, FileError> {
        loop {
            let (length, lines) = std::mem::take(&mut self.handed_out);
            self.lines.advance(length, lines);
            let Some(first) = self.lines.find_end(0)? else { return Ok(None) };
            let problem = self.split(first)?;
            // Of a record with an open quote the fields are not those of its line.
            let line = self.lines.text(first);
            let has_fields = problem.is_none() || memchr(b'"', line).is_none();
            if has_fields && is_blank(&self.fields, line) {
                continue;
            }
            return Ok(Some(problem));
        }
    }

    /// Splits the record that starts with the line of `first` bytes.
    fn split(&mut self, first: usize) -> Result<Option<String>, FileError> {
        self.handed_out = (first, 1);
        let delimiter = self.delimiter.byte;
        let (mut length, mut lines) = (first, 1);
        let mut state = self.fields.split(self.lines.text(first), delimiter);
        while state == Split::Open && lines < MAX_QUOTED_LINES && length < MAX_QUOTED_BYTES {
            let Some(end) = self.lines.find_end(length)? else { break };
            let text = self.lines.text(end);
            let is_quote_in_line = memchr(b'"', text.get(length..).unwrap_or_default()).is_some();
            (length, lines) = (end, lines + 1);
            if is_quote_in_line {
                state = self.fields.split(text, delimiter);
            }
        }
        let has_header = !self.header.is_empty();
        if state == Split::Whole && (!has_header || self.fields.fits(self.names)) {
            self.handed_out = (length, lines);
            return Ok(None);
        }
        if state == Split::Whole && lines == 1 {
            let (found, expected) = (self.fields.len(), self.header.len());
            return Ok(Some(format!("has {found} fields, the header has {expected}")));
        }
        // The quote is taken to be a mistake: it costs its own line, not what
        // stands between it and the next one.
        let closed = match state {
            Split::Open => "is not closed",
            _ => "is closed on another line, where the fields do not fit the header",
        };
        Ok(Some(format!("a quote that is opened in it {closed}; expected `\"` in pairs")))
    }
}

/// Returns the text of a record, if it is UTF-8 without NUL.
fn text_of<'a>(fields: &'a Fields, raw: &'a [u8], may_hold_nul: bool) -> Result<&'a str, String> {
    let text = fields.text(raw);
    if may_hold_nul && memchr(0, text).is_some() {
        return Err("holds NUL bytes; expected text".to_owned());
    }
    std::str::from_utf8(text).map_err(|error| {
        let place = error.valid_up_to();
        let field = (0..fields.len()).find(|field| fields.range(*field).end > place);
        let byte = text.get(place).copied().unwrap_or_default();
        format!(
            "is not UTF-8: byte 0x{byte:02X} in field {}; if it is Windows-1252 (Latin-1), \
             convert it with `iconv -f WINDOWS-1252 -t UTF-8`",
            field.unwrap_or_default() + 1
        )
    })
}

/// Most records say by their first byte that they are not blank.
fn is_blank(fields: &Fields, line: &[u8]) -> bool {
    let may_be = match line.first() {
        Some(byte) => byte.is_ascii_whitespace() || !byte.is_ascii_alphanumeric(),
        None => true,
    };
    may_be && (fields.is_blank() || line.trim_ascii().is_empty())
}

/// Reads the table's columns of a file, as text; an empty field is null.
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
            match position(path, FileFormat::Csv, field.name(), &table.header) {
                Ok(position) => fields.push(position),
                Err(FileError::MissingColumn { .. }) if table.has_no_header() => {
                    return Err(FileError::no_header(path, &table.header));
                }
                Err(error) => return Err(error),
            }
        }
        let mut next_row = 0;
        while next_row < start && table.next()?.is_some() {
            next_row += 1;
        }
        Ok(Self { table, fields, next_row })
    }

    /// Opens the file for reading all its columns.
    pub(crate) fn open_all(path: &Path) -> Result<Self, FileError> {
        let table = Table::open(path)?;
        let fields = (0..table.header.len()).collect();
        Ok(Self { table, fields, next_row: 0 })
    }

    /// Returns the names of the file's columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.table.header
    }

    /// Returns values of all columns from rows that lie between what has been
    /// read and the file's end, as far as it can be gone to; null where empty.
    pub(crate) fn spread(&self) -> Vec<ArrayRef> {
        let lines = &self.table.lines;
        let layout = Layout {
            delimiter: self.table.delimiter.byte,
            line_end: lines.line_end(),
            fields: self.table.names,
        };
        let mut columns: Vec<StringBuilder> =
            self.table.header.iter().map(|_| StringBuilder::new()).collect();
        if !lines.is_done() || !lines.ahead().is_empty() {
            let behind = lines.passed() + self.table.handed_out.0 as u64;
            spread::add_records(&self.table.path, behind, layout, &mut columns);
        }
        finished(columns)
    }

    /// Returns what separates its fields.
    pub(crate) fn delimiter(&self) -> Delimiter {
        self.table.delimiter
    }

    /// Returns whether its first line holds values rather than names.
    pub(crate) fn has_no_header(&self) -> bool {
        self.table.has_no_header()
    }
}

fn finished(columns: Vec<StringBuilder>) -> Vec<ArrayRef> {
    columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect()
}

impl Reader for CsvReader {
    fn next(&mut self, limit: usize) -> Result<Option<RawBatch>, FileError> {
        let start = self.next_row;
        let (mut offsets, mut lines, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let mut columns: Vec<StringBuilder> =
            self.fields.iter().map(|_| StringBuilder::new()).collect();
        while offsets.len() + bad.len() < limit {
            let Some(row) = self.table.next()? else { break };
            match row.fields {
                Ok(record) => {
                    text.extend_from_slice(row.raw);
                    ends.push(text.len());
                    lines.push(row.line);
                    offsets.push(self.next_row);
                    for (column, field) in columns.iter_mut().zip(&self.fields) {
                        let value = record.get(*field);
                        column.append_option((!value.is_empty()).then_some(value));
                    }
                }
                Err(reason) => {
                    let reason = format!("line {}: {reason}", row.line);
                    bad.push((self.next_row, Some(row.raw.to_vec()), reason));
                }
            }
            self.next_row += 1;
        }
        if start == self.next_row {
            return Ok(None);
        }
        let bad_bytes = bad.iter().filter_map(|(_, raw, _)| raw.as_ref()).map(Vec::len);
        Ok(Some(RawBatch {
            columns: finished(columns),
            bytes: text.len() + bad_bytes.sum::<usize>(),
            offsets,
            written: Written::Records { text, ends, lines },
            bad,
            start,
            end: self.next_row,
        }))
    }
}
