//! Schemas that records name by number and a registry keeps.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use crate::explain::quote;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// Apache Avro's.
    Avro,
    /// JSON Schema.
    Json,
    /// Protocol Buffers'.
    Protobuf,
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "Avro",
            Self::Json => "JSON Schema",
            Self::Protobuf => "Protobuf",
        })
    }
}

/// A schema as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its language.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// The schemas that it refers to, those they refer to included: name and text.
    pub references: Vec<(String, String)>,
}

/// Where schemas are found that records name.
pub trait SchemaSource: Send {
    /// Returns the schema of this number, `None` if there is none. It is asked once for a
    /// schema that is there, and once a batch for one that is not.
    ///
    /// # Errors
    /// If that cannot be told for now.
    fn schema(&mut self, id: u32) -> Result<Option<RegisteredSchema>, SchemaError>;
}

/// Why a schema cannot be had, or is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SchemaError {
    /// What is wrong, where, and what to do.
    pub message: String,
    /// Whether it may be better the next time.
    pub is_transient: bool,
}

impl SchemaError {
    /// Returns an error that stays.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_transient: false }
    }

    /// Returns an error that may be gone the next time.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_transient: true }
    }
}

/// What is known of the schemas that records were written with.
pub(crate) struct Known<T> {
    source: Option<Box<dyn SchemaSource>>,
    /// By number; those of no use with the reason.
    met: BTreeMap<u32, Result<T, String>>,
}

impl<T> Known<T> {
    pub(crate) fn new(source: Option<Box<dyn SchemaSource>>) -> Self {
        Self { source, met: BTreeMap::new() }
    }

    /// Adds one that nobody has to be asked for.
    pub(crate) fn insert(&mut self, number: u32, schema: T) {
        self.met.insert(number, Ok(schema));
    }

    /// Returns what `read` makes of a schema, of this kind, or why it is of no use for records.
    ///
    /// # Errors
    /// If that cannot be told for now.
    pub(crate) fn get(
        &mut self,
        number: u32,
        kind: SchemaKind,
        read: impl FnOnce(&RegisteredSchema) -> Result<T, String>,
    ) -> Result<Result<&mut T, String>, SchemaError> {
        let unusable = |error: &str| format!("written with schema {number}: {error}");
        let schema = match self.met.entry(number) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let found = match &mut self.source {
                    Some(source) => source.schema(number)?,
                    None => None,
                };
                let Some(found) = found else {
                    // Not remembered here: it may be registered yet.
                    return Ok(Err(format!(
                        "written with schema {number}, which the schema registry does not have: \
                         expected the number of a registered schema"
                    )));
                };
                entry.insert(match found.kind == kind {
                    true => read(&found),
                    false => Err(format!("it is {}, expected {kind}", found.kind)),
                })
            }
        };
        Ok(schema.as_mut().map_err(|error| unusable(error)))
    }
}

/// Returns the number of the schema that a record in Confluent's wire format was written
/// with, and what stands behind it; `what` is expected there.
pub(crate) fn framed<'a>(payload: &'a [u8], what: &str) -> Result<(u32, &'a [u8]), String> {
    match payload {
        [0, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        [] => Err(format!("an empty value: expected {what}")),
        other => {
            let remedy = match other.trim_ascii_start() {
                [b'{', ..] => "; it looks like JSON, 'format'='json'",
                [b'O', b'b', b'j', 1, ..] => {
                    "; it is an Avro file, expected one record in Confluent's wire format"
                }
                [0xC3, 1, ..] => {
                    "; it is in Avro's single-object encoding, expected Confluent's wire format"
                }
                _ => {
                    "; records that name no schema are of 'format'='avro' or 'protobuf', with \
                     their schema in the table"
                }
            };
            Err(format!(
                "no schema registry's header: expected a zero byte and a schema's number, got \
                 `{}`{remedy}",
                quote(other)
            ))
        }
    }
}
