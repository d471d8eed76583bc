//! Where in the model's distributions the sample paths of a series draw: not
//! independently of each other but spread evenly, so that few paths say what many
//! independent ones do.
//!
//! At each step a path draws several points of its own predictive distribution
//! (Rao-Blackwell: the step's distribution is the average over the paths of theirs, not
//! one point of each), and one of them is fed back. Over all paths and points of a step
//! the uniform numbers behind them are one stratified sample (Latin hypercube sampling,
//! McKay, Beckman and Conover 1979): with `n` paths of `k` points each there is one
//! in each of `n * k` equal parts of (0, 1), and each path's own are evenly spread. Which
//! path has which part, and which of its points goes on, is shuffled anew at each step.
//! So each point and each path alone has the model's distribution, as if it had been
//! drawn by itself.
//!
//! The shuffles are computed, not kept: a path's part follows from the seed and the place
//! alone, whoever asks, on whatever device.

/// The parts of (0, 1) that the paths of a series have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strata {
    pub(crate) seed: u64,
    pub(crate) paths: usize,
    /// Points of a path's distribution that are drawn at each step; at least 1.
    pub(crate) points: usize,
}

/// A step of a path of a variate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) variate: usize,
    /// Of the horizon.
    pub(crate) step: usize,
    pub(crate) path: usize,
}

/// What is shuffled at a step.
#[derive(Clone, Copy)]
enum Shuffle {
    Noise = 0,
    Parts = 1,
    Rank = 2,
    Within = 3,
}

impl Strata {
    /// Returns the part of (0, 1) that point `point` of a path is in: where it
    /// begins, and its width.
    pub(crate) fn part(&self, place: Place, point: usize) -> (f64, f64) {
        let width = 1.0 / (self.paths * self.points) as f64;
        let part = self.shuffled(place, Shuffle::Parts);
        ((point * self.paths + part) as f64 * width, width)
    }

    /// Returns the rank among a path's points, inside (0, 1), of the one that goes on.
    pub(crate) fn rank(&self, place: Place) -> f64 {
        let part = self.shuffled(place, Shuffle::Rank) as f64;
        let within = mixed(self.key(place, Shuffle::Within) ^ place.path as u64) >> 11;
        (part + (within as f64 + 0.5) * 2f64.powi(-53)) / self.paths as f64
    }

    /// Returns another rank, inside (0, 1), that has nothing to do with that one.
    pub(crate) fn noise(&self, place: Place) -> f64 {
        let bits = mixed(self.key(place, Shuffle::Noise) ^ place.path as u64) >> 11;
        (bits as f64 + 0.5) * 2f64.powi(-53)
    }

    /// Returns which of a path's points, counted from the smallest, has a rank.
    pub(crate) fn at(&self, rank: f64) -> usize {
        ((rank * self.points as f64) as usize).min(self.points - 1)
    }

    fn shuffled(&self, place: Place, what: Shuffle) -> usize {
        permuted(place.path as u32, self.paths as u32, self.key(place, what)) as usize
    }

    fn key(&self, Place { variate, step, .. }: Place, what: Shuffle) -> u64 {
        let place = (variate as u64) << 34 | (step as u64) << 2 | what as u64;
        mixed(self.seed ^ mixed(place))
    }
}

/// Mixes the bits of a number: SplitMix64's finaliser (Steele, Lea and Flood 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Returns the place of `index` in a permutation of `0..count` that follows from
/// `key`: rounds of steps that can be undone on as many bits as `count` takes, again
/// until the place is below it (cycle walking, Black and Rogaway 2002).
fn permuted(index: u32, count: u32, key: u64) -> u32 {
    if count <= 1 {
        return 0;
    }
    let bits = u32::BITS - (count - 1).leading_zeros();
    let mask = u32::MAX >> (u32::BITS - bits);
    let mut place = index;
    loop {
        let mut key = key;
        for _ in 0..4 {
            key = mixed(key);
            let (add, factor) = (key as u32, (key >> 32) as u32 | 1);
            place = place.wrapping_add(add).wrapping_mul(factor) & mask;
            place ^= place >> bits.div_ceil(2);
        }
        if place < count {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_one_paths_and_all_are_as_likely() {
        for paths in [1, 2, 3, 8, 13, 16, 100] {
            let mut pairs = vec![0f64; paths * paths];
            let seeds = 4_000;
            for seed in 0..seeds {
                let strata = Strata { seed, paths, points: 4 };
                let place = |path| Place { variate: 0, step: 3, path };
                let mut parts: Vec<usize> = (0..paths)
                    .flat_map(|path| (0..4).map(move |point| (path, point)))
                    .map(|(path, point)| {
                        let (start, width) = strata.part(place(path), point);
                        (start / width).round() as usize
                    })
                    .collect();
                // Where the first path goes, and the last, which says where both do.
                let first = parts[0] % paths;
                pairs[first * paths + parts[4 * (paths - 1)] % paths] += 1.0;
                parts.sort_unstable();
                assert!(parts.iter().copied().eq(0..4 * paths), "{paths} paths");
            }
            if paths == 1 {
                continue;
            }
            let places = (paths * (paths - 1)) as f64;
            let expected = seeds as f64 / places;
            let off = |place: usize| (pairs[place] - expected).powi(2) / expected;
            let chi: f64 = (0..paths * paths).filter(|at| at / paths != at % paths).map(off).sum();
            let spread = (2.0 * places).sqrt();
            assert!((chi - places).abs() < 6.0 * spread, "{paths} paths: {chi} for {places}");
        }
    }

    #[test]
    fn chosen_points_are_spread_over_the_paths() {
        let strata = Strata { seed: 5, paths: 16, points: 16 };
        for step in 0..50 {
            let place = |path| Place { variate: 1, step, path };
            let chosen = |path| strata.at(strata.rank(place(path)));
            let mut chosen: Vec<usize> = (0..16).map(chosen).collect();
            chosen.sort_unstable();
            assert!(chosen.iter().copied().eq(0..16), "{chosen:?}");
        }
    }
}
