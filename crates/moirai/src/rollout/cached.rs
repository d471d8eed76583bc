//! The fast loop: location and scale stay the context's, so the context's
//! activations never change. It is encoded once per series, its keys and
//! values are shared by all sample paths, and each path keeps only those of
//! its own patches.
//!
//! The context is padded on the left as the reference pads it, so the first
//! patch is that of the exact rollout.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::exact::Target;
use super::{Fill, PATHS_A_THREAD, Paths, Series, patches};
use crate::config::Config;
use crate::coupling::{Coupling, Hindsight};
use crate::model::{Chunk, MoiraiMoe, PathMemory, Probe};
use crate::ops::PackedMemory;
use crate::rows::{Rotary, Rows};
use crate::scaler::Scaling;
use crate::strata::Strata;

/// Tokens encoded at once: enough for each expert to get many, few enough for
/// the memory of their keys and values. With many threads there are more.
const TOKENS_AT_ONCE: usize = 2048;
const TOKENS_A_THREAD: usize = 256;

/// One series to roll out.
pub(crate) struct Job<'a> {
    pub(crate) series: &'a Series<'a>,
    pub(crate) paths: usize,
    pub(crate) fill: &'a dyn Fill,
    /// The quantiles that are wanted of the paths; `None` is the paths
    /// themselves. A network may give the paths all the same.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU always does
    pub(crate) levels: Option<&'a [f64]>,
}

impl<'a> Job<'a> {
    /// Returns a job that gives its sample paths.
    pub(crate) fn paths(series: &'a Series<'a>, paths: usize, fill: &'a dyn Fill) -> Self {
        Self { series, paths, fill, levels: None }
    }

    /// Returns how the paths share out the distributions if they are to be told, and have
    /// to hang together for that.
    pub(crate) fn coupled(&self) -> Option<Strata> {
        self.fill.strata(self.paths).filter(|_| self.levels.is_none())
    }

    /// Returns the tokens of the context that are looked back at.
    pub(crate) fn looked_at(&self, variate: usize) -> Range<usize> {
        if self.coupled().is_some() { self.series.looked_at(variate) } else { 0..0 }
    }
}

/// Fills the horizons of several series.
pub(crate) fn rollout(
    model: &MoiraiMoe,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Paths>> {
    let threads = rayon::current_num_threads();
    let network = Network { model, patch_index, threads };
    let at_once = TOKENS_AT_ONCE.max(TOKENS_A_THREAD * threads);

    let tokens = jobs.iter().map(|job| job.series.context.len());
    let mut contexts = Vec::with_capacity(jobs.len());
    for range in cut(tokens, at_once) {
        contexts.extend(network.encode_contexts(&jobs[range])?);
    }

    let out = |(job, context): (&Job<'_>, &Context)| Paths {
        scalings: context.scalings.clone(),
        coupled: job.coupled().map(|strata| (strata, context.coupling.clone())),
        ..Paths::new(job.paths, job.series, job.fill.points())
    };
    let mut all: Vec<Paths> = jobs.iter().zip(&contexts).map(out).collect();
    let mut units = units(jobs, &contexts, &mut all, threads);
    // The longest first: those still running are always the front.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.job.series.patches()));
    let mut rest = units.as_mut_slice();
    for range in cut(rest.iter().map(Unit::tokens).collect::<Vec<_>>().into_iter(), at_once) {
        let (piece, others) = rest.split_at_mut(range.len());
        network.roll_out(piece)?;
        rest = others;
    }
    Ok(all)
}

/// Cuts items into ranges whose weights stay at or below `limit` where one
/// item alone does.
fn cut(weights: impl Iterator<Item = usize>, limit: usize) -> Vec<std::ops::Range<usize>> {
    let (mut ranges, mut start, mut sum, mut end) = (Vec::new(), 0, 0, 0);
    for weight in weights {
        if end > start && sum + weight > limit {
            ranges.push(start..end);
            (start, sum) = (end, 0);
        }
        sum += weight;
        end += 1;
    }
    ranges.push(start..end);
    ranges
}

/// What a context leaves behind.
struct Context {
    scalings: Vec<Scaling>,
    /// The head's rows of the newest token of each target variate.
    head: Vec<f32>,
    /// By target variate, how closely steps hang together, where that is asked.
    coupling: Vec<Coupling>,
    /// By layer.
    memory: Vec<PackedMemory>,
}

impl Context {
    /// Takes the head's rows of a series: by variate those of the tokens looked back at,
    /// and that of the newest.
    fn look_back(&mut self, job: &Job<'_>, rows: &[f32], config: &Config) {
        let series = job.series;
        let width = config.output.width() * config.patch_width;
        let mut rest = rows;
        for (variate, scaling) in self.scalings.iter().enumerate().take(series.variates()) {
            let (looked_at, others) = rest.split_at(job.looked_at(variate).len() * width);
            let (newest, others) = others.split_at(width);
            rest = others;
            self.head.extend_from_slice(newest);
            if job.coupled().is_none() {
                continue;
            }
            let mut happened = Vec::new();
            series.push_happened(variate, *scaling, &mut happened);
            let hindsight = Hindsight {
                output: &config.output,
                rows: looked_at,
                patch_width: config.patch_width,
                happened: &happened,
                patch_size: series.row.patch_size,
                seed: job.fill.seed().unwrap_or_default(),
                variate,
            };
            self.coupling.push(hindsight.together().coupling(series.row.patch_size));
        }
    }
}

/// Some sample paths of one series.
struct Unit<'a> {
    job: &'a Job<'a>,
    context: &'a Context,
    /// The first of the paths.
    first: usize,
    /// Values of the paths, `[path, variate, steps]`.
    values: &'a mut [f64],
    /// Points of their distributions, `[path, variate, steps, points]`.
    points: &'a mut [f32],
}

impl Unit<'_> {
    /// Returns the length of one path's values.
    fn length(&self) -> usize {
        self.job.series.variates() * self.job.series.steps()
    }

    fn paths(&self) -> usize {
        self.values.len() / self.length()
    }

    /// Draws the patch of each path; `head` returns the head's rows of one of the unit's.
    fn draw<'h>(&mut self, step: usize, config: &Config, head: impl Fn(usize) -> &'h [f32] + Sync) {
        let (job, length, first) = (self.job, self.length(), self.first);
        let Context { scalings, .. } = self.context;
        let strata = job.fill.strata(job.paths);
        let draw = |path: usize, values: &mut [f64], points: &mut [f32]| {
            let target = Target { path: first + path, step, series: job.series, config, strata };
            target.draw(head(path), scalings, job.fill, values, points);
        };
        let paths = self.values.par_chunks_exact_mut(length).with_min_len(PATHS_A_THREAD);
        match job.fill.points() {
            0 => paths.enumerate().for_each(|(path, values)| draw(path, values, &mut [])),
            points => paths
                .zip(self.points.par_chunks_exact_mut(length * points))
                .enumerate()
                .for_each(|(path, (values, points))| draw(path, values, points)),
        }
    }

    /// Returns the tokens of all paths in one step.
    fn tokens(&self) -> usize {
        self.paths() * self.job.series.step_variates().len()
    }
}

/// Cuts the paths of all series into what one thread takes at a time, each
/// part of one series and of nearly one size.
fn units<'a>(
    jobs: &'a [Job<'a>],
    contexts: &'a [Context],
    all: &'a mut [Paths],
    threads: usize,
) -> Vec<Unit<'a>> {
    let tokens = |job: &Job<'_>| job.paths * job.series.step_variates().len();
    let size = Chunk::size(jobs.iter().map(tokens).sum(), threads);
    let mut units = Vec::new();
    for ((job, context), paths) in jobs.iter().zip(contexts).zip(all) {
        let count = job.paths.div_ceil(tokens(job).div_ceil(size).max(1)).max(1);
        let length = job.series.variates() * job.series.steps();
        let mut points = paths.points.chunks_mut((count * length * paths.points_of_step).max(1));
        for (index, values) in paths.values.chunks_mut(count * length).enumerate() {
            let points = points.next().unwrap_or_default();
            units.push(Unit { job, context, first: index * count, values, points });
        }
    }
    units
}

struct Network<'a> {
    model: &'a MoiraiMoe,
    patch_index: usize,
    threads: usize,
}

impl Network<'_> {
    fn head(&self, encoded: &Tensor) -> Result<Vec<f32>> {
        self.model.head(encoded, self.patch_index)?.flatten_all()?.to_vec1()
    }

    /// Encodes the contexts of some series together.
    fn encode_contexts(&self, jobs: &[Job<'_>]) -> Result<Vec<Context>> {
        let Some(first) = jobs.first() else { return Ok(Vec::new()) };
        let device = Device::Cpu;
        let scalings: Vec<Vec<Scaling>> =
            jobs.iter().map(|job| job.series.scalings(&job.series.moments)).collect();
        let (mut scaled, mut wanted, mut start) = (Vec::new(), Vec::new(), 0);
        let mut layouts: Vec<(&_, usize)> = Vec::new();
        for (job, scalings) in jobs.iter().zip(&scalings) {
            job.series.push_context(scalings, &mut scaled);
            for (variate, newest) in job.series.newest.iter().enumerate() {
                let looked_at = job.looked_at(variate).map(|token| start + token as u32);
                wanted.extend(looked_at.chain([start + newest]));
            }
            start += job.series.context.len() as u32;
            match layouts.last_mut() {
                Some((layout, rows)) if *layout == &job.series.layout => *rows += 1,
                _ => layouts.push((&job.series.layout, 1)),
            }
        }
        let rows = Rows::new(&layouts);
        let scaled = patches(scaled, first.series.row.patch_width, &device)?;
        let x = self.model.embed(&scaled, self.patch_index, &mut Probe::none())?;
        let size = Chunk::size(rows.tokens(), self.threads);
        let head_dim = self.model.config.head_dim;
        let mut chunks = Chunk::of_rows(&rows, head_dim, Some(&wanted), true, size);
        let encoded = self.model.encode(x, &mut chunks, &mut Probe::none())?;
        let memory = chunks.into_iter().flat_map(Chunk::into_kept);
        let head = self.head(&encoded)?;
        let width = self.model.config.output.width() * self.model.config.patch_width;
        let mut rest = head.as_slice();
        let contexts = jobs.iter().zip(scalings).zip(memory);
        let mut contexts: Vec<(Context, &[f32])> = contexts
            .map(|((job, scalings), memory)| {
                let looked_at = |variate| job.looked_at(variate).len() + 1;
                let rows: usize = (0..job.series.variates()).map(looked_at).sum();
                let (own, others) = rest.split_at(rows * width);
                rest = others;
                (Context { scalings, head: Vec::new(), coupling: Vec::new(), memory }, own)
            })
            .collect();
        let look_back = |(job, (context, rows)): (&Job<'_>, &mut (Context, &[f32]))| {
            context.look_back(job, rows, &self.model.config);
        };
        jobs.par_iter().zip(&mut contexts).for_each(look_back);
        Ok(contexts.into_iter().map(|(context, _)| context).collect())
    }

    /// Rolls out one piece of work.
    fn roll_out<'a>(&self, units: &mut [Unit<'a>]) -> Result<()> {
        for unit in units.iter_mut() {
            let head = |_| unit.context.head.as_slice();
            unit.draw(0, &self.model.config, head);
        }
        let longest = units.first().map_or(0, |unit| unit.job.series.patches());
        let chunk = |unit: &Unit<'a>| {
            let (series, context) = (unit.job.series, unit.context);
            let variates = series.step_variates();
            let (prefix, layout) = (&context.memory, &series.layout.variate);
            let (steps, width) = (series.patches() - 1, self.model.config.d_model);
            let paths = unit.paths();
            Chunk::of_paths(PathMemory::new(prefix, layout, &variates, paths, steps, width))
        };
        let mut chunks: Vec<Chunk<'_>> = units.iter().map(chunk).collect();
        for step in 1..longest {
            let running = units.partition_point(|unit| unit.job.series.patches() > step);
            self.one_step(step, &mut units[..running], &mut chunks[..running])?;
        }
        Ok(())
    }

    /// Feeds back the patches drawn at `step - 1` and draws those of `step`.
    fn one_step(
        &self,
        step: usize,
        units: &mut [Unit<'_>],
        chunks: &mut [Chunk<'_>],
    ) -> Result<()> {
        let device = Device::Cpu;
        let mut scaled = Vec::new();
        let mut patch_width = 0;
        for (unit, chunk) in units.iter().zip(chunks.iter_mut()) {
            let series = unit.job.series;
            let patch_size = series.row.patch_size;
            patch_width = series.row.patch_width;
            for values in unit.values.chunks_exact(unit.length()) {
                let drawn = |variate: usize| {
                    &values[variate * series.steps() + (step - 1) * patch_size..][..patch_size]
                };
                series.push_step(step - 1, &unit.context.scalings, drawn, &mut scaled);
            }
            let (tokens, targets) = (series.step_variates().len(), series.variates());
            let time = series.first_future_time() + step as u32 - 1;
            let rotary = Rotary::new(&vec![time; unit.tokens()], self.model.config.head_dim);
            // A path's targets come first, then its covariates, which predict
            // nothing.
            let wanted = |path: usize| path * tokens..path * tokens + targets;
            let wanted = (tokens > targets).then(|| (0..unit.paths()).flat_map(wanted).collect());
            chunk.step(rotary, wanted);
        }
        let x = patches(scaled, patch_width, &device)?;
        let x = self.model.embed(&x, self.patch_index, &mut Probe::none())?;
        let encoded = self.model.encode(x, chunks, &mut Probe::none())?;
        let head = self.head(&encoded)?;
        let width = self.model.config.output.width() * self.model.config.patch_width;
        let mut rest = head.as_slice();
        for unit in units {
            let series = unit.job.series;
            let per_path = series.variates() * width;
            let (heads, others) = rest.split_at(unit.paths() * per_path);
            rest = others;
            unit.draw(step, &self.model.config, |path| &heads[path * per_path..][..per_path]);
        }
        Ok(())
    }
}
