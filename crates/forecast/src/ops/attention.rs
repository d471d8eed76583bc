//! Attention within rows of tokens, and of sample paths over a shared prefix.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::dense::{Store, rows_at_once};
use super::kernel::multiply;
use super::packed::{Packed, Precision};
use super::{dot, numbers, softmax, vectorized};
use crate::rows::{RowGroup, Rows};

/// Keys and values of the same tokens, by head, ready for products.
#[derive(Debug, Clone)]
pub(crate) struct PackedMemory {
    heads: Vec<(Packed, Packed)>,
    length: usize,
}

impl PackedMemory {
    /// Packs keys and values, both `[tokens, heads * head_dim]`.
    fn new(keys: &[f32], values: &[f32], width: usize, heads: usize) -> Self {
        let head_dim = width / heads;
        let length = keys.len() / width;
        let pack = |head: usize| {
            let column = head * head_dim;
            let keys: Vec<&[f32]> =
                keys.chunks_exact(width).map(|key| &key[column..column + head_dim]).collect();
            let values = Packed::from_rows(&values[column..], length, head_dim, width);
            (Packed::new(&keys, head_dim, Precision::F32), values)
        };
        Self { heads: (0..heads).map(pack).collect(), length }
    }

    /// Like [`new`](Self::new), from tensors.
    pub(crate) fn from_tensors(keys: &Tensor, values: &Tensor, heads: usize) -> Result<Self> {
        let (_, width) = keys.dims2()?;
        let (keys, keys_layout) = keys.storage_and_layout();
        let (values, values_layout) = values.storage_and_layout();
        let keys = numbers(cpu(&keys)?, keys_layout)?;
        let values = numbers(cpu(&values)?, values_layout)?;
        Ok(Self::new(keys, values, width, heads))
    }
}

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
        let memory = PackedMemory::new(keys, values, width, heads);
        for (head, (keys, values)) in memory.heads.iter().enumerate() {
            let column = head * head_dim;
            let query = |row: usize| &queries[row * width + column..][..head_dim];
            let mut store = Store { out: scores, stride: length, columns: length, bias: None };
            multiply(length, query, keys, &mut store);
            let mask = &masks[head.min(masks.len() - 1)];
            vectorized(|| {
                for (scores, mask) in scores.chunks_exact_mut(length).zip(mask.chunks_exact(length))
                {
                    scores.iter_mut().zip(mask).for_each(|(score, mask)| *score += mask);
                    softmax(scores, &mut []);
                }
            });
            let weights = |row: usize| &scores[row * length..(row + 1) * length];
            let out = &mut out[column..];
            let mut store = Store { out, stride: width, columns: head_dim, bias: None };
            multiply(length, weights, values, &mut store);
        }
    }
}

/// Lets the newest tokens of some sample paths of one series attend to the
/// series' context, to their path's earlier tokens, and to each other within
/// a path. `queries` is `[paths * tokens, heads * head_dim]`.
pub(crate) fn path_attention(queries: &Tensor, attention: &PathAttention<'_>) -> Result<Tensor> {
    queries.apply_op1_no_bwd(attention)
}

/// What the tokens attend to.
pub(crate) struct PathAttention<'a> {
    /// The context.
    pub(crate) prefix: &'a PackedMemory,
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
        let steps = self.own_keys.len() / (rows * width);
        let own = steps * self.tokens;
        let mut out = vec![0f32; rows * width];
        let at_once = rows_at_once(rows, 2 * (self.prefix.length + own) * width);
        let at_once = at_once.next_multiple_of(self.tokens);
        out.par_chunks_mut(at_once * width).enumerate().for_each_init(
            || (Vec::new(), Vec::new()),
            |(prefix_scores, own_scores), (chunk, out)| {
                let first = chunk * at_once;
                let count = out.len() / width;
                prefix_scores.resize(count * self.prefix.length, 0.0);
                own_scores.resize(count * own, 0.0);
                let part = Part { queries, rows, width, first };
                self.some_rows(&part, prefix_scores, own_scores, out);
            },
        );
        Ok((CpuStorage::F32(out), (rows, width).into()))
    }
}

/// Some of the newest tokens, whole paths.
struct Part<'a> {
    queries: &'a [f32],
    /// Tokens of all paths in one step.
    rows: usize,
    width: usize,
    /// The first row.
    first: usize,
}

impl PathAttention<'_> {
    fn some_rows(
        &self,
        part: &Part<'_>,
        prefix_scores: &mut [f32],
        own_scores: &mut [f32],
        out: &mut [f32],
    ) {
        let (length, width) = (self.prefix.length, part.width);
        let count = out.len() / width;
        let head_dim = width / self.bias.len();
        let own = own_scores.len() / count;
        for (head, (keys, values)) in self.prefix.heads.iter().enumerate() {
            let column = head * head_dim;
            let query =
                |row: usize| &part.queries[(part.first + row) * width + column..][..head_dim];
            let mut store =
                Store { out: &mut *prefix_scores, stride: length, columns: length, bias: None };
            multiply(count, query, keys, &mut store);
            vectorized(|| {
                let lines =
                    prefix_scores.chunks_exact_mut(length).zip(own_scores.chunks_exact_mut(own));
                for (row, (scores, own)) in lines.enumerate() {
                    let query = query(row);
                    for (index, score) in own.iter_mut().enumerate() {
                        let at = self.at(part.first + row, index, part.rows) * width + column;
                        *score = dot(query, &self.own_keys[at..at + head_dim]);
                    }
                    self.add_bias(head, row % self.tokens, scores, own);
                    softmax(scores, own);
                }
            });
            let weights = |row: usize| &prefix_scores[row * length..(row + 1) * length];
            let out = &mut out[column..];
            let mut store = Store { out: &mut *out, stride: width, columns: head_dim, bias: None };
            multiply(count, weights, values, &mut store);
            vectorized(|| {
                for (row, own) in own_scores.chunks_exact(own).enumerate() {
                    let out = &mut out[row * width..][..head_dim];
                    for (index, weight) in own.iter().enumerate() {
                        let at = self.at(part.first + row, index, part.rows) * width + column;
                        let value = &self.own_values[at..at + head_dim];
                        out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
                    }
                }
            });
        }
    }

    /// Returns the row of the path's token `index` (step by step) in the
    /// paths' own keys and values.
    #[inline(always)]
    fn at(&self, row: usize, index: usize, rows: usize) -> usize {
        let (path, step, token) = (row / self.tokens, index / self.tokens, index % self.tokens);
        step * rows + path * self.tokens + token
    }

    #[inline(always)]
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
