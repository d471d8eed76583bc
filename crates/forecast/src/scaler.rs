//! Location and scale of a variate: the mean and standard deviation of its
//! observed values (uni2ts' `PackedStdScaler`), in f64.

use std::collections::BTreeMap;

/// Added to the variance before the root.
const MINIMUM_SCALE: f64 = 1e-5;

/// Count, mean and sum of squared deviations of the values seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes in a batch of values in two passes (Chan, Golub and LeVeque 1979
    /// for the joint moments).
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = f32> + Clone) {
        let values = values.map(f64::from);
        let count = values.clone().count() as f64;
        if count == 0.0 {
            return;
        }
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        let total = self.count + count;
        let delta = mean - self.mean;
        self.squares += squares + delta * delta * self.count * count / total;
        self.mean += delta * count / total;
        self.count = total;
    }

    /// Returns location and scale: 0 and the square root of 1e-5 when nothing
    /// was observed.
    pub(crate) fn scaling(&self) -> Scaling {
        let degrees = if self.count == 1.0 { 1.0 } else { self.count - 1.0 };
        let variance = self.squares / degrees;
        Scaling { location: self.mean as f32, scale: (variance + MINIMUM_SCALE).sqrt() as f32 }
    }
}

/// Returns the moments of each sample's variates: `observed(token)` gives the
/// token's values that count. Keys are (sample, variate).
pub(crate) fn moments_by_group<I: Iterator<Item = f32> + Clone>(
    sample_id: &[u32],
    variate_id: &[u32],
    observed: impl Fn(usize) -> I,
) -> BTreeMap<(u32, u32), Moments> {
    let mut groups: BTreeMap<_, Moments> = BTreeMap::new();
    for (token, (&sample, &variate)) in sample_id.iter().zip(variate_id).enumerate() {
        groups.entry((sample, variate)).or_default().extend(observed(token));
    }
    groups
}

/// `value = location + scale * z`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scaling {
    pub(crate) location: f32,
    pub(crate) scale: f32,
}

impl Scaling {
    /// What padding has, and every token of a model without scaling.
    pub(crate) const NONE: Self = Self { location: 0.0, scale: 1.0 };

    pub(crate) fn apply(&self, value: f32) -> f32 {
        (value - self.location) / self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moments(values: &[f32]) -> Moments {
        let mut moments = Moments::default();
        moments.extend(values.iter().copied());
        moments
    }

    #[test]
    fn edges_are_those_of_the_reference() {
        let nothing = moments(&[]).scaling();
        assert_eq!((nothing.location, nothing.scale), (0.0, 0.003_162_277_7));
        let one = moments(&[5.0]).scaling();
        assert_eq!((one.location, one.scale), (5.0, 0.003_162_277_7));
        // Variance with n - 1: (1 + 1) / 1.
        let two = moments(&[1.0, 3.0]).scaling();
        assert_eq!((two.location, two.scale), (2.0, 2.000_01f64.sqrt() as f32));
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_moments_as_the_whole(
            values in prop::collection::vec(-1e6f32..1e6, 2..60), cut in 0usize..60,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut pieces = moments(left);
            pieces.extend(right.iter().copied());
            let (pieces, whole) = (pieces.scaling(), moments(&values).scaling());
            prop_assert!((pieces.location - whole.location).abs() <= 1e-6 * whole.scale);
            prop_assert!((pieces.scale / whole.scale - 1.0).abs() <= 1e-6);
        }
    }
}
