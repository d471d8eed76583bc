//! JSON payloads to Arrow rows, and forecasts to JSON, for topics and files alike.
//!
//! One record is one JSON object is one row. What a value means follows from the
//! column that it is for:
//!
//! | column | values |
//! |--------|--------|
//! | text | a string as it is, `""` included; a number or truth value by its characters (`7.10` is `7.10`) |
//! | number | a number, quoted or not; whole-number columns take `7.0` and refuse `7.5` |
//! | truth value | `true`, `false`, quoted or not |
//! | time | a text or number as [`crate::time`] has it |
//! | date | a text, or the days since 1970 |
//!
//! Missing are `null`, a field that is not there, a bare `NaN`, and, for all but
//! text, the words of [`crate::is_missing`]. Infinities and numbers too large
//! for their column make a bad record. Fields the table does not have are
//! ignored; a field given twice counts with its last value. A column is the field
//! of exactly its name, else the only field whose name differs in case alone.
//!
//! A byte order mark in front of a record is taken off, and so are the five bytes
//! of a schema registry in front of an object.
//!
//! What cannot be a row is reported record by record and never holds up the
//! others. Each record is judged by itself, in one pass from its bytes to the
//! columns: what becomes of it depends on no other, and records of an unusual kind
//! (numbers as text, other case, numbers as times) are no slower for being all.

mod columns;
mod envelope;
pub(crate) mod explain;
mod forecast;
mod names;
mod scan;

use std::borrow::Cow;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use self::columns::{Column, Unfit};
pub use self::forecast::{decode_forecast, encode_forecast};
use self::names::{Match, Names};
use self::scan::{Scanner, Token};
use tidecast_stream::Tombstones;

use crate::time::TimeRule;

/// A record's value as it came; `None` for a tombstone.
pub type Payload<'a> = Option<&'a [u8]>;

/// The depth at which nesting stops being data.
const MAX_DEPTH: usize = 64;

/// Decodes records to the columns of one table.
pub struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Box<dyn Column>>,
    names: Names,
    /// How many records were objects.
    records: u64,
    /// For each column, how many of them had it.
    had: Vec<u64>,
    /// Columns that are no field of records.
    beside: Vec<usize>,
    /// The column that a record's value is by itself, if it is no object.
    bare: Option<usize>,
    tombstones: Tombstones,
}

/// What became of a batch of records: every index is in exactly one of the two, unless it
/// is of a tombstone that is passed over.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of their records.
    pub rows: RecordBatch,
    /// For each row, the index of its record.
    pub indices: Vec<usize>,
    /// The records that are no row, in order: index, and what was expected.
    pub bad: Vec<(usize, String)>,
    /// Records without a value that were passed over; they are in neither of the two.
    pub tombstones: u64,
}

/// A field's value, for whoever looks at a record without a table.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// `null`, or a bare `NaN`.
    Missing,
    /// A string's text.
    Text(Cow<'a, str>),
    /// A number or truth value, as written.
    Plain(Cow<'a, str>),
    /// An object or a list, as written.
    Nested(&'a str),
}

/// Passes the fields of a record to `visit`, names unescaped, in the order in
/// which they are written.
///
/// # Errors
/// If it is no JSON object, with the reason; fields in front were visited.
pub fn fields<'a>(
    payload: &'a [u8],
    mut visit: impl FnMut(Cow<'a, str>, FieldValue<'a>),
) -> Result<(), String> {
    let unescaped = |text: &'a str, has_escapes: bool| {
        if has_escapes { scan::unescape(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
    };
    let mut broken = None;
    Scanner::new(envelope::open(Some(payload))?).object(|(name, has_escapes), token| {
        let value = match token {
            Token::Null | Token::NotANumber => Ok(FieldValue::Missing),
            Token::Text(text, has_escapes) => unescaped(text, has_escapes).map(FieldValue::Text),
            Token::Nested(text) => Ok(FieldValue::Nested(text)),
            plain => Ok(FieldValue::Plain(plain.written())),
        };
        match unescaped(name, has_escapes).and_then(|name| Ok((name, value?))) {
            Ok((name, value)) => visit(name, value),
            Err(error) => broken = broken.take().or(Some(error)),
        }
    })?;
    broken.map_or(Ok(()), Err)
}

/// A column that no record has had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentColumn {
    /// The column.
    pub column: String,
    /// The field that is most like it, if one is.
    pub nearest: Option<String>,
    /// Fields that records have had, in order, up to 64.
    pub seen: Vec<String>,
}

impl std::fmt::Display for AbsentColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 12;
        write!(f, "no record had a column `{}`", self.column)?;
        let names: Vec<String> = self.seen.iter().take(SHOWN).map(|name| quoted(name)).collect();
        let more = if self.seen.len() > SHOWN { ", …" } else { "" };
        match names.as_slice() {
            [] => write!(f, "; they have no fields")?,
            names => write!(f, "; they have {}{more}", names.join(", "))?,
        }
        let Some(nearest) = &self.nearest else { return Ok(()) };
        write!(f, "; did you mean {}?", quoted(nearest))
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", explain::quote(name.as_bytes()))
}

impl std::fmt::Debug for JsonDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonDecoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// A column from beside the record's value, and its text.
type Beside<'a> = (usize, Option<Cow<'a, str>>);

/// A field that may be a column's value.
#[derive(Clone, Copy, Default)]
struct Slot<'a> {
    exact: Option<Token<'a>>,
    /// A field whose name differs in case, by its name; with another such it is
    /// neither.
    loose: Option<(&'a str, Token<'a>)>,
    is_ambiguous: bool,
}

impl<'a> Slot<'a> {
    fn token(&self) -> Option<Token<'a>> {
        let loose = self.loose.map(|(_, token)| token).filter(|_| !self.is_ambiguous);
        self.exact.or(loose)
    }
}

impl JsonDecoder {
    /// Returns a decoder of batches of (usually) at most `capacity` records, with
    /// one rule for all columns of times.
    ///
    /// # Errors
    /// If a column has a type that JSON cannot give.
    pub fn new(schema: SchemaRef, capacity: usize, rule: TimeRule) -> Result<Self, ArrowError> {
        let fields = schema.fields();
        let columns = fields.iter().map(|field| columns::column(field, capacity, rule));
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            names: Names::new(&schema, &[]),
            beside: Vec::new(),
            bare: None,
            tombstones: Tombstones::Bad,
            records: 0,
            had: vec![0; fields.len()],
            schema,
        })
    }

    /// Takes these columns from beside the records' values: a field of their name counts
    /// for nothing, and [`decode_beside`](Self::decode_beside) is told their values.
    #[must_use]
    pub fn beside(mut self, columns: &[usize]) -> Self {
        self.names = Names::new(&self.schema, columns);
        self.beside = columns.to_vec();
        self
    }

    /// Says what a record without a value is; a bad one unless said.
    #[must_use]
    pub fn tombstones(mut self, tombstones: Tombstones) -> Self {
        self.tombstones = tombstones;
        self
    }

    /// Takes records' values as texts of this column, each by itself and no JSON: what a
    /// text means follows from the column, as for a quoted one in an object.
    #[must_use]
    pub fn bare(mut self, column: usize) -> Self {
        self.bare = Some(column);
        self
    }

    /// Decodes `payloads`. Together they should stay below 1 GiB, as Arrow's
    /// strings have 32-bit offsets.
    ///
    /// # Errors
    /// None on account of a payload: only if Arrow itself fails.
    pub fn decode(&mut self, payloads: &[Payload<'_>]) -> Result<Decoded, ArrowError> {
        self.decode_beside(payloads, |_, _| Ok(None))
    }

    /// Decodes `payloads` with what stands beside each: `value` returns the text of the
    /// record of this index for this column, `None` if it has none, or why it is of no use.
    /// What a text means follows from the column, as for a quoted one in a record.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_beside<'a>(
        &mut self,
        payloads: &[Payload<'a>],
        value: impl Fn(usize, usize) -> Result<Option<Cow<'a, str>>, String>,
    ) -> Result<Decoded, ArrowError> {
        let mut indices = Vec::with_capacity(payloads.len());
        let mut bad = Vec::new();
        // Which of the rows begun turned out to be none; empty while all are.
        let mut is_row = Vec::new();
        let (mut begun, mut tombstones) = (0, 0);
        let mut slots = vec![Slot::default(); self.columns.len()];
        for (index, payload) in payloads.iter().enumerate() {
            if payload.is_none() && self.tombstones == Tombstones::Skip {
                tombstones += 1;
                continue;
            }
            if let Err(error) = self.scan(*payload, &mut slots) {
                bad.push((index, error));
                continue;
            }
            let beside = self.beside.iter().map(|column| Ok((*column, value(index, *column)?)));
            let beside: Result<Vec<Beside<'_>>, String> = beside.collect();
            let beside = match beside {
                Ok(beside) => beside,
                Err(error) => {
                    bad.push((index, error));
                    continue;
                }
            };
            begun += 1;
            match self.append(&slots, &beside) {
                Ok(()) => indices.push(index),
                Err(error) => {
                    bad.push((index, error));
                    is_row.resize(begun - 1, true);
                    is_row.push(false);
                }
            }
        }
        is_row.resize(if is_row.is_empty() { 0 } else { begun }, true);
        let rows = self.finish(is_row, indices.len())?;
        Ok(Decoded { rows, indices, bad, tombstones })
    }

    /// Finds the values of the table's columns in a record.
    #[inline]
    fn scan<'a>(&mut self, payload: Payload<'a>, slots: &mut [Slot<'a>]) -> Result<(), String> {
        slots.fill(Slot::default());
        if let Some(column) = self.bare {
            let value = envelope::bare(payload)?;
            if let Some(slot) = slots.get_mut(column) {
                slot.exact = Some(Token::Text(value, false));
            }
            return Ok(());
        }
        let names = &mut self.names;
        let mut position = 0;
        Scanner::new(envelope::open(payload)?).object(|name, token| {
            match names.find(position, name) {
                Match::Exact(column) => {
                    if let Some(slot) = slots.get_mut(*column) {
                        slot.exact = Some(token);
                    }
                }
                Match::Loose(columns) => {
                    for column in columns {
                        let Some(slot) = slots.get_mut(*column) else { continue };
                        slot.is_ambiguous |= slot.loose.is_some_and(|(known, _)| known != name.0);
                        slot.loose = Some((name.0, token));
                    }
                }
                Match::None => {}
            }
            position += 1;
        })
    }

    /// Appends a row. Where a value is none of its column, the row is one of
    /// nulls, for the columns to stay of one length.
    fn append(&mut self, slots: &[Slot<'_>], beside: &[Beside<'_>]) -> Result<(), String> {
        self.records += 1;
        let mut error = None;
        let fields = self.schema.fields();
        let columns = self.columns.iter_mut().zip(slots).zip(fields).zip(&mut self.had);
        for (index, (((column, slot), field), had)) in columns.enumerate() {
            let token = match beside.iter().find(|(column, _)| *column == index) {
                None => slot.token(),
                Some((_, text)) => text.as_ref().map(|text| Token::Text(text, false)),
            };
            *had += u64::from(token.is_some());
            let pushed = match token {
                Some(token) => column.push(token),
                None if field.is_nullable() => {
                    column.push_null();
                    Ok(())
                }
                None => Err(Unfit::Missing),
            };
            if let Err(unfit) = pushed {
                column.push_null();
                error.get_or_insert_with(|| unfit.explain(field, token.unwrap_or(Token::Null)));
            }
        }
        error.map_or(Ok(()), Err)
    }

    fn finish(&mut self, is_row: Vec<bool>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> =
            self.columns.iter_mut().map(|column| column.finish()).collect();
        if !is_row.is_empty() {
            let is_row = BooleanArray::from(is_row);
            columns = columns
                .iter()
                .map(|column| filter(column.as_ref(), &is_row))
                .collect::<Result<_, _>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// Returns how many records were JSON objects so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the columns that none of the records so far had, whatever their
    /// values, in the table's order. Worth asking once there were enough records,
    /// or all of them.
    pub fn absent_columns(&self) -> Vec<AbsentColumn> {
        let fields = self.schema.fields().iter().zip(&self.had).enumerate();
        let absent = fields.filter(|(index, (_, had))| {
            **had == 0 && self.records > 0 && !self.beside.contains(index)
        });
        absent
            .map(|(_, (field, _))| AbsentColumn {
                column: field.name().clone(),
                nearest: self.names.nearest(field.name()).cloned(),
                seen: self.names.seen().cloned().collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
