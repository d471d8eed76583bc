//! The matrix product, on one thread.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::numbers;

/// A matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Returns the matrix whose rows begin `row_stride` numbers apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Returns the columns `start..end`.
    fn columns(self, start: usize, end: usize) -> Self {
        let data = self.data.get(start * self.column_stride..).unwrap_or(&[]);
        Self { data, columns: end - start, ..self }
    }

    /// Returns the rows `start..end`.
    fn rows(self, start: usize, end: usize) -> Self {
        self.transposed().columns(start, end).transposed()
    }

    /// Returns whether every element lies inside the slice.
    fn fits(&self) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1) * stride;
        let end = last(self.rows, self.row_stride) + last(self.columns, self.column_stride) + 1;
        self.rows == 0 || self.columns == 0 || end <= self.data.len()
    }
}

/// Longest sum that gemm makes in one go, whatever the shape.
const LONGEST_SUM: usize = 512;

/// Writes `left right` to the rows of `out`, which begin `stride` numbers
/// apart; with `accumulate` it is added to what stands there.
///
/// Each element is one running sum over the inner dimension, cut at fixed
/// places. So a row of the result depends on its own row of `left` alone, to
/// the bit, however many others there are. gemm alone does not give that: it
/// cuts long sums by the shape of the whole, and takes other ways for a single
/// row, a single column, and small products with a transposed `right`. The
/// first three are kept from it here, the last is not.
///
/// # Panics
///
/// If the shapes do not fit each other or their slices.
pub(super) fn product(
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    let target = Matrix::new(out, rows, columns, stride);
    assert!(
        inner == right.rows && left.fits() && right.fits() && target.fits() && stride >= columns,
        "matrices that do not fit: {rows} x {inner} times {} x {columns}",
        right.rows
    );
    if rows == 0 || columns == 0 {
        return;
    }
    if columns == 1 {
        return product_with_column(left, right, out, stride, accumulate);
    }
    if rows == 1 {
        let twice = Matrix { rows: 2, row_stride: 0, ..left };
        let mut pair = out[..columns].repeat(2);
        product(twice, right, &mut pair, columns, accumulate);
        out[..columns].copy_from_slice(&pair[..columns]);
        return;
    }
    for start in (0..inner).step_by(LONGEST_SUM) {
        let end = inner.min(start + LONGEST_SUM);
        let (left, right) = (left.columns(start, end), right.rows(start, end));
        one_go(left, right, out, stride, accumulate || start > 0);
    }
}

/// The product with a matrix of one column.
fn product_with_column(
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
) {
    for (row, out) in out.iter_mut().step_by(stride).take(left.rows).enumerate() {
        let sum: f32 = (0..left.columns)
            .map(|inner| {
                left.data[row * left.row_stride + inner * left.column_stride]
                    * right.data[inner * right.row_stride]
            })
            .sum();
        *out = if accumulate { *out + sum } else { sum };
    }
}

/// The product of matrices that `product` has checked.
#[allow(unsafe_code)] // gemm takes pointers and strides
fn one_go(left: Matrix<'_>, right: Matrix<'_>, out: &mut [f32], stride: usize, accumulate: bool) {
    // SAFETY: `fits` has shown that every element of the three matrices lies in
    // its slice; `out` is borrowed mutably, so it overlaps neither of the
    // others, and rows of `out` do not overlap as `stride >= columns`. Strides
    // of slices in memory are below isize::MAX.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `x weight`, `[rows, inner]` by `[inner, columns]`.
pub(crate) fn matmul(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2_no_bwd(weight, &Product)
}

/// `x weight + bias`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3_no_bwd(weight, bias, &Product)
}

struct Product;

fn shapes(x: &Layout, weight: &Layout) -> Result<(usize, usize, usize)> {
    let ((rows, inner), (own, columns)) = (x.shape().dims2()?, weight.shape().dims2()?);
    if inner != own {
        bail!("{:?} cannot be multiplied by {:?}", x.shape(), weight.shape());
    }
    Ok((rows, inner, columns))
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "matmul-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inner, columns) = shapes(x_layout, weight_layout)?;
        let (x, weight) = (numbers(x, x_layout)?, numbers(weight, weight_layout)?);
        let mut out = vec![0f32; rows * columns];
        let (x, weight) =
            (Matrix::new(x, rows, inner, inner), Matrix::new(weight, inner, columns, columns));
        product(x, weight, &mut out, columns, false);
        Ok((CpuStorage::F32(out), (rows, columns).into()))
    }
}

impl CustomOp3 for Product {
    fn name(&self) -> &'static str {
        "linear-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inner, columns) = shapes(x_layout, weight_layout)?;
        let (x, weight) = (numbers(x, x_layout)?, numbers(weight, weight_layout)?);
        let bias = numbers(bias, bias_layout)?;
        if bias.len() != columns {
            bail!("a bias of {} for {columns} columns", bias.len());
        }
        let mut out = bias.repeat(rows);
        let (x, weight) =
            (Matrix::new(x, rows, inner, inner), Matrix::new(weight, inner, columns, columns));
        product(x, weight, &mut out, columns, true);
        Ok((CpuStorage::F32(out), (rows, columns).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use proptest::prelude::*;

    fn tensor(rows: usize, columns: usize, seed: usize) -> Tensor {
        let values: Vec<f32> = (0..rows * columns)
            .map(|i| ((i * 37 + seed * 11) % 1023) as f32 / 347.0 - 1.5)
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("tensor")
    }

    proptest! {
        #[test]
        fn products_are_candles(rows in 1usize..40, inner in 1usize..70, columns in 1usize..50) {
            let (x, weight) = (tensor(rows, inner, 1), tensor(inner, columns, 2));
            let bias = tensor(1, columns, 3);
            let plain = matmul(&x, &weight).expect("product");
            let expected = x.matmul(&weight).expect("product");
            let off = |a: &Tensor, b: &Tensor| -> f32 {
                let off = (a - b).and_then(|off| off.abs()?.max_all()?.to_scalar());
                off.expect("difference")
            };
            prop_assert!(off(&plain, &expected) < 1e-4);
            let with_bias = linear(&x, &weight, &bias).expect("product");
            let expected = expected.broadcast_add(&bias).expect("sum");
            prop_assert!(off(&with_bias, &expected) < 1e-4);
        }

        #[test]
        fn a_row_does_not_depend_on_the_others(
            rows in 1usize..300, inner in 1usize..1300, columns in 1usize..140,
        ) {
            let (x, weight) = (tensor(rows, inner, 5), tensor(inner, columns, 6));
            let bias = tensor(1, columns, 7);
            let together = linear(&x, &weight, &bias).expect("product");
            for (row, count) in [(0, 1), (rows / 2, rows - rows / 2), (rows - 1, 1)] {
                let some = x.narrow(0, row, count).expect("rows");
                let some = linear(&some, &weight, &bias).expect("product");
                let alone = some.narrow(0, 0, 1).expect("row");
                let numbers = |x: &Tensor| x.flatten_all().and_then(|x| x.to_vec1::<f32>());
                let own = together.narrow(0, row, 1).expect("row");
                prop_assert_eq!(numbers(&alone).expect("numbers"), numbers(&own).expect("numbers"));
            }
        }

        #[test]
        fn views_are_multiplied_in_place(
            rows in 1usize..9, inner in 1usize..9, columns in 1usize..9, extra in 0usize..4,
        ) {
            let number = |i: usize| (i % 7) as f32 - 3.0;
            let left: Vec<f32> = (0..rows * (inner + extra)).map(number).collect();
            let right: Vec<f32> = (0..columns * (inner + extra)).map(number).collect();
            let stride = columns + extra;
            let mut out = vec![9.0; rows * stride];
            product(
                Matrix::new(&left, rows, inner, inner + extra),
                Matrix::new(&right, columns, inner, inner + extra).transposed(),
                &mut out,
                stride,
                false,
            );
            for row in 0..rows {
                for column in 0..stride {
                    let expected = if column >= columns { 9.0 } else {
                        let at = |data: &[f32], row: usize, i: usize| data[row * (inner + extra) + i];
                        (0..inner).map(|i| at(&left, row, i) * at(&right, column, i)).sum()
                    };
                    prop_assert_eq!(out[row * stride + column], expected);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "matrices that do not fit")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let data = [0.0; 11];
        let left = Matrix::new(&data, 3, 4, 4);
        product(left, Matrix::new(&data, 4, 2, 2), &mut [0.0; 6], 2, false);
    }
}
