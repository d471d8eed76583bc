//! The forecast message: what a pipeline makes of one series at one origin.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::aggregate::HorizonAggregate;
use crate::domain::Domain;
use crate::grid::Period;
use crate::series::SeriesKey;
use crate::time::EventTime;

/// What tells a forecast from all others: a hash, shown as 32 hexadecimal digits.
///
/// ```
/// use tidecast_stream::ForecastId;
/// let id = ForecastId([0x0f; 16]);
/// assert_eq!(id.to_string(), "0f".repeat(16));
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForecastId(pub [u8; 16]);

impl fmt::Display for ForecastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Text that is no [`ForecastId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no forecast id, expected 32 hexadecimal digits")]
pub struct ForecastIdError(pub String);

impl FromStr for ForecastId {
    type Err = ForecastIdError;

    fn from_str(text: &str) -> Result<Self, ForecastIdError> {
        // `from_str_radix` would take a sign, too.
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| ForecastIdError(text.to_owned()))
    }
}

/// How a forecast came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForecastStatus {
    /// A forecast was made.
    Ok,
    /// The context holds too few observed values.
    TooShort,
    /// The model failed on this series; `reason` says how.
    Failed,
}

impl ForecastStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::TooShort, Self::Failed];

    /// Returns the word for it, as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TooShort => "too_short",
            Self::Failed => "failed",
        }
    }
}

/// Text that is no [`ForecastStatus`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no status of a forecast, expected `ok`, `too_short` or `failed`")]
pub struct ForecastStatusError(pub String);

impl FromStr for ForecastStatus {
    type Err = ForecastStatusError;

    fn from_str(text: &str) -> Result<Self, ForecastStatusError> {
        let status = Self::ALL.into_iter().find(|status| status.as_str() == text);
        status.ok_or_else(|| ForecastStatusError(text.to_owned()))
    }
}

/// The model that made a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// The name given in `CREATE MODEL`.
    pub name: String,
    /// `sha256:` and the digest of the weights, or the provider's own version.
    pub version: String,
}

/// What the model saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextSummary {
    /// Steps handed to the model, missing ones included.
    pub steps: usize,
    /// Steps of them that were observed.
    pub observed: usize,
}

/// Numbers that do not make the forecast of a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForecastShapeError {
    /// Quantiles and levels do not correspond.
    #[error("`{target}` has `{found}` quantiles, expected one for each of `{expected}` levels")]
    Levels {
        /// The target column.
        target: String,
        /// Quantiles given.
        found: usize,
        /// Levels given.
        expected: usize,
    },
    /// There are none, though they were asked for.
    #[error("the model gave no sample paths")]
    Samples,
    /// A quantile has another number of steps than the mean.
    #[error("a quantile of `{target}` has `{found}` steps, expected `{expected}` as the mean has")]
    Steps {
        /// The target column.
        target: String,
        /// Steps of the quantile.
        found: usize,
        /// Steps of the mean.
        expected: usize,
    },
}

/// The forecast of one target column: mean and quantiles with one value per step of the
/// horizon, in units of the series; a value out of range is not finite.
///
/// The name and the levels are shared by all forecasts of a pipeline; the values lie in
/// one piece.
///
/// ```
/// use tidecast_stream::VariateForecast;
/// let kw = VariateForecast::new("kw", [0.1, 0.9], &[2.0, 3.0], [[1.0, 2.0], [3.0, 4.0]])?;
/// assert_eq!(kw.mean(), [2.0, 3.0]);
/// assert_eq!(kw.quantile(0.9), Some(&[3.0, 4.0][..]));
/// assert_eq!(kw.quantile(0.5), None);
/// # Ok::<(), tidecast_stream::ForecastShapeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct VariateForecast {
    /// The target column.
    pub name: Arc<str>,
    /// Why this one of several targets has no forecast, if it has none: it has no values
    /// and no levels then.
    pub reason: Option<String>,
    /// The values that it was held to.
    pub domain: Domain,
    /// What several steps come to, where that was asked for.
    pub aggregates: Vec<AggregateValues>,
    /// The sample paths, `[path][step]`, where they were asked for: steps of a path belong
    /// together.
    pub samples: Vec<Vec<f64>>,
    levels: Arc<[f64]>,
    /// `[1 + levels, steps]`, row by row: the mean, then the quantile of each level.
    values: Vec<f64>,
}

impl VariateForecast {
    /// Returns the forecast of the target `name`, a value per step in `mean` and in each
    /// of `quantiles`, which are those of `levels`, ascending.
    ///
    /// # Errors
    /// If there is not one quantile for each level, or not a value for each step.
    pub fn new(
        name: impl Into<Arc<str>>,
        levels: impl Into<Arc<[f64]>>,
        mean: &[f64],
        quantiles: impl IntoIterator<Item: AsRef<[f64]>>,
    ) -> Result<Self, ForecastShapeError> {
        let (name, levels) = (name.into(), levels.into());
        let mut values = Vec::with_capacity((1 + levels.len()) * mean.len());
        values.extend_from_slice(mean);
        let mut found = 0;
        for quantile in quantiles {
            let quantile = quantile.as_ref();
            if quantile.len() != mean.len() {
                return Err(ForecastShapeError::Steps {
                    target: name.to_string(),
                    found: quantile.len(),
                    expected: mean.len(),
                });
            }
            values.extend_from_slice(quantile);
            found += 1;
        }
        if found != levels.len() {
            let (target, expected) = (name.to_string(), levels.len());
            return Err(ForecastShapeError::Levels { target, found, expected });
        }
        Ok(Self { levels, values, ..Self::of_none(name) })
    }

    /// Returns the target `name` without a forecast, and why it has none.
    pub fn without_forecast(name: impl Into<Arc<str>>, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::of_none(name.into()) }
    }

    fn of_none(name: Arc<str>) -> Self {
        Self {
            name,
            reason: None,
            domain: Domain::ANY,
            aggregates: Vec::new(),
            samples: Vec::new(),
            levels: Arc::default(),
            values: Vec::new(),
        }
    }

    /// Returns the number of steps that are forecast.
    pub fn steps(&self) -> usize {
        self.values.len() / (1 + self.levels.len())
    }

    /// Returns the mean per step.
    pub fn mean(&self) -> &[f64] {
        self.values.get(..self.steps()).unwrap_or_default()
    }

    /// Returns the levels of the quantiles, ascending, each in (0, 1).
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// Returns the quantiles, one value per step each, in the order of the levels.
    pub fn quantiles(&self) -> impl Iterator<Item = (f64, &[f64])> + Clone {
        let steps = self.steps();
        self.levels.iter().enumerate().filter_map(move |(index, level)| {
            let start = (1 + index) * steps;
            Some((*level, self.values.get(start..start + steps)?))
        })
    }

    /// Returns the quantile of a level, one value per step, if it was asked for.
    pub fn quantile(&self, level: f64) -> Option<&[f64]> {
        self.quantiles().find(|(known, _)| *known == level).map(|(_, values)| values)
    }
}

/// What several steps of a forecast come to, such as the sum of each 24: a number for each
/// so many steps of the horizon; what is left over at its end has none.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateValues {
    /// Of what.
    pub aggregate: HorizonAggregate,
    /// Mean of each.
    pub mean: Vec<f64>,
    /// The quantile of each level of the forecast, `[level][number]`.
    pub quantiles: Vec<Vec<f64>>,
}

/// One forecast: one series, one origin, all steps of the horizon. Step `k` (from 1) is
/// for `origin + k * step` where steps are of one length, and for the `k`-th of `times`
/// where they are not.
///
/// What all messages of a pipeline have in common (its name, the model, names of targets
/// and levels) they share.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastMessage {
    /// Hash of (pipeline, series, origin, revision) and the source's partition: equal for
    /// a repeat.
    pub id: ForecastId,
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The series.
    pub series: SeriesKey,
    /// Time of the newest step of the context.
    pub origin: EventTime,
    /// Which forecast of this series and origin it is; 0 is the first.
    pub revision: u32,
    /// Distance of two steps.
    pub step: Period,
    /// The time of each step of the horizon, where steps are not of one length.
    pub times: Vec<EventTime>,
    /// The model that made it.
    pub model: Arc<ModelRef>,
    /// How it came out.
    pub status: ForecastStatus,
    /// Why, where the status is not `ok`.
    pub reason: Option<String>,
    /// What the model saw.
    pub context: ContextSummary,
    /// One entry per target column; empty where the status is not `ok`.
    pub variates: Vec<VariateForecast>,
    /// Whether it was made from history rather than as the data came in.
    pub is_backfill: bool,
}

impl ForecastMessage {
    /// Returns the time of step `step` of the horizon, from 1; `None` if the message
    /// does not say.
    pub fn time_of(&self, step: usize) -> Option<EventTime> {
        match self.step.fixed_micros() {
            Some(micros) => {
                let micros = micros.checked_mul(i64::try_from(step).ok()?)?;
                Some(self.origin.plus_micros(micros))
            }
            None => self.times.get(step.checked_sub(1)?).copied(),
        }
    }

    /// Returns about how many bytes of memory it takes: its own, and those of the heap
    /// that no other message shares. What the allocator adds is not counted.
    ///
    /// With nine quantiles, a horizon of 24 steps and a series of one column some 2,350,
    /// of which 1,920 are the values.
    pub fn memory_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let variate = |variate: &VariateForecast| {
            let aggregate = |it: &AggregateValues| {
                let numbers = it.mean.len() + it.quantiles.iter().map(Vec::len).sum::<usize>();
                size_of::<AggregateValues>() + numbers * size_of::<f64>()
            };
            let path = |path: &Vec<f64>| size_of::<Vec<f64>>() + path.len() * size_of::<f64>();
            variate.values.capacity() * size_of::<f64>()
                + text(&variate.reason)
                + variate.aggregates.iter().map(aggregate).sum::<usize>()
                + variate.samples.iter().map(path).sum::<usize>()
        };
        size_of::<Self>()
            + self.series.memory_bytes()
            + self.times.capacity() * size_of::<EventTime>()
            + text(&self.reason)
            + self.variates.capacity() * size_of::<VariateForecast>()
            + self.variates.iter().map(variate).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(step: Period, horizon: usize) -> ForecastMessage {
        let levels: Arc<[f64]> = (1..10).map(|tenth| f64::from(tenth) / 10.0).collect();
        let steps = vec![0.0; horizon];
        let quantiles = levels.iter().map(|_| &steps);
        let kw = VariateForecast::new("kw", Arc::clone(&levels), &steps, quantiles).unwrap();
        ForecastMessage {
            id: ForecastId([0; 16]),
            pipeline: "load".into(),
            series: SeriesKey::new([("site", "A".into())]),
            origin: EventTime::from_micros(10),
            revision: 0,
            step,
            times: Vec::new(),
            model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
            status: ForecastStatus::Ok,
            reason: None,
            context: ContextSummary { steps: 8, observed: 7 },
            variates: vec![kw],
            is_backfill: false,
        }
    }

    #[test]
    fn steps_have_times_whatever_their_length() {
        let quick = message(Period::Fixed(1_500), 3);
        assert_eq!(quick.time_of(2), Some(EventTime::from_micros(3_010)));
        let times = vec![EventTime::from_micros(20), EventTime::from_micros(50)];
        let monthly = ForecastMessage { times, ..message(Period::Months(1), 2) };
        assert_eq!(monthly.time_of(2), Some(EventTime::from_micros(50)));
        assert_eq!((monthly.time_of(0), monthly.time_of(3)), (None, None));
        assert_eq!(message(Period::Fixed(i64::MAX), 3).time_of(2), None);
    }

    #[test]
    fn numbers_of_another_shape_are_refused() {
        let of = |quantiles: &[&[f64]]| {
            let made = VariateForecast::new("kw", [0.1, 0.9], &[1.0, 2.0], quantiles);
            made.map(|made| made.steps()).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[&[1.0, 2.0], &[3.0, 4.0]]), Ok(2));
        let error = of(&[&[1.0, 2.0]]).unwrap_err();
        assert_eq!(error, "`kw` has `1` quantiles, expected one for each of `2` levels");
        let error = of(&[&[1.0, 2.0], &[3.0]]).unwrap_err();
        assert_eq!(error, "a quantile of `kw` has `1` steps, expected `2` as the mean has");
        let none = VariateForecast::without_forecast("kw", "nothing was observed");
        assert_eq!((none.steps(), none.mean(), none.levels().len()), (0, &[][..], 0));
    }

    #[test]
    fn ids_and_statuses_are_read_as_written() {
        for text in ["", "f", &"g".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert!(text.parse::<ForecastId>().is_err(), "{text}");
        }
        for status in ForecastStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("OK".parse::<ForecastStatus>().is_err());
    }

    /// What mailboxes are weighed by: the values are most of it, and a clone shares the
    /// rest.
    #[test]
    fn a_message_knows_about_how_large_it_is() {
        let (short, long) = (message(Period::Months(1), 24), message(Period::Months(1), 48));
        assert_eq!(long.memory_bytes() - short.memory_bytes(), 24 * 10 * 8);
        assert!((2_200..2_500).contains(&short.memory_bytes()), "{}", short.memory_bytes());
        let levels = |message: &ForecastMessage| Arc::as_ptr(&message.variates[0].levels);
        assert_eq!(levels(&short), levels(&short.clone()));
    }
}
