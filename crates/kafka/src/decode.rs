//! JSON payloads to Arrow rows.
//!
//! One record is one JSON object is one row. Fields the table does not have are
//! ignored; a field given twice counts with its last value; a field that is
//! missing is null. Numbers may be quoted (`"kw": "1.5"`), a timestamp is an RFC
//! 3339 string (UTC where it names no zone) or a number in the column's unit.
//!
//! A number with a fraction is no value of a whole-number column.
//!
//! What cannot be a row is reported record by record and never holds up the
//! others: a batch is fed to arrow-json whole, and only if that fails is it
//! divided until the culprits are found. So good batches pay nothing for bad
//! ones being possible, and which records are bad does not depend on how they
//! were batched.

mod explain;

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit};
use arrow::datatypes::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;

/// A record's value as it came; `None` for a tombstone.
pub type Payload<'a> = Option<&'a [u8]>;

/// The depth at which nesting stops being data. arrow-json prints what it did
/// not expect by recursion, so an unbounded depth would overflow the stack.
const MAX_DEPTH: usize = 64;

/// Decodes records to the columns of one table.
pub struct JsonDecoder {
    schema: SchemaRef,
    /// Kept between batches for its buffers; absent after an error, which
    /// leaves it half-way through a record.
    decoder: Option<Decoder>,
    capacity: usize,
    /// The whole-number columns, as columns of floats: arrow-json cuts fractions
    /// off, so tables that have such columns are looked at twice.
    whole: Option<SchemaRef>,
}

/// What became of a batch of records: every index is in exactly one of the two.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order of their records.
    pub rows: RecordBatch,
    /// For each row, the index of its record.
    pub indices: Vec<usize>,
    /// The records that are no row, in order: index, and what was expected.
    pub bad: Vec<(usize, String)>,
}

impl std::fmt::Debug for JsonDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonDecoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl JsonDecoder {
    /// Returns a decoder of batches of (usually) at most `capacity` records.
    ///
    /// # Errors
    /// If a column has a type that JSON cannot give.
    pub fn new(schema: SchemaRef, capacity: usize) -> Result<Self, ArrowError> {
        let decoder = build(&schema, capacity)?;
        let whole: Vec<Field> = schema
            .fields()
            .iter()
            .filter(|field| field.data_type().is_integer())
            .map(|field| Field::new(field.name(), DataType::Float64, true))
            .collect();
        let whole = (!whole.is_empty()).then(|| Arc::new(Schema::new(whole)));
        Ok(Self { schema, decoder: Some(decoder), capacity, whole })
    }

    /// Decodes `payloads`. Together they should stay below 1 GiB, as Arrow's
    /// strings have 32-bit offsets.
    ///
    /// # Errors
    /// None on account of a payload: only if Arrow itself fails.
    pub fn decode(&mut self, payloads: &[Payload<'_>]) -> Result<Decoded, ArrowError> {
        let mut decoded = Decoded {
            rows: RecordBatch::new_empty(self.schema.clone()),
            indices: Vec::with_capacity(payloads.len()),
            bad: Vec::new(),
        };
        // What even its outside shows to be no object is not worth a try.
        let mut candidates = Vec::with_capacity(payloads.len());
        for (index, payload) in payloads.iter().enumerate() {
            match inspect(*payload) {
                Ok(bytes) => candidates.push((index, bytes)),
                Err(error) => decoded.bad.push((index, error)),
            }
        }
        if self.decoder.is_none() {
            self.decoder = Some(build(&self.schema, self.capacity)?);
        }
        let mut pieces = Vec::new();
        self.divide(&candidates, &mut pieces, &mut decoded)?;
        decoded.rows = match pieces.len() {
            0 => decoded.rows,
            1 => pieces.swap_remove(0),
            _ => concat_batches(&self.schema, &pieces)?,
        };
        let mut errors = self.non_finite(&decoded.rows);
        if let Some(schema) = &self.whole {
            let payload = |index: &usize| payloads.get(*index).copied().flatten();
            let good: Vec<&[u8]> = decoded.indices.iter().filter_map(payload).collect();
            errors.extend(fractions(schema, &good)?);
        }
        drop_rows(&mut decoded, errors)?;
        decoded.bad.sort_by_key(|(index, _)| *index);
        Ok(decoded)
    }

    /// Decodes `candidates`, in parts if need be.
    fn divide(
        &mut self,
        candidates: &[(usize, &[u8])],
        pieces: &mut Vec<RecordBatch>,
        decoded: &mut Decoded,
    ) -> Result<(), ArrowError> {
        // Parts still to be done, the last first, so that rows stay in order.
        let mut parts = vec![candidates];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.attempt(part)? {
                Attempt::Rows(rows) => {
                    pieces.push(rows);
                    decoded.indices.extend(part.iter().map(|(index, _)| *index));
                }
                Attempt::Malformed { at, error } => {
                    let (before, rest) = part.split_at(at);
                    if let Some(((index, _), after)) = rest.split_first() {
                        decoded.bad.push((*index, error));
                        parts.push(after);
                    }
                    parts.push(before);
                }
                Attempt::Unfit(error) => match part {
                    [(index, payload)] => {
                        let error = explain::unfit(&self.schema, payload, &error);
                        decoded.bad.push((*index, error));
                    }
                    _ => {
                        let (before, after) = part.split_at(part.len() / 2);
                        parts.push(after);
                        parts.push(before);
                    }
                },
            }
        }
        Ok(())
    }

    /// Tries to decode all of `part` at once.
    fn attempt(&mut self, part: &[(usize, &[u8])]) -> Result<Attempt, ArrowError> {
        let (mut decoder, kept) = match self.decoder.take() {
            Some(decoder) if part.len() <= self.capacity => (decoder, true),
            // More than usual, or the rest after an error: buffers of just the
            // size needed.
            other => {
                self.decoder = other;
                (build(&self.schema, part.len())?, false)
            }
        };
        for (at, (_, payload)) in part.iter().enumerate() {
            let error = match decoder.decode(payload) {
                Err(error) => explain::malformed(&error),
                Ok(_) if decoder.has_partial_record() => {
                    "the JSON object is cut off: expected `}`".to_owned()
                }
                Ok(read) if read < payload.len() || decoder.len() != at + 1 => {
                    "more than one JSON value: expected one object per record".to_owned()
                }
                Ok(_) => continue,
            };
            return Ok(Attempt::Malformed { at, error });
        }
        match decoder.flush() {
            Ok(Some(rows)) => {
                if kept {
                    self.decoder = Some(decoder);
                }
                Ok(Attempt::Rows(rows))
            }
            Ok(None) => Ok(Attempt::Rows(RecordBatch::new_empty(self.schema.clone()))),
            Err(error) => Ok(Attempt::Unfit(error)),
        }
    }

    /// Finds the rows with a value that is no finite number, or no timestamp that
    /// can be told from a saturated one.
    fn non_finite(&self, rows: &RecordBatch) -> Vec<(usize, String)> {
        let mut errors = Vec::new();
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            let what = match field.data_type() {
                DataType::Timestamp(..) => "out of the range of timestamps",
                _ => "not a finite number",
            };
            let error = |row| (row, format!("column `{}`: {what}", field.name()));
            errors.extend(non_finite(column).into_iter().map(error));
        }
        errors
    }
}

/// Finds the rows in which a whole-number column was given a fraction.
fn fractions(schema: &SchemaRef, payloads: &[&[u8]]) -> Result<Vec<(usize, String)>, ArrowError> {
    let mut decoder = build(schema, payloads.len())?;
    for payload in payloads {
        decoder.decode(payload)?;
    }
    let Some(rows) = decoder.flush()? else { return Ok(Vec::new()) };
    let mut errors = Vec::new();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        for (row, value) in column.as_primitive::<Float64Type>().iter().enumerate() {
            if let Some(value) = value.filter(|value| value.fract() != 0.0) {
                let name = field.name();
                errors.push((
                    row,
                    format!("column `{name}`: expected a whole number, got `{value}`"),
                ));
            }
        }
    }
    Ok(errors)
}

/// Moves rows to the bad records, each with the first of its errors.
fn drop_rows(decoded: &mut Decoded, mut errors: Vec<(usize, String)>) -> Result<(), ArrowError> {
    if errors.is_empty() {
        return Ok(());
    }
    errors.sort_by_key(|(row, _)| *row);
    errors.dedup_by_key(|(row, _)| *row);
    let mut keep = vec![true; decoded.rows.num_rows()];
    for (row, error) in errors {
        if let (Some(kept), Some(index)) = (keep.get_mut(row), decoded.indices.get(row)) {
            *kept = false;
            decoded.bad.push((*index, error));
        }
    }
    let mut kept = keep.iter();
    decoded.indices.retain(|_| kept.next().copied().unwrap_or(true));
    decoded.rows = filter_record_batch(&decoded.rows, &BooleanArray::from(keep))?;
    Ok(())
}

/// How an attempt at several records ended.
enum Attempt {
    Rows(RecordBatch),
    /// The record `at` is not one JSON object.
    Malformed {
        at: usize,
        error: String,
    },
    /// Some record does not fit the columns; arrow-json does not say which.
    Unfit(ArrowError),
}

fn build(schema: &SchemaRef, records: usize) -> Result<Decoder, ArrowError> {
    // One more than wanted: the decoder stops reading at its batch size, and a
    // second object in the last payload must not go unseen.
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(records + 1)
        .with_coerce_primitive(false)
        .with_strict_mode(false)
        .build_decoder()
}

/// Returns the payload if it may be a JSON object of sensible depth.
fn inspect(payload: Payload<'_>) -> Result<&[u8], String> {
    let Some(bytes) = payload else {
        return Err("a tombstone (no value): expected a JSON object".to_owned());
    };
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err("an empty value: expected a JSON object".to_owned()),
        Some(b'{') => {
            // Counting brackets is quick; only who has many is looked at closely.
            let brackets = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
            if brackets > MAX_DEPTH && depth(bytes) > MAX_DEPTH {
                return Err(format!("nested deeper than {MAX_DEPTH} levels"));
            }
            Ok(bytes)
        }
        Some(b'[') => Err("a JSON array: expected a JSON object".to_owned()),
        Some(_) => Err(format!(
            "not a JSON object: expected `{{`, got `{}`",
            explain::shorten(&String::from_utf8_lossy(bytes))
        )),
    }
}

/// Returns how deep objects and lists are nested, strings aside.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Returns the rows of `column` that hold NaN, an infinity or a timestamp that
/// arrow-json saturated.
fn non_finite(column: &dyn Array) -> Vec<usize> {
    macro_rules! rows {
        ($kind:ty, $is_bad:expr) => {{
            let column = column.as_primitive::<$kind>();
            let is_bad = $is_bad;
            // The values behind nulls are zeros, so they need no look.
            if column.values().iter().any(is_bad) {
                let bad = column.values().iter().enumerate().filter(|(_, value)| is_bad(value));
                bad.map(|(row, _)| row).collect()
            } else {
                Vec::new()
            }
        }};
    }
    let saturated = |value: &i64| *value == i64::MAX || *value == i64::MIN;
    match column.data_type() {
        DataType::Float64 => rows!(Float64Type, |value: &f64| !value.is_finite()),
        DataType::Float32 => rows!(Float32Type, |value: &f32| !value.is_finite()),
        DataType::Timestamp(TimeUnit::Second, _) => rows!(TimestampSecondType, saturated),
        DataType::Timestamp(TimeUnit::Millisecond, _) => rows!(TimestampMillisecondType, saturated),
        DataType::Timestamp(TimeUnit::Microsecond, _) => rows!(TimestampMicrosecondType, saturated),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => rows!(TimestampNanosecondType, saturated),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
