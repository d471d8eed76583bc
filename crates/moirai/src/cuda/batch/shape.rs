//! What decides where everything of a batch stands, and the tables that follow from it.

use std::ops::Range;

use rayon::prelude::*;

use super::MOST_SORTED;
use crate::cuda::buffer::Buffer;
use crate::cuda::gpu::{Gpu, Result};
use crate::cuda::launch::{self, Pair, Span};
use crate::cuda::network::tiles;
use crate::rollout::cached::Job;
use crate::rows::RowLayout;

/// What decides where everything of a batch stands.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cuda) struct Shape {
    pub(super) patch_index: usize,
    pub(super) series: Vec<SeriesShape>,
    pub(super) points_of_step: usize,
    /// Whether the card draws; else the jobs' own rules fill on the host.
    pub(in crate::cuda) draws: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeriesShape {
    pub(super) layout: RowLayout,
    pub(super) newest: Vec<u32>,
    pub(super) paths: usize,
    pub(super) horizon: usize,
    pub(super) patches: usize,
    pub(super) step_variates: Vec<u32>,
    pub(super) first_future_time: u32,
    pub(super) future_covariates: usize,
    /// Variates and covariates.
    pub(super) columns: usize,
    pub(super) levels: Option<Vec<f64>>,
    /// By variate, where the context is looked back at.
    pub(super) looked_at: Vec<Range<usize>>,
}

impl Shape {
    /// Returns the shape of some jobs, which are all of one model and drawn in one way.
    pub(in crate::cuda) fn of(patch_index: usize, jobs: &[Job<'_>]) -> Self {
        let strata = jobs.first().and_then(|job| job.fill.strata(job.paths));
        let series = |job: &Job<'_>| SeriesShape {
            layout: job.series.layout.clone(),
            newest: job.series.newest.clone(),
            paths: job.paths,
            horizon: job.series.row.horizon,
            patches: job.series.patches(),
            step_variates: job.series.step_variates(),
            first_future_time: job.series.first_future_time(),
            future_covariates: job.series.row.segments.future_covariates,
            columns: job.series.moments.len(),
            levels: job.levels.map(<[f64]>::to_vec),
            looked_at: (0..job.series.variates()).map(|variate| job.looked_at(variate)).collect(),
        };
        Self {
            patch_index,
            series: jobs.par_iter().map(series).collect(),
            points_of_step: strata.map_or(0, |strata| strata.points),
            draws: jobs.iter().all(|job| job.fill.seed().is_some()),
        }
    }
}

/// Series of which the same quantiles are wanted.
pub(super) struct Summed {
    pub(super) levels: Vec<f64>,
    /// Which series.
    pub(super) members: Vec<usize>,
    pub(super) count: usize,
    pub(super) most_paths: usize,
    pub(super) items: Buffer<Pair>,
    pub(super) wanted: Buffer<f64>,
    pub(super) means: Buffer<f64>,
    pub(super) quantiles: Buffer<f32>,
    pub(super) counts: Buffer<u32>,
}

impl Summed {
    /// Makes room for what the paths of series come to, of each levels that are wanted.
    pub(super) fn all(
        gpu: &Gpu,
        series: &[&SeriesShape],
        table: &[launch::Series],
        points: usize,
    ) -> Result<Vec<Self>> {
        let mut by_levels: Vec<(&[f64], Vec<usize>)> = Vec::new();
        for (index, series) in series.iter().enumerate() {
            let Some(levels) = &series.levels else { continue };
            if series.paths * points.max(1) > MOST_SORTED {
                continue;
            }
            match by_levels.iter_mut().find(|(known, _)| known == levels) {
                Some((_, members)) => members.push(index),
                None => by_levels.push((levels, vec![index])),
            }
        }
        let one = |(levels, members): (&[f64], Vec<usize>)| {
            let mut items = Vec::new();
            for &index in &members {
                let results = table[index].variates * table[index].horizon;
                items.extend((0..results).map(|result| Pair(index as u32, result)));
            }
            let count = items.len();
            Ok(Self {
                levels: levels.to_vec(),
                most_paths: members.iter().map(|&index| series[index].paths).max().unwrap_or(1),
                members,
                count,
                items: Buffer::from(gpu, &items)?,
                wanted: Buffer::from(gpu, levels)?,
                means: Buffer::new(gpu, count)?,
                quantiles: Buffer::new(gpu, count * levels.len())?,
                counts: Buffer::new(gpu, count)?,
            })
        };
        by_levels.into_iter().map(one).collect()
    }
}

/// What is known of the tokens that paths get in a step.
pub(super) struct PathTables {
    pub(super) spans: Buffer<Span>,
    pub(super) tiles: Buffer<Pair>,
    /// Tiles of the first so many series.
    pub(super) tiles_of: Vec<usize>,
    /// Of each row's first patch.
    pub(super) time: Buffer<u32>,
    pub(super) variate: Buffer<u32>,
    /// The rows that predict, if not all do.
    pub(super) wanted: Option<Buffer<u32>>,
}

impl PathTables {
    pub(super) fn new(
        gpu: &Gpu,
        series: &[&SeriesShape],
        table: &[launch::Series],
    ) -> Result<Self> {
        let (mut spans, mut time, mut variate) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wanted, mut first_key) = (Vec::new(), 0);
        for (series, own) in series.iter().zip(table) {
            let keys = series.layout.len() as u32;
            let queries = own.paths * own.tokens;
            let first_query = own.first_row;
            spans.push(Span { first_query, queries, first_key, keys, tokens: own.tokens });
            first_key += keys;
            time.extend(std::iter::repeat_n(series.first_future_time, queries as usize));
            for path in 0..own.paths {
                variate.extend_from_slice(&series.step_variates);
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
