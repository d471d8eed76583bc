//! The forecast message: what subscribers read.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time::EventTime;

/// The values of the series columns, in the order the SQL names them.
///
/// ```
/// use tidecast_stream::SeriesKey;
/// let key = SeriesKey::new([("site", "A".into()), ("phase", 2.into())]);
/// assert_eq!(key.to_string(), r#"{"site":"A","phase":2}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct SeriesKey(pub Map<String, Value>);

impl SeriesKey {
    /// Returns the key with these columns and values.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self(columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Returns the values alone, joined by `/`, for people to read.
    pub fn label(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.0.values().map(text).collect::<Vec<_>>().join("/")
    }
}

impl fmt::Display for SeriesKey {
    /// The key as a JSON object: the Kafka key of the message, and what seeds
    /// and ids are made from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

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
}

impl VariateForecast {
    /// Returns the values of the quantile `level`, if it was asked for.
    pub fn quantile(&self, level: &str) -> Option<Vec<f64>> {
        self.quantiles.get(level)?.as_array()?.iter().map(Value::as_f64).collect()
    }
}

/// One forecast: one series, one origin, all steps of the horizon (the `nested`
/// layout). Step `k` (from 1) is for `origin + k * step_ms`.
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
    /// Distance of two steps, in milliseconds.
    pub step_ms: i64,
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
