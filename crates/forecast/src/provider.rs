//! What the rest of a system knows of a model.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use crate::expert_usage::ExpertUsage;
use crate::moirai_provider;
use crate::precision::Precision;
use crate::progress::{DownloadProgress, Logged};
use crate::seasonal_naive::SeasonalNaive;
use crate::task::{Forecast, ForecastTask, TaskError};

/// Tokens and tasks of a batch that suit a processor.
pub(crate) const PROCESSOR_BATCH: (usize, usize) = (65_536, 256);

/// A model that forecasts batches of series. It belongs to one thread at a
/// time; inside it may use several.
pub trait Provider: Send {
    /// Returns what the model is.
    fn info(&self) -> &ModelInfo;

    /// Returns the work a task means, in tokens: what batches are limited by.
    fn cost(&self, task: &ForecastTask) -> usize;

    /// Answers each task, in order. A task that cannot be answered gets an
    /// error of its own. What a task gets depends on the task alone, to the
    /// bit, whatever else is in the batch and however many threads there are.
    /// Another kind of processor may round differently.
    fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>>;

    /// Returns the floating-point operations that a task needs at least;
    /// `None` if nobody counts them.
    fn operations(&self, _task: &ForecastTask) -> Option<f64> {
        None
    }

    /// Returns tokens and tasks of a batch that suits the device: enough to keep
    /// it busy, few enough for the first series not to wait long for the last.
    fn batch(&self) -> (usize, usize) {
        PROCESSOR_BATCH
    }

    /// Returns the bytes of the device's memory that are in use, and all there
    /// are; `None` for the processor.
    fn device_memory(&self) -> Option<(u64, u64)> {
        None
    }

    /// Returns why the device can do nothing more: every forecast fails from now
    /// on, until the model is dropped and loaded again.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Returns how a mixture of experts was used so far; `None` for a model
    /// that is none.
    fn expert_usage(&self) -> Option<ExpertUsage> {
        None
    }
}

/// What a loaded model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// `moirai-moe` or `seasonal-naive`.
    pub provider: String,
    /// Where it came from: `builtin:tiny`, the folder or `hf://owner/name`;
    /// empty for a provider without weights.
    pub path: String,
    /// The commit, for a checkpoint of the Hugging Face hub.
    pub revision: Option<String>,
    /// `sha256:` and the digest of `model.safetensors`, or the provider's own
    /// version.
    pub version: String,
    /// Its size and form in a few words, for people.
    pub architecture: String,
    /// Trained parameters.
    pub parameters: u64,
    /// Parameters used for one token.
    pub active_parameters: u64,
    /// The licence of the weights, if the folder's README states one.
    pub licence: Option<String>,
    /// Patch sizes the weights were trained for; empty without patches.
    pub patch_sizes: Vec<usize>,
    /// The patch size in use.
    pub patch_size: Option<usize>,
    /// Steps of context with which the model is at its best, if known.
    pub recommended_context: Option<usize>,
    /// Bytes of the weights as stored.
    pub weights_bytes: u64,
    /// Bytes of the weights in memory: those of 16 bits stay so, the rest is
    /// f32.
    pub memory_bytes: u64,
    /// The device in use.
    pub device: String,
    /// Threads in use.
    pub threads: usize,
    /// The rollout in use, if the model has any.
    pub rollout: Option<Rollout>,
}

/// How a horizon longer than one patch is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    /// The reference's loop: location and scale are estimated anew at each
    /// step of each path, and everything is encoded again. The oracle.
    Exact,
    /// Location and scale stay the context's; the context is encoded once per
    /// series and all its sample paths share the keys and values. Identical
    /// to [`Exact`](Self::Exact) for a horizon of one patch.
    Cached,
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Cached => "cached",
        })
    }
}

impl FromStr for Rollout {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        match text {
            "exact" => Ok(Self::Exact),
            "cached" => Ok(Self::Cached),
            other => Err(LoadError::UnknownRollout { rollout: other.to_owned() }),
        }
    }
}

/// Which model to load and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// `moirai-moe` or `seasonal-naive`.
    pub provider: String,
    /// `builtin:tiny`, a folder with `config.json` and `model.safetensors`, or
    /// a repository of the Hugging Face hub, `hf://owner/name` or
    /// `hf://owner/name@revision`; `None` is `builtin:tiny`.
    pub path: Option<String>,
    /// Branch, tag or commit of a repository of the hub; `None` is `main`.
    pub revision: Option<String>,
    /// Access token for the hub; `None` takes `HF_TOKEN` or the one that `hf auth
    /// login` stored.
    pub token: Option<Token>,
    /// The licence accepted for weights that not everybody may use for
    /// everything, as in `cc-by-nc-4.0`.
    pub accepted_licence: Option<String>,
    /// Takes a checkpoint of the hub from the cache or not at all.
    pub cached_only: bool,
    /// `auto` (a card if this build and machine have one), `cpu`, `cuda` or
    /// `cuda:N`.
    pub device: String,
    /// `None` is [`Rollout::Cached`].
    pub rollout: Option<Rollout>,
    /// How the weights of attention and experts are kept in memory; `None` is as
    /// they are stored (f64 as f32); on a card f16, or bf16 if one is too large.
    pub dtype: Option<Precision>,
    /// Which of the checkpoint's patch sizes to use; `None` is 16 if it has
    /// that, else its smallest.
    pub patch_size: Option<usize>,
    /// Season length in steps, for `seasonal-naive`; `None` is 1 (the last
    /// value goes on). It is not guessed from the data.
    pub season: Option<usize>,
    /// Threads; `None` is one per core.
    pub threads: Option<usize>,
}

impl Default for ModelSpec {
    /// `moirai-moe` with the built-in checkpoint.
    fn default() -> Self {
        Self {
            provider: "moirai-moe".to_owned(),
            path: None,
            revision: None,
            token: None,
            accepted_licence: None,
            cached_only: false,
            device: "auto".to_owned(),
            rollout: None,
            dtype: None,
            patch_size: None,
            season: None,
            threads: None,
        }
    }
}

impl ModelSpec {
    /// Returns the spec of the seasonal naive forecaster, season 1.
    pub fn seasonal_naive() -> Self {
        Self { provider: "seasonal-naive".to_owned(), ..Self::default() }
    }
}

/// A secret that does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Returns the token with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Loads a model. A download from the hub is told to the log.
pub fn load(spec: &ModelSpec) -> Result<Box<dyn Provider>, LoadError> {
    load_with(spec, &mut Logged::default())
}

/// Loads a model; `progress` hears of a download from the hub.
pub fn load_with(
    spec: &ModelSpec,
    progress: &mut (dyn DownloadProgress + Send),
) -> Result<Box<dyn Provider>, LoadError> {
    match spec.provider.as_str() {
        "moirai-moe" => Ok(Box::new(moirai_provider::load(spec, progress)?)),
        "seasonal-naive" => Ok(Box::new(SeasonalNaive::new(spec.season.unwrap_or(1))?)),
        other => Err(LoadError::UnknownProvider { provider: other.to_owned() }),
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such provider.
    #[error("unknown provider `{provider}`: expected `moirai-moe` or `seasonal-naive`")]
    UnknownProvider {
        /// The name given.
        provider: String,
    },
    /// No such built-in checkpoint.
    #[error(
        "unknown built-in checkpoint `{path}`: expected `builtin:tiny`, a folder or \
         `hf://owner/name`"
    )]
    UnknownBuiltin {
        /// The path given.
        path: String,
    },
    /// No such rollout.
    #[error("unknown rollout `{rollout}`: expected `cached` or `exact`")]
    UnknownRollout {
        /// The name given.
        rollout: String,
    },
    /// No such way to keep weights.
    #[error("unknown dtype `{dtype}`: expected `f32`, `f16` or `bf16`")]
    UnknownDtype {
        /// The name given.
        dtype: String,
    },
    /// A weight is too large for the dtype asked for.
    #[error(
        "tensor `{name}` of `{}` has a number beyond the range of `{dtype}`: choose `bf16` or `f32`",
        path.display()
    )]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The dtype asked for.
        dtype: Precision,
    },
    /// No such device.
    #[error("unknown device `{device}`: expected `auto`, `cpu`, `cuda` or `cuda:0`")]
    UnknownDevice {
        /// The name given.
        device: String,
    },
    /// The device is not one this build can use.
    #[error(
        "device `{device}` is not supported by this build: use `cpu` or `auto`, or a build with \
         the feature `cuda`"
    )]
    UnsupportedDevice {
        /// The device given.
        device: String,
    },
    /// The card cannot be used.
    #[error("device `{device}`: {reason}")]
    Device {
        /// The device given.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The checkpoint has no such patch size.
    #[error("the checkpoint has no patch size `{asked}`: choose one of {available:?}")]
    PatchSize {
        /// The patch size given.
        asked: usize,
        /// Those of the checkpoint.
        available: Vec<usize>,
    },
    /// The season has no steps.
    #[error("season `0`: a season has at least `1` step")]
    EmptySeason,
    /// The path is no folder.
    #[error(
        "`{}` is not a folder: point to a folder with `config.json` and `model.safetensors`, \
         or use `builtin:tiny` or `hf://owner/name`",
        path.display()
    )]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
    /// A file of the checkpoint could not be read.
    #[error(
        "`{}` cannot be read: {source}; a checkpoint folder holds `config.json` and \
         `model.safetensors`",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `config.json` says something that cannot be.
    #[error("`{}`: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// `model.safetensors` is damaged or something else.
    #[error("`{}` is damaged or not a safetensors file ({reason}): fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is not there.
    #[error(
        "`{}` has no tensor `{name}`: `config.json` asks for it; do the two files belong together?",
        path.display()
    )]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// There are tensors that belong to no part of the model.
    #[error(
        "`{}` has `{count}` tensors that `config.json` does not account for, the first is \
         `{name}`; do the two files belong together?",
        path.display()
    )]
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The first of them.
        name: String,
        /// How many.
        count: usize,
    },
    /// A tensor has another shape.
    #[error(
        "tensor `{name}` of `{}` has shape {found:?}: {expected:?} expected by `config.json`",
        path.display()
    )]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor's numbers are of a kind that is not read.
    #[error(
        "tensor `{name}` of `{}` is stored as `{dtype}`: expected f32, f16, bf16 or f64",
        path.display()
    )]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// How it is stored.
        dtype: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "tensor `{name}` of `{}` holds a NaN or an infinity: the training diverged or the file \
         is damaged",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The Hugging Face hub does not give the checkpoint.
    #[error("`{repository}`: {reason}")]
    Hub {
        /// `hf://owner/name`.
        repository: String,
        /// Why, and what to do.
        reason: String,
    },
    /// There is no folder for the cache of the hub.
    #[error(
        "no folder for downloads from the hub: set HF_HOME (neither HF_HUB_CACHE, HF_HOME, \
         XDG_CACHE_HOME nor HOME is set)"
    )]
    NoHubCache,
    /// A file in the cache of the hub is not what was published.
    #[error(
        "`{}` is damaged: its SHA-256 is not `{expected}`; delete the file it links to and load \
         again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest it was published with.
        expected: String,
    },
    /// The licence of the weights does not allow every use, and was not accepted.
    #[error(
        "the weights of `{path}` are under the licence `{licence}`, {limits}: if that suits you, \
         accept it with 'license.accept'='{licence}' in CREATE MODEL or with --accept-license \
         {licence}{}",
        accepted
            .as_ref()
            .map(|accepted| format!("; `{accepted}` was accepted, which is another one"))
            .unwrap_or_default()
    )]
    Licence {
        /// Where the weights are.
        path: String,
        /// Its name, as the hub spells it.
        licence: String,
        /// What it limits.
        limits: &'static str,
        /// What was accepted instead.
        accepted: Option<String>,
    },
    /// The thread pool could not be started.
    #[error("`{threads}` model threads could not be started: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        reason: String,
    },
    /// The tensor library refused.
    #[error("the weights could not be prepared: {0}")]
    Tensor(#[from] candle_core::Error),
}
