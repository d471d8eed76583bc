//! Where in a record the table's columns stand.

use std::borrow::Cow;

use arrow::datatypes::Schema;
use tidecast_stream::FieldColumn;

use crate::json::scan::{Scanner, unescape};
use crate::lists::ListPath;
use crate::names::{Match, Names};
use crate::value::Value;

/// A field that may be a column's value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slot<'a> {
    pub(crate) exact: Option<Value<'a>>,
    /// A field whose name differs in case, by its name; with another such it is
    /// neither.
    loose: Option<(&'a str, Value<'a>)>,
    is_ambiguous: bool,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn value(&self) -> Option<Value<'a>> {
        let loose = self.loose.map(|(_, value)| value).filter(|_| !self.is_ambiguous);
        self.exact.or(loose)
    }
}

/// The type of records that a schema describes.
pub(crate) trait RecordType: Sized {
    /// Returns the names of its fields.
    fn names(&self) -> Vec<String>;

    /// Returns the type of the field of this name, if that is a record.
    fn inner(&self, name: &str) -> Option<Self>;

    /// Returns the type of the elements of the field of this name, if that is a list of
    /// records.
    fn element(&self, name: &str) -> Option<Self>;

    /// Returns the type of the elements of the list at the end of `path`.
    fn element_at(&self, path: &[String]) -> Option<Self> {
        match path {
            [] => None,
            [list] => self.element(list),
            [first, rest @ ..] => self.inner(first)?.element_at(rest),
        }
    }
}

/// The way to a column's field, and the column.
type Way<'a> = (&'a [String], usize);

/// The list whose elements are a row each.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The place of the list among the slots: behind the columns.
    pub(crate) slot: usize,
    /// The fields of an element.
    pub(crate) fields: Fields,
    /// Columns that are the element itself.
    pub(crate) itself: Vec<usize>,
    /// The way to the list and to all columns in it.
    pub(crate) path: ListPath,
}

impl Spread {
    /// Returns the list that columns lead through, if one does.
    pub(crate) fn of(schema: &Schema, paths: &[FieldColumn]) -> Option<Self> {
        let path = ListPath::of(paths)?;
        let columns = path.columns.iter().filter(|(_, way)| !way.is_empty());
        let columns: Vec<Way<'_>> =
            columns.map(|(column, way)| (way.as_slice(), *column)).collect();
        let itself = path.columns.iter().filter(|(_, way)| way.is_empty());
        Some(Self {
            slot: schema.fields().len(),
            fields: Fields::of(&columns),
            itself: itself.map(|(column, _)| *column).collect(),
            path,
        })
    }

    /// Remembers which fields the elements have in records of a type.
    pub(crate) fn meet(&mut self, record: &impl RecordType) {
        if let Some(element) = record.element_at(&self.path.names) {
            self.fields.meet(&element);
        }
    }
}

/// The fields of an object that columns are filled with, those of objects inside of it
/// included.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) names: Names,
    /// By the name of the field that they are inside of.
    inside: Vec<(String, Fields)>,
}

impl Fields {
    /// Returns where the table's columns stand: those `beside` a record nowhere, those with
    /// a path there, all others under their name. A list that is spread is one more.
    pub(crate) fn new(schema: &Schema, beside: &[usize], paths: &[FieldColumn]) -> Self {
        let outer = schema.fields().iter().enumerate().filter(|(index, _)| {
            !beside.contains(index) && !paths.iter().any(|path| path.column == *index)
        });
        let named = outer.map(|(index, field)| (std::slice::from_ref(field.name()), index));
        let list = paths.iter().find(|it| it.path.in_element().is_some());
        let list = list.map(|it| (it.path.segments(), schema.fields().len()));
        let paths = paths.iter().filter(|it| it.path.in_element().is_none());
        let paths = paths.map(|it| (it.path.segments(), it.column));
        Self::of(&named.chain(paths).chain(list).collect::<Vec<_>>())
    }

    fn of(columns: &[Way<'_>]) -> Self {
        let here = columns.iter().filter_map(|(path, index)| match path {
            [name] => Some((name.as_str(), *index)),
            _ => None,
        });
        let names = Names::new(here);
        let mut deeper: Vec<(String, Vec<Way<'_>>)> = Vec::new();
        for (path, index) in columns {
            let [first, rest @ ..] = path else { continue };
            if rest.is_empty() {
                continue;
            }
            match deeper.iter_mut().find(|(name, _)| name == first) {
                Some((_, columns)) => columns.push((rest, *index)),
                None => deeper.push((first.clone(), vec![(rest, *index)])),
            }
        }
        let inside = deeper.into_iter().map(|(name, columns)| (name, Self::of(&columns)));
        Self { names, inside: inside.collect() }
    }

    /// Finds the values of columns in a JSON object.
    #[inline]
    pub(crate) fn scan<'a>(&mut self, text: &'a str, slots: &mut [Slot<'a>]) -> Result<(), String> {
        let Self { names, inside } = self;
        let mut position = 0;
        let mut objects: Vec<Option<&'a str>> = vec![None; inside.len()];
        Scanner::new(text).object(|name, value| {
            match names.find(position, name) {
                Match::Exact(column) => {
                    if let Some(slot) = slots.get_mut(*column) {
                        slot.exact = Some(value);
                    }
                }
                Match::Loose(columns) => {
                    for column in columns {
                        let Some(slot) = slots.get_mut(*column) else { continue };
                        slot.is_ambiguous |= slot.loose.is_some_and(|(known, _)| known != name.0);
                        slot.loose = Some((name.0, value));
                    }
                }
                Match::None => {}
            }
            position += 1;
            if !inside.is_empty() {
                let (name, has_escapes) = name;
                let name = match has_escapes {
                    true => unescape(name).ok().map(Cow::Owned),
                    false => Some(Cow::Borrowed(name)),
                };
                let at = inside.iter().position(|(outer, _)| name.as_deref() == Some(outer));
                if let Some(object) = at.and_then(|at| objects.get_mut(at)) {
                    *object = match value {
                        Value::Nested(text) if text.starts_with('{') => Some(text),
                        _ => None,
                    };
                }
            }
        })?;
        for (object, (_, fields)) in objects.iter().zip(inside) {
            if let Some(text) = object {
                fields.scan(text, slots)?;
            }
        }
        Ok(())
    }

    /// Remembers which fields records of a type have, as far as columns lead into them.
    pub(crate) fn meet(&mut self, record: &impl RecordType) {
        for name in record.names() {
            self.names.meet(name);
        }
        for (name, fields) in &mut self.inside {
            if let Some(record) = record.inner(name) {
                fields.meet(&record);
            }
        }
    }

    /// Returns where `column` of this name is looked for: the names of its object, and its own
    /// there.
    pub(crate) fn place<'a>(&'a self, path: &'a [String]) -> Option<(&'a Names, &'a str)> {
        match path {
            [] => None,
            [name] => Some((&self.names, name)),
            [first, rest @ ..] => {
                let (_, fields) = self.inside.iter().find(|(name, _)| name == first)?;
                fields.place(rest)
            }
        }
    }
}
