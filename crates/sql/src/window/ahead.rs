//! What is known of the steps behind an origin.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tidecast_stream::EventTime;

use super::columns::{FutureBySeries, ViewColumns};
use super::output::WindowError;

/// A window that is still open, as if it closed now.
#[derive(Debug, Clone)]
pub struct AheadWindow {
    /// Its first instant.
    pub start: EventTime,
    /// The view's rows, groups in order of first appearance.
    pub rows: RecordBatch,
}

/// Future covariates in the windows ahead, each window read once as long as
/// nothing new comes into it.
#[derive(Debug, Default)]
pub(super) struct KnownAhead {
    /// By the window's first instant.
    windows: BTreeMap<i64, Known>,
}

#[derive(Debug)]
struct Known {
    window: Arc<AheadWindow>,
    series: FutureBySeries,
}

impl KnownAhead {
    /// Takes the windows ahead as they are now; others are let go.
    pub(super) fn update(
        &mut self,
        ahead: &[Arc<AheadWindow>],
        columns: &ViewColumns,
    ) -> Result<(), WindowError> {
        let mut before = std::mem::take(&mut self.windows);
        for window in ahead {
            let start = window.start.as_micros();
            let known = match before.remove(&start) {
                Some(known) if Arc::ptr_eq(&known.window, window) => known,
                _ => {
                    let window = Arc::clone(window);
                    Known { series: columns.future_by_series(&window.rows)?, window }
                }
            };
            self.windows.insert(start, known);
        }
        Ok(())
    }

    /// Returns what is known of a series: time of the step and future covariates.
    pub(super) fn of_series<'a>(
        &'a self,
        key: &'a [u8],
    ) -> impl Iterator<Item = (i64, &'a [f64])> + 'a {
        let known = self.windows.values().filter_map(|known| known.series.get(key));
        known.map(|(time, values)| (*time, values.as_slice()))
    }
}
