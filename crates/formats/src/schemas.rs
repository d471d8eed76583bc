//! Schemas that records name by number and a registry keeps.

mod framing;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

pub(crate) use self::framing::{Frame, header_id, type_header};

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

/// The number by which a record names its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// The one that a registry of Confluent's interface gave it.
    Registered(u32),
    /// Apicurio's `globalId`, of a version of an artifact.
    Global(u64),
    /// Apicurio's `contentId`, of a content.
    Content(u64),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(number) => write!(f, "{number}"),
            Self::Global(number) => write!(f, "globalId {number}"),
            Self::Content(number) => write!(f, "contentId {number}"),
        }
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
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError>;
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
    met: BTreeMap<SchemaId, Result<T, String>>,
}

impl<T> Known<T> {
    pub(crate) fn new(source: Option<Box<dyn SchemaSource>>) -> Self {
        Self { source, met: BTreeMap::new() }
    }

    /// Adds one that nobody has to be asked for.
    pub(crate) fn insert(&mut self, id: SchemaId, schema: T) {
        self.met.insert(id, Ok(schema));
    }

    /// Returns what `read` makes of a schema, of this kind, or why it is of no use for records.
    ///
    /// # Errors
    /// If that cannot be told for now.
    pub(crate) fn get(
        &mut self,
        id: SchemaId,
        kind: SchemaKind,
        read: impl FnOnce(&RegisteredSchema) -> Result<T, String>,
    ) -> Result<Result<&mut T, String>, SchemaError> {
        let unusable = |error: &str| format!("written with schema {id}: {error}");
        let schema = match self.met.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let found = match &mut self.source {
                    Some(source) => source.schema(id)?,
                    None => None,
                };
                let Some(found) = found else {
                    // Not remembered here: it may be registered yet.
                    let remedy = match id {
                        SchemaId::Registered(_) => "",
                        SchemaId::Global(_) => {
                            "; if records name contents, 'apicurio.registry.use-id'='contentId'"
                        }
                        SchemaId::Content(_) => {
                            "; if records name versions, 'apicurio.registry.use-id'='globalId'"
                        }
                    };
                    return Ok(Err(format!(
                        "written with schema {id}, which the schema registry does not have: \
                         expected the number of a registered schema{remedy}"
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
