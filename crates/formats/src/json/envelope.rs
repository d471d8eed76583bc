//! What stands around the JSON of a record.

use crate::explain::quote;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns the text in which the record's object is, without the byte order mark
/// or the five bytes of a schema registry that some producers put in front.
///
/// # Errors
/// If it is no text, or not JSON at all.
#[inline]
pub(crate) fn open(bytes: &[u8]) -> Result<&str, String> {
    match bytes.first() {
        Some(b'{') => text(bytes),
        _ => unwrap(bytes),
    }
}

/// Returns the text of a value that is no JSON.
///
/// # Errors
/// If it is no text.
pub(crate) fn bare(bytes: &[u8]) -> Result<&str, String> {
    text(bytes).map_err(|error| format!("{error}: `{}`; expected a text", quote(bytes)))
}

#[cold]
fn unwrap(bytes: &[u8]) -> Result<&str, String> {
    if let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK) {
        return text(rest);
    }
    let Some((&[0, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() else {
        return match text(bytes) {
            Err(_) => Err(not_json(bytes)),
            text => text,
        };
    };
    let inner = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest);
    if inner.trim_ascii_start().first() == Some(&b'{') {
        return text(inner);
    }
    let schema = u32::from_be_bytes([a, b, c, d]);
    // A topic of zeros has no registry.
    if schema == 0 && rest.iter().all(|byte| *byte == 0) {
        return Err(not_json(bytes));
    }
    // No registry of Confluent's interface gives that, and Apicurio's eight bytes begin so.
    let whose = if schema == 0 { "apicurio" } else { "confluent" };
    Err(format!(
        "the value has a schema registry's header (magic byte 0, schema id {schema}) and no JSON \
         object behind it: `{}`; expected JSON: Avro is 'format'='avro-{whose}', Protobuf \
         'protobuf-{whose}'",
        quote(rest)
    ))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn not_json(bytes: &[u8]) -> String {
    let remedy = match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "; it looks like UTF-16, expected UTF-8",
        [0x1F, 0x8B, ..] => {
            "; it looks like gzip inside the value, expected the producer's `compression.type` \
             instead"
        }
        _ => "",
    };
    format!("not a JSON object: expected `{{`, got `{}`{remedy}", quote(bytes))
}
