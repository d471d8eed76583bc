//! Avro's schemas as far as columns are found by them.
//!
//! What a schema means is arrow-avro's to say; here it is looked at for the names that its
//! records have, and made whole where it refers to others.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// A record's schema, whole, and its fields.
#[derive(Debug)]
pub(super) struct RecordSchema {
    /// The text, with what it refers to put in.
    pub(super) text: String,
    /// The fields: each one's name and the other names it has had.
    pub(super) fields: Vec<FieldNames>,
    /// Whether it has a list, wherever, whose elements take no bytes.
    pub(super) has_lists_of_nothing: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct FieldNames {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
}

impl RecordSchema {
    /// Reads a schema; `references` are those it refers to, name and text.
    ///
    /// # Errors
    /// If it is no JSON, or of something else than a record.
    pub(super) fn read(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let mut schema = parsed(text)?;
        if !references.is_empty() {
            let mut named = HashMap::new();
            for (name, text) in references {
                let reference = parsed(text).map_err(|error| format!("`{name}`: {error}"))?;
                if let Some(name) = full_name(&reference, None) {
                    named.insert(name, reference);
                }
            }
            Inliner { named, defined: HashSet::new() }.visit(&mut schema, None);
        }
        if schema.get("type").and_then(Value::as_str) != Some("record") {
            let what = schema.get("type").unwrap_or(&schema);
            return Err(format!("it is of {}, expected a record", shortened(&what.to_string())));
        }
        let strings = |value: &Value| value.as_str().map(str::to_owned);
        let fields = schema.get("fields").and_then(Value::as_array).map(Vec::as_slice);
        let fields = fields.unwrap_or_default().iter().filter_map(|field| {
            let aliases = field.get("aliases").and_then(Value::as_array).map(Vec::as_slice);
            Some(FieldNames {
                name: field.get("name").and_then(strings)?,
                aliases: aliases.unwrap_or_default().iter().filter_map(strings).collect(),
            })
        });
        let mut lists = ListsOfNothing::default();
        lists.takes_nothing(&schema);
        Ok(Self {
            fields: fields.collect(),
            text: schema.to_string(),
            has_lists_of_nothing: lists.is_found,
        })
    }

    /// Returns which field a column of this name is: that of exactly its name, else the one
    /// that once had it, else the only one whose name differs in case alone.
    pub(super) fn find(&self, column: &str) -> Option<usize> {
        let by = |is: &dyn Fn(&FieldNames) -> bool| self.fields.iter().position(is);
        let exact = by(&|field| field.name == column);
        let renamed = || by(&|field| field.aliases.iter().any(|alias| alias == column));
        let lower = column.to_lowercase();
        let loose = || {
            let mut fields = self.fields.iter().enumerate();
            let mut next = || fields.find(|(_, field)| field.name.to_lowercase() == lower);
            let (only, another) = (next()?, next());
            another.is_none().then_some(only.0)
        };
        exact.or_else(renamed).or_else(loose)
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    // A name by itself stands for a type, quoted or not.
    serde_json::from_str(text).map_err(|error| format!("it is no JSON ({error})"))
}

fn shortened(text: &str) -> String {
    format!("type `{}`", crate::explain::quote(text.as_bytes()))
}

/// Returns the name by which others refer to a schema inside of `namespace`.
fn full_name(schema: &Value, namespace: Option<&str>) -> Option<String> {
    let name = schema.get("name")?.as_str()?;
    let own = schema.get("namespace").and_then(Value::as_str);
    Some(qualified(name, own.or(namespace)))
}

fn qualified(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !name.contains('.') && !namespace.is_empty() => {
            format!("{namespace}.{name}")
        }
        _ => name.to_owned(),
    }
}

/// Puts schemas in where they are first referred to.
struct Inliner {
    named: HashMap<String, Value>,
    defined: HashSet<String>,
}

impl Inliner {
    fn visit(&mut self, schema: &mut Value, namespace: Option<&str>) {
        match schema {
            Value::String(name) => {
                let here = qualified(name, namespace);
                let full = if self.named.contains_key(&here) { here } else { name.clone() };
                if self.defined.contains(&full) {
                    return;
                }
                let Some(mut reference) = self.named.get(&full).cloned() else { return };
                // Those it refers to in turn; it is defined first, as it may refer to itself.
                let own = full.rsplit_once('.').map(|(namespace, _)| namespace.to_owned());
                self.visit(&mut reference, own.as_deref());
                if let (Some(object), Some(own)) = (reference.as_object_mut(), own) {
                    // Inside of another namespace it keeps its own.
                    object.entry("namespace").or_insert(Value::String(own));
                }
                *schema = reference;
            }
            Value::Array(branches) => {
                branches.iter_mut().for_each(|branch| self.visit(branch, namespace));
            }
            Value::Object(object) => {
                let own = object.get("namespace").and_then(Value::as_str).map(str::to_owned);
                let name = object.get("name").and_then(Value::as_str);
                let of_name = name.and_then(|name| name.rsplit_once('.'));
                let of_name = of_name.map(|(namespace, _)| namespace.to_owned());
                if let Some(name) = name {
                    let namespace = own.as_deref().or(namespace);
                    self.defined.insert(qualified(name, namespace));
                }
                let own = of_name.or(own);
                let namespace = own.as_deref().or(namespace);
                if let Some(fields) = object.get_mut("fields").and_then(Value::as_array_mut) {
                    for field in fields {
                        if let Some(schema) = field.get_mut("type") {
                            self.visit(schema, namespace);
                        }
                    }
                }
                for inner in ["type", "items", "values"] {
                    if let Some(schema) = object.get_mut(inner) {
                        self.visit(schema, namespace);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Looks for lists whose elements take no bytes.
#[derive(Default)]
struct ListsOfNothing {
    /// Named types, and whether they take none.
    named: HashMap<String, bool>,
    is_found: bool,
}

impl ListsOfNothing {
    /// Returns whether a value of this schema takes no bytes.
    fn takes_nothing(&mut self, schema: &Value) -> bool {
        let object = match schema {
            Value::String(name) => {
                // By the last part of its name: at worst one too many is found.
                return name == "null" || self.named.get(last(name)).is_some_and(|it| *it);
            }
            Value::Array(branches) => {
                // The branch itself takes a byte.
                for branch in branches {
                    self.takes_nothing(branch);
                }
                return false;
            }
            Value::Object(object) => object,
            _ => return false,
        };
        let name = object.get("name").and_then(Value::as_str).map(|name| last(name).to_owned());
        let takes_nothing = match object.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" | "error" => {
                    let fields = object.get("fields").and_then(Value::as_array);
                    let types = fields.into_iter().flatten().filter_map(|field| field.get("type"));
                    let mut takes_nothing = true;
                    // All are looked at, for the lists in them.
                    for field in types {
                        takes_nothing &= self.takes_nothing(field);
                    }
                    takes_nothing
                }
                "array" => {
                    let items = object.get("items");
                    self.is_found |= items.is_some_and(|items| self.takes_nothing(items));
                    false
                }
                "map" => {
                    if let Some(values) = object.get("values") {
                        self.takes_nothing(values);
                    }
                    // Keys take some.
                    false
                }
                "fixed" => object.get("size").and_then(Value::as_u64) == Some(0),
                _ => self.takes_nothing(&Value::String(kind.clone())),
            },
            Some(inner) => self.takes_nothing(inner),
            None => false,
        };
        if let Some(name) = name {
            let known = self.named.entry(name).or_default();
            *known |= takes_nothing;
        }
        takes_nothing
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_the_field_of_its_name_or_that_had_it_or_differs_in_case() {
        let text = r#"{"type":"record","name":"R","fields":[
            {"name":"power","type":"double","aliases":["kw","load"]},
            {"name":"Site","type":"string"},
            {"name":"load","type":"double"},
            {"name":"tS","type":"long"},{"name":"Ts","type":"long"}]}"#;
        let schema = RecordSchema::read(text, &[]).unwrap();
        for (column, field) in [
            ("power", Some(0)),
            ("kw", Some(0)),
            ("site", Some(1)),
            ("load", Some(2)),
            ("ts", None),
        ] {
            assert_eq!(schema.find(column), field, "{column}");
        }
    }

    #[test]
    fn what_is_no_record_is_named() {
        for (text, expected) in [
            (r#""double""#, "`\\\"double\\\"`"),
            (r#"{"type":"array","items":"int"}"#, "array"),
            ("[\"null\"]", "null"),
            ("{", "no JSON"),
        ] {
            let error = RecordSchema::read(text, &[]).unwrap_err();
            assert!(error.contains(&expected.replace("\\\"", "\"")), "{text}: {error}");
        }
    }

    #[test]
    fn lists_whose_elements_take_no_bytes_are_found_wherever_they_are() {
        let nothing = r#"{"type":"record","name":"a.N","fields":[{"name":"x","type":"null"}]}"#;
        for (of, is_found) in [
            (r#"{"type":"array","items":"double"}"#.to_owned(), false),
            (r#"{"type":"array","items":["null","double"]}"#.to_owned(), false),
            (r#"{"type":"array","items":{"type":"array","items":"int"}}"#.to_owned(), false),
            (nothing.to_owned(), false),
            (r#"{"type":"array","items":"null"}"#.to_owned(), true),
            (r#"["int",{"type":"map","values":{"type":"array","items":"null"}}]"#.to_owned(), true),
            (r#"{"type":"array","items":{"type":"fixed","name":"F","size":0}}"#.to_owned(), true),
            (format!(r#"{{"type":"array","items":{nothing}}}"#), true),
            (format!(r#"[{nothing},{{"type":"array","items":"a.N"}}]"#), true),
        ] {
            let text =
                format!(r#"{{"type":"record","name":"R","fields":[{{"name":"of","type":{of}}}]}}"#);
            let schema = RecordSchema::read(&text, &[]).unwrap();
            assert_eq!(schema.has_lists_of_nothing, is_found, "{of}");
        }
    }

    #[test]
    fn references_are_put_in_where_they_are_first_used() {
        let text = r#"{"type":"record","name":"Reading","namespace":"a","fields":[
            {"name":"at","type":"b.Place"},{"name":"was","type":["null","b.Place"]}]}"#;
        let place = r#"{"type":"record","name":"Place","namespace":"b",
            "fields":[{"name":"city","type":"City"}]}"#;
        let city = r#"{"type":"enum","name":"City","namespace":"b","symbols":["Kiel"]}"#;
        let references = [("b.Place".to_owned(), place.to_owned()), ("c".into(), city.into())];
        let schema = RecordSchema::read(text, &references).unwrap();
        let whole: Value = serde_json::from_str(&schema.text).unwrap();
        let first = &whole["fields"][0]["type"];
        assert_eq!(first["name"], "Place");
        assert_eq!(first["fields"][0]["type"]["symbols"][0], "Kiel");
        // Defined once, and then a name.
        assert_eq!(whole["fields"][1]["type"], serde_json::json!(["null", "b.Place"]));
    }
}
