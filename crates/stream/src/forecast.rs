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

    /// Returns the values alone, joined by `/`, for people to read. Two keys of the
    /// same columns have two labels: a value that could be mistaken for another one, or
    /// for several, or that a terminal or a picture would not show, is quoted.
    ///
    /// ```
    /// use tidecast_stream::SeriesKey;
    /// let label = |a: &str, b: &str| SeriesKey::new([("a", a.into()), ("b", b.into())]).label();
    /// assert_eq!(label("p", "q"), "p/q");
    /// assert_ne!(label("p/q", "r"), label("p", "q/r"));
    /// ```
    pub fn label(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) if is_plain(text) => text.clone(),
            Value::String(text) => printable(&format!("{text:?}")),
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

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text != "null"
        && text.trim() == text
        && text.chars().all(|c| !matches!(c, '/' | '"') && !is_control(c))
}

/// Whether a character steers a terminal, or cannot stand in XML, or turns what stands
/// around it about.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Returns text with what steers a terminal, or cannot stand in a picture's XML, as an
/// escape: text of others must not be carried out.
///
/// ```
/// use tidecast_stream::printable;
/// assert_eq!(printable("a\u{1b}[31mb"), "a\\u{1b}[31mb");
/// assert_eq!(printable("Köln"), "Köln");
/// ```
pub fn printable(text: &str) -> String {
    if !text.chars().any(is_control) {
        return text.to_owned();
    }
    let show = |c: char| match is_control(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(show).collect()
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
    /// Returns about how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        const HEAD_BYTES: usize = 512;
        const VALUE_BYTES: usize = 32;
        let values = |one: &VariateForecast| one.mean.len() * (one.quantiles.len() + 1);
        HEAD_BYTES + VALUE_BYTES * self.variates.iter().map(values).sum::<usize>()
    }

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
