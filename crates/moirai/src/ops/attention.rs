//! Attention within a row of tokens, and of sample paths over a shared prefix.
//!
//! Queries, keys and values of a token lie side by side, `[tokens, 3 * width]`,
//! each by head; queries and keys are normed and rotated, and queries carry the
//! factor of the scores.

use super::dense::Store;
use super::kernel::multiply;
use super::packed::Packed;
use super::{dot, softmax, vectorized};
use crate::precision::Precision;
use crate::rows::RowGroup;

/// The shape of heads, and what is added to their scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) width: usize,
    /// Per head: another variate, the same variate.
    pub(crate) bias: &'a [[f32; 2]],
}

impl Heads<'_> {
    fn head_dim(&self) -> usize {
        self.width / self.bias.len()
    }

    /// Returns the numbers of a token between its queries and its values.
    fn stride(&self) -> usize {
        3 * self.width
    }
}

/// Keys and values of the same tokens, by head, ready for products.
#[derive(Debug)]
pub(crate) struct PackedMemory {
    heads: Vec<(Packed, Packed)>,
    length: usize,
}

impl PackedMemory {
    fn new(projected: &[f32], shape: Heads<'_>) -> Self {
        let (width, head_dim, stride) = (shape.width, shape.head_dim(), shape.stride());
        let length = projected.len() / stride;
        let pack = |head: usize| {
            let (key, value) = (width + head * head_dim, 2 * width + head * head_dim);
            let tokens = projected.chunks_exact(stride);
            let keys: Vec<&[f32]> = tokens.map(|token| &token[key..key + head_dim]).collect();
            let values = Packed::from_rows(&projected[value..], length, head_dim, stride);
            (Packed::new(&keys, head_dim, Precision::F32), values)
        };
        Self { heads: (0..shape.bias.len()).map(pack).collect(), length }
    }
}

/// The queries of a row's tokens, normed and rotated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queries<'a> {
    /// The tokens that ask, in the order of the queries; `None` is all.
    pub(crate) tokens: Option<&'a [usize]>,
    /// Rows of `stride` numbers that begin with a token's queries.
    pub(crate) numbers: &'a [f32],
    pub(crate) stride: usize,
}

/// Lets tokens attend within their row. `projected` has the keys and values of
/// all its tokens, `out` is `[queries, width]`. Returns the keys and values.
pub(crate) fn attend_row(
    projected: &[f32],
    queries: Queries<'_>,
    shape: Heads<'_>,
    layout: &RowGroup,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) -> PackedMemory {
    let (width, head_dim) = (shape.width, shape.head_dim());
    let length = layout.length;
    let memory = PackedMemory::new(projected, shape);
    let asked = queries.tokens.map_or(length, <[usize]>::len);
    let padded = layout.padded;
    scores.resize(asked * padded, 0.0);
    for (head, (keys, values)) in memory.heads.iter().enumerate() {
        let column = head * head_dim;
        let query = |row: usize| &queries.numbers[row * queries.stride + column..][..head_dim];
        let mut store = Store { out: &mut *scores, stride: padded, columns: padded, bias: None };
        multiply(asked, query, keys, &mut store);
        let [other, same] = shape.bias[head];
        vectorized(|| {
            for (row, scores) in scores.chunks_exact_mut(padded).enumerate() {
                let token = queries.tokens.map_or(row, |tokens| tokens[row]);
                let seen = token * padded..(token + 1) * padded;
                let mask = &layout.mask[seen.clone()];
                scores.iter_mut().zip(mask).for_each(|(score, mask)| *score += mask);
                if let Some(is_same) = &layout.same_variate {
                    for (score, &is_same) in scores.iter_mut().zip(&is_same[seen]) {
                        *score += if is_same { same } else { other };
                    }
                }
                softmax(scores, &mut []);
            }
        });
        let weights = |row: usize| &scores[row * padded..(row + 1) * padded];
        let out = &mut out[column..];
        let mut store = Store { out, stride: width, columns: head_dim, bias: None };
        multiply(asked, weights, values, &mut store);
    }
    memory
}

/// What the newest tokens of some sample paths of one series attend to: the
/// series' context, their path's earlier tokens, and each other within a path.
pub(crate) struct PathAttention<'a> {
    pub(crate) shape: Heads<'a>,
    /// The context.
    pub(crate) prefix: &'a PackedMemory,
    /// The paths' own keys and values, `[steps, rows, 2 * width]`, the newest
    /// step last.
    pub(crate) own: &'a [f32],
    /// Tokens of all paths in one step.
    pub(crate) rows: usize,
    /// Tokens of one path in one step.
    pub(crate) tokens: usize,
    /// The variates of the context's tokens and of a path's tokens in one
    /// step, if there are several.
    pub(crate) variates: Option<(&'a [u32], &'a [u32])>,
}

/// Memory for scores that is used again.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    pub(crate) prefix: Vec<f32>,
    own: Vec<f32>,
}

impl PathAttention<'_> {
    /// Mixes the values for the newest tokens; `out` is `[rows, width]`.
    pub(crate) fn attend(&self, projected: &[f32], scores: &mut Scores, out: &mut [f32]) {
        let (width, head_dim, stride) =
            (self.shape.width, self.shape.head_dim(), self.shape.stride());
        let (rows, length) = (self.rows, self.prefix.length);
        let own = self.own.len() / (2 * width * rows) * self.tokens;
        scores.prefix.resize(rows * length, 0.0);
        scores.own.resize(rows * own, 0.0);
        for (head, (keys, values)) in self.prefix.heads.iter().enumerate() {
            let column = head * head_dim;
            let query = |row: usize| &projected[row * stride + column..][..head_dim];
            let out_of_prefix = &mut scores.prefix;
            let mut store =
                Store { out: out_of_prefix, stride: length, columns: length, bias: None };
            multiply(rows, query, keys, &mut store);
            vectorized(|| {
                let prefix = scores.prefix.chunks_exact_mut(length);
                for (row, (prefix, own)) in prefix.zip(scores.own.chunks_exact_mut(own)).enumerate()
                {
                    let query = query(row);
                    for (index, score) in own.iter_mut().enumerate() {
                        *score = dot(query, &self.own[self.at(row, index) + column..][..head_dim]);
                    }
                    self.add_bias(head, row % self.tokens, prefix, own);
                    softmax(prefix, own);
                }
            });
            let weights = |row: usize| &scores.prefix[row * length..(row + 1) * length];
            let out = &mut out[column..];
            let mut store = Store { out: &mut *out, stride: width, columns: head_dim, bias: None };
            multiply(rows, weights, values, &mut store);
            vectorized(|| {
                for (row, own) in scores.own.chunks_exact(own).enumerate() {
                    let out = &mut out[row * width..][..head_dim];
                    for (index, weight) in own.iter().enumerate() {
                        let value = &self.own[self.at(row, index) + width + column..][..head_dim];
                        out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
                    }
                }
            });
        }
    }

    /// Returns where the key of a path's token `index` (step by step) begins.
    #[inline(always)]
    fn at(&self, row: usize, index: usize) -> usize {
        let (path, step, token) = (row / self.tokens, index / self.tokens, index % self.tokens);
        (step * self.rows + path * self.tokens + token) * 2 * self.shape.width
    }

    #[inline(always)]
    fn add_bias(&self, head: usize, token: usize, prefix: &mut [f32], own: &mut [f32]) {
        let Some((of_prefix, of_step)) = self.variates else { return };
        let [other, same] = self.shape.bias[head];
        let variate = of_step[token];
        let added = |v: u32| if v == variate { same } else { other };
        prefix.iter_mut().zip(of_prefix).for_each(|(score, &v)| *score += added(v));
        own.iter_mut().zip(of_step.iter().cycle()).for_each(|(score, &v)| *score += added(v));
    }
}
