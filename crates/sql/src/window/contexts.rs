//! The newest steps of every series.

use std::collections::HashMap;
use std::fmt;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::row::{RowConverter, SortField};
use tidecast_stream::{EventTime, SeriesKey};

use super::json;
use super::operator::WindowError;
use super::query::is_instant;
use super::ring::{Prior, Ring};
use crate::spec::ForecastClause;

/// What a model is to forecast from: a series up to one step.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesContext {
    /// The series.
    pub key: SeriesKey,
    /// Time of the newest step.
    pub origin: EventTime,
    /// Values by target and step, oldest first, at most `context` steps; NaN where
    /// the step is missing.
    pub values: Vec<Vec<f32>>,
    /// Steps of these at which some target was observed.
    pub observed: usize,
    /// Per target what came before `values`.
    pub prior: Vec<Prior>,
}

/// The context rings of one partition: per series the newest `context` steps.
///
/// Steps are numbered by their time divided by the step length. A step for which
/// no row comes is missing; so is a value that is null, not finite, or beyond
/// `f32`. A series of which nothing came for more than `context` steps is
/// forgotten: all of its context would be missing.
pub struct ContextRings {
    context: usize,
    step_micros: i64,
    series: Vec<usize>,
    time: usize,
    targets: Vec<usize>,
    converter: RowConverter,
    rings: HashMap<Box<[u8]>, Ring>,
    /// Number of the newest step of any series.
    newest: Option<i64>,
    /// When rings were last looked through for forgotten series.
    swept: i64,
    next_serial: u64,
}

/// What came of the rows of one closed window.
#[derive(Debug, Default)]
pub(crate) struct Absorbed {
    /// Contexts of the series that have a new step, if asked for.
    pub(crate) contexts: Vec<SeriesContext>,
    /// Rows that are no step of a series: index and reason.
    pub(crate) refused: Vec<(usize, String)>,
    /// Values that were null or not finite.
    pub(crate) missing_values: usize,
    /// Steps for which no row came, now that a later one has.
    pub(crate) gap_steps: usize,
}

impl ContextRings {
    /// Returns rings for the view's columns that `clause` names.
    ///
    /// # Errors
    /// If there is no such column, or its type will not do.
    pub fn new(clause: &ForecastClause, schema: &SchemaRef) -> Result<Self, WindowError> {
        let column = |name: &str| {
            schema
                .index_of(name)
                .map_err(|_| WindowError::new(format!("the view has no column `{name}`")))
        };
        let indices =
            |names: &[String]| names.iter().map(|name| column(name)).collect::<Result<Vec<_>, _>>();
        let series = indices(&clause.series)?;
        let targets = indices(&clause.targets)?;
        let time = column(&clause.time)?;
        let step_micros = i64::try_from(clause.step.as_micros()).unwrap_or(i64::MAX);
        if step_micros == 0 || clause.context == 0 {
            return Err(WindowError::new("the step and the context must not be zero"));
        }
        if !is_instant(schema.field(time).data_type()) {
            return Err(WindowError::new(format!("`{}` must be a timestamp", clause.time)));
        }
        for target in &targets {
            let field = schema.field(*target);
            if !field.data_type().is_numeric() {
                let (name, found) = (field.name(), field.data_type());
                return Err(WindowError::new(format!("`{name}` is {found}, not a number")));
            }
        }
        let sort_fields =
            series.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
        let converter = RowConverter::new(sort_fields.collect()).map_err(from_arrow)?;
        Ok(Self {
            context: clause.context,
            step_micros,
            series,
            time,
            targets,
            converter,
            rings: HashMap::new(),
            newest: None,
            swept: i64::MIN,
            next_serial: 0,
        })
    }

    /// Takes the view's rows for the window that starts at `window`. `is_due` says
    /// for a step's number whether its context is wanted.
    pub(crate) fn absorb(
        &mut self,
        rows: &RecordBatch,
        window: EventTime,
        is_due: impl Fn(i64) -> bool,
    ) -> Result<Absorbed, WindowError> {
        let mut absorbed = Absorbed::default();
        if rows.num_rows() == 0 {
            return Ok(absorbed);
        }
        let keys = self.keys(rows)?;
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = cast(rows.column(self.time), &instant).map_err(from_arrow)?;
        let targets = self
            .targets
            .iter()
            .map(|target| cast(rows.column(*target), &DataType::Float64).map_err(from_arrow))
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        for (row, key) in keys.into_iter().enumerate() {
            if times.is_null(row) {
                absorbed.refused.push((row, "the time of the step is null".to_owned()));
                continue;
            }
            let time = times.as_primitive::<TimestampMicrosecondType>().value(row);
            let values: Vec<f32> = targets.iter().map(|column| value(column, row)).collect();
            let missing = values.iter().filter(|value| value.is_nan()).count();
            match self.push(rows, row, key, time, window, &values, &mut absorbed) {
                Ok(ring) => {
                    absorbed.missing_values += missing;
                    if is_due(ring.last_step) {
                        absorbed.contexts.push(ring.context());
                    }
                }
                Err(reason) => absorbed.refused.push((row, reason)),
            }
        }
        self.sweep();
        Ok(absorbed)
    }

    /// Returns the contexts of all series, in order of first appearance.
    pub(crate) fn contexts(&self) -> Vec<SeriesContext> {
        let mut rings: Vec<&Ring> = self.rings.values().filter(|ring| self.lives(ring)).collect();
        rings.sort_by_key(|ring| ring.serial);
        rings.into_iter().map(Ring::context).collect()
    }

    /// Returns how many series there are.
    pub fn series(&self) -> usize {
        self.rings.len()
    }

    /// Returns the first instant of the oldest window that a ring reaches back to.
    pub(crate) fn reaches_back_to(&self, window_micros: i64) -> Option<i64> {
        let oldest = |ring: &Ring| {
            let steps = ring.last_step.saturating_sub(ring.rebuilt_from(self.context as i64));
            ring.last_window.saturating_sub(steps.saturating_mul(window_micros))
        };
        self.rings.values().filter(|ring| self.lives(ring)).map(oldest).min()
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>, WindowError> {
        if self.series.is_empty() {
            return Ok(vec![Box::default(); rows.num_rows()]);
        }
        let columns: Vec<ArrayRef> =
            self.series.iter().map(|index| rows.column(*index).clone()).collect();
        let keys = self.converter.convert_columns(&columns).map_err(from_arrow)?;
        Ok(keys.iter().map(|key| key.as_ref().into()).collect())
    }

    fn lives(&self, ring: &Ring) -> bool {
        let age = self.newest.map_or(0, |newest| newest.saturating_sub(ring.last_step));
        age <= self.context as i64
    }

    #[expect(clippy::too_many_arguments, reason = "one row of a closed window, taken apart")]
    fn push(
        &mut self,
        rows: &RecordBatch,
        row: usize,
        key: Box<[u8]>,
        time: i64,
        window: EventTime,
        values: &[f32],
        absorbed: &mut Absorbed,
    ) -> Result<&Ring, String> {
        let step = time.div_euclid(self.step_micros);
        let context = self.context;
        self.newest = Some(self.newest.map_or(step, |newest| newest.max(step)));
        let ring = match self.rings.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let key = series_key(rows, &self.series, row).map_err(|e| e.to_string())?;
                let ring = Ring::new(key, self.next_serial, self.targets.len(), step);
                self.next_serial += 1;
                entry.insert(ring)
            }
        };
        if !ring.is_empty() {
            let ahead = step.saturating_sub(ring.last_step);
            if ahead <= 0 {
                return Err(format!(
                    "series {} has another row at or before its step {}; a series needs one row \
                     per window, so GROUP BY exactly the series columns and the window",
                    ring.key, ring.last_time
                ));
            }
            if ahead > context as i64 {
                ring.clear();
            } else {
                let gap = vec![f32::NAN; values.len()];
                for missing in ring.last_step + 1..step {
                    ring.push(missing, &gap, context);
                    absorbed.gap_steps += 1;
                }
            }
        }
        ring.push(step, values, context);
        ring.last_time = EventTime::from_micros(time);
        ring.last_window = window.as_micros();
        Ok(ring)
    }

    /// Lets go of forgotten series, now and then: which ones are forgotten does
    /// not depend on when this looks.
    fn sweep(&mut self) {
        let Some(newest) = self.newest else { return };
        let context = self.context as i64;
        if newest.saturating_sub(self.swept) < (context / 8).max(1) {
            return;
        }
        self.swept = newest;
        self.rings.retain(|_, ring| newest.saturating_sub(ring.last_step) <= context);
    }
}

impl fmt::Debug for ContextRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextRings")
            .field("context", &self.context)
            .field("series", &self.rings.len())
            .finish_non_exhaustive()
    }
}

/// Returns a value of a `Float64` column, NaN if it is missing or not finite.
fn value(column: &ArrayRef, row: usize) -> f32 {
    if column.is_null(row) {
        return f32::NAN;
    }
    let value = column.as_primitive::<Float64Type>().value(row) as f32;
    if value.is_finite() { value } else { f32::NAN }
}

fn series_key(rows: &RecordBatch, series: &[usize], row: usize) -> Result<SeriesKey, WindowError> {
    if series.is_empty() {
        return Ok(SeriesKey::default());
    }
    let row = rows.slice(row, 1).project(series).map_err(from_arrow)?;
    let text = json::objects(&row).map_err(from_arrow)?.pop().unwrap_or_default();
    let key = serde_json::from_str(&text).map_err(|error| WindowError::new(error.to_string()))?;
    Ok(SeriesKey(key))
}

fn from_arrow(error: datafusion::arrow::error::ArrowError) -> WindowError {
    WindowError::new(error.to_string())
}
