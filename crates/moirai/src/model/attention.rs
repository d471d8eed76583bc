//! Attention over a row of tokens, and along sample paths.

use super::chunk::{Chunk, Past, PathMemory, Scratch, keep};
use crate::config::Config;
use crate::error::CheckpointError;
use crate::ops::{
    Heads, Packed, PackedMemory, PathAttention, Queries, attend_row, linear, linear_columns,
    norm_and_rotate,
};
use crate::rows::{Rotary, RowGroup};
use crate::weights::{Weights, matrices};

/// Multi-head attention with normed queries and keys, rotary positions and a
/// bias by whether two tokens are of one variate.
#[derive(Debug)]
pub(super) struct Attention {
    width: usize,
    /// Queries, keys and values side by side.
    qkv: Packed,
    /// With the factor `1 / sqrt(head_dim)` of the scores.
    query_norm: Vec<f32>,
    key_norm: Vec<f32>,
    pub(super) out: Packed,
    /// Per head: another variate, the same variate.
    variate_bias: Vec<[f32; 2]>,
}

impl Attention {
    pub(super) fn load(
        prefix: &str,
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> Result<Self, CheckpointError> {
        let (width, heads, head_dim) = (config.d_model, config.heads, config.head_dim);
        let mut linear = |names: &[&str]| -> Result<Packed, CheckpointError> {
            let mut stored = Vec::with_capacity(names.len());
            for name in names {
                stored.push(weights.take(&format!("{prefix}.{name}.weight"), &[width, width])?);
            }
            let (numbers, precision) = matrices(&stored)?;
            let outputs: Vec<&[f32]> = numbers.iter().flat_map(|n| n.chunks_exact(width)).collect();
            Ok(Packed::new(&outputs, width, precision))
        };
        let qkv = linear(&["q_proj", "k_proj", "v_proj"])?;
        let out = linear(&["out_proj"])?;
        let mut norm =
            |name: &str| weights.numbers(&format!("{prefix}.{name}.weight"), &[head_dim]);
        let (mut query_norm, key_norm) = (norm("q_norm")?, norm("k_norm")?);
        let factor = 1.0 / (head_dim as f32).sqrt();
        query_norm.iter_mut().for_each(|weight| *weight *= factor);
        let bias = weights.numbers(&format!("{prefix}.var_attn_bias.emb.weight"), &[2, heads])?;
        let (other, same) = bias.split_at(heads);
        let variate_bias = other.iter().zip(same).map(|(&other, &same)| [other, same]).collect();
        Ok(Self { width, qkv, query_norm, key_norm, out, variate_bias })
    }

    pub(super) fn bytes(&self) -> usize {
        self.qkv.bytes() + self.out.bytes()
    }

    /// Mixes the values of a chunk's tokens, `normed` to `mixed`; in the last
    /// layer for the wanted tokens only.
    pub(super) fn mix(
        &self,
        chunk: &mut Chunk<'_>,
        scratch: &mut Scratch,
        layer: usize,
        is_last: bool,
        helpers: usize,
    ) {
        let Chunk { past, rotary, wanted, normed, .. } = chunk;
        let wanted = wanted.as_deref().filter(|_| is_last);
        match (past, wanted) {
            (Past::Rows { rows, kept }, None) => {
                self.project(normed, rotary, helpers, scratch);
                self.mix_rows(rows, kept, None, scratch);
            }
            (Past::Rows { rows, kept }, Some(wanted)) => {
                self.project_wanted(normed, rotary, wanted, helpers, scratch);
                self.mix_rows(rows, kept, Some(wanted), scratch);
            }
            (Past::Path(memory), wanted) => {
                self.project(normed, rotary, helpers, scratch);
                self.mix_paths(memory, layer, scratch);
                if let Some(wanted) = wanted {
                    keep(&mut scratch.mixed, wanted, self.width);
                }
            }
        }
    }

    /// Writes tokens' queries, keys and values, normed and rotated.
    fn project(&self, normed: &[f32], rotary: &Rotary, helpers: usize, scratch: &mut Scratch) {
        let (width, stride, projected) = (self.width, 3 * self.width, &mut scratch.projected);
        linear(normed, &self.qkv, None, helpers, projected);
        norm_and_rotate(projected, stride, 0, width, &self.query_norm, rotary);
        norm_and_rotate(projected, stride, width, width, &self.key_norm, rotary);
    }

    /// The same, but queries of the wanted tokens only.
    fn project_wanted(
        &self,
        normed: &[f32],
        rotary: &Rotary,
        wanted: &[usize],
        helpers: usize,
        scratch: &mut Scratch,
    ) {
        let (width, stride) = (self.width, 3 * self.width);
        let Scratch { projected, mixed: asking, queries, .. } = scratch;
        linear_columns(normed, &self.qkv, width..stride, helpers, projected, stride);
        norm_and_rotate(projected, stride, width, width, &self.key_norm, rotary);
        asking.clear();
        wanted.iter().for_each(|token| asking.extend_from_slice(&normed[token * width..][..width]));
        linear_columns(asking, &self.qkv, 0..width, helpers, queries, width);
        norm_and_rotate(queries, width, 0, width, &self.query_norm, &rotary.of(wanted));
    }

    /// Lets projected tokens attend within their rows.
    fn mix_rows(
        &self,
        rows: &[&RowGroup],
        kept: &mut Option<Vec<Vec<PackedMemory>>>,
        wanted: Option<&[usize]>,
        scratch: &mut Scratch,
    ) {
        let (width, stride) = (self.width, 3 * self.width);
        let Scratch { projected, mixed, queries, scores, .. } = scratch;
        let shape = Heads { width, bias: &self.variate_bias };
        let tokens = projected.len() / stride;
        mixed.resize(wanted.map_or(tokens, <[usize]>::len) * width, 0.0);
        let (mut first, mut asked) = (0, 0);
        for (index, row) in rows.iter().enumerate() {
            let end = first + row.length;
            let own = &projected[first * stride..end * stride];
            let here = wanted.map(|all| {
                let here = all[asked..].iter().take_while(|&&token| token < end);
                here.map(|token| token - first).collect::<Vec<_>>()
            });
            let queries = match &here {
                None => Queries { tokens: None, numbers: own, stride },
                Some(tokens) => Queries {
                    tokens: Some(tokens),
                    numbers: &queries[asked * width..],
                    stride: width,
                },
            };
            let count = here.as_ref().map_or(row.length, Vec::len);
            let out = &mut mixed[asked * width..(asked + count) * width];
            let memory = attend_row(own, queries, shape, row, &mut scores.prefix, out);
            if let Some(kept) = kept.as_mut().and_then(|kept| kept.get_mut(index)) {
                kept.push(memory);
            }
            (first, asked) = (end, asked + count);
        }
    }

    /// Lets projected tokens attend to their paths.
    fn mix_paths(&self, memory: &mut PathMemory<'_>, layer: usize, scratch: &mut Scratch) {
        let (width, stride) = (self.width, 3 * self.width);
        let Scratch { projected, mixed, scores, .. } = scratch;
        mixed.resize(projected.len() / 3, 0.0);
        let own = &mut memory.suffix[layer];
        for token in projected.chunks_exact(stride) {
            own.extend_from_slice(&token[width..]);
        }
        let attention = PathAttention {
            shape: Heads { width, bias: &self.variate_bias },
            prefix: &memory.prefix[layer],
            own,
            rows: memory.rows,
            tokens: memory.tokens,
            variates: memory.variates.as_ref().map(|(past, step)| (&past[..], &step[..])),
        };
        attention.attend(projected, scores, mixed);
    }
}
