//! Probabilistic forecasts of time series: what a model is to the rest of a system,
//! and what models of any family need.
//!
//! A [`Provider`] turns [`ForecastTask`]s (a context, a horizon, quantile
//! levels, a seed) into [`Forecast`]s. Providers come in families: a [`Family`] is a
//! name, options as data and a loader, and [`load`] takes the families that it may
//! choose from. This crate has [`seasonal_naive`], the season before, repeated: the
//! yardstick. It knows no other one.
//!
//! It does no streaming and knows no runtime: with a family it is usable alone.
//!
//! ```
//! use tidecast_forecast::{Context, ForecastTask, ModelSpec, load, seasonal_naive};
//!
//! let spec = ModelSpec::new("seasonal-naive").with("season", 4);
//! let mut model = load(&[seasonal_naive::FAMILY], &spec)?;
//! let history = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, f64::NAN, 4.0];
//! let task = ForecastTask::new(Context::univariate(&history), 4);
//! for outcome in model.forecast(&[task]) {
//!     assert_eq!(outcome?.mean, [[1.0, 2.0, 3.0, 4.0]]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What to count on: a forecast depends on its task alone, to the bit, whatever
//! the batch and the number of threads (on one kind of processor). A value that
//! is NaN or infinite is missing. Neither unit nor level of a series matters: its
//! values are f64 until they are standardised, and those of a forecast are f64. A
//! series that cannot be forecast gets a [`TaskError`] and disturbs no other; a
//! variate or covariate that was never observed is left out
//! ([`Forecast::unobserved`]).
//!
//! Where to read on: [`ForecastTask`] for what goes in and out, [`Family`] for what a
//! new one has to bring, [`hub`] and [`licence`] for where checkpoints come from,
//! [`accuracy`] for how good forecasts were.

pub mod accuracy;
mod batch;
pub mod hub;
mod joint;
pub mod licence;
mod load;
mod normal;
mod progress;
mod provider;
pub mod seasonal_naive;
mod seed;
mod spec;
mod squares;
mod task;

pub use crate::batch::{BatchLimits, BatchQueue, NextBatch};
pub use crate::joint::AggregateForecast;
pub use crate::load::{Family, Load, LoadError, family, load, load_on, load_with};
pub use crate::normal::{normal_probability, normal_quantile};
pub use crate::progress::{DownloadProgress, Logged};
pub use crate::provider::{Counter, ModelInfo, PROCESSOR_BATCH, Provider};
pub use crate::seed::seed_for;
pub use crate::spec::{AUTO, DEVICE, ModelSpec};
pub use crate::squares::unit_of_squares;
pub use crate::task::{Context, Forecast, ForecastTask, Observed, PriorHistory, TaskError};
