//! How closely steps of a forecast hang together.
//!
//! The model says for each step of a patch what may happen there, not what happens at two
//! of them together. Drawn by itself (as in the reference, and as what is fed back is) each
//! step is right, and what several come to is not: errors of one sign in a row cancel out
//! in a sum, and its bands are far too narrow.
//!
//! So the paths that are told are put together anew: at each step a path has several points
//! of its distribution, and which of them it tells, on the normal scale, is a slow
//! autoregressive process beside white noise that begins at the origin. Each step alone has
//! the model's distribution as before (a Gaussian copula, Nelsen 2006, with the model's
//! margins). How slow, and how much noise, follows from the series' own context: the model
//! has a distribution for each patch of it, too, and the places of what happened in these
//! (the probability integral transform, Dawid 1984), on the normal scale, hang together
//! within a patch as what will happen will.
//!
//! The walk goes on from one patch to the next. In the context the last step of a patch
//! and the first of the next are uncorrelated, but there the model knew the last one; of
//! the horizon it knows none.
//!
//! Variates are told apart from each other: what they have in common is what the model sees
//! of it.

use std::ops::Range;

use rand::RngExt;
use tidecast_forecast::{normal_probability, normal_quantile};

use crate::distribution::{DistributionOutput, Position, Prepared};
use crate::sampler::generator;
use crate::strata::{Place, Strata};

/// The newest patches of a context that are looked at, at most.
pub(crate) const MOST_PATCHES: usize = 32;

/// Points of a distribution among which what happened is placed.
pub(crate) const POINTS: usize = 16;

/// What a context that is too short to tell is taken to be, and how many patches that
/// counts for: about the mean of seven public sets.
const PRIOR_OF_NEIGHBOURS: f64 = 0.6;
const PRIOR_OF_ALL: f64 = 0.38;
const PRIOR_PATCHES: f64 = 2.0;

/// No process is slower.
const SLOWEST: f64 = 0.995;

/// Stands where a sample path's number does, for what draws for no path.
const NO_PATH: usize = u32::MAX as usize;

/// How closely steps hang together, on the normal scale: an autoregressive process of this
/// `slowness` with the share `slow` of the variance, and white noise. The correlation of
/// two steps `k` apart is `slow * slowness^k`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Coupling {
    /// Inside [0, 1).
    pub(crate) slowness: f64,
    /// Inside [0, 1].
    pub(crate) slow: f64,
}

impl Coupling {
    /// Returns which point a path tells at each of `steps` steps, counted from the smallest.
    pub(crate) fn told(
        self,
        strata: Strata,
        variate: usize,
        path: usize,
        steps: usize,
    ) -> impl Iterator<Item = usize> {
        let mut walk: Option<f64> = None;
        (0..steps).map(move |step| {
            let place = Place { variate, step, path };
            if self.slow == 0.0 {
                return strata.at(strata.rank(place));
            }
            let new = normal_quantile(strata.rank(place));
            let last = walk.map_or(new, |last| {
                self.slowness * last + (1.0 - self.slowness.powi(2)).sqrt() * new
            });
            walk = Some(last);
            let noise = normal_quantile(strata.noise(place));
            let z = self.slow.sqrt() * last + (1.0 - self.slow).sqrt() * noise;
            strata.at(normal_probability(z))
        })
    }
}

/// What happened in patches of a context, and what the model had said of them.
#[derive(Debug)]
pub(crate) struct Hindsight<'a> {
    pub(crate) output: &'a DistributionOutput,
    /// The head's rows of the tokens before the patches.
    pub(crate) rows: &'a [f32],
    pub(crate) patch_width: usize,
    /// What happened, `[patches, patch_size]`, in units of the scale; NaN where that was
    /// not observed.
    pub(crate) happened: &'a [f32],
    pub(crate) patch_size: usize,
    pub(crate) seed: u64,
    pub(crate) variate: usize,
}

impl Hindsight<'_> {
    /// Places what happened in the model's distributions, on the normal scale, and sums up
    /// how steps hang together.
    pub(crate) fn together(&self) -> Together {
        let mut together = Together::default();
        let width = self.output.width() * self.patch_width;
        let mut places = vec![f64::NAN; self.patch_size];
        let happened = self.happened.chunks_exact(self.patch_size);
        for (patch, (row, happened)) in self.rows.chunks_exact(width).zip(happened).enumerate() {
            self.place(patch, row, happened, &mut places);
            together.add(&places);
        }
        together
    }

    /// Places what happened in a patch; NaN where that cannot be said.
    fn place(&self, patch: usize, row: &[f32], happened: &[f32], places: &mut [f64]) {
        let mut random = generator(self.seed, NO_PATH, patch, self.variate);
        let mut prepared = Prepared::default();
        for (at, (place, &happened)) in places.iter_mut().zip(happened).enumerate() {
            *place = f64::NAN;
            if happened.is_nan() {
                continue;
            }
            Position::new(self.output, row, self.patch_width, at).prepare(&mut prepared);
            let mut below = 0.0;
            for point in 0..POINTS {
                let uniform = (point as f64 + random.random::<f64>()) / POINTS as f64;
                let drawn = prepared.draw_at(uniform, &mut random) as f32;
                below += match drawn.partial_cmp(&happened) {
                    Some(std::cmp::Ordering::Less) => 1.0,
                    Some(std::cmp::Ordering::Equal) => 0.5,
                    Some(std::cmp::Ordering::Greater) => 0.0,
                    None => f64::NAN,
                };
            }
            *place = normal_quantile((below + 0.5) / (POINTS as f64 + 1.0));
        }
    }
}

/// Sums over the places of what happened in patches, from which their coupling follows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Together {
    /// Places, and the sum of their squares.
    pub(crate) places: f64,
    pub(crate) squares: f64,
    /// Neighbours within a patch, and the sum of their products.
    pub(crate) neighbours: f64,
    pub(crate) of_neighbours: f64,
    /// All pairs within a patch, and the sum of their products.
    pub(crate) pairs: f64,
    pub(crate) of_pairs: f64,
}

impl Together {
    /// Takes in the places of a patch, NaN where there is none.
    fn add(&mut self, places: &[f64]) {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for place in places.iter().filter(|place| place.is_finite()) {
            count += 1.0;
            sum += place;
            squares += place * place;
        }
        self.places += count;
        self.squares += squares;
        self.pairs += count * (count - 1.0) / 2.0;
        self.of_pairs += (sum * sum - squares) / 2.0;
        for (a, b) in places.iter().zip(places.iter().skip(1)) {
            if a.is_finite() && b.is_finite() {
                self.neighbours += 1.0;
                self.of_neighbours += a * b;
            }
        }
    }

    /// Returns the coupling with the correlation of neighbours, and the mean one of all
    /// pairs in a patch, that were found; drawn towards what is usual where there was
    /// little to find.
    pub(crate) fn coupling(&self, patch_size: usize) -> Coupling {
        let variance = self.squares / self.places;
        let size = patch_size as f64;
        let (neighbours, pairs) = (size - 1.0, size * (size - 1.0) / 2.0);
        let of = |sum: f64, count: f64, prior: f64, of_a_patch: f64| {
            let found = if variance > 0.0 { sum / variance } else { 0.0 };
            let count = if variance > 0.0 { count } else { 0.0 };
            let weight = PRIOR_PATCHES * of_a_patch;
            (found + prior * weight) / (count + weight)
        };
        let next = of(self.of_neighbours, self.neighbours, PRIOR_OF_NEIGHBOURS, neighbours);
        let all = of(self.of_pairs, self.pairs, PRIOR_OF_ALL, pairs);
        if patch_size < 2 || !(next > 0.0 && all.is_finite()) {
            return Coupling::default();
        }
        let slowness = slowness(all / next, patch_size).max(next).min(SLOWEST);
        Coupling { slowness, slow: (next / slowness).min(1.0) }
    }
}

/// Returns the slowness of a process of which the mean correlation of all pairs in a patch
/// is so much of that of neighbours.
fn slowness(ratio: f64, patch_size: usize) -> f64 {
    let of = |slowness: f64| {
        let size = patch_size as f64;
        let pairs = (1..patch_size).map(|lag| (size - lag as f64) * slowness.powi(lag as i32 - 1));
        pairs.sum::<f64>() * 2.0 / (size * (size - 1.0))
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..30 {
        let middle = (low + high) / 2.0;
        if of(middle) < ratio { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Returns which of the tokens of a context say what a known patch would be: those of a
/// variate, as `tokens` has them, but for the newest, no more than [`MOST_PATCHES`].
pub(crate) fn looked_at(tokens: Range<usize>) -> Range<usize> {
    let end = tokens.end.saturating_sub(1).max(tokens.start);
    tokens.start.max(end.saturating_sub(MOST_PATCHES))..end
}

#[cfg(test)]
mod tests;
