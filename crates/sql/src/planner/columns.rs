//! The parentheses of `CREATE TABLE`: columns and the watermark.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidecast_stream::column_type::sql_name;
use tidecast_stream::{MetadataColumn, RecordMetadata};

use super::types::column_type;
use crate::dialect::{ColumnList, Name};
use crate::error::{Problem, did_you_mean, one_of};
use crate::spec::WatermarkClause;

/// Returns the table's schema, columns as declared.
pub(super) fn schema(list: &ColumnList, problems: &mut Vec<Problem>) -> SchemaRef {
    let mut fields = Vec::with_capacity(list.columns.len());
    let mut names = HashSet::new();
    for column in &list.columns {
        let name = &column.name;
        if !names.insert(&name.value) {
            problems.push(Problem::new(
                name.span,
                format!("column `{}` is declared twice", name.value),
            ));
            continue;
        }
        if matches!(name.value.as_str(), "window_start" | "window_end") {
            problems.push(Problem::new(
                name.span,
                format!("`{}` is a column that TUMBLE adds, expected another name", name.value),
            ));
        }
        match column_type(&column.data_type.value) {
            Ok(data_type) => fields.push(Field::new(&name.value, data_type, !column.not_null)),
            Err(message) => {
                let message = format!("column `{}`: {message}", name.value);
                problems.push(Problem::new(column.data_type.span, message));
                // A stand-in, so that the views of the table do not report the
                // column as unknown on top.
                fields.push(Field::new(&name.value, DataType::Null, true));
            }
        }
    }
    Arc::new(Schema::new(fields))
}

/// Returns the columns that are a part of the record beside its value.
pub(super) fn metadata(list: &ColumnList, problems: &mut Vec<Problem>) -> Vec<MetadataColumn> {
    let mut columns = Vec::new();
    for (column, statement) in list.columns.iter().enumerate() {
        let Some(said) = &statement.metadata else { continue };
        let from = match said.value.parse::<RecordMetadata>() {
            Ok(from) => from,
            Err(error) => {
                let known = RecordMetadata::NAMES;
                let remedy = did_you_mean(&said.value, known);
                let message = format!("{error}, expected {}{remedy}", one_of(known));
                problems.push(Problem::new(said.span, message));
                continue;
            }
        };
        let wanted = match (&from, column_type(&statement.data_type.value)) {
            // Refused where it stands.
            (_, Err(_)) => continue,
            (RecordMetadata::Timestamp, Ok(DataType::Timestamp(_, None))) => None,
            (RecordMetadata::Timestamp, Ok(_)) => Some("TIMESTAMP or TIMESTAMP(3)"),
            (RecordMetadata::Partition | RecordMetadata::Offset, Ok(DataType::Int64)) => None,
            (RecordMetadata::Partition, Ok(DataType::Int32)) => None,
            (RecordMetadata::Partition | RecordMetadata::Offset, Ok(_)) => Some("BIGINT"),
            (RecordMetadata::Topic, Ok(DataType::Utf8)) => None,
            (RecordMetadata::Topic, Ok(_)) => Some("VARCHAR"),
            // Texts, which are read as JSON's are.
            (RecordMetadata::Key | RecordMetadata::Header(_), Ok(_)) => None,
        };
        if let Some(wanted) = wanted {
            let message = format!(
                "column `{}` is `{from}` of the record, expected the type {wanted}",
                statement.name.value
            );
            problems.push(Problem::new(statement.data_type.span, message));
        }
        columns.push(MetadataColumn { column, from });
    }
    columns
}

/// Returns the table's watermark, over one of its timestamps; its condition is
/// compiled once the columns are known.
pub(super) fn watermark(
    table: &Name,
    list: &ColumnList,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> Option<WatermarkClause> {
    let example = list
        .columns
        .iter()
        .find(|column| {
            matches!(column_type(&column.data_type.value), Ok(DataType::Timestamp(_, _)))
        })
        .map_or("ts", |column| column.name.value.as_str());
    let watermark = match list.watermarks.as_slice() {
        [watermark] => watermark,
        [] => {
            problems.push(Problem::new(
                table.span,
                format!(
                    "table `{}` has no watermark, expected for instance \
                     `WATERMARK FOR {example} AS {example} - INTERVAL '10' SECOND` in its column list",
                    table.value
                ),
            ));
            return None;
        }
        [_, second, ..] => {
            problems.push(Problem::new(second.span, "a table has one watermark, found a second"));
            return None;
        }
    };
    let column = &watermark.column;
    let data_type = match schema.field_with_name(&column.value) {
        Ok(field) => field.data_type(),
        Err(_) => {
            let names = || schema.fields().iter().map(|field| field.name().as_str());
            problems.push(Problem::new(
                column.span,
                format!(
                    "unknown column `{}`, expected {}{}",
                    column.value,
                    one_of(names()),
                    did_you_mean(&column.value, names())
                ),
            ));
            return None;
        }
    };
    match data_type {
        DataType::Timestamp(_, None) => {
            let (column, delay) = (column.value.clone(), watermark.delay);
            Some(WatermarkClause { column, delay, condition: None })
        }
        // The type was refused where it stands.
        DataType::Null => None,
        other => {
            problems.push(Problem::new(
                column.span,
                format!(
                    "event time `{}` is of type {}, expected TIMESTAMP or TIMESTAMP(3)",
                    column.value,
                    sql_name(other)
                ),
            ));
            None
        }
    }
}
