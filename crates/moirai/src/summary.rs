//! From sample paths, or what a device made of them, to a forecast.

use std::sync::atomic::{AtomicU64, Ordering};

use tidecast_forecast::{Forecast, ForecastTask, TaskError};
use tidecast_stream::Domain;

use crate::quantile::quantile;
use crate::rollout::{Paths, Summary};

/// Turns what the device has summed up into a forecast.
pub(crate) fn summarized(
    summary: &Summary,
    broken_paths: &AtomicU64,
) -> Result<Forecast, TaskError> {
    broken_paths.fetch_add(summary.broken as u64, Ordering::Relaxed);
    for mean in &summary.mean {
        if let Some(step) = mean.iter().position(|mean| mean.is_nan()) {
            return Err(TaskError::NotFinite { step });
        }
    }
    let Summary { mean, quantiles, .. } = summary.clone();
    Ok(Forecast { mean, quantiles, ..Forecast::default() })
}

/// Takes mean and quantiles over the paths; those that broke (NaN) are left out.
pub(crate) fn summarize(
    task: &ForecastTask,
    paths: &Paths,
    domains: &[Domain],
    broken_paths: &AtomicU64,
) -> Result<Forecast, TaskError> {
    let (variates, horizon, count) = (paths.variates, task.horizon, paths.count());
    let mut mean = vec![Vec::with_capacity(horizon); variates];
    let mut quantiles = vec![vec![Vec::with_capacity(horizon); variates]; task.quantiles.len()];
    let mut sorted = Vec::with_capacity(count);
    let broken = (0..count)
        .filter(|&path| (0..variates).any(|v| paths.path(path, v).iter().any(|x| x.is_nan())))
        .count();
    broken_paths.fetch_add(broken as u64, Ordering::Relaxed);
    for (variate, mean) in mean.iter_mut().enumerate() {
        for step in 0..horizon {
            sorted.clear();
            let paths_left = (0..count).filter(|path| !paths.path(*path, variate)[step].is_nan());
            match paths.points_of_step {
                0 => sorted.extend(paths_left.map(|path| paths.path(path, variate)[step])),
                _ => {
                    let points = paths_left.flat_map(|path| paths.points(path, variate, step));
                    let scaling = paths.scalings[variate];
                    let points = points.filter(|point| !point.is_nan());
                    let domain = domains.get(variate).copied().unwrap_or(Domain::ANY);
                    let value = |point: &f32| domain.nearest(scaling.undo(f64::from(*point)));
                    sorted.extend(points.map(value));
                }
            }
            if sorted.is_empty() {
                return Err(TaskError::NotFinite { step });
            }
            sorted.sort_unstable_by(f64::total_cmp);
            mean.push(mean_of(&sorted));
            for (by_variate, &level) in quantiles.iter_mut().zip(&task.quantiles) {
                by_variate[variate].push(quantile(&sorted, level));
            }
        }
    }
    let samples = task.keep_samples.then(|| {
        let path = |path: usize| {
            let told = |variate| {
                let mut told = paths.told(path, variate);
                told.truncate(horizon);
                told
            };
            (0..variates).map(told).collect()
        };
        (0..count).map(path).collect()
    });
    // Paths of a card are held to it only here; and a mean of many equal values may be
    // off by its last digit.
    let forecast = Forecast { mean, quantiles, samples, ..Forecast::default() };
    Ok(forecast.held_to(domains.to_vec()))
}

/// Returns the mean; of the largest numbers too, whose sum is infinite.
fn mean_of(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() }
}
