//! The tensors of a `model.safetensors`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::error::CheckpointError;
use crate::precision::Precision;

/// The tensors of a file, each taken once.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    path: PathBuf,
    left: BTreeSet<String>,
    release: Option<Release<'a>>,
    /// How large matrices are kept, however they are stored.
    dtype: Option<Precision>,
}

/// Called with the bytes of a tensor that has been read.
pub(crate) type Release<'a> = &'a (dyn Fn(&[u8]) + Sync);

impl<'a> Weights<'a> {
    /// Opens a file's bytes; `path` is for messages. Large matrices are kept as
    /// `dtype`, or as they are stored.
    pub(crate) fn open(
        bytes: &'a [u8],
        path: &Path,
        release: Option<Release<'a>>,
        dtype: Option<Precision>,
    ) -> Result<Self, CheckpointError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            CheckpointError::Corrupt { path: path.to_owned(), reason: error.to_string() }
        })?;
        let left = tensors.names().into_iter().map(str::to_owned).collect();
        Ok(Self { tensors, path: path.to_owned(), left, release, dtype })
    }

    /// Returns a tensor's shape without taking it.
    pub(crate) fn shape(&self, name: &str) -> Result<Vec<usize>, CheckpointError> {
        let view = self.tensors.tensor(name).map_err(|_| self.missing(name))?;
        Ok(view.shape().to_vec())
    }

    fn missing(&self, name: &str) -> CheckpointError {
        CheckpointError::MissingTensor { path: self.path.clone(), name: name.to_owned() }
    }

    /// Takes a tensor of this shape, as it is stored.
    pub(crate) fn take(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<Stored<'a>, CheckpointError> {
        let view = self.tensors.tensor(name).map_err(|_| self.missing(name))?;
        if view.shape() != shape {
            return Err(CheckpointError::WrongShape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        self.left.remove(name);
        let (name, path) = (name.to_owned(), self.path.clone());
        let (release, asked) = (self.release, self.dtype);
        Ok(Stored { name, path, dtype: view.dtype(), data: view.data(), release, asked })
    }

    /// Takes a tensor of this shape as f32 numbers in row-major order.
    pub(crate) fn numbers(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, CheckpointError> {
        self.take(name, shape)?.numbers()
    }

    /// Refuses tensors that nothing asked for.
    pub(crate) fn finish(&self) -> Result<(), CheckpointError> {
        match self.left.first() {
            None => Ok(()),
            Some(name) => Err(CheckpointError::UnexpectedTensor {
                path: self.path.clone(),
                name: name.clone(),
                count: self.left.len(),
            }),
        }
    }
}

/// Reads matrices that are kept together, and says how: as was asked for, else
/// so that no number changes.
pub(crate) fn matrices(
    stored: &[Stored<'_>],
) -> Result<(Vec<Vec<f32>>, Precision), CheckpointError> {
    let mut all = stored.iter().map(Stored::precision);
    let first = all.next().unwrap_or(Precision::F32);
    let precision = if all.all(|other| other == first) { first } else { Precision::F32 };
    let mut matrices = Vec::with_capacity(stored.len());
    for tensor in stored {
        let numbers = tensor.numbers()?;
        if !numbers.iter().all(|&number| precision.holds(number)) {
            return Err(CheckpointError::OutOfRange {
                path: tensor.path.clone(),
                name: tensor.name.clone(),
                dtype: precision,
            });
        }
        matrices.push(numbers);
    }
    Ok((matrices, precision))
}

/// A tensor of a file, not yet read.
pub(crate) struct Stored<'a> {
    name: String,
    path: PathBuf,
    dtype: Dtype,
    data: &'a [u8],
    release: Option<Release<'a>>,
    asked: Option<Precision>,
}

impl Stored<'_> {
    /// Reads the numbers, in row-major order.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>, CheckpointError> {
        let (path, name) = (|| self.path.clone(), || self.name.clone());
        let numbers: Vec<f32> = match self.dtype {
            Dtype::F32 => words(self.data, f32::from_le_bytes),
            Dtype::F16 => words(self.data, |word| f16::from_le_bytes(word).to_f32()),
            Dtype::BF16 => words(self.data, |word| bf16::from_le_bytes(word).to_f32()),
            Dtype::F64 => words(self.data, |word| f64::from_le_bytes(word) as f32),
            other => {
                let dtype = other.to_string();
                return Err(CheckpointError::UnsupportedDtype {
                    path: path(),
                    name: name(),
                    dtype,
                });
            }
        };
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(CheckpointError::NotFinite { path: path(), name: name() });
        }
        if let Some(release) = self.release {
            release(self.data);
        }
        Ok(numbers)
    }

    /// Returns in what precision the numbers are to be kept: without loss, if
    /// nothing was asked for.
    fn precision(&self) -> Precision {
        match (self.asked, self.dtype) {
            (Some(asked), _) => asked,
            (None, Dtype::F16) => Precision::F16,
            (None, Dtype::BF16) => Precision::Bf16,
            (None, _) => Precision::F32,
        }
    }
}

fn words<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|word| number(*word)).collect()
}
