//! What messages of a schema hold.

use arrow::datatypes::DataType;
use prost_reflect::{Kind, MessageDescriptor};
use tidecast_stream::SchemaFraming;

use super::Type;
use super::schema::Messages;
use crate::outline::{self, OutlinedFields};
use crate::schemas::RegisteredSchema;

/// Tells the fields of records of a schema, of the message that `record` is, a record without
/// the schema's number, and `header` its headers.
///
/// # Errors
/// If the schema is of no use, or the record of none of its messages.
pub(crate) fn outline<'a>(
    found: &RegisteredSchema,
    framing: SchemaFraming,
    record: &'a [u8],
    header: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<OutlinedFields, String> {
    let messages = Messages::of_text(&found.text, &found.references)?;
    let (of, _) = Type::of(framing, &messages, record, header)?;
    let mut fields = OutlinedFields::default();
    outline_fields(&of.find(&messages)?, &mut Vec::new(), &mut fields);
    Ok(fields)
}

fn outline_fields(
    message: &MessageDescriptor,
    names: &mut Vec<String>,
    found: &mut OutlinedFields,
) {
    for field in message.fields() {
        names.push(field.name().to_owned());
        let kind = field.kind();
        let wrapped = match &kind {
            Kind::Message(inner) if inner.full_name().starts_with("google.protobuf.") => {
                inner.get_field_by_name("value").map(|field| field.kind())
            }
            _ => None,
        };
        match wrapped.unwrap_or(kind) {
            _ if field.is_map() => found.refuse(names, "a map"),
            kind if field.is_list() => {
                let mut elements = OutlinedFields::default();
                if let Kind::Message(inner) = kind
                    && !outline::is_deep(names)
                {
                    outline_fields(&inner, &mut Vec::new(), &mut elements);
                }
                found.add_list(names, elements);
            }
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Timestamp" => {
                found.add(names, outline::time());
            }
            Kind::Message(inner) => {
                if !outline::is_deep(names) {
                    outline_fields(&inner, names, found);
                }
            }
            Kind::Double | Kind::Float => found.add(names, DataType::Float64),
            Kind::Bool => found.add(names, DataType::Boolean),
            Kind::String | Kind::Enum(_) => found.add(names, DataType::Utf8),
            Kind::Bytes => {}
            _ => found.add(names, DataType::Int64),
        }
        names.pop();
    }
}
