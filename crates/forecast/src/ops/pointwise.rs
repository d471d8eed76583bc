//! Norms and elementwise functions.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{dot, numbers, vectorized};
use crate::rows::Rotary;

/// Added to a mean square before the root.
const NORM_EPSILON: f32 = 1e-5;

#[inline(always)]
fn norm_factor(row: &[f32]) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + NORM_EPSILON).sqrt()
}

/// `x / sqrt(mean(x²) + 1e-5) * weight` over the last axis.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2_no_bwd(weight, &RmsNorm)
}

struct RmsNorm;

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (numbers(x, x_layout)?, numbers(weight, weight_layout)?);
        let mut out = vec![0f32; x.len()];
        vectorized(|| {
            let width = weight.len();
            for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                let factor = norm_factor(row);
                for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
                    *out = x * factor * weight;
                }
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// RMS norm over each head and rotary embedding of the head's first half.
///
/// Reads the columns `[column, column + heads * head_dim)` of `projected`
/// `[tokens, columns]`; the result is `[tokens, heads * head_dim]`.
pub(crate) fn norm_and_rotate(
    projected: &Tensor,
    column: usize,
    heads: usize,
    weight: &Tensor,
    rotary: &Rotary,
) -> Result<Tensor> {
    projected.apply_op2_no_bwd(weight, &NormAndRotate { column, heads, rotary })
}

struct NormAndRotate<'a> {
    column: usize,
    heads: usize,
    rotary: &'a Rotary,
}

impl CustomOp2 for NormAndRotate<'_> {
    fn name(&self) -> &'static str {
        "head-norm-rotary"
    }

    fn cpu_fwd(
        &self,
        projected: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (projected, weight) = (numbers(projected, layout)?, numbers(weight, weight_layout)?);
        let (tokens, columns) = layout.shape().dims2()?;
        let (head_dim, pairs) = (weight.len(), self.rotary.pairs);
        let width = self.heads * head_dim;
        let mut out = vec![0f32; tokens * width];
        vectorized(|| {
            for (token, (row, out)) in
                projected.chunks_exact(columns).zip(out.chunks_exact_mut(width)).enumerate()
            {
                let row = &row[self.column..self.column + width];
                let cos = &self.rotary.cos[token * pairs..(token + 1) * pairs];
                let sin = &self.rotary.sin[token * pairs..(token + 1) * pairs];
                for (head, out) in row.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)) {
                    let factor = norm_factor(head);
                    for ((out, x), weight) in out.iter_mut().zip(head).zip(weight) {
                        *out = x * factor * weight;
                    }
                    for ((pair, cos), sin) in
                        out.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin)
                    {
                        let [a, b] = *pair;
                        *pair = [a * cos - b * sin, b * cos + a * sin];
                    }
                }
            }
        });
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}

/// `left + right`, of one shape.
pub(crate) fn add(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.apply_op2_no_bwd(right, &Add)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (left, right) = (numbers(left, left_layout)?, numbers(right, right_layout)?);
        if left.len() != right.len() {
            bail!("{:?} cannot be added to {:?}", right_layout.shape(), left_layout.shape());
        }
        let mut out = vec![0f32; left.len()];
        vectorized(|| {
            for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
                *out = left + right;
            }
        });
        Ok((CpuStorage::F32(out), left_layout.shape().clone()))
    }
}
