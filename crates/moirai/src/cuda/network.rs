//! The network on a card, as the rest of the crate sees it.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use tidecast_forecast::LoadError;

use super::buffer::{Buffer, Pointer};
use super::encoder::{Attended, Encoder, Memory};
use super::gpu::{Gpu, Result};
use super::launch::{MOST_COMPONENTS, MOST_POINTS, Output, Pair, Span, TILE_QUERIES};
use super::rollout::Kept;
use super::weights;
use crate::config::Config;
use crate::distribution::{Component, DistributionOutput};
use crate::error::CheckpointError;
use crate::expert_usage::ExpertUsage;
use crate::model::Probe;
use crate::network::{Layouts, Network};
use crate::rollout::Rolled;
use crate::rollout::cached::Job;
use crate::sampler::Sampling;
use crate::weights::Weights;

/// MOIRAI-MoE on one card.
#[derive(Debug)]
pub(crate) struct CudaNetwork {
    gpu: Gpu,
    config: Config,
    network: weights::Network,
    output: Output,
    /// Batches that were cut in halves.
    splits: AtomicU64,
    kept: Kept,
}

impl CudaNetwork {
    /// Uploads a checkpoint.
    pub(crate) fn load(
        gpu: &Gpu,
        config: Config,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, CheckpointError> {
        let output = output(&config).ok_or_else(|| LoadError::Device {
            device: format!("cuda:{}", gpu.ordinal()),
            reason: format!(
                "the checkpoint mixes more than {MOST_COMPONENTS} distributions, for which the \
                 kernels have no room: use `cpu`"
            ),
        })?;
        let network = weights::Network::load(gpu, &config, weights)?;
        Ok(Self {
            gpu: gpu.clone(),
            config,
            network,
            output,
            splits: AtomicU64::new(0),
            kept: Kept::default(),
        })
    }

    pub(super) fn encoder(&self) -> Encoder<'_> {
        Encoder { gpu: &self.gpu, config: &self.config, network: &self.network }
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Returns the length of a patch as the first layers take it.
    pub(super) fn padded_patch(&self) -> usize {
        self.encoder().padded_patch()
    }

    pub(super) fn count_split(&self) {
        self.splits.fetch_add(1, Ordering::Relaxed);
    }

    /// Encodes whole rows and returns the head's rows of the wanted tokens.
    fn predict_rows(
        &self,
        patch_index: usize,
        scaled: &[f32],
        layouts: &Layouts<'_>,
        wanted: &[u32],
    ) -> Result<Vec<f32>> {
        let (gpu, encoder) = (&self.gpu, self.encoder());
        let tokens = TokenRows::new(gpu, layouts)?;
        let mut work = encoder.work(tokens.count, wanted.len(), false)?;
        work.input.write(gpu, &self.padded(scaled))?;
        let memory = self.memory_of_one_layer(tokens.count)?;
        let chosen = Buffer::from(gpu, wanted)?;
        let wanted = (chosen.pointer(), wanted.len());
        encoder.embed(patch_index, &work, tokens.count, &mut Probe::none())?;
        let attended = tokens.attended(&memory);
        encoder.encode(&work, tokens.count, attended, wanted, &mut Probe::none())?;
        encoder.head(patch_index, &work, wanted.1)?;
        work.head.read(gpu, wanted.1 * encoder.head_width())
    }

    fn memory_of_one_layer(&self, tokens: usize) -> Result<Memory> {
        Memory::new(&self.gpu, 1, tokens * self.config.d_model, self.network.operands)
    }

    /// Fills patches up to the length the first layers take.
    pub(super) fn padded(&self, scaled: &[f32]) -> Vec<f32> {
        let (width, padded) = (self.config.patch_width, self.encoder().padded_patch());
        let mut all = vec![0f32; scaled.len() / width * padded];
        for (to, from) in all.chunks_exact_mut(padded).zip(scaled.chunks_exact(width)) {
            to[..width].copy_from_slice(from);
        }
        all
    }

    fn embed_rows(
        &self,
        scaled: &[f32],
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Vec<f32>> {
        let (encoder, rows) = (self.encoder(), scaled.len() / self.config.patch_width);
        let mut work = encoder.work(rows, 1, false)?;
        work.input.write(&self.gpu, &self.padded(scaled))?;
        encoder.embed(patch_index, &work, rows, probe)?;
        encoder.tokens(&work, rows)
    }

    fn encode_rows(
        &self,
        x: &[f32],
        layouts: &Layouts<'_>,
        probe: &mut Probe<'_>,
    ) -> Result<Vec<f32>> {
        let (gpu, encoder) = (&self.gpu, self.encoder());
        let tokens = TokenRows::new(gpu, layouts)?;
        let mut work = encoder.work(tokens.count, tokens.count, true)?;
        encoder.set_tokens(&mut work, x)?;
        let memory = self.memory_of_one_layer(tokens.count)?;
        let wanted = (Pointer::NULL, tokens.count);
        encoder.encode(&work, tokens.count, tokens.attended(&memory), wanted, probe)?;
        encoder.encoded(&work, tokens.count)
    }

    fn head_rows(&self, encoded: &[f32], patch_index: usize) -> Result<Vec<f32>> {
        let (encoder, rows) = (self.encoder(), encoded.len() / self.config.d_model);
        let mut work = encoder.work(1, rows, false)?;
        encoder.set_encoded(&mut work, encoded)?;
        encoder.head(patch_index, &work, rows)?;
        work.head.read(&self.gpu, rows * encoder.head_width())
    }
}

/// Whole rows of tokens on the card, each token attending within its row.
#[derive(Debug)]
pub(super) struct TokenRows {
    spans: Buffer<Span>,
    tiles: Buffer<Pair>,
    tile_count: usize,
    time: Buffer<u32>,
    sample: Buffer<u32>,
    variate: Buffer<u32>,
    pub(super) count: usize,
}

impl TokenRows {
    pub(super) fn new(gpu: &Gpu, layouts: &Layouts<'_>) -> Result<Self> {
        let (mut spans, mut time, mut sample, mut variate) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (layout, rows) in layouts {
            for _ in 0..*rows {
                let (first, length) = (time.len() as u32, layout.len() as u32);
                spans.push(Span {
                    first_query: first,
                    queries: length,
                    first_key: first,
                    keys: length,
                    tokens: 1,
                });
                time.extend_from_slice(&layout.time);
                sample.extend_from_slice(&layout.sample);
                variate.extend_from_slice(&layout.variate);
            }
        }
        let tiles = tiles(&spans);
        Ok(Self {
            tile_count: tiles.len(),
            spans: Buffer::from(gpu, &spans)?,
            tiles: Buffer::from(gpu, &tiles)?,
            count: time.len(),
            time: Buffer::from(gpu, &time)?,
            sample: Buffer::from(gpu, &sample)?,
            variate: Buffer::from(gpu, &variate)?,
        })
    }

    pub(super) fn variate(&self) -> Pointer<u32> {
        self.variate.pointer()
    }

    pub(super) fn attended<'a>(&self, memory: &'a Memory) -> Attended<'a> {
        Attended {
            spans: self.spans.pointer(),
            tiles: self.tiles.pointer(),
            tile_count: self.tile_count,
            time: self.time.pointer(),
            now: 0,
            own_variate: self.variate.pointer(),
            shared: memory,
            variate: self.variate.pointer(),
            sample: self.sample.pointer(),
            shared_time: self.time.pointer(),
            own: None,
        }
    }
}

/// Cuts the queries of spans into tiles: span, first query.
pub(super) fn tiles(spans: &[Span]) -> Vec<Pair> {
    let cut = |(index, span): (usize, &Span)| {
        (0..span.queries).step_by(TILE_QUERIES).map(move |first| Pair(index as u32, first))
    };
    spans.iter().enumerate().flat_map(cut).collect()
}

/// Returns the distribution as the sampling kernel reads it; `None` if it has no
/// room for it.
fn output(config: &Config) -> Option<Output> {
    let components = config.output.components();
    let is_mixture = matches!(config.output, DistributionOutput::Mixture(_));
    let mut output = Output {
        components: components.len() as i32,
        is_mixture: i32::from(is_mixture),
        kind: [0; MOST_COMPONENTS],
        first: [0; MOST_COMPONENTS],
        fixed: [0.0; MOST_COMPONENTS],
    };
    let mut first = if is_mixture { components.len() } else { 0 };
    for (index, component) in components.iter().enumerate() {
        let (kind, fixed) = match *component {
            Component::StudentT => (0, 0.0),
            Component::Normal => (1, 0.0),
            Component::NormalFixedScale { scale } => (2, scale),
            Component::NegativeBinomial => (3, 0.0),
            Component::LogNormal => (4, 0.0),
            Component::Laplace => (5, 0.0),
            Component::LaplaceFixedScale { scale } => (6, scale),
            Component::Pareto => (7, 0.0),
            Component::ParetoFixedAlpha { alpha } => (8, alpha),
        };
        *output.kind.get_mut(index)? = kind;
        output.first[index] = first as i32;
        output.fixed[index] = fixed as f32;
        first += component.parameters().len();
    }
    Some(output)
}

impl Network for CudaNetwork {
    fn config(&self) -> &Config {
        &self.config
    }

    fn experts(&self) -> usize {
        self.network.experts
    }

    fn bytes(&self) -> usize {
        self.network.bytes()
    }

    fn device(&self) -> String {
        self.gpu.describe()
    }

    fn batch(&self) -> (usize, usize) {
        (524_288, 1024)
    }

    fn device_memory(&self) -> Option<(u64, u64)> {
        let (free, all) = self.gpu.memory().unwrap_or_default();
        Some((all.saturating_sub(free) as u64, all as u64))
    }

    fn most_points(&self, sampling: Sampling) -> usize {
        match sampling {
            Sampling::Independent => 1,
            Sampling::Stratified => MOST_POINTS,
        }
    }

    fn failure(&self) -> Option<String> {
        self.gpu.failure()
    }

    fn splits(&self) -> u64 {
        self.splits.load(Ordering::Relaxed)
    }

    fn expert_usage(&self) -> ExpertUsage {
        let read = |layer: &weights::Layer| {
            let experts = &layer.experts;
            experts.usage.read(&self.gpu, experts.count).unwrap_or_else(|error| {
                tracing::debug!(%error, "the use of experts cannot be read");
                vec![0; experts.count]
            })
        };
        ExpertUsage { layers: self.network.layers.iter().map(read).collect() }
    }

    fn tokens_at_once(&self) -> usize {
        65_536
    }

    fn predict(
        &self,
        patch_index: usize,
        scaled: Vec<f32>,
        layouts: &Layouts<'_>,
        wanted: &[u32],
    ) -> candle_core::Result<Vec<f32>> {
        let head = self.predict_rows(patch_index, &scaled, layouts, wanted);
        Ok(head.inspect_err(|error| self.gpu.note(error))?)
    }

    fn roll_out(&self, patch_index: usize, jobs: &[Job<'_>]) -> candle_core::Result<Vec<Rolled>> {
        let rolled = super::rollout::roll_out(self, &self.gpu, patch_index, jobs);
        Ok(rolled.inspect_err(|error| self.gpu.note(error))?)
    }

    fn embed_all(
        &self,
        scaled: &Tensor,
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> candle_core::Result<Tensor> {
        let rows = scaled.dim(0)?;
        let scaled = scaled.flatten_all()?.to_vec1::<f32>()?;
        let tokens = self.embed_rows(&scaled, patch_index, probe)?;
        Tensor::from_vec(tokens, (rows, self.config.d_model), &Device::Cpu)
    }

    fn encode_all(
        &self,
        x: Tensor,
        layouts: &Layouts<'_>,
        probe: &mut Probe<'_>,
    ) -> candle_core::Result<Tensor> {
        let shape = x.dims2()?;
        let encoded = self.encode_rows(&x.flatten_all()?.to_vec1::<f32>()?, layouts, probe)?;
        Tensor::from_vec(encoded, shape, &Device::Cpu)
    }

    fn head_all(&self, encoded: &Tensor, patch_index: usize) -> candle_core::Result<Tensor> {
        let rows = encoded.dim(0)?;
        let head = self.head_rows(&encoded.flatten_all()?.to_vec1::<f32>()?, patch_index)?;
        Tensor::from_vec(head, (rows, self.encoder().head_width()), &Device::Cpu)
    }
}
