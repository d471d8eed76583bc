//! Forecasts as lines, for pipes.

use tidecast_stream::{ForecastMessage, ForecastStatus, printable};

use crate::screen::Fan;

/// Returns a line for each target of a forecast, without its end: series, origin, target, the
/// median of the next step, the band around it, and the status, with a tab between. What
/// there is none of is `-`.
///
/// ```text
/// A ⇥ 2026-11-22T10:00:00Z ⇥ kw ⇥ 12.5 ⇥ 10.1..14.9 ⇥ ok
/// B ⇥ 2026-11-22T10:00:00Z ⇥ - ⇥ - ⇥ - ⇥ too_short: `3` observed steps of `16` needed
/// ```
pub fn lines_of(message: &ForecastMessage) -> Vec<String> {
    let series = match message.series.0.is_empty() {
        true => "-".to_owned(),
        false => message.series.label(),
    };
    let head = format!("{series}\t{}", message.origin);
    if message.status != ForecastStatus::Ok || message.variates.is_empty() {
        let status = with_reason(message.status.as_str(), message.reason.as_deref());
        return vec![format!("{head}\t-\t-\t-\t{status}")];
    }
    let line = |variate: &tidecast_stream::VariateForecast| {
        let target = printable(&variate.name);
        let fan = Fan::of(message, variate);
        let next = fan.as_ref().and_then(|fan| Some((fan.share, fan.steps.first()?)));
        let Some((share, step)) = next else {
            let reason = variate.reason.as_deref().unwrap_or("a value is out of range");
            return format!("{head}\t{target}\t-\t-\t{}", with_reason("none", Some(reason)));
        };
        let band = match share {
            Some(_) => format!("{}..{}", digits(step.lower), digits(step.upper)),
            None => "-".to_owned(),
        };
        format!("{head}\t{target}\t{}\t{band}\tok", digits(step.median))
    };
    message.variates.iter().map(line).collect()
}

fn with_reason(status: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{status}: {}", printable(reason)),
        None => status.to_owned(),
    }
}

/// Six digits that count, as programs read numbers.
fn digits(value: f64) -> String {
    let rounded: Result<f64, _> = format!("{value:.5e}").parse();
    let rounded = rounded.unwrap_or(value);
    match value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        true => rounded.to_string(),
        false => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidecast_formats::json::decode_forecast;

    use super::*;

    fn message(changes: &serde_json::Value) -> ForecastMessage {
        let mut body = json!({
            "forecast_id": "b1946ac92492d2347c6235b4d2611184", "pipeline": "load",
            "series": {"site": "a\tb", "meter": 7}, "origin": "2026-11-22T10:00:00Z",
            "step": "PT1M", "step_ms": 60_000, "model": {"name": "m", "version": "1"},
            "status": "ok", "context": {"steps": 5, "observed": 5}, "is_backfill": false,
            "variates": [
                {"name": "kw", "mean": [1.0, 2.0],
                 "quantiles": {"0.1": [10.123_456_78, 1.0], "0.5": [12.5, 2.0], "0.9": [1e-7, 3.0]}},
                {"name": "kvar", "mean": [], "quantiles": {}, "reason": "none was observed"},
                {"name": "volts", "mean": [2_300_000.0, 1.0], "quantiles": {}},
            ],
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        decode_forecast(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_line_a_target_whatever_names_the_series() {
        let head = "\"a\\tb\"/7\t2026-11-22T10:00:00Z";
        let expected = [
            format!("{head}\tkw\t12.5\t10.1235..1e-7\tok"),
            format!("{head}\tkvar\t-\t-\tnone: none was observed"),
            format!("{head}\tvolts\t2300000\t-\tok"),
        ];
        assert_eq!(lines_of(&message(&json!({}))), expected);
    }

    #[test]
    fn a_series_that_was_not_forecast_says_why() {
        let changes = json!({"status": "too_short", "reason": "3 of 16\nsteps", "variates": [],
            "series": {}});
        let expected = ["-\t2026-11-22T10:00:00Z\t-\t-\t-\ttoo_short: 3 of 16\\nsteps"];
        assert_eq!(lines_of(&message(&changes)), expected);
    }
}
