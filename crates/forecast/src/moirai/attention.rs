//! Attention over a row of tokens, and along sample paths.

use candle_core::{Result, Tensor};

use crate::checkpoint::{Stored, Weights, common_precision};
use crate::config::Config;
use crate::ops::{
    Packed, PackedMemory, PathAttention, matmul, norm_and_rotate, path_attention, row_attention,
};
use crate::provider::LoadError;
use crate::rows::{Rotary, Rows};

/// Multi-head attention with normed queries and keys, rotary positions and a
/// bias by whether two tokens are of one variate.
#[derive(Debug)]
pub(super) struct Attention {
    heads: usize,
    head_dim: usize,
    /// Queries, keys and values side by side.
    qkv: Packed,
    /// With the factor `1 / sqrt(head_dim)` of the scores.
    query_norm: Tensor,
    key_norm: Tensor,
    pub(super) out: Packed,
    /// Per head: another variate, the same variate.
    variate_bias: Vec<[f32; 2]>,
}

/// Queries and keys, normed and rotated, and values: `[tokens, width]` each.
pub(super) struct Projected {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
}

/// One row's keys and values in one layer, `[length, heads * head_dim]`.
#[derive(Debug)]
pub(crate) struct KeysAndValues {
    keys: Tensor,
    values: Tensor,
    heads: usize,
}

impl KeysAndValues {
    /// Lays them out for the queries of sample paths.
    pub(crate) fn pack(&self) -> Result<PackedMemory> {
        PackedMemory::from_tensors(&self.keys, &self.values, self.heads)
    }
}

/// What some sample paths of one series attend to.
#[derive(Debug)]
pub(crate) struct PathMemory<'a> {
    /// By layer: the context's, shared by all paths of the series.
    prefix: &'a [PackedMemory],
    /// By layer: the paths' own keys and values, `[steps, rows, width]`.
    suffix: Vec<(Vec<f32>, Vec<f32>)>,
    /// Variates of the prefix's tokens and of a path's tokens in one step;
    /// `None` with a single variate.
    variates: Option<(Vec<u32>, Vec<u32>)>,
    /// Tokens of one path in one step.
    tokens: usize,
    /// Tokens of all paths in one step.
    rows: usize,
}

impl<'a> PathMemory<'a> {
    /// `prefix` is by layer; `prefix_variates` and `step_variates` tell the
    /// variates of the context's tokens and of a path's tokens in one step.
    pub(crate) fn new(
        prefix: &'a [PackedMemory],
        prefix_variates: &[u32],
        step_variates: &[u32],
        paths: usize,
    ) -> Self {
        let first = step_variates.first();
        let is_single = prefix_variates.iter().chain(step_variates).all(|v| Some(v) == first);
        Self {
            suffix: prefix.iter().map(|_| (Vec::new(), Vec::new())).collect(),
            prefix,
            variates: (!is_single).then(|| (prefix_variates.to_vec(), step_variates.to_vec())),
            tokens: step_variates.len(),
            rows: paths * step_variates.len(),
        }
    }
}

impl Attention {
    pub(super) fn load(
        prefix: &str,
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (width, heads, head_dim) = (config.d_model, config.heads, config.head_dim);
        let mut linear = |names: &[&str]| -> std::result::Result<Packed, LoadError> {
            let mut stored = Vec::with_capacity(names.len());
            for name in names {
                stored.push(weights.take(&format!("{prefix}.{name}.weight"), &[width, width])?);
            }
            let precision = common_precision(&stored);
            let numbers =
                stored.iter().map(Stored::numbers).collect::<std::result::Result<Vec<_>, _>>()?;
            let outputs: Vec<&[f32]> = numbers.iter().flat_map(|n| n.chunks_exact(width)).collect();
            Ok(Packed::new(&outputs, width, precision))
        };
        let qkv = linear(&["q_proj", "k_proj", "v_proj"])?;
        let out = linear(&["out_proj"])?;
        let mut norm = |name: &str| weights.tensor(&format!("{prefix}.{name}.weight"), &[head_dim]);
        let (query_norm, key_norm) = (norm("q_norm")?, norm("k_norm")?);
        let bias = weights.numbers(&format!("{prefix}.var_attn_bias.emb.weight"), &[2, heads])?;
        let (other, same) = bias.split_at(heads);
        Ok(Self {
            heads,
            head_dim,
            qkv,
            query_norm: query_norm.affine(1.0 / (head_dim as f64).sqrt(), 0.0)?,
            key_norm,
            out,
            variate_bias: other.iter().zip(same).map(|(&other, &same)| [other, same]).collect(),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.qkv.bytes() + self.out.bytes()
    }

    pub(super) fn parameters(&self) -> u64 {
        let matrices = self.qkv.parameters() + self.out.parameters();
        let norms = self.query_norm.elem_count() + self.key_norm.elem_count();
        (matrices + norms + 2 * self.variate_bias.len()) as u64
    }

    pub(super) fn project(&self, x: &Tensor, rotary: &Rotary) -> Result<Projected> {
        let width = self.heads * self.head_dim;
        let qkv = matmul(x, &self.qkv)?;
        Ok(Projected {
            queries: norm_and_rotate(&qkv, 0, self.heads, &self.query_norm, rotary)?,
            keys: norm_and_rotate(&qkv, width, self.heads, &self.key_norm, rotary)?,
            values: qkv.narrow(1, 2 * width, width)?.contiguous()?,
        })
    }

    /// Lets each token attend within its row; also returns each row's keys
    /// and values.
    pub(super) fn within_rows(
        &self,
        projected: &Projected,
        rows: &Rows,
    ) -> Result<(Tensor, Vec<KeysAndValues>)> {
        let Projected { queries, keys, values } = projected;
        let mixed = row_attention(queries, keys, values, rows, &self.variate_bias)?;
        let mut memory = Vec::new();
        for group in &rows.groups {
            for row in 0..group.rows {
                let of = |x: &Tensor| x.narrow(0, group.start + row * group.length, group.length);
                memory.push(KeysAndValues {
                    keys: of(keys)?,
                    values: of(values)?,
                    heads: self.heads,
                });
            }
        }
        Ok((mixed, memory))
    }

    /// Lets the newest tokens of sample paths attend to prefix and suffix.
    pub(super) fn along_paths(
        &self,
        projected: &Projected,
        layer: usize,
        paths: &mut [PathMemory<'_>],
    ) -> Result<Tensor> {
        let mut mixed = Vec::with_capacity(paths.len());
        let mut start = 0;
        for memory in paths {
            let of = |x: &Tensor| x.narrow(0, start, memory.rows);
            let (own_keys, own_values) = &mut memory.suffix[layer];
            own_keys.extend(of(&projected.keys)?.flatten_all()?.to_vec1::<f32>()?);
            own_values.extend(of(&projected.values)?.flatten_all()?.to_vec1::<f32>()?);
            let attention = PathAttention {
                prefix: &memory.prefix[layer],
                own_keys,
                own_values,
                tokens: memory.tokens,
                bias: &self.variate_bias,
                variates: memory.variates.as_ref().map(|(prefix, step)| (&prefix[..], &step[..])),
            };
            mixed.push(path_attention(&of(&projected.queries)?, &attention)?);
            start += memory.rows;
        }
        if mixed.len() == 1 { Ok(mixed.remove(0)) } else { Tensor::cat(&mixed, 0) }
    }
}
