//! One series' newest steps, and the sum of those before.

use std::collections::VecDeque;

use tidecast_stream::{EventTime, SeriesKey};

use super::contexts::SeriesContext;

/// The steps before a context, summed up: what an imputation by the causal mean
/// over the whole series needs to know of them.
///
/// A missing step counts with the value before it; steps before the first
/// observed one count with that one, wherever it is. So `count` is 0 only if
/// nothing came before, or nothing was ever observed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Prior {
    /// Sum of the forward-filled values, added up from the oldest.
    pub sum: f64,
    /// Their number.
    pub count: u64,
    /// The newest of them; 0 if there is none.
    pub last: f32,
}

/// The newest steps of one series.
pub(super) struct Ring {
    /// In order of first appearance.
    pub(super) serial: u64,
    pub(super) key: SeriesKey,
    /// By target.
    values: Vec<VecDeque<f32>>,
    prior: Vec<RunningPrior>,
    observed: usize,
    pub(super) last_step: i64,
    pub(super) last_time: EventTime,
    /// First instant of the window of the newest step.
    pub(super) last_window: i64,
    /// The newest observed step that the ring has lost.
    lost: Option<i64>,
}

impl Ring {
    pub(super) fn new(key: SeriesKey, serial: u64, targets: usize, step: i64) -> Self {
        Self {
            serial,
            key,
            values: vec![VecDeque::new(); targets],
            prior: vec![RunningPrior::default(); targets],
            observed: 0,
            last_step: step,
            last_time: EventTime::MIN,
            last_window: i64::MIN,
            lost: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(VecDeque::is_empty)
    }

    pub(super) fn clear(&mut self) {
        self.values.iter_mut().for_each(VecDeque::clear);
        self.prior.fill(RunningPrior::default());
        self.observed = 0;
        self.lost = None;
    }

    /// Returns the step from which records must be read again to get this ring.
    /// Where it begins with missing steps, these are known to be missing only
    /// from the observed step before them.
    pub(super) fn rebuilt_from(&self, context: i64) -> i64 {
        let steps = self.values.first().map_or(0, VecDeque::len).saturating_sub(1) as i64;
        let first = self.last_step.saturating_sub(steps);
        let begins = |ring: &VecDeque<f32>| ring.front().is_some_and(|value| !value.is_nan());
        match self.lost {
            Some(lost)
                if first.saturating_sub(lost) <= context && !self.values.iter().any(begins) =>
            {
                lost
            }
            _ => first,
        }
    }

    pub(super) fn push(&mut self, step: i64, values: &[f32], context: usize) {
        let mut evicted_observed = false;
        for ((ring, prior), value) in self.values.iter_mut().zip(&mut self.prior).zip(values) {
            if ring.len() == context
                && let Some(evicted) = ring.pop_front()
            {
                prior.push(evicted);
                evicted_observed |= !evicted.is_nan();
            }
            ring.push_back(*value);
        }
        if evicted_observed {
            self.observed -= 1;
            self.lost = Some(step.saturating_sub(context as i64));
        }
        self.observed += usize::from(values.iter().any(|value| !value.is_nan()));
        self.last_step = step;
    }

    pub(super) fn context(&self) -> SeriesContext {
        let prior = self.prior.iter().zip(&self.values).map(|(prior, values)| {
            prior.resolve(values.iter().copied().find(|value| !value.is_nan()))
        });
        SeriesContext {
            key: self.key.clone(),
            origin: self.last_time,
            values: self.values.iter().map(|ring| ring.iter().copied().collect()).collect(),
            observed: self.observed,
            prior: prior.collect(),
        }
    }
}

/// [`Prior`] while the first observed value may still be to come.
#[derive(Debug, Clone, Copy, Default)]
struct RunningPrior {
    known: Prior,
    /// Missing steps before anything was observed.
    leading: u64,
}

impl RunningPrior {
    fn push(&mut self, value: f32) {
        let nothing_yet = self.known.count == 0;
        if value.is_nan() && nothing_yet {
            self.leading += 1;
            return;
        }
        if nothing_yet {
            *self = Self { known: self.resolve(Some(value)), leading: 0 };
        }
        let filled = if value.is_nan() { self.known.last } else { value };
        self.known.sum += f64::from(filled);
        self.known.count += 1;
        self.known.last = filled;
    }

    /// Returns the sums, leading steps counted with the first observed value.
    fn resolve(&self, first_observed: Option<f32>) -> Prior {
        match first_observed {
            Some(first) if self.known.count == 0 && self.leading > 0 => Prior {
                // Exact: 24 bits of value times fewer than 2^29 steps.
                sum: f64::from(first) * self.leading as f64,
                count: self.leading,
                last: first,
            },
            _ => self.known,
        }
    }
}
