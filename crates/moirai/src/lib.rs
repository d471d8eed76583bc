//! MOIRAI-MoE (Woo et al. 2024, Liu et al. 2024, arXiv 2410.10469) in candle and, on
//! NVIDIA cards, in kernels of our own: a family of models of [`tidecast_forecast`].
//!
//! It loads the checkpoint embedded here (`builtin:tiny`), any folder with
//! `config.json` and `model.safetensors`, or a repository of the Hugging Face hub
//! (`hf://owner/name`). The rest of a system knows of it by [`FAMILY`]: its name, its
//! options, its loader.
//!
//! ```
//! use tidecast_forecast::{Context, ForecastTask, Provider};
//!
//! let mut model = tidecast_moirai::load(&tidecast_moirai::spec().with("rollout", "cached"))?;
//! let history = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, f64::NAN, 4.0];
//! let task = ForecastTask { samples: Some(8), ..ForecastTask::new(Context::univariate(&history), 4) };
//! for outcome in model.forecast(&[task]) {
//!     assert_eq!(outcome?.mean[0].len(), 4);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to read on: `model/` for the network, `rollout/` for how a horizon longer than
//! one patch is filled, `cuda/` and `kernels/` for both on cards, [`verify`] for the
//! comparison with the reference, [`mod@bench`] for how fast it is.

pub mod bench;
mod checkpoint;
mod config;
mod coupling;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod distribution;
mod error;
mod expert_usage;
mod imputation;
mod model;
mod network;
mod ops;
mod options;
mod packing;
mod precision;
mod provider;
mod quantile;
mod rollout;
mod rows;
mod sampler;
mod scaler;
mod special;
mod strata;
mod summary;
#[cfg(test)]
mod testing;
pub mod verify;
mod weights;

use tidecast_forecast::{Family, ModelSpec};
use tidecast_stream::ModelFamily;

pub use crate::device::devices;
pub use crate::error::CheckpointError;
pub use crate::expert_usage::{ExpertUsage, LayerUsage};
pub use crate::options::{Rollout, UnknownRollout};
pub use crate::precision::{Precision, UnknownDtype};
pub use crate::provider::{Moirai, load, load_with};
pub use crate::sampler::{Sampling, UnknownSampling};

/// The family: its name, its options, its loader.
pub const FAMILY: Family = Family {
    about: ModelFamily {
        name: "moirai-moe",
        options: &options::OPTIONS,
        // The reference has it here; with us a pipeline says it, for each forecast.
        unsupported: &["samples"],
    },
    devices,
    load: |spec, progress| Ok(Box::new(load_with(spec, progress)?)),
};

/// Returns a model of the family of which nothing is said: the built-in checkpoint.
pub fn spec() -> ModelSpec {
    ModelSpec::new(FAMILY.about.name)
}
