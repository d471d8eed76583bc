//! From the model's numbers to the message subscribers read.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidecast_forecast::{AggregateForecast, Forecast};
use tidecast_sql::PipelinePlan;
use tidecast_stream::{
    AggregateValues, ContextSummary, Domain, EventTime, ForecastId, ForecastMessage,
    ForecastShapeError, ForecastStatus, HorizonAggregate, ModelRef, Partition, SeriesKey, TimeGrid,
    VariateForecast,
};

use crate::due::{Answered, Outcome};

/// The first forecast of a series and origin, which is the only one so far.
const REVISION: u32 = 0;

/// What all messages of a pipeline share; each has a pointer to it, no copy.
#[derive(Debug, Clone)]
pub(crate) struct MessageTemplate {
    pipeline: Arc<str>,
    model: Arc<ModelRef>,
    step: TimeGrid,
    horizon: usize,
    targets: Vec<Arc<str>>,
    levels: Arc<[f64]>,
    aggregates: Vec<HorizonAggregate>,
    tells_samples: bool,
    min_context: usize,
}

impl MessageTemplate {
    /// Returns what the messages of `plan` share, made by this version of its model.
    pub(crate) fn new(plan: &PipelinePlan, model_version: &str) -> Self {
        let clause = &plan.forecast;
        let (name, version) = (plan.model.name.clone(), model_version.to_owned());
        Self {
            pipeline: plan.name.as_str().into(),
            model: Arc::new(ModelRef { name, version }),
            step: clause.step,
            horizon: clause.horizon,
            targets: clause.targets.iter().map(|name| name.as_str().into()).collect(),
            levels: clause.quantiles.as_slice().into(),
            aggregates: clause.aggregates.clone(),
            tells_samples: clause.tells_samples,
            min_context: clause.min_context,
        }
    }

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
            Outcome::Made(forecast) => match self.variates(&forecast, steps) {
                Ok(variates) => (ForecastStatus::Ok, None, variates),
                Err(error) => (ForecastStatus::Failed, Some(error.to_string()), Vec::new()),
            },
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
            id: forecast_id(&self.pipeline, &head.key, head.origin, REVISION, partition),
            pipeline: Arc::clone(&self.pipeline),
            series: head.key,
            origin: head.origin,
            revision: REVISION,
            step: self.step.period(),
            times: self.times(head.origin),
            model: Arc::clone(&self.model),
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

    /// Returns the numbers `[variate][step]` and `[level][variate][step]` by target.
    fn variates(
        &self,
        forecast: &Forecast,
        steps: usize,
    ) -> Result<Vec<VariateForecast>, ForecastShapeError> {
        let aggregates = self.aggregates.iter();
        let aggregates: Vec<AggregateForecast> = aggregates
            .map(|aggregate| forecast.aggregated(*aggregate, &self.levels))
            .collect::<Option<_>>()
            .ok_or(ForecastShapeError::Samples)?;
        let paths = forecast.samples.as_deref().filter(|_| self.tells_samples);
        if self.tells_samples && paths.is_none() {
            return Err(ForecastShapeError::Samples);
        }
        let targets = self.targets.iter().zip(&forecast.mean).enumerate();
        let variates = targets.map(|(variate, (name, mean))| {
            if forecast.unobserved.contains(&variate) {
                let reason = format!("none of the `{steps}` steps was observed");
                return Ok(VariateForecast::without_forecast(Arc::clone(name), reason));
            }
            let quantiles = forecast.quantiles.iter().filter_map(|level| level.get(variate));
            let levels = Arc::clone(&self.levels);
            let domain = forecast.domains.get(variate).copied().unwrap_or(Domain::ANY);
            let mut made = VariateForecast::new(Arc::clone(name), levels, mean, quantiles)?;
            made.domain = domain;
            made.aggregates =
                aggregates.iter().map(|aggregate| of_variate(aggregate, variate)).collect();
            let paths = paths.into_iter().flatten();
            made.samples = paths.filter_map(|path| path.get(variate)).cloned().collect();
            Ok(made)
        });
        variates.collect()
    }
}

/// Returns what several steps of one variate come to.
fn of_variate(aggregate: &AggregateForecast, variate: usize) -> AggregateValues {
    let of = |rows: &[Vec<f64>]| rows.get(variate).cloned().unwrap_or_default();
    AggregateValues {
        aggregate: aggregate.aggregate,
        mean: of(&aggregate.mean),
        quantiles: aggregate.quantiles.iter().map(|level| of(level)).collect(),
    }
}

/// Returns the id of a forecast: the first 128 bits of the SHA-256 of pipeline, series, origin, revision and partition. A repeat has the same
/// id; two halves of a series that lies in two partitions have two.
pub(crate) fn forecast_id(
    pipeline: &str,
    series: &SeriesKey,
    origin: EventTime,
    revision: u32,
    partition: &Partition,
) -> ForecastId {
    let mut hash = Sha256::new();
    for part in [pipeline.as_bytes(), series.to_string().as_bytes()] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(origin.as_micros().to_le_bytes());
    hash.update(revision.to_le_bytes());
    hash.update(partition.number.to_le_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    ForecastId(id)
}

#[cfg(test)]
mod tests {
    use tidecast_stream::Period;
    use tidecast_stream::grid::Tz;

    use super::*;

    fn template() -> MessageTemplate {
        MessageTemplate {
            pipeline: "load".into(),
            model: Arc::new(ModelRef { name: "naive".to_owned(), version: "1".to_owned() }),
            step: TimeGrid::new(Period::Months(1), 0, Tz::UTC),
            horizon: 2,
            targets: vec!["kw".into(), "kvar".into()],
            levels: [0.1, 0.9].into(),
            aggregates: Vec::new(),
            tells_samples: false,
            min_context: 1,
        }
    }

    #[test]
    fn numbers_go_to_their_target_and_names_are_shared() {
        let forecast = Forecast {
            mean: vec![vec![1.0, 2.0], vec![f64::NAN; 2]],
            quantiles: vec![
                vec![vec![0.0, 1.0], vec![f64::NAN; 2]],
                vec![vec![3.0, 4.0], vec![f64::NAN; 2]],
            ],
            unobserved: vec![1],
            ..Forecast::default()
        };
        let template = template();
        let variates = template.variates(&forecast, 8).unwrap();
        let [kw, kvar] = &variates[..] else { panic!("two targets: {variates:?}") };
        assert!(Arc::ptr_eq(&kw.name, &template.targets[0]));
        assert_eq!((kw.mean(), kw.quantile(0.9)), (&[1.0, 2.0][..], Some(&[3.0, 4.0][..])));
        assert_eq!(kvar.reason.as_deref(), Some("none of the `8` steps was observed"));
        assert_eq!(kvar.steps(), 0);
    }

    /// A model that gives other numbers than it was asked for makes no forecast that
    /// lacks some.
    #[test]
    fn an_answer_of_another_shape_is_no_forecast() {
        let forecast = Forecast {
            mean: vec![vec![1.0, 2.0]; 2],
            quantiles: vec![vec![vec![1.0, 2.0]; 2]],
            ..Forecast::default()
        };
        let error = template().variates(&forecast, 8).unwrap_err().to_string();
        assert_eq!(error, "`kw` has `1` quantiles, expected one for each of `2` levels");
    }

    #[test]
    fn steps_of_a_calendar_have_their_times() {
        let times = template().times("2024-01-01T00:00:00Z".parse().unwrap());
        let times: Vec<String> = times.iter().map(EventTime::to_string).collect();
        assert_eq!(times, ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"]);
    }
}
