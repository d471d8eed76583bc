//! What names a series, and how it is shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The values of the series columns, in the order the SQL names them.
///
/// ```
/// use tidecast_stream::SeriesKey;
/// let key = SeriesKey::new([("site", "A".into()), ("phase", 2.into())]);
/// assert_eq!(key.to_string(), r#"{"site":"A","phase":2}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct SeriesKey(pub Map<String, Value>);

impl SeriesKey {
    /// Returns the key with these columns and values.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self(columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Returns the values alone, joined by `/`, for people to read. Two keys of the
    /// same columns have two labels: a value that could be mistaken for another one, or
    /// for several, or that a terminal or a picture would not show, is quoted.
    ///
    /// ```
    /// use tidecast_stream::SeriesKey;
    /// let label = |a: &str, b: &str| SeriesKey::new([("a", a.into()), ("b", b.into())]).label();
    /// assert_eq!(label("p", "q"), "p/q");
    /// assert_ne!(label("p/q", "r"), label("p", "q/r"));
    /// ```
    pub fn label(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) if is_plain(text) => text.clone(),
            Value::String(text) => printable(&format!("{text:?}")),
            other => other.to_string(),
        };
        self.0.values().map(text).collect::<Vec<_>>().join("/")
    }

    /// Returns about how many bytes of the heap it takes: those of its texts, and what a
    /// column's place in the map takes beside them.
    ///
    /// ```
    /// use tidecast_stream::SeriesKey;
    /// let of = |site: &str| SeriesKey::new([("site", site.into())]).memory_bytes();
    /// assert_eq!(of("A longer name") - of("A"), 12);
    /// assert_eq!(SeriesKey::default().memory_bytes(), 0);
    /// ```
    pub fn memory_bytes(&self) -> usize {
        // Beside name and value an entry keeps its hash and is found by its index.
        const ENTRY: usize = size_of::<(String, Value)>() + 2 * size_of::<usize>();
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        self.0.iter().map(|(name, value)| ENTRY + name.len() + text(value)).sum()
    }
}

impl fmt::Display for SeriesKey {
    /// The key as a JSON object: the Kafka key of the message, and what seeds
    /// and ids are made from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text != "null"
        && text.trim() == text
        && text.chars().all(|c| !matches!(c, '/' | '"') && !is_control(c))
}

/// Whether a character steers a terminal, or cannot stand in XML, or turns what stands
/// around it about.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Returns text with what steers a terminal, or cannot stand in a picture's XML, as an
/// escape: text of others must not be carried out.
///
/// ```
/// use tidecast_stream::printable;
/// assert_eq!(printable("a\u{1b}[31mb"), "a\\u{1b}[31mb");
/// assert_eq!(printable("Köln"), "Köln");
/// ```
pub fn printable(text: &str) -> String {
    if !text.chars().any(is_control) {
        return text.to_owned();
    }
    let show = |c: char| match is_control(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(show).collect()
}
