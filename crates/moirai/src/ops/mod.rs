//! The operations of the model that candle does not have, or has in a form
//! that does not fit many small batches, on the CPU.
//!
//! Each works on whole rows, sums in a fixed order and, but for the experts
//! and the rows of attention, takes no threads: parallelism lies further out,
//! where batches are cut in pieces. So a row's result does not depend on what
//! else is in the batch, to the bit.
//!
//! Why not candle's own: its matrix product and its elementwise operations
//! take all cores of the machine whatever the model's `threads` says, and read
//! `/proc/cpuinfo` at every call to count them; together that was two thirds
//! of a forecast's time.

mod attention;
mod dense;
mod experts;
mod kernel;
mod packed;
mod pointwise;

pub(crate) use self::attention::{Heads, PackedMemory, PathAttention, Queries, Scores, attend_row};
pub(crate) use self::dense::{linear, linear_columns};
pub(crate) use self::experts::{Expert, blend, distances};
pub(crate) use self::kernel::BLOCK;
pub(crate) use self::packed::Packed;
pub(crate) use self::pointwise::{add_to, norm_and_rotate, rms_norm};

/// Runs loops compiled for the widest vector registers of this processor. What
/// they call must be inlined to have a part in it.
fn vectorized<R>(loops: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(loops)
}

/// Returns the sum of products, in sixteen partial sums that the compiler can
/// keep in vector registers; the order is the same everywhere.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (left, left_rest) = left.as_chunks::<16>();
    let (right, right_rest) = right.as_chunks::<16>();
    for (a, b) in left.iter().zip(right) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    let mut width = 8;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + rest
}

/// Returns `exp(x)` to about two units in the last place, without branches, so
/// that loops over it become vector code: 2^n times a polynomial in the rest
/// (Cephes' `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number that stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few bits: its multiples are exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Below, the result would be subnormal, which is slow: a masked score
    // must weigh nothing.
    let keep = if x < -87.0 { 0.0 } else { 1.0 };
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let fraction = p * r * r + r + 1.0;
    let power = f32::from_bits(
        shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127).wrapping_shl(23),
    );
    fraction * power * keep
}

/// Softmax over two slices as if they were one.
#[inline(always)]
fn softmax(left: &mut [f32], right: &mut [f32]) {
    let largest = largest(left).max(largest(right));
    let mut total = 0.0;
    for scores in [&mut *left, &mut *right] {
        scores.iter_mut().for_each(|score| *score = exp(*score - largest));
        total += sum(scores);
    }
    let factor = 1.0 / total;
    left.iter_mut().chain(right).for_each(|weight| *weight *= factor);
}

/// Returns the sum, in sixteen partial sums.
#[inline(always)]
fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (chunks, rest) = numbers.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += chunk[lane];
        }
    }
    sums.iter().chain(rest).sum()
}

/// Returns the largest number; NaN counts for nothing.
#[inline(always)]
fn largest(numbers: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = numbers.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            most[lane] = greater(most[lane], chunk[lane]);
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        let mut x = -86.9f32;
        while x < 87.9 {
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "{x}: relative error {error}");
            x += 0.0137;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn dot_takes_any_length() {
        let values: Vec<f32> = (0..21).map(|value| value as f32).collect();
        assert_eq!(dot(&values, &values), 2870.0);
    }
}
