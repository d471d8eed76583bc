//! The season before, repeated: the fallback and the yardstick, a [`FAMILY`] without
//! weights.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use tidecast_stream::{ModelFamily, ModelOption, OptionKind, Unset};

use crate::load::Family;
use crate::normal::normal_quantile;
use crate::provider::{ModelInfo, Provider};
use crate::spec::DEVICE;
use crate::squares::root_mean_square;
use crate::task::{Forecast, ForecastTask, TaskError};

const NAME: &str = "seasonal-naive";

const OPTIONS: [ModelOption; 2] = [
    ModelOption::new("season", OptionKind::Count { unit: "steps" })
        .unset(Unset::Decided("the provider's default")),
    // Taken, because it goes with every model, and of no effect.
    DEVICE.title(None),
];

/// Sample paths, where they are asked for and not how many.
const USUAL_SAMPLES: usize = 100;

/// The seasonal naive forecast. Its option is `season`, the length of a season in
/// steps: 1 unless said (the last value goes on). It is not guessed from the data.
pub const FAMILY: Family = Family {
    about: ModelFamily { name: NAME, options: &OPTIONS, unsupported: &[] },
    // It computes on the processor, whatever the machine has.
    devices: |device| vec![device.to_owned()],
    load: |spec, _| Ok(Box::new(SeasonalNaive::new(spec.count("season")?.unwrap_or(1)))),
};

/// Forecasts the last observed value of the same season position, with a
/// normal error.
///
/// For season m and step i the point is the last value at position i mod m of
/// the season; a missing one is that of the season before, and so on; a
/// position never observed takes the last observed value before it, or the
/// first after it. The spread is `sigma * sqrt(floor(i / m) + 1)`, sigma the
/// root mean square of the seasonal differences of which both ends were
/// observed. A context no longer than a season is forecast with season 1.
/// Covariates and prior history are not used. What is repeated is repeated to
/// the last bit of f64.
#[derive(Debug)]
struct SeasonalNaive {
    season: usize,
    info: ModelInfo,
}

impl SeasonalNaive {
    /// `season` is at least 1.
    fn new(season: usize) -> Self {
        let info = ModelInfo {
            provider: NAME.to_owned(),
            path: String::new(),
            version: "seasonal-naive/1".to_owned(),
            architecture: format!("season {season}, normal errors"),
            parameters: 0,
            active_parameters: 0,
            licence: None,
            recommended_context: None,
            revision: None,
            weights_bytes: 0,
            memory_bytes: 0,
            device: "cpu".to_owned(),
            threads: 1,
            settings: Vec::new(),
        };
        Self { season, info }
    }

    fn one(&self, task: &ForecastTask) -> Result<Forecast, TaskError> {
        let observed = task.check()?.variates;
        let horizon = task.horizon;
        let fits: Vec<Fit> =
            observed.iter().map(|&it| Fit::new(&task.context.variates[it], self.season)).collect();
        let mean = fits.iter().map(|fit| (0..horizon).map(|i| fit.point(i)).collect()).collect();
        let quantiles = task
            .quantiles
            .iter()
            .map(|&level| {
                let z = normal_quantile(level);
                let of = |fit: &Fit| {
                    (0..horizon).map(|i| fit.point(i) + z * fit.spread(i)).collect::<Vec<f64>>()
                };
                fits.iter().map(of).collect()
            })
            .collect();
        let samples = task.keep_samples.then(|| {
            let path = |path: usize| {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&task.seed.to_le_bytes());
                key[8..16].copy_from_slice(&(path as u64).to_le_bytes());
                let mut random = ChaCha8Rng::from_seed(key);
                let mut error = || -> f64 { StandardNormal.sample(&mut random) };
                fits.iter().map(|fit| fit.path(horizon, &mut error)).collect()
            };
            (0..task.samples.unwrap_or(USUAL_SAMPLES)).map(path).collect()
        });
        let domains =
            observed.iter().map(|&variate| task.domain.of(&task.context.variates[variate]));
        let forecast = Forecast { mean, quantiles, samples, ..Forecast::default() };
        Ok(forecast.held_to(domains.collect()).of_observed(&observed, task.context.variates.len()))
    }
}

impl Provider for SeasonalNaive {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn cost(&self, task: &ForecastTask) -> usize {
        task.context.variates.len()
    }

    fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        tasks.iter().map(|task| self.one(task)).collect()
    }
}

/// The last season and the spread of one variate.
struct Fit {
    last_season: Vec<f64>,
    sigma: f64,
}

impl Fit {
    /// `values` holds at least one finite value.
    fn new(values: &[f64], season: usize) -> Self {
        let season = if values.len() > season { season } else { 1 };
        let filled = forward_fill(values);
        let start = values.len().saturating_sub(season);
        let last_season = (start..values.len())
            .map(|step| {
                let same_position = (0..=step).rev().step_by(season);
                let observed = same_position.map(|s| values[s]).find(|value| value.is_finite());
                observed.unwrap_or(filled[step])
            })
            .collect();
        let differences = values
            .iter()
            .zip(values.iter().skip(season))
            .filter(|(before, after)| before.is_finite() && after.is_finite())
            .map(|(before, after)| after - before);
        let sigma = root_mean_square(differences);
        Self { last_season, sigma }
    }

    fn point(&self, step: usize) -> f64 {
        self.last_season[step % self.last_season.len()]
    }

    /// Returns a sample path. What a position of the season is off goes on with the next
    /// season, and comes on top of that one's: each step has its spread, and steps a season
    /// apart go together as they would.
    fn path(&self, horizon: usize, error: &mut impl FnMut() -> f64) -> Vec<f64> {
        let mut off = vec![0.0; self.last_season.len()];
        let mut step = |step: usize| {
            let position = step % off.len();
            off[position] += self.sigma * error();
            self.point(step) + off[position]
        };
        (0..horizon).map(&mut step).collect()
    }

    fn spread(&self, step: usize) -> f64 {
        self.sigma * ((step / self.last_season.len() + 1) as f64).sqrt()
    }
}

/// Repeats the last observed value over gaps, the first one over a leading gap.
fn forward_fill(values: &[f64]) -> Vec<f64> {
    let mut last = values.iter().copied().find(|value| value.is_finite()).unwrap_or(0.0);
    let mut fill = |&value: &f64| {
        if value.is_finite() {
            last = value;
        }
        last
    };
    values.iter().map(&mut fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Context;

    fn forecast(season: usize, task: &ForecastTask) -> Result<Forecast, TaskError> {
        let mut model = SeasonalNaive::new(season);
        model.forecast(std::slice::from_ref(task)).remove(0)
    }

    #[test]
    fn the_spread_grows_with_each_season() {
        // Differences over season 2: 1, 1, -1 -> sigma 1.
        let mut task = ForecastTask::new(Context::univariate(&[0.0, 4.0, 1.0, 5.0, 0.0]), 5);
        task.quantiles = vec![0.5, 0.9];
        let found = forecast(2, &task).expect("forecast");
        assert_eq!(found.mean, [[5.0, 0.0, 5.0, 0.0, 5.0]]);
        assert_eq!(found.quantiles[0], found.mean);
        let z = 1.281_551_565_544_600_4;
        for (step, seasons) in [(0, 1.0f64), (1, 1.0), (2, 2.0), (4, 3.0)] {
            let width = found.quantiles[1][0][step] - found.mean[0][step];
            assert!((width - z * seasons.sqrt()).abs() < 1e-12, "step {step}: {width}");
        }
    }

    #[test]
    fn a_missing_step_repeats_its_season_position() {
        let nan = f64::NAN;
        let values = [1.0, 2.0, nan, 4.0, nan, f64::INFINITY, nan, 8.0];
        let task = ForecastTask::new(Context::univariate(&values), 4);
        // Position 2 was never observed: it takes the last observed value
        // before it, that of step 3.
        assert_eq!(forecast(4, &task).expect("forecast").mean, [[1.0, 2.0, 4.0, 8.0]]);
    }

    #[test]
    fn a_short_context_has_season_one_and_a_constant_has_no_spread() {
        let task = ForecastTask::new(Context::univariate(&[3.0, 3.0]), 2);
        let found = forecast(24, &task).expect("forecast");
        assert_eq!(found.quantiles, vec![vec![vec![3.0, 3.0]]; 3]);
    }

    #[test]
    fn what_cannot_be_forecast_says_why() {
        let good = ForecastTask::new(Context::univariate(&[1.0, 2.0]), 3);
        let with = |change: fn(&mut ForecastTask)| {
            let mut task = good.clone();
            change(&mut task);
            forecast(1, &task).expect_err("an error")
        };
        let nothing = with(|task| task.context.variates[0] = vec![f64::NAN, f64::INFINITY]);
        assert_eq!(nothing, TaskError::NothingObserved { variates: 1, steps: 2 });
        assert_eq!(with(|task| task.context.variates.clear()), TaskError::EmptyContext);
        assert_eq!(with(|task| task.context.variates[0].clear()), TaskError::EmptyContext);
        assert_eq!(with(|task| task.horizon = 0), TaskError::EmptyHorizon);
        assert_eq!(with(|task| task.samples = Some(0)), TaskError::NoSamples);
        let out = with(|task| task.quantiles.push(1.0));
        assert_eq!(out, TaskError::QuantileOutOfRange { level: 1.0 });
        assert!(matches!(
            with(|task| task.quantiles.push(f64::NAN)),
            TaskError::QuantileOutOfRange { .. }
        ));
        let ragged = with(|task| task.context.variates.push(vec![1.0]));
        assert_eq!(ragged.to_string(), "variate `1` has `1` steps: `2` expected");
    }

    #[test]
    fn sample_paths_repeat_with_the_seed() {
        let mut task = ForecastTask::new(Context::univariate(&[1.0, 2.0, 0.0]), 3);
        task.keep_samples = true;
        task.seed = 7;
        let first = forecast(1, &task).expect("forecast");
        assert_eq!(first, forecast(1, &task).expect("forecast"));
        task.seed = 8;
        assert_ne!(first.samples, forecast(1, &task).expect("forecast").samples);
    }

    #[test]
    fn the_seasonal_naive_repeats_every_digit() {
        let task = |values: &[f64]| ForecastTask::new(Context::univariate(values), 24);
        let day = |step: usize| 999_999_990.0 + ((step % 24) as f64 - 12.0) * 20.0 / 7.0;
        let values: Vec<f64> = (0..96).map(day).collect();
        let found = forecast(24, &task(&values)).expect("forecast");
        assert_eq!(found.mean[0], values[..24]);
        assert_eq!(found.quantiles[1][0], values[..24]);
        for value in [123_456_789.0, 1e15 + 0.5, 0.1, 1e300, 1e-300] {
            let found = forecast(1, &task(&[value; 9])).expect("forecast");
            assert!(found.quantiles.concat().concat().iter().all(|it| *it == value), "{value}");
        }
        // The squares of its differences overflow.
        let large = forecast(1, &task(&[1e300, 2e300, 1e300, 2e300])).expect("forecast");
        let width = large.quantiles[2][0][0] - large.mean[0][0];
        assert!((width / 1e300 - 1.281_551_565_544_6).abs() < 1e-9, "{width}");
    }
}
