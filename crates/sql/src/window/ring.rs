//! One series' newest steps, and the sum of those before.

use tidecast_stream::{EventTime, SeriesKey};

use super::contexts::SeriesContext;
use super::packed::PackedRing;

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
    /// What the series columns hold, in a form that can be compared. The [`SeriesKey`] is
    /// made of it, or of a row, where one is wanted.
    pub(super) key: Box<[u8]>,
    /// Targets, past covariates, future covariates.
    columns: Box<[Column]>,
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
    #[expect(clippy::box_collection, reason = "there seldom are any, and rings are many")]
    held_back: Option<Box<Vec<Step>>>,
}

/// The newest values of one target or covariate.
#[derive(Debug, Clone, Default)]
struct Column {
    values: PackedRing,
    /// What came before; of targets alone.
    prior: RunningPrior,
}

/// There may be millions of both: docs/memory.md says what a series takes.
const _: () = assert!(size_of::<Ring>() <= 96 && size_of::<Column>() <= 72);

/// A ring's state, for snapshots.
#[derive(Debug, Clone)]
pub(super) struct RingParts {
    pub(super) serial: u64,
    /// Targets, past covariates, future covariates, end to end.
    pub(super) values: Vec<f64>,
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
    pub(super) fn parts(&self, shape: &Shape) -> RingParts {
        let mut values = Vec::with_capacity(self.columns.len() * self.steps());
        self.columns.iter().for_each(|column| column.values.append_to(&mut values));
        RingParts {
            serial: self.serial,
            values,
            prior: self.targets(shape).iter().map(|column| column.prior).collect(),
            observed: self.observed,
            last_step: self.last_step,
            last_time: self.last_time.as_micros(),
            last_window: self.last_window,
            lost: self.lost,
        }
    }

    /// Returns a ring of these parts; `None` if they are not of this shape.
    pub(super) fn from_parts(key: Box<[u8]>, parts: RingParts, shape: &Shape) -> Option<Self> {
        let values = &parts.values;
        let count = shape.columns();
        let steps = values.len() / count;
        let fits = values.len().is_multiple_of(count) && steps <= shape.context;
        if !fits || parts.prior.len() != shape.targets {
            return None;
        }
        let mut columns = vec![Column::default(); count].into_boxed_slice();
        for (column, values) in columns.iter_mut().zip(values.chunks_exact(steps.max(1))) {
            column.values = PackedRing::of(values);
        }
        columns.iter_mut().zip(parts.prior).for_each(|(column, prior)| column.prior = prior);
        Some(Self {
            serial: parts.serial,
            key,
            columns,
            observed: parts.observed,
            last_step: parts.last_step,
            last_time: EventTime::from_micros(parts.last_time),
            last_window: parts.last_window,
            lost: parts.lost,
            held_back: None,
        })
    }

    pub(super) fn new(key: Box<[u8]>, serial: u64, shape: &Shape, first: &Step) -> Self {
        Self {
            serial,
            key,
            columns: vec![Column::default(); shape.columns()].into(),
            observed: 0,
            last_step: first.number,
            last_time: EventTime::MIN,
            last_window: first.window,
            lost: None,
            held_back: None,
        }
    }

    /// Returns how many steps there are.
    fn steps(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps() == 0
    }

    fn targets(&self, shape: &Shape) -> &[Column] {
        self.columns.get(..shape.targets).unwrap_or_default()
    }

    /// Returns number and time of the newest step, held back or not; `None` before
    /// the first.
    pub(super) fn newest(&self) -> Option<(i64, EventTime)> {
        match self.held_back.as_ref().and_then(|steps| steps.last()) {
            Some(step) => Some((step.number, step.time)),
            None => (!self.is_empty()).then_some((self.last_step, self.last_time)),
        }
    }

    /// Keeps a step apart until a target is observed behind it.
    pub(super) fn hold_back(&mut self, step: Step) {
        self.held_back.get_or_insert_default().push(step);
    }

    /// Takes in what was held back; returns the number of missing steps between.
    pub(super) fn release(&mut self, shape: &Shape) -> usize {
        let held_back = self.held_back.take().map_or(Vec::new(), |steps| *steps);
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
                self.push(missing, &gap, shape);
                gaps += 1;
            }
        }
        self.push(step.number, &step.values, shape);
        self.last_time = step.time;
        self.last_window = step.window;
        gaps
    }

    fn clear(&mut self) {
        self.columns.fill(Column::default());
        self.observed = 0;
        self.lost = None;
    }

    /// Returns the step from which records must be read again to get this ring.
    /// Where it begins with missing steps, these are known to be missing only
    /// from the observed step before them.
    pub(super) fn rebuilt_from(&self, context: i64) -> i64 {
        let steps = self.steps().saturating_sub(1) as i64;
        let first = self.last_step.saturating_sub(steps);
        let begins = |column: &Column| column.values.front().is_some_and(is_of_row);
        match self.lost {
            Some(lost)
                if first.saturating_sub(lost) <= context && !self.columns.iter().any(begins) =>
            {
                lost
            }
            _ => first,
        }
    }

    fn push(&mut self, step: i64, values: &[f64], shape: &Shape) {
        let is_full = self.steps() == shape.context;
        // Once in a ring's turn, at a step of its own.
        let is_its_turn = is_full
            && step.rem_euclid(shape.context as i64) == self.serial as i64 % shape.context as i64;
        let (mut was_observed, mut is_observed, mut was_of_row) = (false, false, false);
        for (index, (column, value)) in self.columns.iter_mut().zip(values).enumerate() {
            let is_target = index < shape.targets;
            if let Some(evicted) = is_full.then(|| column.values.pop_front()).flatten() {
                if is_target {
                    column.prior.push(evicted);
                    was_observed |= !evicted.is_nan();
                }
                was_of_row |= is_of_row(evicted);
            }
            column.values.push_back(*value, shape.context);
            is_observed |= is_target && !value.is_nan();
            if is_its_turn {
                column.values.repack();
            }
        }
        self.observed += usize::from(is_observed);
        self.observed -= usize::from(was_observed);
        if was_of_row {
            self.lost = Some(step.saturating_sub(shape.context as i64));
        }
        self.last_step = step;
    }

    /// Returns the context without the name of its series; `ahead` holds numbers of steps and what the future
    /// covariates are there.
    pub(super) fn context<'a>(
        &self,
        shape: &Shape,
        ahead: impl Iterator<Item = (i64, &'a [f64])>,
    ) -> SeriesContext {
        let steps = self.steps();
        let mut columns = self.columns.iter().map(|column| {
            let mut values = Vec::with_capacity(steps + shape.horizon);
            column.values.append_to(&mut values);
            values
        });
        let values: Vec<Vec<f64>> = columns.by_ref().take(shape.targets).collect();
        let past_covariates = columns.by_ref().take(shape.past_covariates).collect();
        let mut future_covariates: Vec<Vec<f64>> = columns.collect();
        let prior = self.columns.iter().zip(&values).map(|(column, values)| {
            column.prior.resolve(values.iter().copied().find(|value| !value.is_nan()))
        });
        let prior = prior.collect();
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
            key: SeriesKey::default(),
            origin: self.last_time,
            values,
            past_covariates,
            future_covariates,
            observed: self.observed,
            prior,
        }
    }

    /// Returns the context up to the newest observed target, without the name of its series,
    /// what was held back being ahead of it.
    pub(super) fn final_context(&mut self, shape: &Shape) -> SeriesContext {
        if self.is_empty() {
            // No target was ever observed, so there is nothing to be ahead of.
            self.release(shape);
        }
        let first = shape.targets + shape.past_covariates;
        let ahead = self.held_back.iter().flat_map(|steps| steps.iter());
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
    /// Returns how many targets and covariates there are.
    fn columns(&self) -> usize {
        self.targets + self.past_covariates + self.future_covariates
    }

    /// Returns the values of a step without a row. A zero is written as -0, which no
    /// row has, so that a ring knows from which of its steps on records make it.
    fn gap(&self) -> Vec<f64> {
        let is_zero = |column: usize| self.zero_filled.get(column) == Some(&true);
        (0..self.columns()).map(|column| if is_zero(column) { -0.0 } else { f64::NAN }).collect()
    }
}

/// Whether a value came with a row: it is neither missing nor a step's zero.
fn is_of_row(value: f64) -> bool {
    let is_step_of_none = value == 0.0 && value.is_sign_negative();
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
