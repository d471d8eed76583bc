//! What arrow-json says about a record, for the one who wrote the record.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_json::ReaderBuilder;

/// The longest piece of a payload that a message repeats.
const MAX_QUOTE: usize = 80;

/// Explains why `payload` is no JSON.
pub(super) fn malformed(error: &ArrowError) -> String {
    format!("malformed JSON: {}", decapitalise(&bare(error)))
}

/// Explains why `payload`, which is a JSON object, does not fit `schema`.
pub(super) fn unfit(schema: &SchemaRef, payload: &[u8], error: &ArrowError) -> String {
    let said = bare(error);
    if said.starts_with("Encountered unmasked nulls") {
        let column = missing_column(schema, payload);
        return match column {
            Some(column) => format!("column `{column}` is NOT NULL but missing or null"),
            None => "a NOT NULL column is missing or null".to_owned(),
        };
    }
    if said.contains("non-UTF-8") || said.contains("truncated UTF-8") {
        return "not UTF-8".to_owned();
    }
    let Some((column, rest)) =
        said.strip_prefix("whilst decoding field '").and_then(|rest| rest.split_once("': "))
    else {
        return format!("the record does not fit the table: {}", shorten(&decapitalise(&said)));
    };
    let expected = match schema.field_with_name(column) {
        Ok(field) => describe(field.data_type()),
        Err(_) => "another value".to_owned(),
    };
    match value_in(rest) {
        Some(value) => {
            format!("column `{column}`: expected {expected}, got `{}`", shorten(value))
        }
        None => format!("column `{column}`: expected {expected}; {}", shorten(&decapitalise(rest))),
    }
}

/// arrow-json's message without the kind of error in front.
fn bare(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(message) | ArrowError::ParseError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// The value that arrow-json quotes: `… got V`, `failed to parse V as T`.
fn value_in(said: &str) -> Option<&str> {
    if let Some(rest) = said.strip_prefix("failed to parse ") {
        return rest.split_once(" as ").map(|(value, _)| value);
    }
    said.strip_prefix("expected ")?.split_once(" got ").map(|(_, value)| value)
}

/// Finds a NOT NULL column that has no value, by decoding without that demand.
fn missing_column(schema: &SchemaRef, payload: &[u8]) -> Option<String> {
    let relaxed: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let mut decoder = ReaderBuilder::new(Arc::new(Schema::new(relaxed))).build_decoder().ok()?;
    decoder.decode(payload).ok()?;
    let row = decoder.flush().ok()??;
    let columns = schema.fields().iter().zip(row.columns());
    columns
        .filter(|(field, values)| !field.is_nullable() && values.null_count() > 0)
        .map(|(field, _)| field.name().clone())
        .next()
}

fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "a string".to_owned(),
        DataType::Timestamp(unit, _) => {
            let unit = match unit {
                TimeUnit::Second => "seconds",
                TimeUnit::Millisecond => "milliseconds",
                TimeUnit::Microsecond => "microseconds",
                TimeUnit::Nanosecond => "nanoseconds",
            };
            format!("a timestamp such as `2026-11-22T10:00:00Z` or {unit} since 1970")
        }
        DataType::Date32 | DataType::Date64 => "a date such as `2026-11-22`".to_owned(),
        other if other.is_integer() => format!("a whole number ({other})"),
        other if other.is_numeric() => "a number".to_owned(),
        other => format!("a value of type {other}"),
    }
}

/// At most [`MAX_QUOTE`] characters of `text`, on one line.
pub(super) fn shorten(text: &str) -> String {
    let mut quote: String = text
        .chars()
        .take(MAX_QUOTE)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(MAX_QUOTE).is_some() {
        quote.push('…');
    }
    quote
}

fn decapitalise(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
