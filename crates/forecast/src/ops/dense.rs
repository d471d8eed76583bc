//! Linear layers.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::kernel::{BLOCK, PANEL, TILE, Take, multiply};
use super::numbers;
use super::packed::Packed;

/// Multiplications below which another thread does not pay.
const WORTH_A_THREAD: usize = 1 << 18;

/// `x weights`, `[rows, inner]` to `[rows, columns]`.
pub(crate) fn matmul(x: &Tensor, weights: &Packed) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Linear { weights, bias: None })
}

/// `x weights + bias`.
pub(crate) fn linear(x: &Tensor, weights: &Packed, bias: &[f32]) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Linear { weights, bias: Some(bias) })
}

struct Linear<'a> {
    weights: &'a Packed,
    bias: Option<&'a [f32]>,
}

impl CustomOp1 for Linear<'_> {
    fn name(&self) -> &'static str {
        "linear-rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (weights, (rows, inner)) = (self.weights, layout.shape().dims2()?);
        let columns = weights.columns();
        if inner != weights.inner() {
            bail!("{:?} cannot be multiplied by {weights:?}", layout.shape());
        }
        if self.bias.is_some_and(|bias| bias.len() != columns) {
            bail!("a bias that does not fit {weights:?}");
        }
        let x = numbers(x, layout)?;
        let mut out = vec![0f32; rows * columns];
        let at_once = rows_at_once(rows, inner * columns);
        out.par_chunks_mut(at_once * columns).zip(x.par_chunks(at_once * inner)).for_each(
            |(out, x)| {
                let mut store = Store { out, stride: columns, columns, bias: self.bias };
                let row = |row: usize| &x[row * inner..(row + 1) * inner];
                multiply(x.len() / inner, row, weights, &mut store);
            },
        );
        Ok((CpuStorage::F32(out), (rows, columns).into()))
    }
}

/// Returns how many rows one thread takes at a time, when each row costs
/// `work` multiplications: whole blocks where there are many rows, else equal
/// shares for the threads where that pays.
pub(super) fn rows_at_once(rows: usize, work: usize) -> usize {
    let worth = (rows * work / WORTH_A_THREAD).clamp(1, rows.div_ceil(TILE).max(1));
    let shares = rows.div_ceil(BLOCK).max(worth.min(rayon::current_num_threads()));
    rows.div_ceil(shares.max(1)).max(1)
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
            None if width == PANEL => out[..PANEL].copy_from_slice(sums),
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
    use crate::ops::packed::Precision;
    use candle_core::Device;
    use proptest::prelude::*;

    fn numbers(rows: usize, columns: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed * 11) % 1023) as f32 / 347.0 - 1.5;
        (0..rows * columns).map(number).collect()
    }

    fn tensor(rows: usize, columns: usize, seed: usize) -> Tensor {
        Tensor::from_vec(numbers(rows, columns, seed), (rows, columns), &Device::Cpu)
            .expect("tensor")
    }

    fn flat(x: &Tensor) -> Vec<f32> {
        x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
    }

    proptest! {
        #[test]
        fn products_are_candles(rows in 1usize..120, inner in 1usize..70, columns in 1usize..90) {
            let (x, weights) = (tensor(rows, inner, 1), tensor(inner, columns, 2));
            let bias = numbers(1, columns, 3);
            let expected = x.matmul(&weights).expect("product");
            let transposed = flat(&weights.t().and_then(|w| w.contiguous()).expect("transposed"));
            let outputs: Vec<&[f32]> = transposed.chunks_exact(inner).collect();
            let by_rows = Packed::from_rows(&flat(&weights), inner, columns, columns);
            let by_outputs = Packed::new(&outputs, inner, Precision::F32);
            prop_assert_eq!(
                flat(&matmul(&x, &by_rows).expect("product")),
                flat(&matmul(&x, &by_outputs).expect("product"))
            );
            let with_bias = linear(&x, &by_outputs, &bias).expect("product");
            for (index, (found, expected)) in
                flat(&with_bias).iter().zip(flat(&expected)).enumerate()
            {
                prop_assert!((found - expected - bias[index % columns]).abs() < 2e-4);
            }
        }

        #[test]
        fn a_row_does_not_depend_on_the_others(
            rows in 1usize..300, inner in 1usize..600, columns in 1usize..140,
        ) {
            let (x, weights) = (tensor(rows, inner, 5), numbers(inner, columns, 6));
            let weights = Packed::from_rows(&weights, inner, columns, columns);
            let together = flat(&matmul(&x, &weights).expect("product"));
            for row in [0, rows / 2, rows - 1] {
                for count in [1, 2, rows - row] {
                    let some = x.narrow(0, row, count.min(rows - row)).expect("rows");
                    let some = flat(&matmul(&some, &weights).expect("product"));
                    prop_assert_eq!(&some[..columns], &together[row * columns..][..columns]);
                }
            }
        }

        #[test]
        fn weights_of_16_bits_count_as_the_numbers_they_hold(
            rows in 1usize..30, inner in 1usize..70, columns in 1usize..90, is_brain in any::<bool>(),
        ) {
            let (x, weights) = (tensor(rows, inner, 7), numbers(columns, inner, 8));
            let (precision, rounded): (_, Vec<f32>) = if is_brain {
                (Precision::Bf16, weights.iter().map(|&w| half::bf16::from_f32(w).to_f32()).collect())
            } else {
                (Precision::F16, weights.iter().map(|&w| half::f16::from_f32(w).to_f32()).collect())
            };
            let outputs = |weights: &'static [f32]| -> Vec<&'static [f32]> {
                weights.chunks_exact(inner).collect()
            };
            let short = Packed::new(&outputs(weights.leak()), inner, precision);
            let long = Packed::new(&outputs(rounded.leak()), inner, Precision::F32);
            prop_assert_eq!(2 * short.bytes(), long.bytes());
            prop_assert_eq!(
                flat(&matmul(&x, &short).expect("product")),
                flat(&matmul(&x, &long).expect("product"))
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let weights = Packed::from_rows(&numbers(4, 3, 0), 4, 3, 3);
        assert!(matmul(&tensor(2, 5, 0), &weights).is_err());
        assert!(linear(&tensor(2, 4, 0), &weights, &[0.0; 2]).is_err());
    }
}
