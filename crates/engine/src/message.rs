//! From the model's numbers to the message subscribers read.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tidecast_forecast::Forecast;
use tidecast_stream::{
    ContextSummary, EventTime, ForecastMessage, ForecastStatus, ModelRef, Partition, SeriesKey,
    TimeGrid, VariateForecast,
};

use crate::due::{Answered, Outcome};

/// What all messages of a pipeline share.
#[derive(Debug, Clone)]
pub(crate) struct MessageTemplate {
    pub(crate) pipeline: String,
    pub(crate) model: ModelRef,
    pub(crate) step: TimeGrid,
    pub(crate) horizon: usize,
    pub(crate) targets: Vec<String>,
    pub(crate) quantiles: Vec<f64>,
    pub(crate) min_context: usize,
}

impl MessageTemplate {
    /// Returns the message for one series and origin, made of what came of it.
    pub(crate) fn message(
        &self,
        answered: Answered,
        partition: &Partition,
        is_backfill: bool,
    ) -> ForecastMessage {
        let Answered { head, outcome } = answered;
        let steps = head.steps;
        let (status, reason, variates) = match outcome {
            Outcome::Made(forecast) => (ForecastStatus::Ok, None, self.variates(&forecast, steps)),
            Outcome::Failed(error) => (ForecastStatus::Failed, Some(error.to_string()), Vec::new()),
            Outcome::TooShort => {
                let reason = format!(
                    "`{}` observed steps of `{}` needed (`min_context`)",
                    head.observed, self.min_context
                );
                (ForecastStatus::TooShort, Some(reason), Vec::new())
            }
        };
        ForecastMessage {
            forecast_id: forecast_id(&self.pipeline, &head.key, head.origin, 0, partition),
            pipeline: self.pipeline.clone(),
            series: head.key,
            origin: head.origin,
            step: self.step.iso8601(),
            step_ms: self.step.fixed_micros().map(|micros| micros / 1_000),
            times: self.times(head.origin),
            model: self.model.clone(),
            status,
            reason,
            context: ContextSummary { steps, observed: head.observed },
            variates,
            is_backfill,
        }
    }

    /// Returns the times of the horizon's steps, where they are not of one length.
    fn times(&self, origin: EventTime) -> Vec<EventTime> {
        if self.step.fixed_micros().is_some() {
            return Vec::new();
        }
        let steps = 1..=i64::try_from(self.horizon).unwrap_or(i64::MAX);
        steps.map_while(|step| self.step.after(origin, step)).collect()
    }

    fn variates(&self, forecast: &Forecast, steps: usize) -> Vec<VariateForecast> {
        self.targets
            .iter()
            .zip(&forecast.mean)
            .enumerate()
            .map(|(variate, (name, mean))| match forecast.unobserved.contains(&variate) {
                true => VariateForecast {
                    name: name.clone(),
                    mean: Vec::new(),
                    quantiles: Map::new(),
                    reason: Some(format!("none of the `{steps}` steps was observed")),
                },
                false => VariateForecast {
                    name: name.clone(),
                    mean: mean.clone(),
                    quantiles: self.quantiles_of(forecast, variate),
                    reason: None,
                },
            })
            .collect()
    }

    fn quantiles_of(&self, forecast: &Forecast, variate: usize) -> Map<String, Value> {
        let levels = self.quantiles.iter().zip(&forecast.quantiles);
        levels
            .filter_map(|(level, by_variate)| {
                let values = by_variate.get(variate)?;
                Some((level.to_string(), values.iter().copied().map(number).collect()))
            })
            .collect()
    }
}

/// JSON has no infinities: a value out of range becomes null rather than an
/// invalid message.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Returns the id of a forecast: the first 128 bits, in hexadecimal, of the
/// SHA-256 of pipeline, series, origin, revision and partition. A repeat has the same
/// id; two halves of a series that lies in two partitions have two.
pub(crate) fn forecast_id(
    pipeline: &str,
    series: &SeriesKey,
    origin: EventTime,
    revision: u32,
    partition: &Partition,
) -> String {
    let mut hash = Sha256::new();
    for part in [pipeline.as_bytes(), series.to_string().as_bytes()] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(origin.as_micros().to_le_bytes());
    hash.update(revision.to_le_bytes());
    hash.update(partition.number.to_le_bytes());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
