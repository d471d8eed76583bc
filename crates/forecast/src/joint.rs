//! What several steps of a forecast come to together: read off its sample paths.

use tidecast_stream::{AggregateFunction, HorizonAggregate};

use crate::task::Forecast;

/// What several steps come to, forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateForecast {
    /// Of what.
    pub aggregate: HorizonAggregate,
    /// Mean over the sample paths, `[variate][block]`.
    pub mean: Vec<Vec<f64>>,
    /// Quantiles, `[level][variate][block]`.
    pub quantiles: Vec<Vec<Vec<f64>>>,
}

impl Forecast {
    /// Returns what each so many steps come to, over the sample paths: a sum's quantile is
    /// no sum of quantiles. `None` if the forecast does not carry its paths. Paths that
    /// are NaN somewhere in a block are left out of it; a block without any is NaN. Of whole
    /// numbers, quantiles are whole, too, but those of means.
    pub fn aggregated(
        &self,
        aggregate: HorizonAggregate,
        levels: &[f64],
    ) -> Option<AggregateForecast> {
        let paths = self.samples.as_ref()?;
        let variates = self.mean.len();
        let mut mean = vec![Vec::new(); variates];
        let mut quantiles = vec![vec![Vec::new(); variates]; levels.len()];
        for variate in 0..variates {
            let of_path = |path: &Vec<Vec<f64>>| {
                path.get(variate).map_or_else(Vec::new, |steps| aggregate.of(steps))
            };
            let by_path: Vec<Vec<f64>> = paths.iter().map(of_path).collect();
            for block in 0..by_path.first().map_or(0, Vec::len) {
                let values = by_path.iter().filter_map(|blocks| blocks.get(block).copied());
                let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
                values.sort_unstable_by(f64::total_cmp);
                mean[variate].push(mean_of(&values));
                let is_whole = self.domains.get(variate).is_some_and(|domain| domain.integer)
                    && aggregate.function != AggregateFunction::Avg;
                for (by_variate, &level) in quantiles.iter_mut().zip(levels) {
                    let value = quantile_of_few(&values, level);
                    by_variate[variate].push(if is_whole { value.round() } else { value });
                }
            }
        }
        Some(AggregateForecast { aggregate, mean, quantiles })
    }
}

/// Returns the mean of values in order; of equal ones to the last digit, of the largest
/// numbers too, whose sum is infinite, and NaN of none.
fn mean_of(sorted: &[f64]) -> f64 {
    let count = sorted.len() as f64;
    let sum: f64 = sorted.iter().sum();
    match sorted {
        [first, .., last] if first == last => *first,
        [] => f64::NAN,
        _ if sum.is_finite() => sum / count,
        _ => sorted.iter().map(|value| value / count).sum(),
    }
}

/// Returns the quantile of a distribution of which a few draws are known, `sorted`: the
/// place `(n + 1) level` among them, interpolated (definition 6 of Hyndman and Fan 1996).
/// Of `n` draws the k-th has `k / (n + 1)` of the distribution below it on average, so
/// bands of these cover as much as they say however few draws there are, as far as the
/// outermost reach. NaN of none.
fn quantile_of_few(sorted: &[f64], level: f64) -> f64 {
    let place = level * (sorted.len() + 1) as f64 - 1.0;
    let below = place.floor().clamp(0.0, sorted.len().saturating_sub(1) as f64);
    let share = (place - below).clamp(0.0, 1.0);
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(below as usize), at(below as usize + 1));
    if low == high { low } else { low * (1.0 - share) + high * share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sums_quantiles_are_those_of_the_paths_sums() {
        // Two paths that mirror each other: their sum is certain, their steps are not.
        let samples = vec![vec![vec![1.0, 9.0, 4.0]], vec![vec![9.0, 1.0, 4.0]]];
        let mean = vec![vec![5.0, 5.0, 4.0]];
        let forecast = Forecast { mean, samples: Some(samples), ..Forecast::default() };
        let of = |text: &str| {
            let aggregate = text.parse().expect("an aggregate");
            let found = forecast.aggregated(aggregate, &[0.1, 0.5, 0.9]).expect("paths");
            (found.mean, found.quantiles)
        };
        let (mean, quantiles) = of("sum:2");
        assert_eq!((mean, quantiles), (vec![vec![10.0]], vec![vec![vec![10.0]]; 3]));
        let (mean, quantiles) = of("min:1");
        assert_eq!(mean, [[5.0, 5.0, 4.0]]);
        assert_eq!(quantiles[0], [[1.0, 1.0, 4.0]]);
        assert_eq!(quantiles[1], [[5.0, 5.0, 4.0]]);
        assert_eq!(Forecast::default().aggregated("sum".parse().expect("one"), &[0.5]), None);
    }

    #[test]
    fn broken_paths_are_left_out_of_what_they_break() {
        let samples = vec![vec![vec![1.0, f64::NAN]], vec![vec![3.0, 4.0]]];
        let mean = vec![vec![2.0, 4.0]];
        let forecast = Forecast { mean, samples: Some(samples), ..Forecast::default() };
        let found = forecast.aggregated("sum:1".parse().expect("one"), &[0.5]).expect("paths");
        assert_eq!(
            (found.mean, found.quantiles),
            (vec![vec![2.0, 4.0]], vec![vec![vec![2.0, 4.0]]])
        );
    }

    #[test]
    fn bands_of_few_draws_cover_what_they_say() {
        // Uniform draws on a lattice: the k-th of n averages k / (n + 1).
        for count in [9usize, 19, 99] {
            let sorted: Vec<f64> = (1..=count).map(|k| k as f64 / (count + 1) as f64).collect();
            for level in [0.1, 0.25, 0.5, 0.9] {
                assert!((quantile_of_few(&sorted, level) - level).abs() < 1e-12, "{count} {level}");
            }
        }
        assert_eq!(quantile_of_few(&[2.0, 3.0], 0.01), 2.0, "no farther than the draws");
        assert_eq!(quantile_of_few(&[2.0, 3.0], 0.99), 3.0);
        assert!(quantile_of_few(&[], 0.5).is_nan() && mean_of(&[]).is_nan());
        assert_eq!((mean_of(&[0.1; 7]), mean_of(&[f64::MAX; 3])), (0.1, f64::MAX));
        assert!(mean_of(&[f64::MAX / 2.0, f64::MAX]) > f64::MAX / 2.0);
        assert_eq!(
            quantile_of_few(&[f64::NEG_INFINITY, f64::NEG_INFINITY], 0.3),
            f64::NEG_INFINITY
        );
    }
}
