//! Random numbers that depend on a task's seed and a place in its forecast,
//! and on nothing else.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::distribution::Position;
use crate::rollout::{Draw, Fill};

/// Draws the next patch of a sample path from the model's distribution.
///
/// The generator is ChaCha8 with the key (seed, path, step, variate), each a
/// little-endian `u64`: what a path draws does not depend on the other paths,
/// on the batch or on the order of work. All positions of a patch are drawn,
/// in order, so a shorter horizon draws the beginning of a longer one.
///
/// A draw that is beyond the range of f32 in units of the scale, in which it is
/// fed back, becomes the largest of its sign; others are never clipped, as in
/// the reference. A NaN stays: the path is broken from there on and is left out
/// of mean and quantiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampler {
    pub(crate) seed: u64,
}

impl Fill for Sampler {
    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }

    fn fill(&self, draw: &Draw<'_>, patch: &mut [f64]) {
        let mut random = generator(self.seed, draw.path, draw.step, draw.variate);
        for (position, value) in patch.iter_mut().enumerate() {
            let z = Position::new(draw.output, draw.row, draw.patch_width, position)
                .sample(&mut random);
            *value = draw.scaling.undo(z.clamp(f64::from(f32::MIN), f64::from(f32::MAX)));
        }
    }
}

fn generator(seed: u64, path: usize, step: usize, variate: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, path as u64, step as u64, variate as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
