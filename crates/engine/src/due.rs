//! A series that is due for a forecast, on its way to the model and back.

use tidecast_actors::Message;
use tidecast_forecast::{Context, Forecast, ForecastTask, PriorHistory, TaskError, seed_for};
use tidecast_sql::{PipelinePlan, SeriesContext};
use tidecast_stream::{EventTime, SeriesKey};

/// Which forecast it is: all of a context that outlives the model's work on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DueHead {
    pub(crate) key: SeriesKey,
    /// Time of the newest step of the context.
    pub(crate) origin: EventTime,
    /// Steps of the context.
    pub(crate) steps: usize,
    /// Those at which some target was observed.
    pub(crate) observed: usize,
}

/// A series that is due, with what the model needs.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) head: DueHead,
    /// `None` if the series has too few observed steps for a forecast.
    pub(crate) task: Option<ForecastTask>,
    /// Bytes of memory that it holds on to.
    pub(crate) bytes: usize,
}

/// A series with what came of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) head: DueHead,
    pub(crate) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The model made a forecast.
    Made(Forecast),
    /// The model refused or failed.
    Failed(TaskError),
    /// The series has too few observed values; the model was not asked.
    TooShort,
}

impl Due {
    /// Moves a context to the model's side; nothing of it is copied.
    pub(crate) fn new(context: SeriesContext, plan: &PipelinePlan, model_version: &str) -> Self {
        let (bytes, steps) = (context.bytes(), context.steps());
        let SeriesContext {
            key,
            origin,
            values,
            past_covariates,
            future_covariates,
            observed,
            prior,
        } = context;
        let clause = &plan.forecast;
        let task = (observed >= clause.min_context).then(|| {
            let prior = prior
                .into_iter()
                .map(|prior| PriorHistory { sum: prior.sum, count: prior.count, last: prior.last })
                .collect();
            let seed = seed_for(&plan.name, &key.to_string(), origin.as_micros(), model_version);
            ForecastTask {
                context: Context {
                    variates: values,
                    prior: Some(prior),
                    past_covariates,
                    future_covariates,
                },
                horizon: clause.horizon,
                samples: clause.samples,
                quantiles: clause.quantiles.clone(),
                domain: clause.domain,
                seed,
                keep_samples: clause.needs_samples(),
            }
        });
        Self { head: DueHead { key, origin, steps, observed }, task, bytes }
    }
}

impl Message for Due {
    fn bytes(&self) -> usize {
        self.bytes
    }
}
