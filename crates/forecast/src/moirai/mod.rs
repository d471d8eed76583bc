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

mod attention;
mod experts;
mod projection;

use candle_core::{IndexOp, Result, Tensor};

use self::attention::{Attention, Projected};
pub(crate) use self::attention::{KeysAndValues, PathMemory};
use self::experts::Experts;
use self::projection::PatchProjection;
use crate::checkpoint::Weights;
use crate::config::Config;
use crate::expert_usage::ExpertUsage;
use crate::ops::{add, matmul, rms_norm};
use crate::provider::LoadError;
use crate::rows::{Rotary, Rows};

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
pub(crate) struct Probe<'a>(pub(crate) Option<See<'a>>);

/// Called with each stage and its tensor.
pub(crate) type See<'a> = &'a mut dyn FnMut(Stage, &Tensor);

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
        self.layers.first().map_or(0, |layer| layer.experts.count())
    }

    /// Returns how many tokens each expert of each layer got so far.
    pub(crate) fn expert_usage(&self) -> ExpertUsage {
        ExpertUsage { layers: self.layers.iter().map(|layer| layer.experts.usage()).collect() }
    }

    /// Returns the bytes of the packed weights in memory.
    pub(crate) fn bytes(&self) -> usize {
        let layers =
            self.layers.iter().map(|layer| layer.attention.bytes() + layer.experts.bytes());
        let projections = self.projections.iter().flat_map(|projection| projection.linears());
        layers.sum::<usize>() + projections.map(|linear| linear.bytes()).sum::<usize>()
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
                all += linear.parameters();
                active += linear.parameters();
            }
        }
        for layer in &self.layers {
            let shared = layer.shared_parameters();
            let expert: u64 = layer.experts.parameters_of_one();
            all += shared + expert * layer.experts.count() as u64;
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
        keep: &mut dyn FnMut(usize, Vec<KeysAndValues>) -> Result<()>,
    ) -> Result<Tensor> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            let mut attend = |attention: &Attention, projected: Projected| {
                let (mixed, memory) = attention.within_rows(&projected, rows)?;
                keep(index, memory)?;
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
        paths: &mut [PathMemory<'_>],
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

    /// Trained numbers outside the experts. The centroids are none: they are a
    /// buffer.
    fn shared_parameters(&self) -> u64 {
        let norms = self.norm1.elem_count() + self.norm2.elem_count();
        norms as u64 + self.attention.parameters()
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
        let mixed = matmul(&mixed, &self.attention.out)?;
        probe.see(Stage::Attention(index), &mixed);
        let x = add(&x, &mixed)?;
        let normed = rms_norm(&x, &self.norm2)?;
        probe.see(Stage::Norm2(index), &normed);
        let fed = self.experts.forward(&normed, index, probe)?;
        probe.see(Stage::FeedForward(index), &fed);
        let x = add(&x, &fed)?;
        probe.see(Stage::LayerOut(index), &x);
        Ok(x)
    }
}
