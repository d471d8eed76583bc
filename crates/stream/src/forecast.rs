//! The forecast message: what subscribers read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::series::SeriesKey;
use crate::time::EventTime;

/// How a forecast came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastStatus {
    /// A forecast was made.
    Ok,
    /// The context holds too few observed values.
    TooShort,
    /// The model failed on this series; `reason` says how.
    Failed,
}

/// The model that made a forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// The name given in `CREATE MODEL`.
    pub name: String,
    /// `sha256:` and the digest of the weights, or the provider's own version.
    pub version: String,
}

/// What the model saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSummary {
    /// Steps handed to the model, missing ones included.
    pub steps: usize,
    /// Steps of them that were observed.
    pub observed: usize,
}

/// The forecast of one target column, one value per step of the horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VariateForecast {
    /// The target column.
    pub name: String,
    /// Mean per step, in units of the series.
    pub mean: Vec<f64>,
    /// Quantile per step, by level (`"0.1"`), in units of the series, levels
    /// ascending.
    pub quantiles: Map<String, Value>,
    /// Why this one of several targets has no forecast, if it has none: `mean` and
    /// `quantiles` are empty then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl VariateForecast {
    /// Returns the values of the quantile `level`, if it was asked for.
    pub fn quantile(&self, level: &str) -> Option<Vec<f64>> {
        self.quantiles.get(level)?.as_array()?.iter().map(Value::as_f64).collect()
    }
}

/// One forecast: one series, one origin, all steps of the horizon (the `nested`
/// layout). Step `k` (from 1) is for `origin + k * step_ms` where steps are of one
/// length, and for the `k`-th of `times` where they are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastMessage {
    /// Hash of (pipeline, series, origin, revision): equal for a repeat.
    pub forecast_id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The series.
    pub series: SeriesKey,
    /// Time of the newest step of the context.
    pub origin: EventTime,
    /// Distance of two steps as an ISO 8601 duration: `PT1H`, `P1D`, `P1M`.
    pub step: String,
    /// Distance of two steps in milliseconds; null where it is not always the same.
    pub step_ms: Option<i64>,
    /// The time of each step of the horizon, where steps are not of one length.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub times: Vec<EventTime>,
    /// The model that made it.
    pub model: ModelRef,
    /// How it came out.
    pub status: ForecastStatus,
    /// Why, where the status is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What the model saw.
    pub context: ContextSummary,
    /// One entry per target column; empty where the status is not `ok`.
    pub variates: Vec<VariateForecast>,
    /// Whether it was made from history rather than as the data came in.
    pub is_backfill: bool,
}

impl ForecastMessage {
    /// Returns the time of step `step` of the horizon, from 1; `None` if the message
    /// does not say.
    pub fn time_of(&self, step: usize) -> Option<EventTime> {
        match self.step_ms {
            Some(step_ms) => {
                let steps = i64::try_from(step).ok()?;
                Some(self.origin.plus_micros(steps.checked_mul(step_ms)?.checked_mul(1_000)?))
            }
            None => self.times.get(step.checked_sub(1)?).copied(),
        }
    }
}
