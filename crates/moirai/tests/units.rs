//! Neither unit, level, gaps nor dead columns of a series spoil its forecast.

#![allow(clippy::expect_used, clippy::unwrap_used)] // tests

use tidecast_forecast::{
    Context, Forecast, ForecastTask, ModelSpec, Provider, TaskError, load, seasonal_naive,
};
use tidecast_moirai::{FAMILY, Rollout, spec};

const HORIZON: usize = 24;

fn moirai(rollout: Rollout) -> Box<dyn Provider> {
    load(&[FAMILY], &spec().with("rollout", rollout)).expect("loads")
}

fn naive(season: usize) -> Box<dyn Provider> {
    let spec = ModelSpec::new("seasonal-naive").with("season", season);
    load(&[seasonal_naive::FAMILY], &spec).expect("loads")
}

fn forecast(model: &mut dyn Provider, task: &ForecastTask) -> Forecast {
    model.forecast(std::slice::from_ref(task)).remove(0).expect("a forecast")
}

/// A day's swing of this size and a little noise that repeats on every run.
fn swing(steps: usize, size: f64, phase: f64) -> Vec<f64> {
    let mut state = 7_u64;
    let mut value = |step: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let noise = (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        size * ((step as f64 / 24.0 * std::f64::consts::TAU + phase).sin() + 0.1 * noise)
    };
    (0..steps).map(&mut value).collect()
}

fn task(values: &[f64]) -> ForecastTask {
    let task = ForecastTask::new(Context::univariate(values), HORIZON);
    ForecastTask { samples: Some(40), seed: 3, ..task }
}

/// Largest difference of all quantiles when `undo` was done to the right ones.
fn off(expected: &Forecast, found: &Forecast, undo: impl Fn(f64) -> f64) -> f64 {
    let flat = |forecast: &Forecast| forecast.quantiles.concat().concat();
    let (expected, found) = (flat(expected), flat(found));
    assert_eq!(expected.len(), found.len());
    let differences = expected.iter().zip(&found).map(|(a, b)| (a - undo(*b)).abs());
    differences.fold(0.0, |largest, difference| match difference.is_nan() {
        true => f64::INFINITY,
        false => largest.max(difference),
    })
}

/// 1e-5 was added to the variance whatever the unit: a rate of 1e-6 had bands of
/// 1e-4. A hundredth of the swing leaves room for a token that another expert
/// takes after a rounding.
#[test]
fn powers_of_ten_commute_with_the_forecast() {
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = moirai(rollout);
        let values: Vec<f64> = swing(200, 20.0, 0.3).iter().map(|value| 30.0 + value).collect();
        let expected = forecast(&mut *model, &task(&values));
        for exponent in [-300, -40, -12, -9, -6, -3, -2, -1, 1, 3, 6, 9, 12, 40, 290] {
            let unit = 10_f64.powi(exponent);
            let scaled: Vec<f64> = values.iter().map(|value| value * unit).collect();
            let found = forecast(&mut *model, &task(&scaled));
            let off = off(&expected, &found, |value| value / unit);
            assert!(off < 0.2, "{rollout}, 1e{exponent}: off by {off} of a swing of 20");
        }
    }
}

/// At 1e9 the numbers of f32 are 64 apart: a swing of 10 was flat.
#[test]
fn levels_commute_with_the_forecast() {
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = moirai(rollout);
        // Whole patches, for what pads a context is a zero of the series.
        for (size, levels) in [
            (10.0, &[-1e9, 1e3, 123_456_789.0, 1e9, 1e12][..]),
            (1e-3, &[1.0, 1e6, 1e9]),
            (1e-6, &[-1.0, 1.0, 1e3]),
        ] {
            let values = swing(192, size, 1.0);
            let expected = forecast(&mut *model, &task(&values));
            for &level in levels {
                let shifted: Vec<f64> = values.iter().map(|value| level + value).collect();
                let found = forecast(&mut *model, &task(&shifted));
                let off = off(&expected, &found, |value| value - level) / size;
                assert!(off < 0.02, "{rollout}, {size} at {level}: off by {off} of the swing");
            }
        }
    }
}

#[test]
fn a_constant_has_a_narrow_band_in_every_unit() {
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = moirai(rollout);
        for value in [1e-300, 1e-12, 1e-6, 0.1, 7.0, 123_456_789.0, 1e15 + 0.5, 1e40, 1e300] {
            // Not a whole number of patches: the first is padded with zeros.
            let found = forecast(&mut *model, &task(&[value; 100]));
            let band = found.quantiles.concat().concat();
            let widest = band.iter().map(|it| (it - value).abs()).fold(0.0, f64::max);
            assert!(widest <= 0.01 * value.min(1.0), "{rollout}, {value}: {widest}");
        }
        let zeros = forecast(&mut *model, &task(&[0.0; 96]));
        assert!(zeros.quantiles.concat().concat().iter().all(|value| value.abs() < 0.01));
    }
}

/// With several variates, and in covariates, a gap was a zero: 140 standard
/// deviations below a swing of 10 on a level of 1000, and the swing was lost.
#[test]
fn gaps_of_several_variates_and_covariates_are_no_zeros() {
    let on_level = |phase: f64, gap: usize| -> Vec<f64> {
        let values = swing(480 + HORIZON, 10.0, phase);
        let is_gap = |step: usize| step < 480 && gap > 0 && (step * 7 + gap) % 11 < 2;
        let value = |(step, value): (usize, f64)| {
            if is_gap(step) { f64::NAN } else { 1000.0 + value }
        };
        values.into_iter().enumerate().map(value).collect()
    };
    for rollout in [Rollout::Cached, Rollout::Exact] {
        let mut model = moirai(rollout);
        let past = |phase, gap| on_level(phase, gap)[..480].to_vec();
        let mut task = task(&past(0.0, 3));
        task.context.variates.push(past(1.0, 5));
        let mut with_covariates = task.clone();
        let mut ahead = on_level(2.0, 4);
        ahead[490] = f64::NAN;
        with_covariates.context.future_covariates.push(ahead);
        with_covariates.context.past_covariates.push(past(3.0, 2));
        for task in [task, with_covariates] {
            let median = &forecast(&mut *model, &task).quantiles[1];
            for (variate, phase) in [(0, 0.0), (1, 1.0)] {
                let truth = &on_level(phase, 0)[480..];
                let errors = median[variate].iter().zip(truth).map(|(a, b)| (a - b).abs());
                let mean = errors.sum::<f64>() / HORIZON as f64;
                assert!(mean < 2.0, "{rollout}, variate {variate}: {mean} of a swing of 10");
            }
        }
    }
}

/// One sensor without values took all others with it.
#[test]
fn a_dead_column_is_as_good_as_absent() {
    let (a, b) = (swing(100, 3.0, 0.0), swing(100, 5.0, 2.0));
    let (ahead, dead) = (swing(100 + HORIZON, 1.0, 1.0), vec![f64::NAN; 100]);
    let context = Context {
        variates: vec![a.clone(), b.clone()],
        future_covariates: vec![ahead],
        past_covariates: vec![a.clone()],
        prior: None,
    };
    let without = ForecastTask {
        samples: Some(20),
        seed: 5,
        keep_samples: true,
        ..ForecastTask::new(context, HORIZON)
    };
    let mut with = without.clone();
    with.context.variates = vec![dead.clone(), a, vec![f64::INFINITY; 100], b];
    with.context.future_covariates.insert(0, vec![f64::NAN; 100 + HORIZON]);
    with.context.past_covariates.push(dead);
    let models = [moirai(Rollout::Cached), moirai(Rollout::Exact), naive(24)];
    for mut model in models {
        let name = format!("{} {:?}", model.info().provider, model.info().settings);
        let (expected, found) = (forecast(&mut *model, &without), forecast(&mut *model, &with));
        assert_eq!((found.unobserved.as_slice(), expected.unobserved.len()), (&[0, 2][..], 0));
        let alive = |rows: &Vec<Vec<f64>>| vec![rows[1].clone(), rows[3].clone()];
        assert_eq!(alive(&found.mean), expected.mean, "{name}");
        for (found, expected) in found.quantiles.iter().zip(&expected.quantiles) {
            assert_eq!(&alive(found), expected, "{name}");
        }
        let samples: Vec<_> = found.samples.expect("samples").iter().map(alive).collect();
        assert_eq!(Some(samples), expected.samples, "{name}");
        let is_nan = |row: &Vec<f64>| row.len() == HORIZON && row.iter().all(|it| it.is_nan());
        assert!(is_nan(&found.mean[0]) && is_nan(&found.quantiles[2][2]), "{name}");
        if model.info().provider == FAMILY.about.name {
            assert_eq!(model.cost(&with), model.cost(&without), "{name}");
        }

        let mut nothing = with.clone();
        nothing.context.variates.iter_mut().for_each(|variate| variate.fill(f64::NAN));
        let refused = model.forecast(&[nothing]).remove(0).expect_err("nothing to go by");
        assert_eq!(refused, TaskError::NothingObserved { variates: 4, steps: 100 });
        assert_eq!(
            refused.to_string(),
            "none of the `100` steps of the `4` variates was observed: at least `1` is needed"
        );
    }
}
