//! Protocol Buffers, by prost-reflect, with the message type that the records name or the
//! table does.
//!
//! A field that is not in a record is what Protobuf says: missing where the field knows
//! whether it is there (messages, `optional`, proto2), else its default, zero or empty. Of
//! the well-known types an instant is a time and a wrapper what it wraps; an enum's value is
//! its name.

mod schema;

use arrow::datatypes::DataType;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value as Datum,
};
use tidecast_stream::{EventTime, FieldColumn, FieldPath, SchemaFraming};

use self::schema::Messages;
use crate::decode::{DecoderConfig, Payload};
use crate::fields::Slot;
use crate::names::Names;
use crate::outline::{self, OutlinedField};
use crate::schemas::{self, Known, RegisteredSchema, SchemaError, SchemaKind, SchemaSource};
use crate::value::Value;

/// Reads Protobuf records of one topic.
pub(crate) struct ProtobufReader {
    table: Table,
    schemas: Known<Schema>,
}

/// What records are read for.
struct Table {
    is_framed: bool,
    columns: Vec<Option<Vec<String>>>,
}

/// A schema, and those of its messages that records were of.
struct Schema {
    messages: Messages,
    plans: Vec<(Vec<usize>, Plan)>,
}

/// How columns are found in messages of one type.
#[derive(Clone)]
struct Plan {
    message: MessageDescriptor,
    /// For each column of the table the way to its field.
    columns: Vec<Option<Vec<FieldDescriptor>>>,
}

/// The records of a batch: for each the values of columns, or why it is none.
pub(crate) struct Rows(Vec<Result<Values, String>>);

/// For each column of the table its value, if there is such a field.
type Values = Vec<Option<Owned>>;

/// A field's value.
enum Owned {
    Null,
    Truth(bool),
    Whole(i64),
    Unsigned(u64),
    Real(f64),
    Single(f32),
    Text(String),
    Bytes(Vec<u8>),
    Time(EventTime),
    Other(&'static str),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Truth(truth) => Value::Truth(*truth),
            Self::Whole(number) => Value::Whole(*number),
            Self::Unsigned(number) => Value::Unsigned(*number),
            Self::Real(number) => Value::Real(*number).told_apart(),
            Self::Single(number) => Value::Single(*number).told_apart(),
            Self::Text(text) => Value::Text(text, false),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Time(time) => Value::Time(*time),
            Self::Other(what) => Value::Other(what),
        }
    }
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
        let columns = config.schema.fields().iter().enumerate().map(|(column, field)| {
            let path = config.fields.iter().find(|path: &&FieldColumn| path.column == column);
            let own = vec![field.name().clone()];
            let path = path.map_or(own, |path| path.path.segments().to_vec());
            (!config.beside.contains(&column)).then_some(path)
        });
        let is_framed = framing != SchemaFraming::None;
        let table = Table { is_framed, columns: columns.collect() };
        let mut schemas = Known::new(source);
        if !is_framed {
            let own = config.own_schema.as_deref();
            let own = own.ok_or_else(|| {
                unusable("there is none, and records do not name theirs".to_owned())
            })?;
            let messages = Messages::of_bytes(own).map_err(unusable)?;
            let message = messages.named(message).map_err(unusable)?;
            let plans = vec![(Vec::new(), table.plan(message))];
            schemas.insert(0, Schema { messages, plans });
        }
        Ok(Self { table, schemas })
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
        let mut rows = Vec::with_capacity(payloads.len());
        for payload in payloads {
            rows.push(match payload {
                // Told as a tombstone.
                None => Err(String::new()),
                Some(payload) => self.record(payload, names)?,
            });
        }
        Ok(Rows(rows))
    }

    fn record(
        &mut self,
        payload: &[u8],
        names: &mut Names,
    ) -> Result<Result<Values, String>, SchemaError> {
        let table = &self.table;
        let place = match table.is_framed {
            true => schemas::framed(payload, "a Protobuf message")
                .and_then(|(number, rest)| Ok((number, message_indexes(rest)?))),
            false => Ok((0, (Vec::new(), payload))),
        };
        let (number, (indexes, body)) = match place {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        let schema = self.schemas.get(number, SchemaKind::Protobuf, |found| {
            let messages = Messages::of_text(&found.text, &found.references)?;
            Ok(Schema { messages, plans: Vec::new() })
        })?;
        Ok(schema.and_then(|schema| schema.plan(indexes, table, names)?.read(body)))
    }
}

impl Schema {
    fn plan(
        &mut self,
        indexes: Vec<usize>,
        table: &Table,
        names: &mut Names,
    ) -> Result<&Plan, String> {
        let known = self.plans.iter().position(|(known, _)| *known == indexes);
        let at = match known {
            Some(at) => at,
            None => {
                let message = self.messages.at(&indexes)?;
                for field in message.fields() {
                    names.meet(field.name().to_owned());
                }
                let plan = table.plan(message);
                self.plans.push((indexes, plan));
                self.plans.len() - 1
            }
        };
        self.plans.get(at).map(|(_, plan)| plan).ok_or_else(|| "no message".to_owned())
    }
}

impl Table {
    fn plan(&self, message: MessageDescriptor) -> Plan {
        let columns = self.columns.iter().map(|path| way(&message, path.as_deref()?));
        Plan { columns: columns.collect(), message: message.clone() }
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
    fn read(&self, body: &[u8]) -> Result<Values, String> {
        let message = DynamicMessage::decode(self.message.clone(), body).map_err(|error| {
            format!("no Protobuf message of type `{}`: {error}", self.message.full_name())
        })?;
        let columns = self.columns.iter();
        Ok(columns.map(|way| way.as_ref().map(|way| value_at(&message, way))).collect())
    }
}

fn value_at(message: &DynamicMessage, way: &[FieldDescriptor]) -> Owned {
    let Some((field, rest)) = way.split_first() else { return Owned::Null };
    if field.supports_presence() && !message.has_field(field) {
        // Only an older syntax gives such a field a default, by name.
        let is_given = field.field_descriptor_proto().default_value.is_some();
        if !is_given || !rest.is_empty() {
            return Owned::Null;
        }
    }
    let datum = message.get_field(field);
    match (datum.as_ref(), rest) {
        (datum, []) => owned(datum, field),
        (Datum::Message(inner), rest) => value_at(inner, rest),
        _ => Owned::Null,
    }
}

fn owned(datum: &Datum, field: &FieldDescriptor) -> Owned {
    match datum {
        Datum::Bool(truth) => Owned::Truth(*truth),
        Datum::I32(number) => Owned::Whole((*number).into()),
        Datum::I64(number) => Owned::Whole(*number),
        Datum::U32(number) => Owned::Whole((*number).into()),
        Datum::U64(number) => i64::try_from(*number).map_or(Owned::Unsigned(*number), Owned::Whole),
        Datum::F32(number) => Owned::Single(*number),
        Datum::F64(number) => Owned::Real(*number),
        Datum::String(text) => Owned::Text(text.clone()),
        Datum::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
        Datum::EnumNumber(number) => match field.kind() {
            Kind::Enum(kind) => name_of(&kind, *number),
            _ => Owned::Whole((*number).into()),
        },
        Datum::Message(message) => well_known(message),
        Datum::List(_) => Owned::Other("a list"),
        Datum::Map(_) => Owned::Other("a map"),
    }
}

/// An enum's value by its name; one that the schema does not have by its number.
fn name_of(kind: &EnumDescriptor, number: i32) -> Owned {
    match kind.get_value(number) {
        Some(value) => Owned::Text(value.name().to_owned()),
        None => Owned::Whole(number.into()),
    }
}

/// A message that stands for one value.
fn well_known(message: &DynamicMessage) -> Owned {
    let kind = message.descriptor();
    match kind.full_name() {
        "google.protobuf.Timestamp" => {
            let number = |name: &str| match message.get_field_by_name(name).as_deref() {
                Some(Datum::I64(number)) => *number,
                Some(Datum::I32(number)) => i64::from(*number),
                _ => 0,
            };
            let micros = number("seconds").saturating_mul(1_000_000);
            Owned::Time(
                EventTime::from_micros(micros).plus_micros(number("nanos").div_euclid(1_000)),
            )
        }
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => match kind.get_field_by_name("value") {
            Some(field) => owned(message.get_field(&field).as_ref(), &field),
            None => Owned::Null,
        },
        _ => Owned::Other("a message"),
    }
}

impl Rows {
    /// Finds the values of columns in a record of the batch.
    pub(crate) fn find<'a>(&'a self, index: usize, slots: &mut [Slot<'a>]) -> Result<(), String> {
        match self.0.get(index) {
            Some(Ok(values)) => {
                for (slot, value) in slots.iter_mut().zip(values) {
                    slot.exact = value.as_ref().map(Owned::value);
                }
                Ok(())
            }
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("no record".to_owned()),
        }
    }
}

/// Tells the fields of records of a schema, of the message that `record` is, a record without
/// the schema's number.
///
/// # Errors
/// If the schema is of no use, or the record of none of its messages.
pub(crate) fn outline(
    found: &RegisteredSchema,
    record: &[u8],
    remarks: &mut Vec<String>,
) -> Result<Vec<OutlinedField>, String> {
    let messages = Messages::of_text(&found.text, &found.references)?;
    let (indexes, _) = message_indexes(record)?;
    let mut fields = Vec::new();
    outline_fields(&messages.at(&indexes)?, &mut Vec::new(), &mut fields, remarks);
    Ok(fields)
}

fn outline_fields(
    message: &MessageDescriptor,
    names: &mut Vec<String>,
    fields: &mut Vec<OutlinedField>,
    remarks: &mut Vec<String>,
) {
    for field in message.fields() {
        names.push(field.name().to_owned());
        let kind = field.kind();
        let wrapped = match &kind {
            Kind::Message(inner) if inner.full_name().starts_with("google.protobuf.") => {
                inner.get_field_by_name("value").map(|field| field.kind())
            }
            _ => None,
        };
        match wrapped.unwrap_or(kind) {
            _ if field.is_list() || field.is_map() => {
                if let Some(path) = FieldPath::of(names.clone()) {
                    remarks.push(format!("`{path}` is a list or map, which no column can be"));
                }
            }
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Timestamp" => {
                outline::add(fields, names, outline::time());
            }
            Kind::Message(inner) => {
                if !outline::is_deep(names) {
                    outline_fields(&inner, names, fields, remarks);
                }
            }
            Kind::Double | Kind::Float => outline::add(fields, names, DataType::Float64),
            Kind::Bool => outline::add(fields, names, DataType::Boolean),
            Kind::String | Kind::Enum(_) => outline::add(fields, names, DataType::Utf8),
            Kind::Bytes => {}
            _ => outline::add(fields, names, DataType::Int64),
        }
        names.pop();
    }
}

#[cfg(test)]
mod tests;
