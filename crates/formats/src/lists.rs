//! Lists whose elements are a row each, as formats have them that type their values.

use std::ops::Range;

use tidecast_stream::FieldColumn;

use crate::decode::DecoderConfig;
use crate::value::Value;

/// The way to the list, and from there to the columns.
#[derive(Clone, Debug)]
pub(crate) struct ListPath {
    /// The names on the way to the list.
    pub(crate) names: Vec<String>,
    /// Columns inside of its elements, and each one's way from there; none for the element
    /// itself.
    pub(crate) columns: Vec<(usize, Vec<String>)>,
}

impl ListPath {
    /// Returns the list that columns lead through, if one does.
    pub(crate) fn of(paths: &[FieldColumn]) -> Option<Self> {
        let list = paths.iter().find(|it| it.path.in_element().is_some())?;
        let columns = paths.iter().filter_map(|it| {
            let way = it.path.in_element()?;
            Some((it.column, way.to_vec()))
        });
        Some(Self { names: list.path.segments().to_vec(), columns: columns.collect() })
    }
}

/// Returns for each column of the table the way to it, unless it is beside the record or in
/// its list.
pub(crate) fn outside(config: &DecoderConfig) -> Vec<Option<Vec<String>>> {
    let columns = config.schema.fields().iter().enumerate();
    let ways = columns.map(|(column, field)| {
        if config.beside.contains(&column) {
            return None;
        }
        match config.fields.iter().find(|it| it.column == column) {
            Some(it) if it.path.in_element().is_some() => None,
            Some(it) => Some(it.path.segments().to_vec()),
            None => Some(vec![field.name().clone()]),
        }
    });
    ways.collect()
}

/// What stands where a record's list is expected.
pub(crate) enum Listed<'a> {
    Missing,
    /// Something else.
    Other(Value<'a>),
    Elements(Elements<'a>),
}

/// The elements of a record's list.
pub(crate) struct Elements<'a> {
    pub(crate) list: &'a dyn List,
    /// Their places in it.
    pub(crate) range: Range<usize>,
}

/// Elements that have fields.
pub(crate) trait List {
    /// Returns whether an element is an object, so that it may have fields.
    fn is_object(&self, element: usize) -> bool;

    /// Returns the value in an element of the column at this place of [`ListPath::columns`];
    /// `None` if there is no such field.
    fn value(&self, element: usize, place: usize) -> Option<Value<'_>>;
}
