//! Reading golden folders.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::VerifyError;

/// Draws behind the reference's quantiles where the manifest does not say.
const USUAL_DRAWS: u64 = 1_000_000;

/// Scale units between the paths of the `ladder` where the manifest does not
/// say.
const USUAL_PERTURBATION: f64 = 0.25;

/// A folder of golden files and its manifest.
pub(super) struct GoldenFolder {
    pub(super) path: PathBuf,
    /// File names: the forward pass first, then forecasts, then the sampler.
    pub(super) files: Vec<String>,
    manifest: Value,
}

/// What the manifest says of a forecast file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ForecastSettings {
    pub(super) patch_size: Option<usize>,
    /// Scale units that one path of the `ladder` lies above the one before.
    pub(super) perturbation: f64,
}

impl GoldenFolder {
    pub(super) fn open(path: &Path) -> Result<Self, VerifyError> {
        let fail = |source| VerifyError::Folder { path: path.to_owned(), source };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(fail)? {
            names.insert(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        let manifest_path = path.join("manifest.json");
        let manifest = match std::fs::read(&manifest_path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| VerifyError::File {
                path: manifest_path,
                reason: format!("{error}; expected JSON"),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
            Err(source) => return Err(VerifyError::Folder { path: manifest_path, source }),
        };
        names.extend(entries(&manifest).filter_map(file_of).map(str::to_owned));
        let is_golden = |name: &String| rank(name) < 3 && name.ends_with(".safetensors");
        let mut files: Vec<String> = names.into_iter().filter(is_golden).collect();
        files.sort_by_key(|name| rank(name));
        if files.is_empty() {
            return Err(VerifyError::NothingToVerify { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), files, manifest })
    }

    fn entry(&self, file: &str) -> Option<&Value> {
        entries(&self.manifest).find(|entry| file_of(entry) == Some(file))
    }

    pub(super) fn forecast_settings(&self, file: &str) -> ForecastSettings {
        let patch_size = self.entry(file).and_then(|entry| entry.get("patch_size")?.as_u64());
        let perturbation = self.manifest.get("perturb").and_then(Value::as_f64);
        ForecastSettings {
            patch_size: patch_size.map(|size| size as usize),
            perturbation: perturbation.unwrap_or(USUAL_PERTURBATION),
        }
    }

    /// Returns the number of draws behind the reference's quantiles.
    pub(super) fn reference_draws(&self, file: &str) -> u64 {
        let draws = self.entry(file).and_then(|entry| entry.get("samples")?.as_u64());
        draws.unwrap_or(USUAL_DRAWS)
    }
}

/// Returns the manifest's objects that name a file, at any depth of one list.
fn entries(manifest: &Value) -> impl Iterator<Item = &Value> {
    let values = manifest.as_object().into_iter().flat_map(|object| object.values());
    values.flat_map(|value| match value {
        Value::Array(list) => list.as_slice(),
        other => std::slice::from_ref(other),
    })
}

fn file_of(entry: &Value) -> Option<&str> {
    entry.get("file")?.as_str()
}

fn rank(name: &str) -> usize {
    let prefixes = ["module_forward", "forecast_", "sampler"];
    prefixes.iter().position(|prefix| name.starts_with(prefix)).unwrap_or(prefixes.len())
}

/// The tensors of one golden file.
pub(super) struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Names nobody asked for yet.
    unused: RefCell<BTreeSet<String>>,
}

/// A tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<T>,
}

impl<T> Array<T> {
    /// Returns the length of an axis; 1 beyond the last.
    pub(super) fn dim(&self, axis: usize) -> usize {
        self.shape.get(axis).copied().unwrap_or(1)
    }

    /// Returns the elements at this index of the first axis.
    pub(super) fn slice(&self, index: usize) -> &[T] {
        let length = self.data.len() / self.dim(0).max(1);
        &self.data[index * length..(index + 1) * length]
    }
}

impl Golden {
    pub(super) fn read(path: &Path) -> Result<Self, VerifyError> {
        let bytes = std::fs::read(path)
            .map_err(|source| VerifyError::Folder { path: path.to_owned(), source })?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| VerifyError::File {
            path: path.to_owned(),
            reason: format!("damaged or not a safetensors file ({error}): fetch it again"),
        })?;
        let unused = tensors.names().into_iter().map(str::to_owned).collect();
        Ok(Self { path: path.to_owned(), unused: RefCell::new(unused), bytes })
    }

    /// Returns the names that nobody asked for.
    pub(super) fn unused(&self) -> Vec<String> {
        self.unused.borrow().iter().cloned().collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).is_ok_and(|tensors| tensors.tensor(name).is_ok())
    }

    /// Returns a tensor of numbers, as f32.
    pub(super) fn floats(&self, name: &str) -> Result<Array<f32>, VerifyError> {
        self.array(name, |dtype, data| match dtype {
            Dtype::F32 => Some(words(data, f32::from_le_bytes)),
            Dtype::F64 => Some(words(data, |word| f64::from_le_bytes(word) as f32)),
            _ => None,
        })
    }

    /// Returns a tensor of whole numbers.
    pub(super) fn whole(&self, name: &str) -> Result<Array<u32>, VerifyError> {
        self.array(name, |dtype, data| match dtype {
            Dtype::I64 => Some(words(data, |word| i64::from_le_bytes(word) as u32)),
            Dtype::I32 => Some(words(data, |word| i32::from_le_bytes(word) as u32)),
            _ => None,
        })
    }

    /// Returns a tensor of truth values.
    pub(super) fn flags(&self, name: &str) -> Result<Array<bool>, VerifyError> {
        self.array(name, |dtype, data| match dtype {
            Dtype::BOOL | Dtype::U8 => Some(data.iter().map(|&byte| byte != 0).collect()),
            _ => None,
        })
    }

    /// Returns a tensor of numbers if the file has it.
    pub(super) fn optional_floats(&self, name: &str) -> Result<Option<Array<f32>>, VerifyError> {
        if self.has(name) { self.floats(name).map(Some) } else { Ok(None) }
    }

    fn array<T>(
        &self,
        name: &str,
        convert: impl Fn(Dtype, &[u8]) -> Option<Vec<T>>,
    ) -> Result<Array<T>, VerifyError> {
        let tensors =
            SafeTensors::deserialize(&self.bytes).map_err(|error| self.fail(error.to_string()))?;
        let view = tensors.tensor(name).map_err(|_| self.fail(format!("no tensor `{name}`")))?;
        self.unused.borrow_mut().remove(name);
        let data = convert(view.dtype(), view.data()).ok_or_else(|| {
            self.fail(format!("tensor `{name}` has the unexpected type `{}`", view.dtype()))
        })?;
        Ok(Array { shape: view.shape().to_vec(), data })
    }

    pub(super) fn fail(&self, reason: String) -> VerifyError {
        VerifyError::File { path: self.path.clone(), reason }
    }

    pub(super) fn model_error(&self, source: candle_core::Error) -> VerifyError {
        VerifyError::Model { path: self.path.clone(), source }
    }
}

fn words<T, const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|word| number(*word)).collect()
}
