//! Norms and elementwise functions.

use super::{dot, vectorized};
use crate::rows::Rotary;

/// Added to a mean square before the root.
const NORM_EPSILON: f32 = 1e-5;

#[inline(always)]
fn norm_factor(row: &[f32]) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + NORM_EPSILON).sqrt()
}

/// Writes `x / sqrt(mean(x²) + 1e-5) * weight` of each row to `out`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    vectorized(|| {
        let width = weight.len();
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let factor = norm_factor(row);
            for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
                *out = x * factor * weight;
            }
        }
    });
}

/// RMS norm over each head and rotary embedding of the head's first half, in
/// place: of the columns from `column` on, as many heads of `weight`'s length
/// as fit `width`, in rows that begin `stride` numbers apart.
pub(crate) fn norm_and_rotate(
    projected: &mut [f32],
    stride: usize,
    column: usize,
    width: usize,
    weight: &[f32],
    rotary: &Rotary,
) {
    let pairs = rotary.pairs;
    vectorized(|| {
        for (token, row) in projected.chunks_exact_mut(stride).enumerate() {
            let cos = &rotary.cos[token * pairs..(token + 1) * pairs];
            let sin = &rotary.sin[token * pairs..(token + 1) * pairs];
            for head in row[column..column + width].chunks_exact_mut(weight.len()) {
                let factor = norm_factor(head);
                for (x, weight) in head.iter_mut().zip(weight) {
                    *x *= factor * weight;
                }
                for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, b * cos + a * sin];
                }
            }
        }
    });
}

/// `x += y`.
pub(crate) fn add_to(x: &mut [f32], y: &[f32]) {
    vectorized(|| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
}
