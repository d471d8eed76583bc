//! What a decoder is told.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tidecast_stream::{FieldColumn, Tombstones, ValueFormat};

use crate::schemas::SchemaError;
use crate::time::TimeRule;

/// What a decoder has to know of the records and the table.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// The table's columns.
    pub schema: SchemaRef,
    /// What a record's value is; of a raw one it is the first column not beside it.
    pub format: ValueFormat,
    /// How many records a batch (usually) has at most.
    pub capacity: usize,
    /// The rule for all columns of times.
    pub rule: TimeRule,
    /// Columns from beside the records' values: a field of their name counts for nothing,
    /// and [`Decoder::decode_beside`] is told their values.
    pub beside: Vec<usize>,
    /// Columns that are fields inside of others. Those that lead through a list lead through
    /// the same, and each of its elements is a row.
    pub fields: Vec<FieldColumn>,
    /// What a record without a value is.
    pub tombstones: Tombstones,
    /// The schema that the table has, read from where the format says it is.
    pub own_schema: Option<Vec<u8>>,
}

impl DecoderConfig {
    /// Returns the decoder of JSON objects of which each column is a field, in batches of
    /// 8,192 records.
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            format: ValueFormat::Json,
            capacity: 8_192,
            rule: TimeRule::default(),
            beside: Vec::new(),
            fields: Vec::new(),
            tombstones: Tombstones::Bad,
            own_schema: None,
        }
    }
}

/// Why a batch could not be decoded: on account of no record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The table has a column that no format can give.
    #[error("column `{name}` of type {data_type} cannot be read from a record's value")]
    Column {
        /// Its name.
        name: String,
        /// Its type.
        data_type: String,
    },
    /// A schema could not be had, or is of no use.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}
