//! Forecasts as a table for people.

use chrono::{DateTime, NaiveTime, Timelike, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use tidecast_stream::{
    AggregateValues, EventTime, ForecastMessage, ForecastSchema, VariateForecast, printable,
};

/// Returns a table with a row per series and step: the series columns, the time
/// in UTC, the variate where there are several, the mean and the quantiles. A
/// series without a forecast is one row with the reason.
pub fn forecast_table(schema: &ForecastSchema, messages: &[ForecastMessage]) -> String {
    let layout = Layout::of(schema, messages);
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(layout.header());
    for message in messages {
        let series: Vec<String> = schema
            .series
            .iter()
            .map(|(name, _)| plain(message.series.0.get(name).unwrap_or(&Value::Null)))
            .collect();
        if message.variates.is_empty() {
            let reason = message.reason.as_deref().unwrap_or("no reason given");
            let mut row = series.clone();
            row.push(format!("no forecast: {reason}"));
            table.add_row(row);
        }
        for variate in &message.variates {
            if let (true, Some(reason)) = (variate.steps() == 0, &variate.reason) {
                let mut row = series.clone();
                row.push("-".to_owned());
                row.extend(layout.has_variates.then(|| printable(&variate.name)));
                row.push(format!("no forecast: {reason}"));
                table.add_row(row);
            }
            for row in layout.rows(message, variate) {
                table.add_row(series.iter().cloned().chain(row));
            }
            for row in variate.aggregates.iter().flat_map(|it| layout.blocks(message, variate, it))
            {
                table.add_row(series.iter().cloned().chain(row));
            }
        }
    }
    let numbers = layout.schema.series.len() + 1 + usize::from(layout.has_variates);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// The columns, and how times are written.
struct Layout<'a> {
    schema: &'a ForecastSchema,
    has_variates: bool,
    time_format: &'static str,
}

impl<'a> Layout<'a> {
    fn of(schema: &'a ForecastSchema, messages: &[ForecastMessage]) -> Self {
        let times = || {
            messages.iter().flat_map(|message| {
                let steps = message.variates.iter().map(VariateForecast::steps).max();
                let times = (1..=steps.unwrap_or(0)).map_while(|step| message.time_of(step));
                times.filter_map(date_time)
            })
        };
        let all_midnight = times().all(|time| time.time() == NaiveTime::MIN);
        let whole_minutes = times().all(|time| time.second() == 0 && time.nanosecond() == 0);
        let time_format = match (all_midnight, whole_minutes) {
            (true, _) => "%Y-%m-%d",
            (_, true) => "%Y-%m-%d %H:%M",
            _ => "%Y-%m-%d %H:%M:%S%.f",
        };
        Self { schema, has_variates: schema.targets.len() > 1, time_format }
    }

    fn header(&self) -> Vec<String> {
        let series = self.schema.series.iter();
        let mut header: Vec<String> = series.map(|(name, _)| printable(name)).collect();
        header.push("time (UTC)".to_owned());
        if self.has_variates {
            header.push("variate".to_owned());
        }
        header.push("mean".to_owned());
        header.extend(self.schema.levels.iter().map(|level| format!("q{level}")));
        header
    }

    /// The cells behind the series columns, a row per step.
    fn rows<'m>(
        &'m self,
        message: &'m ForecastMessage,
        variate: &'m VariateForecast,
    ) -> impl Iterator<Item = Vec<String>> + 'm {
        let number = numbers(variate.mean());
        variate.mean().iter().enumerate().map(move |(index, mean)| {
            let mut row = vec![self.time(message, index + 1)];
            if self.has_variates {
                row.push(printable(&variate.name));
            }
            row.push(number(*mean));
            let at_step = |values: &[f64]| values.get(index).copied().unwrap_or(f64::NAN);
            row.extend(variate.quantiles().map(|(_, values)| number(at_step(values))));
            row
        })
    }

    /// The cells behind the series columns of what several steps come to.
    fn blocks(
        &self,
        message: &ForecastMessage,
        variate: &VariateForecast,
        values: &AggregateValues,
    ) -> Vec<Vec<String>> {
        let number = numbers(&values.mean);
        let steps = values.aggregate.steps_of(variate.steps());
        let block = |(index, mean): (usize, &f64)| {
            let (first, last) = (index * steps + 1, (index + 1) * steps);
            let [first, last] = [first, last].map(|step| self.time(message, step));
            let mut row =
                vec![format!("{} of {first} to {last}", values.aggregate.function.name())];
            if self.has_variates {
                row.push(printable(&variate.name));
            }
            row.push(number(*mean));
            let at = |level: &Vec<f64>| number(level.get(index).copied().unwrap_or(f64::NAN));
            row.extend(values.quantiles.iter().map(at));
            row
        };
        values.mean.iter().enumerate().map(block).collect()
    }

    /// The time of a step, from 1.
    fn time(&self, message: &ForecastMessage, step: usize) -> String {
        let time = message.time_of(step);
        let text = time.and_then(date_time).map(|time| time.format(self.time_format).to_string());
        let text = text.or_else(|| time.map(|time| time.to_string()));
        text.unwrap_or_else(|| "-".to_owned())
    }
}

/// Returns how numbers like these are written.
fn numbers(like: &[f64]) -> impl Fn(f64) -> String + use<> {
    let decimals = decimals(like);
    move |value| match decimals {
        _ if !value.is_finite() => "-".to_owned(),
        Some(decimals) => format!("{value:.decimals$}"),
        None => format!("{value:.3e}"),
    }
}

fn date_time(time: EventTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(time.as_micros())
}

/// Text without its quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Decimals that leave about four digits of a typical value, and of how much values
/// differ; `None` where these would be too many to read.
fn decimals(values: &[f64]) -> Option<usize> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let largest = finite().map(f64::abs).fold(0.0, f64::max);
    if largest <= 0.0 {
        return Some(1);
    }
    if !(1e-5..1e15).contains(&largest) {
        return None;
    }
    let spread =
        finite().fold(f64::NEG_INFINITY, f64::max) - finite().fold(f64::INFINITY, f64::min);
    let digits = |size: f64| 3.0 - size.log10().floor();
    let wanted = match digits(spread) {
        // On a high level values would all read the same.
        of_spread if spread > 0.0 && of_spread > digits(largest) + 3.0 => of_spread,
        _ => digits(largest),
    };
    // Between 0 and 9 after the clamp, so the cast is exact.
    Some(wanted.clamp(0.0, 9.0) as usize)
}
