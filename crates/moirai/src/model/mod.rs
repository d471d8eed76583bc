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
//! Embedding and head work on a whole batch. In between the tokens are cut into
//! [`Chunk`]s: a thread takes a chunk from one layer's experts to the next ones
//! without waiting for others, then all meet, so that each expert sees all its
//! tokens at once. A token's result depends on its row or path alone, to the
//! bit, however the batch is cut. Everything is computed in f32.

mod attention;
mod chunk;
mod experts;
mod projection;
mod work;

use std::sync::Mutex;

use candle_core::{Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use self::attention::Attention;
use self::chunk::Scratch;
pub(crate) use self::chunk::{Chunk, PathMemory};
use self::experts::Experts;
use self::projection::PatchProjection;
#[cfg(feature = "cuda")]
pub(crate) use self::projection::{Raw, RawProjection};
pub(crate) use self::work::{Costs, Tokens};
use crate::config::Config;
use crate::error::CheckpointError;
use crate::expert_usage::ExpertUsage;
use crate::ops::{add_to, linear, rms_norm};
use crate::weights::Weights;

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

    fn see_tensor(&mut self, stage: Stage, tensor: &Tensor) {
        if let Some(see) = &mut self.0 {
            see(stage, tensor);
        }
    }

    /// Shows numbers `[rows, columns]`.
    pub(crate) fn see(&mut self, stage: Stage, numbers: &[f32], columns: usize) {
        if let Some(see) = &mut self.0
            && let Ok(tensor) =
                Tensor::from_slice(numbers, (numbers.len() / columns, columns), &Device::Cpu)
        {
            see(stage, &tensor);
        }
    }

    pub(crate) fn see_experts(&mut self, stage: Stage, experts: &[[u32; ACTIVE_EXPERTS]]) {
        if let Some(see) = &mut self.0
            && let Ok(tensor) = Tensor::from_slice(
                experts.as_flattened(),
                (experts.len(), ACTIVE_EXPERTS),
                &Device::Cpu,
            )
        {
            see(stage, &tensor);
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
    norm: Vec<f32>,
    /// Memory for the experts' answers, used again for the next batch.
    spare: Mutex<Vec<f32>>,
}

impl MoiraiMoe {
    pub(crate) fn load(
        config: Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, CheckpointError> {
        let width = config.d_model;
        let centroid_shape = weights.shape("encoder.centroid")?;
        // uni2ts has 32; whatever the file holds is taken.
        let experts = centroid_shape.get(1).copied().unwrap_or(0).max(ACTIVE_EXPERTS);
        let centroids = weights.numbers("encoder.centroid", &[config.layers, experts, width])?;
        let layers = centroids
            .chunks_exact(experts * width)
            .enumerate()
            .map(|(layer, centroids)| {
                let prefix = format!("encoder.layers.{layer}");
                EncoderLayer::load(&prefix, &config, centroids, weights)
            })
            .collect::<std::result::Result<_, _>>()?;
        let norm = weights.numbers("encoder.norm.weight", &[width])?;
        let projections = PatchProjection::load_all(&config, weights)?;
        Ok(Self { config, projections, layers, norm, spare: Mutex::default() })
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

    /// Patches of scaled values `[tokens, patch_width]` to tokens.
    pub(crate) fn embed(
        &self,
        scaled: &Tensor,
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        self.projections[patch_index].embed(scaled, probe)
    }

    /// Encodes tokens `[tokens, width]`, those of the chunks one after the
    /// other, and returns the ones they want. A probe sees every stage if
    /// there is one chunk.
    pub(crate) fn encode(
        &self,
        x: Tensor,
        chunks: &mut [Chunk<'_>],
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        let (width, device) = (self.config.d_model, x.device().clone());
        share(&x, width, chunks)?;
        drop(x);
        // Few chunks: the threads without one help with the others.
        let helpers = (rayon::current_num_threads() / chunks.len().max(1)).saturating_sub(1);
        let mut answers =
            self.spare.lock().map(|mut spare| std::mem::take(&mut *spare)).unwrap_or_default();
        for (index, layer) in self.layers.iter().enumerate() {
            let is_last = index + 1 == self.layers.len();
            for_each(chunks, probe, |chunk, scratch, probe| {
                if let Some(before) = index.checked_sub(1) {
                    self.take_answers(chunk, scratch, &answers, before, probe);
                }
                layer.attend(chunk, scratch, index, is_last, helpers, probe);
            });
            layer.experts.answer(chunks, &mut answers);
        }
        for_each(chunks, probe, |chunk, scratch, probe| {
            self.take_answers(chunk, scratch, &answers, self.layers.len() - 1, probe);
            rms_norm(&chunk.x, &self.norm, &mut chunk.normed);
            probe.see(Stage::EncoderOut, &chunk.normed, width);
        });
        if let Ok(mut spare) = self.spare.lock() {
            *spare = answers;
        }
        let mut encoded = Vec::new();
        chunks.iter().for_each(|chunk| encoded.extend_from_slice(&chunk.normed));
        let tokens = encoded.len() / width;
        Tensor::from_vec(encoded, (tokens, width), &device)
    }

    /// Adds the experts' answers of a layer to the residual stream.
    fn take_answers(
        &self,
        chunk: &mut Chunk<'_>,
        scratch: &mut Scratch,
        answers: &[f32],
        index: usize,
        probe: &mut Probe<'_>,
    ) {
        let width = self.config.d_model;
        chunk.take_answers(answers, &mut scratch.mixed, width);
        probe.see(Stage::FeedForward(index), &scratch.mixed, width);
        probe.see(Stage::LayerOut(index), &chunk.x, width);
    }

    /// Returns the head's rows `[tokens, output width * patch_width]` for
    /// encoded tokens.
    pub(crate) fn head(&self, encoded: &Tensor, patch_index: usize) -> Result<Tensor> {
        self.projections[patch_index].head.forward(encoded)
    }
}

/// Copies the tokens `[tokens, width]` to the chunks' residual streams.
fn share(x: &Tensor, width: usize, chunks: &mut [Chunk<'_>]) -> Result<()> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(cpu), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        bail!("tokens for the processor are elsewhere");
    };
    let mut rest = &cpu.as_slice::<f32>()?[start..end];
    for chunk in chunks {
        let Some((own, others)) = rest.split_at_checked(chunk.tokens() * width) else {
            bail!("fewer tokens than the chunks have");
        };
        chunk.x.clear();
        chunk.x.extend_from_slice(own);
        rest = others;
    }
    Ok(())
}

/// Works on the chunks side by side, or one after the other before a probe.
fn for_each<'a>(
    chunks: &mut [Chunk<'a>],
    probe: &mut Probe<'_>,
    work: impl Fn(&mut Chunk<'a>, &mut Scratch, &mut Probe<'_>) + Sync,
) {
    let work = |chunk: &mut Chunk<'a>, probe: &mut Probe<'_>| {
        Scratch::lend(|scratch| work(chunk, scratch, probe));
    };
    match (probe.0.is_some(), chunks) {
        (false, chunks) if chunks.len() > 1 => {
            chunks.par_iter_mut().with_max_len(1).for_each(|chunk| work(chunk, &mut Probe::none()));
        }
        (_, chunks) => chunks.iter_mut().for_each(|chunk| work(chunk, probe)),
    }
}

/// One layer, normed before each part.
#[derive(Debug)]
struct EncoderLayer {
    width: usize,
    norm1: Vec<f32>,
    attention: Attention,
    norm2: Vec<f32>,
    experts: Experts,
}

impl EncoderLayer {
    /// Reads the layer; `centroids` are `[experts, width]`.
    fn load(
        prefix: &str,
        config: &Config,
        centroids: &[f32],
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, CheckpointError> {
        let width = config.d_model;
        Ok(Self {
            width,
            norm1: weights.numbers(&format!("{prefix}.norm1.weight"), &[width])?,
            attention: Attention::load(&format!("{prefix}.self_attn"), config, weights)?,
            norm2: weights.numbers(&format!("{prefix}.norm2.weight"), &[width])?,
            experts: Experts::load(&format!("{prefix}.ffn"), config, centroids, weights)?,
        })
    }

    /// Takes a chunk as far as its experts' door; from the last layer only the
    /// wanted tokens come out.
    fn attend(
        &self,
        chunk: &mut Chunk<'_>,
        scratch: &mut Scratch,
        index: usize,
        is_last: bool,
        helpers: usize,
        probe: &mut Probe<'_>,
    ) {
        rms_norm(&chunk.x, &self.norm1, &mut chunk.normed);
        probe.see(Stage::Norm1(index), &chunk.normed, self.width);
        self.attention.mix(chunk, scratch, index, is_last, helpers);
        if is_last {
            chunk.keep_wanted(self.width);
        }
        let Scratch { projected, mixed, distances, .. } = scratch;
        linear(mixed, &self.attention.out, None, helpers, projected);
        probe.see(Stage::Attention(index), projected, self.width);
        add_to(&mut chunk.x, projected);
        rms_norm(&chunk.x, &self.norm2, &mut chunk.normed);
        probe.see(Stage::Norm2(index), &chunk.normed, self.width);
        self.experts.route(chunk, distances, index, helpers, probe);
    }
}
