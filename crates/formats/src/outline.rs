//! What records hold, for whoever writes a table for them: told from a sample.

mod fields;
mod text;

use arrow::datatypes::DataType;
use tidecast_stream::{
    AvroFormat, FieldPath, ProtobufFormat, SchemaFraming, SchemaText, ValueFormat,
};

pub(crate) use self::fields::OutlinedFields;
use crate::decode::Payload;
use crate::explain::quote;
use crate::json::{debezium, envelope};
use crate::schemas::{SchemaError, SchemaKind, SchemaSource, framed};
use crate::{avro, protobuf};

/// Of how many records in a hundred a format has to be that of all.
const ENOUGH: usize = 90;

/// Levels of objects inside of others that are looked into.
const LEVELS: usize = 5;

/// Fields that are told at most.
const MOST_FIELDS: usize = 500;

/// What records are, and which fields they have.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// What their values are.
    pub format: ValueFormat,
    /// Their fields, in the order in which they were met.
    pub fields: Vec<OutlinedField>,
    /// What cannot be a column, in words.
    pub remarks: Vec<String>,
}

/// A field that a column may be.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlinedField {
    /// The way to it.
    pub path: FieldPath,
    /// The type of its column: a truth value, BIGINT, DOUBLE, text or time.
    pub data_type: DataType,
}

/// Why nothing can be told of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// There are none with a value.
    #[error(
        "no record with a value: expected some to look at; wait for data, or write the table by hand"
    )]
    Empty,
    /// They are of no format, or of several.
    #[error("{0}")]
    Unknown(String),
    /// They name a schema, and nobody was said to have it.
    #[error("records name schema {0}, which a schema registry has: expected its address")]
    NoRegistry(u32),
    /// The schema is of no use.
    #[error("schema {number}: {reason}")]
    Unusable {
        /// Its number.
        number: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] SchemaError),
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Framed,
    Object,
    Change,
    Number,
    Line(u8),
    Other,
}

impl Look {
    fn of(payload: &[u8]) -> Self {
        if framed(payload, "").is_ok() && envelope::open(payload).is_err() {
            return Self::Framed;
        }
        let Ok(text) = envelope::open(payload) else { return Self::Other };
        let trimmed = text.trim();
        if trimmed.starts_with('{') {
            let mut names = Vec::new();
            let is_object =
                crate::json::fields(payload, |name, _| names.push(name.into_owned())).is_ok();
            let has = |name: &str| names.iter().any(|known| known == name);
            let is_change = (has("op") && (has("after") || has("before")))
                || (has("schema") && has("payload") && matches!(debezium::row(text), Ok(Some(_))));
            return match (is_object, is_change) {
                (false, _) => Self::Other,
                (true, true) => Self::Change,
                (true, false) => Self::Object,
            };
        }
        if trimmed.parse::<f64>().is_ok() {
            return Self::Number;
        }
        let delimiter = [b';', b'\t', b'|', b',']
            .into_iter()
            .find(|delimiter| trimmed.bytes().any(|byte| byte == *delimiter));
        match delimiter {
            Some(delimiter) if !trimmed.contains('\n') => Self::Line(delimiter),
            _ => Self::Other,
        }
    }
}

/// Tells what these records hold; `schemas` has those that records name.
///
/// # Errors
/// If that cannot be told, with what they look like.
pub fn outline(
    payloads: &[Payload<'_>],
    schemas: Option<&mut dyn SchemaSource>,
) -> Result<Outline, OutlineError> {
    let values: Vec<&[u8]> = payloads.iter().copied().flatten().collect();
    let Some(last) = values.last() else { return Err(OutlineError::Empty) };
    let looks: Vec<Look> = values.iter().map(|value| Look::of(value)).collect();
    let most = looks.iter().max_by_key(|look| looks.iter().filter(|it| it == look).count());
    let most = most.copied().unwrap_or(Look::Other);
    let alike: Vec<&[u8]> = values
        .iter()
        .zip(&looks)
        .filter(|(_, look)| **look == most)
        .map(|(value, _)| *value)
        .collect();
    if alike.len() * 100 < values.len() * ENOUGH {
        let others = values.iter().zip(&looks).filter(|(_, look)| **look != most);
        let shown = |value: Option<&&[u8]>| {
            value.map_or_else(String::new, |value| format!("`{}`", quote(value)))
        };
        return Err(OutlineError::Unknown(format!(
            "records are of several formats, such as {} and {}: expected one",
            shown(alike.last()),
            shown(others.map(|(value, _)| value).next())
        )));
    }
    match most {
        Look::Object => Ok(text::objects(ValueFormat::Json, &alike)),
        Look::Change => Ok(text::objects(ValueFormat::DebeziumJson, &alike)),
        Look::Number => Ok(text::numbers()),
        Look::Line(delimiter) => text::lines(delimiter, &alike),
        Look::Framed => by_schema(alike.last().unwrap_or(last), &alike, schemas),
        Look::Other => Err(OutlineError::Unknown(format!(
            "records are of no format that is known: `{}`; expected JSON, CSV, numbers, or Avro or \
             Protobuf behind a schema registry's header; Avro or Protobuf without one need \
             'format', and their schema in the table",
            quote(last)
        ))),
    }
}

/// Tells it by the schema that the newest record names.
fn by_schema(
    record: &[u8],
    all: &[&[u8]],
    schemas: Option<&mut dyn SchemaSource>,
) -> Result<Outline, OutlineError> {
    let (number, behind) = framed(record, "a record").map_err(OutlineError::Unknown)?;
    let schemas = schemas.ok_or(OutlineError::NoRegistry(number))?;
    let unusable = |reason| OutlineError::Unusable { number, reason };
    let schema = schemas
        .schema(number)?
        .ok_or_else(|| unusable("the schema registry does not have it".to_owned()))?;
    let framing = SchemaFraming::Confluent;
    let others =
        all.iter().filter(|record| framed(record, "").is_ok_and(|(other, _)| other != number));
    let others = others.count();
    let (format, fields) = match schema.kind {
        SchemaKind::Avro => {
            let (text, fields) = avro::outline(&schema).map_err(unusable)?;
            // By Avro's rules older records have the newest fields: by alias, or by default.
            let schema = (others > 0).then_some(SchemaText::Inline(text));
            (ValueFormat::Avro(AvroFormat { framing, schema }), fields)
        }
        SchemaKind::Protobuf => {
            let fields = protobuf::outline(&schema, behind).map_err(unusable)?;
            let format = ProtobufFormat { framing, schema: None, message: None };
            (ValueFormat::Protobuf(format), fields)
        }
        SchemaKind::Json => {
            return Err(unusable("it is JSON Schema, and the record is no JSON".to_owned()));
        }
    };
    let (fields, mut remarks) = fields.with_rows();
    if others > 0 {
        let remark = format!(
            "{others} of {} records were written with other schemas than {number}, the newest",
            all.len()
        );
        remarks.insert(0, remark);
    }
    Ok(Outline { format, fields, remarks })
}

/// Whether objects as deep as `names` are looked into.
pub(crate) fn is_deep(names: &[String]) -> bool {
    names.len() >= LEVELS
}

/// The type of columns of times.
pub(crate) fn time() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)
}

#[cfg(test)]
mod tests;
