//! The rows of a forecast in the long layout, wherever they are written.

use tidecast_stream::{
    AggregateValues, EventTime, ForecastMessage, HorizonAggregate, VariateForecast,
};

/// A row of the long layout: a step of a target, or what several steps come to; of a message
/// or target without a forecast the one that says so.
#[derive(Clone, Copy, Debug)]
pub struct ForecastRow<'a> {
    /// What it is a row of.
    pub message: &'a ForecastMessage,
    /// The target; none of a message without forecasts.
    pub variate: Option<&'a VariateForecast>,
    number: Option<Number<'a>>,
}

/// What of a target a row is about.
#[derive(Clone, Copy, Debug)]
enum Number<'a> {
    /// A step, from 0.
    Step(usize),
    /// What so many steps come to, the how many-th of its kind.
    Block(&'a AggregateValues, usize),
}

/// A forecast that is not as the others of its pipeline.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RowError {
    /// A series column that the pipeline has not.
    #[error("it has a series column `{name}`, which the pipeline has not")]
    Series {
        /// The column.
        name: String,
    },
    /// A value of another type.
    #[error("`{value}` in series column `{name}` is no {wanted}, which the column is of")]
    Value {
        /// The column.
        name: String,
        /// The value as JSON.
        value: String,
        /// What the column is of.
        wanted: &'static str,
    },
    /// Other quantiles.
    #[error("it has the quantiles {found:?}, the pipeline has {expected:?}")]
    Levels {
        /// The forecast's.
        found: Vec<f64>,
        /// The pipeline's.
        expected: Vec<f64>,
    },
    /// There is no such record.
    #[error("it has no record `{index}`")]
    Index {
        /// Its number, from 0.
        index: usize,
    },
}

/// Returns the rows of a message, at least one: steps in their order, target by target, each
/// target's followed by what several steps come to where `has_aggregates`.
pub fn rows(
    message: &ForecastMessage,
    has_aggregates: bool,
) -> impl Iterator<Item = ForecastRow<'_>> {
    (0..).map_while(move |index| ForecastRow::of(message, has_aggregates, index))
}

/// Returns the number of a message's rows.
pub(super) fn count(message: &ForecastMessage, has_aggregates: bool) -> usize {
    let of = |variate| rows_of(variate, has_aggregates);
    message.variates.iter().map(of).sum::<usize>().max(1)
}

/// Returns the number of a target's rows.
fn rows_of(variate: &VariateForecast, has_aggregates: bool) -> usize {
    let told = variate.aggregates.iter().filter(|_| has_aggregates);
    (variate.steps() + told.map(|values| values.mean.len()).sum::<usize>()).max(1)
}

impl<'a> ForecastRow<'a> {
    /// Returns the row with this number, from 0, of those that [`rows`] gives.
    pub(super) fn of(
        message: &'a ForecastMessage,
        has_aggregates: bool,
        mut index: usize,
    ) -> Option<Self> {
        if message.variates.is_empty() {
            return (index == 0).then_some(Self { message, variate: None, number: None });
        }
        for variate in &message.variates {
            let count = rows_of(variate, has_aggregates);
            if index < count {
                let number = Number::of(variate, index);
                return Some(Self { message, variate: Some(variate), number });
            }
            index -= count;
        }
        None
    }
}

impl<'a> Number<'a> {
    /// Returns what row `index` of a target is about.
    fn of(variate: &'a VariateForecast, index: usize) -> Option<Self> {
        let Some(mut block) = index.checked_sub(variate.steps()) else {
            return Some(Self::Step(index));
        };
        for values in &variate.aggregates {
            if block < values.mean.len() {
                return Some(Self::Block(values, block));
            }
            block -= values.mean.len();
        }
        None
    }
}

impl ForecastRow<'_> {
    /// Returns the step that it ends with, from 1.
    pub fn step(&self) -> Option<usize> {
        Some(match self.number? {
            Number::Step(step) => step + 1,
            Number::Block(values, block) => {
                (block + 1) * values.aggregate.steps_of(self.variate?.steps())
            }
        })
    }

    /// Returns the time of that step.
    pub fn time(&self) -> Option<EventTime> {
        self.message.time_of(self.step()?)
    }

    /// Returns what it is of several steps; of a single one nothing.
    pub fn aggregate(&self) -> Option<HorizonAggregate> {
        match self.number? {
            Number::Step(_) => None,
            Number::Block(values, _) => Some(values.aggregate),
        }
    }

    /// Returns the mean, if it is finite.
    pub fn mean(&self) -> Option<f64> {
        let value = match self.number? {
            Number::Step(step) => self.variate?.mean().get(step).copied(),
            Number::Block(values, block) => values.mean.get(block).copied(),
        };
        value.filter(|value| value.is_finite())
    }

    /// Returns the quantile of the level with this number, if it is finite.
    pub fn quantile(&self, level: usize) -> Option<f64> {
        let value = match self.number? {
            Number::Step(step) => {
                self.variate?.quantiles().nth(level).and_then(|(_, values)| values.get(step))
            }
            Number::Block(values, block) => {
                values.quantiles.get(level).and_then(|values| values.get(block))
            }
        };
        value.copied().filter(|value| value.is_finite())
    }

    /// Returns why there is no forecast.
    pub fn reason(&self) -> Option<&str> {
        let of_variate = self.variate.and_then(|variate| variate.reason.as_deref());
        of_variate.or(self.message.reason.as_deref())
    }

    /// Checks that its quantiles are those of `levels`, if it has any.
    ///
    /// # Errors
    /// If they are others.
    pub fn check_levels(&self, levels: &[f64]) -> Result<(), RowError> {
        match self.variate {
            Some(variate) if variate.steps() > 0 && variate.levels() != levels => {
                Err(RowError::Levels {
                    found: variate.levels().to_vec(),
                    expected: levels.to_vec(),
                })
            }
            _ => Ok(()),
        }
    }
}
