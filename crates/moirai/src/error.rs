//! Why a checkpoint of MOIRAI-MoE could not be opened.

use std::path::PathBuf;

use tidecast_forecast::LoadError;

use crate::precision::Precision;

/// Why a checkpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No such built-in checkpoint.
    #[error(
        "unknown built-in checkpoint `{path}`: expected `builtin:tiny`, a folder or \
         `hf://owner/name`"
    )]
    UnknownBuiltin {
        /// The path given.
        path: String,
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
    /// The checkpoint has no such patch size.
    #[error("the checkpoint has no patch size `{asked}`: choose one of {available:?}")]
    PatchSize {
        /// The patch size given.
        asked: usize,
        /// Those of the checkpoint.
        available: Vec<usize>,
    },
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
    /// The tensor library refused.
    #[error("the weights could not be prepared: {0}")]
    Tensor(#[from] candle_core::Error),
    /// What is no matter of the checkpoint's files: the device, the hub, the licence.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<CheckpointError> for LoadError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Load(error) => error,
            of_the_family => Self::Family(Box::new(of_the_family)),
        }
    }
}
