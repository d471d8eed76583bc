//! Location and scale of a variate: the mean and standard deviation of its
//! observed values (uni2ts' `PackedStdScaler`), in f64, whatever its unit.

use std::collections::BTreeMap;

use tidecast_forecast::unit_of_squares;

/// What the reference adds to the variance before the root.
const REFERENCE_FLOOR: f64 = 1e-5;

/// Variance from which on the reference's floor is at most a thousandth of it.
const ORDINARY_VARIANCE: f64 = 1e-2;

/// Deviations below this share of the location are rounding, not a swing: some
/// hundred steps of f64, which a sum of as many terms may be off by.
const ROUNDING: f64 = 1.0 / (1_u64 << 44) as f64;

/// The largest size of a standardised value: nothing observed is that far off.
const FARTHEST: f64 = 1e12;

/// What is added to the variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// The reference's 1e-5, in squared units of the series whatever they are:
    /// for the comparison with it.
    Reference,
    /// The reference's for variances V of 0.01 and more, and below that a share
    /// of V that vanishes with it: `1e-5 (V / 0.01)²`, the same at 0.01.
    ///
    /// So a series of ordinary size is scaled as the reference scales it, to
    /// the bit; one in a smaller unit is scaled as the same series in a larger
    /// one, since at V = 1e-4 the floor is 1e-5 of V and below less; and no
    /// series jumps when it crosses the border. (Bringing small deviations to
    /// an ordinary size by a power of two before the reference's floor, and
    /// back after, would come to the same with a step at the border.)
    ///
    /// A series that does not move, or by no more than f64 rounds at its
    /// location, has no variance to be relative to. Its floor is relative to
    /// the location where that is below 1, else the reference's; so are zeros'.
    Relative,
}

/// Count, mean and sum of squared deviations of the values seen so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    /// A power of two: mean and squares are those of the values over it, so
    /// that no square overflows or vanishes. 1 for all but astronomic sizes.
    unit: f64,
    count: f64,
    mean: f64,
    squares: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { unit: 1.0, count: 0.0, mean: 0.0, squares: 0.0 }
    }
}

impl Moments {
    /// Returns the moments of no value yet; `largest` is the largest size of
    /// those that make out the variate.
    pub(crate) fn of_size(largest: f64) -> Self {
        Self { unit: unit_of_squares(largest), ..Self::default() }
    }

    /// Takes in a batch of values in two passes (Chan, Golub and LeVeque 1979
    /// for the joint moments). The mean of equal values is that value exactly.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = f64> + Clone) {
        let unit = self.unit;
        let values = values.map(move |value| value / unit);
        let count = values.clone().count() as f64;
        if count == 0.0 {
            return;
        }
        let rough = values.clone().sum::<f64>() / count;
        let mean = rough + values.clone().map(|value| value - rough).sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        let total = self.count + count;
        let delta = mean - self.mean;
        self.squares += squares + delta * delta * self.count * count / total;
        self.mean += delta * count / total;
        self.count = total;
    }

    /// Returns the variance with one degree of freedom less, in units squared.
    fn variance(&self) -> f64 {
        let degrees = if self.count == 1.0 { 1.0 } else { self.count - 1.0 };
        self.squares / degrees
    }

    /// Returns what to add to the variance of these values, and of these values
    /// and what is drawn after them.
    pub(crate) fn floor(&self, floor: Floor) -> AddedVariance {
        let (variance, location) = (self.variance(), self.mean.abs());
        let reference = REFERENCE_FLOOR / self.unit / self.unit;
        let in_series_units = variance * self.unit * self.unit;
        let added = if floor == Floor::Reference || in_series_units >= ORDINARY_VARIANCE {
            reference
        } else if variance > (ROUNDING * location).powi(2) {
            let share = REFERENCE_FLOOR / ORDINARY_VARIANCE;
            share * variance * (in_series_units / ORDINARY_VARIANCE)
        } else if location > 0.0 && location * self.unit < 1.0 {
            REFERENCE_FLOOR * location * location
        } else {
            reference
        };
        AddedVariance(added)
    }

    /// Returns location and scale: 0 and the square root of 1e-5 when nothing
    /// was observed.
    pub(crate) fn scaling(&self, added: AddedVariance) -> Scaling {
        let scale = self.unit * (self.variance() + added.0).sqrt();
        // At the very ends of f64 even the floor may have vanished.
        Scaling { location: self.mean * self.unit, scale: scale.max(f64::MIN_POSITIVE) }
    }
}

/// What is added to a variance, in squared units of its [`Moments`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AddedVariance(f64);

/// Returns the moments of each sample's variates: `observed(token)` gives the
/// token's values that count. Keys are (sample, variate).
pub(crate) fn moments_by_group<I: Iterator<Item = f64> + Clone>(
    sample_id: &[u32],
    variate_id: &[u32],
    observed: impl Fn(usize) -> I,
) -> BTreeMap<(u32, u32), Moments> {
    let keys = || sample_id.iter().copied().zip(variate_id.iter().copied());
    let mut largest: BTreeMap<_, f64> = BTreeMap::new();
    for (token, key) in keys().enumerate() {
        let own = largest.entry(key).or_default();
        *own = observed(token).fold(*own, |largest, value| largest.max(value.abs()));
    }
    let of_size = |(key, largest)| (key, Moments::of_size(largest));
    let mut groups: BTreeMap<_, Moments> = largest.into_iter().map(of_size).collect();
    for (token, key) in keys().enumerate() {
        groups.entry(key).or_default().extend(observed(token));
    }
    groups
}

/// `value = location + scale * z`, in units of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scaling {
    pub(crate) location: f64,
    pub(crate) scale: f64,
}

impl Scaling {
    /// What padding has, and every token of a model without scaling.
    pub(crate) const NONE: Self = Self { location: 0.0, scale: 1.0 };

    /// Returns the reference's, which are f32: at the edge of a component's
    /// support a density hangs on their last bit.
    pub(crate) fn of_reference(self) -> Self {
        let rounded = |number: f64| f64::from(number as f32);
        Self { location: rounded(self.location), scale: rounded(self.scale) }
    }

    /// Returns the standardised value. The location is subtracted in f64: at a
    /// level of 1e9 the numbers of f32 are 64 apart.
    ///
    /// What pads a context is a zero of the series, which lies as far off as
    /// the location: at 1e40 beyond f32. So far that squares and their sums
    /// would overflow in the network, it is brought nearer.
    pub(crate) fn apply(&self, value: f64) -> f32 {
        ((value - self.location) / self.scale).clamp(-FARTHEST, FARTHEST) as f32
    }

    /// Returns the value of a standardised one; beyond the range of f64 the
    /// largest number of its sign. NaN stays.
    pub(crate) fn undo(&self, z: f64) -> f64 {
        (self.location + self.scale * z).clamp(f64::MIN, f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moments(values: &[f64]) -> Moments {
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let mut moments = Moments::of_size(largest);
        moments.extend(values.iter().copied());
        moments
    }

    fn scaling(values: &[f64], floor: Floor) -> Scaling {
        let moments = moments(values);
        moments.scaling(moments.floor(floor))
    }

    fn wave(steps: usize) -> impl Iterator<Item = f64> {
        (0..steps).map(|step| (step as f64 * 0.7).sin())
    }

    #[test]
    fn edges_are_those_of_the_reference() {
        for floor in [Floor::Reference, Floor::Relative] {
            let edge = 1e-5_f64.sqrt();
            assert_eq!(scaling(&[], floor), Scaling { location: 0.0, scale: edge });
            assert_eq!(scaling(&[5.0], floor), Scaling { location: 5.0, scale: edge });
            assert_eq!(scaling(&[0.0; 9], floor), Scaling { location: 0.0, scale: edge });
            // Variance with n - 1: (1 + 1) / 1.
            let two = Scaling { location: 2.0, scale: 2.000_01_f64.sqrt() };
            assert_eq!(scaling(&[1.0, 3.0], floor), two);
        }
    }

    /// An absolute floor made bands of 1e-4 of a rate of 1e-6.
    #[test]
    fn the_floor_of_a_small_variance_is_relative_and_does_not_jump() {
        let small: Vec<f64> = wave(100).map(|z| 1e-6 * z).collect();
        let large: Vec<f64> = wave(100).collect();
        let ratio = scaling(&small, Floor::Relative).scale / scaling(&large, Floor::Relative).scale;
        assert!((ratio / 1e-6 - 1.0).abs() < 2e-5, "{ratio}");
        assert!(scaling(&small, Floor::Reference).scale > 3e-3);
        // At the border the two floors meet.
        let at = |size: f64| scaling(&[-size, size], Floor::Relative).scale / size;
        let border = (ORDINARY_VARIANCE / 2.0).sqrt();
        assert!((at(border * (1.0 - 1e-9)) / at(border * (1.0 + 1e-9)) - 1.0).abs() < 1e-9);
        assert_eq!(at(border * 2.0) * border * 2.0, (8.0 * border * border + 1e-5).sqrt());
    }

    #[test]
    fn a_small_swing_on_a_level_counts_unless_the_level_rounds_it_away() {
        for (level, size) in [(1.0, 1e-6), (100.0, 1e-4), (1e9, 1e-3)] {
            let values: Vec<f64> = wave(200).map(|z| level + size * z).collect();
            let scale = scaling(&values, Floor::Relative).scale / size;
            assert!((0.6..0.8).contains(&scale), "{level}: {scale}");
        }
        // One step of f64 up and down is no swing, nor is what summing leaves.
        let rounding = |value: f64| [value, value.next_up(), value, value.next_down()];
        assert_eq!(scaling(&rounding(100.0), Floor::Relative).scale, 1e-5_f64.sqrt());
        let small = scaling(&rounding(1e-6), Floor::Relative).scale;
        assert!((small / 1e-6 / 1e-5_f64.sqrt() - 1.0).abs() < 1e-9, "{small}");
        let constant = scaling(&[1e-6; 512], Floor::Relative);
        assert_eq!(constant.location, 1e-6);
        assert!(constant.scale < 4e-9);
    }

    /// The mean of 512 times 1e15 + 0.5 was off by what made 40 scale units.
    #[test]
    fn the_mean_of_a_constant_is_the_constant() {
        for value in [0.1, 123_456_789.0, 1e15 + 0.5, 1e300, 1e-300, f64::MAX, -3.3] {
            let found = scaling(&[value; 511], Floor::Relative);
            assert_eq!((found.location, found.apply(value)), (value, 0.0));
        }
    }

    #[test]
    fn sizes_at_the_ends_of_f64_neither_overflow_nor_vanish() {
        let ordinary = scaling(&wave(64).collect::<Vec<_>>(), Floor::Relative);
        for size in [1e300, 1e-300, 1e200, 1e-200] {
            let values: Vec<f64> = wave(64).map(|z| size * z).collect();
            let found = scaling(&values, Floor::Relative);
            let off = found.scale / size / ordinary.scale - 1.0;
            assert!(off.abs() < 2e-5, "{size}: {off}");
            let standardised = (found.apply(values[3]), ordinary.apply((3.0 * 0.7_f64).sin()));
            assert!((standardised.0 / standardised.1 - 1.0).abs() < 1e-4, "{standardised:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_moments_as_the_whole(
            values in prop::collection::vec(-1e6f64..1e6, 2..60), cut in 0usize..60,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut pieces = moments(left);
            pieces.extend(right.iter().copied());
            let pieces = pieces.scaling(pieces.floor(Floor::Relative));
            let whole = scaling(&values, Floor::Relative);
            prop_assert!((pieces.location - whole.location).abs() <= 1e-9 * whole.scale);
            prop_assert!((pieces.scale / whole.scale - 1.0).abs() <= 1e-9);
        }

        #[test]
        fn what_was_standardised_comes_back(
            values in prop::collection::vec(-1e3f64..1e3, 2..40), level in -1e9f64..1e9,
        ) {
            let values: Vec<f64> = values.iter().map(|value| level + value).collect();
            let scaling = scaling(&values, Floor::Relative);
            for value in values {
                let back = scaling.undo(f64::from(scaling.apply(value)));
                prop_assert!((back - value).abs() <= 1e-6 * scaling.scale + 1e-6, "{} {}", back, value);
            }
        }
    }
}
