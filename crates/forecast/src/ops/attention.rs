//! Attention within rows of tokens, and of sample paths over a shared prefix.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, product};
use super::{dot, numbers, softmax};
use crate::rows::{RowGroup, Rows};

/// Lets each token attend within its row. Queries, keys and values are
/// `[tokens, heads * head_dim]`; `bias` holds, per head, what is added to the
/// score of another variate and of the same.
pub(crate) fn row_attention(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    rows: &Rows,
    bias: &[[f32; 2]],
) -> Result<Tensor> {
    queries.apply_op3_no_bwd(keys, values, &RowAttention { rows, bias })
}

struct RowAttention<'a> {
    rows: &'a Rows,
    bias: &'a [[f32; 2]],
}

impl CustomOp3 for RowAttention<'_> {
    fn name(&self) -> &'static str {
        "row-attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let queries = numbers(queries, layout)?;
        let (keys, values) = (numbers(keys, keys_layout)?, numbers(values, values_layout)?);
        let mut out = vec![0f32; tokens * width];
        for group in &self.rows.groups {
            let numbers = group.length * width;
            let span = group.start * width..(group.start + group.rows * group.length) * width;
            let masks = self.masks(group);
            out[span.clone()]
                .par_chunks_exact_mut(numbers)
                .zip(queries[span.clone()].par_chunks_exact(numbers))
                .zip(keys[span.clone()].par_chunks_exact(numbers))
                .zip(values[span].par_chunks_exact(numbers))
                .for_each_init(
                    || vec![0f32; group.length * group.length],
                    |scores, (((out, queries), keys), values)| {
                        self.one_row(group.length, &masks, [queries, keys, values], scores, out);
                    },
                );
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}

impl RowAttention<'_> {
    /// Returns what is added to the scores, `[length, length]`: one for all
    /// heads if there is a single variate, else one per head.
    fn masks(&self, group: &RowGroup) -> Vec<Vec<f32>> {
        let Some(same_variate) = &group.same_variate else {
            return vec![group.mask.clone()];
        };
        let by_head = |&[other, same]: &[f32; 2]| {
            let pairs = group.mask.iter().zip(same_variate);
            pairs.map(|(mask, &is_same)| mask + if is_same { same } else { other }).collect()
        };
        self.bias.iter().map(by_head).collect()
    }

    fn one_row(
        &self,
        length: usize,
        masks: &[Vec<f32>],
        [queries, keys, values]: [&[f32]; 3],
        scores: &mut [f32],
        out: &mut [f32],
    ) {
        let heads = self.bias.len();
        let width = queries.len() / length;
        let head_dim = width / heads;
        for head in 0..heads {
            let column = head * head_dim;
            let of = |data| head_of(data, length, width, column, head_dim);
            product(of(queries), of(keys).transposed(), scores, length, false);
            let mask = &masks[head.min(masks.len() - 1)];
            for (scores, mask) in scores.chunks_exact_mut(length).zip(mask.chunks_exact(length)) {
                scores.iter_mut().zip(mask).for_each(|(score, mask)| *score += mask);
                softmax(scores, &mut []);
            }
            let weights = Matrix::new(scores, length, length, length);
            product(weights, of(values), &mut out[column..], width, false);
        }
    }
}

/// Returns the columns of one head of `[rows, width]`.
fn head_of(data: &[f32], rows: usize, width: usize, column: usize, head_dim: usize) -> Matrix<'_> {
    Matrix::new(data.get(column..).unwrap_or(&[]), rows, head_dim, width)
}

/// Lets the newest tokens of some sample paths of one series attend to the
/// series' context, to their path's earlier tokens, and to each other within
/// a path. `queries` is `[paths * tokens, heads * head_dim]`.
pub(crate) fn path_attention(queries: &Tensor, attention: &PathAttention<'_>) -> Result<Tensor> {
    queries.apply_op1_no_bwd(attention)
}

/// What the tokens attend to.
pub(crate) struct PathAttention<'a> {
    /// The context's, `[length, heads * head_dim]`.
    pub(crate) prefix_keys: &'a Tensor,
    /// Like the keys.
    pub(crate) prefix_values: &'a Tensor,
    /// The paths' own, `[steps, paths * tokens, heads * head_dim]`, the newest
    /// step last.
    pub(crate) own_keys: &'a [f32],
    /// Like the keys.
    pub(crate) own_values: &'a [f32],
    /// Tokens of one path in one step.
    pub(crate) tokens: usize,
    /// Per head: another variate, the same variate.
    pub(crate) bias: &'a [[f32; 2]],
    /// The variates of the context's tokens and of a path's tokens in one
    /// step, if there are several.
    pub(crate) variates: Option<(&'a [u32], &'a [u32])>,
}

impl CustomOp1 for PathAttention<'_> {
    fn name(&self) -> &'static str {
        "path-attention"
    }

    fn cpu_fwd(&self, queries: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let queries = numbers(queries, layout)?;
        let length = self.prefix_keys.dim(0)?;
        let (keys, keys_layout) = self.prefix_keys.storage_and_layout();
        let (values, values_layout) = self.prefix_values.storage_and_layout();
        let keys = numbers(cpu(&keys)?, keys_layout)?;
        let values = numbers(cpu(&values)?, values_layout)?;
        let head_dim = width / self.bias.len();
        let steps = self.own_keys.len() / (rows * width);
        let mut out = vec![0f32; rows * width];
        let mut scores = vec![0f32; rows * length];
        let mut own = vec![0f32; rows * steps * self.tokens];
        let of_path = steps * self.tokens;
        let mut transposed = vec![0f32; head_dim * length];
        for head in 0..self.bias.len() {
            let column = head * head_dim;
            // Laid out by dimension, so that the scores of a path do not depend
            // on the number of paths: see `product`.
            for (key, row) in keys.chunks_exact(width).enumerate() {
                for (dimension, &value) in row[column..column + head_dim].iter().enumerate() {
                    transposed[dimension * length + key] = value;
                }
            }
            let keys = Matrix::new(&transposed, head_dim, length, length);
            let heads_queries = head_of(queries, rows, width, column, head_dim);
            product(heads_queries, keys, &mut scores, length, false);
            let lines = scores.chunks_exact_mut(length).zip(own.chunks_exact_mut(of_path));
            for (row, (scores, own)) in lines.enumerate() {
                let query = &queries[row * width + column..][..head_dim];
                for (index, score) in own.iter_mut().enumerate() {
                    let at = self.at(row, index, rows) * width + column;
                    *score = dot(query, &self.own_keys[at..at + head_dim]);
                }
                self.add_bias(head, row % self.tokens, scores, own);
                softmax(scores, own);
            }
            let values = head_of(values, length, width, column, head_dim);
            let weights = Matrix::new(&scores, rows, length, length);
            product(weights, values, &mut out[column..], width, false);
            for (row, own) in own.chunks_exact(of_path).enumerate() {
                let out = &mut out[row * width + column..][..head_dim];
                for (index, weight) in own.iter().enumerate() {
                    let at = self.at(row, index, rows) * width + column;
                    let value = &self.own_values[at..at + head_dim];
                    out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
                }
            }
        }
        Ok((CpuStorage::F32(out), (rows, width).into()))
    }
}

impl PathAttention<'_> {
    /// Returns the row of the path's token `index` (step by step) in the
    /// paths' own keys and values.
    fn at(&self, row: usize, index: usize, rows: usize) -> usize {
        let (path, step, token) = (row / self.tokens, index / self.tokens, index % self.tokens);
        step * rows + path * self.tokens + token
    }

    fn add_bias(&self, head: usize, token: usize, scores: &mut [f32], own: &mut [f32]) {
        let Some((prefix, step)) = self.variates else { return };
        let [other, same] = self.bias[head];
        let variate = step[token];
        let added = |v: u32| if v == variate { same } else { other };
        scores.iter_mut().zip(prefix).for_each(|(score, &v)| *score += added(v));
        own.iter_mut().zip(step.iter().cycle()).for_each(|(score, &v)| *score += added(v));
    }
}

fn cpu(storage: &candle_core::Storage) -> Result<&CpuStorage> {
    match storage {
        candle_core::Storage::Cpu(storage) => Ok(storage),
        _ => candle_core::bail!("a tensor in main memory is needed"),
    }
}
