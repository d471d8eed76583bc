//! Change events of Debezium: the row after the change.
//!
//! An event is `{"before":…,"after":…,"source":…,"op":…}`, or that as the `payload` of a
//! message that brings its `schema` along (Kafka Connect's `JsonConverter` with
//! `schemas.enable`).

use super::scan::Scanner;
use crate::explain::quote;
use crate::value::Value;

/// The parts of an event that tell its row.
#[derive(Default)]
struct Event<'a> {
    has_schema: bool,
    payload: Option<Value<'a>>,
    before: Option<Value<'a>>,
    after: Option<Value<'a>>,
    op: Option<Value<'a>>,
}

impl<'a> Event<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut event = Self::default();
        Scanner::new(text).object(|(name, _), value| match name {
            "schema" => event.has_schema = true,
            "payload" => event.payload = Some(value),
            "before" => event.before = Some(value),
            "after" => event.after = Some(value),
            "op" => event.op = Some(value),
            _ => {}
        })?;
        Ok(event)
    }
}

/// Returns the row after the change, a JSON object; `None` where there is none any more: it
/// was deleted, or its table emptied.
///
/// # Errors
/// If `text` is no change event.
pub(crate) fn row(text: &str) -> Result<Option<&str>, String> {
    let mut event = Event::read(text)?;
    if event.has_schema && event.after.is_none() {
        event = match event.payload {
            Some(Value::Nested(payload)) if payload.starts_with('{') => Event::read(payload)?,
            Some(Value::Null) => return Ok(None),
            _ => event,
        };
    }
    match (event.after, event.op) {
        (Some(Value::Nested(row)), _) if row.starts_with('{') => Ok(Some(row)),
        (Some(Value::Null), Some(Value::Text("d", _))) => Ok(None),
        (None, Some(Value::Text("d" | "t", _))) => Ok(None),
        // Older versions and some databases have no `op`.
        (Some(Value::Null), None) if event.before.is_some() => Ok(None),
        (None, None) => Err("no change event of Debezium (no `op`, no `after`): expected \
                             `{\"before\":…,\"after\":…,\"op\":…}`; rows without it around \
                             (`ExtractNewRecordState`) are of 'format'='json'"
            .to_owned()),
        (after, op) => {
            let show = |value: Option<Value<'_>>| match value {
                Some(value) => format!("`{}`", quote(value.written().as_bytes())),
                None => "missing".to_owned(),
            };
            Err(format!(
                "a change event with `op` {} and `after` {}: expected the row after the change",
                show(op),
                show(after)
            ))
        }
    }
}
