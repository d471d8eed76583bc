//! Readers of others, and what they read as the JSON that it is.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Datum;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MapKey, MessageDescriptor, ReflectMessage as _, Value as Field,
};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Map, Number, Value};
use tidecast_stream::EventTime;

use super::super::{ForecastEncoder, ForecastLayout};
use crate::schemas::{RegisteredSchema, SchemaKind};

/// Fields that JSON leaves out where there is nothing.
const LEFT_OUT: [&str; 7] =
    ["times", "reason", "aggregates", "samples", "domain", "lower", "upper"];

/// Returns the message as text, names in their order.
pub(super) fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields: BTreeMap<_, _> = fields.iter().map(|(k, v)| (k, sorted(v))).collect();
                fields.into_iter().map(|(name, value)| (name.clone(), value)).collect()
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Value, layout: ForecastLayout) {
    let is_nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if layout == ForecastLayout::Long || !is_nothing || !LEFT_OUT.contains(&name) {
        fields.insert(name.to_owned(), value);
    }
}

fn double(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Returns the columns that an Avro schema names beside its fields.
fn columns(schema: &Value, found: &mut BTreeMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            let column = fields.get("column").and_then(Value::as_str).map(str::to_owned);
            let level = fields.get("level").map(|level| format!("q{level}"));
            if let (Some(name), Some(column)) = (fields.get("name"), column.or(level)) {
                found.insert(name.as_str().unwrap().to_owned(), column);
            }
            fields.values().for_each(|inner| columns(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| columns(inner, found)),
        _ => {}
    }
}

fn avro_json(datum: Datum, names: &BTreeMap<String, String>, layout: ForecastLayout) -> Value {
    let inner = |datum| avro_json(datum, names, layout);
    match datum {
        Datum::Null => Value::Null,
        Datum::Union(_, datum) => inner(*datum),
        Datum::Boolean(value) => value.into(),
        Datum::Long(value) => value.into(),
        Datum::Double(value) => {
            assert!(value.is_finite(), "what is not finite is null");
            double(value)
        }
        Datum::String(text) => text.into(),
        Datum::TimestampMicros(micros) => EventTime::from_micros(micros).to_string().into(),
        Datum::Decimal(decimal) => {
            let bytes = <Vec<u8>>::try_from(&decimal).unwrap();
            let number = num(&bytes);
            assert!(bytes.len() == 1 || !(bytes[0] == 0 && bytes[1] < 0x80), "{bytes:?}");
            u64::try_from(number).unwrap().into()
        }
        Datum::Array(items) => items.into_iter().map(inner).collect(),
        Datum::Map(entries) => {
            let sorted: BTreeMap<_, _> = entries.into_iter().collect();
            sorted.into_iter().map(|(name, value)| (name, inner(value))).collect()
        }
        Datum::Record(fields) => {
            let mut written = Map::new();
            for (name, value) in fields {
                put(&mut written, names.get(&name).unwrap_or(&name), inner(value), layout);
            }
            written.into()
        }
        other => panic!("{other:?}"),
    }
}

/// A big-endian two's complement.
fn num(bytes: &[u8]) -> i128 {
    let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte))
}

/// Returns what reads the encoder's Avro.
pub(super) fn of_avro(
    encoder: &ForecastEncoder,
    layout: ForecastLayout,
) -> impl Fn(&[u8]) -> Value {
    let text = encoder.schema().unwrap().text;
    let schema = Schema::parse_str(&text).unwrap();
    let mut names = BTreeMap::new();
    columns(&serde_json::from_str(&text).unwrap(), &mut names);
    move |bytes| {
        let mut rest = bytes;
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let datum = reader.read_value(&mut rest).unwrap();
        assert!(rest.is_empty(), "bytes behind the record");
        avro_json(datum, &names, layout)
    }
}

struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "own.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn descriptor(text: &str) -> MessageDescriptor {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(text.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file("own.proto").unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let pool: DescriptorPool = compiler.descriptor_pool();
    pool.get_file_by_name("own.proto").unwrap().messages().next().unwrap()
}

fn protobuf_json(message: &DynamicMessage, layout: ForecastLayout) -> Value {
    let descriptor = message.descriptor();
    if descriptor.full_name() == "google.protobuf.Timestamp" {
        let number = |name| match message.get_field_by_name(name).unwrap().as_ref() {
            Field::I64(seconds) => *seconds,
            Field::I32(nanos) => i64::from(*nanos),
            other => panic!("{other:?}"),
        };
        let (seconds, nanos) = (number("seconds"), number("nanos"));
        assert!((0..1_000_000_000).contains(&nanos));
        return EventTime::from_micros(seconds * 1_000_000 + nanos / 1_000).to_string().into();
    }
    let mut written = Map::new();
    for field in descriptor.fields() {
        let value = match field.supports_presence() && !message.has_field(&field) {
            true => Value::Null,
            false => field_json(message.get_field(&field).as_ref(), layout),
        };
        // The name that it has in JSON is the column's.
        put(&mut written, field.json_name(), value, layout);
    }
    match descriptor.name() {
        "Values" => written.remove("values").unwrap(),
        _ => written.into(),
    }
}

fn field_json(field: &Field, layout: ForecastLayout) -> Value {
    match field {
        Field::Bool(value) => (*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F64(value) => double(*value),
        Field::String(text) => text.as_str().into(),
        Field::Message(message) => protobuf_json(message, layout),
        Field::List(items) => items.iter().map(|item| field_json(item, layout)).collect(),
        Field::Map(entries) => {
            let entry = |(name, value): (&MapKey, &Field)| match name {
                MapKey::String(name) => (name.clone(), field_json(value, layout)),
                other => panic!("{other:?}"),
            };
            entries.iter().map(entry).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Returns what reads the encoder's Protobuf.
pub(super) fn of_protobuf(
    encoder: &ForecastEncoder,
    layout: ForecastLayout,
) -> impl Fn(&[u8]) -> Value {
    let descriptor = descriptor(&encoder.schema().unwrap().text);
    move |bytes| {
        let message = DynamicMessage::decode(descriptor.clone(), bytes).unwrap();
        assert_eq!(message.unknown_fields().count(), 0, "fields that the schema has not");
        protobuf_json(&message, layout)
    }
}

/// Reads a row that `writer` wrote by the schema of `reader`.
pub(super) fn resolved(writer: &ForecastEncoder, reader: &ForecastEncoder, row: &[u8]) -> Value {
    let text = reader.schema().unwrap().text;
    if reader.schema().unwrap().kind == SchemaKind::Protobuf {
        let message = DynamicMessage::decode(descriptor(&text), row).unwrap();
        return protobuf_json(&message, ForecastLayout::Long);
    }
    let written = Schema::parse_str(&writer.schema().unwrap().text).unwrap();
    let schema = Schema::parse_str(&text).unwrap();
    let mut names = BTreeMap::new();
    columns(&serde_json::from_str(&text).unwrap(), &mut names);
    let by = GenericDatumReader::builder(&written).reader_schema(&schema).build().unwrap();
    avro_json(by.read_value(&mut &*row).unwrap(), &names, ForecastLayout::Long)
}

/// Reads a schema as its own project does.
pub(super) fn parse(schema: &RegisteredSchema) {
    match schema.kind {
        SchemaKind::Protobuf => drop(descriptor(&schema.text)),
        _ => drop(Schema::parse_str(&schema.text).unwrap_or_else(|it| panic!("{it}"))),
    }
}
