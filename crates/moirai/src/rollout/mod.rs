//! How a horizon longer than one patch is filled: predict the next patch from
//! the newest token of each variate, draw it, feed it back, go on.
//!
//! [`exact`] repeats the reference's loop, [`cached`] encodes each context
//! once. Both read a [`PackedRow`] through [`Series`] and draw through
//! [`Fill`], so they differ in nothing but the loop.

pub(crate) mod cached;
pub(crate) mod exact;
#[cfg(test)]
mod tests;

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use tidecast_stream::Domain;

use crate::config::Config;
use crate::coupling::{Coupling, looked_at};
use crate::distribution::DistributionOutput;
use crate::packing::PackedRow;
use crate::rows::RowLayout;
use crate::scaler::{AddedVariance, Floor, Moments, Scaling, moments_by_group};
use crate::strata::Strata;

/// Paths whose drawing is worth another thread.
const PATHS_A_THREAD: usize = 16;

/// One patch to be drawn.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    pub(crate) path: usize,
    /// The horizon's patch.
    pub(crate) step: usize,
    pub(crate) variate: usize,
    pub(crate) output: &'a DistributionOutput,
    /// The head's row for the token before the patch.
    pub(crate) row: &'a [f32],
    pub(crate) patch_width: usize,
    pub(crate) scaling: Scaling,
    /// The parts of the distribution that the paths have, if they share it out.
    pub(crate) strata: Option<Strata>,
}

/// Chooses the values of a patch.
pub(crate) trait Fill: Sync {
    /// Writes a patch of `patch_size` values, in units of the series, and the points of
    /// its distributions, `[patch_size, points]` in units of the scale, if strata say so.
    fn fill(&self, draw: &Draw<'_>, patch: &mut [f64], points: &mut [f32]);

    /// Returns how so many paths share out the distributions; `None` if each goes its own
    /// way.
    fn strata(&self, _paths: usize) -> Option<Strata> {
        None
    }

    /// Returns how many points of a path's distribution at a step are written; 0 if only
    /// its value is.
    fn points(&self) -> usize {
        0
    }

    /// Returns the seed if patches are drawn from the model's distribution:
    /// a device may then draw them itself, from the same distribution.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU has it filled
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Returns the values that a variate can have: what is fed back is one of them.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU has it filled
    fn domain(&self, _variate: usize) -> Domain {
        Domain::ANY
    }
}

/// What the rollout of one series gives.
#[derive(Debug, Clone)]
pub(crate) enum Rolled {
    Paths(Paths),
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU gives paths
    Summary(Summary),
}

impl Rolled {
    pub(crate) fn into_paths(self) -> Option<Paths> {
        match self {
            Self::Paths(paths) => Some(paths),
            Self::Summary(_) => None,
        }
    }
}

/// Mean and quantiles over sample paths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// `[variate][step]`; NaN where no path is left.
    pub(crate) mean: Vec<Vec<f64>>,
    /// `[level][variate][step]`.
    pub(crate) quantiles: Vec<Vec<Vec<f64>>>,
    /// Paths that became NaN somewhere.
    pub(crate) broken: usize,
}

/// The sample paths of one series, `[path, variate, horizon patches * patch size]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Paths {
    pub(crate) values: Vec<f64>,
    pub(crate) variates: usize,
    pub(crate) steps: usize,
    /// Points of the distributions that the paths went through,
    /// `[path, variate, steps, points_of_step]`, in units of the scale.
    pub(crate) points: Vec<f32>,
    pub(crate) points_of_step: usize,
    /// By variate.
    pub(crate) scalings: Vec<Scaling>,
    /// How the paths were drawn, and by variate how closely their steps hang together;
    /// `None`: they are told as they were drawn.
    pub(crate) coupled: Option<(Strata, Vec<Coupling>)>,
}

impl Paths {
    pub(crate) fn new(paths: usize, series: &Series<'_>, points_of_step: usize) -> Self {
        let (variates, steps) = (series.variates(), series.steps());
        let count = paths * variates * steps;
        Self {
            values: vec![0.0; count],
            variates,
            steps,
            points: vec![0.0; count * points_of_step],
            points_of_step,
            scalings: Vec::new(),
            coupled: None,
        }
    }

    /// Returns the points of one path, variate and step.
    pub(crate) fn points(&self, path: usize, variate: usize, step: usize) -> &[f32] {
        let start = ((path * self.variates + variate) * self.steps + step) * self.points_of_step;
        &self.points[start..start + self.points_of_step]
    }

    /// Returns how many paths there are.
    pub(crate) fn count(&self) -> usize {
        self.values.len() / (self.variates * self.steps).max(1)
    }

    /// Returns a path of a variate as it is told, in units of the series: of the points of
    /// each step one, which hang together.
    pub(crate) fn told(&self, path: usize, variate: usize) -> Vec<f64> {
        let Some((strata, couplings)) = &self.coupled else {
            return self.path(path, variate).to_vec();
        };
        let coupling = couplings.get(variate).copied().unwrap_or_default();
        let scaling = self.scalings.get(variate).copied().unwrap_or(Scaling::NONE);
        let value = |(step, told): (usize, usize)| {
            let point = self.points(path, variate, step).get(told).copied();
            scaling.undo(f64::from(point.unwrap_or(f32::NAN)))
        };
        let told = coupling.told(*strata, variate, path, self.steps);
        told.enumerate().map(value).collect()
    }

    /// Returns the values of one path and variate.
    pub(crate) fn path(&self, path: usize, variate: usize) -> &[f64] {
        let start = (path * self.variates + variate) * self.steps;
        &self.values[start..start + self.steps]
    }
}

/// A packed row as the rollouts see it: without padding tokens, and in the
/// order of time.
///
/// Padding tokens see only each other and nothing sees them; tokens later than
/// the one that predicts are invisible to it. Leaving both out changes nothing.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) row: &'a PackedRow,
    /// Tokens of the context.
    pub(crate) context: Vec<usize>,
    /// The context tokens' layout.
    pub(crate) layout: RowLayout,
    /// Each target variate's newest token, as an index into `context`.
    pub(crate) newest: Vec<u32>,
    /// Moments of each variate and covariate, the latter's future included.
    pub(crate) moments: Vec<Moments>,
    /// What the context adds to each one's variance; it stays when moments are
    /// taken anew, so that both rollouts scale alike.
    added: Vec<AddedVariance>,
    floor: Floor,
    scaling: bool,
}

impl<'a> Series<'a> {
    pub(crate) fn new(row: &'a PackedRow, config: &Config, floor: Floor) -> Self {
        let segments = row.segments;
        let mut context = Vec::new();
        let mut layout = RowLayout::default();
        let first_future = row.time_id[segments.target_future(0, 0)];
        for token in 0..row.tokens() {
            if row.sample_id[token] != 0 && row.time_id[token] < first_future {
                context.push(token);
                layout.push(row.time_id[token], row.variate_id[token]);
            }
        }
        let newest = (0..segments.variates)
            .map(|variate| {
                let token = segments.target_past(variate, segments.context_patches - 1);
                context.iter().position(|&other| other == token).unwrap_or(0) as u32
            })
            .collect();
        let groups = moments_by_group(&row.sample_id, &row.variate_id, |token| {
            row.observed_values(token).filter(move |_| !row.prediction_mask[token])
        });
        let columns = segments.variates + segments.future_covariates + segments.past_covariates;
        let moments: Vec<Moments> = (0..columns as u32)
            .map(|variate| groups.get(&(1, variate)).copied().unwrap_or_default())
            .collect();
        let added = moments.iter().map(|moments| moments.floor(floor)).collect();
        Self { row, context, layout, newest, moments, added, floor, scaling: config.scaling }
    }

    pub(crate) fn variates(&self) -> usize {
        self.row.segments.variates
    }

    /// Returns which of the context's tokens are looked back at to see how closely steps
    /// of a variate hang together.
    pub(crate) fn looked_at(&self, variate: usize) -> Range<usize> {
        let newest = self.newest.get(variate).copied().unwrap_or_default() as usize;
        let is_own = |own: &u32| *own as usize == variate;
        let first = self.layout.variate.iter().position(is_own).unwrap_or(newest);
        looked_at(first..newest + 1)
    }

    /// Appends the scaled patches that [`looked_at`](Self::looked_at) tokens foretold; NaN
    /// where nothing was observed.
    pub(crate) fn push_happened(&self, variate: usize, scaling: Scaling, scaled: &mut Vec<f32>) {
        let (row, size) = (self.row, self.row.patch_size);
        for token in self.looked_at(variate).filter_map(|index| self.context.get(index + 1)) {
            let observed = &row.observed[token * row.patch_width..][..size];
            let values = row.patch(*token).iter().zip(observed);
            let value = |(&value, &is_observed): (&f64, &bool)| match is_observed {
                true => scaling.apply(value),
                false => f32::NAN,
            };
            scaled.extend(values.map(value));
        }
    }

    /// Returns the number of patches of the horizon.
    pub(crate) fn patches(&self) -> usize {
        self.row.segments.horizon_patches
    }

    /// Returns the steps of the horizon with the padding of its last patch.
    pub(crate) fn steps(&self) -> usize {
        self.patches() * self.row.patch_size
    }

    /// Returns the variates of the tokens a path gets at each patch of the
    /// horizon: the targets, and the covariates known ahead.
    pub(crate) fn step_variates(&self) -> Vec<u32> {
        (0..(self.variates() + self.row.segments.future_covariates) as u32).collect()
    }

    pub(crate) fn first_future_time(&self) -> u32 {
        self.row.time_id[self.row.segments.target_future(0, 0)]
    }

    pub(crate) fn scalings(&self, moments: &[Moments]) -> Vec<Scaling> {
        let scaling = |(moments, added): (&Moments, &AddedVariance)| match self.floor {
            _ if !self.scaling => Scaling::NONE,
            Floor::Relative => moments.scaling(*added),
            Floor::Reference => moments.scaling(*added).of_reference(),
        };
        moments.iter().zip(&self.added).map(scaling).collect()
    }

    /// Appends the scaled patches of the context.
    pub(crate) fn push_context(&self, scalings: &[Scaling], scaled: &mut Vec<f32>) {
        for &token in &self.context {
            let scaling = scalings[self.row.variate_id[token] as usize];
            scaled.extend(self.row.patch(token).iter().map(|&value| scaling.apply(value)));
        }
    }

    /// Appends the scaled tokens one path has at patch `step` of the horizon:
    /// what was drawn (`drawn(variate)`, one patch), then the covariates.
    fn push_step<'b>(
        &self,
        step: usize,
        scalings: &[Scaling],
        drawn: impl Fn(usize) -> &'b [f64],
        scaled: &mut Vec<f32>,
    ) {
        let row = self.row;
        for (variate, scaling) in scalings.iter().enumerate().take(self.variates()) {
            let drawn = drawn(variate);
            scaled.extend(drawn.iter().map(|&value| scaling.apply(value)));
            // Beyond the patch size the weights are zero: any value will do.
            scaled.extend(std::iter::repeat_n(0.0, row.patch_width - drawn.len()));
        }
        for covariate in 0..row.segments.future_covariates {
            let scaling = scalings[self.variates() + covariate];
            let patch = row.patch(row.segments.covariate_future(covariate, step));
            scaled.extend(patch.iter().map(|&value| scaling.apply(value)));
        }
    }

    /// Adds the patch drawn for a variate to its moments, without the padding
    /// of the last one.
    fn observe(&self, step: usize, drawn: &[f64], moments: &mut Moments) {
        let left = self.row.horizon - step * self.row.patch_size;
        moments.extend(drawn.iter().copied().take(left));
    }
}

/// Makes `[tokens, patch_width]` of scaled patches.
fn patches(scaled: Vec<f32>, patch_width: usize, device: &Device) -> Result<Tensor> {
    let tokens = scaled.len() / patch_width;
    Tensor::from_vec(scaled, (tokens, patch_width), device)
}
