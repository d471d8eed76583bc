//! The sample as columns: those that fields may be, and what stands beside records.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use tidecast_formats::outline::Outline;
use tidecast_formats::schemas::SchemaSource;
use tidecast_formats::time::TimeRule;
use tidecast_formats::{Decoder, DecoderConfig, Payload};
use tidecast_kafka::tools::Record;
use tidecast_stream::{FieldColumn, FieldPath, SchemaText, ValueFormat};

/// The years that times of a stream are taken to be in: microseconds since 1970.
const TIMES: std::ops::Range<i64> = 946_684_800_000_000..4_102_444_800_000_000;

/// A field of the records, as a column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name in SQL.
    pub(super) name: String,
    /// The words of its own name, in lower case.
    pub(super) words: Vec<String>,
    /// The way to it, where the name does not say it.
    pub(super) path: Option<FieldPath>,
    /// Its type.
    pub(super) data_type: DataType,
    /// Its values.
    pub(super) values: ArrayRef,
}

/// The records of a sample that are rows.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) columns: Vec<Column>,
    /// For each row, its record's key as text, if it is one.
    pub(super) keys: Vec<Option<String>>,
    /// For each row, Kafka's time in microseconds since 1970.
    pub(super) timestamps: Vec<Option<i64>>,
    /// For each row, its partition.
    pub(super) partitions: Vec<i32>,
    /// How many records had no value.
    pub(super) tombstones: usize,
    /// What was seen beside the rows, in words.
    pub(super) remarks: Vec<String>,
}

impl Sample {
    /// Decodes records to the columns that their fields may be.
    ///
    /// # Errors
    /// If no record is a row.
    pub(super) fn decode(
        records: &[Record],
        outline: &Outline,
        schemas: Option<Box<dyn SchemaSource>>,
    ) -> anyhow::Result<Self> {
        let mut taken = BTreeSet::new();
        let names: Vec<String> =
            outline.fields.iter().map(|field| sql_name(&named(&field.path), &mut taken)).collect();
        let fields = outline.fields.iter().zip(&names);
        let fields = fields.map(|(field, name)| Field::new(name, field.data_type.clone(), true));
        let is_nested = outline.format.is_nested();
        let paths = outline.fields.iter().enumerate().filter(|_| is_nested);
        let paths = paths.map(|(column, field)| FieldColumn { column, path: field.path.clone() });
        let config = DecoderConfig {
            format: outline.format.clone(),
            fields: paths.collect(),
            tombstones: tidecast_stream::Tombstones::Skip,
            own_schema: match outline.format.schema() {
                Some(SchemaText::Inline(text)) => Some(text.clone().into_bytes()),
                Some(SchemaText::File(_)) | None => None,
            },
            ..DecoderConfig::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
        };
        let mut decoder = Decoder::new(config, schemas)?;
        let payloads: Vec<Payload<'_>> =
            records.iter().map(|record| record.payload.as_deref()).collect();
        let header =
            |index: usize, name: &str| records.get(index).and_then(|it| it.header_bytes(name));
        let decoded = decoder.decode_records(&payloads, |_, _| Ok(None), header)?;
        let mut remarks = Vec::new();
        if let Some((_, reason)) = decoded.bad.first() {
            remarks.push(format!(
                "{} of {} records are of another kind ({reason}); they go to 'bad.topic'",
                decoded.bad.len(),
                records.len()
            ));
        }
        let rows: Vec<&Record> =
            decoded.indices.iter().filter_map(|index| records.get(*index)).collect();
        if rows.is_empty() {
            anyhow::bail!("no record can be read: {}", remarks.join("; "));
        }
        let key = |record: &&Record| {
            let text = std::str::from_utf8(record.key.as_deref()?).ok()?;
            // A key that is an object is no name of a series.
            let is_name = !text.is_empty() && !text.trim_start().starts_with(['{', '[']);
            (is_name && !text.chars().any(char::is_control)).then(|| text.to_owned())
        };
        let columns = outline.fields.iter().zip(names).zip(decoded.rows.columns());
        let columns = columns.map(|((field, name), values)| {
            let is_plain = field.path.in_element().is_none()
                && matches!(field.path.segments(), [only] if only.to_lowercase() == name.to_lowercase());
            Column {
                path: (is_nested && !is_plain).then(|| field.path.clone()),
                words: named(&field.path).last().map(|name| words(name)).unwrap_or_default(),
                name,
                data_type: field.data_type.clone(),
                values: Arc::clone(values),
            }
        });
        Ok(Self {
            columns: columns.collect(),
            keys: rows.iter().map(key).collect(),
            timestamps: rows
                .iter()
                .map(|record| record.timestamp_ms.map(|ms| ms.saturating_mul(1_000)))
                .collect(),
            partitions: rows.iter().map(|record| record.partition).collect(),
            tombstones: usize::try_from(decoded.tombstones).unwrap_or(usize::MAX),
            remarks,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.partitions.len()
    }

    /// Whether all columns have to be in the table, in their order.
    pub(super) fn is_positional(format: &ValueFormat) -> bool {
        matches!(format, ValueFormat::Csv(_))
    }
}

impl Column {
    /// Returns its values as instants, in microseconds since 1970, if they can be such.
    pub(super) fn times(&self) -> Option<Vec<Option<i64>>> {
        let rule = TimeRule::default();
        let times: Vec<Option<i64>> = match &self.data_type {
            DataType::Timestamp(..) => {
                self.values.as_primitive_opt::<TimestampMicrosecondType>()?.iter().collect()
            }
            DataType::Int64 => {
                let numbers = self.values.as_primitive_opt::<Int64Type>()?.iter();
                let time = |number| rule.of_number(number).ok().map(|time| time.as_micros());
                numbers.map(|number| number.and_then(time)).collect()
            }
            DataType::Float64 => {
                let numbers = self.values.as_primitive_opt::<Float64Type>()?.iter();
                let time = |number| rule.of_float(number).ok().map(|time| time.as_micros());
                numbers.map(|number| number.and_then(time)).collect()
            }
            _ => return None,
        };
        let known = self.values.len() - self.values.null_count();
        let fitting = times.iter().flatten().filter(|time| TIMES.contains(time)).count();
        (known > 0 && fitting == known).then_some(times)
    }

    /// Returns its values as numbers, if they are.
    pub(super) fn numbers(&self) -> Option<Vec<Option<f64>>> {
        if !self.data_type.is_numeric() {
            return None;
        }
        let numbers = cast(&self.values, &DataType::Float64).ok()?;
        Some(numbers.as_primitive_opt::<Float64Type>()?.iter().collect())
    }

    /// Returns its values as the names that series have.
    pub(super) fn texts(&self) -> Vec<Option<String>> {
        let Ok(texts) = cast(&self.values, &DataType::Utf8) else {
            return vec![None; self.values.len()];
        };
        match texts.as_string_opt::<i32>() {
            Some(texts) => texts.iter().map(|text| text.map(str::to_owned)).collect(),
            None => vec![None; self.values.len()],
        }
    }

    /// Returns the share of rows that have a value.
    pub(super) fn share(&self) -> f64 {
        let rows = self.values.len();
        (rows - self.values.null_count()) as f64 / rows.max(1) as f64
    }
}

/// Returns the names on the way to a field, those of a list's elements included.
fn named(path: &FieldPath) -> Vec<String> {
    path.segments().iter().chain(path.in_element().unwrap_or_default()).cloned().collect()
}

/// Returns the words that a name is of, in lower case: `meterId`, `meter_id` and `Meter ID`
/// are of the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns a name for the column of a field, in SQL's lower case, that no other has.
fn sql_name(path: &[String], taken: &mut BTreeSet<String>) -> String {
    let plain = |names: &[String]| {
        let mut name = String::new();
        for part in names {
            let part: String =
                part.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
            let part = part.trim_matches('_').to_lowercase();
            if !name.is_empty() && !part.is_empty() {
                name.push('_');
            }
            name.push_str(&part);
        }
        match name.chars().next() {
            Some(first) if first.is_alphabetic() => name,
            _ => format!("field_{name}"),
        }
    };
    // With as few of the names on the way as tell it from others.
    let begin = path.len().saturating_sub(1);
    let tries = (0..=begin).rev().filter_map(|begin| path.get(begin..)).map(plain);
    let numbered = (2..).map(|number| format!("{}_{number}", plain(path)));
    let name = tries.chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_words() {
        for name in ["meterId", "meter_id", "Meter ID", "meter.id", "METER-ID"] {
            assert_eq!(words(name), ["meter", "id"], "{name}");
        }
        assert_eq!(words("kWh"), ["k", "wh"]);
        assert_eq!(words("t_us"), ["t", "us"]);
        assert_eq!(words("__"), Vec::<String>::new());
    }

    #[test]
    fn names_are_short_and_tell_columns_apart() {
        let mut taken = BTreeSet::new();
        let mut name = |path: &[&str]| {
            sql_name(&path.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), &mut taken)
        };
        assert_eq!(name(&["activePower"]), "activepower");
        assert_eq!(name(&["values", "kW net"]), "kw_net");
        assert_eq!(name(&["other", "kw-net"]), "other_kw_net");
        assert_eq!(name(&["other", "kw.net"]), "other_kw_net_2");
        assert_eq!(name(&["1h"]), "field_1h");
    }
}
