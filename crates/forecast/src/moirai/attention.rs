//! Attention over a row of tokens, and along sample paths.

use super::chunk::{Chunk, Past, Scratch};
use crate::config::Config;
use crate::ops::{Heads, Packed, PathAttention, attend_row, linear, norm_and_rotate};
use crate::provider::LoadError;
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
    ) -> Result<Self, LoadError> {
        let (width, heads, head_dim) = (config.d_model, config.heads, config.head_dim);
        let mut linear = |names: &[&str]| -> Result<Packed, LoadError> {
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

    /// Mixes the values of a chunk's tokens, `normed` to `mixed`.
    pub(super) fn mix(
        &self,
        chunk: &mut Chunk<'_>,
        scratch: &mut Scratch,
        layer: usize,
        helpers: usize,
    ) {
        let width = self.width;
        let Chunk { past, rotary, normed, .. } = chunk;
        let Scratch { projected, mixed, scores, .. } = scratch;
        linear(normed, &self.qkv, None, helpers, projected);
        norm_and_rotate(projected, 3 * width, 0, width, &self.query_norm, rotary);
        norm_and_rotate(projected, 3 * width, width, width, &self.key_norm, rotary);
        mixed.resize(normed.len(), 0.0);
        let shape = Heads { width, bias: &self.variate_bias };
        match past {
            Past::Rows { rows, kept } => {
                let (mut projected, mut mixed) = (projected.as_slice(), mixed.as_mut_slice());
                for (index, row) in rows.iter().enumerate() {
                    let (own, others) = projected.split_at(row.length * 3 * width);
                    let (out, rest) = mixed.split_at_mut(row.length * width);
                    let memory = attend_row(own, shape, row, &mut scores.prefix, out);
                    if let Some(kept) = kept.as_mut().and_then(|kept| kept.get_mut(index)) {
                        kept.push(memory);
                    }
                    (projected, mixed) = (others, rest);
                }
            }
            Past::Path(memory) => {
                let own = &mut memory.suffix[layer];
                for token in projected.chunks_exact(3 * width) {
                    own.extend_from_slice(&token[width..]);
                }
                let attention = PathAttention {
                    shape,
                    prefix: &memory.prefix[layer],
                    own,
                    rows: memory.rows,
                    tokens: memory.tokens,
                    variates: memory.variates.as_ref().map(|(past, step)| (&past[..], &step[..])),
                };
                attention.attend(projected, scores, mixed);
            }
        }
    }
}
