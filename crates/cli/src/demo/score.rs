//! Running scores of one series: forecasts against what then happened.

use std::collections::BTreeMap;

use tidecast_stream::EventTime;

use crate::screen::StepForecast;

/// Scores over all pairs of a forecast step and its actual value.
///
/// - **MASE** (Hyndman and Koehler 2006) is the mean absolute error of the
///   median, over the mean of |x(t) − x(t − season)| of all actual values seen so
///   far. Below 1 the median beats repeating the same hour of the day before.
///   The scale is that of the moment of asking, so the score does not depend on
///   the order in which forecasts and values came.
/// - **Coverage** is the share of actual values within the 80 % band; 0.8 would be
///   perfect.
///
/// Steps whose actual value never comes are not counted.
#[derive(Debug, Clone)]
pub struct SeriesScore {
    step_micros: i64,
    season: i64,
    actuals: BTreeMap<EventTime, f64>,
    pending: BTreeMap<EventTime, Vec<StepForecast>>,
    last_origin: Option<EventTime>,
    forecasts: u64,
    scored: u64,
    covered: u64,
    absolute_error: f64,
    seasonal_pairs: u64,
    seasonal_error: f64,
}

impl SeriesScore {
    /// Returns a score without any forecasts; steps lie `step_micros` apart and
    /// `season` of them are a season.
    pub fn new(step_micros: i64, season: i64) -> Self {
        Self {
            step_micros,
            season,
            actuals: BTreeMap::new(),
            pending: BTreeMap::new(),
            last_origin: None,
            forecasts: 0,
            scored: 0,
            covered: 0,
            absolute_error: 0.0,
            seasonal_pairs: 0,
            seasonal_error: 0.0,
        }
    }

    /// Takes in what happened at `time`; a second value for the same time and
    /// values that are not finite are left out.
    pub fn observe(&mut self, time: EventTime, value: f64) {
        if !value.is_finite() || self.actuals.contains_key(&time) {
            return;
        }
        self.actuals.insert(time, value);
        let season_micros = self.season.saturating_mul(self.step_micros);
        for neighbour in [time.plus_micros(-season_micros), time.plus_micros(season_micros)] {
            if let Some(other) = self.actuals.get(&neighbour) {
                self.seasonal_pairs += 1;
                self.seasonal_error += (value - other).abs();
            }
        }
        for step in self.pending.remove(&time).unwrap_or_default() {
            self.score(step, value);
        }
    }

    /// Takes in a forecast made at `origin`, step 1 first. One with an origin no
    /// newer than the last is a repeat, and left out; returns whether it counted.
    pub fn forecast(&mut self, origin: EventTime, steps: &[StepForecast]) -> bool {
        if self.last_origin.is_some_and(|last| origin <= last) {
            return false;
        }
        self.last_origin = Some(origin);
        self.forecasts += 1;
        let mut time = origin;
        for step in steps {
            time = time.plus_micros(self.step_micros);
            match self.actuals.get(&time).copied() {
                Some(actual) => self.score(*step, actual),
                None => self.pending.entry(time).or_default().push(*step),
            }
        }
        true
    }

    /// Returns how many forecasts came.
    pub fn forecasts(&self) -> u64 {
        self.forecasts
    }

    /// Returns the mean absolute scaled error, once there is something to score
    /// and a full season has gone by.
    pub fn mase(&self) -> Option<f64> {
        if self.scored == 0 || self.seasonal_pairs == 0 || self.seasonal_error <= 0.0 {
            return None;
        }
        let scale = self.seasonal_error / self.seasonal_pairs as f64;
        Some(self.absolute_error / self.scored as f64 / scale)
    }

    /// Returns the share of actual values within the 80 % band.
    pub fn coverage(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.covered as f64 / self.scored as f64)
    }

    fn score(&mut self, step: StepForecast, actual: f64) {
        self.scored += 1;
        self.absolute_error += (actual - step.median).abs();
        self.covered += u64::from(step.lower <= actual && actual <= step.upper);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const SEASON: i64 = 4;

    fn at(step: usize) -> EventTime {
        EventTime::from_micros(step as i64 * HOUR)
    }

    /// Some forecast, different at each origin and step.
    fn forecast_at(origin: usize, step: usize) -> StepForecast {
        let median = ((origin * 7 + step * 3) % 11) as f64;
        StepForecast { median, lower: median - 2.0, upper: median + 3.0 }
    }

    /// The definition, over everything at once.
    fn naive(values: &[f64], origins: &[usize], horizon: usize) -> (Option<f64>, Option<f64>) {
        let mut errors = Vec::new();
        let mut covered = 0;
        for &origin in origins {
            for step in 1..=horizon {
                let forecast = forecast_at(origin, step);
                if let Some(actual) = values.get(origin + step) {
                    errors.push((actual - forecast.median).abs());
                    covered += usize::from((forecast.lower..=forecast.upper).contains(actual));
                }
            }
        }
        let season = SEASON as usize;
        let seasonal: Vec<f64> =
            (season..values.len()).map(|t| (values[t] - values[t - season]).abs()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let coverage = (!errors.is_empty()).then(|| covered as f64 / errors.len() as f64);
        let scale = mean(&seasonal);
        let mase = (!errors.is_empty() && scale > 0.0).then(|| mean(&errors) / scale);
        (mase, coverage)
    }

    proptest! {
        /// Forecasts may come before, between and after the values they are about.
        #[test]
        fn equals_the_definition_in_whatever_order_things_come(
            values in prop::collection::vec(0.0..12.0, 0..40),
            horizon in 1_usize..6,
            delay in 0_usize..10,
        ) {
            let mut score = SeriesScore::new(HOUR, SEASON);
            let origins: Vec<usize> = (0..values.len()).step_by(2).collect();
            let send = |score: &mut SeriesScore, origin: usize| {
                let steps: Vec<_> = (1..=horizon).map(|step| forecast_at(origin, step)).collect();
                assert!(score.forecast(at(origin), &steps));
                assert!(!score.forecast(at(origin), &steps), "a repeat does not count");
            };
            for (t, value) in values.iter().enumerate() {
                score.observe(at(t), *value);
                score.observe(at(t), *value + 1.0);
                if let Some(origin) = t.checked_sub(delay).filter(|origin| origin % 2 == 0) {
                    send(&mut score, origin);
                }
            }
            for &origin in origins.iter().filter(|origin| **origin + delay >= values.len()) {
                send(&mut score, origin);
            }
            let (mase, coverage) = naive(&values, &origins, horizon);
            prop_assert_eq!(score.forecasts(), origins.len() as u64);
            prop_assert_eq!(score.coverage(), coverage);
            match (score.mase(), mase) {
                (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-9),
                (found, expected) => prop_assert_eq!(found, expected),
            }
        }
    }
}
