//! The series of a forecast as fields of types.

use std::borrow::Cow;

use arrow::datatypes::DataType;
use serde_json::Value;
use tidecast_stream::{ForecastLayout, SeriesKey};

use super::long::LongColumns;
use super::names::{Identifiers, identifier};
use super::rows::RowError;

/// The types that series columns have in schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeriesType {
    Text,
    Integer,
    Unsigned,
    Number,
    Truth,
}

/// A series column as a field of a schema.
#[derive(Debug)]
pub(super) struct SeriesField {
    /// Its name in the series.
    pub(super) column: String,
    /// Its name as a column of the layout.
    pub(super) shown: String,
    /// Its name in the schema.
    pub(super) field: String,
    pub(super) kind: SeriesType,
}

/// A value of a series column that is not missing.
#[derive(Debug)]
pub(super) enum SeriesValue<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Unsigned(u64),
    Number(f64),
    Truth(bool),
}

impl SeriesType {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Integer,
            DataType::UInt64 => Self::Unsigned,
            DataType::Float64 => Self::Number,
            DataType::Boolean => Self::Truth,
            _ => Self::Text,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Unsigned => "integer above -1",
            Self::Number => "number",
            Self::Truth => "truth value",
        }
    }
}

impl SeriesField {
    /// Returns the fields of all series columns: of a row beside the others of it, else of a
    /// message of their own.
    pub(super) fn all(columns: &LongColumns, layout: ForecastLayout) -> Vec<Self> {
        let quantiles: Vec<String> = columns.quantiles.iter().map(|it| identifier(it)).collect();
        let mut names = match layout {
            ForecastLayout::Nested => Identifiers::default(),
            ForecastLayout::Long => {
                Identifiers::taken(LongColumns::fixed().chain(quantiles.iter().map(String::as_str)))
            }
        };
        let field = |(column, own, kind): &(String, String, DataType)| {
            let shown = if layout == ForecastLayout::Long { own } else { column }.clone();
            let field = names.next(&shown);
            Self { column: column.clone(), shown, field, kind: SeriesType::of(kind) }
        };
        columns.series.iter().map(field).collect()
    }

    /// Returns its value in `series`, `None` where that is missing.
    pub(super) fn value<'a>(
        &self,
        series: &'a SeriesKey,
    ) -> Result<Option<SeriesValue<'a>>, RowError> {
        let Some(value) = series.0.get(&self.column).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let found = match (self.kind, value) {
            (SeriesType::Text, Value::String(text)) => Some(SeriesValue::Text(text.into())),
            (SeriesType::Text, other) => Some(SeriesValue::Text(other.to_string().into())),
            (SeriesType::Integer, value) => value.as_i64().map(SeriesValue::Integer),
            (SeriesType::Unsigned, value) => value.as_u64().map(SeriesValue::Unsigned),
            (SeriesType::Number, value) => value.as_f64().map(SeriesValue::Number),
            (SeriesType::Truth, value) => value.as_bool().map(SeriesValue::Truth),
        };
        let misfit = || RowError::Value {
            name: self.column.clone(),
            value: value.to_string(),
            wanted: self.kind.words(),
        };
        found.ok_or_else(misfit).map(Some)
    }
}

/// Checks that a forecast's series has no columns but those `known`.
pub(super) fn check_known<'a>(
    series: &SeriesKey,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), RowError> {
    let stranger = series.0.keys().find(|name| !known.clone().any(|known| known == *name));
    match stranger {
        Some(name) => Err(RowError::Series { name: name.clone() }),
        None => Ok(()),
    }
}
