//! One series' newest steps, and the sum of those before.

use std::collections::VecDeque;
use std::sync::Arc;

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
    pub last: f64,
}

/// One step of a series.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its time divided by the step length.
    pub(super) number: i64,
    pub(super) time: EventTime,
    /// First instant of its window.
    pub(super) window: i64,
    /// Targets, past covariates, future covariates; NaN where missing.
    pub(super) values: Vec<f64>,
}

/// The newest steps of one series.
#[derive(Clone)]
pub(super) struct Ring {
    /// In order of first appearance.
    pub(super) serial: u64,
    /// As JSON: a tenth of the memory that [`SeriesKey`] takes.
    pub(super) key: Arc<str>,
    /// Targets, past covariates, future covariates.
    columns: Vec<VecDeque<f64>>,
    /// By target.
    prior: Vec<RunningPrior>,
    /// Steps at which some target was observed.
    observed: usize,
    pub(super) last_step: i64,
    pub(super) last_time: EventTime,
    /// First instant of the window of the newest step.
    pub(super) last_window: i64,
    /// The newest step, of those the ring has lost, for which a row came with a value.
    lost: Option<i64>,
    /// Steps without an observed target behind the newest step with one, where
    /// these may turn out to be ahead of the origin.
    held_back: Vec<Step>,
}

/// A ring's state, for snapshots.
#[derive(Debug, Clone)]
pub(super) struct RingParts {
    pub(super) serial: u64,
    /// As JSON.
    pub(super) key: Arc<str>,
    /// Targets and past covariates, or all of them end to end.
    pub(super) columns: Vec<Vec<f64>>,
    pub(super) prior: Vec<RunningPrior>,
    pub(super) observed: usize,
    pub(super) last_step: i64,
    /// In microseconds.
    pub(super) last_time: i64,
    pub(super) last_window: i64,
    pub(super) lost: Option<i64>,
}

impl Ring {
    /// Returns the state; of rings that hold nothing back.
    pub(super) fn parts(&self) -> RingParts {
        RingParts {
            serial: self.serial,
            key: Arc::clone(&self.key),
            columns: self.columns.iter().map(|ring| ring.iter().copied().collect()).collect(),
            prior: self.prior.clone(),
            observed: self.observed,
            last_step: self.last_step,
            last_time: self.last_time.as_micros(),
            last_window: self.last_window,
            lost: self.lost,
        }
    }

    /// Returns a ring with the parts' state but for its columns, which lie end to
    /// end in the first one; [`split`](Self::split) cuts them.
    pub(super) fn from_parts(parts: RingParts) -> Option<Self> {
        let columns = parts.columns.into_iter().next()?;
        Some(Self {
            serial: parts.serial,
            key: parts.key,
            columns: vec![columns.into()],
            prior: parts.prior,
            observed: parts.observed,
            last_step: parts.last_step,
            last_time: EventTime::from_micros(parts.last_time),
            last_window: parts.last_window,
            lost: parts.lost,
            held_back: Vec::new(),
        })
    }

    /// Cuts columns that lie end to end; `None` if they are not of this shape.
    pub(super) fn split(mut self, shape: &Shape) -> Option<Self> {
        let count = shape.targets + shape.past_covariates + shape.future_covariates;
        let all: Vec<f64> = self.columns.pop()?.into();
        let fits = all.len().is_multiple_of(count) && all.len() / count <= shape.context;
        if !fits || self.prior.len() != shape.targets {
            return None;
        }
        let steps = all.len() / count;
        self.columns = match steps {
            0 => vec![VecDeque::new(); count],
            _ => all.chunks_exact(steps).map(|column| column.iter().copied().collect()).collect(),
        };
        Some(self)
    }

    pub(super) fn new(key: Arc<str>, serial: u64, shape: &Shape, first: &Step) -> Self {
        let columns = shape.targets + shape.past_covariates + shape.future_covariates;
        Self {
            serial,
            key,
            columns: vec![VecDeque::new(); columns],
            prior: vec![RunningPrior::default(); shape.targets],
            observed: 0,
            last_step: first.number,
            last_time: EventTime::MIN,
            last_window: first.window,
            lost: None,
            held_back: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.iter().all(VecDeque::is_empty)
    }

    /// Returns number and time of the newest step, held back or not; `None` before
    /// the first.
    pub(super) fn newest(&self) -> Option<(i64, EventTime)> {
        match self.held_back.last() {
            Some(step) => Some((step.number, step.time)),
            None => (!self.is_empty()).then_some((self.last_step, self.last_time)),
        }
    }

    /// Keeps a step apart until a target is observed behind it.
    pub(super) fn hold_back(&mut self, step: Step) {
        self.held_back.push(step);
    }

    /// Takes in what was held back; returns the number of missing steps between.
    pub(super) fn release(&mut self, shape: &Shape) -> usize {
        let held_back = std::mem::take(&mut self.held_back);
        held_back.into_iter().map(|step| self.append(step, shape)).sum()
    }

    /// Adds a step behind the newest one, the missing ones between them first;
    /// returns their number.
    pub(super) fn append(&mut self, step: Step, shape: &Shape) -> usize {
        let mut gaps = 0;
        if !self.is_empty() {
            let mut first_missing = self.last_step + 1;
            if step.number.saturating_sub(self.last_step) > shape.context as i64 {
                self.clear();
                first_missing = match shape.fills_long_gaps {
                    true => step.number.saturating_sub(shape.context as i64 - 1),
                    false => step.number,
                };
            }
            let gap = shape.gap();
            for missing in first_missing..step.number {
                self.push(missing, &gap, shape.context);
                gaps += 1;
            }
        }
        self.push(step.number, &step.values, shape.context);
        self.last_time = step.time;
        self.last_window = step.window;
        gaps
    }

    fn clear(&mut self) {
        self.columns.iter_mut().for_each(VecDeque::clear);
        self.prior.fill(RunningPrior::default());
        self.observed = 0;
        self.lost = None;
    }

    /// Returns the step from which records must be read again to get this ring.
    /// Where it begins with missing steps, these are known to be missing only
    /// from the observed step before them.
    pub(super) fn rebuilt_from(&self, context: i64) -> i64 {
        let steps = self.columns.first().map_or(0, VecDeque::len).saturating_sub(1) as i64;
        let first = self.last_step.saturating_sub(steps);
        let begins = |ring: &VecDeque<f64>| ring.front().is_some_and(is_of_row);
        match self.lost {
            Some(lost)
                if first.saturating_sub(lost) <= context && !self.columns.iter().any(begins) =>
            {
                lost
            }
            _ => first,
        }
    }

    fn push(&mut self, step: i64, values: &[f64], context: usize) {
        let targets = self.prior.len();
        let is_observed = |values: &[f64]| values.iter().any(|value| !value.is_nan());
        if self.columns.first().is_some_and(|ring| ring.len() == context) {
            let evicted: Vec<f64> =
                self.columns.iter_mut().filter_map(VecDeque::pop_front).collect();
            self.prior.iter_mut().zip(&evicted).for_each(|(prior, value)| prior.push(*value));
            self.observed -= usize::from(evicted.get(..targets).is_some_and(is_observed));
            if evicted.iter().any(is_of_row) {
                self.lost = Some(step.saturating_sub(context as i64));
            }
        }
        self.columns.iter_mut().zip(values).for_each(|(ring, value)| ring.push_back(*value));
        self.observed += usize::from(values.get(..targets).is_some_and(is_observed));
        self.last_step = step;
    }

    /// Returns what names the series.
    pub(super) fn series(&self) -> SeriesKey {
        // It was written as JSON by us.
        serde_json::from_str(&self.key).unwrap_or_default()
    }

    /// Returns the context; `ahead` holds numbers of steps and what the future
    /// covariates are there.
    pub(super) fn context<'a>(
        &self,
        shape: &Shape,
        ahead: impl Iterator<Item = (i64, &'a [f64])>,
    ) -> SeriesContext {
        let prior = self.prior.iter().zip(&self.columns).map(|(prior, values)| {
            prior.resolve(values.iter().copied().find(|value| !value.is_nan()))
        });
        let prior = prior.collect();
        let mut columns = self.columns.iter().map(|ring| {
            let mut values = Vec::with_capacity(ring.len() + shape.horizon);
            values.extend(ring);
            values
        });
        let values = columns.by_ref().take(shape.targets).collect();
        let past_covariates = columns.by_ref().take(shape.past_covariates).collect();
        let mut future_covariates: Vec<Vec<f64>> = columns.collect();
        let steps = self.columns.first().map_or(0, VecDeque::len);
        for covariate in &mut future_covariates {
            covariate.resize(steps + shape.horizon, f64::NAN);
        }
        for (number, values) in ahead {
            let behind = usize::try_from(number.saturating_sub(self.last_step)).unwrap_or(0);
            let Some(place) = behind.checked_sub(1).map(|behind| steps + behind) else { continue };
            for (covariate, value) in future_covariates.iter_mut().zip(values) {
                if let Some(place) = covariate.get_mut(place) {
                    *place = *value;
                }
            }
        }
        SeriesContext {
            key: self.series(),
            origin: self.last_time,
            values,
            past_covariates,
            future_covariates,
            observed: self.observed,
            prior,
        }
    }

    /// Returns the context up to the newest observed target, what was held back
    /// being ahead of it.
    pub(super) fn final_context(&mut self, shape: &Shape) -> SeriesContext {
        if self.is_empty() {
            // No target was ever observed, so there is nothing to be ahead of.
            self.release(shape);
        }
        let first = shape.targets + shape.past_covariates;
        let ahead = self.held_back.iter();
        let ahead = ahead.map(|step| (step.number, step.values.get(first..).unwrap_or_default()));
        self.context(shape, ahead)
    }
}

/// How long contexts are, how many columns they have, and what a missing step is.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) context: usize,
    pub(super) horizon: usize,
    pub(super) targets: usize,
    pub(super) past_covariates: usize,
    pub(super) future_covariates: usize,
    /// Which targets are 0 in a step without a row, by target.
    pub(super) zero_filled: Vec<bool>,
    /// Whether that holds of more steps than a context has, too: not on a stream, where
    /// a series that was silent for so long is forgotten.
    pub(super) fills_long_gaps: bool,
}

impl Shape {
    /// Returns the values of a step without a row. A zero is written as -0, which no
    /// row has, so that a ring knows from which of its steps on records make it.
    fn gap(&self) -> Vec<f64> {
        let columns = self.targets + self.past_covariates + self.future_covariates;
        let is_zero = |column: usize| self.zero_filled.get(column) == Some(&true);
        (0..columns).map(|column| if is_zero(column) { -0.0 } else { f64::NAN }).collect()
    }
}

/// Whether a value came with a row: it is neither missing nor a step's zero.
fn is_of_row(value: &f64) -> bool {
    let is_step_of_none = *value == 0.0 && value.is_sign_negative();
    !(value.is_nan() || is_step_of_none)
}

/// [`Prior`] while the first observed value may still be to come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunningPrior {
    pub(super) known: Prior,
    /// Missing steps before anything was observed.
    pub(super) leading: u64,
}

impl RunningPrior {
    fn push(&mut self, value: f64) {
        let nothing_yet = self.known.count == 0;
        if value.is_nan() && nothing_yet {
            self.leading += 1;
            return;
        }
        if nothing_yet {
            *self = Self { known: self.resolve(Some(value)), leading: 0 };
        }
        let filled = if value.is_nan() { self.known.last } else { value };
        self.known.sum += filled;
        self.known.count += 1;
        self.known.last = filled;
    }

    /// Returns the sums, leading steps counted with the first observed value.
    fn resolve(&self, first_observed: Option<f64>) -> Prior {
        match first_observed {
            Some(first) if self.known.count == 0 && self.leading > 0 => {
                Prior { sum: first * self.leading as f64, count: self.leading, last: first }
            }
            _ => self.known,
        }
    }
}
