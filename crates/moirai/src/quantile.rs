//! Quantiles of sample paths, by the rule of gluonts.

/// Returns the element that is the quantile: `sorted[round((S - 1) q)]`,
/// halves rounded to the even index, nothing interpolated.
///
/// `sorted` is ascending and not empty, `level` lies in (0, 1).
pub(crate) fn quantile(sorted: &[f64], level: f64) -> f64 {
    let position = (sorted.len().saturating_sub(1) as f64 * level).round_ties_even();
    sorted.get(position as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn halves_go_to_the_even_index_and_nothing_is_interpolated() {
        let sorted = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        // 5 * 0.5 = 2.5 and 5 * 0.7 = 3.5.
        assert_eq!(quantile(&sorted, 0.5), 2.0);
        assert_eq!(quantile(&sorted, 0.7), 4.0);
        assert_eq!(quantile(&sorted, 0.01), 0.0);
        assert_eq!(quantile(&sorted, 0.99), 5.0);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        // 99 * 0.9 = 89.1, 99 * 0.5 = 49.5.
        assert_eq!(quantile(&hundred, 0.9), 89.0);
        assert_eq!(quantile(&hundred, 0.5), 50.0);
    }
}
