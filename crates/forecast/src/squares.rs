//! Sums of squares that neither overflow nor vanish, whatever the size of the values.

/// Exponents of two within which squares, and sums of them, stay far inside
/// the range of f64.
const COMFORTABLE_EXPONENT: i32 = 400;

/// Returns the power of two to divide values by before they are squared, given
/// the largest size among them: 1 for all but astronomic sizes.
pub fn unit_of_squares(largest: f64) -> f64 {
    let exponent = if largest > 0.0 && largest.is_finite() { largest.log2() as i32 } else { 0 };
    let is_comfortable = exponent.abs() <= COMFORTABLE_EXPONENT;
    // Well inside what f64 has: what is divided by it stays exact.
    if is_comfortable { 1.0 } else { 2f64.powi(exponent.clamp(-1000, 1000)) }
}

/// Returns the root mean square of these values, whatever their size; 0 of none.
pub(crate) fn root_mean_square(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let unit = unit_of_squares(largest);
    let (mut sum, mut count) = (0.0, 0_u64);
    for value in values {
        sum += (value / unit).powi(2);
        count += 1;
    }
    unit * (sum / count.max(1) as f64).sqrt()
}
