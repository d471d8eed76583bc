//! Fields as they are met, and the list that makes the rows.

use arrow::datatypes::DataType;
use tidecast_stream::FieldPath;

use super::{MOST_FIELDS, OutlinedField};

/// Fields of objects, in the order in which they were met.
#[derive(Default)]
pub(crate) struct OutlinedFields {
    fields: Vec<(Vec<String>, DataType)>,
    /// Lists, each with the fields of the objects in it.
    lists: Vec<(Vec<String>, OutlinedFields)>,
    remarks: Vec<String>,
}

impl OutlinedFields {
    /// Adds a field.
    pub(crate) fn add(&mut self, names: &[String], data_type: DataType) {
        if self.fields.len() < MOST_FIELDS {
            self.fields.push((names.to_vec(), data_type));
        }
    }

    /// Adds a list, with the fields of its elements.
    pub(crate) fn add_list(&mut self, names: &[String], elements: Self) {
        self.lists.push((names.to_vec(), elements));
    }

    /// Remembers a field that no column can be, and what it is.
    pub(crate) fn refuse(&mut self, names: &[String], what: &str) {
        if let Some(path) = FieldPath::of(names.to_vec()) {
            self.remarks.push(format!("`{path}` is {what}, which no column can be"));
        }
    }

    /// Returns the fields, those of the list included whose elements are most like readings
    /// and make the rows, if one's are; and what is to be said.
    pub(crate) fn with_rows(self) -> (Vec<OutlinedField>, Vec<String>) {
        let Self { fields, lists, mut remarks } = self;
        let mut outlined = Vec::new();
        let mut add = |path: Option<FieldPath>, data_type| {
            if let Some(path) = path
                && outlined.len() < MOST_FIELDS
            {
                outlined.push(OutlinedField { path, data_type });
            }
        };
        for (names, data_type) in fields {
            add(FieldPath::of(names), data_type);
        }
        let numbers =
            |of: &Self| of.fields.iter().filter(|(_, data_type)| data_type.is_numeric()).count();
        let places = lists.iter().enumerate().filter(|(_, (_, of))| numbers(of) > 0);
        let rows = places.max_by_key(|(_, (_, of))| (numbers(of), of.fields.len()));
        let rows = rows.map(|(place, _)| place);
        for (place, (names, elements)) in lists.into_iter().enumerate() {
            let Some(list) = FieldPath::of(names) else { continue };
            if rows != Some(place) {
                remarks.push(format!("`{list}` is a list, which no column can be"));
                continue;
            }
            remarks.push(format!("each element of `{list}` is a row"));
            for (inner, data_type) in elements.fields {
                add(Some(list.clone().through(inner)), data_type);
            }
        }
        (outlined, remarks)
    }
}
