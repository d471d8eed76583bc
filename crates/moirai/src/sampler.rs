//! Random numbers that depend on a task's seed and a place in its forecast,
//! and on nothing else.

use std::fmt;
use std::str::FromStr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tidecast_stream::Domain;

use crate::distribution::{Position, Prepared};
use crate::rollout::{Draw, Fill};
use crate::strata::{Place, Strata};

/// How sample paths are drawn from the model's distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each by itself, one point of each step, as in the reference.
    Independent,
    /// Spread evenly over the distributions, several points of each step: mean and
    /// quantiles vary far less from seed to seed, and are of the same distribution.
    Stratified,
}

impl Sampling {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Stratified => "stratified",
        }
    }

    /// Returns the sample paths of a forecast unless said: docs/accuracy.md has the table
    /// that chose them.
    pub(crate) fn paths(self) -> usize {
        match self {
            Self::Independent => 100,
            Self::Stratified => 16,
        }
    }

    /// Returns the points of a path's distribution that are usually drawn at each step.
    pub(crate) fn points(self) -> usize {
        match self {
            Self::Independent => 1,
            Self::Stratified => 16,
        }
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sampling {
    type Err = UnknownSampling;

    fn from_str(text: &str) -> Result<Self, UnknownSampling> {
        let all = [Self::Independent, Self::Stratified];
        let found = all.into_iter().find(|sampling| sampling.name() == text);
        found.ok_or_else(|| UnknownSampling { sampling: text.to_owned() })
    }
}

/// There is no such way to draw.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sampling `{sampling}`: expected `stratified` or `independent`")]
pub struct UnknownSampling {
    /// The name given.
    pub sampling: String,
}

/// What was asked for is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SamplingUnsupported {
    #[error(
        "the `exact` rollout draws each path by itself: leave 'sampling' out, or say 'independent'"
    )]
    Exact,
    #[error("a card draws at most `{most}` points of a path at a step: 'points' is `{points}`")]
    Points { points: usize, most: usize },
}

/// Draws the next patch of a sample path from the model's distribution.
///
/// The generator is ChaCha8 with the key (seed, path, step, variate), each a
/// little-endian `u64`: what a path draws does not depend on the other paths (but for the
/// parts of the distribution that they share out, [`Strata`]), on the batch or on the order
/// of work. All positions of a patch are drawn, in order, so a shorter horizon draws the
/// beginning of a longer one.
///
/// A draw that is beyond the range of f32 in units of the scale, in which it is
/// fed back, becomes the largest of its sign; others are never clipped, as in
/// the reference. A NaN stays: the path is broken from there on and is left out
/// of mean and quantiles. What is fed back is a value that the series can have.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    pub(crate) seed: u64,
    pub(crate) sampling: Sampling,
    /// Points drawn of each path's distribution at each step; at least 1.
    pub(crate) points: usize,
    /// The values that each variate can have; one that is not said can have any.
    pub(crate) domains: Vec<Domain>,
}

impl Sampler {
    /// Draws as the reference does.
    pub(crate) fn independent(seed: u64) -> Self {
        Self { seed, sampling: Sampling::Independent, points: 1, domains: Vec::new() }
    }
}

impl Fill for Sampler {
    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn strata(&self, paths: usize) -> Option<Strata> {
        match self.sampling {
            Sampling::Independent => None,
            Sampling::Stratified => Some(Strata { seed: self.seed, paths, points: self.points }),
        }
    }

    fn points(&self) -> usize {
        match (self.sampling, self.points) {
            (Sampling::Independent, 1) => 0,
            (_, points) => points,
        }
    }

    fn domain(&self, variate: usize) -> Domain {
        self.domains.get(variate).copied().unwrap_or(Domain::ANY)
    }

    fn fill(&self, draw: &Draw<'_>, patch: &mut [f64], points: &mut [f32]) {
        let mut random = generator(self.seed, draw.path, draw.step, draw.variate);
        let domain = self.domain(draw.variate);
        let value_of = |z| domain.nearest(draw.scaling.undo(z));
        let position = |at| Position::new(draw.output, draw.row, draw.patch_width, at);
        let Some(strata) = draw.strata else {
            for (at, value) in patch.iter_mut().enumerate() {
                *value = value_of(bounded(position(at).sample(&mut random)));
            }
            if !points.is_empty() {
                let per_step = points.chunks_exact_mut(self.points);
                for (at, (value, points)) in patch.iter().zip(per_step).enumerate() {
                    let drawn = || bounded(position(at).sample(&mut random)) as f32;
                    points.fill_with(drawn);
                    points[0] = draw.scaling.apply(*value);
                }
            }
            return;
        };
        let first = draw.step * patch.len();
        let mut prepared = Prepared::default();
        let per_step = points.chunks_exact_mut(strata.points);
        for (at, (value, points)) in patch.iter_mut().zip(per_step).enumerate() {
            let place = Place { variate: draw.variate, step: first + at, path: draw.path };
            position(at).prepare(&mut prepared);
            for (index, point) in points.iter_mut().enumerate() {
                let (start, width) = strata.part(place, index);
                let uniform = start + width * random.random::<f64>();
                *point = bounded(prepared.draw_at(uniform, &mut random)) as f32;
            }
            points.sort_unstable_by(f32::total_cmp);
            let chosen = points.get(strata.at(strata.rank(place))).copied();
            *value = value_of(f64::from(chosen.unwrap_or(f32::NAN)));
        }
    }
}

fn bounded(z: f64) -> f64 {
    z.clamp(f64::from(f32::MIN), f64::from(f32::MAX))
}

pub(crate) fn generator(seed: u64, path: usize, step: usize, variate: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, path as u64, step as u64, variate as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
