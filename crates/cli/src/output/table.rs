//! Forecasts as a table for people.

use chrono::{DateTime, NaiveTime, Timelike, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use tidecast_stream::{EventTime, ForecastMessage, VariateForecast};

/// Returns a table with a row per series and step: the series columns, the time
/// in UTC, the variate where there are several, the mean and the quantiles. A
/// series without a forecast is one row with the reason.
pub fn forecast_table(messages: &[ForecastMessage]) -> String {
    let layout = Layout::of(messages);
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(layout.header());
    for message in messages {
        let series: Vec<String> = layout
            .series
            .iter()
            .map(|name| plain(message.series.0.get(name).unwrap_or(&Value::Null)))
            .collect();
        if message.variates.is_empty() {
            let reason = message.reason.as_deref().unwrap_or("no reason given");
            let mut row = series.clone();
            row.push(format!("no forecast: {reason}"));
            table.add_row(row);
        }
        for variate in &message.variates {
            for row in layout.rows(message, variate) {
                table.add_row(series.iter().cloned().chain(row));
            }
        }
    }
    let numbers = layout.series.len() + 1 + usize::from(layout.has_variates);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// The columns, and how times are written.
struct Layout {
    series: Vec<String>,
    levels: Vec<String>,
    has_variates: bool,
    time_format: &'static str,
}

impl Layout {
    fn of(messages: &[ForecastMessage]) -> Self {
        let (mut series, mut levels) = (Vec::<String>::new(), Vec::<String>::new());
        let add = |names: &mut Vec<String>, name: &String| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        for message in messages {
            message.series.0.keys().for_each(|name| add(&mut series, name));
            for variate in &message.variates {
                variate.quantiles.keys().for_each(|level| add(&mut levels, level));
            }
        }
        let times = || {
            messages.iter().filter_map(|message| {
                Some((date_time(message.origin)?, message.step_ms.rem_euclid(86_400_000)))
            })
        };
        let all_midnight = times().all(|(time, step)| time.time() == NaiveTime::MIN && step == 0);
        let whole_minutes = times().all(|(time, step)| time.second() == 0 && step % 60_000 == 0);
        let time_format = match (all_midnight, whole_minutes) {
            (true, _) => "%Y-%m-%d",
            (_, true) => "%Y-%m-%d %H:%M",
            _ => "%Y-%m-%d %H:%M:%S%.f",
        };
        let has_variates = messages.iter().any(|message| message.variates.len() > 1);
        Self { series, levels, has_variates, time_format }
    }

    fn header(&self) -> Vec<String> {
        let mut header = self.series.clone();
        header.push("time (UTC)".to_owned());
        if self.has_variates {
            header.push("variate".to_owned());
        }
        header.push("mean".to_owned());
        header.extend(self.levels.iter().map(|level| format!("q{level}")));
        header
    }

    /// The cells behind the series columns, a row per step.
    fn rows<'a>(
        &'a self,
        message: &'a ForecastMessage,
        variate: &'a VariateForecast,
    ) -> impl Iterator<Item = Vec<String>> + 'a {
        let decimals = decimals(&variate.mean);
        let number = move |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let quantiles: Vec<Option<Vec<f64>>> =
            self.levels.iter().map(|level| variate.quantile(level)).collect();
        let mut time = message.origin;
        variate.mean.iter().enumerate().map(move |(index, mean)| {
            time = time.plus_micros(message.step_ms.saturating_mul(1_000));
            let text = date_time(time).map(|time| time.format(self.time_format).to_string());
            let mut row = vec![text.unwrap_or_else(|| time.to_string())];
            if self.has_variates {
                row.push(variate.name.clone());
            }
            row.push(number(Some(*mean)));
            row.extend(quantiles.iter().map(|values| {
                number(values.as_ref().and_then(|values| values.get(index).copied()))
            }));
            row
        })
    }
}

fn date_time(time: EventTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(time.as_micros())
}

/// Text without its quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Decimals that leave about four digits of a typical value.
fn decimals(values: &[f64]) -> usize {
    let largest = values.iter().filter(|value| value.is_finite()).map(|value| value.abs());
    let largest = largest.fold(0.0, f64::max);
    if largest <= 0.0 {
        return 1;
    }
    // Between 0 and 9 after the clamp, so the cast is exact.
    (3.0 - largest.log10().floor()).clamp(0.0, 9.0) as usize
}
