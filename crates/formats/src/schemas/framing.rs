//! How records name their schema.
//!
//! Confluent's wire format is a zero byte and a number of four bytes, the highest first.
//! Apicurio's serializers put a number of eight bytes into a header, or behind a zero byte into
//! the value: eight bytes of it (2.x) or four (3.x). Which, is told as Apicurio's own
//! deserializer for topics with both does: numbers are positive and fit into four bytes, so
//! that zeros are the upper half of eight.

use tidecast_stream::{ApicurioId, SchemaFraming};

use super::SchemaId;
use crate::explain::quote;

const GLOBAL_ID: &str = "apicurio.value.globalId";
const CONTENT_ID: &str = "apicurio.value.contentId";
const ENCODING: &str = "apicurio.value.encoding";
/// The name of a Protobuf message's type.
const TYPE: &str = "apicurio.protobuf.type";

/// Headers of a record by their name.
type Header<'h, 'a> = &'h dyn Fn(&str) -> Option<&'a [u8]>;

/// What stands around a record.
pub(crate) struct Frame<'a> {
    pub(crate) id: SchemaId,
    /// The record itself.
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the frame of a record; `what` is expected in it.
    ///
    /// # Errors
    /// If it has none, or not of this framing.
    pub(crate) fn of(
        framing: SchemaFraming,
        payload: &'a [u8],
        header: Header<'_, 'a>,
        what: &str,
    ) -> Result<Self, String> {
        match framing {
            SchemaFraming::None => Ok(Self { id: SchemaId::Registered(0), body: payload }),
            SchemaFraming::Confluent => confluent(payload, header, what),
            SchemaFraming::Apicurio(id) => match header_id(header)? {
                Some(id) => Ok(Self { id, body: payload }),
                None => apicurio(id, payload, what),
            },
        }
    }
}

/// Returns the schema that Apicurio's headers name, if there are such.
///
/// # Errors
/// If they are of no use.
pub(crate) fn header_id(header: Header<'_, '_>) -> Result<Option<SchemaId>, String> {
    for (name, id) in
        [(GLOBAL_ID, SchemaId::Global as fn(u64) -> SchemaId), (CONTENT_ID, SchemaId::Content)]
    {
        let Some(bytes) = header(name) else { continue };
        let number = <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).map_err(|_| {
            format!("the header `{name}` is `{}`: expected a number of eight bytes", quote(bytes))
        })?;
        return match header(ENCODING) {
            None | Some(b"BINARY") => Ok(Some(id(number))),
            Some(other) => Err(format!(
                "the header `{ENCODING}` is `{}`: expected `BINARY`, which is what a serializer \
                 writes without `apicurio.registry.avro.encoding`",
                quote(other)
            )),
        };
    }
    Ok(None)
}

/// Returns the name of the Protobuf message that Apicurio's headers tell, if they do.
pub(crate) fn type_header<'a>(header: Header<'_, 'a>) -> Option<&'a str> {
    std::str::from_utf8(header(TYPE)?).ok()
}

fn confluent<'a>(
    payload: &'a [u8],
    header: Header<'_, 'a>,
    what: &str,
) -> Result<Frame<'a>, String> {
    match payload {
        // No registry gives the number zero.
        [0, 0, 0, 0, 0, a, b, c, d, ..] => {
            let number = u32::from_be_bytes([*a, *b, *c, *d]);
            Err(format!(
                "schema 0, which no registry has: it looks like number {number} in Apicurio's eight \
                 bytes, 'format'='avro-apicurio' or 'protobuf-apicurio'"
            ))
        }
        [0, a, b, c, d, body @ ..] => {
            let number = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok(Frame { id: SchemaId::Registered(number), body })
        }
        [] => Err(format!("an empty value: expected {what}")),
        other => Err(no_frame(other, header)),
    }
}

fn apicurio<'a>(
    said: Option<ApicurioId>,
    payload: &'a [u8],
    what: &str,
) -> Result<Frame<'a>, String> {
    let id = |written: ApicurioId, number: u64| match said.unwrap_or(written) {
        ApicurioId::Global => SchemaId::Global(number),
        ApicurioId::Content => SchemaId::Content(number),
    };
    match payload {
        [0, 0, 0, 0, 0, a, b, c, d, body @ ..] => {
            let number = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok(Frame { id: id(ApicurioId::Global, number.into()), body })
        }
        [0, a, b, c, d, body @ ..] => {
            let number = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok(Frame { id: id(ApicurioId::Content, number.into()), body })
        }
        [] => Err(format!("an empty value: expected {what}")),
        other => Err(no_frame(other, &|_| None)),
    }
}

/// Says that no schema is named where one was expected.
fn no_frame(payload: &[u8], header: Header<'_, '_>) -> String {
    let remedy = match payload.trim_ascii_start() {
        _ if [GLOBAL_ID, CONTENT_ID].iter().any(|name| header(name).is_some()) => {
            "; its headers are those of Apicurio's serializers, 'format'='avro-apicurio' or \
             'protobuf-apicurio'"
        }
        [b'{', ..] => "; it looks like JSON, 'format'='json'",
        [b'O', b'b', b'j', 1, ..] => {
            "; it is an Avro file, expected one record in Confluent's wire format"
        }
        [0xC3, 1, ..] => {
            "; it is in Avro's single-object encoding, expected Confluent's wire format"
        }
        _ => {
            "; records that name no schema are of 'format'='avro' or 'protobuf', with their schema \
             in the table"
        }
    };
    format!(
        "no schema registry's header: expected a zero byte and a schema's number, got \
         `{}`{remedy}",
        quote(payload)
    )
}
