//! Names as SQL takes them, whatever they are.

use sqlparser::keywords::ALL_KEYWORDS;

/// Returns `name` as it is written in SQL to mean just that: in quotes where it is a word of
/// the language, or anything but small letters, digits and underscores.
///
/// ```
/// use tidecast_sql::quote_identifier;
/// assert_eq!(quote_identifier("kw_2"), "kw_2");
/// assert_eq!(quote_identifier("Site"), "\"Site\"");
/// assert_eq!(quote_identifier("interval"), "\"interval\"");
/// assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
/// ```
pub fn quote_identifier(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let upper = name.to_uppercase();
    match is_plain && !ALL_KEYWORDS.contains(&upper.as_str()) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
