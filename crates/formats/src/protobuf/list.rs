//! The list of a message whose elements are a row each.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Datum};

use super::value::{Owned, owned, value_at};
use super::way;
use crate::lists::{Elements, List, ListPath, Listed};
use crate::value::Value;

/// How a list is found in messages of one type, and columns in its elements.
#[derive(Clone)]
pub(super) struct ListPlan {
    way: Vec<FieldDescriptor>,
    /// For each column in an element the way to its field; none for the element itself.
    columns: Vec<Option<Vec<FieldDescriptor>>>,
    is_of_messages: bool,
}

/// What stands where a message's list is expected.
pub(super) enum MessageList {
    Missing,
    Other(Owned),
    Elements {
        /// Of each element the values of all columns in it.
        values: Vec<Option<Owned>>,
        columns: usize,
        count: usize,
        are_messages: bool,
    },
}

impl ListPlan {
    /// Returns how the list is found; `None` if messages of this type do not have it.
    pub(super) fn new(message: &MessageDescriptor, list: &ListPath) -> Option<Self> {
        let found = way(message, &list.names)?;
        let element = match found.last()?.kind() {
            Kind::Message(element) => Some(element),
            _ => None,
        };
        let columns = list.columns.iter().map(|(_, path)| match (path.as_slice(), &element) {
            ([], _) => Some(Vec::new()),
            (path, Some(element)) => way(element, path),
            (_, None) => None,
        });
        Some(Self { columns: columns.collect(), is_of_messages: element.is_some(), way: found })
    }

    /// Returns what stands there in a message.
    pub(super) fn read(&self, message: &DynamicMessage) -> MessageList {
        self.read_at(message, &self.way)
    }

    fn read_at(&self, message: &DynamicMessage, way: &[FieldDescriptor]) -> MessageList {
        let Some((field, rest)) = way.split_first() else { return MessageList::Missing };
        if !rest.is_empty() {
            return match (message.has_field(field), message.get_field(field).as_ref()) {
                (true, Datum::Message(inner)) => self.read_at(inner, rest),
                _ => MessageList::Missing,
            };
        }
        let datum = message.get_field(field);
        let Datum::List(elements) = datum.as_ref() else {
            return MessageList::Other(owned(datum.as_ref(), field));
        };
        let values = elements.iter().flat_map(|element| {
            self.columns.iter().map(move |way| match (way.as_deref()?, element) {
                ([], element) => Some(owned(element, field)),
                (way, Datum::Message(element)) => Some(value_at(element, way)),
                _ => None,
            })
        });
        MessageList::Elements {
            values: values.collect(),
            columns: self.columns.len(),
            count: elements.len(),
            are_messages: self.is_of_messages,
        }
    }
}

impl MessageList {
    pub(super) fn listed(&self) -> Listed<'_> {
        match self {
            Self::Missing => Listed::Missing,
            Self::Other(value) => Listed::Other(value.value()),
            Self::Elements { count, .. } => {
                Listed::Elements(Elements { list: self, range: 0..*count })
            }
        }
    }
}

impl List for MessageList {
    fn is_object(&self, _: usize) -> bool {
        matches!(self, Self::Elements { are_messages: true, .. })
    }

    fn value(&self, element: usize, place: usize) -> Option<Value<'_>> {
        let Self::Elements { values, columns, .. } = self else { return None };
        values.get(element * columns + place)?.as_ref().map(Owned::value)
    }
}
