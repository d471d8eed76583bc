//! What goes into a model and what comes out.

use tidecast_stream::{Domain, DomainRule};

/// The past of one series: one or several variates over the same steps.
///
/// A value takes 8 bytes, so 512 steps of one column take 4 KiB, and a context
/// `8 (steps (variates + past covariates) + (steps + horizon) future covariates)`
/// bytes beside 24 for each column and each [`PriorHistory`]. They are f64 until
/// they are standardised: what a series is about may be the ninth digit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// The values to forecast, `[variate][step]`, oldest first, all of one
    /// length. NaN is a missing step; an infinite value counts as missing. A
    /// variate without any observed step is left out
    /// ([`Forecast::unobserved`]).
    pub variates: Vec<Vec<f64>>,
    /// What came before the context, one per variate, so that a missing step
    /// gets the same stand-in as if the whole history had been handed over.
    /// `None`: the context is the whole history.
    pub prior: Option<Vec<PriorHistory>>,
    /// Covariates known ahead, `[covariate][step]`: the context's steps and
    /// then the horizon's. May be empty. A missing step gets the mean of the
    /// known ones before it, as in a variate; a covariate that was never
    /// observed is left out.
    pub future_covariates: Vec<Vec<f64>>,
    /// Covariates known for the past only, `[covariate][step]`. May be empty;
    /// gaps as above.
    pub past_covariates: Vec<Vec<f64>>,
}

impl Context {
    /// Returns the context of a series with one variate and no covariates.
    pub fn univariate(values: &[f64]) -> Self {
        Self { variates: vec![values.to_vec()], ..Self::default() }
    }

    /// Returns the newest `steps` of a series with one variate, and of what came
    /// before them the [`PriorHistory`]: a model answers as with the whole
    /// history's stand-ins for missing steps.
    ///
    /// ```
    /// use tidecast_forecast::Context;
    /// let context = Context::newest(&[f64::NAN, 2.0, 6.0, 3.0, 4.0], 2);
    /// assert_eq!(context.variates, [[3.0, 4.0]]);
    /// // Before the first observed step that one counts.
    /// let prior = context.prior.expect("a prior history")[0];
    /// assert_eq!((prior.sum, prior.count, prior.last), (10.0, 3, 6.0));
    /// ```
    pub fn newest(history: &[f64], steps: usize) -> Self {
        let (before, newest) = history.split_at(history.len().saturating_sub(steps));
        let mut prior = PriorHistory::default();
        if let Some(first) = history.iter().copied().find(|value| value.is_finite()) {
            let leading = before.iter().take_while(|value| !value.is_finite()).count();
            before.iter().take(leading).for_each(|_| prior.push(first));
            before.iter().skip(leading).for_each(|&value| prior.push(value));
        }
        Self { variates: vec![newest.to_vec()], prior: Some(vec![prior]), ..Self::default() }
    }

    /// Returns the number of past steps.
    pub fn steps(&self) -> usize {
        self.variates.first().map_or(0, Vec::len)
    }

    /// Returns which columns hold anything.
    pub fn observed(&self) -> Observed {
        let holds = |column: &Vec<f64>| column.iter().any(|value| value.is_finite());
        let of = |columns: &[Vec<f64>]| {
            columns.iter().enumerate().filter(|(_, it)| holds(it)).map(|(index, _)| index).collect()
        };
        Observed {
            variates: of(&self.variates),
            future_covariates: of(&self.future_covariates),
            past_covariates: of(&self.past_covariates),
        }
    }
}

/// The columns of a context with at least one observed step, ascending. A
/// forecast is made of these alone, as if the others had not been handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Indices of [`Context::variates`].
    pub variates: Vec<usize>,
    /// Indices of [`Context::future_covariates`].
    pub future_covariates: Vec<usize>,
    /// Indices of [`Context::past_covariates`].
    pub past_covariates: Vec<usize>,
}

/// A summary of the forward-filled history before a context: enough to go on
/// with the causal mean that stands in for missing steps (gluonts'
/// `CausalMeanValueImputation`).
///
/// "Forward-filled": a missing step repeats the last observed value, and steps
/// before the first observed one repeat that one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PriorHistory {
    /// Sum of the forward-filled values.
    pub sum: f64,
    /// Their number; 0 means that there is no history.
    pub count: u64,
    /// The newest of them.
    pub last: f64,
}

impl PriorHistory {
    /// Goes on by one step; NaN and infinite values repeat the last one.
    ///
    /// Steps before the first observed one are not counted here: hand them to
    /// the model with the context, or leave them out.
    ///
    /// ```
    /// let mut prior = tidecast_forecast::PriorHistory::default();
    /// for value in [2.0, f64::NAN, 5.0] {
    ///     prior.push(value);
    /// }
    /// assert_eq!((prior.sum, prior.count, prior.last), (9.0, 3, 5.0));
    /// ```
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.last = value;
        } else if self.count == 0 {
            return;
        }
        self.sum += self.last;
        self.count += 1;
    }
}

/// A request for one forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastTask {
    /// The past.
    pub context: Context,
    /// Steps to forecast.
    pub horizon: usize,
    /// Sample paths the quantiles are taken from; `None`: as many as suit the model.
    pub samples: Option<usize>,
    /// Quantile levels, each inside (0, 1).
    pub quantiles: Vec<f64>,
    /// The values that the variates can have.
    pub domain: DomainRule,
    /// Seed of the sample paths; see [`seed_for`](crate::seed_for).
    pub seed: u64,
    /// Whether the forecast carries its sample paths.
    pub keep_samples: bool,
}

impl ForecastTask {
    /// Returns a task with the usual samples, the quantiles 0.1, 0.5 and 0.9, and
    /// seed 0.
    pub fn new(context: Context, horizon: usize) -> Self {
        Self {
            context,
            horizon,
            samples: None,
            quantiles: vec![0.1, 0.5, 0.9],
            domain: DomainRule::default(),
            seed: 0,
            keep_samples: false,
        }
    }

    /// Returns the columns to make the forecast of.
    ///
    /// # Errors
    /// Why no model can answer this task.
    pub fn check(&self) -> Result<Observed, TaskError> {
        let steps = self.context.steps();
        if steps == 0 {
            return Err(TaskError::EmptyContext);
        }
        if self.horizon == 0 {
            return Err(TaskError::EmptyHorizon);
        }
        if self.samples == Some(0) {
            return Err(TaskError::NoSamples);
        }
        if let Some(&level) = self.quantiles.iter().find(|level| !(**level > 0.0 && **level < 1.0))
        {
            return Err(TaskError::QuantileOutOfRange { level });
        }
        let context = &self.context;
        let lengths = [
            ("variate", &context.variates, steps),
            ("future covariate", &context.future_covariates, steps + self.horizon),
            ("past covariate", &context.past_covariates, steps),
        ];
        for (kind, columns, expected) in lengths {
            for (index, column) in columns.iter().enumerate() {
                if column.len() != expected {
                    return Err(TaskError::Ragged { kind, index, found: column.len(), expected });
                }
            }
        }
        if let Some(prior) = &context.prior
            && prior.len() != context.variates.len()
        {
            return Err(TaskError::PriorMismatch {
                found: prior.len(),
                expected: context.variates.len(),
            });
        }
        let observed = context.observed();
        if observed.variates.is_empty() {
            return Err(TaskError::NothingObserved { variates: context.variates.len(), steps });
        }
        Ok(observed)
    }
}

/// A probabilistic forecast, in units of the series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// Mean of the sample paths, `[variate][step]`.
    pub mean: Vec<Vec<f64>>,
    /// Quantiles, `[level][variate][step]`, levels in the order of the task.
    pub quantiles: Vec<Vec<Vec<f64>>>,
    /// Sample paths, `[path][variate][step]`, if the task asked for them.
    pub samples: Option<Vec<Vec<Vec<f64>>>>,
    /// Variates of which nothing was observed, ascending; usually none. Their
    /// rows are NaN, and the others' are what they would be without them.
    pub unobserved: Vec<usize>,
    /// The values that each variate was held to.
    pub domains: Vec<Domain>,
}

impl Forecast {
    /// Holds the forecast to the values that its variates can have: each number becomes
    /// the nearest one, but means, which need not be whole.
    #[must_use]
    pub fn held_to(mut self, domains: Vec<Domain>) -> Self {
        let nearest = |rows: &mut Vec<Vec<f64>>| {
            for (row, domain) in rows.iter_mut().zip(&domains) {
                row.iter_mut().for_each(|value| *value = domain.nearest(*value));
            }
        };
        self.quantiles.iter_mut().for_each(nearest);
        self.samples.iter_mut().flatten().for_each(nearest);
        for (row, domain) in self.mean.iter_mut().zip(&domains) {
            row.iter_mut().for_each(|value| *value = domain.bounded(*value));
        }
        self.domains = domains;
        self
    }

    /// Makes the forecast of some of `variates` variates one of all: the others
    /// were not observed. `observed` are the indices of its rows, ascending.
    #[must_use]
    pub fn of_observed(mut self, observed: &[usize], variates: usize) -> Self {
        if observed.len() == variates {
            return self;
        }
        let horizon = self.mean.first().map_or(0, Vec::len);
        let spread = |rows: &mut Vec<Vec<f64>>| {
            let mut all = vec![vec![f64::NAN; horizon]; variates];
            for (row, &variate) in rows.iter_mut().zip(observed) {
                if let Some(place) = all.get_mut(variate) {
                    *place = std::mem::take(row);
                }
            }
            *rows = all;
        };
        let mut domains = vec![Domain::ANY; variates];
        for (domain, &variate) in self.domains.iter().zip(observed) {
            if let Some(place) = domains.get_mut(variate) {
                *place = *domain;
            }
        }
        self.domains = domains;
        spread(&mut self.mean);
        self.quantiles.iter_mut().for_each(spread);
        self.samples.iter_mut().flatten().for_each(spread);
        self.unobserved = (0..variates).filter(|variate| !observed.contains(variate)).collect();
        self
    }
}

/// Why one task got no forecast; other tasks of its batch are unaffected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// The context has no steps.
    #[error("the context is empty: at least `1` step is needed")]
    EmptyContext,
    /// No value of any variate was observed.
    #[error(
        "none of the `{steps}` steps{} was observed: at least `1` is needed",
        if *variates > 1 { format!(" of the `{variates}` variates") } else { String::new() }
    )]
    NothingObserved {
        /// Variates of the context.
        variates: usize,
        /// Steps of the context.
        steps: usize,
    },
    /// The horizon has no steps.
    #[error("the horizon is `0` steps: ask for at least `1`")]
    EmptyHorizon,
    /// No sample paths were asked for.
    #[error("`0` sample paths asked for: quantiles need at least `1`")]
    NoSamples,
    /// A quantile level is not inside (0, 1).
    #[error("quantile level `{level}` is outside (0, 1)")]
    QuantileOutOfRange {
        /// The level.
        level: f64,
    },
    /// A column is shorter or longer than the others.
    #[error("{kind} `{index}` has `{found}` steps: `{expected}` expected")]
    Ragged {
        /// `variate`, `future covariate` or `past covariate`.
        kind: &'static str,
        /// Which of them.
        index: usize,
        /// Its steps.
        found: usize,
        /// The steps it should have.
        expected: usize,
    },
    /// There is not one prior history per variate.
    #[error("`{found}` prior histories for `{expected}` variates: hand over one each, or none")]
    PriorMismatch {
        /// Prior histories handed over.
        found: usize,
        /// Variates.
        expected: usize,
    },
    /// The series has more steps than the model can tell apart.
    #[error(
        "`{tokens}` tokens in one series: at most `{limit}`; shorten the context or the horizon"
    )]
    TooLong {
        /// Tokens of the series.
        tokens: usize,
        /// The most allowed.
        limit: usize,
    },
    /// Every sample path left the range of floating point numbers.
    #[error("the model gave no finite value at step `{step}`: the series may be out of its range")]
    NotFinite {
        /// First such step of the horizon.
        step: usize,
    },
    /// The tensor library refused.
    #[error("the model failed: {reason}")]
    Model {
        /// Its words.
        reason: String,
    },
}
