//! MOIRAI-MoE behind the provider trait.

use candle_core::Device;
use rayon::prelude::*;

use crate::checkpoint::{BUILTIN_TINY, Checkpoint};
use crate::imputation::Column;
use crate::moirai::MoiraiMoe;
use crate::packing::{Columns, PackedRow};
use crate::provider::{LoadError, ModelInfo, ModelSpec, Provider, Rollout};
use crate::quantile::quantile;
use crate::rollout::cached::{self, Job};
use crate::rollout::{Paths, Series, exact};
use crate::sampler::Sampler;
use crate::task::{Forecast, ForecastTask, PriorHistory, TaskError};

/// The patch size taken when the checkpoint has several and none is asked for.
const USUAL_PATCH_SIZE: usize = 16;

/// Tokens of one series, context and one path; attention grows with the square.
const MAX_SERIES_TOKENS: usize = 4096;

/// Opens the checkpoint and starts the threads.
pub(crate) fn load(spec: &ModelSpec) -> Result<MoiraiProvider, LoadError> {
    if !matches!(spec.device.as_str(), "auto" | "cpu") {
        return Err(LoadError::UnsupportedDevice { device: spec.device.clone() });
    }
    let path = spec.path.as_deref().unwrap_or(BUILTIN_TINY);
    let checkpoint = Checkpoint::open(path, &Device::Cpu)?;
    MoiraiProvider::new(checkpoint, spec)
}

#[derive(Debug)]
pub(crate) struct MoiraiProvider {
    model: MoiraiMoe,
    info: ModelInfo,
    rollout: Rollout,
    patch_size: usize,
    patch_index: usize,
    /// The model's own threads: a process may hold several models.
    threads: rayon::ThreadPool,
}

impl MoiraiProvider {
    fn new(checkpoint: Checkpoint, spec: &ModelSpec) -> Result<Self, LoadError> {
        let model = checkpoint.model;
        let sizes = &model.config.patch_sizes;
        let smallest = sizes.iter().copied().min().unwrap_or(USUAL_PATCH_SIZE);
        let usual = if sizes.contains(&USUAL_PATCH_SIZE) { USUAL_PATCH_SIZE } else { smallest };
        let patch_size = spec.patch_size.unwrap_or(usual);
        let patch_index = model
            .patch_index(patch_size)
            .ok_or_else(|| LoadError::PatchSize { asked: patch_size, available: sizes.clone() })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = spec.threads.unwrap_or(cores).max(1);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("model-{index}"))
            .build()
            .map_err(|error| LoadError::Threads { threads: count, reason: error.to_string() })?;
        let rollout = spec.rollout.unwrap_or(Rollout::Cached);
        let (parameters, active_parameters) = model.parameters();
        let info = ModelInfo {
            provider: "moirai-moe".to_owned(),
            path: checkpoint.path,
            version: checkpoint.version,
            architecture: format!(
                "{} layers of width {}, {} heads, {} experts of which 2 answer",
                model.layers(),
                model.config.d_model,
                model.config.heads,
                model.experts(),
            ),
            parameters,
            active_parameters,
            licence: checkpoint.licence,
            patch_sizes: sizes.clone(),
            patch_size: Some(patch_size),
            recommended_context: checkpoint.recommended_context,
            weights_bytes: checkpoint.weights_bytes,
            device: "cpu".to_owned(),
            threads: count,
            rollout: Some(rollout),
        };
        Ok(Self { model, info, rollout, patch_size, patch_index, threads })
    }

    /// Packs a task, if it can be answered.
    fn pack(&self, task: &ForecastTask) -> Result<PackedRow, TaskError> {
        task.check()?;
        let tokens = self.context_tokens(task) + self.step_tokens(task) * self.patches(task);
        if tokens > MAX_SERIES_TOKENS {
            return Err(TaskError::TooLong { tokens, limit: MAX_SERIES_TOKENS });
        }
        let context = &task.context;
        let prior = |variate: usize| match &context.prior {
            Some(prior) => prior[variate],
            None => PriorHistory::default(),
        };
        let zeros = |columns: &[Vec<f32>]| -> Vec<Column> {
            columns.iter().map(|column| Column::zero_filled(column)).collect()
        };
        let target = match context.variates.as_slice() {
            [only] => vec![Column::causal_mean_filled(only, &prior(0))],
            several => zeros(several),
        };
        let columns = Columns {
            target,
            future_covariates: zeros(&context.future_covariates),
            past_covariates: zeros(&context.past_covariates),
            is_pad: vec![false; context.steps()],
        };
        let width = self.model.config.patch_width;
        Ok(PackedRow::pack(&columns, task.horizon, self.patch_size, width))
    }

    fn patches(&self, task: &ForecastTask) -> usize {
        task.horizon.div_ceil(self.patch_size)
    }

    fn context_tokens(&self, task: &ForecastTask) -> usize {
        let context = &task.context;
        let columns = context.variates.len()
            + context.future_covariates.len()
            + context.past_covariates.len();
        context.steps().div_ceil(self.patch_size) * columns
    }

    /// Tokens one path gets at each patch of the horizon.
    fn step_tokens(&self, task: &ForecastTask) -> usize {
        task.context.variates.len() + task.context.future_covariates.len()
    }

    fn roll_out(&self, tasks: &[(&ForecastTask, &PackedRow)]) -> candle_core::Result<Vec<Paths>> {
        let series: Vec<Series<'_>> =
            tasks.iter().map(|(_, row)| Series::new(row, &self.model)).collect();
        let samplers: Vec<Sampler> =
            tasks.iter().map(|(task, _)| Sampler { seed: task.seed }).collect();
        match self.rollout {
            Rollout::Cached => {
                let jobs: Vec<Job<'_>> = tasks
                    .iter()
                    .zip(&series)
                    .zip(&samplers)
                    .map(|(((task, _), series), fill)| Job { series, paths: task.samples, fill })
                    .collect();
                cached::rollout(&self.model, self.patch_index, &jobs)
            }
            Rollout::Exact => tasks
                .iter()
                .zip(&series)
                .zip(&samplers)
                .map(|(((task, _), series), fill)| {
                    let options = exact::Options::default();
                    let (model, index) = (&self.model, self.patch_index);
                    exact::rollout(model, index, series, task.samples, fill, options)
                })
                .collect(),
        }
    }

    fn answer(&self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        let rows: Vec<Result<PackedRow, TaskError>> =
            tasks.par_iter().map(|task| self.pack(task)).collect();
        let packed: Vec<(&ForecastTask, &PackedRow)> = tasks
            .iter()
            .zip(&rows)
            .filter_map(|(task, row)| Some((task, row.as_ref().ok()?)))
            .collect();
        let paths = match self.roll_out(&packed) {
            Ok(paths) => paths,
            Err(error) => {
                let reason = error.to_string();
                let failed = |row: Result<PackedRow, TaskError>| {
                    row.and(Err(TaskError::Model { reason: reason.clone() }))
                };
                return rows.into_iter().map(failed).collect();
            }
        };
        let mut summaries = packed
            .par_iter()
            .zip(&paths)
            .map(|((task, _), paths)| summarize(task, paths))
            .collect::<Vec<_>>()
            .into_iter();
        let outcome = |row: Result<PackedRow, TaskError>| {
            row?;
            summaries.next().unwrap_or(Err(TaskError::NotFinite { step: 0 }))
        };
        rows.into_iter().map(outcome).collect()
    }
}

impl Provider for MoiraiProvider {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn cost(&self, task: &ForecastTask) -> usize {
        let (context, step) = (self.context_tokens(task), self.step_tokens(task));
        let steps = self.patches(task).saturating_sub(1);
        match self.rollout {
            Rollout::Cached => context + steps * step * task.samples,
            // Each step encodes the context and all steps before again.
            Rollout::Exact => {
                context + task.samples * (steps * context + step * steps * (steps + 1) / 2)
            }
        }
    }

    fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        self.threads.install(|| self.answer(tasks))
    }
}

/// Takes mean and quantiles over the paths; those that broke (NaN) are left out.
fn summarize(task: &ForecastTask, paths: &Paths) -> Result<Forecast, TaskError> {
    let (variates, horizon) = (paths.variates, task.horizon);
    let mut mean = vec![Vec::with_capacity(horizon); variates];
    let mut quantiles = vec![vec![Vec::with_capacity(horizon); variates]; task.quantiles.len()];
    let mut sorted = Vec::with_capacity(task.samples);
    for (variate, mean) in mean.iter_mut().enumerate() {
        for step in 0..horizon {
            let values = (0..task.samples).map(|path| paths.path(path, variate)[step]);
            sorted.clear();
            sorted.extend(values.filter(|value| !value.is_nan()));
            if sorted.is_empty() {
                return Err(TaskError::NotFinite { step });
            }
            sorted.sort_unstable_by(f32::total_cmp);
            let sum: f64 = sorted.iter().copied().map(f64::from).sum();
            mean.push(sum / sorted.len() as f64);
            for (by_variate, &level) in quantiles.iter_mut().zip(&task.quantiles) {
                by_variate[variate].push(quantile(&sorted, level));
            }
        }
    }
    let samples = task.keep_samples.then(|| {
        let path = |path: usize| {
            (0..variates).map(|variate| paths.path(path, variate)[..horizon].to_vec()).collect()
        };
        (0..task.samples).map(path).collect()
    });
    Ok(Forecast { mean, quantiles, samples })
}
