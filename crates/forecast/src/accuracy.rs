//! How good forecasts were: WQL, MASE and coverage against what happened.
//!
//! All sums are f64 and run over every window, series and step together, as in
//! the GIFT-Eval and Chronos benchmarks: a long series weighs more than a short
//! one, and in WQL a large one more than a small one.
//!
//! ```
//! use tidecast_forecast::accuracy::{Accuracy, Yardstick, seasonal_error};
//!
//! let (past, labels) = ([1.0, 4.0, 2.0, 5.0], [3.0, 6.0]);
//! let levels = [0.1, 0.5, 0.9];
//! let mut accuracy = Accuracy::new(&levels)?;
//! let quantiles = Yardstick { season: 2 }.quantiles(&past, labels.len(), &levels);
//! accuracy.add(&labels, &quantiles, seasonal_error(&past, 2))?;
//! assert_eq!(accuracy.mase(), Some(1.0));
//! # Ok::<(), tidecast_forecast::accuracy::AccuracyError>(())
//! ```

use crate::normal::normal_quantile;
use crate::squares::root_mean_square;

/// Scores of forecasts, gathered window by window.
///
/// With labels *y*, forecast quantiles *ŷ(q)* at levels *q*, and the seasonal
/// error *s* of the past of each window ([`seasonal_error`]):
///
/// | score | formula | unit |
/// |-------|---------|------|
/// | [`wql`](Self::wql) | mean over q of 2 Σ ρ(q, y − ŷ(q)) / Σ \|y\| | none |
/// | [`mase`](Self::mase) | mean of \|y − ŷ(0.5)\| / s | none |
/// | [`coverage`](Self::coverage) | share of y in [ŷ(lowest q), ŷ(highest q)] | none |
///
/// ρ(q, d) is the pinball loss, q d for d ≥ 0 and (q − 1) d below. WQL is
/// `MeanWeightedSumQuantileLoss` of GluonTS; MASE is of Hyndman and Koehler
/// (2006, "Another look at measures of forecast accuracy"), with the seasonal
/// naive error as its scale. A label that is NaN or infinite is left out of all
/// three. A window whose seasonal error is zero or undefined is left out of MASE
/// only, and counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    levels: Vec<f64>,
    median: usize,
    lowest: usize,
    highest: usize,
    /// Twice the sum of the pinball losses, by level.
    pinball: Vec<f64>,
    absolute: f64,
    scaled_error: f64,
    scaled_labels: u64,
    windows: u64,
    unscaled_windows: u64,
    labels: u64,
    covered: u64,
}

/// Why forecasts cannot be scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AccuracyError {
    /// The median is not among the levels.
    #[error("quantile level `0.5` is not among {levels:?}: MASE is about the median")]
    NoMedian {
        /// The levels.
        levels: Vec<f64>,
    },
    /// There is nothing to cover.
    #[error("quantile levels {levels:?}: the band needs one below `0.5` and one above it")]
    NoBand {
        /// The levels.
        levels: Vec<f64>,
    },
    /// A level is not inside (0, 1).
    #[error("quantile level `{level}` is outside (0, 1)")]
    LevelOutOfRange {
        /// The level.
        level: f64,
    },
    /// A forecast does not fit the labels.
    #[error("`{found}` {what} in a forecast: `{expected}` expected")]
    Shape {
        /// `levels` or `steps`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A forecast is NaN or infinite.
    #[error("quantile `{level}` of step `{step}` is not finite: a forecast has to be a number")]
    NotFinite {
        /// The level.
        level: f64,
        /// The step, from 0.
        step: usize,
    },
}

impl Accuracy {
    /// Returns scores of no window yet.
    ///
    /// # Errors
    /// If the levels lack 0.5, one below it or one above it, or leave (0, 1).
    pub fn new(levels: &[f64]) -> Result<Self, AccuracyError> {
        if let Some(&level) = levels.iter().find(|level| !(**level > 0.0 && **level < 1.0)) {
            return Err(AccuracyError::LevelOutOfRange { level });
        }
        let median = levels.iter().position(|level| (level - 0.5).abs() < 1e-9);
        let median = median.ok_or_else(|| AccuracyError::NoMedian { levels: levels.to_vec() })?;
        let by_level = |a: &usize, b: &usize| levels[*a].total_cmp(&levels[*b]);
        let lowest = (0..levels.len()).min_by(by_level).unwrap_or(median);
        let highest = (0..levels.len()).max_by(by_level).unwrap_or(median);
        if levels[lowest] >= levels[median] || levels[highest] <= levels[median] {
            return Err(AccuracyError::NoBand { levels: levels.to_vec() });
        }
        Ok(Self {
            levels: levels.to_vec(),
            median,
            lowest,
            highest,
            pinball: vec![0.0; levels.len()],
            absolute: 0.0,
            scaled_error: 0.0,
            scaled_labels: 0,
            windows: 0,
            unscaled_windows: 0,
            labels: 0,
            covered: 0,
        })
    }

    /// Takes in one window: its labels, the forecast `[level][step]`, and the
    /// [`seasonal_error`] of everything before it.
    ///
    /// # Errors
    /// If the forecast has another shape or is not finite where there is a label;
    /// then nothing was taken in.
    pub fn add(
        &mut self,
        labels: &[f64],
        quantiles: &[Vec<f64>],
        seasonal_error: Option<f64>,
    ) -> Result<(), AccuracyError> {
        self.check(labels, quantiles)?;
        let scale = seasonal_error.filter(|scale| *scale > 0.0);
        self.windows += 1;
        self.unscaled_windows += u64::from(scale.is_none());
        let observed = labels.iter().enumerate().filter(|(_, label)| label.is_finite());
        for (step, label) in observed {
            let label = *label;
            let value = |level: usize| quantiles[level][step];
            for (level, (sum, q)) in self.pinball.iter_mut().zip(&self.levels).enumerate() {
                *sum += 2.0 * pinball(*q, label - value(level));
            }
            self.absolute += label.abs();
            self.labels += 1;
            self.covered += u64::from(value(self.lowest) <= label && label <= value(self.highest));
            if let Some(scale) = scale {
                self.scaled_error += (label - value(self.median)).abs() / scale;
                self.scaled_labels += 1;
            }
        }
        Ok(())
    }

    fn check(&self, labels: &[f64], quantiles: &[Vec<f64>]) -> Result<(), AccuracyError> {
        let shape = |what, found, expected| AccuracyError::Shape { what, found, expected };
        if quantiles.len() != self.levels.len() {
            return Err(shape("levels", quantiles.len(), self.levels.len()));
        }
        for (steps, &level) in quantiles.iter().zip(&self.levels) {
            if steps.len() != labels.len() {
                return Err(shape("steps", steps.len(), labels.len()));
            }
            let mut pairs = steps.iter().zip(labels);
            if let Some(step) =
                pairs.position(|(value, label)| label.is_finite() && !value.is_finite())
            {
                return Err(AccuracyError::NotFinite { level, step });
            }
        }
        Ok(())
    }

    /// Takes in the windows of `other`, whose levels are the same.
    ///
    /// # Errors
    /// If it has other levels.
    pub fn merge(&mut self, other: &Self) -> Result<(), AccuracyError> {
        if self.levels != other.levels {
            let (found, expected) = (other.levels.len(), self.levels.len());
            return Err(AccuracyError::Shape { what: "levels", found, expected });
        }
        self.pinball.iter_mut().zip(&other.pinball).for_each(|(sum, other)| *sum += other);
        self.absolute += other.absolute;
        self.scaled_error += other.scaled_error;
        self.scaled_labels += other.scaled_labels;
        self.windows += other.windows;
        self.unscaled_windows += other.unscaled_windows;
        self.labels += other.labels;
        self.covered += other.covered;
        Ok(())
    }

    /// Returns the weighted quantile loss; `None` if all labels are zero or missing.
    pub fn wql(&self) -> Option<f64> {
        let of_level = self.pinball.iter().map(|sum| sum / self.absolute);
        let mean = of_level.sum::<f64>() / self.levels.len() as f64;
        (self.absolute > 0.0).then_some(mean)
    }

    /// Returns the mean absolute scaled error; `None` if no window could be scaled.
    pub fn mase(&self) -> Option<f64> {
        (self.scaled_labels > 0).then(|| self.scaled_error / self.scaled_labels as f64)
    }

    /// Returns the share of labels inside the band of the outermost levels;
    /// `None` without labels. [`band`](Self::band) would be perfect.
    pub fn coverage(&self) -> Option<f64> {
        (self.labels > 0).then(|| self.covered as f64 / self.labels as f64)
    }

    /// Returns the share that the band of the outermost levels should cover.
    pub fn band(&self) -> f64 {
        self.levels[self.highest] - self.levels[self.lowest]
    }

    /// Returns the windows taken in.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Returns those of them that are left out of MASE.
    pub fn unscaled_windows(&self) -> u64 {
        self.unscaled_windows
    }

    /// Returns the labels that were observed.
    pub fn labels(&self) -> u64 {
        self.labels
    }
}

fn pinball(level: f64, difference: f64) -> f64 {
    if difference >= 0.0 { level * difference } else { (level - 1.0) * difference }
}

/// Returns the mean of |x(t) − x(t − season)| over the whole past, in units of
/// the series; pairs with a missing end are left out. `None` without any pair.
pub fn seasonal_error(past: &[f64], season: usize) -> Option<f64> {
    let pairs = past.iter().zip(past.iter().skip(season));
    let (mut sum, mut count) = (0.0, 0_u64);
    for (before, after) in pairs.filter(|(a, b)| a.is_finite() && b.is_finite()) {
        sum += (after - before).abs();
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

/// The forecast that others are measured by: the season before, repeated, with
/// normal errors, as the benchmarks compute it.
///
/// The past is forward-filled first: a missing step repeats the last observed
/// value, steps before the first observed one repeat that. For season m the
/// median of step i (from 0) is the filled value at position i mod m of the last
/// season; sigma is the root mean square of all seasonal differences of the
/// filled past, and the spread of step i is sigma √(⌊i / m⌋ + 1). A past no
/// longer than a season has season 1.
///
/// The provider `seasonal-naive` is the same where nothing is missing. It is
/// kinder to gaps: a missing step takes the value of its own place in the season
/// before, and differences with a filled end do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yardstick {
    /// Season length in steps, at least 1.
    pub season: usize,
}

impl Yardstick {
    /// Returns the quantiles `[level][step]`. Of a past of which nothing was
    /// observed they are all zero.
    pub fn quantiles(&self, past: &[f64], horizon: usize, levels: &[f64]) -> Vec<Vec<f64>> {
        let filled = forward_filled(past);
        let season = if filled.len() > self.season { self.season.max(1) } else { 1 };
        let start = filled.len().saturating_sub(season);
        let last_season = filled.get(start..).filter(|steps| !steps.is_empty()).unwrap_or(&[0.0]);
        let differences = filled.iter().zip(filled.iter().skip(season));
        let sigma = root_mean_square(differences.map(|(before, after)| after - before));
        let spread = |step: usize| sigma * ((step / season + 1) as f64).sqrt();
        let of_level = |&level: &f64| {
            let z = normal_quantile(level);
            let value = |step: usize| last_season[step % last_season.len()] + z * spread(step);
            (0..horizon).map(value).collect()
        };
        levels.iter().map(of_level).collect()
    }
}

fn forward_filled(past: &[f64]) -> Vec<f64> {
    let mut last = past.iter().copied().find(|value| value.is_finite()).unwrap_or(0.0);
    let mut fill = |&value: &f64| {
        if value.is_finite() {
            last = value;
        }
        last
    };
    past.iter().map(&mut fill).collect()
}

/// Returns the geometric mean: how a suite's ratios to the yardstick become one
/// number. `None` of nothing, or if a value is not above zero.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let are_positive = values.iter().all(|value| *value > 0.0 && value.is_finite());
    let mean_log = values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64;
    (are_positive && !values.is_empty()).then(|| mean_log.exp())
}

#[cfg(test)]
mod tests;
