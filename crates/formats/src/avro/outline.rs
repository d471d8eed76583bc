//! What records of a schema hold.

use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::schema::RecordSchema;
use crate::outline::{self, OutlinedFields};
use crate::schemas::RegisteredSchema;

/// Tells the text of a schema, with all that it refers to, and the fields of its records.
///
/// # Errors
/// If the schema is of no use.
pub(crate) fn outline(found: &RegisteredSchema) -> Result<(String, OutlinedFields), String> {
    let schema = RecordSchema::read(&found.text, &found.references)?;
    // What arrow-avro cannot read is none of ours either.
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let read = |error: ArrowError| error.to_string();
    store.set(Fingerprint::Id(0), AvroSchema::new(schema.text.clone())).map_err(read)?;
    let decoder = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(0))
        .build_decoder()
        .map_err(read)?;
    let mut fields = OutlinedFields::default();
    outline_fields(decoder.schema().fields(), &mut Vec::new(), &mut fields);
    Ok((schema.text, fields))
}

fn outline_fields(of: &Fields, names: &mut Vec<String>, found: &mut OutlinedFields) {
    for field in of {
        names.push(field.name().clone());
        match field.data_type() {
            DataType::Struct(inner) if !outline::is_deep(names) => {
                outline_fields(inner, names, found);
            }
            DataType::List(element) => {
                let mut elements = OutlinedFields::default();
                if let DataType::Struct(inner) = element.data_type()
                    && !outline::is_deep(names)
                {
                    outline_fields(inner, &mut Vec::new(), &mut elements);
                }
                found.add_list(names, elements);
            }
            DataType::Boolean => found.add(names, DataType::Boolean),
            DataType::Timestamp(..) => found.add(names, outline::time()),
            whole if whole.is_integer() => found.add(names, DataType::Int64),
            number if number.is_numeric() => found.add(names, DataType::Float64),
            DataType::Date32 => found.add(names, DataType::Date32),
            DataType::Utf8 | DataType::Dictionary(..) | DataType::FixedSizeBinary(16) => {
                found.add(names, DataType::Utf8);
            }
            other => found.refuse(names, &other.to_string()),
        }
        names.pop();
    }
}
