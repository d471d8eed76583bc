//! The cached rollout on a card: from scaled contexts to quantiles.
//!
//! The card sees standardised values alone, in f32. The host subtracts location
//! and divides by scale before, and undoes both after, in f64: mean and quantiles
//! of `location + scale z` are those of z, since the scale is positive.
//!
//! Series are sorted by their horizons, the longest first, so that those still
//! running are always the front of every buffer. The host builds tables of
//! where everything stands, launches kernels without looking back, and waits
//! once, for the results.

use rayon::prelude::*;

use super::buffer::{Buffer, Pointer};
use super::encoder::{Attended, Memory, Own, Work, size_of_operand};
use super::gpu::{CudaError, Gpu, Result};
use super::launch::{self, Draw, Hindsight, Pair, Quantiles, SUMS, Span};
use super::network::{CudaNetwork, TokenRows, tiles};
use crate::coupling::{Coupling, POINTS, Together};
use crate::model::Probe;
use crate::network::Network;
use crate::rollout::cached::Job;
use crate::rollout::{self, Paths, Rolled, Summary};
use crate::scaler::Scaling;

/// Sample paths that the quantiles' kernel sorts at most; more go to the host.
const MOST_SORTED: usize = 4096;

/// Location and scale of what is standardised already.
const STANDARDISED: [f32; 2] = [0.0, 1.0];

/// Of the memory that is free, what one batch may take.
const SHARE_OF_MEMORY: f64 = 0.8;

/// Rolls out as many series at once as memory allows.
pub(super) fn roll_out(
    network: &CudaNetwork,
    gpu: &Gpu,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Rolled>> {
    let (free, _) = gpu.memory()?;
    let limit = (free as f64 * SHARE_OF_MEMORY) as usize;
    let mut all = Vec::with_capacity(jobs.len());
    let (mut start, mut bytes) = (0, 0);
    for (index, job) in jobs.iter().enumerate() {
        let own = bytes_of(network, job);
        if index > start && bytes + own > limit {
            all.extend(roll_some(network, gpu, patch_index, &jobs[start..index])?);
            (start, bytes) = (index, 0);
        }
        bytes += own;
    }
    if start < jobs.len() {
        all.extend(roll_some(network, gpu, patch_index, &jobs[start..])?);
    }
    Ok(all)
}

/// Returns the bytes a series needs while it is rolled out.
fn bytes_of(network: &CudaNetwork, job: &Job<'_>) -> usize {
    let (config, operands) = (network.config(), network.encoder().network.operands);
    let steps = job.series.patches() - 1;
    let context = job.series.context.len();
    let rows = job.paths * job.series.step_variates().len();
    let memory = 2 * config.layers * config.d_model * size_of_operand(operands);
    context * memory
        + rows * steps * memory
        + context.max(rows) * Work::bytes_of_row(config, operands)
        + 4 * (1 + job.fill.points()) * job.paths * job.series.variates() * job.series.steps()
}

/// Rolls out series together; if memory does not suffice after all, in halves.
fn roll_some(
    network: &CudaNetwork,
    gpu: &Gpu,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Rolled>> {
    match Batch::new(network, gpu, patch_index, jobs).and_then(Batch::run) {
        Err(CudaError::OutOfMemory) if jobs.len() > 1 => {
            network.count_split();
            tracing::warn!(series = jobs.len(), "no memory is left on the card: in two halves");
            let (left, right) = jobs.split_at(jobs.len() / 2);
            let mut all = roll_some(network, gpu, patch_index, left)?;
            all.extend(roll_some(network, gpu, patch_index, right)?);
            Ok(all)
        }
        outcome => outcome,
    }
}

/// Series that are rolled out together.
struct Batch<'a> {
    network: &'a CudaNetwork,
    gpu: &'a Gpu,
    patch_index: usize,
    /// The longest horizon first; with their place among those given.
    jobs: Vec<(usize, &'a Job<'a>)>,
    /// By job.
    table: Vec<launch::Series>,
    scalings: Vec<Vec<Scaling>>,
    values: Buffer<f32>,
    value_count: usize,
    /// Points of the paths' distributions, `[values, points_of_step]`.
    points: Buffer<f32>,
    points_of_step: usize,
    series: Buffer<launch::Series>,
    series_of: Buffer<u32>,
    scaling: Buffer<f32>,
    covariates: Buffer<f32>,
    work: Work,
    /// By variate, where its context is looked back at.
    looked: Vec<launch::Looked>,
    /// By variate, how closely steps hang together; empty where nobody asks.
    couplings: Vec<Coupling>,
    /// Whether the card draws; else the jobs' own rules fill on the host.
    draws: bool,
}

/// So many of each at one step: those of the series still running.
#[derive(Debug, Clone, Copy)]
struct Running {
    series: usize,
    rows: usize,
    heads: usize,
    tiles: usize,
}

impl<'a> Batch<'a> {
    /// Builds the tables and uploads them.
    fn new(
        network: &'a CudaNetwork,
        gpu: &'a Gpu,
        patch_index: usize,
        jobs: &'a [Job<'a>],
    ) -> Result<Self> {
        let config = network.config();
        let patch_size = config.patch_sizes[patch_index];
        let padded = network.encoder().padded_patch();
        let mut jobs: Vec<(usize, &Job<'_>)> = jobs.iter().enumerate().collect();
        jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.series.patches()));
        let scalings: Vec<Vec<Scaling>> =
            jobs.par_iter().map(|(_, job)| job.series.scalings(&job.series.moments)).collect();
        let (mut table, mut series_of) = (Vec::with_capacity(jobs.len()), Vec::new());
        let (mut scaling, mut covariates) = (Vec::new(), Vec::new());
        let mut next = launch::Series::default();
        let mut context_tokens = 0;
        for (index, ((_, job), scalings)) in jobs.iter().zip(&scalings).enumerate() {
            let series = job.series;
            let seed = job.fill.seed().unwrap_or(0);
            let (tokens, variates) = (series.step_variates().len(), series.variates());
            let own = launch::Series {
                seed_low: seed as u32,
                seed_high: (seed >> 32) as u32,
                tokens: tokens as u32,
                variates: variates as u32,
                paths: job.paths as u32,
                scaling: (scaling.len() / 2) as u32,
                covariates: covariates.len() as u32,
                patches: series.patches() as u32,
                horizon: series.row.horizon as u32,
                ..next
            };
            table.push(own);
            series_of.extend(std::iter::repeat_n(index as u32, job.paths * tokens));
            // For the card a value is what was drawn.
            scaling.extend(scalings.iter().flat_map(|_| STANDARDISED));
            push_covariates(series, scalings, padded, &mut covariates);
            next.first_row += (job.paths * tokens) as u32;
            next.first_head += (job.paths * variates) as u32;
            next.context_head += variates as u32;
            next.first_result += (variates * series.row.horizon) as u32;
            next.first_value += (job.paths * variates * series.patches() * patch_size) as u64;
            context_tokens += series.context.len();
        }
        let rows = next.first_row as usize;
        let heads = next.first_head.max(next.context_head) as usize;
        let value_count = next.first_value as usize;
        // All are of one model, which draws in one way.
        let strata = jobs.first().and_then(|(_, job)| job.fill.strata(job.paths));
        let points_of_step = strata.map_or(0, |strata| strata.points);
        let looked = looked(&jobs, next.context_head);
        let looks: u32 = looked.iter().map(|looked| looked.patches).sum();
        let heads = heads.max((next.context_head + looks) as usize);
        Ok(Self {
            network,
            gpu,
            patch_index,
            values: Buffer::new(gpu, value_count)?,
            value_count,
            points: Buffer::new(gpu, (value_count * points_of_step).max(1))?,
            points_of_step,
            series: Buffer::from(gpu, &table)?,
            series_of: Buffer::from(gpu, &series_of)?,
            scaling: Buffer::from(gpu, &scaling)?,
            covariates: Buffer::from(gpu, &covariates)?,
            work: network.encoder().work(context_tokens.max(rows), heads, false)?,
            looked,
            couplings: Vec::new(),
            draws: jobs.iter().all(|(_, job)| job.fill.seed().is_some()),
            jobs,
            table,
            scalings,
        })
    }

    fn run(mut self) -> Result<Vec<Rolled>> {
        let (gpu, network) = (self.gpu, self.network);
        let encoder = network.encoder();
        let (config, operands) = (network.config(), encoder.network.operands);
        let layouts: Vec<_> = self.jobs.iter().map(|(_, job)| (&job.series.layout, 1)).collect();
        let contexts = TokenRows::new(gpu, &layouts)?;
        let memory = Memory::new(gpu, config.layers, contexts.count * config.d_model, operands)?;
        self.encode_contexts(&contexts, &memory)?;
        let longest = self.jobs.first().map_or(0, |(_, job)| job.series.patches());
        let paths = PathTables::new(gpu, &self.jobs, &self.table)?;
        self.draw(0, self.running(0, &paths), longest > 1)?;
        if longest > 1 {
            let rows = self.running(1, &paths).rows;
            let numbers = (longest - 1) * rows * config.d_model;
            let own = Memory::new(gpu, config.layers, numbers, operands)?;
            for step in 1..longest {
                let running = self.running(step, &paths);
                encoder.embed(self.patch_index, &self.work, running.rows, &mut Probe::none())?;
                let attended = Attended {
                    spans: paths.spans.pointer(),
                    tiles: paths.tiles.pointer(),
                    tile_count: running.tiles,
                    time: paths.time.pointer(),
                    now: step - 1,
                    own_variate: paths.variate.pointer(),
                    shared: &memory,
                    variate: contexts.variate(),
                    sample: Pointer::NULL,
                    shared_time: Pointer::NULL,
                    own: Some(Own { memory: &own, rows, steps: step }),
                };
                let wanted = match &paths.wanted {
                    Some(wanted) => (wanted.pointer(), running.heads),
                    None => (Pointer::NULL, running.heads),
                };
                let work = &self.work;
                encoder.encode(work, running.rows, attended, wanted, &mut Probe::none())?;
                encoder.head(self.patch_index, work, running.heads)?;
                self.draw(step, running, step + 1 < longest)?;
            }
        }
        self.results()
    }

    /// Encodes the contexts, keeps their keys and values, and leaves the head's
    /// rows of each variate's newest token.
    fn encode_contexts(&mut self, contexts: &TokenRows, memory: &Memory) -> Result<()> {
        let (network, gpu) = (self.network, self.gpu);
        let encoder = network.encoder();
        let scale = |((_, job), scalings): (&(usize, &Job<'_>), &Vec<Scaling>)| {
            let mut scaled = Vec::new();
            job.series.push_context(scalings, &mut scaled);
            network.padded(&scaled)
        };
        let scaled: Vec<Vec<f32>> = self.jobs.par_iter().zip(&self.scalings).map(scale).collect();
        self.work.input.write(gpu, &scaled.concat())?;
        let (mut wanted, mut first) = (Vec::new(), 0);
        let mut looked_at: Vec<u32> = Vec::new();
        let mut happened = Vec::new();
        for ((_, job), scalings) in self.jobs.iter().zip(&self.scalings) {
            wanted.extend(job.series.newest.iter().map(|newest| first + newest));
            let told = if job.coupled().is_some() { job.series.variates() } else { 0 };
            for (variate, scaling) in scalings.iter().enumerate().take(told) {
                looked_at.extend(job.looked_at(variate).map(|token| first + token as u32));
                job.series.push_happened(variate, *scaling, &mut happened);
            }
            first += job.series.context.len() as u32;
        }
        wanted.extend(looked_at);
        let chosen = Buffer::from(gpu, &wanted)?;
        let work = &self.work;
        encoder.embed(self.patch_index, work, contexts.count, &mut Probe::none())?;
        let attended = contexts.attended(memory);
        let wanted = (chosen.pointer(), wanted.len());
        encoder.encode(work, contexts.count, attended, wanted, &mut Probe::none())?;
        encoder.head(self.patch_index, work, wanted.1)?;
        if self.jobs.iter().any(|(_, job)| job.coupled().is_some()) {
            self.couplings = self.look_back(&happened)?;
        }
        Ok(())
    }

    /// Sees how closely steps of each variate hang together.
    fn look_back(&self, happened: &[f32]) -> Result<Vec<Coupling>> {
        let (gpu, count) = (self.gpu, self.looked.len());
        let (happened, looked) = (Buffer::from(gpu, happened)?, Buffer::from(gpu, &self.looked)?);
        let together = Buffer::new(gpu, count * SUMS)?;
        let config = self.network.config();
        let patch_size = config.patch_sizes[self.patch_index];
        let hindsight = Hindsight {
            head: self.work.head.pointer(),
            happened: happened.pointer(),
            looked: looked.pointer(),
            together: together.pointer(),
            stride: self.network.encoder().head_width() as i32,
            patch_size: patch_size as i32,
            patch_width: config.patch_width as i32,
            points: POINTS as i32,
            output: self.network.output(),
        };
        launch::look_back(gpu, count, &hindsight)?;
        let sums: Vec<f32> = together.read(gpu, count * SUMS)?;
        let (sums, _) = sums.as_chunks::<SUMS>();
        let coupling = |sums: &[f32; SUMS]| {
            let [places, squares, neighbours, of_neighbours, pairs, of_pairs] = sums.map(f64::from);
            Together { places, squares, neighbours, of_neighbours, pairs, of_pairs }
                .coupling(patch_size)
        };
        Ok(sums.iter().map(coupling).collect())
    }

    /// Returns what still runs at a step.
    fn running(&self, step: usize, paths: &PathTables) -> Running {
        let series = self.jobs.partition_point(|(_, job)| job.series.patches() > step);
        let table = &self.table[..series];
        Running {
            series,
            rows: table.iter().map(|own| (own.paths * own.tokens) as usize).sum(),
            heads: table.iter().map(|own| (own.paths * own.variates) as usize).sum(),
            tiles: paths.tiles_of[series],
        }
    }

    /// Draws the patches of a step, and makes the next one's tokens.
    fn draw(&mut self, step: usize, running: Running, goes_on: bool) -> Result<()> {
        if !self.draws {
            self.fill_on_host(step, running)?;
        }
        let config = self.network.config();
        let encoder = self.network.encoder();
        let input = if goes_on { self.work.input.pointer() } else { Pointer::NULL };
        let draw = Draw {
            head: self.work.head.pointer(),
            series: self.series.pointer(),
            series_of: self.series_of.pointer(),
            scaling: self.scaling.pointer(),
            covariates: self.covariates.pointer(),
            values: self.values.pointer(),
            input,
            points: self.points.pointer(),
            rows: running.rows as i32,
            step: step as i32,
            stride: encoder.head_width() as i32,
            patch_size: config.patch_sizes[self.patch_index] as i32,
            patch_width: config.patch_width as i32,
            padded: encoder.padded_patch() as i32,
            is_drawn: i32::from(self.draws),
            points_of_step: self.points_of_step as i32,
            output: self.network.output(),
        };
        launch::draw(self.gpu, &draw)
    }

    /// Lets the jobs' own rules fill a step's patches. For the comparison with
    /// the reference: everything travels to the host and back.
    fn fill_on_host(&mut self, step: usize, running: Running) -> Result<()> {
        let config = self.network.config();
        let width = self.network.encoder().head_width();
        let patch_size = config.patch_sizes[self.patch_index];
        let (series, heads) = match step {
            0 => (self.jobs.len(), self.table.iter().map(|own| own.variates as usize).sum()),
            _ => (running.series, running.heads),
        };
        let head = self.work.head.read(self.gpu, heads * width)?;
        let mut values = self.values.read(self.gpu, self.value_count)?;
        let mut patch = vec![0.0; patch_size];
        for (index, own) in self.table[..series].iter().enumerate() {
            let (job, variates) = (self.jobs[index].1, own.variates as usize);
            let length = own.patches as usize * patch_size;
            for path in 0..own.paths as usize {
                for variate in 0..variates {
                    let row = match step {
                        0 => own.context_head as usize + variate,
                        _ => own.first_head as usize + path * variates + variate,
                    };
                    let scaling = self.scalings[index][variate];
                    let draw = rollout::Draw {
                        path,
                        step,
                        variate,
                        output: &config.output,
                        row: &head[row * width..(row + 1) * width],
                        patch_width: config.patch_width,
                        scaling,
                        strata: None,
                    };
                    let at = own.first_value as usize + (path * variates + variate) * length;
                    let at = at + step * patch_size;
                    job.fill.fill(&draw, &mut patch, &mut []);
                    let standardised = patch.iter().map(|&value| scaling.apply(value));
                    let places = values[at..at + patch_size].iter_mut();
                    places.zip(standardised).for_each(|(place, z)| *place = z);
                }
            }
        }
        self.values.write(self.gpu, &values)
    }

    /// Brings the results to the host, in the order of the jobs given.
    fn results(self) -> Result<Vec<Rolled>> {
        let mut results: Vec<(usize, Rolled)> = Vec::with_capacity(self.jobs.len());
        let mut paths: Option<(Vec<f32>, Vec<f32>)> = None;
        let per_step = self.points_of_step;
        let mut by_levels: Vec<(&[f64], Vec<usize>)> = Vec::new();
        for (index, (place, job)) in self.jobs.iter().enumerate() {
            match job.levels {
                Some(levels) if job.paths * per_step.max(1) <= MOST_SORTED => {
                    match by_levels.iter_mut().find(|(known, _)| *known == levels) {
                        Some((_, members)) => members.push(index),
                        None => by_levels.push((levels, vec![index])),
                    }
                }
                _ => {
                    let (all, points) = match &mut paths {
                        Some(all) => all,
                        none => none.insert((
                            self.values.read(self.gpu, self.value_count)?,
                            self.points.read(self.gpu, self.value_count * per_step)?,
                        )),
                    };
                    let mut own = Paths::new(job.paths, job.series, per_step);
                    own.scalings.clone_from(&self.scalings[index]);
                    own.coupled = job.coupled().map(|strata| {
                        let variates = self.couplings.iter().copied();
                        let first = self.table[index].context_head as usize;
                        (strata, variates.skip(first).take(job.series.variates()).collect())
                    });
                    let first = self.table[index].first_value as usize;
                    let length = own.values.len();
                    let steps = own.steps;
                    let of_own = first * per_step..(first + length) * per_step;
                    own.points.copy_from_slice(&points[of_own]);
                    let drawn = all[first..first + length].chunks_exact(steps);
                    let variates = self.scalings[index][..own.variates].iter().cycle();
                    let places = own.values.chunks_exact_mut(steps);
                    for ((places, drawn), scaling) in places.zip(drawn).zip(variates) {
                        let values = drawn.iter().map(|&z| scaling.undo(f64::from(z)));
                        places.iter_mut().zip(values).for_each(|(place, value)| *place = value);
                    }
                    results.push((*place, Rolled::Paths(own)));
                }
            }
        }
        for (levels, members) in by_levels {
            results.extend(self.summaries(levels, &members)?);
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, rolled)| rolled).collect())
    }

    /// Sums up the paths of series with the same levels.
    fn summaries(&self, levels: &[f64], members: &[usize]) -> Result<Vec<(usize, Rolled)>> {
        let gpu = self.gpu;
        let mut items = Vec::new();
        for &index in members {
            let results = self.table[index].variates * self.table[index].horizon;
            items.extend((0..results).map(|result| Pair(index as u32, result)));
        }
        let most = members.iter().map(|&index| self.jobs[index].1.paths).max().unwrap_or(1);
        let (uploaded, count) = (Buffer::from(gpu, &items)?, items.len());
        let (means, quantiles) =
            (Buffer::new(gpu, count)?, Buffer::new(gpu, count * levels.len())?);
        let (counts, wanted) = (Buffer::new(gpu, count)?, Buffer::from(gpu, levels)?);
        let parameters = Quantiles {
            values: self.values.pointer(),
            points: self.points.pointer(),
            series: self.series.pointer(),
            items: uploaded.pointer(),
            levels: wanted.pointer(),
            means: means.pointer(),
            quantiles: quantiles.pointer(),
            counts: counts.pointer(),
            levels_count: levels.len() as i32,
            patch_size: self.network.config().patch_sizes[self.patch_index] as i32,
            size: (most * self.points_of_step.max(1)).next_power_of_two().max(2) as i32,
            points_of_step: self.points_of_step as i32,
        };
        launch::quantiles(gpu, count, &parameters)?;
        let means: Vec<f64> = means.read(gpu, count)?;
        let quantiles: Vec<f32> = quantiles.read(gpu, count * levels.len())?;
        let counts: Vec<u32> = counts.read(gpu, count)?;
        let mut first = 0;
        let mut all = Vec::with_capacity(members.len());
        for &index in members {
            let own = &self.table[index];
            let (variates, horizon) = (own.variates as usize, own.horizon as usize);
            let scalings = &self.scalings[index];
            let mean = |variate: usize, at: usize| scalings[variate].undo(means[at]);
            let of = |variate: usize| first + variate * horizon..first + (variate + 1) * horizon;
            let level = |level: usize| -> Vec<Vec<f64>> {
                let value = |variate: usize, at: usize| {
                    scalings[variate].undo(f64::from(quantiles[at * levels.len() + level]))
                };
                let row = |variate| of(variate).map(|at| value(variate, at)).collect();
                (0..variates).map(row).collect()
            };
            let left = counts[first..first + variates * horizon].iter().min().copied();
            let summary = Summary {
                mean: (0..variates)
                    .map(|variate| of(variate).map(|at| mean(variate, at)).collect())
                    .collect(),
                quantiles: (0..levels.len()).map(level).collect(),
                broken: left.map_or(0, |left| {
                    let left = left as usize / self.points_of_step.max(1);
                    (own.paths as usize).saturating_sub(left)
                }),
            };
            all.push((self.jobs[index].0, Rolled::Summary(summary)));
            first += variates * horizon;
        }
        Ok(all)
    }
}

/// Returns where each variate's context is looked back at: its head's rows come behind
/// those of the newest tokens, of which there are `newest`.
fn looked(jobs: &[(usize, &Job<'_>)], newest: u32) -> Vec<launch::Looked> {
    let (mut looked, mut first_patch) = (Vec::with_capacity(newest as usize), 0);
    for (_, job) in jobs {
        let seed = job.fill.seed().unwrap_or(0);
        for variate in 0..job.series.variates() {
            let patches = job.looked_at(variate).len() as u32;
            looked.push(launch::Looked {
                seed_low: seed as u32,
                seed_high: (seed >> 32) as u32,
                variate: variate as u32,
                first_head: newest + first_patch,
                first_patch,
                patches,
            });
            first_patch += patches;
        }
    }
    looked
}

/// Appends a series' covariates known ahead, scaled: `[covariates, patches, padded]`.
fn push_covariates(
    series: &rollout::Series<'_>,
    scalings: &[Scaling],
    padded: usize,
    all: &mut Vec<f32>,
) {
    let segments = &series.row.segments;
    for covariate in 0..segments.future_covariates {
        let scaling = scalings[segments.variates + covariate];
        for step in 0..series.patches() {
            let patch = series.row.patch(segments.covariate_future(covariate, step));
            all.extend(patch.iter().map(|&value| scaling.apply(value)));
            all.extend(std::iter::repeat_n(0.0, padded - patch.len()));
        }
    }
}

/// What is known of the tokens that paths get in a step.
struct PathTables {
    spans: Buffer<Span>,
    tiles: Buffer<Pair>,
    /// Tiles of the first so many series.
    tiles_of: Vec<usize>,
    /// Of each row's first patch.
    time: Buffer<u32>,
    variate: Buffer<u32>,
    /// The rows that predict, if not all do.
    wanted: Option<Buffer<u32>>,
}

impl PathTables {
    fn new(gpu: &Gpu, jobs: &[(usize, &Job<'_>)], table: &[launch::Series]) -> Result<Self> {
        let (mut spans, mut time, mut variate) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wanted, mut first_key) = (Vec::new(), 0);
        for ((_, job), own) in jobs.iter().zip(table) {
            let keys = job.series.context.len() as u32;
            let queries = own.paths * own.tokens;
            let first_query = own.first_row;
            spans.push(Span { first_query, queries, first_key, keys, tokens: own.tokens });
            first_key += keys;
            let variates = job.series.step_variates();
            time.extend(std::iter::repeat_n(job.series.first_future_time(), queries as usize));
            for path in 0..own.paths {
                variate.extend_from_slice(&variates);
                let first = first_query + path * own.tokens;
                wanted.extend(first..first + own.variates);
            }
        }
        let tiles = tiles(&spans);
        let mut tiles_of = vec![0; spans.len() + 1];
        for tile in &tiles {
            tiles_of[tile.0 as usize + 1] += 1;
        }
        for index in 1..tiles_of.len() {
            tiles_of[index] += tiles_of[index - 1];
        }
        let is_all = wanted.len() == variate.len();
        Ok(Self {
            spans: Buffer::from(gpu, &spans)?,
            tiles: Buffer::from(gpu, &tiles)?,
            tiles_of,
            time: Buffer::from(gpu, &time)?,
            variate: Buffer::from(gpu, &variate)?,
            wanted: (!is_all).then(|| Buffer::from(gpu, &wanted)).transpose()?,
        })
    }
}
