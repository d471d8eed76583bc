//! JSON payloads to fields of rows, and forecasts to JSON, for topics and files alike.
//!
//! One record is one JSON object is one row. It is read in one pass from its bytes to the
//! columns, and records of an unusual kind (numbers as text, other case, numbers as times)
//! are no slower for being all.
//!
//! A byte order mark in front of a record is taken off, and so are the five bytes
//! of a schema registry in front of an object.

pub(crate) mod debezium;
pub(crate) mod envelope;
mod forecast;
pub(crate) mod scan;

use std::borrow::Cow;

pub use self::forecast::{decode_forecast, encode_forecast};
use self::scan::Scanner;
use crate::value::Value;

/// The depth at which nesting stops being data.
const MAX_DEPTH: usize = 64;

/// A field's value, for whoever looks at a record without a table.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// `null`, or a bare `NaN`.
    Missing,
    /// A string's text.
    Text(Cow<'a, str>),
    /// A number or truth value, as written.
    Plain(Cow<'a, str>),
    /// An object or a list, as written.
    Nested(&'a str),
}

/// Passes the fields of a record to `visit`, names unescaped, in the order in
/// which they are written.
///
/// # Errors
/// If it is no JSON object, with the reason; fields in front were visited.
pub fn fields<'a>(
    payload: &'a [u8],
    mut visit: impl FnMut(Cow<'a, str>, FieldValue<'a>),
) -> Result<(), String> {
    let unescaped = |text: &'a str, has_escapes: bool| {
        if has_escapes { scan::unescape(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
    };
    let mut broken = None;
    Scanner::new(envelope::open(payload)?).object(|(name, has_escapes), value| {
        let value = match value {
            Value::Null | Value::NotANumber => Ok(FieldValue::Missing),
            Value::Text(text, has_escapes) => unescaped(text, has_escapes).map(FieldValue::Text),
            Value::Nested(text) => Ok(FieldValue::Nested(text)),
            plain => Ok(FieldValue::Plain(plain.written())),
        };
        match unescaped(name, has_escapes).and_then(|name| Ok((name, value?))) {
            Ok((name, value)) => visit(name, value),
            Err(error) => broken = broken.take().or(Some(error)),
        }
    })?;
    broken.map_or(Ok(()), Err)
}
