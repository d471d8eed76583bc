//! The fast loop: location and scale stay the context's, so the context's
//! activations never change. It is encoded once per series, its keys and
//! values are shared by all sample paths, and each path keeps only those of
//! its own patches.
//!
//! The context is padded on the left as the reference pads it, so the first
//! patch is that of the exact rollout.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::exact::Target;
use super::{Fill, Paths, Series, patches};
use crate::moirai::{MoiraiMoe, PathMemory, Probe};
use crate::ops::PackedMemory;
use crate::rows::{Rotary, Rows};
use crate::scaler::Scaling;

/// Tokens encoded at once, by one thread and those that help it. With fewer
/// each expert would get a handful, and all threads would read all weights;
/// then it pays to work on the same tokens. With more they leave the cache.
const TOKENS_AT_ONCE: std::ops::RangeInclusive<usize> = 512..=2048;

/// One series to roll out.
pub(crate) struct Job<'a> {
    pub(crate) series: &'a Series<'a>,
    pub(crate) paths: usize,
    pub(crate) fill: &'a dyn Fill,
}

/// Fills the horizons of several series.
pub(crate) fn rollout(
    model: &MoiraiMoe,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Paths>> {
    let threads = rayon::current_num_threads();
    let network = Network { model, patch_index };

    let tokens: usize = jobs.iter().map(|job| job.series.context.len()).sum();
    let at_once = tokens_at_once(tokens, threads);
    let weights = jobs.iter().map(|job| job.series.context.len());
    let encoded = cut(weights, at_once)
        .into_par_iter()
        .map(|range| network.encode_contexts(&jobs[range]))
        .collect::<Result<Vec<_>>>()?;
    let contexts: Vec<Context> = encoded.into_iter().flatten().collect();

    let mut all: Vec<Paths> = jobs.iter().map(|job| Paths::new(job.paths, job.series)).collect();
    let mut pieces = pieces(jobs, &contexts, &mut all, threads);
    pieces.par_iter_mut().try_for_each(|piece| network.roll_out(piece))?;
    Ok(all)
}

/// Paths whose drawing is worth another thread.
const PATHS_A_THREAD: usize = 16;

fn tokens_at_once(tokens: usize, threads: usize) -> usize {
    tokens.div_ceil(threads).clamp(*TOKENS_AT_ONCE.start(), *TOKENS_AT_ONCE.end())
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
    /// By layer.
    memory: Vec<PackedMemory>,
}

/// Some sample paths of one series.
struct Unit<'a> {
    job: &'a Job<'a>,
    context: &'a Context,
    /// The first of the paths.
    first: usize,
    /// Values of the paths, `[path, variate, steps]`.
    values: &'a mut [f32],
}

impl Unit<'_> {
    /// Returns the length of one path's values.
    fn length(&self) -> usize {
        self.job.series.variates() * self.job.series.steps()
    }

    fn paths(&self) -> usize {
        self.values.len() / self.length()
    }
}

/// Cuts the paths of all series into pieces of work, each a few series or part
/// of one.
fn pieces<'a>(
    jobs: &'a [Job<'a>],
    contexts: &'a [Context],
    all: &'a mut [Paths],
    threads: usize,
) -> Vec<Vec<Unit<'a>>> {
    let tokens = |job: &Job<'_>| job.paths * job.series.step_variates().len();
    let total: usize = jobs.iter().map(tokens).sum();
    let at_once = tokens_at_once(total, threads);
    let (mut pieces, mut piece, mut room) = (Vec::new(), Vec::new(), at_once);
    for ((job, context), paths) in jobs.iter().zip(contexts).zip(all) {
        let tokens = job.series.step_variates().len();
        let length = job.series.variates() * job.series.steps();
        let (mut values, mut first) = (paths.values.as_mut_slice(), 0);
        while !values.is_empty() {
            let fitting = (room / tokens).max(usize::from(piece.is_empty()));
            if fitting == 0 {
                pieces.push(std::mem::take(&mut piece));
                room = at_once;
                continue;
            }
            let count = fitting.min(values.len() / length);
            let (head, tail) = values.split_at_mut(count * length);
            piece.push(Unit { job, context, first, values: head });
            (values, first, room) = (tail, first + count, room.saturating_sub(count * tokens));
        }
    }
    pieces.push(piece);
    pieces
}

struct Network<'a> {
    model: &'a MoiraiMoe,
    patch_index: usize,
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
            wanted.extend(job.series.newest.iter().map(|newest| start + newest));
            start += job.series.context.len() as u32;
            match layouts.last_mut() {
                Some((layout, rows)) if *layout == &job.series.layout => *rows += 1,
                _ => layouts.push((&job.series.layout, 1)),
            }
        }
        let rows = Rows::new(&layouts, self.model.config.head_dim);
        let scaled = patches(scaled, first.series.row.patch_width, &device)?;
        let x = self.model.embed(&scaled, self.patch_index, &mut Probe::none())?;
        let wanted = Tensor::from_vec(
            wanted,
            jobs.iter().map(|j| j.series.variates()).sum::<usize>(),
            &device,
        )?;
        let mut memory = vec![Vec::with_capacity(self.model.layers()); jobs.len()];
        let encoded = self.model.encode_wanted(x, &rows, &wanted, &mut |_, layer| {
            for (memory, layer) in memory.iter_mut().zip(layer) {
                memory.push(layer.pack()?);
            }
            Ok(())
        })?;
        let head = self.head(&encoded)?;
        let width = self.model.config.output.width() * self.model.config.patch_width;
        let mut rest = head.as_slice();
        let contexts = jobs.iter().zip(scalings).zip(memory);
        let contexts = contexts.map(|((job, scalings), memory)| {
            let (own, others) = rest.split_at(job.series.variates() * width);
            rest = others;
            Context { scalings, head: own.to_vec(), memory }
        });
        Ok(contexts.collect())
    }

    /// Rolls out one piece of work.
    fn roll_out(&self, units: &mut [Unit<'_>]) -> Result<()> {
        for unit in units.iter_mut() {
            let Context { head, scalings, .. } = unit.context;
            let (length, first, job) = (unit.length(), unit.first, unit.job);
            let paths = unit.values.par_chunks_exact_mut(length).with_min_len(PATHS_A_THREAD);
            paths.enumerate().for_each(|(path, values)| {
                let path = first + path;
                let target = Target { path, step: 0, series: job.series, model: self.model };
                target.draw(head, scalings, job.fill, values);
            });
        }
        // The longest first: those still running are always the front.
        units.sort_by_key(|unit| std::cmp::Reverse(unit.job.series.patches()));
        let longest = units.first().map_or(0, |unit| unit.job.series.patches());
        let mut memories: Vec<PathMemory<'_>> = units
            .iter()
            .map(|unit| {
                let series = unit.job.series;
                let variates = series.step_variates();
                PathMemory::new(
                    &unit.context.memory,
                    &series.layout.variate,
                    &variates,
                    unit.paths(),
                )
            })
            .collect();
        for step in 1..longest {
            let running = units.partition_point(|unit| unit.job.series.patches() > step);
            self.one_step(step, &mut units[..running], &mut memories[..running])?;
        }
        Ok(())
    }

    /// Feeds back the patches drawn at `step - 1` and draws those of `step`.
    fn one_step(
        &self,
        step: usize,
        units: &mut [Unit<'_>],
        memories: &mut [PathMemory<'_>],
    ) -> Result<()> {
        let device = Device::Cpu;
        let (mut scaled, mut times, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        let mut patch_width = 0;
        for unit in units.iter() {
            let series = unit.job.series;
            let patch_size = series.row.patch_size;
            patch_width = series.row.patch_width;
            let tokens = series.step_variates().len();
            for values in unit.values.chunks_exact(unit.length()) {
                let drawn = |variate: usize| {
                    &values[variate * series.steps() + (step - 1) * patch_size..][..patch_size]
                };
                series.push_step(step - 1, &unit.context.scalings, drawn, &mut scaled);
                let start = times.len();
                wanted.extend((start..start + series.variates()).map(|token| token as u32));
                times.extend(std::iter::repeat_n(
                    series.first_future_time() + step as u32 - 1,
                    tokens,
                ));
            }
        }
        let rotary = Rotary::new(&times, self.model.config.head_dim);
        let all_wanted = wanted.len() == times.len();
        let wanted = Tensor::from_slice(&wanted, wanted.len(), &device)?;
        let x = patches(scaled, patch_width, &device)?;
        let x = self.model.embed(&x, self.patch_index, &mut Probe::none())?;
        let wanted = (!all_wanted).then_some(&wanted);
        let encoded = self.model.encode_paths(x, &rotary, memories, wanted)?;
        let head = self.head(&encoded)?;
        let width = self.model.config.output.width() * self.model.config.patch_width;
        let mut rest = head.as_slice();
        for unit in units {
            let series = unit.job.series;
            let (length, per_path) = (unit.length(), series.variates() * width);
            let (heads, others) = rest.split_at(unit.paths() * per_path);
            rest = others;
            let (first, scalings, fill) = (unit.first, &unit.context.scalings, unit.job.fill);
            let paths = unit.values.par_chunks_exact_mut(length).with_min_len(PATHS_A_THREAD);
            paths.zip(heads.par_chunks_exact(per_path)).enumerate().for_each(
                |(path, (values, head))| {
                    let path = first + path;
                    let target = Target { path, step, series, model: self.model };
                    target.draw(head, scalings, fill, values);
                },
            );
        }
        Ok(())
    }
}
