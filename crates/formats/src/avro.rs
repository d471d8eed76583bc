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

mod outline;
mod schema;
mod writer;

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Fields as ArrowFields};
use tidecast_stream::SchemaFraming;

pub(crate) use self::outline::outline;
use self::schema::RecordSchema;
use self::writer::{Batch, Writer};
use crate::decode::{DecoderConfig, Payload};
use crate::fields::{Fields, RecordType, Slot, Spread};
use crate::lists::{self, ListPath, Listed};
use crate::schemas::{Frame, Known, SchemaError, SchemaId, SchemaKind, SchemaSource};

/// The table's own schema, which no registry has.
const OWN: SchemaId = SchemaId::Registered(0);

/// Reads Avro records of one topic.
pub(crate) struct AvroReader {
    table: Table,
    writers: Known<Writer>,
}

/// What records are read for.
struct Table {
    framing: SchemaFraming,
    /// The reader's schema.
    reader: Option<RecordSchema>,
    /// For each column the way to it, unless it is beside the record or in its list.
    columns: Vec<Option<Vec<String>>>,
    list: Option<ListPath>,
    capacity: usize,
}

/// Where a field stands: its place among those that are decoded, and the way from there.
type Place = (usize, Vec<String>);

/// The records of a batch.
pub(crate) struct Rows {
    /// For each, the batch it is a row of, and which; or why it is none.
    records: Vec<Result<(usize, usize), String>>,
    batches: Vec<Batch>,
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
            framing,
            reader: None,
            columns: lists::outside(config),
            list: ListPath::of(&config.fields),
            capacity: config.capacity.max(1),
        };
        let mut writers = Known::new(schemas);
        match (framing, own) {
            (SchemaFraming::None, Some(own)) => {
                writers.insert(OWN, table.writer(OWN, &own).map_err(unusable)?);
            }
            (SchemaFraming::None, None) => {
                return Err(unusable("there is none, and records do not name theirs".to_owned()));
            }
            (SchemaFraming::Confluent | SchemaFraming::Apicurio(_), own) => {
                if let Some(own) = &own {
                    // Tells now what is wrong with it.
                    table.writer(OWN, own).map_err(unusable)?;
                }
                table.reader = own;
            }
        }
        Ok(Self { table, writers })
    }

    /// Decodes a batch of records; `fields` and `spread` learn which there are.
    ///
    /// # Errors
    /// None on account of a record: only if a schema cannot be had for now.
    pub(crate) fn read<'a>(
        &mut self,
        payloads: &[Payload<'a>],
        header: &dyn Fn(usize, &str) -> Option<&'a [u8]>,
        fields: &mut Fields,
        mut spread: Option<&mut Spread>,
    ) -> Result<Rows, SchemaError> {
        let mut rows = Rows { records: Vec::with_capacity(payloads.len()), batches: Vec::new() };
        let mut bodies = Vec::with_capacity(payloads.len());
        let mut by_id: BTreeMap<SchemaId, Vec<usize>> = BTreeMap::new();
        for (index, payload) in payloads.iter().enumerate() {
            let frame = match payload {
                // Told as a tombstone.
                None => Err(String::new()),
                Some(payload) => {
                    let header = |name: &str| header(index, name);
                    Frame::of(self.table.framing, payload, &header, "an Avro record")
                }
            };
            match frame {
                Ok(frame) => {
                    // arrow-avro knows Confluent's frame itself.
                    bodies.push(match self.table.framing {
                        SchemaFraming::Confluent => payload.unwrap_or_default(),
                        SchemaFraming::None | SchemaFraming::Apicurio(_) => frame.body,
                    });
                    by_id.entry(frame.id).or_default().push(index);
                    rows.records.push(Err(String::new()));
                }
                Err(reason) => {
                    bodies.push(&[]);
                    rows.records.push(Err(reason));
                }
            }
        }
        for (id, indices) in by_id {
            let table = &self.table;
            let writer = self.writers.get(id, SchemaKind::Avro, |found| {
                let schema = RecordSchema::read(&found.text, &found.references)?;
                let writer = table.writer(id, &schema)?;
                for field in &schema.fields {
                    fields.names.meet(field.name.clone());
                }
                if let Some(decoder) = &writer.decoder {
                    let record = decoder.schema().fields().clone();
                    fields.meet(&record);
                    if let Some(spread) = &mut spread {
                        spread.meet(&record);
                    }
                }
                Ok(writer)
            });
            match writer? {
                Ok(writer) => writer.read(&indices, &bodies, &mut rows),
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
    fn writer(&self, id: SchemaId, schema: &RecordSchema) -> Result<Writer, String> {
        let effective = self.reader.as_ref().unwrap_or(schema);
        if self.list.is_some() && schema.has_lists_of_nothing {
            let reason = "it has a list whose elements take no bytes, such as nulls: expected \
                          none where lists are spread over rows, as a few bytes could be any \
                          number of them";
            return Err(reason.to_owned());
        }
        let place = |path: &Vec<String>| {
            let (first, rest) = path.split_first()?;
            Some((effective.find(first)?, rest.to_vec()))
        };
        let mut places: Vec<Option<Place>> =
            self.columns.iter().map(|path| place(path.as_ref()?)).collect();
        let mut list = self.list.as_ref().and_then(|list| place(&list.names));
        let all = || places.iter().chain([&list]).flatten();
        let mut needed: Vec<usize> = all().map(|(field, _)| *field).collect();
        needed.sort_unstable();
        needed.dedup();
        for (field, _) in places.iter_mut().chain([&mut list]).flatten() {
            *field = needed.iter().position(|needed| needed == field).unwrap_or_default();
        }
        let columns = self.list.iter().flat_map(|list| &list.columns);
        let mut writer = Writer {
            name: match self.framing {
                SchemaFraming::None => "the table's schema".to_owned(),
                SchemaFraming::Confluent | SchemaFraming::Apicurio(_) => format!("schema {id}"),
            },
            frame: match (self.framing, id) {
                (SchemaFraming::Confluent, SchemaId::Registered(number)) => Some(number),
                _ => None,
            },
            text: schema.text.clone(),
            reader: self.reader.as_ref().map(|schema| schema.text.clone()),
            // arrow-avro wants at least one.
            projection: Some(needed).filter(|needed| !needed.is_empty()),
            places,
            list,
            in_elements: columns.map(|(_, way)| way.clone()).collect(),
            capacity: self.capacity,
            decoder: None,
        };
        writer.decoder = Some(writer.build().map_err(|error| error.to_string())?);
        Ok(writer)
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
        let columns = self.batches.get(batch).map(|batch| batch.columns.as_slice());
        for (slot, cells) in slots.iter_mut().zip(columns.unwrap_or_default()) {
            slot.exact = cells.as_ref().map(|cells| cells.value(row));
        }
        Ok(())
    }

    /// Returns the list of a record of the batch.
    pub(crate) fn list(&self, index: usize) -> Listed<'_> {
        let place = self.records.get(index).and_then(|record| record.as_ref().ok());
        let Some((batch, row)) = place else { return Listed::Missing };
        let list = self.batches.get(*batch).and_then(|batch| batch.list.as_ref());
        list.map_or(Listed::Missing, |cells| cells.list(*row))
    }
}

impl RecordType for ArrowFields {
    fn names(&self) -> Vec<String> {
        self.iter().map(|field| field.name().clone()).collect()
    }

    fn inner(&self, name: &str) -> Option<Self> {
        let field = self.iter().find(|field| field.name() == name)?;
        record(field)
    }

    fn element(&self, name: &str) -> Option<Self> {
        let field = self.iter().find(|field| field.name() == name)?;
        match field.data_type() {
            DataType::List(element) => record(element),
            _ => None,
        }
    }
}

fn record(field: &Field) -> Option<ArrowFields> {
    match field.data_type() {
        DataType::Struct(fields) => Some(fields.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
