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
use crate::schemas::{Frame, SchemaError, SchemaId, SchemaKind, SchemaSource, header_id};
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
    NoRegistry(SchemaId),
    /// The schema is of no use.
    #[error("schema {number}: {reason}")]
    Unusable {
        /// Its number.
        number: SchemaId,
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
        if FRAMINGS.iter().any(|framing| Frame::of(*framing, payload, &|_| None, "").is_ok())
            && envelope::open(payload).is_err()
        {
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

/// How records may name a schema, the likelier first.
const FRAMINGS: [SchemaFraming; 2] = [SchemaFraming::Confluent, SchemaFraming::Apicurio(None)];

/// Tells what these records hold; `header` returns the last one of this name of the record of
/// this index, and `schemas` has those that records name.
///
/// # Errors
/// If that cannot be told, with what they look like.
pub fn outline<'a>(
    payloads: &[Payload<'a>],
    header: impl Fn(usize, &str) -> Option<&'a [u8]>,
    schemas: Option<&mut dyn SchemaSource>,
) -> Result<Outline, OutlineError> {
    let values: Vec<&[u8]> = payloads.iter().copied().flatten().collect();
    let Some(last) = values.last() else { return Err(OutlineError::Empty) };
    let newest = payloads.iter().rposition(Option::is_some).unwrap_or_default();
    let newest_header = |name: &str| header(newest, name);
    if header_id(&newest_header).map_err(OutlineError::Unknown)?.is_some() {
        let others = payloads.iter().enumerate().filter(|(index, payload)| {
            payload.is_some_and(|_| {
                header_id(&|name| header(*index, name)).ok() != header_id(&newest_header).ok()
            })
        });
        let framing = SchemaFraming::Apicurio(None);
        let frame = Frame::of(framing, last, &newest_header, "a record");
        let frame = frame.map_err(OutlineError::Unknown)?;
        return by_schema(framing, &frame, &newest_header, (others.count(), values.len()), schemas);
    }
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
        Look::Framed => {
            let newest = alike.last().copied().unwrap_or(last);
            let frame = |framing, record| Frame::of(framing, record, &|_| None, "a record");
            let framing = FRAMINGS.into_iter().find(|framing| frame(*framing, newest).is_ok());
            let framing = framing.unwrap_or(SchemaFraming::Confluent);
            let newest = frame(framing, newest).map_err(OutlineError::Unknown)?;
            let others = alike
                .iter()
                .filter(|record| frame(framing, record).is_ok_and(|other| other.id != newest.id));
            by_schema(framing, &newest, &|_| None, (others.count(), alike.len()), schemas)
        }
        Look::Other => Err(OutlineError::Unknown(format!(
            "records are of no format that is known: `{}`; expected JSON, CSV, numbers, or Avro or \
             Protobuf behind a schema registry's header; Avro or Protobuf without one need \
             'format', and their schema in the table",
            quote(last)
        ))),
    }
}

/// Tells it by the schema that the newest record names; so many of all records name others.
fn by_schema<'a>(
    framing: SchemaFraming,
    newest: &Frame<'a>,
    header: &dyn Fn(&str) -> Option<&'a [u8]>,
    (others, all): (usize, usize),
    schemas: Option<&mut dyn SchemaSource>,
) -> Result<Outline, OutlineError> {
    let number = newest.id;
    let schemas = schemas.ok_or(OutlineError::NoRegistry(number))?;
    let unusable = |reason| OutlineError::Unusable { number, reason };
    let schema = schemas
        .schema(number)?
        .ok_or_else(|| unusable("the schema registry does not have it".to_owned()))?;
    let (format, fields) = match schema.kind {
        SchemaKind::Avro => {
            let (text, fields) = avro::outline(&schema).map_err(unusable)?;
            // By Avro's rules older records have the newest fields: by alias, or by default.
            let schema = (others > 0).then_some(SchemaText::Inline(text));
            (ValueFormat::Avro(AvroFormat { framing, schema }), fields)
        }
        SchemaKind::Protobuf => {
            let fields =
                protobuf::outline(&schema, framing, newest.body, header).map_err(unusable)?;
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
            "{others} of {all} records were written with other schemas than {number}, the newest"
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
