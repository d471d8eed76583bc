//! Linear layers.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{PANEL, STRIP, TILE, Take, multiply_panels};
use super::packed::Packed;

/// Multiplications below which another thread does not pay.
const WORTH_A_THREAD: usize = 1 << 18;

/// Writes `x weights` and a bias, if there is one, to `out`
/// (`[rows, inner]` to `[rows, columns]`), on the calling thread and `helpers`
/// others that have nothing else to do.
pub(crate) fn linear(
    x: &[f32],
    weights: &Packed,
    bias: Option<&[f32]>,
    helpers: usize,
    out: &mut Vec<f32>,
) {
    let columns = weights.columns();
    out.resize(x.len() / weights.inner() * columns, 0.0);
    multiply_columns(x, weights, 0..columns, bias, helpers, out, columns);
}

/// Writes some of the columns of `x weights` to `out`, where they stand from
/// their own place on in rows of `stride` numbers. Others in panels that the
/// range touches may be written, too.
pub(crate) fn linear_columns(
    x: &[f32],
    weights: &Packed,
    columns: Range<usize>,
    helpers: usize,
    out: &mut Vec<f32>,
    stride: usize,
) {
    out.resize(x.len() / weights.inner() * stride, 0.0);
    multiply_columns(x, weights, columns, None, helpers, out, stride);
}

fn multiply_columns(
    x: &[f32],
    weights: &Packed,
    columns: Range<usize>,
    bias: Option<&[f32]>,
    helpers: usize,
    out: &mut [f32],
    stride: usize,
) {
    let inner = weights.inner();
    let rows = x.len() / inner;
    let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
    let at_once = rows_at_once(rows, inner * columns.len(), helpers + 1);
    let some = |x: &[f32], out: &mut [f32]| {
        let mut store = Store { out, stride, columns: columns.end, bias };
        let row = |row: usize| &x[row * inner..(row + 1) * inner];
        multiply_panels(x.len() / inner, row, weights, panels.clone(), &mut store);
    };
    if at_once >= rows {
        return some(x, out);
    }
    let parts = out.par_chunks_mut(at_once * stride).zip(x.par_chunks(at_once * inner));
    parts.for_each(|(out, x)| some(x, out));
}

/// Returns how many rows one thread takes at a time, when each row costs
/// `work` multiplications: equal shares where that pays.
fn rows_at_once(rows: usize, work: usize, threads: usize) -> usize {
    let worth = (rows * work / WORTH_A_THREAD).clamp(1, rows.div_ceil(TILE).max(1));
    rows.div_ceil(worth.min(threads)).max(1)
}

/// Writes the sums to the rows of `out`, which begin `stride` numbers apart.
pub(super) struct Store<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) columns: usize,
    pub(super) bias: Option<&'a [f32]>,
}

impl Take for Store<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, sums: &[f32; PANEL]) {
        let first = panel * PANEL;
        let out = &mut self.out[row * self.stride..][first..];
        let width = PANEL.min(self.columns - first);
        match self.bias {
            // Copies of a known length need no call.
            None if width == PANEL => out[..PANEL].copy_from_slice(sums),
            None if width == STRIP => out[..STRIP].copy_from_slice(&sums[..STRIP]),
            None => out[..width].copy_from_slice(&sums[..width]),
            Some(bias) => {
                let bias = &bias[first..first + width];
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                    *out = sum + bias;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    fn numbers(rows: usize, columns: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed * 11) % 1023) as f32 / 347.0 - 1.5;
        (0..rows * columns).map(number).collect()
    }

    fn product(x: &[f32], weights: &Packed, helpers: usize) -> Vec<f32> {
        let mut out = vec![9.0; 3];
        linear(x, weights, None, helpers, &mut out);
        out
    }

    proptest! {
        #[test]
        fn products_are_candles(rows in 1usize..120, inner in 1usize..70, columns in 1usize..90) {
            let tensor = |rows: usize, columns: usize, seed| {
                let numbers = numbers(rows, columns, seed);
                Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).expect("tensor")
            };
            let flat = |x: &Tensor| -> Vec<f32> {
                x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
            };
            let (x, weights) = (tensor(rows, inner, 1), tensor(inner, columns, 2));
            let bias = numbers(1, columns, 3);
            let expected = flat(&x.matmul(&weights).expect("product"));
            let transposed = flat(&weights.t().and_then(|w| w.contiguous()).expect("transposed"));
            let outputs: Vec<&[f32]> = transposed.chunks_exact(inner).collect();
            let by_rows = Packed::from_rows(&flat(&weights), inner, columns, columns);
            let by_outputs = Packed::new(&outputs, inner, Precision::F32);
            let x = flat(&x);
            prop_assert_eq!(product(&x, &by_rows, 0), product(&x, &by_outputs, 0));
            let mut with_bias = Vec::new();
            linear(&x, &by_outputs, Some(&bias), 0, &mut with_bias);
            for (index, (found, expected)) in with_bias.iter().zip(&expected).enumerate() {
                prop_assert!((found - expected - bias[index % columns]).abs() < 2e-4);
            }
        }

        #[test]
        fn a_row_does_not_depend_on_the_others(
            rows in 1usize..300, inner in 1usize..600, columns in 1usize..140, helpers in 0usize..4,
        ) {
            let (x, weights) = (numbers(rows, inner, 5), numbers(inner, columns, 6));
            let weights = Packed::from_rows(&weights, inner, columns, columns);
            let together = product(&x, &weights, helpers);
            for row in [0, rows / 2, rows - 1] {
                for count in [1, 2, rows - row] {
                    let some = &x[row * inner..][..count.min(rows - row) * inner];
                    let some = product(some, &weights, 0);
                    prop_assert_eq!(&some[..columns], &together[row * columns..][..columns]);
                }
            }
        }

        #[test]
        fn some_columns_are_those_of_the_whole_product(
            rows in 1usize..120, inner in 1usize..70, cuts in [1usize..200, 1usize..200],
            helpers in 0usize..3,
        ) {
            let [start, columns] = [cuts[0].min(cuts[1]) - 1, cuts[0].max(cuts[1])];
            let (x, weights) = (numbers(rows, inner, 9), numbers(inner, columns, 10));
            let weights = Packed::from_rows(&weights, inner, columns, columns);
            let (stride, mut some) = (columns + 3, Vec::new());
            linear_columns(&x, &weights, start..columns, helpers, &mut some, stride);
            let all = product(&x, &weights, 0);
            for (some, all) in some.chunks_exact(stride).zip(all.chunks_exact(columns)) {
                prop_assert_eq!(&some[start..columns], &all[start..]);
                prop_assert_eq!(&some[columns..], &[0.0; 3]);
            }
        }

        #[test]
        fn weights_of_16_bits_count_as_the_numbers_they_hold(
            rows in 1usize..30, inner in 1usize..70, columns in 1usize..90, is_brain in any::<bool>(),
        ) {
            let (x, weights) = (numbers(rows, inner, 7), numbers(columns, inner, 8));
            let round = |&weight: &f32| match is_brain {
                true => half::bf16::from_f32(weight).to_f32(),
                false => half::f16::from_f32(weight).to_f32(),
            };
            let precision = if is_brain { Precision::Bf16 } else { Precision::F16 };
            let rounded: Vec<f32> = weights.iter().map(round).collect();
            let outputs: Vec<&[f32]> = weights.chunks_exact(inner).collect();
            let short = Packed::new(&outputs, inner, precision);
            let outputs: Vec<&[f32]> = rounded.chunks_exact(inner).collect();
            let long = Packed::new(&outputs, inner, Precision::F32);
            prop_assert_eq!(2 * short.bytes(), long.bytes());
            prop_assert_eq!(product(&x, &short, 0), product(&x, &long, 0));
        }
    }
}
