//! Comparison with the reference: any folder of golden tensors, through any
//! checkpoint.
//!
//! The format of a golden folder is described in the README of the one shipped
//! with this crate (`tests/golden/README.md`).

mod forecast;
mod forward;
mod golden;
mod module_forward;
mod sampler;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidecast_forecast::LoadError;

use crate::checkpoint::{Checkpoint, Wish};
use crate::device::place;
use crate::precision::Precision;
use crate::verify::golden::{Golden, GoldenFolder};

/// One quantity of one file, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The file's name.
    pub file: String,
    /// What was compared.
    pub quantity: String,
    /// How it came out.
    pub status: Status,
    /// The largest error, in the units of the tolerance.
    pub error: f64,
    /// The largest error allowed.
    pub tolerance: f64,
    /// What the error is relative to, or why nothing was compared.
    pub note: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The error is within the tolerance.
    Passed,
    /// It is not.
    Failed,
    /// The file asks for something this implementation does not have.
    Unsupported,
}

/// All checks of a golden folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// In the order they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// Returns whether there were checks and none failed.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.failed() == 0
    }

    /// Returns the number of failed checks.
    pub fn failed(&self) -> usize {
        self.count(Status::Failed)
    }

    /// Returns the number of checks that could not be made.
    pub fn unsupported(&self) -> usize {
        self.count(Status::Unsupported)
    }

    fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// Why a folder could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The model could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The golden folder could not be read.
    #[error("`{}` cannot be read: {source}; expected a folder of golden tensors", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no golden file in the folder.
    #[error(
        "`{}` holds no golden file: expected `module_forward.safetensors`, \
         `forecast_*.safetensors` or `sampler.safetensors`",
        path.display()
    )]
    NothingToVerify {
        /// The folder.
        path: PathBuf,
    },
    /// A golden file is damaged or lacks a tensor.
    #[error("`{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The tensor library refused.
    #[error("the model failed on `{}`: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: candle_core::Error,
    },
}

/// What the model runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On<'a> {
    /// The device, as in [`ModelSpec`](tidecast_forecast::ModelSpec).
    pub device: &'a str,
    /// How weights are kept. The tolerances are those of f32: with less, the
    /// checks show by how much it misses them.
    pub dtype: Precision,
}

impl Default for On<'_> {
    /// The processor, f32.
    fn default() -> Self {
        Self { device: "cpu", dtype: Precision::F32 }
    }
}

/// Runs every golden file of `golden_dir` through the model in `model_dir` and
/// hands each comparison to `on_check` as it is made.
///
/// The files are those that `manifest.json` names and those that lie in the
/// folder under the names of the format, whatever their number and whatever
/// the model's shape. Tolerances are those of the format's README:
///
/// - patches, ids, masks and imputed values: exact;
/// - location and scale: 1e-6 relative, 1e-5 once drawn values are in them;
/// - tensors of the encoder and parameters: 2e-5 of the largest value, at
///   least 1; the chosen experts: the same sets;
/// - means: 1e-5 scale units (relative to the distance from the location where
///   that is larger) and two units in the last place of the value; 1e-5 of
///   the value once drawn values are fed back;
/// - log densities: 2e-3 of `1 + |reference|`;
/// - rollouts: 1e-5 of the largest value;
/// - sampler: 5 standard errors, in probability (see the sampler's check).
pub fn verify(
    model_dir: &Path,
    golden_dir: &Path,
    on: On<'_>,
    on_check: &mut dyn FnMut(&Check),
) -> Result<Report, VerifyError> {
    let place = place(on.device)?;
    let wish = Wish { dtype: Some(on.dtype), place, ..Wish::default() };
    let network = Checkpoint::open_folder(model_dir, wish).map_err(LoadError::from)?.network;
    let model = &*network;
    let folder = GoldenFolder::open(golden_dir)?;
    let mut report = Report::default();
    for name in &folder.files {
        let golden = Golden::read(&folder.path.join(name))?;
        let mut recorder = Recorder { file: name, report: &mut report, on_check };
        if name.starts_with("module_forward") {
            module_forward::check(model, &golden, &mut recorder)?;
        } else if name.starts_with("sampler") {
            sampler::check(model, &golden, folder.reference_draws(name), &mut recorder)?;
        } else {
            let settings = folder.forecast_settings(name);
            forecast::check(model, &golden, &settings, &mut recorder)?;
        }
        for tensor in golden.unused() {
            recorder.unsupported(&tensor, "this tensor is not compared".to_owned());
        }
    }
    Ok(report)
}

/// Makes the checks of one file.
struct Recorder<'a> {
    file: &'a str,
    report: &'a mut Report,
    on_check: &'a mut dyn FnMut(&Check),
}

impl Recorder<'_> {
    /// Records a comparison; an error that is NaN is a failure.
    fn compared(&mut self, quantity: &str, error: f64, tolerance: f64, note: &str) {
        let status = if error <= tolerance { Status::Passed } else { Status::Failed };
        self.record(quantity, status, error, tolerance, note.to_owned());
    }

    /// Records whether things that must be equal are.
    fn equal(&mut self, quantity: &str, differing: usize, note: &str) {
        self.compared(quantity, differing as f64, 0.0, note);
    }

    fn unsupported(&mut self, quantity: &str, reason: String) {
        self.record(quantity, Status::Unsupported, 0.0, 0.0, reason);
    }

    fn record(&mut self, quantity: &str, status: Status, error: f64, tolerance: f64, note: String) {
        let (file, quantity) = (self.file.to_owned(), quantity.to_owned());
        let check = Check { file, quantity, status, error, tolerance, note };
        (self.on_check)(&check);
        self.report.checks.push(check);
    }
}

/// Returns the largest difference, each divided by `unit(index)`; infinite or
/// NaN unless equal where the reference is infinite.
fn largest_error(found: &[f32], reference: &[f32], unit: impl Fn(usize) -> f64) -> f64 {
    if found.len() != reference.len() {
        return f64::NAN;
    }
    let mut largest = 0.0;
    for (index, (&found, &reference)) in found.iter().zip(reference).enumerate() {
        if found == reference {
            continue;
        }
        let error = (f64::from(found) - f64::from(reference)).abs() / unit(index);
        if error.is_nan() {
            return error;
        }
        largest = f64::max(largest, error);
    }
    largest
}

/// Returns the largest absolute value.
fn largest(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).abs()).fold(0.0, f64::max)
}

/// Returns how many elements differ; all if the lengths do.
fn differing<T: PartialEq>(found: &[T], reference: &[T]) -> usize {
    if found.len() != reference.len() {
        return found.len().max(reference.len());
    }
    found.iter().zip(reference).filter(|(found, reference)| found != reference).count()
}
