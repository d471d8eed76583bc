//! MOIRAI-MoE, from patches to the head's output.
//!
//! Liu et al. 2024, "Moirai-MoE: Empowering Time Series Foundation Models with
//! Sparse Mixture of Experts" (arXiv 2410.10469), after Woo et al. 2024
//! (arXiv 2402.02592), as uni2ts computes it:
//!
//! ```text
//! x  = feat_proj(silu(in_proj(z))) + res_proj(z)            one per patch size
//! x += attention(norm1(x))                                  each layer
//! x += experts(norm2(x))
//! y  = head(norm(x))                                        one per patch size
//! ```
//!
//! Tokens lie flat, `[tokens, width]`; only attention knows of rows
//! ([`Rows`]). Everything is f32.

use candle_core::{D, IndexOp, Result, Tensor};
use candle_nn::ops::{silu, softmax_last_dim};
use rayon::prelude::*;

use crate::checkpoint::Weights;
use crate::config::Config;
use crate::ops::{
    Suffix, SuffixBias, combine, gated_silu, norm_and_rotate, rms_norm, suffix_attention,
};
use crate::provider::LoadError;
use crate::rows::{Rotary, RowGroup, Rows};

/// Experts that answer a token.
const ACTIVE_EXPERTS: usize = 2;

/// A tensor on its way through the model; the number is the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    InProjection,
    FeatureProjection,
    ResidualProjection,
    EncoderIn,
    Norm1(usize),
    Attention(usize),
    Norm2(usize),
    /// Distances to the centroids.
    Distances(usize),
    /// The two chosen experts (u32), the farther first.
    Experts(usize),
    ExpertWeights(usize),
    FeedForward(usize),
    LayerOut(usize),
    EncoderOut,
}

/// Sees the tensors of a forward pass; [`Probe::none`] costs nothing.
pub(crate) struct Probe<'a>(pub(crate) Option<&'a mut dyn FnMut(Stage, &Tensor)>);

impl Probe<'_> {
    pub(crate) fn none() -> Self {
        Probe(None)
    }

    fn see(&mut self, stage: Stage, tensor: &Tensor) {
        if let Some(see) = &mut self.0 {
            see(stage, tensor);
        }
    }
}

/// The whole network.
#[derive(Debug)]
pub(crate) struct MoiraiMoe {
    pub(crate) config: Config,
    /// One per patch size, in the order of the configuration.
    projections: Vec<PatchProjection>,
    layers: Vec<EncoderLayer>,
    norm: Tensor,
}

impl MoiraiMoe {
    pub(crate) fn load(
        config: Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let width = config.d_model;
        let centroid_shape = weights.shape("encoder.centroid")?;
        // uni2ts has 32; whatever the file holds is taken.
        let experts = centroid_shape.get(1).copied().unwrap_or(0).max(ACTIVE_EXPERTS);
        let centroids = weights.tensor("encoder.centroid", &[config.layers, experts, width])?;
        let layers = (0..config.layers)
            .map(|layer| {
                let prefix = format!("encoder.layers.{layer}");
                EncoderLayer::load(&prefix, &config, &centroids.i(layer)?, weights)
            })
            .collect::<std::result::Result<_, _>>()?;
        let norm = weights.tensor("encoder.norm.weight", &[width])?;
        let projections = PatchProjection::load_all(&config, weights)?;
        Ok(Self { config, projections, layers, norm })
    }

    /// Returns the index of a patch size.
    pub(crate) fn patch_index(&self, patch_size: usize) -> Option<usize> {
        self.config.patch_sizes.iter().position(|&size| size == patch_size)
    }

    pub(crate) fn experts(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.experts.gate_up.len())
    }

    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Trained numbers: in all, and those used for one token.
    pub(crate) fn parameters(&self) -> (u64, u64) {
        let count = |tensor: &Tensor| tensor.elem_count() as u64;
        let (mut all, mut active) = (count(&self.norm), count(&self.norm));
        for projection in &self.projections {
            for linear in projection.linears() {
                all += count(&linear.weight) + count(&linear.bias);
                active += count(&linear.weight) + count(&linear.bias);
            }
        }
        for layer in &self.layers {
            let shared = layer.shared_parameters();
            let expert: u64 = layer.experts.parameters_of_one();
            all += shared + expert * layer.experts.gate_up.len() as u64;
            active += shared + expert * ACTIVE_EXPERTS as u64;
        }
        (all, active)
    }

    /// Patches of scaled values `[tokens, patch_width]` to tokens.
    pub(crate) fn embed(
        &self,
        scaled: &Tensor,
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        self.projections[patch_index].embed(scaled, probe)
    }

    /// Encodes all tokens.
    pub(crate) fn encode(&self, x: Tensor, rows: &Rows, probe: &mut Probe<'_>) -> Result<Tensor> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            let mut attend = |attention: &Attention, projected: Projected| {
                Ok(attention.within_rows(&projected, rows)?.0)
            };
            x = layer.forward(&x, index, &rows.rotary, None, &mut attend, probe)?;
        }
        let x = rms_norm(&x, &self.norm)?;
        probe.see(Stage::EncoderOut, &x);
        Ok(x)
    }

    /// Encodes all tokens as far as `wanted` (indices, u32) needs them, and
    /// returns those; `keep` gets each layer's keys and values.
    pub(crate) fn encode_wanted(
        &self,
        x: Tensor,
        rows: &Rows,
        wanted: &Tensor,
        keep: &mut dyn FnMut(usize, Vec<KeysAndValues>),
    ) -> Result<Tensor> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let mut attend = |attention: &Attention, projected: Projected| {
                let (mixed, memory) = attention.within_rows(&projected, rows)?;
                keep(index, memory);
                Ok(mixed)
            };
            let wanted = is_last.then_some(wanted);
            x = layer.forward(&x, index, &rows.rotary, wanted, &mut attend, &mut Probe::none())?;
        }
        rms_norm(&x, &self.norm)
    }

    /// Encodes the newest tokens of sample paths, which attend to their
    /// prefix, to their own earlier tokens and to each other; returns those
    /// `wanted`, or all.
    pub(crate) fn encode_paths(
        &self,
        x: Tensor,
        rotary: &Rotary,
        paths: &mut [PathMemory],
        wanted: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let mut attend = |attention: &Attention, projected: Projected| {
                attention.along_paths(&projected, index, paths)
            };
            let wanted = if is_last { wanted } else { None };
            x = layer.forward(&x, index, rotary, wanted, &mut attend, &mut Probe::none())?;
        }
        rms_norm(&x, &self.norm)
    }

    /// Returns the head's rows `[tokens, output width * patch_width]` for
    /// encoded tokens.
    pub(crate) fn head(&self, encoded: &Tensor, patch_index: usize) -> Result<Tensor> {
        self.projections[patch_index].head.forward(encoded)
    }
}

/// The layers that belong to one patch size.
#[derive(Debug)]
struct PatchProjection {
    in_proj: Linear,
    res_proj: Linear,
    feat_proj: Linear,
    head: Linear,
}

impl PatchProjection {
    fn load_all(
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Vec<Self>, LoadError> {
        let (sizes, width, patch) = (&config.patch_sizes, config.d_model, config.patch_width);
        // Columns beyond the patch size are trained for nothing: off.
        let masked = |row_columns: usize| {
            move |size: usize, _row: usize, column: usize| row_columns == patch && column >= size
        };
        let ins = linears("in_proj", sizes, width, patch, masked(patch), weights)?;
        let residuals = linears("res_proj", sizes, width, patch, masked(patch), weights)?;
        let feats = linears(
            "feat_proj",
            sizes,
            width,
            width,
            |_: usize, _: usize, _: usize| false,
            weights,
        )?;
        let mut heads: Vec<Vec<Linear>> = sizes.iter().map(|_| Vec::new()).collect();
        for leaf in config.output.leaves() {
            let name = format!("param_proj.proj.{}", leaf.name);
            // The mask counts rows, not positions: with several numbers per
            // position it keeps other rows than one would think. The bias of
            // a masked row stays.
            let mask = |size: usize, row: usize, _column: usize| row >= leaf.dim * size;
            let layers = linears(&name, sizes, leaf.dim * patch, width, mask, weights)?;
            heads.iter_mut().zip(layers).for_each(|(head, layer)| head.push(layer));
        }
        let mut projections = Vec::with_capacity(sizes.len());
        for (((in_proj, res_proj), feat_proj), head) in
            ins.into_iter().zip(residuals).zip(feats).zip(heads)
        {
            let head = Linear::side_by_side(&head)?;
            projections.push(Self { in_proj, res_proj, feat_proj, head });
        }
        Ok(projections)
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.in_proj, &self.res_proj, &self.feat_proj, &self.head]
    }

    fn embed(&self, scaled: &Tensor, probe: &mut Probe<'_>) -> Result<Tensor> {
        let hidden = self.in_proj.forward(scaled)?;
        probe.see(Stage::InProjection, &hidden);
        let feature = self.feat_proj.forward(&silu(&hidden)?)?;
        probe.see(Stage::FeatureProjection, &feature);
        let residual = self.res_proj.forward(scaled)?;
        probe.see(Stage::ResidualProjection, &residual);
        let embedded = (feature + residual)?;
        probe.see(Stage::EncoderIn, &embedded);
        Ok(embedded)
    }
}

/// Reads `NAME.weight` `[sizes, outputs, inputs]` and `NAME.bias`
/// `[sizes, outputs]`; weights that `masked(size, row, column)` names are 0.
fn linears(
    name: &str,
    sizes: &[usize],
    outputs: usize,
    inputs: usize,
    masked: impl Fn(usize, usize, usize) -> bool,
    weights: &mut Weights<'_>,
) -> std::result::Result<Vec<Linear>, LoadError> {
    let mut all = weights.numbers(&format!("{name}.weight"), &[sizes.len(), outputs, inputs])?;
    let biases = weights.tensor(&format!("{name}.bias"), &[sizes.len(), outputs])?;
    for (matrix, &size) in all.chunks_exact_mut(outputs * inputs).zip(sizes) {
        for (index, weight) in matrix.iter_mut().enumerate() {
            if masked(size, index / inputs, index % inputs) {
                *weight = 0.0;
            }
        }
    }
    let all = Tensor::from_vec(all, (sizes.len(), outputs, inputs), weights.device())?;
    let linear = |index| -> Result<Linear> {
        Ok(Linear { weight: all.i(index)?.t()?.contiguous()?, bias: biases.i(index)? })
    };
    Ok((0..sizes.len()).map(linear).collect::<Result<_>>()?)
}

/// `x weight + bias`; the weight is `[inputs, outputs]`.
#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn side_by_side(layers: &[Linear]) -> Result<Self> {
        let weights: Vec<_> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<_> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self { weight: Tensor::cat(&weights, 1)?, bias: Tensor::cat(&biases, 0)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// One layer, normed before each part.
#[derive(Debug)]
struct EncoderLayer {
    norm1: Tensor,
    attention: Attention,
    norm2: Tensor,
    experts: Experts,
}

impl EncoderLayer {
    fn load(
        prefix: &str,
        config: &Config,
        centroids: &Tensor,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let width = config.d_model;
        Ok(Self {
            norm1: weights.tensor(&format!("{prefix}.norm1.weight"), &[width])?,
            attention: Attention::load(&format!("{prefix}.self_attn"), config, weights)?,
            norm2: weights.tensor(&format!("{prefix}.norm2.weight"), &[width])?,
            experts: Experts::load(&format!("{prefix}.ffn"), config, centroids, weights)?,
        })
    }

    fn shared_parameters(&self) -> u64 {
        let attention = &self.attention;
        let tensors = [
            &self.norm1,
            &self.norm2,
            &attention.qkv,
            &attention.out,
            &attention.query_norm,
            &attention.key_norm,
        ];
        let count: usize = tensors.iter().map(|tensor| tensor.elem_count()).sum();
        // The centroids are no parameters but a buffer.
        (count + 2 * attention.variate_bias.len()) as u64
    }

    /// `attend` mixes the projected tokens; with `wanted` only those tokens
    /// leave the layer.
    fn forward(
        &self,
        x: &Tensor,
        index: usize,
        rotary: &Rotary,
        wanted: Option<&Tensor>,
        attend: &mut dyn FnMut(&Attention, Projected) -> Result<Tensor>,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        let normed = rms_norm(x, &self.norm1)?;
        probe.see(Stage::Norm1(index), &normed);
        let projected = self.attention.project(&normed, rotary)?;
        let mut mixed = attend(&self.attention, projected)?;
        let mut x = x.clone();
        if let Some(wanted) = wanted {
            mixed = mixed.index_select(wanted, 0)?;
            x = x.index_select(wanted, 0)?;
        }
        let mixed = mixed.matmul(&self.attention.out)?;
        probe.see(Stage::Attention(index), &mixed);
        let x = (x + mixed)?;
        let normed = rms_norm(&x, &self.norm2)?;
        probe.see(Stage::Norm2(index), &normed);
        let fed = self.experts.forward(&normed, index, probe)?;
        probe.see(Stage::FeedForward(index), &fed);
        let x = (x + fed)?;
        probe.see(Stage::LayerOut(index), &x);
        Ok(x)
    }
}

/// Multi-head attention with normed queries and keys, rotary positions and a
/// bias by whether two tokens are of one variate.
#[derive(Debug)]
pub(crate) struct Attention {
    heads: usize,
    head_dim: usize,
    /// Queries, keys and values side by side, `[width, 3 * width]`.
    qkv: Tensor,
    /// With the factor `1 / sqrt(head_dim)` of the scores.
    query_norm: Tensor,
    key_norm: Tensor,
    out: Tensor,
    /// Per head: another variate, the same variate.
    variate_bias: Vec<[f32; 2]>,
}

/// Queries and keys, normed and rotated, and values: `[tokens, width]` each.
pub(crate) struct Projected {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
}

/// One row's keys and values in one layer, `[heads, length, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct KeysAndValues {
    keys: Tensor,
    values: Tensor,
}

/// What some sample paths of one series attend to.
#[derive(Debug)]
pub(crate) struct PathMemory {
    /// By layer: the context's, shared by all paths of the series.
    prefix: Vec<KeysAndValues>,
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

impl PathMemory {
    /// `prefix` is by layer; `prefix_variates` and `step_variates` tell the
    /// variates of the context's tokens and of a path's tokens in one step.
    pub(crate) fn new(
        prefix: Vec<KeysAndValues>,
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
    fn load(
        prefix: &str,
        config: &Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (width, heads, head_dim) = (config.d_model, config.heads, config.head_dim);
        let mut linear =
            |name: &str| weights.linear(&format!("{prefix}.{name}.weight"), width, width);
        let qkv = Tensor::cat(&[linear("q_proj")?, linear("k_proj")?, linear("v_proj")?], 1)?;
        let out = linear("out_proj")?;
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

    fn project(&self, x: &Tensor, rotary: &Rotary) -> Result<Projected> {
        let width = self.heads * self.head_dim;
        let qkv = x.matmul(&self.qkv)?;
        Ok(Projected {
            queries: norm_and_rotate(&qkv, 0, self.heads, &self.query_norm, rotary)?,
            keys: norm_and_rotate(&qkv, width, self.heads, &self.key_norm, rotary)?,
            values: qkv.narrow(1, 2 * width, width)?,
        })
    }

    /// Lets each token attend within its row; also returns each row's keys
    /// and values.
    fn within_rows(
        &self,
        projected: &Projected,
        rows: &Rows,
    ) -> Result<(Tensor, Vec<KeysAndValues>)> {
        let (mut mixed, mut memory) = (Vec::new(), Vec::new());
        for group in &rows.groups {
            let by_head = |x: &Tensor| {
                x.narrow(0, group.start, group.rows * group.length)?
                    .reshape((group.rows, group.length, self.heads, self.head_dim))?
                    .transpose(1, 2)?
                    .contiguous()
            };
            let queries = by_head(&projected.queries)?;
            let (keys, values) = (by_head(&projected.keys)?, by_head(&projected.values)?);
            let scores = queries.matmul(&keys.transpose(2, 3)?)?;
            let weights = softmax_last_dim(&scores.broadcast_add(&self.mask(group)?)?)?;
            let together = weights.matmul(&values)?.transpose(1, 2)?;
            let width = self.heads * self.head_dim;
            mixed.push(together.reshape((group.rows * group.length, width))?);
            for row in 0..group.rows {
                memory.push(KeysAndValues { keys: keys.i(row)?, values: values.i(row)? });
            }
        }
        let mixed = if mixed.len() == 1 { mixed.remove(0) } else { Tensor::cat(&mixed, 0)? };
        Ok((mixed, memory))
    }

    /// Returns what is added to scores `[rows, heads, length, length]`.
    fn mask(&self, group: &RowGroup) -> Result<Tensor> {
        let Some(same_variate) = &group.same_variate else {
            return Ok(group.mask.clone());
        };
        let by_head = |&[other, same]: &[f32; 2]| {
            same_variate.affine(f64::from(same) - f64::from(other), f64::from(other))? + &group.mask
        };
        let masks = self.variate_bias.iter().map(by_head).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&masks, 0)
    }

    /// Lets the newest tokens of sample paths attend to prefix and suffix.
    fn along_paths(
        &self,
        projected: &Projected,
        layer: usize,
        paths: &mut [PathMemory],
    ) -> Result<Tensor> {
        let mut mixed = Vec::with_capacity(paths.len());
        let mut start = 0;
        for memory in paths {
            let rows = memory.rows;
            let of = |x: &Tensor| x.narrow(0, start, rows);
            let (keys, values) = &mut memory.suffix[layer];
            keys.extend(of(&projected.keys)?.flatten_all()?.to_vec1::<f32>()?);
            values.extend(of(&projected.values)?.flatten_all()?.to_vec1::<f32>()?);
            let prefix = &memory.prefix[layer];
            let queries = of(&projected.queries)?;
            let queries_by_head =
                queries.reshape((rows, self.heads, self.head_dim))?.transpose(0, 1)?;
            let scores = queries_by_head.matmul(&prefix.keys.transpose(1, 2)?)?;
            let bias = memory.variates.as_ref().map(|(prefix, suffix)| SuffixBias {
                by_head: &self.variate_bias,
                prefix,
                suffix,
            });
            let suffix = Suffix { keys, values, tokens: memory.tokens, bias };
            let length = scores.dim(D::Minus1)?;
            let both = suffix_attention(&scores, &queries, &suffix)?;
            let from_prefix = both.narrow(2, 0, length)?.matmul(&prefix.values)?;
            let together = (from_prefix + both.narrow(2, length, self.head_dim)?)?;
            mixed.push(together.transpose(0, 1)?.reshape((rows, self.heads * self.head_dim))?);
            start += rows;
        }
        if mixed.len() == 1 { Ok(mixed.remove(0)) } else { Tensor::cat(&mixed, 0) }
    }
}

/// Sparse feed-forward: each token goes to the two experts whose centroids
/// are FARTHEST from it. That is how the published weights were trained
/// (uni2ts issue 211); nearest ones would be another model.
#[derive(Debug)]
struct Experts {
    /// `[width, experts]`.
    centroids: Tensor,
    /// Squared lengths of the centroids.
    squared: Vec<f32>,
    /// `fc_gate` and `fc1` of each expert side by side, `[width, 2 * d_ff]`.
    gate_up: Vec<Tensor>,
    /// `fc2` of each expert, `[d_ff, width]`.
    down: Vec<Tensor>,
}

impl Experts {
    fn load(
        prefix: &str,
        config: &Config,
        centroids: &Tensor,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (width, hidden) = (config.d_model, config.d_ff);
        let experts = centroids.dim(0)?;
        let (mut gate_up, mut down) = (Vec::with_capacity(experts), Vec::with_capacity(experts));
        for expert in 0..experts {
            let mut linear = |name: &str, inputs, outputs| {
                weights.linear(&format!("{prefix}.experts.{expert}.{name}.weight"), inputs, outputs)
            };
            let gate = linear("fc_gate", width, hidden)?;
            let up = linear("fc1", width, hidden)?;
            gate_up.push(Tensor::cat(&[gate, up], 1)?);
            down.push(linear("fc2", hidden, width)?);
        }
        Ok(Self {
            squared: centroids.sqr()?.sum(1)?.to_vec1()?,
            centroids: centroids.t()?.contiguous()?,
            gate_up,
            down,
        })
    }

    fn parameters_of_one(&self) -> u64 {
        let count = |tensors: &[Tensor]| tensors.first().map_or(0, Tensor::elem_count) as u64;
        count(&self.gate_up) + count(&self.down)
    }

    fn forward(&self, x: &Tensor, index: usize, probe: &mut Probe<'_>) -> Result<Tensor> {
        let routes = self.route(x, index, probe)?;
        let slots = Slots::new(&routes.experts, self.gate_up.len());
        let order = Tensor::from_slice(&slots.tokens, slots.tokens.len(), x.device())?;
        let sorted = x.index_select(&order, 0)?;
        let answers = slots
            .ranges
            .par_iter()
            .map(|&(expert, start, length)| {
                let tokens = sorted.narrow(0, start, length)?;
                let hidden = gated_silu(&tokens.matmul(&self.gate_up[expert])?)?;
                hidden.matmul(&self.down[expert])
            })
            .collect::<Result<Vec<_>>>()?;
        combine(&Tensor::cat(&answers, 0)?, &slots.of_token, &routes.weights)
    }

    /// Chooses the experts of each token. Distances come from
    /// `|x|² + |c|² - 2 x·c`, as in the reference.
    fn route(&self, x: &Tensor, index: usize, probe: &mut Probe<'_>) -> Result<Routes> {
        let count = self.squared.len();
        let products = x.matmul(&self.centroids)?.flatten_all()?.to_vec1::<f32>()?;
        let lengths = x.sqr()?.sum(1)?.to_vec1::<f32>()?;
        let mut distances = products;
        for (row, length) in distances.chunks_exact_mut(count).zip(lengths) {
            for (distance, squared) in row.iter_mut().zip(&self.squared) {
                *distance = (length + squared - 2.0 * *distance).max(0.0).sqrt();
            }
        }
        let tokens = distances.len() / count;
        let mut routes =
            Routes { experts: Vec::with_capacity(tokens), weights: Vec::with_capacity(tokens) };
        for row in distances.chunks_exact(count) {
            let (experts, [far, near]) = two_largest(row);
            let second = (near - far).exp();
            routes.experts.push(experts);
            routes.weights.push([1.0 / (1.0 + second), second / (1.0 + second)]);
        }
        if probe.0.is_some() {
            let device = x.device();
            let tensor = Tensor::from_vec(distances, (tokens, count), device)?;
            probe.see(Stage::Distances(index), &tensor);
            let experts = routes.experts.concat();
            probe.see(Stage::Experts(index), &Tensor::from_vec(experts, (tokens, 2), device)?);
            let weights = routes.weights.concat();
            probe
                .see(Stage::ExpertWeights(index), &Tensor::from_vec(weights, (tokens, 2), device)?);
        }
        Ok(routes)
    }
}

/// Per token: its two experts, the farther first, and their weights.
struct Routes {
    experts: Vec<[u32; ACTIVE_EXPERTS]>,
    weights: Vec<[f32; ACTIVE_EXPERTS]>,
}

fn two_largest(row: &[f32]) -> ([u32; 2], [f32; 2]) {
    let (mut experts, mut largest) = ([0, 1], [f32::NEG_INFINITY; 2]);
    for (expert, &distance) in row.iter().enumerate() {
        if distance > largest[0] {
            (experts, largest) = ([expert as u32, experts[0]], [distance, largest[0]]);
        } else if distance > largest[1] {
            (experts[1], largest[1]) = (expert as u32, distance);
        }
    }
    (experts, largest)
}

/// Tokens sorted by expert, so that each expert multiplies one matrix.
struct Slots {
    /// The token in each slot.
    tokens: Vec<u32>,
    /// Each token's two slots, in the order of its experts.
    of_token: Vec<[u32; ACTIVE_EXPERTS]>,
    /// Experts with work: expert, first slot, slots.
    ranges: Vec<(usize, usize, usize)>,
}

impl Slots {
    fn new(routes: &[[u32; ACTIVE_EXPERTS]], experts: usize) -> Self {
        let mut counts = vec![0usize; experts];
        routes.as_flattened().iter().for_each(|&expert| counts[expert as usize] += 1);
        let (mut ranges, mut next, mut start) = (Vec::new(), Vec::with_capacity(experts), 0);
        for (expert, &count) in counts.iter().enumerate() {
            next.push(start);
            if count > 0 {
                ranges.push((expert, start, count));
            }
            start += count;
        }
        let mut tokens = vec![0; start];
        let mut place = |token: usize, expert: u32| {
            let slot = next[expert as usize];
            next[expert as usize] += 1;
            tokens[slot] = token as u32;
            slot as u32
        };
        let of_token =
            routes.iter().enumerate().map(|(token, experts)| experts.map(|e| place(token, e)));
        let of_token = of_token.collect();
        Self { tokens, of_token, ranges }
    }
}
