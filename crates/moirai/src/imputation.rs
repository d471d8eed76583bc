//! Stand-ins for missing values.
//!
//! The network sees a stand-in as any other value; only the scaler leaves it
//! out. Every column of a forecast gets its causal mean (gluonts'
//! `CausalMeanValueImputation`). The reference does so with one variate only:
//! with several, and for covariates, a gap is zero, which lies a hundred
//! standard deviations off a series on a level. That is kept for the
//! comparison with it.

use tidecast_forecast::PriorHistory;

/// One column with its gaps filled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) values: Vec<f64>,
    pub(crate) observed: Vec<bool>,
}

impl Column {
    /// Sets gaps to zero, as the reference does unless there is one variate.
    pub(crate) fn zero_filled(raw: &[f64]) -> Self {
        let fill = |&value: &f64| if value.is_finite() { value } else { 0.0 };
        Self { values: raw.iter().map(fill).collect(), observed: observed(raw) }
    }

    /// Sets a gap to the mean of everything before it, that being the
    /// forward-filled history: `value[t] = mean(f[0..t])`. A gap at the very
    /// start of the history takes the first observed value, and so does
    /// everything before the first observed one in `f`. With nothing observed
    /// the values are zero.
    ///
    /// The sums are f64 from the start of the history, in order, so a context
    /// with its [`PriorHistory`] is filled as the whole history would be.
    pub(crate) fn causal_mean_filled(raw: &[f64], prior: &PriorHistory) -> Self {
        let observed = observed(raw);
        let first = raw.iter().copied().find(|value| value.is_finite());
        let Some(mut last) = (if prior.count > 0 { Some(prior.last) } else { first }) else {
            return Self { values: vec![0.0; raw.len()], observed };
        };
        let (mut sum, mut count) = (prior.sum, prior.count);
        let values = raw
            .iter()
            .map(|&value| {
                let filled = match value.is_finite() {
                    true => value,
                    false if count == 0 => last,
                    // The sum of very large values may be infinite.
                    false => {
                        Some(sum / count as f64).filter(|mean| mean.is_finite()).unwrap_or(last)
                    }
                };
                if value.is_finite() {
                    last = value;
                }
                sum += last;
                count += 1;
                filled
            })
            .collect();
        Self { values, observed }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

fn observed(raw: &[f64]) -> Vec<bool> {
    raw.iter().map(|value| value.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidecast_forecast::Context;

    const NAN: f64 = f64::NAN;

    fn fill(raw: &[f64]) -> Vec<f64> {
        Column::causal_mean_filled(raw, &PriorHistory::default()).values
    }

    #[test]
    fn a_gap_takes_the_mean_of_the_forward_filled_past() {
        // Forward-filled: 2 2 6 6 6 10.
        assert_eq!(fill(&[2.0, NAN, 6.0, NAN, NAN, 10.0]), [2.0, 2.0, 6.0, 10.0 / 3.0, 4.0, 10.0]);
        assert_eq!(fill(&[NAN, NAN, 3.0]), [3.0, 3.0, 3.0]);
        assert_eq!(fill(&[NAN, f64::INFINITY]), [0.0, 0.0]);
        assert_eq!(Column::zero_filled(&[NAN, 1.0]).values, [0.0, 1.0]);
        assert_eq!(Column::zero_filled(&[NAN, 1.0]).observed, [false, true]);
    }

    proptest! {
        #[test]
        fn the_newest_steps_are_filled_like_the_whole(
            raw in prop::collection::vec(prop_oneof![1 => -1e4f64..1e4, 1 => Just(NAN)], 1..60),
            steps in 0usize..60,
        ) {
            let context = Context::newest(&raw, steps);
            let prior = context.prior.as_ref().expect("a prior history")[0];
            let found = Column::causal_mean_filled(&context.variates[0], &prior);
            prop_assert_eq!(found.values, &fill(&raw)[raw.len().saturating_sub(steps)..]);
        }

        #[test]
        fn a_context_with_its_prior_history_is_filled_like_the_whole(
            raw in prop::collection::vec(prop_oneof![3 => -1e4f64..1e4, 1 => Just(NAN)], 1..80),
            cut in 0usize..80,
        ) {
            // A history starts with an observed value, as PriorHistory says.
            let start = raw.iter().position(|value| value.is_finite()).unwrap_or(0);
            let raw = &raw[start..];
            let cut = cut.min(raw.len());
            let mut prior = PriorHistory::default();
            raw[..cut].iter().for_each(|&value| prior.push(value));
            let context = Column::causal_mean_filled(&raw[cut..], &prior);
            prop_assert_eq!(context.values, &fill(raw)[cut..]);
        }
    }
}
