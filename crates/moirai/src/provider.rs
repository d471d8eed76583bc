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
use crate::quantile::quantile;
use crate::rollout::cached::Job;
use crate::rollout::{Paths, Rolled, Series, Summary, exact};
use crate::sampler::{Sampler, Sampling, SamplingUnsupported};
use crate::scaler::Floor;

/// The patch size taken when the checkpoint has several and none is asked for.
const USUAL_PATCH_SIZE: usize = 16;

/// Sample paths unless said, where they share the distributions out: docs/accuracy.md
/// has the table that chose them.
const USUAL_PATHS: usize = 16;

/// Sample paths unless said, where each goes its own way.
const USUAL_INDEPENDENT_PATHS: usize = 100;

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
        let (sampling, points) = sampling(options, network.most_points())?;
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
        task.samples.unwrap_or(match self.sampling {
            Sampling::Stratified => USUAL_PATHS,
            Sampling::Independent => USUAL_INDEPENDENT_PATHS,
        })
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
fn sampling(options: &Options, most: usize) -> Result<(Sampling, usize), CheckpointError> {
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

/// Turns what the device has summed up into a forecast.
fn summarized(summary: &Summary, broken_paths: &AtomicU64) -> Result<Forecast, TaskError> {
    broken_paths.fetch_add(summary.broken as u64, Ordering::Relaxed);
    for mean in &summary.mean {
        if let Some(step) = mean.iter().position(|mean| mean.is_nan()) {
            return Err(TaskError::NotFinite { step });
        }
    }
    let Summary { mean, quantiles, .. } = summary.clone();
    Ok(Forecast { mean, quantiles, ..Forecast::default() })
}

/// Takes mean and quantiles over the paths; those that broke (NaN) are left out.
fn summarize(
    task: &ForecastTask,
    paths: &Paths,
    domains: &[Domain],
    broken_paths: &AtomicU64,
) -> Result<Forecast, TaskError> {
    let (variates, horizon, count) = (paths.variates, task.horizon, paths.count());
    let mut mean = vec![Vec::with_capacity(horizon); variates];
    let mut quantiles = vec![vec![Vec::with_capacity(horizon); variates]; task.quantiles.len()];
    let mut sorted = Vec::with_capacity(count);
    let broken = (0..count)
        .filter(|&path| (0..variates).any(|v| paths.path(path, v).iter().any(|x| x.is_nan())))
        .count();
    broken_paths.fetch_add(broken as u64, Ordering::Relaxed);
    for (variate, mean) in mean.iter_mut().enumerate() {
        for step in 0..horizon {
            sorted.clear();
            let paths_left = (0..count).filter(|path| !paths.path(*path, variate)[step].is_nan());
            match paths.points_of_step {
                0 => sorted.extend(paths_left.map(|path| paths.path(path, variate)[step])),
                _ => {
                    let points = paths_left.flat_map(|path| paths.points(path, variate, step));
                    let scaling = paths.scalings[variate];
                    let points = points.filter(|point| !point.is_nan());
                    let domain = domains.get(variate).copied().unwrap_or(Domain::ANY);
                    let value = |point: &f32| domain.nearest(scaling.undo(f64::from(*point)));
                    sorted.extend(points.map(value));
                }
            }
            if sorted.is_empty() {
                return Err(TaskError::NotFinite { step });
            }
            sorted.sort_unstable_by(f64::total_cmp);
            mean.push(mean_of(&sorted));
            for (by_variate, &level) in quantiles.iter_mut().zip(&task.quantiles) {
                by_variate[variate].push(quantile(&sorted, level));
            }
        }
    }
    let samples = task.keep_samples.then(|| {
        let path = |path: usize| {
            (0..variates).map(|variate| paths.path(path, variate)[..horizon].to_vec()).collect()
        };
        (0..count).map(path).collect()
    });
    // Paths of a card are held to it only here; and a mean of many equal values may be
    // off by its last digit.
    let forecast = Forecast { mean, quantiles, samples, ..Forecast::default() };
    Ok(forecast.held_to(domains.to_vec()))
}

/// Returns the mean; of the largest numbers too, whose sum is infinite.
fn mean_of(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() }
}

#[cfg(test)]
mod tests {
    use tidecast_stream::DomainRule;

    use super::*;
    use crate::spec;

    fn sine(steps: usize, phase: f64) -> Vec<f64> {
        let value =
            |step: usize| 20.0 + 5.0 * (step as f64 / 24.0 * std::f64::consts::TAU + phase).sin();
        (0..steps).map(value).collect()
    }

    fn task(values: &[f64], horizon: usize, seed: u64) -> ForecastTask {
        let mut task = ForecastTask::new(Context::univariate(values), horizon);
        (task.samples, task.seed, task.keep_samples) = (Some(30), seed, true);
        task
    }

    fn one(model: &mut dyn Provider, task: &ForecastTask) -> Forecast {
        model.forecast(std::slice::from_ref(task)).remove(0).expect("a forecast")
    }

    /// Largest difference of all sample paths.
    fn difference(left: &Forecast, right: &Forecast) -> f64 {
        let flat =
            |forecast: &Forecast| forecast.samples.as_ref().expect("samples").concat().concat();
        let (left, right) = (flat(left), flat(right));
        assert_eq!(left.len(), right.len());
        left.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn the_builtin_checkpoint_is_what_its_card_says() {
        let model = load(&spec()).expect("loads");
        let info = model.info();
        assert_eq!(info.parameters, 8_778_736);
        assert_eq!(info.active_parameters, 2_143_216);
        assert_eq!((model.patch_sizes(), info.recommended_context), (&[16][..], Some(1024)));
        assert_eq!(info.licence.as_deref(), Some("Apache-2.0"));
        assert_eq!(info.weights_bytes, 18_030_112);
        assert_eq!(info.version.len(), "sha256:".len() + 64);
        assert_eq!(model.rollout(), Rollout::Cached);
        let settings = [
            ("patch", "16 steps".to_owned()),
            ("rollout", "cached".to_owned()),
            ("sampling", "stratified".to_owned()),
        ];
        assert_eq!(info.settings, settings);
    }

    #[test]
    fn a_sine_goes_on() {
        let whole = sine(512 + 48, 0.3);
        for rollout in [Rollout::Cached, Rollout::Exact] {
            let mut model = load(&spec().with("rollout", rollout)).expect("loads");
            let mut values = whole[..512].to_vec();
            values[100..110].fill(f64::NAN);
            let forecast = one(&mut model, &task(&values, 48, 1));
            let median = &forecast.quantiles[1][0];
            let off = median.iter().zip(&whole[512..]).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f64::max);
            assert!(off < 1.0, "{rollout}: {off} of an amplitude of 5");
            for ((low, median), high) in
                forecast.quantiles[0][0].iter().zip(median).zip(&forecast.quantiles[2][0])
            {
                assert!(low <= median && median <= high);
            }
        }
    }

    #[test]
    fn a_forecast_depends_on_its_task_alone() {
        let tasks: Vec<ForecastTask> = (0..6)
            .map(|index| task(&sine(100 + 37 * index, index as f64), 10 + 9 * index, index as u64))
            .collect();
        let single = ModelSpec { threads: Some(1), ..spec() };
        let mut single = load(&single).expect("loads");
        let several = ModelSpec { threads: Some(3), ..spec() };
        let mut several = load(&several).expect("loads");
        let mut batch = tasks.clone();
        batch.insert(3, task(&[f64::NAN; 20], 5, 0));
        let mut together = several.forecast(&batch);
        let refused = together.remove(3).expect_err("nothing was observed");
        assert_eq!(refused, TaskError::NothingObserved { variates: 1, steps: 20 });
        for (task, together) in tasks.iter().zip(together) {
            let alone = one(&mut single, task);
            let together = together.expect("a forecast");
            assert!(alone == together, "off by {}", difference(&alone, &together));
        }
        let mut other = tasks[0].clone();
        other.seed += 1;
        let (left, right) = (one(&mut single, &tasks[0]), one(&mut single, &other));
        assert!(difference(&left, &right) > 1e-3);
    }

    #[test]
    fn a_shorter_horizon_draws_the_beginning_of_a_longer_one() {
        let mut model = load(&spec()).expect("loads");
        let long = one(&mut model, &task(&sine(200, 0.0), 40, 5));
        let short = one(&mut model, &task(&sine(200, 0.0), 20, 5));
        let (long, short) = (long.samples.expect("samples"), short.samples.expect("samples"));
        for (long, short) in long.iter().zip(&short) {
            assert_eq!(long[0][..20], short[0]);
        }
    }

    #[test]
    fn odd_series_are_forecast_or_refused_but_never_break_the_batch() {
        let mut model = load(&spec()).expect("loads");
        let usual = task(&sine(64, 0.0), 20, 9);
        let alone = one(&mut model, &usual);
        let big = |value: f64| -> Vec<f64> {
            (0..50).map(|i| value * (1.0 - 2.0 * (i % 2) as f64)).collect()
        };
        let odd = [
            vec![5.0],
            vec![0.0; 48],
            vec![7.0; 48],
            vec![f64::NAN, f64::NAN, 3.0],
            vec![f64::INFINITY, 1.0, f64::NEG_INFINITY, 2.0],
            big(1e30),
            big(1e300),
            big(f64::MAX),
            big(1e-300),
            big(f64::MIN_POSITIVE),
            vec![1e-310; 30],
            vec![5e-324; 30],
            vec![1e300; 30],
        ];
        let mut batch: Vec<ForecastTask> = odd.iter().map(|values| task(values, 20, 1)).collect();
        batch.push(usual);
        for rollout in [Rollout::Cached, Rollout::Exact] {
            let mut model = load(&spec().with("rollout", rollout)).expect("loads");
            let mut outcomes = model.forecast(&batch);
            let last = outcomes.pop().expect("as many as tasks").expect("a forecast");
            if rollout == Rollout::Cached {
                assert!(last == alone, "off by {}", difference(&last, &alone));
            }
            for (values, outcome) in odd.iter().zip(outcomes) {
                match outcome {
                    Ok(forecast) => {
                        let numbers = forecast.quantiles.concat().concat();
                        assert!(numbers.iter().all(|number| number.is_finite()), "{values:?}");
                    }
                    Err(error) => assert!(matches!(error, TaskError::NotFinite { .. }), "{error}"),
                }
            }
        }
        let tenth = one(&mut model, &task(&[0.1; 48], 20, 1));
        assert!(tenth.mean[0].iter().all(|mean| *mean == 0.1));
        let constant = one(&mut model, &batch[2]);
        let numbers = [constant.mean.concat(), constant.quantiles.concat().concat()].concat();
        assert!(numbers.iter().all(|value| *value == 7.0), "to the last digit");
        let long = task(&vec![1.0; 70_000], 4, 0);
        let refused = model.forecast(&[long]).remove(0).expect_err("too long");
        assert!(matches!(refused, TaskError::TooLong { .. }));
    }

    /// Forecasts are values that the series can have: found in a long context of counts,
    /// or said; and what is fed back is one, too.
    #[test]
    fn forecasts_are_held_to_their_domain() {
        let counts: Vec<f64> =
            (0..160).map(|step| f64::from([0, 0, 3, 0, 1, 0, 0][step % 7])).collect();
        let said = |rule: DomainRule| {
            let mut task = task(&sine(96, 0.0), 24, 2);
            task.domain = rule;
            task
        };
        let any = DomainRule::default();
        let bounded = DomainRule { lower: Some(19.5), upper: Some(22.25), ..any };
        let whole = DomainRule { integer: Some(true), ..any };
        for rollout in [Rollout::Cached, Rollout::Exact] {
            let mut model = load(&spec().with("rollout", rollout)).expect("loads");
            let numbers = |forecast: &Forecast| {
                let samples = forecast.samples.as_ref().expect("samples").concat().concat();
                [forecast.quantiles.concat().concat(), samples].concat()
            };
            let found = one(&mut model, &task(&counts, 24, 1));
            let domain = Domain { lower: Some(0.0), upper: None, integer: true };
            assert_eq!(found.domains, [domain]);
            let is_count = |value: &f64| *value >= 0.0 && value.fract() == 0.0;
            assert!(numbers(&found).iter().all(is_count), "{rollout}: {found:?}");
            assert!(found.mean[0].iter().any(|mean| mean.fract() != 0.0), "means need not be");

            let free = one(&mut model, &said(any));
            assert!(free.domains[0].is_any());
            let found = one(&mut model, &said(bounded));
            assert!(numbers(&found).iter().all(|value| (19.5..=22.25).contains(value)));
            assert!(numbers(&free).iter().any(|value| !(19.5..=22.25).contains(value)));
            // What follows the first patch saw what was held.
            let nearest = |forecast: &Forecast| -> Vec<f64> {
                numbers(forecast).iter().map(|value| found.domains[0].nearest(*value)).collect()
            };
            assert_ne!(nearest(&free), numbers(&found), "{rollout}");
            let found = one(&mut model, &said(whole));
            assert!(numbers(&found).iter().all(|value| value.fract() == 0.0));
        }
    }

    #[test]
    fn several_variates_and_covariates_are_taken() {
        let mut model = load(&spec()).expect("loads");
        let mut task = task(&sine(96, 0.0), 24, 2);
        task.context.variates.push(sine(96, 1.0));
        task.context.future_covariates.push(sine(120, 2.0));
        task.context.past_covariates.push(sine(96, 3.0));
        let forecast = one(&mut model, &task);
        assert_eq!((forecast.mean.len(), forecast.mean[1].len()), (2, 24));
        let samples = forecast.samples.expect("samples");
        assert_eq!((samples.len(), samples[0].len(), samples[0][1].len()), (30, 2, 24));
        // 6 patches of 4 columns, then one step of 3 tokens for each path.
        assert_eq!(model.cost(&task), 24 + 3 * 30);
    }

    #[test]
    fn what_cannot_be_loaded_says_what_to_do() {
        let refused = |spec: ModelSpec| load(&spec).expect_err("refused").to_string();
        let gpu = refused(ModelSpec { device: "cuda:0".into(), ..spec() });
        if cfg!(not(feature = "cuda")) {
            assert!(gpu.starts_with("device `cuda:0` is not supported by this build: use `cpu`"));
        }
        let device = refused(ModelSpec { device: "tpu".into(), ..spec() });
        assert!(device.starts_with("unknown device `tpu`"), "{device}");
        let size = refused(spec().with("patch.size", 32));
        assert_eq!(size, "the checkpoint has no patch size `32`: choose one of [16]");
        let nowhere = refused(spec().with("path", "/no/such"));
        assert!(nowhere.starts_with("`/no/such` is not a folder: point to a folder with"));
        let other = refused(spec().with("season", 24));
        assert!(other.starts_with("unknown option `season` of a moirai-moe model"), "{other}");
        let rollout = refused(spec().with("rollout", "fast"));
        assert_eq!(rollout, "unknown rollout `fast`: expected `cached` or `exact`");
        let dtype = refused(spec().with("dtype", "fp16"));
        assert_eq!(dtype, "unknown dtype `fp16`: expected `f32`, `f16` or `bf16`");
    }
}
