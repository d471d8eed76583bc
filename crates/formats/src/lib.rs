//! What a value written by others means, and how forecasts are written: one rule for
//! files and topics.
//!
//! - [`decode`]: records of any format as rows of a table.
//! - [`time`]: texts and numbers that are times, and their unit.
//! - [`json`]: JSON objects, and forecasts as such.
//! - [`forecast`]: forecasts as the values of records, in any format.
//! - [`outline`]: what records of a topic hold, told from a sample.
//! - [`schemas`]: schemas that records name and somebody else keeps.
//! - [`guard`]: panics of the crates that decode, as errors.
//!
//! Architecture invariant: this crate knows bytes, Arrow and forecasts, not where they
//! come from or go: no file, no broker, no SQL.

mod avro;
mod cells;
mod column;
mod csv;
pub mod decode;
mod explain;
mod fields;
pub mod forecast;
pub mod guard;
pub mod json;
mod lists;
mod names;
pub mod outline;
mod protobuf;
pub mod schemas;
pub mod time;
mod value;

pub use decode::{
    AbsentColumn, DecodeError, Decoded, Decoder, DecoderConfig, Payload, needs_registry,
};

/// Returns whether `text`, blanks around it aside, says that a value is missing from a
/// column that is not text: nothing at all, `NA`, `N/A`, `NaN`, `null`, `None`, in the ways
/// in which programs write them.
#[inline]
pub fn is_missing(text: &str) -> bool {
    const MISSING: [&str; 11] =
        ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "null", "NULL", "None", "none"];
    let text = text.trim();
    // Nearly all values begin as numbers do, and none of these.
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'-' | b'+' | b'.') => false,
        _ => MISSING.contains(&text) || text.eq_ignore_ascii_case("nan"),
    }
}

/// Returns sixteen bytes as identifiers (UUIDs) are written.
pub fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (number, byte) in bytes.iter().enumerate() {
        if matches!(number, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
