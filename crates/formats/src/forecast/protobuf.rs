//! Forecasts as Protobuf messages: the schema, and the encoding of it.
//!
//! Times are `google.protobuf.Timestamp`, which has nanoseconds, and helpers in the code that
//! is generated for any language. A list cannot hold a number that is missing: one that is not finite is NaN there,
//! as JSON's null. A field of the long layout has a number that follows from what it is, so
//! that another level is another field and moves none.

mod schema;

use tidecast_stream::{
    AggregateValues, Domain, EventTime, ForecastLayout, ForecastMessage, ForecastSchema, SeriesKey,
    VariateForecast,
};

use super::ForecastSchemaError;
use super::long::LongColumns;
use super::names::identifier;
use super::rows::{ForecastRow, RowError};
use super::series::{SeriesField, SeriesValue, check_known};

/// The number of the first series column's field in a row.
const SERIES: u32 = 101;

/// Numbers of fields of levels: of so many thousandths, and of so many hundred-millionths.
const THOUSANDTHS: u32 = 1_000;
const FINER: u32 = 200_000_000;

/// Writes forecasts as Protobuf.
#[derive(Debug)]
pub(super) struct ProtobufForecasts {
    schema: String,
    series: Vec<SeriesField>,
    /// The number of the first one's field.
    first_series: u32,
    levels: Vec<f64>,
    /// Numbers of the levels' fields.
    fields: Vec<u32>,
    has_aggregates: bool,
}

/// A field of the long layout for a quantile.
struct QuantileField {
    /// As a column: `q0.1`.
    column: String,
    name: String,
    number: u32,
}

impl ProtobufForecasts {
    pub(super) fn new(
        pipeline: &str,
        forecasts: &ForecastSchema,
        layout: ForecastLayout,
    ) -> Result<Self, ForecastSchemaError> {
        let columns = LongColumns::new(forecasts);
        let series = SeriesField::all(&columns, layout);
        let LongColumns { quantiles, levels, has_aggregates, .. } = columns;
        let is_long = layout == ForecastLayout::Long;
        let quantile = |(column, level): (String, &f64)| {
            let (name, number) = (identifier(&column), level_number(*level)?);
            Ok(QuantileField { name, number, column })
        };
        // The nested layout has no columns of them, and takes any level.
        let told = quantiles.into_iter().zip(&levels).filter(|_| is_long);
        let quantiles = told.map(quantile).collect::<Result<Vec<_>, _>>()?;
        let schema = match is_long {
            true => schema::long(pipeline, &series, &quantiles, has_aggregates),
            false => schema::nested(pipeline, &series),
        };
        let fields = quantiles.iter().map(|field| field.number).collect();
        let first_series = if is_long { SERIES } else { 1 };
        Ok(Self { schema, series, first_series, levels, fields, has_aggregates })
    }

    /// Returns the schema as the text of a `.proto` file.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Appends a row of the long layout.
    pub(super) fn row(&self, row: &ForecastRow<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        let message = row.message;
        row.check_levels(&self.levels)?;
        text(out, 1, &message.id.to_string());
        text(out, 2, &message.pipeline);
        time(out, 3, message.origin);
        if let Some(of) = row.time() {
            time(out, 4, of);
        }
        if let Some(step) = row.step() {
            said_count(out, 5, step);
        }
        if let Some(aggregate) = row.aggregate().filter(|_| self.has_aggregates) {
            said_text(out, 6, &aggregate.to_string());
        }
        if let Some(variate) = row.variate {
            said_text(out, 7, &variate.name);
        }
        if let Some(mean) = row.mean() {
            said_double(out, 8, mean);
        }
        text(out, 9, &message.model.name);
        text(out, 10, message.status.as_str());
        if let Some(reason) = row.reason() {
            said_text(out, 11, reason);
        }
        self.series(&message.series, out)?;
        for (level, number) in self.fields.iter().enumerate() {
            if let Some(value) = row.quantile(level) {
                said_double(out, *number, value);
            }
        }
        Ok(())
    }

    /// Appends a message of the nested layout.
    pub(super) fn message(
        &self,
        message: &ForecastMessage,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        text(out, 1, &message.id.to_string());
        text(out, 2, &message.pipeline);
        nested(out, 3, |out| self.series(&message.series, out))?;
        time(out, 4, message.origin);
        text(out, 5, &message.step.iso8601());
        if let Some(micros) = message.step.fixed_micros() {
            said_long(out, 6, micros / 1_000);
        }
        for of in &message.times {
            time(out, 7, *of);
        }
        nested(out, 8, |out| {
            text(out, 1, &message.model.name);
            text(out, 2, &message.model.version);
        });
        text(out, 9, message.status.as_str());
        if let Some(reason) = &message.reason {
            said_text(out, 10, reason);
        }
        nested(out, 11, |out| {
            count(out, 1, message.context.steps);
            count(out, 2, message.context.observed);
        });
        for of in &message.variates {
            nested(out, 12, |out| variate(out, of));
        }
        boolean(out, 13, message.is_backfill);
        Ok(())
    }

    fn series(&self, series: &SeriesKey, out: &mut Vec<u8>) -> Result<(), RowError> {
        check_known(series, self.series.iter().map(|field| field.column.as_str()))?;
        for (number, field) in (self.first_series..).zip(&self.series) {
            match field.value(series)? {
                None => {}
                Some(SeriesValue::Text(value)) => said_text(out, number, &value),
                Some(SeriesValue::Integer(value)) => said_long(out, number, value),
                Some(SeriesValue::Unsigned(value)) => said_varint(out, number, value),
                Some(SeriesValue::Number(value)) => said_double(out, number, value),
                Some(SeriesValue::Truth(value)) => said_varint(out, number, u64::from(value)),
            }
        }
        Ok(())
    }
}

/// Returns the number of a level's field, which follows from the level alone.
fn level_number(level: f64) -> Result<u32, ForecastSchemaError> {
    // As people write it: 0.1 is a tenth, whatever the nearest double is.
    let text = level.to_string();
    let decimals = text.strip_prefix("0.").unwrap_or_default();
    let (base, digits) = match decimals.len() {
        1..=3 => (THOUSANDTHS, 3),
        4..=8 => (FINER, 8),
        _ => return Err(ForecastSchemaError::Level { level }),
    };
    let number = format!("{decimals:0<digits$}").parse::<u32>();
    number.map(|number| base + number).map_err(|_| ForecastSchemaError::Level { level })
}

fn variate(out: &mut Vec<u8>, variate: &VariateForecast) {
    text(out, 1, &variate.name);
    doubles(out, 2, variate.mean());
    for by in variate.quantiles() {
        by_level(out, 3, by);
    }
    for AggregateValues { aggregate, mean, quantiles } in &variate.aggregates {
        nested(out, 4, |out| {
            text(out, 1, aggregate.function.name());
            count(out, 2, aggregate.steps_of(variate.steps()));
            doubles(out, 3, mean);
            let levels = variate.levels().iter().copied();
            for by in levels.zip(quantiles.iter().map(Vec::as_slice)) {
                by_level(out, 4, by);
            }
        });
    }
    for path in &variate.samples {
        nested(out, 5, |out| doubles(out, 1, path));
    }
    if !variate.domain.is_any() {
        let Domain { lower, upper, integer } = variate.domain;
        nested(out, 6, |out| {
            if let Some(lower) = lower {
                said_double(out, 1, lower);
            }
            if let Some(upper) = upper {
                said_double(out, 2, upper);
            }
            boolean(out, 3, integer);
        });
    }
    if let Some(reason) = &variate.reason {
        said_text(out, 7, reason);
    }
}

/// An entry of a map.
fn by_level(out: &mut Vec<u8>, field: u32, (level, values): (f64, &[f64])) {
    nested(out, field, |out| {
        text(out, 1, &level.to_string());
        nested(out, 2, |out| doubles(out, 1, values));
    });
}

/// How a field's value is written, as its tag says.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
}

fn tag(out: &mut Vec<u8>, field: u32, wire: Wire) {
    varint(out, u64::from(field) << 3 | wire as u64);
}

/// A message inside of another, or another field whose length stands in front.
fn nested<T>(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    tag(out, field, Wire::Bytes);
    let start = out.len();
    let written = write(out);
    let mut length = Vec::new();
    varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
    written
}

fn doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    tag(out, field, Wire::Bytes);
    varint(out, 8 * values.len() as u64);
    for value in values {
        let value = if value.is_finite() { *value } else { f64::NAN };
        out.extend(value.to_le_bytes());
    }
}

fn time(out: &mut Vec<u8>, field: u32, time: EventTime) {
    let micros = time.as_micros();
    nested(out, field, |out| {
        long(out, 1, micros.div_euclid(1_000_000));
        long(out, 2, micros.rem_euclid(1_000_000) * 1_000);
    });
}

fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        said_text(out, field, text);
    }
}

fn count(out: &mut Vec<u8>, field: u32, count: usize) {
    if count > 0 {
        said_count(out, field, count);
    }
}

fn long(out: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        said_long(out, field, value);
    }
}

fn boolean(out: &mut Vec<u8>, field: u32, value: bool) {
    if value {
        said_varint(out, field, 1);
    }
}

/// Those that are written whatever they are: fields that know whether they are there.
fn said_text(out: &mut Vec<u8>, field: u32, text: &str) {
    tag(out, field, Wire::Bytes);
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn said_count(out: &mut Vec<u8>, field: u32, count: usize) {
    said_varint(out, field, count as u64);
}

fn said_long(out: &mut Vec<u8>, field: u32, value: i64) {
    said_varint(out, field, value.cast_unsigned());
}

fn said_double(out: &mut Vec<u8>, field: u32, value: f64) {
    tag(out, field, Wire::Fixed64);
    out.extend(value.to_le_bytes());
}

fn said_varint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, Wire::Varint);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
