//! Probabilistic forecasts of time series: tensors in, quantiles out.
//!
//! A [`Provider`] turns [`ForecastTask`]s (a context, a horizon, quantile
//! levels, a seed) into [`Forecast`]s. Two are built in:
//!
//! - `moirai-moe`: MOIRAI-MoE (Woo et al. 2024, Liu et al. 2024,
//!   arXiv 2410.10469) in candle, for the checkpoint embedded here
//!   (`builtin:tiny`), any folder with `config.json` and `model.safetensors`, or
//!   a repository of the Hugging Face hub (`hf://owner/name`);
//! - `seasonal-naive`: the season before, repeated; the yardstick.
//!
//! The crate does no streaming and knows no runtime: it is usable alone.
//!
//! ```
//! use tidecast_forecast::{Context, ForecastTask, ModelSpec, load};
//!
//! let mut model = load(&ModelSpec { season: Some(4), ..ModelSpec::seasonal_naive() })?;
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
//! One counter: `tidecast_forecaster_broken_paths_total`, sample paths that
//! became NaN and were left out of mean and quantiles.
//!
//! Where to read on: [`ForecastTask`] for what goes in and out,
//! `moirai/` for the network, `rollout/` for how a horizon longer than one
//! patch is filled, [`verify`] for the comparison with the reference,
//! [`accuracy`] for how good forecasts were.

pub mod accuracy;
mod batch;
pub mod bench;
mod checkpoint;
mod config;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod distribution;
mod expert_usage;
mod hub;
mod imputation;
mod licence;
mod moirai;
mod moirai_provider;
mod network;
mod normal;
mod ops;
mod packing;
mod precision;
mod progress;
mod provider;
mod quantile;
mod rollout;
mod rows;
mod sampler;
mod scaler;
mod seasonal_naive;
mod seed;
mod special;
mod task;
#[cfg(test)]
mod testing;
pub mod verify;
mod weights;

pub use crate::batch::{BatchLimits, BatchQueue, NextBatch};
pub use crate::device::devices;
pub use crate::expert_usage::{ExpertUsage, LayerUsage};
pub use crate::precision::Precision;
pub use crate::progress::DownloadProgress;
pub use crate::provider::{
    LoadError, ModelInfo, ModelSpec, Provider, Rollout, Token, load, load_with,
};
pub use crate::seed::seed_for;
pub use crate::task::{Context, Forecast, ForecastTask, PriorHistory, TaskError};
