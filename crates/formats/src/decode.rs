//! Records to rows of a table, whatever their format.
//!
//! What a value means follows from the column that it is for:
//!
//! | column | values |
//! |--------|--------|
//! | text | a text as it is, `""` included; a number or truth value by its characters (`7.10` is `7.10`) |
//! | number | a number, quoted or not; whole-number columns take `7.0` and refuse `7.5` |
//! | truth value | `true`, `false`, quoted or not |
//! | time | a text or number as [`crate::time`] has it |
//! | date | a text, or the days since 1970 |
//!
//! Missing are `null`, a field that is not there, a bare `NaN`, and, for all but
//! text, the words of [`crate::is_missing`]. Infinities and numbers too large
//! for their column make a bad record. Fields the table does not have are
//! ignored; a field given twice counts with its last value. A column is the field
//! of exactly its name, else the only field whose name differs in case alone, or the one
//! at the end of the path that the table gives it.
//!
//! What cannot be a row is reported record by record and never holds up the
//! others. Each record is judged by itself: what becomes of it depends on no other.

mod absent;
mod config;
mod elements;

use std::borrow::Cow;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::error::ArrowError;
use tidecast_stream::{SchemaFraming, Tombstones, ValueFormat};

pub use self::absent::AbsentColumn;
pub use self::config::{DecodeError, DecoderConfig};
use crate::avro::{self, AvroReader};
use crate::column::{self, Column, Unfit};
use crate::csv::{self, CsvReader};
use crate::fields::{Fields, Slot, Spread};
use crate::json::{debezium, envelope};
use crate::protobuf::{self, ProtobufReader};
use crate::schemas::SchemaSource;
use crate::value::Value;

/// A record's value as it came; `None` for a tombstone.
pub type Payload<'a> = Option<&'a [u8]>;

/// Decodes records to the columns of one table.
pub struct Decoder {
    config: DecoderConfig,
    columns: Vec<Box<dyn Column>>,
    fields: Fields,
    spread: Option<Spread>,
    reader: Reader,
    /// How many records were rows of fields.
    records: u64,
    /// For each column, how many of them had it.
    had: Vec<u64>,
}

/// What a record's fields are found by.
enum Reader {
    Json,
    DebeziumJson,
    /// The value is this column.
    Raw(usize),
    Csv(CsvReader),
    Avro(Box<AvroReader>),
    Protobuf(Box<ProtobufReader>),
}

/// What a batch is read from beside its bytes.
enum Prepared {
    Nothing,
    Csv(csv::Parsed),
    Avro(avro::Rows),
    Protobuf(protobuf::Rows),
}

/// What became of a batch of records: every index is in exactly one of the two, unless it
/// is of a tombstone that is passed over, or of a record whose list of rows is empty.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of their records.
    pub rows: RecordBatch,
    /// For each row, the index of its record; the rows of a list have the same.
    pub indices: Vec<usize>,
    /// The records that are no row, in order: index, and what was expected.
    pub bad: Vec<(usize, String)>,
    /// Records without a value that were passed over; they are in neither of the two.
    pub tombstones: u64,
}

/// What a record's value turned out to be.
pub(crate) enum Found {
    /// Fields.
    Row,
    /// Nothing: what the record is about is gone.
    Gone,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A column from beside the record's value, and its text.
type Beside<'a> = (usize, Option<Cow<'a, str>>);

impl Decoder {
    /// Returns a decoder that finds the schemas which records name in `schemas`.
    ///
    /// # Errors
    /// If a column has a type that records cannot give, or the format's own schema is of
    /// no use.
    pub fn new(
        config: DecoderConfig,
        schemas: Option<Box<dyn SchemaSource>>,
    ) -> Result<Self, DecodeError> {
        let columns = config.schema.fields().iter().map(|field| {
            column::column(field, config.capacity, config.rule).ok_or_else(|| DecodeError::Column {
                name: field.name().clone(),
                data_type: field.data_type().to_string(),
            })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let in_value = (0..columns.len()).filter(|column| !config.beside.contains(column));
        let reader = match &config.format {
            ValueFormat::Json => Reader::Json,
            ValueFormat::DebeziumJson => Reader::DebeziumJson,
            ValueFormat::Raw => Reader::Raw(in_value.clone().next().unwrap_or_default()),
            ValueFormat::Csv(dialect) => Reader::Csv(CsvReader::new(*dialect, in_value.collect())),
            ValueFormat::Avro(format) => {
                Reader::Avro(Box::new(AvroReader::new(format.framing, &config, schemas)?))
            }
            ValueFormat::Protobuf(format) => {
                let message = format.message.as_deref();
                let reader = ProtobufReader::new(format.framing, message, &config, schemas)?;
                Reader::Protobuf(Box::new(reader))
            }
        };
        Ok(Self {
            fields: Fields::new(&config.schema, &config.beside, &config.fields),
            spread: Spread::of(&config.schema, &config.fields),
            reader,
            records: 0,
            had: vec![0; columns.len()],
            columns,
            config,
        })
    }

    /// Decodes `payloads`. Together they should stay below 1 GiB, as Arrow's
    /// strings have 32-bit offsets.
    ///
    /// # Errors
    /// None on account of a payload: only if a schema cannot be had, or Arrow fails.
    pub fn decode(&mut self, payloads: &[Payload<'_>]) -> Result<Decoded, DecodeError> {
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
    ) -> Result<Decoded, DecodeError> {
        self.decode_records(payloads, value, |_, _| None)
    }

    /// Decodes `payloads` as [`decode_beside`](Self::decode_beside) does, where headers may tell
    /// the schema: `header` returns the last one of this name of the record of this index.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_records<'a>(
        &mut self,
        payloads: &[Payload<'a>],
        value: impl Fn(usize, usize) -> Result<Option<Cow<'a, str>>, String>,
        header: impl Fn(usize, &str) -> Option<&'a [u8]>,
    ) -> Result<Decoded, DecodeError> {
        let prepared = match &mut self.reader {
            Reader::Json | Reader::DebeziumJson | Reader::Raw(_) => Prepared::Nothing,
            Reader::Csv(reader) => Prepared::Csv(reader.parse(payloads)),
            Reader::Avro(reader) => {
                let spread = self.spread.as_mut();
                Prepared::Avro(reader.read(payloads, &header, &mut self.fields, spread)?)
            }
            Reader::Protobuf(reader) => {
                let spread = self.spread.as_mut();
                Prepared::Protobuf(reader.read(payloads, &header, &mut self.fields, spread)?)
            }
        };
        let mut indices = Vec::with_capacity(payloads.len());
        let mut bad = Vec::new();
        // Which of the rows begun turned out to be none; empty while all are.
        let mut is_row = Vec::new();
        let (mut begun, mut tombstones) = (0, 0);
        let mut slots = vec![Slot::default(); self.columns.len() + 1];
        for (index, payload) in payloads.iter().enumerate() {
            slots.fill(Slot::default());
            let found = match payload {
                Some(payload) => self.find(index, payload, &prepared, &mut slots),
                None => Ok(Found::Gone),
            };
            match found {
                Ok(Found::Row) => {}
                Ok(Found::Gone) if self.config.tombstones == Tombstones::Skip => {
                    tombstones += 1;
                    continue;
                }
                Ok(Found::Gone) => {
                    bad.push((index, self.tombstone(payload.is_some())));
                    continue;
                }
                Err(error) => {
                    bad.push((index, error));
                    continue;
                }
            }
            let beside = self.config.beside.iter();
            let beside = beside.map(|column| Ok((*column, value(index, *column)?)));
            let beside: Result<Vec<Beside<'_>>, String> = beside.collect();
            let beside = match beside {
                Ok(beside) => beside,
                Err(error) => {
                    bad.push((index, error));
                    continue;
                }
            };
            let before = begun;
            let appended = match &self.spread {
                None => {
                    begun += 1;
                    self.append(&slots, &beside)
                }
                Some(_) => self.append_elements(index, &prepared, &slots, &beside, &mut begun),
            };
            match appended {
                Ok(()) => indices.extend(std::iter::repeat_n(index, begun - before)),
                Err(error) => {
                    bad.push((index, error));
                    is_row.resize(before, true);
                    is_row.resize(begun, false);
                }
            }
        }
        is_row.resize(if is_row.is_empty() { 0 } else { begun }, true);
        let rows = self.finish(is_row, indices.len())?;
        Ok(Decoded { rows, indices, bad, tombstones })
    }

    /// Finds the values of the table's columns in a record.
    #[inline]
    fn find<'a>(
        &mut self,
        index: usize,
        payload: &'a [u8],
        prepared: &'a Prepared,
        slots: &mut [Slot<'a>],
    ) -> Result<Found, String> {
        // Most are this, and each record passes here.
        if let Reader::Json = self.reader {
            return self.fields.scan(envelope::open(payload)?, slots).map(|()| Found::Row);
        }
        self.find_other(index, payload, prepared, slots)
    }

    /// Finds them in a record that is no JSON object by itself.
    #[inline(never)]
    fn find_other<'a>(
        &mut self,
        index: usize,
        payload: &'a [u8],
        prepared: &'a Prepared,
        slots: &mut [Slot<'a>],
    ) -> Result<Found, String> {
        match (&self.reader, prepared) {
            (Reader::Raw(column), _) => {
                let value = envelope::bare(payload)?;
                if let Some(slot) = slots.get_mut(*column) {
                    slot.exact = Some(Value::Text(value, false));
                }
            }
            (Reader::DebeziumJson, _) => {
                let Some(row) = debezium::row(envelope::open(payload)?)? else {
                    return Ok(Found::Gone);
                };
                self.fields.scan(row, slots)?;
            }
            (Reader::Csv(reader), Prepared::Csv(parsed)) => reader.find(parsed, index, slots)?,
            (Reader::Avro(_), Prepared::Avro(rows)) => rows.find(index, slots)?,
            (Reader::Protobuf(_), Prepared::Protobuf(rows)) => rows.find(index, slots)?,
            _ => self.fields.scan(envelope::open(payload)?, slots)?,
        }
        Ok(Found::Row)
    }

    /// Says that a record without a row is none: one without a value, or whose value says
    /// that its row is gone.
    fn tombstone(&self, has_value: bool) -> String {
        let expected = match &self.config.format {
            ValueFormat::Json => "a JSON object",
            ValueFormat::DebeziumJson if has_value => {
                return "a row that is gone (a delete or truncate): expected a row behind the \
                        change; 'tombstones'='skip' passes over it"
                    .to_owned();
            }
            ValueFormat::DebeziumJson => "a change event",
            ValueFormat::Raw => "a text",
            ValueFormat::Csv(_) => "a CSV record",
            ValueFormat::Avro(_) => "an Avro record",
            ValueFormat::Protobuf(_) => "a Protobuf message",
        };
        format!("a tombstone (no value): expected {expected}")
    }

    /// Appends a row. Where a value is none of its column, the row is one of
    /// nulls, for the columns to stay of one length.
    fn append(&mut self, slots: &[Slot<'_>], beside: &[Beside<'_>]) -> Result<(), String> {
        self.records += 1;
        let mut error = None;
        let fields = self.config.schema.fields();
        let columns = self.columns.iter_mut().zip(slots).zip(fields).zip(&mut self.had);
        for (index, (((column, slot), field), had)) in columns.enumerate() {
            let value = match beside.iter().find(|(column, _)| *column == index) {
                None => slot.value(),
                Some((_, text)) => text.as_ref().map(|text| Value::Text(text, false)),
            };
            *had += u64::from(value.is_some());
            let pushed = match value {
                Some(value) => column.push(value),
                None if field.is_nullable() => {
                    column.push_null();
                    Ok(())
                }
                None => Err(Unfit::Missing),
            };
            if let Err(unfit) = pushed {
                column.push_null();
                error.get_or_insert_with(|| unfit.explain(field, value.unwrap_or(Value::Null)));
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
        RecordBatch::try_new_with_options(self.config.schema.clone(), columns, &options)
    }

    /// Returns how many records had fields so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the columns that none of the records so far had, whatever their
    /// values, in the table's order. Worth asking once there were enough records,
    /// or all of them.
    pub fn absent_columns(&self) -> Vec<AbsentColumn> {
        let fields = self.config.schema.fields().iter().zip(&self.had).enumerate();
        let absent = fields.filter(|(index, (_, had))| {
            **had == 0 && self.records > 0 && !self.config.beside.contains(index)
        });
        absent
            .map(|(index, (field, _))| {
                let path = self.config.fields.iter().find(|path| path.column == index);
                let segments =
                    path.map_or(std::slice::from_ref(field.name()), |path| path.path.segments());
                let in_element = path.and_then(|path| path.path.in_element());
                let place = match (&self.spread, in_element) {
                    (Some(spread), Some(names)) => spread.fields.place(names),
                    _ => self.fields.place(segments),
                };
                AbsentColumn {
                    column: field.name().clone(),
                    path: path.map(|path| path.path.clone()),
                    nearest: place.and_then(|(names, name)| names.nearest(name).cloned()),
                    seen: place.map_or(Vec::new(), |(names, _)| names.seen().cloned().collect()),
                }
            })
            .collect()
    }
}

/// Returns whether records of `format` name schemas that somebody else keeps.
pub fn needs_registry(format: &ValueFormat) -> bool {
    format.framing() != SchemaFraming::None
}

#[cfg(test)]
mod tests;
