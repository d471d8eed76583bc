//! Protocol Buffers, by prost-reflect, with the message type that the records name or the
//! table does.
//!
//! A field that is not in a record is what Protobuf says: missing where the field knows
//! whether it is there (messages, `optional`, proto2), else its default, zero or empty. Of
//! the well-known types an instant is a time and a wrapper what it wraps; an enum's value is
//! its name.

mod list;
mod outline;
mod schema;
mod value;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use tidecast_stream::SchemaFraming;

use self::list::{ListPlan, MessageList};
pub(crate) use self::outline::outline;
use self::schema::Messages;
use self::value::{Owned, value_at};
use crate::decode::{DecoderConfig, Payload};
use crate::fields::{Fields, RecordType, Slot, Spread};
use crate::lists::{self, ListPath, Listed};
use crate::schemas::{Frame, Known, SchemaError, SchemaId, SchemaKind, SchemaSource, type_header};

/// The table's own schema, which no registry has.
const OWN: SchemaId = SchemaId::Registered(0);

/// Reads Protobuf records of one topic.
pub(crate) struct ProtobufReader {
    table: Table,
    schemas: Known<Schema>,
}

/// What records are read for.
struct Table {
    framing: SchemaFraming,
    /// For each column the way to it, unless it is beside the record or in its list.
    columns: Vec<Option<Vec<String>>>,
    list: Option<ListPath>,
}

/// A schema, and those of its messages that records were of.
struct Schema {
    messages: Messages,
    plans: Vec<(Type, Plan)>,
}

/// Which message of a schema a record is.
#[derive(PartialEq, Eq)]
enum Type {
    /// By Confluent's indexes; none for the table's own.
    Indexes(Vec<usize>),
    /// By its name; the schema's first without one.
    Named(Option<String>),
}

/// How columns are found in messages of one type.
#[derive(Clone)]
struct Plan {
    message: MessageDescriptor,
    /// For each column of the table the way to its field.
    columns: Vec<Option<Vec<FieldDescriptor>>>,
    /// How the list is found, if columns lead through one and messages have it.
    list: Option<ListPlan>,
}

/// The records of a batch: for each what it holds, or why it is none.
pub(crate) struct Rows(Vec<Result<Record, String>>);

/// What of a record is for the table.
struct Record {
    /// For each column its value, if there is such a field.
    values: Vec<Option<Owned>>,
    list: Option<Box<MessageList>>,
}

impl ProtobufReader {
    /// Returns the reader of a topic's records, of type `message` where they do not name it.
    ///
    /// # Errors
    /// If the format's own schema is of no use, or has no such message.
    pub(crate) fn new(
        framing: SchemaFraming,
        message: Option<&str>,
        config: &DecoderConfig,
        source: Option<Box<dyn SchemaSource>>,
    ) -> Result<Self, SchemaError> {
        let unusable =
            |error| SchemaError::lasting(format!("the table's Protobuf schema: {error}"));
        let columns = lists::outside(config);
        let table = Table { framing, columns, list: ListPath::of(&config.fields) };
        let mut schemas = Known::new(source);
        if framing == SchemaFraming::None {
            let own = config.own_schema.as_deref();
            let own = own.ok_or_else(|| {
                unusable("there is none, and records do not name theirs".to_owned())
            })?;
            let messages = Messages::of_bytes(own).map_err(unusable)?;
            let message = messages.named(message).map_err(unusable)?;
            let plans = vec![(Type::Indexes(Vec::new()), table.plan(message))];
            schemas.insert(OWN, Schema { messages, plans });
        }
        Ok(Self { table, schemas })
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
        let mut rows = Vec::with_capacity(payloads.len());
        for (index, payload) in payloads.iter().enumerate() {
            rows.push(match payload {
                // Told as a tombstone.
                None => Err(String::new()),
                Some(payload) => {
                    let header = |name: &str| header(index, name);
                    self.record(payload, &header, fields, spread.as_deref_mut())?
                }
            });
        }
        Ok(Rows(rows))
    }

    fn record<'a>(
        &mut self,
        payload: &'a [u8],
        header: &dyn Fn(&str) -> Option<&'a [u8]>,
        fields: &mut Fields,
        spread: Option<&mut Spread>,
    ) -> Result<Result<Record, String>, SchemaError> {
        let table = &self.table;
        let frame = match Frame::of(table.framing, payload, header, "a Protobuf message") {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let schema = self.schemas.get(frame.id, SchemaKind::Protobuf, |found| {
            let messages = Messages::of_text(&found.text, &found.references)?;
            Ok(Schema { messages, plans: Vec::new() })
        })?;
        Ok(schema.and_then(|schema| {
            let (of, body) = Type::of(table.framing, &schema.messages, frame.body, header)?;
            schema.plan(of, table, fields, spread)?.read(body)
        }))
    }
}

impl Type {
    /// Returns which message a record is, and the message itself.
    ///
    /// # Errors
    /// If what says so is cut off.
    fn of<'a>(
        framing: SchemaFraming,
        messages: &Messages,
        body: &'a [u8],
        header: &dyn Fn(&str) -> Option<&'a [u8]>,
    ) -> Result<(Self, &'a [u8]), String> {
        Ok(match framing {
            SchemaFraming::None => (Self::Indexes(Vec::new()), body),
            SchemaFraming::Confluent => {
                let (indexes, body) = message_indexes(body)?;
                (Self::Indexes(indexes), body)
            }
            SchemaFraming::Apicurio(_) => match reference(messages, body) {
                Some((name, body)) => (Self::Named(Some(name.to_owned())), body),
                None => (Self::Named(type_header(header).map(str::to_owned)), body),
            },
        })
    }

    fn find(&self, messages: &Messages) -> Result<MessageDescriptor, String> {
        match self {
            Self::Indexes(indexes) => messages.at(indexes),
            Self::Named(Some(name)) => messages.named(Some(name)),
            Self::Named(None) => messages.at(&[0]),
        }
    }
}

/// Takes the reference off that Apicurio's serializers may put in front: a message by its
/// length, whose one field is the name of the record's type.
fn reference<'a>(messages: &Messages, body: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let [length, 0x0A, named, rest @ ..] = body else { return None };
    let (name, behind) = rest.split_at_checked(usize::from(*named))?;
    let name = std::str::from_utf8(name).ok()?;
    // In a record without one these bytes would have to be a name of its schema.
    let is_reference = *named < 0x80
        && usize::from(*length) == name.len() + 2
        && messages.named(Some(name)).is_ok();
    is_reference.then_some((name, behind))
}

impl Schema {
    fn plan(
        &mut self,
        of: Type,
        table: &Table,
        fields: &mut Fields,
        spread: Option<&mut Spread>,
    ) -> Result<&Plan, String> {
        let known = self.plans.iter().position(|(known, _)| *known == of);
        let at = match known {
            Some(at) => at,
            None => {
                let message = of.find(&self.messages)?;
                fields.meet(&message);
                if let Some(spread) = spread {
                    spread.meet(&message);
                }
                let plan = table.plan(message);
                self.plans.push((of, plan));
                self.plans.len() - 1
            }
        };
        self.plans.get(at).map(|(_, plan)| plan).ok_or_else(|| "no message".to_owned())
    }
}

impl Table {
    fn plan(&self, message: MessageDescriptor) -> Plan {
        let columns = self.columns.iter().map(|path| way(&message, path.as_deref()?));
        let list = self.list.as_ref().and_then(|list| ListPlan::new(&message, list));
        Plan { columns: columns.collect(), list, message: message.clone() }
    }
}

/// Returns the fields on the way to a column's.
fn way(message: &MessageDescriptor, path: &[String]) -> Option<Vec<FieldDescriptor>> {
    let (first, rest) = path.split_first()?;
    let field = field(message, first)?;
    if rest.is_empty() {
        return Some(vec![field]);
    }
    let Kind::Message(inner) = field.kind() else { return None };
    let mut way = way(&inner, rest)?;
    way.insert(0, field);
    Some(way)
}

/// Returns which field a column of this name is: that of exactly its name, in the schema or
/// in JSON, else the only one whose name differs in case alone.
fn field(message: &MessageDescriptor, column: &str) -> Option<FieldDescriptor> {
    let exact = message.get_field_by_name(column);
    let in_json = || message.get_field_by_json_name(column);
    let lower = column.to_lowercase();
    let loose = || {
        let mut fields = message.fields().filter(|field| {
            field.name().to_lowercase() == lower || field.json_name().to_lowercase() == lower
        });
        let (only, another) = (fields.next()?, fields.next());
        another.is_none().then_some(only)
    };
    exact.or_else(in_json).or_else(loose)
}

/// Takes Confluent's message indexes off: which message of the schema's file a record is of,
/// and the messages inside of it, from outside to inside.
fn message_indexes(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), String> {
    const DEEPEST: i64 = 100;
    let cut = || "a Protobuf record that is cut off in its message indexes".to_owned();
    let (count, mut rest) = zigzag(bytes).ok_or_else(cut)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if !(0..=DEEPEST).contains(&count) {
        return Err(format!("a Protobuf record with {count} message indexes, expected a few"));
    }
    let mut indexes = Vec::new();
    for _ in 0..count {
        let (index, behind) = zigzag(rest).ok_or_else(cut)?;
        let index = usize::try_from(index);
        indexes.push(index.map_err(|_| "a message index below zero".to_owned())?);
        rest = behind;
    }
    Ok((indexes, rest))
}

/// Takes a variable-length number off, of which signs are the lowest bit.
fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7F).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            let sign = -((number & 1) as i64);
            return Some(((number >> 1) as i64 ^ sign, bytes.get(place + 1..)?));
        }
    }
    None
}

impl Plan {
    fn read(&self, body: &[u8]) -> Result<Record, String> {
        let message = DynamicMessage::decode(self.message.clone(), body).map_err(|error| {
            format!("no Protobuf message of type `{}`: {error}", self.message.full_name())
        })?;
        let columns = self.columns.iter();
        let values = columns.map(|way| way.as_ref().map(|way| value_at(&message, way)));
        let list = self.list.as_ref().map(|plan| Box::new(plan.read(&message)));
        Ok(Record { values: values.collect(), list })
    }
}

impl Rows {
    /// Finds the values of columns in a record of the batch.
    pub(crate) fn find<'a>(&'a self, index: usize, slots: &mut [Slot<'a>]) -> Result<(), String> {
        match self.0.get(index) {
            Some(Ok(record)) => {
                for (slot, value) in slots.iter_mut().zip(&record.values) {
                    slot.exact = value.as_ref().map(Owned::value);
                }
                Ok(())
            }
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("no record".to_owned()),
        }
    }

    /// Returns the list of a record of the batch.
    pub(crate) fn list(&self, index: usize) -> Listed<'_> {
        let record = self.0.get(index).and_then(|record| record.as_ref().ok());
        let list = record.and_then(|record| record.list.as_deref());
        list.map_or(Listed::Missing, MessageList::listed)
    }
}

impl RecordType for MessageDescriptor {
    fn names(&self) -> Vec<String> {
        self.fields().map(|field| field.name().to_owned()).collect()
    }

    fn inner(&self, name: &str) -> Option<Self> {
        let field = field(self, name).filter(|field| !field.is_list() && !field.is_map())?;
        field.kind().as_message().cloned()
    }

    fn element(&self, name: &str) -> Option<Self> {
        let field = field(self, name).filter(FieldDescriptor::is_list)?;
        field.kind().as_message().cloned()
    }
}

#[cfg(test)]
mod tests;
