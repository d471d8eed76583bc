//! Values of messages' fields.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage as _, Value as Datum,
};
use tidecast_stream::EventTime;

use crate::value::Value;

/// A field's value.
pub(super) enum Owned {
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
    pub(super) fn value(&self) -> Value<'_> {
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

/// Returns the value at the end of `way` in a message.
pub(super) fn value_at(message: &DynamicMessage, way: &[FieldDescriptor]) -> Owned {
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

/// Returns a value of `field`.
pub(super) fn owned(datum: &Datum, field: &FieldDescriptor) -> Owned {
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
