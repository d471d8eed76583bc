//! Forecasts for all windows of a task, scored.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidecast_forecast::accuracy::{Accuracy, Yardstick};
use tidecast_forecast::{Context, Forecast, ForecastTask, Provider, seed_for};

use tidecast_stream::{DomainRule, HorizonAggregate};

use super::task::{Task, Window};

/// What the sample paths depend on besides what is forecast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw<'a> {
    pub(super) seed: u64,
    /// Sample paths of a forecast.
    pub(super) samples: Option<usize>,
    /// The values that series can have.
    pub(super) domain: DomainRule,
    /// What is scored beside single steps.
    pub(super) aggregates: &'a [HorizonAggregate],
}

/// Scores by series, in the task's order, and the time the model took.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub(super) by_series: Vec<Accuracy>,
    /// Of what several steps come to; no MASE.
    pub(super) aggregates: Vec<(HorizonAggregate, Accuracy)>,
    pub(super) taken: Duration,
}

impl Scored {
    fn new(task: &Task, aggregates: &[HorizonAggregate]) -> anyhow::Result<Self> {
        let empty = Accuracy::new(&task.levels)
            .with_context(|| format!("`{}` cannot be scored (--quantiles)", task.name))?;
        Ok(Self {
            aggregates: aggregates.iter().map(|aggregate| (*aggregate, empty.clone())).collect(),
            by_series: vec![empty; task.series.len()],
            taken: Duration::ZERO,
        })
    }

    fn add(&mut self, task: &Task, window: Window, quantiles: &[Vec<f64>]) -> anyhow::Result<()> {
        self.by_series[window.series]
            .add(task.labels(window), quantiles, window.seasonal_error)
            .with_context(|| place(task, window))
    }

    /// Scores what several steps of a forecast come to.
    fn add_aggregates(
        &mut self,
        task: &Task,
        window: Window,
        forecast: &Forecast,
    ) -> anyhow::Result<()> {
        for (aggregate, accuracy) in &mut self.aggregates {
            let joint = forecast.aggregated(*aggregate, &task.levels);
            let joint = joint.context("the model gives no sample paths")?;
            let quantiles = only_variate(joint.quantiles);
            let labels = aggregate.of(task.labels(window));
            accuracy.add(&labels, &quantiles, None).with_context(|| place(task, window))?;
        }
        Ok(())
    }

    /// Returns the scores of all series together.
    ///
    /// # Errors
    /// Not with the scores of one task.
    pub(super) fn total(&self) -> anyhow::Result<Accuracy> {
        let mut series = self.by_series.iter();
        let mut total = series.next().context("there is no series")?.clone();
        for accuracy in series {
            total.merge(accuracy)?;
        }
        Ok(total)
    }
}

/// Scores the seasonal naive forecast.
///
/// # Errors
/// If the task's quantile levels will not do.
pub(super) fn yardstick(task: &Task, windows: &[Window]) -> anyhow::Result<Scored> {
    let mut scored = Scored::new(task, &[])?;
    let yardstick = Yardstick { season: task.season };
    for &window in windows {
        let past = task.past(window);
        let quantiles = yardstick.quantiles(past, task.placement.horizon, &task.levels);
        scored.add(task, window, &quantiles)?;
    }
    Ok(scored)
}

/// Scores `model`; `progress` hears of each batch. What the batches are has no
/// part in the scores.
///
/// # Errors
/// If a window cannot be forecast: leaving it out would flatter the model.
pub(super) fn evaluate(
    task: &Task,
    windows: &[Window],
    model: &mut dyn Provider,
    draw: Draw<'_>,
    progress: &mut dyn FnMut(usize),
) -> anyhow::Result<Scored> {
    let mut scored = Scored::new(task, draw.aggregates)?;
    let version = model.info().version.clone();
    // What suits the device that the model is on.
    let (max_tokens, max_tasks) = model.batch();
    let mut rest = windows;
    while !rest.is_empty() {
        let (mut batch, mut tokens) = (Vec::new(), 0);
        for window in rest.iter().take(max_tasks) {
            let asked = forecast_task(task, *window, draw, &version);
            tokens += model.cost(&asked);
            if !batch.is_empty() && tokens > max_tokens {
                break;
            }
            batch.push(asked);
        }
        let (asked, others) = rest.split_at(batch.len());
        let started = Instant::now();
        let forecasts = model.forecast(&batch);
        scored.taken += started.elapsed();
        for (&window, forecast) in asked.iter().zip(forecasts) {
            let forecast = forecast.with_context(|| place(task, window))?;
            scored.add_aggregates(task, window, &forecast)?;
            scored.add(task, window, &only_variate(forecast.quantiles))?;
        }
        progress(batch.len());
        rest = others;
    }
    Ok(scored)
}

/// Returns the quantiles of the one variate there is.
fn only_variate(quantiles: Vec<Vec<Vec<f64>>>) -> Vec<Vec<f64>> {
    quantiles.into_iter().filter_map(|level| level.into_iter().next()).collect()
}

/// The origin in the seed is the number of steps before it: not every set says
/// how long a step is.
fn forecast_task(task: &Task, window: Window, draw: Draw<'_>, version: &str) -> ForecastTask {
    let name = &task.series[window.series].name;
    let backtest = format!("backtest/{}/{}", draw.seed, task.name);
    ForecastTask {
        context: Context::newest(task.past(window), task.context),
        horizon: task.placement.horizon,
        samples: draw.samples,
        quantiles: task.levels.clone(),
        domain: draw.domain,
        seed: seed_for(&backtest, name, i64::try_from(window.origin).unwrap_or(i64::MAX), version),
        keep_samples: !draw.aggregates.is_empty(),
    }
}

fn place(task: &Task, window: Window) -> String {
    let series = &task.series[window.series].name;
    format!("`{}`, series `{series}`, window that starts at step {}", task.name, window.origin)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidecast_forecast::ModelSpec;
    use tidecast_moirai::{load, spec};

    use super::*;
    use crate::commands::backtest::placement::Placement;
    use crate::commands::series::Series;

    fn task() -> Task {
        let values = |phase: usize| {
            (0..60).map(|step| ((step * 7 + phase) % 12) as f64).collect::<Vec<f64>>()
        };
        let series = |name: &str, phase| Series { name: name.to_owned(), values: values(phase) };
        Task {
            name: "t".to_owned(),
            series: vec![series("a", 0), series("b", 5)],
            placement: Placement { horizon: 20, stride: 5, windows: 4 },
            season: 12,
            context: 32,
            levels: vec![0.1, 0.5, 0.9],
            baselines: BTreeMap::new(),
        }
    }

    #[test]
    fn scores_depend_on_neither_batch_nor_threads_but_on_the_seed() {
        let task = task();
        let windows = task.windows().asked;
        let model = |threads| load(&ModelSpec { threads: Some(threads), ..spec() }).expect("loads");
        let draw =
            Draw { seed: 3, samples: Some(8), domain: DomainRule::default(), aggregates: &[] };
        let mut one = model(1);
        let all = evaluate(&task, &windows, &mut one, draw, &mut |_| ()).expect("scores");
        // A window at a time, by another number of threads.
        let mut two = model(2);
        let mut apart = Scored::new(&task, &[]).expect("levels");
        for window in &windows {
            let found = evaluate(&task, &[*window], &mut two, draw, &mut |_| ()).expect("scores");
            apart.by_series[window.series].merge(&found.by_series[window.series]).expect("merges");
        }
        let totals = [all.total(), apart.total()].map(|total| total.expect("a total"));
        assert_eq!(totals[0].coverage(), totals[1].coverage());
        assert_eq!(totals[0].windows(), 8);
        let [wql, other] = totals.map(|total| total.wql().expect("labels"));
        assert!((wql - other).abs() < 1e-12, "{wql}, {other}");

        let draw = Draw { seed: 4, ..draw };
        let other = evaluate(&task, &windows, &mut one, draw, &mut |_| ()).expect("scores");
        assert_ne!(all.by_series, other.by_series);
    }

    #[test]
    fn the_yardstick_scores_one_on_what_repeats() {
        // The season is exact: the yardstick errs nowhere, nor does its scale.
        let mut task = task();
        let windows = task.windows().asked;
        let exact = yardstick(&task, &windows).expect("scores").total().expect("a total");
        assert_eq!((exact.wql(), exact.mase(), exact.coverage()), (Some(0.0), None, Some(1.0)));
        task.season = 5;
        let wrong = yardstick(&task, &windows).expect("scores").total().expect("a total");
        assert!(wrong.wql() > Some(0.1), "{wrong:?}");
    }
}
