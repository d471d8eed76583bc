//! Fields told by the values that records have.

use arrow::datatypes::DataType;
use tidecast_stream::{CsvDialect, ValueFormat};

use super::{Outline, OutlineError, OutlinedFields, is_deep, time};
use crate::csv::CsvReader;
use crate::explain::quote;
use crate::json::scan::Scanner;
use crate::json::{FieldValue, debezium, envelope, fields};
use crate::time::TimeRule;
use crate::value::Value;

/// What values of one field were.
#[derive(Default)]
struct Kinds {
    whole: usize,
    real: usize,
    truth: usize,
    time: usize,
    /// Texts that are numbers.
    quoted: usize,
    text: usize,
}

impl Kinds {
    fn see(&mut self, value: &FieldValue<'_>) {
        match value {
            FieldValue::Missing | FieldValue::Nested(_) => {}
            FieldValue::Plain(text) if matches!(text.as_ref(), "true" | "false") => self.truth += 1,
            FieldValue::Plain(text) if text.parse::<i64>().is_ok() => self.whole += 1,
            FieldValue::Plain(_) => self.real += 1,
            FieldValue::Text(text) => self.see_text(text),
        }
    }

    fn see_text(&mut self, text: &str) {
        if text.trim().is_empty() || crate::is_missing(text.trim()) {
            return;
        }
        // `007` is the name of something, whatever it looks like.
        let is_padded = text.len() > 1 && text.starts_with('0') && !text.contains('.');
        if text.parse::<f64>().is_ok_and(f64::is_finite) && !is_padded {
            self.quoted += 1;
        } else if TimeRule::default().parse(text).is_ok() {
            self.time += 1;
        } else {
            self.text += 1;
        }
    }

    /// Returns the type of the column; `None` where no value was seen.
    fn data_type(&self) -> Option<DataType> {
        let Self { whole, real, truth, time: times, quoted, text } = *self;
        let numbers = whole + real + quoted;
        match (numbers, truth, times, text) {
            (0, 0, 0, 0) => None,
            (1.., 0, 0, 0) if real + quoted == 0 => Some(DataType::Int64),
            (1.., 0, 0, 0) => Some(DataType::Float64),
            (0, 1.., 0, 0) => Some(DataType::Boolean),
            (0, 0, 1.., 0) => Some(time()),
            _ => Some(DataType::Utf8),
        }
    }
}

/// Fields of objects, in the order in which they were met.
#[derive(Default)]
struct Seen {
    fields: Vec<(Vec<String>, Kinds)>,
    /// Lists, each with the fields of the objects in it.
    lists: Vec<(Vec<String>, Seen)>,
}

impl Seen {
    fn object(&mut self, text: &str, names: &mut Vec<String>) {
        let mut inner = Vec::new();
        let visited = fields(text.as_bytes(), |name, value| match value {
            FieldValue::Nested(text) => inner.push((name.into_owned(), text)),
            value => {
                names.push(name.into_owned());
                match self.fields.iter_mut().find(|(known, _)| known == names) {
                    Some((_, kinds)) => kinds.see(&value),
                    None => {
                        let mut kinds = Kinds::default();
                        kinds.see(&value);
                        self.fields.push((names.clone(), kinds));
                    }
                }
                names.pop();
            }
        });
        if visited.is_err() {
            return;
        }
        for (name, text) in inner {
            names.push(name);
            if text.starts_with('[') {
                self.list(text, names);
            } else if !is_deep(names) {
                self.object(text, names);
            }
            names.pop();
        }
    }

    fn list(&mut self, text: &str, names: &[String]) {
        let known = self.lists.iter().position(|(known, _)| known == names);
        let place = known.unwrap_or_else(|| {
            self.lists.push((names.to_vec(), Self::default()));
            self.lists.len() - 1
        });
        let Some((_, seen)) = self.lists.get_mut(place) else { return };
        // It was read as a whole before, so it is one; what else is in it is no object.
        let _read = Scanner::new(text).list(|element| {
            if let Value::Nested(text) = element
                && text.starts_with('{')
                && !is_deep(names)
            {
                seen.object(text, &mut Vec::new());
            }
            Ok(())
        });
    }

    /// Returns the fields that have a type.
    fn outlined(&self) -> OutlinedFields {
        let mut outlined = OutlinedFields::default();
        for (names, kinds) in &self.fields {
            if let Some(data_type) = kinds.data_type() {
                outlined.add(names, data_type);
            }
        }
        for (names, elements) in &self.lists {
            outlined.add_list(names, elements.outlined());
        }
        outlined
    }
}

/// Tells the fields of JSON objects.
pub(super) fn objects(format: ValueFormat, values: &[&[u8]]) -> Outline {
    let mut seen = Seen::default();
    for value in values {
        let Ok(text) = envelope::open(value) else { continue };
        match format {
            ValueFormat::DebeziumJson => {
                if let Ok(Some(row)) = debezium::row(text) {
                    seen.object(row, &mut Vec::new());
                }
            }
            _ => seen.object(text, &mut Vec::new()),
        }
    }
    let (fields, remarks) = seen.outlined().with_rows();
    Outline { format, fields, remarks }
}

/// Records whose values are numbers.
pub(super) fn numbers() -> Outline {
    let mut fields = OutlinedFields::default();
    fields.add(&["value".to_owned()], DataType::Float64);
    let (fields, remarks) = fields.with_rows();
    Outline { format: ValueFormat::Raw, fields, remarks }
}

/// Tells the fields of CSV records, which have no names.
pub(super) fn lines(delimiter: u8, values: &[&[u8]]) -> Result<Outline, OutlineError> {
    let dialect = CsvDialect { delimiter, ..CsvDialect::default() };
    let first = values.first().copied().unwrap_or_default();
    let count = (1..=256).find(|count| {
        let reader = CsvReader::new(dialect, (0..*count).collect());
        reader.parse(&[Some(first)]).is_record(0)
    });
    let unknown = || {
        let shown = quote(first);
        OutlineError::Unknown(format!("records look like CSV and are none: `{shown}`"))
    };
    let count = count.ok_or_else(unknown)?;
    let reader = CsvReader::new(dialect, (0..count).collect());
    let payloads: Vec<_> = values.iter().map(|value| Some(*value)).collect();
    let parsed = reader.parse(&payloads);
    let mut kinds: Vec<Kinds> = (0..count).map(|_| Kinds::default()).collect();
    for record in 0..values.len() {
        for (kinds, text) in kinds.iter_mut().zip(parsed.texts(record)) {
            kinds.see_text(text);
        }
    }
    let mut fields = OutlinedFields::default();
    for (place, kinds) in kinds.iter().enumerate() {
        // All must be there, for they go by their order.
        let data_type = kinds.data_type().unwrap_or(DataType::Utf8);
        fields.add(&[format!("field_{}", place + 1)], data_type);
    }
    let (fields, _) = fields.with_rows();
    let remarks = vec!["CSV records have no names: the columns are in the order of fields".into()];
    Ok(Outline { format: ValueFormat::Csv(dialect), fields, remarks })
}
