//! The operations candle does not have, on the CPU.
//!
//! Each works on whole rows one after another, sums in a fixed order and takes
//! no threads: parallelism lies further out, where batches are cut in pieces.
//! So a row's result does not depend on what else is in the batch.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::rows::Rotary;

/// Added to a mean square before the root.
const NORM_EPSILON: f32 = 1e-5;

/// Returns the numbers of a contiguous f32 tensor.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        bail!("a contiguous f32 tensor is needed, not {:?}", layout.shape());
    };
    Ok(&data[start..end])
}

/// Returns the sum of products, in eight partial sums that the compiler can
/// keep in vector registers; the order is the same everywhere.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (left, left_rest) = left.as_chunks::<8>();
    let (right, right_rest) = right.as_chunks::<8>();
    for (a, b) in left.iter().zip(right) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}

/// Returns `exp(x)` to about two units in the last place, without branches, so
/// that loops over it become vector code: 2^n times a polynomial in the rest
/// (Cephes' `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number that stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_375;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5.000_000_1e-1;
    let fraction = p * r * r + r + 1.0;
    let power = f32::from_bits(
        shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127).wrapping_shl(23),
    );
    fraction * power
}

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
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(weight.len()) {
            let factor = norm_factor(row);
            out.extend(row.iter().zip(weight).map(|(x, weight)| x * factor * weight));
        }
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
                for ((pair, cos), sin) in out.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, b * cos + a * sin];
                }
            }
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}

/// `silu(gate) * up` of `[tokens, gate then up]`: half as wide.
pub(crate) fn gated_silu(gate_up: &Tensor) -> Result<Tensor> {
    gate_up.apply_op1_no_bwd(&GatedSilu)
}

struct GatedSilu;

impl CustomOp1 for GatedSilu {
    fn name(&self) -> &'static str {
        "gated-silu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, columns) = layout.shape().dims2()?;
        let width = columns / 2;
        let mut out = vec![0f32; tokens * width];
        let rows = numbers(storage, layout)?.chunks_exact(columns);
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            let (gate, up) = row.split_at(width);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate / (1.0 + exp(-gate)) * up;
            }
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}

/// The weighted sum of each token's two experts: `slots` names, per token, the
/// two rows of `outputs` `[2 * tokens, width]` that are its own.
pub(crate) fn combine(
    outputs: &Tensor,
    slots: &[[u32; 2]],
    weights: &[[f32; 2]],
) -> Result<Tensor> {
    outputs.apply_op1_no_bwd(&Combine { slots, weights })
}

struct Combine<'a> {
    slots: &'a [[u32; 2]],
    weights: &'a [[f32; 2]],
}

impl CustomOp1 for Combine<'_> {
    fn name(&self) -> &'static str {
        "combine-experts"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let outputs = numbers(storage, layout)?;
        let row = |slot: u32| &outputs[slot as usize * width..(slot as usize + 1) * width];
        let mut out = Vec::with_capacity(self.slots.len() * width);
        for (&[first, second], &[a, b]) in self.slots.iter().zip(self.weights) {
            out.extend(row(first).iter().zip(row(second)).map(|(x, y)| a * x + b * y));
        }
        Ok((CpuStorage::F32(out), (self.slots.len(), width).into()))
    }
}

/// Attention of many sample paths over one shared prefix and each path's own
/// suffix: the softmax over both, and the suffix's part of the result.
///
/// `scores` `[heads, queries, prefix]` are the products with the prefix's
/// keys, `queries` `[queries, heads * head_dim]`. The result
/// `[heads, queries, prefix + head_dim]` holds the weights of the prefix and,
/// behind them, the weighted sum of the suffix's values.
pub(crate) fn suffix_attention(
    scores: &Tensor,
    queries: &Tensor,
    suffix: &Suffix<'_>,
) -> Result<Tensor> {
    scores.apply_op2_no_bwd(queries, suffix)
}

/// The sample paths' own keys and values.
pub(crate) struct Suffix<'a> {
    /// `[steps, paths * tokens, heads * head_dim]`, the newest step last.
    pub(crate) keys: &'a [f32],
    /// Like the keys.
    pub(crate) values: &'a [f32],
    /// Tokens of one path in one step.
    pub(crate) tokens: usize,
    /// What is added to a score by head, if there are several variates.
    pub(crate) bias: Option<SuffixBias<'a>>,
}

/// The any-variate bias of one layer.
pub(crate) struct SuffixBias<'a> {
    /// Per head: another variate, the same variate.
    pub(crate) by_head: &'a [[f32; 2]],
    /// The variates of the prefix's tokens.
    pub(crate) prefix: &'a [u32],
    /// The variates of a path's tokens in one step.
    pub(crate) suffix: &'a [u32],
}

impl CustomOp2 for Suffix<'_> {
    fn name(&self) -> &'static str {
        "suffix-attention"
    }

    fn cpu_fwd(
        &self,
        scores: &CpuStorage,
        scores_layout: &Layout,
        queries: &CpuStorage,
        queries_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (heads, rows, prefix) = scores_layout.shape().dims3()?;
        let scores = numbers(scores, scores_layout)?;
        let queries = numbers(queries, queries_layout)?;
        let (_, width) = queries_layout.shape().dims2()?;
        let head_dim = width / heads;
        let columns = prefix + head_dim;
        let steps = self.keys.len() / (rows * width);
        let mut out = vec![0f32; heads * rows * columns];
        let mut own = vec![0f32; steps * self.tokens];
        for (index, (scores, out)) in
            scores.chunks_exact(prefix).zip(out.chunks_exact_mut(columns)).enumerate()
        {
            let (head, row) = (index / rows, index % rows);
            let (path, token) = (row / self.tokens, row % self.tokens);
            let at = |step: usize, token: usize| {
                (step * rows + path * self.tokens + token) * width + head * head_dim
            };
            let query = &queries[row * width + head * head_dim..][..head_dim];
            let (weights, sum) = out.split_at_mut(prefix);
            weights.copy_from_slice(scores);
            for (index, own) in own.iter_mut().enumerate() {
                let key = &self.keys[at(index / self.tokens, index % self.tokens)..][..head_dim];
                *own = dot(query, key);
            }
            if let Some(bias) = &self.bias {
                let [other, same] = bias.by_head[head];
                let variate = bias.suffix[token];
                let added = |v: u32| if v == variate { same } else { other };
                weights.iter_mut().zip(bias.prefix).for_each(|(score, &v)| *score += added(v));
                own.iter_mut()
                    .zip(bias.suffix.iter().cycle())
                    .for_each(|(score, &v)| *score += added(v));
            }
            softmax(weights, &mut own);
            for (index, weight) in own.iter().enumerate() {
                let at = at(index / self.tokens, index % self.tokens);
                let value = &self.values[at..at + head_dim];
                sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        Ok((CpuStorage::F32(out), (heads, rows, columns).into()))
    }
}

/// Softmax over two slices as if they were one.
fn softmax(left: &mut [f32], right: &mut [f32]) {
    let largest = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = largest(left).max(largest(right));
    let mut total = 0.0;
    for scores in [&mut *left, &mut *right] {
        scores.iter_mut().for_each(|score| *score = exp(*score - largest));
        total += scores.iter().sum::<f32>();
    }
    let factor = 1.0 / total;
    left.iter_mut().chain(right).for_each(|weight| *weight *= factor);
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
        assert!(exp(-1000.0) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn dot_takes_any_length() {
        let values: Vec<f32> = (0..21).map(|value| value as f32).collect();
        assert_eq!(dot(&values, &values), 2870.0);
    }
}
