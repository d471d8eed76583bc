//! What several steps of a forecast come to: their sum, their largest value.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What becomes of several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// All together.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The largest.
    Max,
}

impl AggregateFunction {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Sum, Self::Avg, Self::Min, Self::Max];

    /// Returns its name in SQL, on the command line and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    /// Returns what the values come to; NaN of none, or if one is NaN.
    pub fn of(self, values: &[f64]) -> f64 {
        let Some((first, rest)) = values.split_first() else { return f64::NAN };
        if values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        let sum = || values.iter().sum::<f64>();
        match self {
            Self::Sum => sum(),
            Self::Avg => sum() / values.len() as f64,
            Self::Min => rest.iter().copied().fold(*first, f64::min),
            Self::Max => rest.iter().copied().fold(*first, f64::max),
        }
    }
}

/// Consecutive steps of a horizon as one number: their sum, their largest value. Written
/// `sum` over the whole horizon, and `sum:24` over each 24 steps of it.
///
/// ```
/// use tidecast_stream::HorizonAggregate;
/// let peaks: HorizonAggregate = "max:2".parse()?;
/// assert_eq!(peaks.of(&[1.0, 5.0, 2.0, 3.0, 9.0]), [5.0, 3.0], "what is left over is left out");
/// let all: HorizonAggregate = "sum".parse()?;
/// assert_eq!((all.of(&[1.0, 5.0]), all.to_string()), (vec![6.0], "sum".to_owned()));
/// # Ok::<(), tidecast_stream::HorizonAggregateError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HorizonAggregate {
    /// What becomes of the values.
    pub function: AggregateFunction,
    /// Of how many steps each; `None`: of all.
    pub steps: Option<NonZeroUsize>,
}

impl HorizonAggregate {
    /// Returns the steps of one number of a horizon.
    pub fn steps_of(&self, horizon: usize) -> usize {
        self.steps.map_or(horizon, NonZeroUsize::get).max(1)
    }

    /// Returns what each so many steps of a horizon come to.
    pub fn of(&self, values: &[f64]) -> Vec<f64> {
        let blocks = values.chunks_exact(self.steps_of(values.len()));
        blocks.map(|block| self.function.of(block)).collect()
    }
}

impl fmt::Display for HorizonAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        match self.steps {
            Some(steps) => write!(f, ":{steps}"),
            None => Ok(()),
        }
    }
}

/// A text that names no aggregate of a horizon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HorizonAggregateError {
    /// There is no such function.
    #[error(
        "`{function}` is no aggregate of a horizon: expected `sum`, `avg`, `min` or `max`, with \
         `:24` behind it for each 24 steps"
    )]
    Function {
        /// What was said.
        function: String,
    },
    /// The number of steps is none.
    #[error("`{steps}` is no number of steps: expected a whole number from 1, as in `sum:24`")]
    Steps {
        /// What was said.
        steps: String,
    },
}

impl FromStr for HorizonAggregate {
    type Err = HorizonAggregateError;

    fn from_str(text: &str) -> Result<Self, HorizonAggregateError> {
        let (name, steps) = match text.split_once(':') {
            Some((name, steps)) => (name, Some(steps)),
            None => (text, None),
        };
        let found = AggregateFunction::ALL.into_iter().find(|function| function.name() == name);
        let function =
            found.ok_or_else(|| HorizonAggregateError::Function { function: text.to_owned() })?;
        let number = |steps: &str| {
            let error = || HorizonAggregateError::Steps { steps: steps.to_owned() };
            steps.parse().map_err(|_| error())
        };
        Ok(Self { function, steps: steps.map(number).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_rest_is_refused() {
        for text in ["sum", "avg:24", "min:1", "max:168"] {
            assert_eq!(text.parse::<HorizonAggregate>().map(|it| it.to_string()), Ok(text.into()));
        }
        for text in ["", "Sum", "median", "sum:", "sum:0", "sum:-1", "sum:2.5", ":3", "sum:2:3"] {
            text.parse::<HorizonAggregate>().expect_err(text);
        }
    }

    #[test]
    fn a_missing_value_leaves_nothing_to_say_of_its_steps() {
        let values = [1.0, f64::NAN, -2.0, 4.0];
        for function in AggregateFunction::ALL {
            let steps = NonZeroUsize::new(2);
            let found = HorizonAggregate { function, steps }.of(&values);
            assert!(found[0].is_nan() && found[1].is_finite(), "{function:?}: {found:?}");
        }
        assert!(AggregateFunction::Max.of(&[]).is_nan());
    }
}
