//! A prototype, for measuring: contexts encoded on a grid that stays put, so that between
//! two origins within a patch only the newest token changes. Univariate, on the processor.

use candle_core::{Device, Result};
use rand::RngExt;
use rayon::prelude::*;
use tidecast_forecast::{PriorHistory, normal_probability, normal_quantile};

use super::cached::{Context, Job, Network};
use super::{Draw, Fill, Series, patches};
use crate::coupling::Coupling;
use crate::imputation::Column;
use crate::model::{Chunk, MoiraiMoe, PathMemory, Probe};
use crate::packing::{Columns, PackedRow};
use crate::quantile::quantile;
use crate::rows::Rotary;
use crate::sampler::{Sampler, Sampling, generator};
use crate::scaler::{Floor, Scaling, moments_by_group};

/// How the newest, part-filled patch is dealt with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// All patches end at the origin: from this many newest steps, with the scale of some steps ago, at most an eighth of all.
    Reencode {
        /// Steps.
        scale_age: usize,
        /// Steps.
        keep: usize,
    },
    /// The newest patch is filled up with medians of what the token before foretells, from
    /// which the steps left of it are forecast as well.
    Held,
    /// The same, given the steps of the patch that are there: their places in what was
    /// foretold and those to come hang together as the series' coupling says.
    Conditioned {
        /// Ways in which the patch is filled up.
        paths: usize,
    },
    /// The newest token is the patch that ends at the origin, behind a grid that it overlaps.
    Overlap {
        /// Whether its time lies between those of the grid.
        fractional: bool,
    },
    /// The same, behind a grid that ends before it.
    Gap {
        /// Whether its time lies between those of the grid.
        fractional: bool,
    },
    /// So many of the newest patches end at the origin, behind a grid that ends before them.
    Tail {
        /// Patches that end at the origin.
        tokens: usize,
        /// Whether their times lie between those of the grid.
        fractional: bool,
    },
}

/// A series.
#[derive(Debug)]
pub struct History<'a> {
    /// Oldest first.
    pub values: &'a [f64],
    /// What came before.
    pub prior: PriorHistory,
    /// Of the points that are drawn.
    pub seed: u64,
}

const PATHS: usize = 16;
const POINTS: usize = 16;

fn sampler(seed: u64) -> Sampler {
    Sampler { seed, sampling: Sampling::Stratified, points: POINTS, domains: Vec::new() }
}

struct Newest {
    context: usize,
    /// `[paths, patch_width]`
    scaled: Vec<f32>,
    time: f32,
}

/// The points foretold of a patch, the places of the steps that are left of it (mean and
/// variance on the normal scale), and the patch filled up, `[paths, patch_width]`.
type Ahead = (Vec<Vec<f64>>, Vec<(f64, f64)>, Vec<f32>);

struct Encoder<'a> {
    model: &'a MoiraiMoe,
    index: usize,
}

impl Encoder<'_> {
    fn newest(
        &self,
        contexts: &[Context],
        series: &[Series<'_>],
        newest: &[Newest],
    ) -> Result<Vec<f32>> {
        let config = &self.model.config;
        let mut scaled = Vec::new();
        let mut chunks: Vec<Chunk<'_>> = newest
            .iter()
            .map(|newest| {
                let (context, series) = (&contexts[newest.context], &series[newest.context]);
                let paths = newest.scaled.len() / config.patch_width;
                scaled.extend_from_slice(&newest.scaled);
                let memory = PathMemory::new(
                    &context.memory,
                    &series.layout.variate,
                    &[0],
                    paths,
                    1,
                    config.d_model,
                );
                let mut chunk = Chunk::of_paths(memory);
                chunk.step(Rotary::at(newest.time, paths, config.head_dim), None);
                chunk
            })
            .collect();
        let x = patches(scaled, config.patch_width, &Device::Cpu)?;
        let x = self.model.embed(&x, self.index, &mut Probe::none())?;
        let encoded = self.model.encode(x, &mut chunks, &mut Probe::none())?;
        self.model.head(&encoded, self.index)?.flatten_all()?.to_vec1()
    }

    fn width(&self) -> usize {
        self.model.config.output.width() * self.model.config.patch_width
    }

    /// Points by position, ascending.
    fn points<'r>(
        &self,
        seed: u64,
        step: usize,
        size: usize,
        row: impl Fn(usize) -> &'r [f32],
    ) -> Vec<Vec<f64>> {
        let sampler = sampler(seed);
        let config = &self.model.config;
        let mut all = vec![Vec::with_capacity(PATHS * POINTS); size];
        let (mut patch, mut points) = (vec![0.0; size], vec![0.0; size * POINTS]);
        for path in 0..PATHS {
            let draw = Draw {
                path,
                step,
                variate: 0,
                output: &config.output,
                row: row(path),
                patch_width: config.patch_width,
                scaling: Scaling::NONE,
                strata: sampler.strata(PATHS),
            };
            sampler.fill(&draw, &mut patch, &mut points);
            for (all, points) in all.iter_mut().zip(points.chunks_exact(POINTS)) {
                all.extend(points.iter().map(|&point| f64::from(point)));
            }
        }
        all.iter_mut().for_each(|points| points.sort_unstable_by(f64::total_cmp));
        all
    }
}

fn columns(values: &[f64], prior: &PriorHistory) -> Columns {
    Columns {
        target: vec![Column::causal_mean_filled(values, prior)],
        future_covariates: Vec::new(),
        past_covariates: Vec::new(),
        is_pad: vec![false; values.len()],
    }
}

/// Places after the known ones: mean and variance on the normal scale.
fn predicted(coupling: Coupling, known: &[f64], size: usize) -> Vec<(f64, f64)> {
    let (phi, slow) = (coupling.slowness, coupling.slow);
    let (mut mean, mut variance) = (0.0, 1.0); // of the slow part
    let mut out = Vec::new();
    for at in 0..size {
        if at > 0 {
            mean *= phi;
            variance = phi * phi * variance + 1.0 - phi * phi;
        }
        if at < known.len() {
            if known[at].is_finite() && slow > 0.0 {
                let total = slow * variance + (1.0 - slow);
                if total > 1e-9 {
                    let gain = slow.sqrt() * variance / total;
                    mean += gain * (known[at] - slow.sqrt() * mean);
                    variance *= 1.0 - gain * slow.sqrt();
                }
            }
        } else {
            out.push((slow.sqrt() * mean, slow * variance + 1.0 - slow));
        }
    }
    out
}

/// Joint draws of the places after the known ones.
fn drawn(coupling: Coupling, known: &[f64], size: usize, random: &mut impl rand::Rng) -> Vec<f64> {
    let mut known = known.to_vec();
    let from = known.len();
    for at in from..size {
        let (mean, variance) = predicted(coupling, &known, at + 1)[0];
        let u: f64 = random.random::<f64>().clamp(1e-9, 1.0 - 1e-9);
        known.push(mean + variance.sqrt() * normal_quantile(u));
    }
    known[from..].to_vec()
}

/// Returns forecasts of one patch, `[way][series][level][step]`; `filled` is how many steps
/// of the newest patch are there.
///
/// # Errors
/// On a card, or if the tensor library refuses.
pub fn forecast(
    model: &crate::Moirai,
    histories: &[History<'_>],
    filled: usize,
    ways: &[Way],
    levels: &[f64],
) -> Result<Vec<Vec<Vec<Vec<f64>>>>> {
    model.in_threads(|network, index| go(network, index, histories, filled, ways, levels))
}

fn go(
    model: &MoiraiMoe,
    index: usize,
    histories: &[History<'_>],
    filled: usize,
    ways: &[Way],
    levels: &[f64],
) -> Result<Vec<Vec<Vec<Vec<f64>>>>> {
    let size = model.config.patch_sizes[index];
    let width = model.config.patch_width;
    let encoder = Encoder { model, index };
    let network = Network { model, patch_index: index, threads: rayon::current_num_threads() };
    let rows = |cut_front: &dyn Fn(usize) -> usize, cut_back: usize| -> Vec<PackedRow> {
        histories
            .iter()
            .map(|history| {
                let all = columns(history.values, &history.prior);
                let n = history.values.len();
                let range = cut_front(n)..n - cut_back;
                let part = Columns {
                    target: all
                        .target
                        .iter()
                        .map(|column| Column {
                            values: column.values[range.clone()].to_vec(),
                            observed: column.observed[range.clone()].to_vec(),
                        })
                        .collect(),
                    future_covariates: Vec::new(),
                    past_covariates: Vec::new(),
                    is_pad: vec![false; range.len()],
                };
                PackedRow::pack(&part, size, size, width)
            })
            .collect()
    };
    let samplers: Vec<Sampler> = histories.iter().map(|history| sampler(history.seed)).collect();
    let full: Vec<Column> =
        histories.iter().map(|h| Column::causal_mean_filled(h.values, &h.prior)).collect();
    let out_of = |points: &[Vec<f64>],
                  scaling: Scaling,
                  level: &dyn Fn(usize, f64) -> f64|
     -> Vec<Vec<f64>> {
        levels
            .iter()
            .map(|&p| {
                points
                    .iter()
                    .enumerate()
                    .map(|(at, points)| scaling.undo(quantile(points, level(at, p))))
                    .collect()
            })
            .collect()
    };
    // The scale frozen `age` steps before the end of the part.
    fn freeze(series: &mut Series<'_>, age: usize) {
        if age == 0 {
            return;
        }
        let row = series.row;
        let total: usize = (0..row.tokens())
            .filter(|&t| !row.prediction_mask[t])
            .map(|t| row.observed_values(t).count())
            .sum();
        let keep = total - age.min(total / 8);
        let mut left = keep;
        let kept: Vec<Vec<f64>> = (0..row.tokens())
            .map(|token| {
                let most = if row.prediction_mask[token] { 0 } else { left };
                let kept: Vec<f64> = row.observed_values(token).take(most).collect();
                left -= kept.len();
                kept
            })
            .collect();
        let groups =
            moments_by_group(&row.sample_id, &row.variate_id, |token| kept[token].iter().copied());
        series.moments = vec![groups.get(&(1, 0)).copied().unwrap_or_default()];
        series.added = series.moments.iter().map(|m| m.floor(Floor::Relative)).collect();
    }

    let needs_grid = ways
        .iter()
        .any(|way| !matches!(way, Way::Reencode { .. } | Way::Gap { .. } | Way::Tail { .. }));
    let grid_rows = rows(&|_| 0, filled);
    let grid: Vec<Series<'_>> =
        grid_rows.iter().map(|row| Series::new(row, &model.config, Floor::Relative)).collect();
    let grid_contexts = if needs_grid {
        let jobs: Vec<Job<'_>> = grid
            .iter()
            .zip(&samplers)
            .map(|(series, fill)| Job::paths(series, PATHS, fill))
            .collect();
        network.encode_contexts(&jobs)?
    } else {
        Vec::new()
    };
    let newest_whole = |at: usize, scaling: Scaling| -> Vec<f32> {
        let values = &full[at].values;
        let n = values.len();
        (0..width)
            .map(|i| {
                let step = (n + i).checked_sub(size);
                scaling.apply(step.and_then(|s| values.get(s)).copied().unwrap_or(0.0))
            })
            .collect()
    };
    let mut all = Vec::new();
    for way in ways {
        let result: Vec<Vec<Vec<f64>>> = match *way {
            Way::Reencode { scale_age, keep } => {
                let rows = rows(&|n| n.saturating_sub(keep), 0);
                let mut series: Vec<Series<'_>> = rows
                    .iter()
                    .map(|row| Series::new(row, &model.config, Floor::Relative))
                    .collect();
                series.iter_mut().for_each(|series| freeze(series, scale_age));
                let jobs: Vec<Job<'_>> = series
                    .iter()
                    .zip(&samplers)
                    .map(|(series, fill)| Job::paths(series, PATHS, fill))
                    .collect();
                let contexts = network.encode_contexts(&jobs)?;
                contexts
                    .par_iter()
                    .zip(histories)
                    .map(|(context, history)| {
                        let points = encoder.points(history.seed, 0, size, |_| &context.head);
                        out_of(&points, context.scalings[0], &|_, p| p)
                    })
                    .collect()
            }
            Way::Overlap { fractional } => {
                let newest: Vec<Newest> = grid_contexts
                    .iter()
                    .zip(&grid)
                    .enumerate()
                    .map(|(at, (context, series))| {
                        let last = series.first_future_time() as f32 - 1.0;
                        let time = if fractional {
                            last + filled as f32 / size as f32
                        } else {
                            last + 1.0
                        };
                        Newest { context: at, scaled: newest_whole(at, context.scalings[0]), time }
                    })
                    .collect();
                let heads = encoder.newest(&grid_contexts, &grid, &newest)?;
                grid_contexts
                    .par_iter()
                    .zip(histories)
                    .zip(heads.par_chunks_exact(encoder.width()))
                    .map(|((context, history), row)| {
                        let points = encoder.points(history.seed, 0, size, |_| row);
                        out_of(&points, context.scalings[0], &|_, p| p)
                    })
                    .collect()
            }
            Way::Tail { tokens, fractional } => {
                let cut = |n: usize| {
                    filled
                        + (tokens * size)
                            .min((n - filled) / size * size - size.min((n - filled) / size * size))
                };
                // Series too short for the whole tail have a shorter one.
                let tails: Vec<usize> =
                    histories.iter().map(|h| (cut(h.values.len()) - filled) / size).collect();
                let rows: Vec<PackedRow> = histories
                    .iter()
                    .enumerate()
                    .map(|(at, history)| {
                        let n = history.values.len();
                        let end = n - filled - tails[at] * size;
                        let column = &full[at];
                        let part = Columns {
                            target: vec![Column {
                                values: column.values[..end].to_vec(),
                                observed: column.observed[..end].to_vec(),
                            }],
                            future_covariates: Vec::new(),
                            past_covariates: Vec::new(),
                            is_pad: vec![false; end],
                        };
                        PackedRow::pack(&part, size, size, width)
                    })
                    .collect();
                let mut series: Vec<Series<'_>> = rows
                    .iter()
                    .map(|row| Series::new(row, &model.config, Floor::Relative))
                    .collect();
                for (series, grid) in series.iter_mut().zip(&grid) {
                    series.moments.clone_from(&grid.moments);
                    series.added.clone_from(&grid.added);
                }
                let jobs: Vec<Job<'_>> = series
                    .iter()
                    .zip(&samplers)
                    .map(|(series, fill)| Job::paths(series, PATHS, fill))
                    .collect();
                let contexts = network.encode_contexts(&jobs)?;
                let mut heads: Vec<Vec<f32>> = vec![Vec::new(); histories.len()];
                for (at, (context, series)) in contexts.iter().zip(&series).enumerate() {
                    let tail = tails[at];
                    let values = &full[at].values;
                    let start = values.len() - tail * size;
                    let memory = PathMemory::new(
                        &context.memory,
                        &series.layout.variate,
                        &[0],
                        1,
                        tail,
                        model.config.d_model,
                    );
                    let mut chunk = [Chunk::of_paths(memory)];
                    for token in 0..tail {
                        let mut scaled: Vec<f32> = values[start + token * size..][..size]
                            .iter()
                            .map(|&v| context.scalings[0].apply(v))
                            .collect();
                        scaled.extend(std::iter::repeat_n(0.0, width - size));
                        let time = series.first_future_time() as f32
                            + token as f32
                            + if fractional { filled as f32 / size as f32 } else { 0.0 };
                        chunk[0].step(Rotary::at(time, 1, model.config.head_dim), None);
                        let x = patches(scaled, width, &Device::Cpu)?;
                        let x = model.embed(&x, index, &mut Probe::none())?;
                        let encoded = model.encode(x, &mut chunk, &mut Probe::none())?;
                        if token + 1 == tail {
                            heads[at] = model.head(&encoded, index)?.flatten_all()?.to_vec1()?;
                        }
                    }
                    if tail == 0 {
                        heads[at].clone_from(&context.head);
                    }
                }
                contexts
                    .par_iter()
                    .zip(histories)
                    .zip(&heads)
                    .map(|((context, history), row)| {
                        let points = encoder.points(history.seed, 0, size, |_| row);
                        out_of(&points, context.scalings[0], &|_, p| p)
                    })
                    .collect()
            }
            Way::Gap { fractional } => {
                let rows = rows(&|_| 0, filled + size);
                let mut series: Vec<Series<'_>> = rows
                    .iter()
                    .map(|row| Series::new(row, &model.config, Floor::Relative))
                    .collect();
                for (series, grid) in series.iter_mut().zip(&grid) {
                    series.moments.clone_from(&grid.moments);
                    series.added.clone_from(&grid.added);
                }
                let jobs: Vec<Job<'_>> = series
                    .iter()
                    .zip(&samplers)
                    .map(|(series, fill)| Job::paths(series, PATHS, fill))
                    .collect();
                let contexts = network.encode_contexts(&jobs)?;
                let newest: Vec<Newest> = contexts
                    .iter()
                    .zip(&series)
                    .enumerate()
                    .map(|(at, (context, series))| {
                        let next = series.first_future_time() as f32;
                        let time =
                            if fractional { next + filled as f32 / size as f32 } else { next };
                        Newest { context: at, scaled: newest_whole(at, context.scalings[0]), time }
                    })
                    .collect();
                let heads = encoder.newest(&contexts, &series, &newest)?;
                contexts
                    .par_iter()
                    .zip(histories)
                    .zip(heads.par_chunks_exact(encoder.width()))
                    .map(|((context, history), row)| {
                        let points = encoder.points(history.seed, 0, size, |_| row);
                        out_of(&points, context.scalings[0], &|_, p| p)
                    })
                    .collect()
            }
            Way::Held | Way::Conditioned { .. } => {
                let paths = if let Way::Conditioned { paths } = *way { paths } else { 1 };
                let ahead: Vec<Ahead> = grid_contexts
                    .par_iter()
                    .zip(histories)
                    .enumerate()
                    .map(|(at, (context, history))| {
                        let scaling = context.scalings[0];
                        let points = encoder.points(history.seed, 0, size, |_| &context.head);
                        let known = &full[at];
                        let start = known.len() - filled;
                        let coupling = match way {
                            Way::Held => Coupling::default(),
                            _ => context.coupling[0],
                        };
                        let places: Vec<f64> = (0..filled)
                            .map(|i| {
                                if !known.observed[start + i] {
                                    return f64::NAN;
                                }
                                let z = f64::from(scaling.apply(known.values[start + i]));
                                let below = points[i].partition_point(|p| *p < z) as f64;
                                let upto = points[i].partition_point(|p| *p <= z) as f64;
                                normal_quantile(
                                    ((below + upto) / 2.0 + 0.5) / (points[i].len() as f64 + 1.0),
                                )
                            })
                            .collect();
                        let rest = predicted(coupling, &places, size);
                        let mut scaled = Vec::new();
                        for path in 0..paths {
                            let own: Vec<f64> = if paths == 1 {
                                rest.iter().map(|(mean, _)| *mean).collect()
                            } else {
                                drawn(
                                    coupling,
                                    &places,
                                    size,
                                    &mut generator(history.seed ^ 0x5eed, path, 0, 0),
                                )
                            };
                            scaled.extend(
                                (0..filled).map(|i| scaling.apply(known.values[start + i])),
                            );
                            scaled.extend(own.iter().zip(&points[filled..]).map(|(z, points)| {
                                quantile(points, normal_probability(*z)) as f32
                            }));
                            scaled.extend(std::iter::repeat_n(0.0, width - size));
                        }
                        (points, rest, scaled)
                    })
                    .collect();
                let newest: Vec<Newest> = ahead
                    .iter()
                    .zip(&grid)
                    .enumerate()
                    .map(|(at, ((_, _, scaled), series))| Newest {
                        context: at,
                        scaled: scaled.clone(),
                        time: series.first_future_time() as f32,
                    })
                    .collect();
                let heads = encoder.newest(&grid_contexts, &grid, &newest)?;
                let heads = heads.par_chunks_exact(encoder.width() * paths);
                ahead
                    .par_iter()
                    .zip(&grid_contexts)
                    .zip(histories)
                    .zip(heads)
                    .map(|(((ahead, context), history), heads)| {
                        let (points, rest, _) = ahead;
                        let later = encoder.points(history.seed, 1, size, |path| {
                            &heads[(path % paths) * encoder.width()..][..encoder.width()]
                        });
                        let (near, far) = (size - filled, filled);
                        let joined: Vec<Vec<f64>> =
                            points[filled..].iter().chain(&later[..far]).cloned().collect();
                        let level = |at: usize, p: f64| match rest.get(at) {
                            Some((mean, variance)) if at < near => {
                                normal_probability(mean + variance.sqrt() * normal_quantile(p))
                            }
                            _ => p,
                        };
                        out_of(&joined, context.scalings[0], &level)
                    })
                    .collect()
            }
        };
        all.push(result);
    }
    Ok(all)
}

/// Returns the seconds of processor that all threads have taken so far, on Linux.
pub fn processor_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(|task| of(task.path())).sum::<f64>() / 1e9
}

/// Returns milliseconds of processor a series: of the contexts' encoding, and of the newest
/// token alone; and the bytes of keys and values.
///
/// # Errors
/// On a card, or if the tensor library refuses.
pub fn time(model: &crate::Moirai, values: &[Vec<f64>], repeats: usize) -> Result<[f64; 3]> {
    model.in_threads(|network, index| {
        let size = network.config.patch_sizes[index];
        let width = network.config.patch_width;
        let rows: Vec<PackedRow> = values
            .iter()
            .map(|values| {
                PackedRow::pack(&columns(values, &PriorHistory::default()), size, size, width)
            })
            .collect();
        let samplers: Vec<Sampler> = (0..values.len() as u64).map(sampler).collect();
        let encoder = Encoder { model: network, index };
        let cached =
            Network { model: network, patch_index: index, threads: rayon::current_num_threads() };
        let levels = [0.1, 0.5, 0.9];
        let mut bytes = 0.0;
        let mut taken = [0.0; 2];
        for round in 0..=repeats {
            let started = processor_seconds();
            let series: Vec<Series<'_>> =
                rows.iter().map(|row| Series::new(row, &network.config, Floor::Relative)).collect();
            let jobs: Vec<Job<'_>> = series
                .iter()
                .zip(&samplers)
                .map(|(series, fill)| Job { series, paths: PATHS, fill, levels: Some(&levels) })
                .collect();
            let mut contexts = Vec::new();
            // As the rollout does: some 2,048 tokens at once.
            let at_once = (2048 / series[0].context.len()).max(1);
            for jobs in jobs.chunks(at_once) {
                contexts.extend(cached.encode_contexts(jobs)?);
            }
            let middle = processor_seconds();
            let newest: Vec<Newest> = contexts
                .iter()
                .zip(&series)
                .enumerate()
                .map(|(at, (_, series))| Newest {
                    context: at,
                    scaled: vec![0.5; width],
                    time: series.first_future_time() as f32,
                })
                .collect();
            let again = 10;
            for _ in 0..again {
                std::hint::black_box(encoder.newest(&contexts, &series, &newest)?);
            }
            let end = processor_seconds();
            if round > 0 {
                taken[0] += middle - started;
                taken[1] += (end - middle) / f64::from(again);
            }
            bytes = contexts
                .iter()
                .flat_map(|context| &context.memory)
                .map(|memory| memory.bytes() as f64)
                .sum::<f64>();
        }
        let each = 1e3 / (repeats * values.len()) as f64;
        Ok([taken[0] * each, taken[1] * each, bytes / values.len() as f64])
    })
}
