//! The newest steps of every series.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use tidecast_stream::{EventTime, SeriesKey, TimeGrid};

use super::ahead::KnownAhead;
use super::captured::{Captured, CapturedSeries};
use super::columns::ViewColumns;
use super::output::{ClosedWindow, WindowError};
use super::ring::{Prior, Ring, Shape, Step};
use super::rings::Rings;
use crate::spec::{ForecastClause, Refresh};

/// What a model is to forecast from: a series up to one step.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesContext {
    /// The series.
    pub key: SeriesKey,
    /// Time of the newest step.
    pub origin: EventTime,
    /// Values by target and step, oldest first, at most `context` steps; NaN where
    /// the step is missing.
    pub values: Vec<Vec<f64>>,
    /// Covariates known for the past only, over the same steps.
    pub past_covariates: Vec<Vec<f64>>,
    /// Covariates over the same steps and then the horizon's, as far as they are
    /// known there; NaN where not.
    pub future_covariates: Vec<Vec<f64>>,
    /// Steps of the context at which some target was observed.
    pub observed: usize,
    /// Per target what came before `values`.
    pub prior: Vec<Prior>,
}

impl SeriesContext {
    /// Returns the number of past steps.
    pub fn steps(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    /// Returns about how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let columns = [&self.values, &self.past_covariates, &self.future_covariates];
        let column = |column: &Vec<f64>| size_of::<Vec<f64>>() + size_of_val(&column[..]);
        // What a key of a column or two takes, beside the column's values.
        const KEY_BYTES: usize = 256;
        let columns: usize = columns.into_iter().flatten().map(column).sum();
        size_of::<Self>() + KEY_BYTES + columns + size_of_val(&self.prior[..])
    }
}

/// How much comes at once of what closing windows trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimit {
    /// Series, at least one.
    pub series: usize,
    /// Bytes of their contexts; one that is larger comes alone.
    pub bytes: usize,
}

impl PartLimit {
    /// All at once.
    pub const NONE: Self = Self { series: usize::MAX, bytes: usize::MAX };

    /// Returns whether no further series goes with so many of so many bytes.
    pub(crate) fn is_reached(self, series: usize, bytes: usize) -> bool {
        series > 0 && (series >= self.series || bytes >= self.bytes)
    }

    /// Returns how many rows to look at together.
    fn rows(self) -> usize {
        self.series.max(1).saturating_mul(2)
    }
}

/// The context rings of one partition: per series the newest `context` steps.
///
/// Steps are numbered by the grid of the windows. A step for which no row comes is
/// missing, or 0 where the clause says so; a value that is null or not finite is
/// missing. On a stream a series of which nothing came for more than `context` steps is
/// forgotten: all of its context would be missing. At the end of a bounded source each
/// series is known up to its own end, whenever that was.
///
/// Values come back to the bit, and are kept in 1 to 8 bytes each, as they need: 512
/// readings of 3 to 5 digits in 1 KiB, means in 3.5 KiB, and in 4 KiB what has no
/// likeness. Beside them a series takes some 300 bytes.
///
/// Where a forecast is made at the end of a bounded source and there are future
/// covariates, the origin is the newest step at which a target was observed, and
/// steps behind it are what is known ahead.
pub struct ContextRings {
    columns: Arc<ViewColumns>,
    shape: Shape,
    step: TimeGrid,
    /// Whether the source ends: then no series is forgotten.
    is_bounded: bool,
    /// Whether steps without an observed target may be ahead of the origin.
    holds_back: bool,
    known_ahead: KnownAhead,
    rings: Rings,
    /// Number of the newest step of any series, what is held back left out.
    newest: Option<i64>,
    /// When rings were last looked through for forgotten series.
    swept: i64,
    next_serial: u64,
    /// Series that are new since somebody asked.
    appeared: Vec<SeriesKey>,
}

/// What came of the rows of one closed window.
#[derive(Debug, Default)]
pub(crate) struct Absorbed {
    /// The row to go on with.
    pub(crate) next: usize,
    /// Contexts of the series that have a new step, if asked for.
    pub(crate) contexts: Vec<SeriesContext>,
    /// Rows that are no step of a series: index and reason.
    pub(crate) refused: Vec<(usize, String)>,
    /// Values that were null or not finite.
    pub(crate) missing_values: usize,
    /// Steps for which a row came.
    pub(crate) steps: usize,
    /// Steps for which no row came, now that a later one has.
    pub(crate) gap_steps: usize,
}

impl ContextRings {
    /// Returns rings for the view's columns that `clause` names.
    ///
    /// # Errors
    /// If there is no such column, or its type will not do.
    pub fn new(
        clause: &ForecastClause,
        schema: &SchemaRef,
        is_bounded: bool,
    ) -> Result<Self, WindowError> {
        if clause.step.period().typical_micros() == 0 || clause.context == 0 {
            return Err(WindowError::new("the step and the context must not be zero"));
        }
        let future_covariates = clause.future_covariates.len();
        Ok(Self {
            columns: Arc::new(ViewColumns::new(clause, schema)?),
            shape: Shape {
                context: clause.context,
                horizon: clause.horizon,
                targets: clause.targets.len(),
                past_covariates: clause.past_covariates.len(),
                future_covariates,
                zero_filled: clause.zero_filled.clone(),
                fills_long_gaps: is_bounded && clause.zero_filled.contains(&true),
            },
            step: clause.step,
            is_bounded,
            holds_back: future_covariates > 0 && clause.refresh == Refresh::AtEnd,
            known_ahead: KnownAhead::default(),
            rings: Rings::default(),
            newest: None,
            swept: i64::MIN,
            next_serial: 0,
            appeared: Vec::new(),
        })
    }

    /// Takes the view's rows for a window that closed, from row `from` on and until
    /// `limit` is reached. `is_due` says for a step's number whether its context is
    /// wanted.
    pub(crate) fn absorb(
        &mut self,
        window: &ClosedWindow,
        from: usize,
        limit: PartLimit,
        is_due: impl Fn(i64) -> bool,
    ) -> Result<Absorbed, WindowError> {
        let rows = window.rows.slice(from, window.rows.num_rows() - from);
        let mut absorbed = Absorbed { next: from, ..Absorbed::default() };
        if rows.num_rows() == 0 {
            return Ok(absorbed);
        }
        if from == 0 {
            self.known_ahead.update(&window.ahead, &self.columns)?;
        }
        // Of a window of a million groups the keys are read a part at a time, too.
        let rows = rows.slice(0, rows.num_rows().min(limit.rows()));
        let read = self.columns.read(&rows)?;
        let (mut bytes, mut due) = (0, Vec::new());
        for (row, key) in read.keys.iter().enumerate() {
            if limit.is_reached(absorbed.contexts.len(), bytes) {
                break;
            }
            absorbed.next += 1;
            let Some(time) = read.time(row) else {
                absorbed.refused.push((from + row, "the time of the step is null".to_owned()));
                continue;
            };
            let step = Step {
                number: self.step_of(time),
                time: EventTime::from_micros(time),
                window: window.start.as_micros(),
                values: read.values(row),
            };
            let targets = step.values.iter().take(self.shape.targets);
            let missing = targets.filter(|value| value.is_nan()).count();
            match self.push(&rows, row, key, step) {
                Ok(gap_steps) => {
                    absorbed.steps += 1;
                    absorbed.missing_values += missing;
                    absorbed.gap_steps += gap_steps;
                    if let Some(context) = self.context_if(key, &is_due) {
                        bytes += context.bytes();
                        absorbed.contexts.push(context);
                        due.push(row as u32);
                    }
                }
                Err(reason) => absorbed.refused.push((from + row, reason)),
            }
        }
        let due = take_record_batch(&rows, &UInt32Array::from(due));
        let due = due.map_err(|error| WindowError::new(error.to_string()))?;
        name(&mut absorbed.contexts, self.columns.series_keys(&due)?);
        if absorbed.next == window.rows.num_rows() {
            self.sweep();
        }
        Ok(absorbed)
    }

    /// Returns the keys of all series, in order of first appearance.
    pub(super) fn keys_in_order(&self) -> Vec<Box<[u8]>> {
        let mut rings: Vec<&Arc<Ring>> = self.rings.iter().collect();
        rings.sort_unstable_by_key(|ring| ring.serial);
        rings.into_iter().map(|ring| ring.key.clone()).collect()
    }

    /// Returns contexts at the end of a bounded source until `limit` is reached, those of
    /// the first of these keys, which are taken.
    pub(super) fn final_contexts(
        &mut self,
        keys: &mut std::vec::IntoIter<Box<[u8]>>,
        limit: PartLimit,
    ) -> Result<Vec<SeriesContext>, WindowError> {
        let (mut contexts, mut taken, mut bytes) = (Vec::new(), Vec::new(), 0);
        while !limit.is_reached(contexts.len(), bytes) {
            let Some(key) = keys.next() else { break };
            if let Some(ring) = self.rings.get_mut(&key) {
                let context = ring.final_context(&self.shape);
                bytes += context.bytes();
                contexts.push(context);
                taken.push(key);
            }
        }
        let taken: Vec<&[u8]> = taken.iter().map(AsRef::as_ref).collect();
        name(&mut contexts, self.columns.series_of(&taken)?);
        Ok(contexts)
    }

    /// Whether a snapshot can hold the state: what is held back until the end of a
    /// bounded source it cannot.
    pub(super) fn has_snapshots(&self) -> bool {
        !self.holds_back
    }

    /// Returns the rings as they are now.
    pub(super) fn capture(&self) -> Captured {
        let rings = self.rings.iter().cloned().collect();
        Captured::new(Arc::clone(&self.columns), self.shape.clone(), rings)
    }

    /// Returns the numbers that are no series' own: newest step, last sweep, next
    /// serial number.
    pub(super) fn numbers(&self) -> (Option<i64>, i64, u64) {
        (self.newest, self.swept, self.next_serial)
    }

    /// Takes in the series of a snapshot; says what does not fit.
    pub(super) fn restore(
        &mut self,
        series: CapturedSeries,
        (newest, swept, next_serial): (Option<i64>, i64, u64),
    ) -> Result<(), String> {
        let CapturedSeries { keys, names, rings } = series;
        let keys = self.columns.keys_of(&keys, rings.len()).map_err(|error| error.to_string())?;
        let mut restored = Rings::with_capacity(rings.len());
        for (key, ring) in keys.into_iter().zip(rings) {
            let ring = Ring::from_parts(key, ring, &self.shape);
            restored.insert(ring.ok_or("its values do not fit the columns")?);
        }
        (self.rings, self.appeared) = (restored, names);
        (self.newest, self.swept, self.next_serial) = (newest, swept, next_serial);
        Ok(())
    }

    /// Returns the series that are new since this was asked the last time.
    pub(super) fn take_appeared(&mut self) -> Vec<SeriesKey> {
        std::mem::take(&mut self.appeared)
    }

    /// Returns how many series there are.
    pub fn series(&self) -> usize {
        self.rings.len()
    }

    /// Returns the first instant of the oldest window that a ring reaches back to.
    pub(crate) fn reaches_back_to(&self, windows: TimeGrid) -> Option<i64> {
        let context = self.shape.context;
        let oldest = |ring: &Ring| {
            let steps = ring.last_step.saturating_sub(ring.rebuilt_from(context as i64));
            let last = EventTime::from_micros(ring.last_window);
            windows.after(last, steps.saturating_neg()).unwrap_or(EventTime::MIN).as_micros()
        };
        let rings = self.rings.iter();
        rings
            .filter(|ring| is_remembered(ring, self.newest, context))
            .map(|ring| oldest(ring))
            .min()
    }

    fn step_of(&self, micros: i64) -> i64 {
        self.step.number(EventTime::from_micros(micros))
    }

    /// Adds a step to its series, and returns how many are missing before it.
    fn push(
        &mut self,
        rows: &RecordBatch,
        row: usize,
        key: &[u8],
        step: Step,
    ) -> Result<usize, String> {
        let mut targets = step.values.iter().take(self.shape.targets);
        let is_ahead = self.holds_back && targets.all(|value| value.is_nan());
        if !is_ahead {
            // What is known ahead of one series makes no other one old.
            self.newest = self.newest.max(Some(step.number));
        }
        let ring = match self.rings.get_mut(key) {
            Some(ring) => ring,
            None => {
                let series = self.columns.series_key(rows, row).map_err(|e| e.to_string())?;
                let ring = Ring::new(key.into(), self.next_serial, &self.shape, &step);
                self.next_serial += 1;
                self.appeared.push(series);
                self.rings.insert(ring)
            }
        };
        if let Some((newest, time)) = ring.newest()
            && step.number <= newest
        {
            let series = self.columns.series_key(rows, row).map_err(|e| e.to_string())?;
            return Err(format!(
                "series {series} has another row at or before its step {time}; a series needs one \
                 row per window, so GROUP BY exactly the series columns and the window"
            ));
        }
        if is_ahead {
            ring.hold_back(step);
            return Ok(0);
        }
        Ok(ring.release(&self.shape) + ring.append(step, &self.shape))
    }

    /// Returns the context of a series, if its newest step is due.
    fn context_if(&self, key: &[u8], is_due: &impl Fn(i64) -> bool) -> Option<SeriesContext> {
        let ring = self.rings.get(key).filter(|ring| is_due(ring.last_step))?;
        let ahead = self.known_ahead.of_series(key);
        Some(ring.context(&self.shape, ahead.map(|(time, values)| (self.step_of(time), values))))
    }

    /// Lets go of forgotten series, now and then: which ones are forgotten does
    /// not depend on when this looks.
    fn sweep(&mut self) {
        let Some(newest) = self.newest.filter(|_| !self.is_bounded) else { return };
        let context = self.shape.context;
        if newest.saturating_sub(self.swept) < (context as i64 / 8).max(1) {
            return;
        }
        self.swept = newest;
        self.rings.retain(|ring| is_remembered(ring, Some(newest), context));
    }
}

/// Gives contexts the names of their series.
fn name(contexts: &mut [SeriesContext], names: Vec<SeriesKey>) {
    contexts.iter_mut().zip(names).for_each(|(context, name)| context.key = name);
}

/// Rings whose memory is given back beside: the allocator takes seconds for those of a
/// million series, which whoever waits for the partition's end has no part in.
const FREED_BESIDE: usize = 50_000;

impl Drop for ContextRings {
    fn drop(&mut self) {
        if self.rings.len() >= FREED_BESIDE {
            let rings = std::mem::take(&mut self.rings);
            // Without a thread they are dropped here.
            std::thread::Builder::new().name("freed".to_owned()).spawn(move || drop(rings)).ok();
        }
    }
}

impl fmt::Debug for ContextRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextRings")
            .field("shape", &self.shape)
            .field("series", &self.rings.len())
            .finish_non_exhaustive()
    }
}

/// Whether a series is not forgotten, `newest` being the newest step of any.
fn is_remembered(ring: &Ring, newest: Option<i64>, context: usize) -> bool {
    let own = ring.newest().map_or(ring.last_step, |(step, _)| step);
    newest.map_or(0, |newest| newest.saturating_sub(own)) <= context as i64
}
