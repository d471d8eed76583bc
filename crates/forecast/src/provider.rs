//! What the rest of a system knows of a model.

use serde::Serialize;

use crate::task::{Forecast, ForecastTask, TaskError};

/// Tokens and tasks of a batch that suit a processor.
pub const PROCESSOR_BATCH: (usize, usize) = (65_536, 256);

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

    /// Returns what the model has counted since it was loaded, for metrics: the same
    /// counters in the same order each time.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }
}

/// A number that only grows, under the name of its metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// The metric's name.
    pub name: &'static str,
    /// What tells it from others of that name, beside the model.
    pub labels: Vec<(&'static str, String)>,
    /// What was counted since the model was loaded.
    pub value: u64,
}

/// What a loaded model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name of its family.
    pub provider: String,
    /// Where it came from: a built-in checkpoint, the folder or `hf://owner/name`;
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
    /// What the family's own options came to, for people: a name and a value each.
    pub settings: Vec<(&'static str, String)>,
}
