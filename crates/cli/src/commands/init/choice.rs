//! Which columns are time, series and target, and how long a step is.

mod series;
mod step;
mod target;
mod time;
mod words;

use super::columns::Sample;

pub(super) use self::series::SeriesFrom;
use self::step::Step;
pub(super) use self::target::OfStep;
pub(super) use self::time::TimeFrom;

/// What a pipeline for the topic may look like.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) time: TimeFrom,
    pub(super) series: SeriesFrom,
    /// The column that is forecast.
    pub(super) target: usize,
    /// What its values within a step come to.
    pub(super) of_step: OfStep,
    pub(super) step: Step,
    /// The delay as SQL writes it.
    pub(super) delay: &'static str,
    /// How many series there are.
    pub(super) count: usize,
    /// What was guessed, in words.
    pub(super) doubts: Vec<String>,
}

impl Choice {
    /// Chooses among the columns of a sample.
    ///
    /// # Errors
    /// If none of them is a number.
    pub(super) fn of(sample: &Sample) -> Result<Self, String> {
        let mut doubts = Vec::new();
        let (time, times) = time::time(sample, &mut doubts);
        let is_time = |column: usize| time == TimeFrom::Column(column);
        let target = target::target(sample, &is_time, &mut doubts)?;
        let (series, names) = series::series(sample, &is_time, target, &times, &mut doubts);
        let count = series::distinct(&names);
        let step = step::step(&names, &times, &mut doubts);
        let delay = step::delay(sample, &times);
        let column = sample.columns.get(target);
        let column = column.ok_or_else(|| "no field is a number".to_owned())?;
        let of_step = target::of_step(column, &names, &times, &mut doubts);
        Ok(Self { time, series, target, of_step, step, delay, count, doubts })
    }
}
