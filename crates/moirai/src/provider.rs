//! MOIRAI-MoE behind the provider trait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;
use tidecast_forecast::{
    Context, Counter, DownloadProgress, Forecast, ForecastTask, LoadError, Logged, ModelInfo,
    ModelSpec, Observed, PriorHistory, Provider, TaskError, family, load_on,
};
use tidecast_stream::Domain;

use crate::checkpoint::Checkpoint;
use crate::device::{Asked, Place, devices};
use crate::error::CheckpointError;
use crate::expert_usage::ExpertUsage;
use crate::imputation::Column;
use crate::model::{Costs, Tokens};
use crate::network::Network;
use crate::options::{Options, Rollout};
use crate::packing::{Columns, PackedRow};
use crate::precision::Precision;
use crate::rollout::cached::Job;
use crate::rollout::{Rolled, Series, exact};
use crate::sampler::{Sampler, Sampling, SamplingUnsupported};
use crate::scaler::Floor;
use crate::summary::{summarize, summarized};

/// The patch size taken when the checkpoint has several and none is asked for.
const USUAL_PATCH_SIZE: usize = 16;

/// Tokens of one series, context and one path; attention grows with the square.
pub(crate) const MAX_SERIES_TOKENS: usize = 4096;

/// Loads a model of this family. A download from the hub is told to the log.
///
/// # Errors
/// If the spec is of another family, an option is wrong, the checkpoint cannot be opened,
/// or the device cannot be used.
pub fn load(spec: &ModelSpec) -> Result<Moirai, LoadError> {
    load_with(spec, &mut Logged::default())
}

/// Opens the checkpoint and starts the threads; `progress` hears of a download from the
/// hub.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    spec: &ModelSpec,
    progress: &mut (dyn DownloadProgress + Send),
) -> Result<Moirai, LoadError> {
    family(&[crate::FAMILY], spec)?;
    let mut loaded = load_on(&spec.device, devices(&spec.device), 1, |device| {
        load_one(&ModelSpec { device: device.to_owned(), ..spec.clone() }, progress)
    })?;
    loaded.pop().ok_or_else(|| LoadError::UnknownDevice { device: spec.device.clone() })
}

fn load_one(
    spec: &ModelSpec,
    progress: &mut (dyn DownloadProgress + Send),
) -> Result<Moirai, LoadError> {
    let started = Instant::now();
    let options = Options::of(spec)?;
    let place = Asked::parse(&spec.device)?.find()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = spec.threads.unwrap_or(cores).max(1);
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|index| format!("model-{index}"))
        .build()
        .map_err(|error| LoadError::Threads { threads: count, reason: error.to_string() })?;
    let mut open = |options: &Options, place: &Place| {
        Checkpoint::open(options, spec.cached_only, place, progress, &threads)
    };
    let checkpoint = match open(&options, &place) {
        // What nobody asked for must not be why it does not load.
        Err(CheckpointError::OutOfRange { name, .. }) if options.dtype.is_none() => {
            tracing::info!(tensor = name, "a weight is beyond the range of f16: bf16 is used");
            let shorter = Options { dtype: Some(Precision::Bf16), ..options.clone() };
            open(&shorter, &place)?
        }
        opened => opened?,
    };
    let mut provider = Moirai::new(checkpoint, &options, threads)?;
    provider.warm_up()?;
    let info = &provider.info;
    tracing::debug!(
        path = info.path,
        device = info.device,
        rollout = %provider.rollout,
        elapsed = ?started.elapsed(),
        "checkpoint opened"
    );
    Ok(provider)
}

/// A loaded model.
#[derive(Debug)]
pub struct Moirai {
    network: Box<dyn Network>,
    info: ModelInfo,
    rollout: Rollout,
    sampling: Sampling,
    /// Points of each path's distribution at each step.
    points: usize,
    patch_size: usize,
    patch_index: usize,
    /// The model's own threads: a process may hold several models.
    threads: rayon::ThreadPool,
    /// Sample paths that became NaN and were left out.
    broken_paths: AtomicU64,
}

impl Moirai {
    fn new(
        checkpoint: Checkpoint,
        options: &Options,
        threads: rayon::ThreadPool,
    ) -> Result<Self, CheckpointError> {
        let network = checkpoint.network;
        let config = network.config();
        let sizes = &config.patch_sizes;
        let smallest = sizes.iter().copied().min().unwrap_or(USUAL_PATCH_SIZE);
        let usual = if sizes.contains(&USUAL_PATCH_SIZE) { USUAL_PATCH_SIZE } else { smallest };
        let patch_size = options.patch_size.unwrap_or(usual);
        let patch_index = network.patch_index(patch_size).ok_or_else(|| {
            CheckpointError::PatchSize { asked: patch_size, available: sizes.clone() }
        })?;
        let rollout = options.rollout;
        let (sampling, points) = sampling(options, &*network)?;
        let (parameters, active_parameters) =
            Costs { config, experts: network.experts() }.parameters();
        let info = ModelInfo {
            provider: crate::FAMILY.about.name.to_owned(),
            path: checkpoint.path,
            revision: checkpoint.revision,
            version: checkpoint.version,
            architecture: format!(
                "{} layers of width {}, {} heads, {} experts of which 2 answer",
                config.layers,
                config.d_model,
                config.heads,
                network.experts(),
            ),
            parameters,
            active_parameters,
            licence: checkpoint.licence,
            recommended_context: checkpoint.recommended_context,
            weights_bytes: checkpoint.weights_bytes,
            memory_bytes: network.bytes() as u64,
            device: network.device(),
            threads: threads.current_num_threads(),
            settings: vec![
                ("patch", format!("{patch_size} steps")),
                ("rollout", rollout.to_string()),
                ("sampling", sampling.to_string()),
            ],
        };
        Ok(Self {
            network,
            info,
            rollout,
            sampling,
            points,
            patch_size,
            patch_index,
            threads,
            broken_paths: AtomicU64::new(0),
        })
    }

    /// Returns the patch sizes that the weights were trained for, in steps.
    pub fn patch_sizes(&self) -> &[usize] {
        &self.network.config().patch_sizes
    }

    /// Returns the patch size in use, in steps.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// Returns how a horizon longer than a patch is filled.
    pub fn rollout(&self) -> Rollout {
        self.rollout
    }

    /// Returns how the mixture of experts was used since the model was loaded.
    pub fn expert_usage(&self) -> ExpertUsage {
        self.network.expert_usage()
    }

    /// Makes a first forecast on a card: it loads the kernels and takes the first
    /// memory, and whoever waits for the model expects it ready.
    fn warm_up(&mut self) -> Result<(), LoadError> {
        if self.network.device_memory().is_none() {
            return Ok(());
        }
        let patch = self.patch_size;
        let values: Vec<f64> = (0..4 * patch).map(|step| (step % 7) as f64).collect();
        let task = ForecastTask::new(Context::univariate(&values), 2 * patch);
        match self.forecast(&[task]).pop() {
            Some(Err(TaskError::Model { reason })) => {
                let device = self.info.device.split(' ').next().unwrap_or_default().to_owned();
                Err(LoadError::Device { device, reason })
            }
            _ => Ok(()),
        }
    }

    /// Packs a task, if it can be answered: the columns that hold anything, by
    /// themselves.
    fn pack(&self, task: &ForecastTask) -> Result<Packed, TaskError> {
        let observed = task.check()?;
        let tokens =
            self.context_tokens(task, &observed) + step_tokens(&observed) * self.patches(task);
        if tokens > MAX_SERIES_TOKENS {
            return Err(TaskError::TooLong { tokens, limit: MAX_SERIES_TOKENS });
        }
        let context = &task.context;
        let prior = |variate: usize| match &context.prior {
            Some(prior) => prior[variate],
            None => PriorHistory::default(),
        };
        let target = |&variate: &usize| {
            Column::causal_mean_filled(&context.variates[variate], &prior(variate))
        };
        let covariates = |columns: &[Vec<f64>], observed: &[usize]| -> Vec<Column> {
            let none = PriorHistory::default();
            observed.iter().map(|&it| Column::causal_mean_filled(&columns[it], &none)).collect()
        };
        let columns = Columns {
            target: observed.variates.iter().map(target).collect(),
            future_covariates: covariates(&context.future_covariates, &observed.future_covariates),
            past_covariates: covariates(&context.past_covariates, &observed.past_covariates),
            is_pad: vec![false; context.steps()],
        };
        let width = self.network.config().patch_width;
        let row = PackedRow::pack(&columns, task.horizon, self.patch_size, width);
        let domain = |&variate: &usize| task.domain.of(&context.variates[variate]);
        let domains = observed.variates.iter().map(domain).collect();
        Ok(Packed { row, variates: observed.variates, domains })
    }

    /// The exact rollout is the oracle, and draws as the reference does.
    fn sampler(&self, task: &ForecastTask, domains: &[Domain]) -> Sampler {
        let domains = domains.to_vec();
        match self.rollout {
            Rollout::Exact => Sampler { domains, ..Sampler::independent(task.seed) },
            Rollout::Cached => {
                let Self { sampling, points, .. } = *self;
                Sampler { seed: task.seed, sampling, points, domains }
            }
        }
    }

    /// Returns the sample paths of a task.
    fn paths(&self, task: &ForecastTask) -> usize {
        task.samples.unwrap_or(self.sampling.paths())
    }

    fn patches(&self, task: &ForecastTask) -> usize {
        task.horizon.div_ceil(self.patch_size)
    }

    fn context_tokens(&self, task: &ForecastTask, observed: &Observed) -> usize {
        let columns = observed.variates.len()
            + observed.future_covariates.len()
            + observed.past_covariates.len();
        task.context.steps().div_ceil(self.patch_size) * columns
    }

    fn roll_out(&self, tasks: &[(&ForecastTask, &Packed)]) -> candle_core::Result<Vec<Rolled>> {
        let config = self.network.config();
        let series: Vec<Series<'_>> = tasks
            .par_iter()
            .map(|(_, packed)| Series::new(&packed.row, config, Floor::Relative))
            .collect();
        let samplers: Vec<Sampler> =
            tasks.iter().map(|(task, packed)| self.sampler(task, &packed.domains)).collect();
        match self.rollout {
            Rollout::Cached => {
                let jobs: Vec<Job<'_>> = tasks
                    .iter()
                    .zip(&series)
                    .zip(&samplers)
                    .map(|(((task, _), series), fill)| {
                        let levels = (!task.keep_samples).then_some(task.quantiles.as_slice());
                        Job { series, paths: self.paths(task), fill, levels }
                    })
                    .collect();
                self.network.roll_out(self.patch_index, &jobs)
            }
            Rollout::Exact => tasks
                .iter()
                .zip(&series)
                .zip(&samplers)
                .map(|(((task, _), series), fill)| {
                    let options = exact::Options::default();
                    let (network, index) = (&*self.network, self.patch_index);
                    exact::rollout(network, index, series, self.paths(task), fill, options)
                        .map(Rolled::Paths)
                })
                .collect(),
        }
    }

    fn answer(&self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        let rows: Vec<Result<Packed, TaskError>> =
            tasks.par_iter().map(|task| self.pack(task)).collect();
        let packed: Vec<(&ForecastTask, &Packed)> = tasks
            .iter()
            .zip(&rows)
            .filter_map(|(task, row)| Some((task, row.as_ref().ok()?)))
            .collect();
        let rolled = match self.roll_out(&packed) {
            Ok(rolled) => rolled,
            Err(error) => {
                let reason = error.to_string();
                let failed = |row: Result<Packed, TaskError>| {
                    row.and(Err(TaskError::Model { reason: reason.clone() }))
                };
                return rows.into_iter().map(failed).collect();
            }
        };
        let mut summaries = packed
            .par_iter()
            .zip(&rolled)
            .map(|((task, packed), rolled)| {
                let forecast = match rolled {
                    Rolled::Paths(paths) => {
                        summarize(task, paths, &packed.domains, &self.broken_paths)?
                    }
                    Rolled::Summary(summary) => {
                        summarized(summary, &self.broken_paths)?.held_to(packed.domains.clone())
                    }
                };
                Ok(forecast.of_observed(&packed.variates, task.context.variates.len()))
            })
            .collect::<Vec<_>>()
            .into_iter();
        let outcome = |row: Result<Packed, TaskError>| {
            row?;
            summaries.next().unwrap_or(Err(TaskError::NotFinite { step: 0 }))
        };
        rows.into_iter().map(outcome).collect()
    }
}

impl Provider for Moirai {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn cost(&self, task: &ForecastTask) -> usize {
        let observed = task.context.observed();
        let (context, step) = (self.context_tokens(task, &observed), step_tokens(&observed));
        let steps = self.patches(task).saturating_sub(1);
        match self.rollout {
            Rollout::Cached => context + steps * step * self.paths(task),
            // Each step encodes the context and all steps before again.
            Rollout::Exact => {
                context + self.paths(task) * (steps * context + step * steps * (steps + 1) / 2)
            }
        }
    }

    fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        self.threads.install(|| self.answer(tasks))
    }

    fn operations(&self, task: &ForecastTask) -> Option<f64> {
        let observed = task.context.observed();
        let tokens = Tokens {
            context: self.context_tokens(task, &observed),
            targets: observed.variates.len(),
            step: step_tokens(&observed),
            patches: self.patches(task),
            paths: self.paths(task),
        };
        let costs = Costs { config: self.network.config(), experts: self.network.experts() };
        Some(costs.operations(self.rollout, tokens))
    }

    fn batch(&self) -> (usize, usize) {
        self.network.batch()
    }

    fn device_memory(&self) -> Option<(u64, u64)> {
        self.network.device_memory()
    }

    fn failure(&self) -> Option<String> {
        self.network.failure()
    }

    fn counters(&self) -> Vec<Counter> {
        let mut counters = vec![
            Counter {
                name: "tidecast_forecaster_broken_paths_total",
                labels: Vec::new(),
                value: self.broken_paths.load(Ordering::Relaxed),
            },
            Counter {
                name: "tidecast_forecaster_device_splits_total",
                labels: Vec::new(),
                value: self.network.splits(),
            },
        ];
        counters.extend(self.expert_usage().counters());
        counters
    }
}

/// Returns how paths are drawn, and how many points of each at a step: as evenly as the
/// rollout can unless said.
fn sampling(
    options: &Options,
    network: &dyn Network,
) -> Result<(Sampling, usize), CheckpointError> {
    let refused = |error| Err(CheckpointError::Load(LoadError::Family(Box::new(error))));
    let sampling = match (options.sampling, options.rollout) {
        (Some(Sampling::Stratified), Rollout::Exact) => {
            return refused(SamplingUnsupported::Exact);
        }
        (Some(sampling), _) => sampling,
        (None, Rollout::Cached) => Sampling::Stratified,
        (None, Rollout::Exact) => Sampling::Independent,
    };
    let points = options.points.unwrap_or(sampling.points()).max(1);
    let most = network.most_points(sampling);
    match points > most {
        true => refused(SamplingUnsupported::Points { points, most }),
        false => Ok((sampling, points)),
    }
}

/// A task as the network gets it.
struct Packed {
    row: PackedRow,
    /// Which variates the row's are.
    variates: Vec<usize>,
    /// The values that each of them can have.
    domains: Vec<Domain>,
}

/// Tokens one path gets at each patch of the horizon.
fn step_tokens(observed: &Observed) -> usize {
    observed.variates.len() + observed.future_covariates.len()
}

#[cfg(test)]
mod tests;
