//! What the value of a topic's record is, and where in it a column stands.

use std::fmt;
use std::str::FromStr;

/// What the value of a topic's record is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// A JSON object, a field for each column.
    #[default]
    Json,
    /// A change event of Debezium in JSON: the columns are fields of the row after it.
    DebeziumJson,
    /// A text that is the one column by itself, as Flink's format `raw`.
    Raw,
    /// A CSV record without a header, a field for each column in the table's order.
    Csv(CsvDialect),
    /// An Avro record.
    Avro(AvroFormat),
    /// A Protobuf message.
    Protobuf(ProtobufFormat),
}

impl ValueFormat {
    /// Returns its name in SQL, Flink's.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::DebeziumJson => "debezium-json",
            Self::Raw => "raw",
            Self::Csv(_) => "csv",
            Self::Avro(AvroFormat { framing: SchemaFraming::Confluent, .. }) => "avro-confluent",
            Self::Avro(AvroFormat { framing: SchemaFraming::Apicurio(_), .. }) => "avro-apicurio",
            Self::Avro(AvroFormat { framing: SchemaFraming::None, .. }) => "avro",
            Self::Protobuf(ProtobufFormat { framing: SchemaFraming::Confluent, .. }) => {
                "protobuf-confluent"
            }
            Self::Protobuf(ProtobufFormat { framing: SchemaFraming::Apicurio(_), .. }) => {
                "protobuf-apicurio"
            }
            Self::Protobuf(ProtobufFormat { framing: SchemaFraming::None, .. }) => "protobuf",
        }
    }

    /// Returns the schema that the table has, if it has one.
    pub fn schema(&self) -> Option<&SchemaText> {
        match self {
            Self::Avro(avro) => avro.schema.as_ref(),
            Self::Protobuf(protobuf) => protobuf.schema.as_ref(),
            _ => None,
        }
    }

    /// Returns how records name the schema they were written with.
    pub fn framing(&self) -> SchemaFraming {
        match self {
            Self::Avro(avro) => avro.framing,
            Self::Protobuf(protobuf) => protobuf.framing,
            _ => SchemaFraming::None,
        }
    }

    /// Returns whether columns may be fields inside of others, and lists of those be spread over
    /// rows.
    pub fn is_nested(&self) -> bool {
        !matches!(self, Self::Raw | Self::Csv(_))
    }
}

/// How a topic's CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvDialect {
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands around a field that has the delimiter in it; doubled, it is itself.
    pub quote: u8,
}

impl Default for CsvDialect {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"' }
    }
}

/// Which Avro schema a record was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvroFormat {
    /// What stands in front of the record.
    pub framing: SchemaFraming,
    /// The schema to read all records by: without framing the one they were written
    /// with, else the reader's, to which Avro's rules resolve each writer's.
    pub schema: Option<SchemaText>,
}

/// Which Protobuf message a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtobufFormat {
    /// What stands in front of the message.
    pub framing: SchemaFraming,
    /// Without framing the schema: the text of a `.proto` file, or a set of descriptors.
    pub schema: Option<SchemaText>,
    /// Without framing the message's type, where the schema has several.
    pub message: Option<String>,
}

/// A schema that the table has rather than the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaText {
    /// It.
    Inline(String),
    /// The name of the file it is in.
    File(String),
}

impl SchemaText {
    /// Returns what an option's text is: a schema where it has a brace or begins like a
    /// schema of JSON, else the name of a file.
    pub fn of(text: String) -> Self {
        match text.contains('{') || text.trim_start().starts_with(['[', '"']) {
            true => Self::Inline(text),
            false => Self::File(text),
        }
    }
}

/// How a record names the schema it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaFraming {
    /// Not at all.
    None,
    /// By Confluent's wire format: a zero byte and the schema's id in the registry, four
    /// bytes with the highest first.
    Confluent,
    /// As Apicurio's serializers do: by headers, or by a zero byte and an id of eight bytes
    /// (2.x) or four (3.x). Which id that is where no header says it; `None`: what the version
    /// that wrote as many bytes does unless told otherwise.
    Apicurio(Option<ApicurioId>),
}

/// A number by which Apicurio's registry knows a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicurioId {
    /// `globalId`, of a version of an artifact.
    Global,
    /// `contentId`, of a content, which several versions may share.
    Content,
}

/// The way to a field inside of a record's value, from outside to inside; it may lead through
/// one list, whose elements are a row each.
///
/// ```
/// use tidecast_stream::FieldPath;
/// let path: FieldPath = "$.payload.values['kW net']".parse()?;
/// assert_eq!(path.segments(), ["payload", "values", "kW net"]);
/// assert_eq!(path.to_string(), "$.payload.values['kW net']");
/// assert_eq!("payload.values".parse::<FieldPath>()?.to_string(), "$.payload.values");
/// let path: FieldPath = "$.readings[*].kw".parse()?;
/// assert_eq!((path.segments(), path.in_element()), (&["readings".to_owned()][..], Some(&["kw".to_owned()][..])));
/// # Ok::<(), tidecast_stream::FieldPathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    /// The names on the way, up to the list if there is one.
    names: Vec<String>,
    /// Those from an element of the list on; none for the element itself.
    in_element: Option<Vec<String>>,
}

impl FieldPath {
    /// Returns the path of these names, from outside to inside; `None` if there are none, or
    /// one is empty.
    pub fn of(names: Vec<String>) -> Option<Self> {
        let is_path = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        is_path.then_some(Self { names, in_element: None })
    }

    /// Returns the path through the list that it leads to, on to these names in its elements.
    #[must_use]
    pub fn through(self, in_element: Vec<String>) -> Self {
        Self { in_element: Some(in_element), ..self }
    }

    /// Returns the names on the way, at least one, up to the list if it leads through one.
    pub fn segments(&self) -> &[String] {
        &self.names
    }

    /// Returns the names on the way from an element of a list on, none for the element
    /// itself; `None` if it leads through no list.
    pub fn in_element(&self) -> Option<&[String]> {
        self.in_element.as_deref()
    }
}

/// Whether `name` needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['.', '[', ']', '\'', '"', '$', '*', '@', ' '])
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |names: &[String], f: &mut fmt::Formatter<'_>| {
            for name in names {
                if is_plain(name) {
                    write!(f, ".{name}")?;
                } else {
                    write!(f, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))?;
                }
            }
            Ok(())
        };
        f.write_str("$")?;
        write(&self.names, f)?;
        if let Some(names) = &self.in_element {
            f.write_str("[*]")?;
            write(names, f)?;
        }
        Ok(())
    }
}

/// Text that is no path to a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no path to a field: {reason}, expected names such as `$.payload.values.kw` or \
     `$['payload']['kW net']`"
)]
pub struct FieldPathError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    /// Reads the part of JSONPath (RFC 9535) that names one field: a `$`, which may be left
    /// out, names behind points or quoted in brackets, and one `[*]`.
    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        let error = |reason| FieldPathError { text: text.to_owned(), reason };
        let mut segments = Vec::new();
        // How many of them are in front of a list.
        let mut list = None;
        let mut rest = text.trim();
        match rest.strip_prefix('$') {
            Some(behind) => rest = behind,
            None if rest.starts_with(['.', '[']) => {}
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                segments.push(rest[..end].to_owned());
                rest = &rest[end..];
            }
        }
        while !rest.is_empty() {
            if let Some(behind) = rest.strip_prefix('.') {
                let end = behind.find(['.', '[']).unwrap_or(behind.len());
                segments.push(behind[..end].to_owned());
                rest = &behind[end..];
            } else if let Some(behind) = rest.strip_prefix("[*]") {
                if list.replace(segments.len()).is_some() {
                    return Err(error("it leads through several lists"));
                }
                rest = behind;
                continue;
            } else {
                let quoted = rest.strip_prefix("['").map(|inner| (inner, '\''));
                let quoted = quoted.or_else(|| rest.strip_prefix("[\"").map(|it| (it, '"')));
                let Some((inner, quote)) = quoted else {
                    return Err(error(
                        "one element of a list has no column (`[*]` makes each a row)",
                    ));
                };
                let (name, behind) =
                    quoted_name(inner, quote).ok_or_else(|| error("a quote is not closed"))?;
                segments.push(name);
                rest = behind.strip_prefix(']').ok_or_else(|| error("a bracket is not closed"))?;
                continue;
            }
            if segments.last().is_some_and(|name| !is_plain(name)) {
                return Err(error("a name is empty or has to be quoted"));
            }
        }
        if segments.iter().any(String::is_empty) {
            return Err(error("a name is empty"));
        }
        let in_element = list.map(|list| segments.split_off(list));
        match segments.is_empty() {
            true => Err(error("it names none")),
            false => Ok(Self { names: segments, in_element }),
        }
    }
}

/// Returns what stands in front of the closing quote, and what behind it.
fn quoted_name(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\\' => name.push(characters.next()?),
            character if character == quote => return Some((name, characters.as_str())),
            character => name.push(character),
        }
    }
}

/// A column that is filled with a field inside of the record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldColumn {
    /// The column's place in the table.
    pub column: usize,
    /// The way to the field.
    pub path: FieldPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_from_outside_to_inside() {
        for (text, names) in [
            ("kw", vec!["kw"]),
            ("$.a.b", vec!["a", "b"]),
            (" a.b-c.d_e ", vec!["a", "b-c", "d_e"]),
            ("$['a.b'][\"c'd\"].e", vec!["a.b", "c'd", "e"]),
            (r"$['it\'s']", vec!["it's"]),
            ("x['y z']", vec!["x", "y z"]),
        ] {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.segments(), names, "{text}");
            assert_eq!(path.to_string().parse(), Ok(path), "{text}");
        }
    }

    #[test]
    fn a_path_may_lead_through_one_list() {
        for (text, outer, inner) in
            [("$.a.b[*].c['d']", vec!["a", "b"], vec!["c", "d"]), ("a[*]", vec!["a"], vec![])]
        {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.segments(), outer, "{text}");
            assert_eq!(path.in_element().unwrap(), inner, "{text}");
            assert_eq!(path.to_string().parse(), Ok(path), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("$", "names none"),
            ("$.", "empty"),
            ("$..kw", "empty"),
            ("$.a[0]", "list"),
            ("$.a[*].b[*]", "several lists"),
            ("$[*]", "names none"),
            ("$.*", "quoted"),
            ("$['a", "quote is not closed"),
            ("$['a'", "bracket is not closed"),
            ("$['']", "empty"),
        ] {
            let error = text.parse::<FieldPath>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("expected names such as"), "{error}");
        }
    }
}
