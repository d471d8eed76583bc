//! What is said of a record, for the one who wrote the record.

use arrow::datatypes::DataType;

use crate::value::Value;

/// The longest piece of a payload that a message repeats, in characters.
const MAX_QUOTE: usize = 80;

/// Says that a value is none of its column.
pub(crate) fn unfit(column: &str, data_type: &DataType, token: Value<'_>) -> String {
    let got = quote(token.written().as_bytes());
    format!("column `{column}`: expected {}, got `{got}`", describe(data_type))
}

pub(crate) fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "a string".to_owned(),
        DataType::Timestamp(..) => {
            "a timestamp such as `2026-11-22T10:00:00Z` or a number since 1970".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "a date such as `2026-11-22`".to_owned(),
        other if other.is_integer() => format!("a whole number ({other})"),
        other if other.is_numeric() => "a number".to_owned(),
        other => format!("a value of type {other}"),
    }
}

/// At most 80 characters of `bytes`, on one line, with what cannot be seen
/// (control characters, marks of no width, bytes that are no text) escaped.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::new();
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in chunk.valid().chars().map(visible).chain(invalid) {
            count += 1;
            if count > MAX_QUOTE {
                quoted.push('…');
                return quoted;
            }
            quoted.push_str(&piece);
        }
    }
    quoted
}

fn visible(character: char) -> String {
    match character {
        '\n' | '\r' | '\t' => character.escape_default().to_string(),
        control if u32::from(control) < 0x20 || control == '\u{7f}' => {
            format!("\\x{:02x}", u32::from(control))
        }
        control if control.is_control() => control.escape_default().to_string(),
        '\u{ad}'
        | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' => character.escape_default().to_string(),
        other => other.to_string(),
    }
}
