//! What is backtested: series, and where the windows lie.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidecast_forecast::accuracy::seasonal_error;

use super::placement::Placement;
use crate::commands::series::Series;

/// Series of one kind, with one horizon.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) name: String,
    /// In the order in which scores are added up.
    pub(super) series: Vec<Series>,
    pub(super) placement: Placement,
    /// Season length in steps, at least 1.
    pub(super) season: usize,
    /// Newest steps handed to the model, at least 1.
    pub(super) context: usize,
    /// Quantile levels.
    pub(super) levels: Vec<f64>,
    /// Scores of other models on the same task, by name.
    pub(super) baselines: BTreeMap<String, Baseline>,
}

/// What another model scored.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    pub(super) wql: f64,
    pub(super) mase: f64,
}

/// One forecast to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// Which series.
    pub(super) series: usize,
    /// The first step that is forecast; everything before is past.
    pub(super) origin: usize,
    /// Mean seasonal difference of the whole past.
    pub(super) seasonal_error: Option<f64>,
}

/// The windows of a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Windows {
    /// Those that are forecast: by series, oldest first.
    pub(super) asked: Vec<Window>,
    /// How many do not fit into their series.
    pub(super) too_early: usize,
    /// How many have a context of which nothing was observed.
    pub(super) blind: usize,
}

impl Task {
    /// Places the windows.
    pub(super) fn windows(&self) -> Windows {
        let mut windows = Windows { asked: Vec::new(), too_early: 0, blind: 0 };
        for (index, series) in self.series.iter().enumerate() {
            windows.too_early += self.placement.left_out(series.values.len());
            for origin in self.placement.origins(series.values.len()) {
                let past = &series.values[..origin];
                if past.iter().rev().take(self.context).any(|value| value.is_finite()) {
                    let seasonal_error = seasonal_error(past, self.season);
                    windows.asked.push(Window { series: index, origin, seasonal_error });
                } else {
                    windows.blind += 1;
                }
            }
        }
        windows
    }

    /// Returns everything before a window.
    pub(super) fn past(&self, window: Window) -> &[f64] {
        &self.series[window.series].values[..window.origin]
    }

    /// Returns what then happened.
    pub(super) fn labels(&self, window: Window) -> &[f64] {
        let values = &self.series[window.series].values;
        &values[window.origin..window.origin + self.placement.horizon]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_without_a_past_or_a_context_are_counted() {
        let nan = f64::NAN;
        let series =
            |name: &str, values: &[f64]| Series { name: name.to_owned(), values: values.to_vec() };
        let task = Task {
            name: "t".to_owned(),
            series: vec![
                series("long", &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
                series("short", &[1.0, 2.0, 3.0]),
                series("quiet", &[1.0, nan, nan, 5.0, 6.0, 7.0]),
            ],
            placement: Placement { horizon: 2, stride: 1, windows: 2 },
            season: 1,
            context: 2,
            levels: vec![0.1, 0.5, 0.9],
            baselines: BTreeMap::new(),
        };
        let windows = task.windows();
        let found: Vec<_> =
            windows.asked.iter().map(|window| (window.series, window.origin)).collect();
        // `short` has one window only; at step 3 of `quiet` nothing was seen of late.
        assert_eq!(found, [(0, 3), (0, 4), (1, 1), (2, 4)]);
        assert_eq!((windows.too_early, windows.blind), (1, 1));
        assert_eq!(windows.asked[0].seasonal_error, Some(1.5), "of the whole past");
        assert_eq!(task.past(windows.asked[0]), [1.0, 2.0, 4.0]);
        assert_eq!(task.labels(windows.asked[0]), [8.0, 16.0]);
        assert_eq!(windows.asked[3].seasonal_error, None);
    }
}
