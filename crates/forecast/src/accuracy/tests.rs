use proptest::prelude::*;

use super::*;
use crate::load::load;
use crate::seasonal_naive;
use crate::spec::ModelSpec;
use crate::task::{Context, ForecastTask};

const NAN: f64 = f64::NAN;
const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

/// The same quantiles at each step.
fn flat(values: [f64; 3], steps: usize) -> Vec<Vec<f64>> {
    values.iter().map(|value| vec![*value; steps]).collect()
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.expect("a score");
    assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found}, not {expected}");
}

#[test]
fn the_scores_are_those_worked_out_by_hand() {
    let mut accuracy = Accuracy::new(&LEVELS).expect("levels");
    // Labels 10 and 20 against 8, 11, 14; seasonal error 2.
    accuracy.add(&[10.0, NAN, 20.0], &flat([8.0, 11.0, 14.0], 3), Some(2.0)).expect("fits");
    // Level 0.1: 0.1*2 + 0.1*12 = 1.4; 0.5: 0.5*1 + 0.5*9 = 5; 0.9: 0.1*4 + 0.9*6 = 5.8.
    // Twice that over 30, and the mean of the three.
    close(accuracy.wql(), 2.0 * (1.4 + 5.0 + 5.8) / 30.0 / 3.0);
    close(accuracy.mase(), (1.0 / 2.0 + 9.0 / 2.0) / 2.0);
    close(accuracy.coverage(), 0.5);
    assert_eq!((accuracy.windows(), accuracy.labels(), accuracy.unscaled_windows()), (1, 2, 0));
    assert!((accuracy.band() - 0.8).abs() < 1e-12);

    // A window of a constant past counts in WQL and coverage, not in MASE.
    for scale in [Some(0.0), None, Some(f64::NAN)] {
        accuracy.add(&[9.0], &flat([8.0, 9.0, 10.0], 1), scale).expect("fits");
    }
    close(accuracy.mase(), 2.5);
    close(accuracy.coverage(), 4.0 / 5.0);
    assert_eq!((accuracy.windows(), accuracy.unscaled_windows()), (4, 3));
}

#[test]
fn nothing_observed_is_no_score() {
    let mut accuracy = Accuracy::new(&LEVELS).expect("levels");
    accuracy.add(&[NAN, f64::INFINITY], &flat([1.0; 3], 2), Some(1.0)).expect("fits");
    assert_eq!((accuracy.wql(), accuracy.mase(), accuracy.coverage()), (None, None, None));
    assert_eq!(accuracy.labels(), 0);
}

#[test]
fn what_cannot_be_scored_says_why() {
    let error = |levels: &[f64]| Accuracy::new(levels).expect_err("refused").to_string();
    assert!(error(&[0.1, 0.9]).contains("`0.5` is not among [0.1, 0.9]"));
    assert!(error(&[0.5, 0.9]).contains("one below"));
    assert!(error(&[0.5, 1.0]).contains("`1` is outside"));
    let mut accuracy = Accuracy::new(&LEVELS).expect("levels");
    let shape = accuracy.add(&[1.0; 2], &flat([1.0; 3], 3), None).expect_err("refused");
    assert_eq!(shape.to_string(), "`3` steps in a forecast: `2` expected");
    let broken = accuracy.add(&[1.0], &flat([1.0, f64::NAN, 1.0], 1), None).expect_err("refused");
    assert_eq!(broken, AccuracyError::NotFinite { level: 0.5, step: 0 });
    assert_eq!(accuracy, Accuracy::new(&LEVELS).expect("levels"), "nothing was taken in");
}

#[test]
fn the_seasonal_error_is_of_pairs_that_were_observed() {
    assert_eq!(seasonal_error(&[1.0, 5.0, 3.0, 6.0], 2), Some(1.5));
    assert_eq!(seasonal_error(&[1.0, NAN, 3.0, 6.0, 7.0], 2), Some(3.0));
    assert_eq!(seasonal_error(&[1.0, 5.0], 2), None);
    assert_eq!(seasonal_error(&[], 1), None);
}

#[test]
fn the_yardstick_fills_forward_and_counts_filled_differences() {
    // Filled: 2 2 5 5 1; season 2: differences 3, 3, -4 of which the second has a
    // filled end on either side.
    let found = Yardstick { season: 2 }.quantiles(&[NAN, 2.0, 5.0, NAN, 1.0], 3, &[0.5, 0.9]);
    assert_eq!(found[0], [5.0, 1.0, 5.0]);
    let sigma = (34.0_f64 / 3.0).sqrt();
    let z = normal_quantile(0.9);
    for (step, seasons) in [(0, 1.0_f64), (1, 1.0), (2, 2.0)] {
        let expected = found[0][step] + z * sigma * seasons.sqrt();
        assert!((found[1][step] - expected).abs() < 1e-12, "{step}");
    }
    // No longer than a season: season 1.
    assert_eq!(Yardstick { season: 3 }.quantiles(&[4.0, 7.0], 2, &[0.5])[0], [7.0, 7.0]);
    assert_eq!(Yardstick { season: 3 }.quantiles(&[NAN], 2, &LEVELS), vec![vec![0.0; 2]; 3]);
    assert_eq!(Yardstick { season: 3 }.quantiles(&[], 2, &LEVELS), vec![vec![0.0; 2]; 3]);
}

#[test]
fn a_geometric_mean_is_of_positive_numbers() {
    close(geometric_mean(&[0.5, 2.0, 8.0]), 2.0);
    assert_eq!(geometric_mean(&[]), None);
    assert_eq!(geometric_mean(&[1.0, 0.0]), None);
}

/// Windows: labels, and what is added to their step for each quantile.
fn windows() -> impl Strategy<Value = Vec<(Vec<f64>, f64)>> {
    let label = prop_oneof![5 => -50.0_f64..50.0, 1 => Just(NAN)];
    prop::collection::vec((prop::collection::vec(label, 1..6), 0.1..9.0), 1..12)
}

fn scored(windows: &[(Vec<f64>, f64)], scale: f64) -> Accuracy {
    let mut accuracy = Accuracy::new(&LEVELS).expect("levels");
    for (labels, offset) in windows {
        let labels: Vec<f64> = labels.iter().map(|label| label * scale).collect();
        let values = [-2.0, 0.5, 3.0].map(|value| scale * value * offset);
        let found = accuracy.add(&labels, &flat(values, labels.len()), Some(scale * offset));
        found.expect("fits");
    }
    accuracy
}

fn assert_same(left: &Accuracy, right: &Accuracy, tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.coverage(), right.coverage());
    let scores = [(left.wql(), right.wql()), (left.mase(), right.mase())];
    for (left, right) in scores {
        prop_assert_eq!(left.is_some(), right.is_some());
        let (left, right) = (left.unwrap_or(0.0), right.unwrap_or(0.0));
        prop_assert!((left - right).abs() <= tolerance * left.abs(), "{} and {}", left, right);
    }
    Ok(())
}

proptest! {
    #[test]
    fn neither_order_nor_grouping_of_windows_matters(windows in windows(), cut in 0_usize..12) {
        let whole = scored(&windows, 1.0);
        let reversed: Vec<_> = windows.iter().rev().cloned().collect();
        assert_same(&whole, &scored(&reversed, 1.0), 1e-12)?;
        let (first, second) = windows.split_at(cut.min(windows.len()));
        let mut merged = scored(second, 1.0);
        merged.merge(&scored(first, 1.0)).expect("the same levels");
        assert_same(&whole, &merged, 1e-12)?;
    }

    /// A power of two scales a float exactly, so coverage has no edge to fall off.
    #[test]
    fn units_do_not_matter(windows in windows(), exponent in -8_i32..8) {
        assert_same(&scored(&windows, 1.0), &scored(&windows, 2.0_f64.powi(exponent)), 1e-12)?;
    }

    #[test]
    fn without_gaps_the_yardstick_is_the_provider(
        past in prop::collection::vec(-1e3_f64..1e3, 1..60),
        season in 1_usize..15,
        horizon in 1_usize..40,
    ) {
        let spec = ModelSpec::new("seasonal-naive").with("season", season);
        let mut model = load(&[seasonal_naive::FAMILY], &spec).expect("loads");
        let mut task = ForecastTask::new(Context::univariate(&past), horizon);
        task.quantiles = LEVELS.to_vec();
        let forecast = model.forecast(&[task]).remove(0).expect("a forecast");
        let found = Yardstick { season }.quantiles(&past, horizon, &LEVELS);
        for (found, expected) in found.iter().zip(&forecast.quantiles) {
            for (found, expected) in found.iter().zip(&expected[0]) {
                prop_assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0));
            }
        }
    }
}
