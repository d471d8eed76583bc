//! Forecasts as the values of records, in any format: one encoder each, made once from what
//! the forecasts of a pipeline look like.
//!
//! Two layouts. *Nested*: a record is a forecast, with the fields of
//! `docs/forecast-message.schema.json` in any format. *Long*: a record is a step of a target
//! ([`ForecastRow`]), with the columns that forecasts have in files, and the forecast's id.
//!
//! # Schemas
//! They go on by what registries call backward compatible: whatever may come or go has a
//! default. Quantiles of the nested layout are a map by the level's text, as in JSON, so
//! that another level is no other schema; those of the long one are a column each, which may
//! be missing. A name that Avro and Protobuf do not have is written with `_` for what they
//! lack (`q0_1` for `q0.1`), and the schema has it as it was beside.
//!
//! Both have the pipeline's name in theirs, so that whoever reads the topics of several
//! pipelines can have types for all of them.

mod avro;
mod json;
mod long;
mod names;
mod protobuf;
mod rows;
mod series;

use tidecast_stream::{
    ForecastEncoding, ForecastFormat, ForecastFraming, ForecastLayout, ForecastMessage,
    ForecastSchema,
};

pub use self::long::long_names;
pub use self::rows::{ForecastRow, RowError, rows};

use self::avro::AvroForecasts;
use self::long::LongColumns;
use self::protobuf::ProtobufForecasts;
use self::rows::count;
use crate::json::encode_forecast;
use crate::schemas::{RegisteredSchema, SchemaKind};

/// Writes the forecasts of one pipeline as the values of records.
///
/// ```
/// use tidecast_formats::forecast::ForecastEncoder;
/// use tidecast_stream::{
///     ForecastEncoding, ForecastFormat, ForecastLayout, ForecastSchema, ForecastFraming,
/// };
/// let forecasts = ForecastSchema { levels: vec![0.1], ..ForecastSchema::default() };
/// let encoding = ForecastEncoding::Avro(ForecastFraming::None);
/// let format = ForecastFormat { encoding, layout: ForecastLayout::Long };
/// let encoder = ForecastEncoder::new("load", &forecasts, format)?;
/// let schema = encoder.schema().map(|schema| schema.text).unwrap_or_default();
/// assert!(schema.contains(r#""name":"q0_1""#), "{schema}");
/// # Ok::<(), tidecast_formats::forecast::ForecastSchemaError>(())
/// ```
#[derive(Debug)]
pub struct ForecastEncoder {
    format: ForecastFormat,
    writer: Writer,
    /// What stands in front of each value.
    frame: Vec<u8>,
    /// Whether aggregates are rows.
    has_aggregates: bool,
}

#[derive(Debug)]
enum Writer {
    Json(LongColumns),
    Avro(AvroForecasts),
    Protobuf(ProtobufForecasts),
}

/// Forecasts that a format has no schema for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForecastSchemaError {
    /// A level with more decimals than Protobuf has numbers of fields for.
    #[error(
        "quantile level `{level}` has no column in Protobuf, expected at most 8 decimals, or \
         'layout'='nested'"
    )]
    Level {
        /// The level.
        level: f64,
    },
}

/// A forecast that is not as its pipeline's are.
#[derive(Debug, thiserror::Error)]
pub enum ForecastEncodeError {
    /// It does not fit its pipeline's schema.
    #[error(transparent)]
    Row(#[from] RowError),
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl ForecastEncoder {
    /// Returns what writes the forecasts of `pipeline`.
    ///
    /// # Errors
    /// If the format has no schema for them.
    pub fn new(
        pipeline: &str,
        forecasts: &ForecastSchema,
        format: ForecastFormat,
    ) -> Result<Self, ForecastSchemaError> {
        let writer = match format.encoding {
            ForecastEncoding::Json => Writer::Json(LongColumns::new(forecasts)),
            ForecastEncoding::Avro(_) => {
                Writer::Avro(AvroForecasts::new(pipeline, forecasts, format.layout))
            }
            ForecastEncoding::Protobuf(_) => {
                Writer::Protobuf(ProtobufForecasts::new(pipeline, forecasts, format.layout)?)
            }
        };
        let has_aggregates = !forecasts.aggregates.is_empty();
        Ok(Self { format, writer, frame: Vec::new(), has_aggregates })
    }

    /// Returns how it writes.
    pub fn format(&self) -> ForecastFormat {
        self.format
    }

    /// Returns the schema of what it writes, without what stands in front; JSON has none.
    pub fn schema(&self) -> Option<RegisteredSchema> {
        let (kind, text) = match &self.writer {
            Writer::Json(_) => return None,
            Writer::Avro(avro) => (SchemaKind::Avro, avro.schema()),
            Writer::Protobuf(protobuf) => (SchemaKind::Protobuf, protobuf.schema()),
        };
        Some(RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() })
    }

    /// Returns whether a schema registry has to number its schema first.
    pub fn needs_schema_number(&self) -> bool {
        self.format.encoding.framing() == ForecastFraming::Confluent
    }

    /// Puts in front of each value from now on, as Confluent's wire format has it, the number
    /// of the schema in a registry, and of Protobuf which message of it.
    pub fn set_schema_number(&mut self, number: u32) {
        self.frame = vec![0];
        self.frame.extend(number.to_be_bytes());
        if matches!(self.writer, Writer::Protobuf(_)) {
            // The first message of the file, for which the format has a short form.
            self.frame.push(0);
        }
    }

    /// Returns the number of records that a forecast is, at least one.
    pub fn records(&self, message: &ForecastMessage) -> usize {
        match self.format.layout {
            ForecastLayout::Nested => 1,
            ForecastLayout::Long => count(message, self.has_aggregates),
        }
    }

    /// Appends the value of record `index`, from 0, of a forecast to `out`.
    ///
    /// # Errors
    /// If the forecast is not as the pipeline's are, or has no such record. What is in `out`
    /// then is no value.
    pub fn encode(
        &self,
        message: &ForecastMessage,
        index: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ForecastEncodeError> {
        out.extend_from_slice(&self.frame);
        if self.format.layout == ForecastLayout::Long {
            let row = ForecastRow::of(message, self.has_aggregates, index);
            let row = row.ok_or(RowError::Index { index })?;
            return match &self.writer {
                Writer::Json(columns) => json::row(columns, &row, out),
                Writer::Avro(avro) => Ok(avro.row(&row, out)?),
                Writer::Protobuf(protobuf) => Ok(protobuf.row(&row, out)?),
            };
        }
        if index > 0 {
            return Err(RowError::Index { index }.into());
        }
        match &self.writer {
            Writer::Json(_) => Ok(encode_forecast(message, out)?),
            Writer::Avro(avro) => Ok(avro.message(message, out)?),
            Writer::Protobuf(protobuf) => Ok(protobuf.message(message, out)?),
        }
    }
}

#[cfg(test)]
mod tests;
