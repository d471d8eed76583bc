//! Forecasts as Avro records: the schema, and the binary encoding of it.
//!
//! Times are `timestamp-micros`, which lose nothing of an event time. A series column of
//! unsigned integers, which Avro has not, is a decimal of 20 digits. A number that is not
//! finite is null.

mod schema;

use tidecast_stream::{
    AggregateValues, Domain, EventTime, ForecastLayout, ForecastMessage, ForecastSchema, SeriesKey,
    VariateForecast,
};

use super::long::LongColumns;
use super::rows::{ForecastRow, RowError};
use super::series::{SeriesField, SeriesValue, check_known};

/// Writes forecasts as Avro.
#[derive(Debug)]
pub(super) struct AvroForecasts {
    schema: String,
    series: Vec<SeriesField>,
    levels: Vec<f64>,
    has_aggregates: bool,
}

impl AvroForecasts {
    pub(super) fn new(pipeline: &str, forecasts: &ForecastSchema, layout: ForecastLayout) -> Self {
        let columns = LongColumns::new(forecasts);
        let series = SeriesField::all(&columns, layout);
        let schema = match layout {
            ForecastLayout::Nested => schema::nested(pipeline, &series),
            ForecastLayout::Long => schema::long(pipeline, &series, &columns),
        };
        let LongColumns { levels, has_aggregates, .. } = columns;
        Self { schema: schema.to_string(), series, levels, has_aggregates }
    }

    /// Returns the schema as JSON.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Appends a row of the long layout.
    pub(super) fn row(&self, row: &ForecastRow<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
        let message = row.message;
        row.check_levels(&self.levels)?;
        text(out, &message.id.to_string());
        text(out, &message.pipeline);
        self.series(&message.series, out)?;
        time(out, message.origin);
        optional(out, row.time(), time);
        optional(out, row.step(), count);
        if self.has_aggregates {
            optional(out, row.aggregate(), |out, aggregate| text(out, &aggregate.to_string()));
        }
        optional(out, row.variate, |out, variate| text(out, &variate.name));
        optional(out, row.mean(), double);
        for level in 0..self.levels.len() {
            optional(out, row.quantile(level), double);
        }
        text(out, &message.model.name);
        text(out, message.status.as_str());
        optional(out, row.reason(), text);
        Ok(())
    }

    /// Appends a message of the nested layout.
    pub(super) fn message(
        &self,
        message: &ForecastMessage,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        text(out, &message.id.to_string());
        text(out, &message.pipeline);
        self.series(&message.series, out)?;
        time(out, message.origin);
        text(out, &message.step.iso8601());
        let millis = message.step.fixed_micros().map(|micros| micros / 1_000);
        optional(out, millis, long);
        list(out, message.times.iter().copied(), time);
        text(out, &message.model.name);
        text(out, &message.model.version);
        text(out, message.status.as_str());
        optional(out, message.reason.as_deref(), text);
        count(out, message.context.steps);
        count(out, message.context.observed);
        list(out, message.variates.iter(), variate);
        boolean(out, message.is_backfill);
        Ok(())
    }

    fn series(&self, series: &SeriesKey, out: &mut Vec<u8>) -> Result<(), RowError> {
        check_known(series, self.series.iter().map(|field| field.column.as_str()))?;
        for field in &self.series {
            optional(out, field.value(series)?, |out, value| match value {
                SeriesValue::Text(value) => text(out, &value),
                SeriesValue::Integer(value) => long(out, value),
                SeriesValue::Unsigned(value) => decimal(out, value),
                SeriesValue::Number(value) => double(out, value),
                SeriesValue::Truth(value) => boolean(out, value),
            });
        }
        Ok(())
    }
}

fn variate(out: &mut Vec<u8>, variate: &VariateForecast) {
    text(out, &variate.name);
    doubles(out, variate.mean());
    list(out, variate.quantiles(), by_level);
    list(out, variate.aggregates.iter(), |out, values| {
        aggregate(out, variate, values);
    });
    list(out, variate.samples.iter(), |out, path| doubles(out, path));
    let domain = Some(variate.domain).filter(|domain| !domain.is_any());
    optional(out, domain, |out, Domain { lower, upper, integer }| {
        optional(out, lower, double);
        optional(out, upper, double);
        boolean(out, integer);
    });
    optional(out, variate.reason.as_deref(), text);
}

fn aggregate(out: &mut Vec<u8>, variate: &VariateForecast, values: &AggregateValues) {
    let AggregateValues { aggregate, mean, quantiles } = values;
    text(out, aggregate.function.name());
    count(out, aggregate.steps_of(variate.steps()));
    doubles(out, mean);
    let levels = variate.levels().iter().copied();
    list(out, levels.zip(quantiles.iter().map(Vec::as_slice)), by_level);
}

/// An entry of a map.
fn by_level(out: &mut Vec<u8>, (level, values): (f64, &[f64])) {
    text(out, &level.to_string());
    doubles(out, values);
}

fn doubles(out: &mut Vec<u8>, values: &[f64]) {
    list(out, values.iter().copied(), |out, value| {
        optional(out, Some(value).filter(|value| value.is_finite()), double);
    });
}

/// A list or map: one block, and none behind it.
fn list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T> + Clone,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    let length = items.clone().count();
    if length > 0 {
        count(out, length);
        items.for_each(|item| write(out, item));
    }
    out.push(0);
}

/// A union of null and something else.
fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => long(out, 0),
        Some(value) => {
            long(out, 1);
            write(out, value);
        }
    }
}

fn time(out: &mut Vec<u8>, time: EventTime) {
    long(out, time.as_micros());
}

fn count(out: &mut Vec<u8>, count: usize) {
    long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

fn text(out: &mut Vec<u8>, text: &str) {
    count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn double(out: &mut Vec<u8>, value: f64) {
    out.extend(value.to_le_bytes());
}

fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// A decimal without a fraction: as few bytes of two's complement as hold it.
fn decimal(out: &mut Vec<u8>, value: u64) {
    let bytes = i128::from(value).to_be_bytes();
    // One bit more than the number has, for the sign.
    let bits = (u64::BITS - value.leading_zeros()) as usize + 1;
    let bytes = bytes.get(bytes.len() - bits.div_ceil(8)..).unwrap_or_default();
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// An integer as Avro writes all of them: the sign in the lowest bit, seven bits a byte, the
/// lowest first.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
