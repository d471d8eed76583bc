//! Avro records, by arrow-avro, each resolved from the schema it was written with.
//!
//! A batch may have records of several schemas, for a topic's schema evolves. Those of one
//! schema are decoded together, and each record is checked to be one and whole:
//! arrow-avro's decoder takes bytes that end too early for a beginning, keeps what it has
//! appended, and would read the next record's bytes as the rest of this one. So it is asked
//! record by record, must have used each to its last byte, and is thrown away where it did
//! not; the good ones before are decoded anew. And it looks at texts only when a batch is
//! made of them, so one that is not UTF-8 is found by halves. Behind a batch it counts the
//! branches of unions on, so there is a new one for each.

mod schema;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use tidecast_stream::{FieldColumn, FieldPath, SchemaFraming};

use self::schema::RecordSchema;
use crate::cells::Cells;
use crate::decode::{DecoderConfig, Payload};
use crate::fields::Slot;
use crate::names::Names;
use crate::outline::{self, OutlinedField};
use crate::schemas::{self, Known, RegisteredSchema, SchemaError, SchemaKind, SchemaSource};

/// The bytes in front of a record: a zero, and the schema's number.
const FRAME: usize = 5;

/// What stands in front of a record for arrow-avro where nothing does.
const NO_FRAME: [u8; FRAME] = [0; FRAME];

/// Reads Avro records of one topic.
pub(crate) struct AvroReader {
    table: Table,
    writers: Known<Writer>,
}

/// What records are read for.
struct Table {
    is_framed: bool,
    /// The reader's schema.
    reader: Option<RecordSchema>,
    schema: SchemaRef,
    beside: Vec<usize>,
    paths: Vec<FieldColumn>,
    capacity: usize,
}

/// A schema that records were written with.
struct Writer {
    number: u32,
    is_framed: bool,
    text: String,
    reader: Option<String>,
    /// The fields of the record that columns need, if any is.
    projection: Option<Vec<usize>>,
    /// For each column of the table where it stands: its place among those fields, and the
    /// way from there.
    places: Vec<Option<(usize, Vec<String>)>>,
    capacity: usize,
    /// With the records of the batch so far.
    decoder: Option<Decoder>,
}

/// The records of a batch.
pub(crate) struct Rows {
    /// For each, the batch it is a row of, and which; or why it is none.
    records: Vec<Result<(usize, usize), String>>,
    /// For each batch, the cells of each column.
    batches: Vec<Vec<Option<Cells>>>,
}

impl AvroReader {
    /// Returns the reader of a topic's records.
    ///
    /// # Errors
    /// If the format's own schema is of no use.
    pub(crate) fn new(
        framing: SchemaFraming,
        config: &DecoderConfig,
        schemas: Option<Box<dyn SchemaSource>>,
    ) -> Result<Self, SchemaError> {
        let unusable = |error| SchemaError::lasting(format!("the table's Avro schema: {error}"));
        let own = config.own_schema.as_deref().map(|bytes| {
            let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            RecordSchema::read(text, &[])
        });
        let own = own.transpose().map_err(unusable)?;
        let mut table = Table {
            is_framed: framing != SchemaFraming::None,
            reader: None,
            schema: config.schema.clone(),
            beside: config.beside.clone(),
            paths: config.fields.clone(),
            capacity: config.capacity.max(1),
        };
        let mut writers = Known::new(schemas);
        match (framing, own) {
            (SchemaFraming::Confluent, own) => {
                if let Some(own) = &own {
                    // Tells now what is wrong with it.
                    table.writer(0, own).map_err(unusable)?;
                }
                table.reader = own;
            }
            (SchemaFraming::None, Some(own)) => {
                writers.insert(0, table.writer(0, &own).map_err(unusable)?);
            }
            (SchemaFraming::None, None) => {
                return Err(unusable("there is none, and records do not name theirs".to_owned()));
            }
        }
        Ok(Self { table, writers })
    }

    /// Decodes a batch of records; `names` learns which fields there are.
    ///
    /// # Errors
    /// None on account of a record: only if a schema cannot be had for now.
    pub(crate) fn read(
        &mut self,
        payloads: &[Payload<'_>],
        names: &mut Names,
    ) -> Result<Rows, SchemaError> {
        let mut rows = Rows { records: Vec::with_capacity(payloads.len()), batches: Vec::new() };
        let mut by_number: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, payload) in payloads.iter().enumerate() {
            let number = match payload {
                // Told as a tombstone.
                None => Err(String::new()),
                Some(payload) if self.table.is_framed => {
                    schemas::framed(payload, "an Avro record").map(|(number, _)| number)
                }
                Some(_) => Ok(0),
            };
            if let Ok(number) = number {
                by_number.entry(number).or_default().push(index);
            }
            rows.records.push(number.and_then(|_| Err(String::new())));
        }
        for (number, indices) in by_number {
            let table = &self.table;
            let writer = self.writers.get(number, SchemaKind::Avro, |found| {
                let schema = RecordSchema::read(&found.text, &found.references)?;
                for field in &schema.fields {
                    names.meet(field.name.clone());
                }
                table.writer(number, &schema)
            });
            match writer? {
                Ok(writer) => writer.read(&indices, payloads, &mut rows),
                Err(reason) => {
                    for index in indices {
                        rows.set(index, Err(reason.clone()));
                    }
                }
            }
        }
        Ok(rows)
    }
}

impl Table {
    /// Makes ready for records written with this schema.
    fn writer(&self, number: u32, schema: &RecordSchema) -> Result<Writer, String> {
        let effective = self.reader.as_ref().unwrap_or(schema);
        let places = self.schema.fields().iter().enumerate().map(|(column, field)| {
            if self.beside.contains(&column) {
                return None;
            }
            let path = self.paths.iter().find(|path| path.column == column);
            let own = std::slice::from_ref(field.name());
            let (first, rest) = path.map_or(own, |path| path.path.segments()).split_first()?;
            Some((effective.find(first)?, rest.to_vec()))
        });
        let mut places: Vec<Option<(usize, Vec<String>)>> = places.collect();
        let mut needed: Vec<usize> = places.iter().flatten().map(|(field, _)| *field).collect();
        needed.sort_unstable();
        needed.dedup();
        for (field, _) in places.iter_mut().flatten() {
            *field = needed.iter().position(|needed| needed == field).unwrap_or_default();
        }
        let mut writer = Writer {
            number,
            is_framed: self.is_framed,
            text: schema.text.clone(),
            reader: self.reader.as_ref().map(|schema| schema.text.clone()),
            // arrow-avro wants at least one.
            projection: Some(needed).filter(|needed| !needed.is_empty()),
            places,
            capacity: self.capacity,
            decoder: None,
        };
        writer.decoder = Some(writer.build().map_err(|error| error.to_string())?);
        Ok(writer)
    }
}

impl Writer {
    fn build(&self) -> Result<Decoder, ArrowError> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(self.number), AvroSchema::new(self.text.clone()))?;
        let mut builder = ReaderBuilder::new()
            .with_writer_schema_store(store)
            .with_active_fingerprint(Fingerprint::Id(self.number))
            .with_batch_size(self.capacity);
        if let Some(reader) = &self.reader {
            builder = builder.with_reader_schema(AvroSchema::new(reader.clone()));
        }
        if let Some(projection) = &self.projection {
            builder = builder.with_projection(projection.clone());
        }
        builder.build_decoder()
    }

    /// Decodes the records of these indices.
    fn read(&mut self, indices: &[usize], payloads: &[Payload<'_>], rows: &mut Rows) {
        let payload = |index: usize| payloads.get(index).copied().flatten().unwrap_or_default();
        for some in indices.chunks(self.capacity) {
            let mut rest = some;
            loop {
                let mut pushed = rest.iter().map(|index| self.push(payload(*index)));
                let bad = pushed.by_ref().enumerate().find_map(|(at, it)| Some((at, it.err()?)));
                let Some((at, reason)) = bad else { break };
                // It may hold a part of the record.
                self.decoder = None;
                let (before, behind) = rest.split_at(at);
                // These were decoded once, so it goes no deeper.
                self.read(before, payloads, rows);
                if let Some((bad, behind)) = behind.split_first() {
                    rows.set(*bad, Err(reason));
                    rest = behind;
                }
            }
            self.flush(rest, payloads, rows);
        }
    }

    /// Decodes one record. After an error the decoder is of no use.
    fn push(&mut self, payload: &[u8]) -> Result<(), String> {
        let number = self.number;
        let of_schema = match self.is_framed {
            true => format!("schema {number}"),
            false => "the table's schema".to_owned(),
        };
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.build().map_err(|error| format!("{of_schema}: {error}"))?,
        };
        let framed;
        let bytes = match self.is_framed {
            true => payload,
            false => {
                framed = [&NO_FRAME, payload].concat();
                &framed
            }
        };
        let capacity = decoder.capacity();
        let outcome = decoder.decode(bytes);
        let records = capacity.saturating_sub(decoder.capacity());
        self.decoder = Some(decoder);
        match outcome {
            Ok(used) if used == bytes.len() && records == 1 => Ok(()),
            Ok(_) if records > 0 => {
                Err(format!("bytes behind an Avro record of {of_schema}: expected it alone"))
            }
            Ok(_) => Err(format!("an Avro record of {of_schema} that is cut off")),
            Err(error) => Err(format!("no Avro record of {of_schema}: {error}")),
        }
    }

    /// Makes a batch of the records that were decoded. What shows only now (texts that are
    /// not UTF-8) is found by halves.
    fn flush(&mut self, held: &[usize], payloads: &[Payload<'_>], rows: &mut Rows) {
        if held.is_empty() {
            return;
        }
        // A decoder serves for one batch: those of unions do not begin anew behind it.
        let batch = match self.decoder.take().map(|mut decoder| decoder.flush()) {
            Some(Ok(Some(batch))) if batch.num_rows() == held.len() => self.cells(&batch),
            Some(Err(error)) => Err(error.to_string()),
            _ => Err("rows are missing".to_owned()),
        };
        let number = rows.batches.len();
        match (batch, held) {
            (Ok(cells), held) => {
                rows.batches.push(cells);
                for (row, index) in held.iter().enumerate() {
                    rows.set(*index, Ok((number, row)));
                }
            }
            (Err(error), [only]) => {
                rows.set(*only, Err(format!("no Avro record of schema {}: {error}", self.number)));
            }
            (Err(_), several) => {
                let (first, second) = several.split_at(several.len() / 2);
                self.read(first, payloads, rows);
                self.read(second, payloads, rows);
            }
        }
    }

    /// Returns the cells of the table's columns.
    fn cells(&self, batch: &RecordBatch) -> Result<Vec<Option<Cells>>, String> {
        let places = self.places.iter().map(|place| {
            let Some((field, path)) = place else { return Ok(None) };
            match batch.columns().get(*field) {
                Some(array) => Cells::at(array, path).map_err(|error| error.to_string()),
                None => Ok(None),
            }
        });
        places.collect()
    }
}

impl Rows {
    fn set(&mut self, index: usize, found: Result<(usize, usize), String>) {
        if let Some(record) = self.records.get_mut(index) {
            *record = found;
        }
    }

    /// Finds the values of columns in a record of the batch.
    pub(crate) fn find<'a>(&'a self, index: usize, slots: &mut [Slot<'a>]) -> Result<(), String> {
        let (batch, row) = match self.records.get(index) {
            Some(Ok(place)) => *place,
            Some(Err(reason)) => return Err(reason.clone()),
            None => return Err("no record".to_owned()),
        };
        let cells = self.batches.get(batch).map(Vec::as_slice).unwrap_or_default();
        for (slot, cells) in slots.iter_mut().zip(cells) {
            slot.exact = cells.as_ref().map(|cells| cells.value(row));
        }
        Ok(())
    }
}

/// Tells the text of a schema, with all that it refers to, and the fields of its records.
///
/// # Errors
/// If the schema is of no use.
pub(crate) fn outline(
    found: &RegisteredSchema,
    remarks: &mut Vec<String>,
) -> Result<(String, Vec<OutlinedField>), String> {
    let schema = RecordSchema::read(&found.text, &found.references)?;
    // What arrow-avro cannot read is none of ours either.
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let read = |error: ArrowError| error.to_string();
    store.set(Fingerprint::Id(0), AvroSchema::new(schema.text.clone())).map_err(read)?;
    let decoder = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(0))
        .build_decoder()
        .map_err(read)?;
    let mut fields = Vec::new();
    outline_fields(decoder.schema().fields(), &mut Vec::new(), &mut fields, remarks);
    Ok((schema.text, fields))
}

fn outline_fields(
    of: &Fields,
    names: &mut Vec<String>,
    fields: &mut Vec<OutlinedField>,
    remarks: &mut Vec<String>,
) {
    for field in of {
        names.push(field.name().clone());
        match field.data_type() {
            DataType::Struct(inner) if !outline::is_deep(names) => {
                outline_fields(inner, names, fields, remarks);
            }
            DataType::Boolean => outline::add(fields, names, DataType::Boolean),
            DataType::Timestamp(..) => outline::add(fields, names, outline::time()),
            whole if whole.is_integer() => outline::add(fields, names, DataType::Int64),
            number if number.is_numeric() => outline::add(fields, names, DataType::Float64),
            DataType::Date32 => outline::add(fields, names, DataType::Date32),
            DataType::Utf8 | DataType::Dictionary(..) | DataType::FixedSizeBinary(16) => {
                outline::add(fields, names, DataType::Utf8);
            }
            other => {
                if let Some(path) = FieldPath::of(names.clone()) {
                    remarks.push(format!("`{path}` is {other}, which no column can be"));
                }
            }
        }
        names.pop();
    }
}

#[cfg(test)]
mod tests;
