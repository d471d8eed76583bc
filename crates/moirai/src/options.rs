//! What can be said of a MOIRAI-MoE model: the family's options, as data and read.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use tidecast_forecast::{DEVICE, LoadError, ModelSpec};
use tidecast_stream::{ModelOption, OptionKind, Requirement, Secret, Unset};

use crate::checkpoint::BUILTIN_TINY;
use crate::precision::Precision;
use crate::sampler::Sampling;

const PATH: ModelOption = ModelOption::new(
    "path",
    OptionKind::Checkpoint {
        builtin: &[BUILTIN_TINY],
        expected: "`builtin:tiny`, a folder with config.json and model.safetensors, or \
                   `hf://owner/name`",
    },
)
.unset(Unset::Value(BUILTIN_TINY));

const FROM_HUB: Requirement = Requirement {
    option: PATH.name,
    prefix: HUB,
    described: "a path of the hub, 'path'='hf://owner/name'",
};

/// How a path of the Hugging Face hub begins.
pub(crate) const HUB: &str = "hf://";

const REVISION: ModelOption = ModelOption::new("revision", OptionKind::Text).requires(FROM_HUB);
const TOKEN: ModelOption = ModelOption::new("token", OptionKind::Secret).requires(FROM_HUB);
const ACCEPTED_LICENCE: ModelOption =
    ModelOption::new("license.accept", OptionKind::Text).title(Some("accepted licence"));
const ROLLOUT: ModelOption = ModelOption::new(
    "rollout",
    OptionKind::Choice(&[Rollout::Cached.name(), Rollout::Exact.name()]),
)
.unset(Unset::Decided("the provider's default"));
const DTYPE: ModelOption = ModelOption::new(
    "dtype",
    OptionKind::Choice(&[Precision::F32.name(), Precision::F16.name(), Precision::Bf16.name()]),
)
.unset(Unset::Decided("as stored"));
const PATCH_SIZE: ModelOption = ModelOption::new("patch.size", OptionKind::Count { unit: "steps" })
    .title(Some("patch size"))
    .unset(Unset::Decided("the checkpoint's own"));

const SAMPLING: ModelOption = ModelOption::new(
    "sampling",
    OptionKind::Choice(&[Sampling::Stratified.name(), Sampling::Independent.name()]),
)
.unset(Unset::Decided("the provider's default"));
const POINTS: ModelOption =
    ModelOption::new("points", OptionKind::Count { unit: "a path and step" })
        .unset(Unset::Decided("the provider's default"));

/// The options of the family, in the order in which people read of them.
pub(crate) const OPTIONS: [ModelOption; 10] =
    [PATH, REVISION, TOKEN, ACCEPTED_LICENCE, DEVICE, ROLLOUT, SAMPLING, POINTS, DTYPE, PATCH_SIZE];

/// What was said of a model, read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// `builtin:tiny` unless said, a folder with `config.json` and `model.safetensors`, or
    /// a repository of the Hugging Face hub, `hf://owner/name` or
    /// `hf://owner/name@revision`.
    pub(crate) path: String,
    /// Branch, tag or commit of a repository of the hub; `None` is `main`.
    pub(crate) revision: Option<String>,
    /// Access token for the hub; `None` takes `HF_TOKEN` or the one that `hf auth
    /// login` stored.
    pub(crate) token: Option<Secret>,
    /// The licence accepted for weights that not everybody may use for
    /// everything, as in `cc-by-nc-4.0`.
    pub(crate) accepted_licence: Option<String>,
    /// [`Rollout::Cached`] unless said.
    pub(crate) rollout: Rollout,
    /// What suits device and rollout unless said.
    pub(crate) sampling: Option<Sampling>,
    /// Points drawn of each path's distribution at each step; what suits the sampling
    /// unless said.
    pub(crate) points: Option<usize>,
    /// How the weights of attention and experts are kept in memory; `None` is as
    /// they are stored (f64 as f32); on a card f16, or bf16 if one is too large.
    pub(crate) dtype: Option<Precision>,
    /// Which of the checkpoint's patch sizes to use; `None` is 16 if it has
    /// that, else its smallest.
    pub(crate) patch_size: Option<usize>,
}

impl Options {
    /// Reads the options of a spec.
    ///
    /// # Errors
    /// If one has a value that it cannot have.
    pub(crate) fn of(spec: &ModelSpec) -> Result<Self, LoadError> {
        let text = |option: ModelOption| spec.text(option.name).map(str::to_owned);
        Ok(Self {
            path: text(PATH).unwrap_or_else(|| BUILTIN_TINY.to_owned()),
            revision: text(REVISION),
            token: spec.secret(TOKEN.name),
            accepted_licence: text(ACCEPTED_LICENCE),
            rollout: parsed::<Rollout>(spec, ROLLOUT)?.unwrap_or(Rollout::Cached),
            sampling: parsed(spec, SAMPLING)?,
            points: spec.count(POINTS.name)?,
            dtype: dtype(spec)?,
            patch_size: spec.count(PATCH_SIZE.name)?,
        })
    }
}

/// Returns how a spec wants weights kept.
///
/// # Errors
/// If it is none of the ways there are.
pub(crate) fn dtype(spec: &ModelSpec) -> Result<Option<Precision>, LoadError> {
    parsed(spec, DTYPE)
}

fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    spec: &ModelSpec,
    option: ModelOption,
) -> Result<Option<T>, LoadError> {
    let value = spec.text(option.name).map(str::parse).transpose();
    value.map_err(|error| LoadError::Family(Box::new(error)))
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

impl Rollout {
    const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Cached => "cached",
        }
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rollout {
    type Err = UnknownRollout;

    fn from_str(text: &str) -> Result<Self, UnknownRollout> {
        match text {
            "exact" => Ok(Self::Exact),
            "cached" => Ok(Self::Cached),
            other => Err(UnknownRollout { rollout: other.to_owned() }),
        }
    }
}

/// There is no such rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown rollout `{rollout}`: expected `cached` or `exact`")]
pub struct UnknownRollout {
    /// The name given.
    pub rollout: String,
}
