//! A network on some device, as the rollouts and the comparison with the
//! reference see it.

use std::fmt;

use candle_core::{Result, Tensor};
use tidecast_forecast::PROCESSOR_BATCH;

use crate::config::Config;
use crate::expert_usage::ExpertUsage;
use crate::model::{Chunk, MoiraiMoe, Probe};
use crate::rollout::cached::{self, Job};
use crate::rollout::{Rolled, exact};
use crate::rows::{RowLayout, Rows};
use crate::sampler::Sampling;

/// Rows of tokens laid end to end: so many rows of each layout.
pub(crate) type Layouts<'a> = [(&'a RowLayout, usize)];

/// MOIRAI-MoE on a device. Tensors given and returned lie in the memory of the
/// host.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    fn config(&self) -> &Config;

    /// Returns the experts of a layer.
    fn experts(&self) -> usize;

    /// Returns the bytes of the weights in memory.
    fn bytes(&self) -> usize;

    /// Returns the device's name: `cpu`, or `cuda:0` with the card's.
    fn device(&self) -> String;

    /// Returns tokens and tasks of a batch that suits the device.
    fn batch(&self) -> (usize, usize) {
        PROCESSOR_BATCH
    }

    /// Returns how many points of a path's distribution the device can draw at a step.
    fn most_points(&self, _sampling: Sampling) -> usize {
        usize::MAX
    }

    /// Returns the bytes of the device's memory that are in use, and all.
    fn device_memory(&self) -> Option<(u64, u64)> {
        None
    }

    /// Returns why the device can do nothing more.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Returns how many batches were cut in halves so far because the device's memory did
    /// not suffice.
    fn splits(&self) -> u64 {
        0
    }

    /// Returns how many tokens each expert of each layer got so far.
    fn expert_usage(&self) -> ExpertUsage;

    /// Returns how many tokens the exact rollout should hand over at once: enough
    /// for large matrix products, few enough for caches and memory.
    fn tokens_at_once(&self) -> usize {
        4096
    }

    /// Returns the head's rows for the wanted tokens (ascending) of patches of
    /// scaled values, `[tokens, patch_width]`.
    fn predict(
        &self,
        patch_index: usize,
        scaled: Vec<f32>,
        layouts: &Layouts<'_>,
        wanted: &[u32],
    ) -> Result<Vec<f32>>;

    /// Fills the horizons of several series by the cached rollout.
    fn roll_out(&self, patch_index: usize, jobs: &[Job<'_>]) -> Result<Vec<Rolled>>;

    /// Patches of scaled values `[tokens, patch_width]` to tokens.
    fn embed_all(
        &self,
        scaled: &Tensor,
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor>;

    /// Encodes all tokens `[tokens, width]`; a probe sees every stage.
    fn encode_all(&self, x: Tensor, layouts: &Layouts<'_>, probe: &mut Probe<'_>)
    -> Result<Tensor>;

    /// Returns the head's rows `[tokens, output width * patch_width]`.
    fn head_all(&self, encoded: &Tensor, patch_index: usize) -> Result<Tensor>;

    /// Returns the index of a patch size.
    fn patch_index(&self, patch_size: usize) -> Option<usize> {
        self.config().patch_sizes.iter().position(|&size| size == patch_size)
    }
}

impl Network for MoiraiMoe {
    fn config(&self) -> &Config {
        &self.config
    }

    fn experts(&self) -> usize {
        self.experts()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn device(&self) -> String {
        "cpu".to_owned()
    }

    fn expert_usage(&self) -> ExpertUsage {
        self.expert_usage()
    }

    fn predict(
        &self,
        patch_index: usize,
        scaled: Vec<f32>,
        layouts: &Layouts<'_>,
        wanted: &[u32],
    ) -> Result<Vec<f32>> {
        exact::predict(self, patch_index, scaled, layouts, wanted)
    }

    fn roll_out(&self, patch_index: usize, jobs: &[Job<'_>]) -> Result<Vec<Rolled>> {
        Ok(cached::rollout(self, patch_index, jobs)?.into_iter().map(Rolled::Paths).collect())
    }

    fn embed_all(
        &self,
        scaled: &Tensor,
        patch_index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        self.embed(scaled, patch_index, probe)
    }

    fn encode_all(
        &self,
        x: Tensor,
        layouts: &Layouts<'_>,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        let rows = Rows::new(layouts);
        let mut chunks = Chunk::of_rows(&rows, self.config.head_dim, None, false, usize::MAX);
        self.encode(x, &mut chunks, probe)
    }

    fn head_all(&self, encoded: &Tensor, patch_index: usize) -> Result<Tensor> {
        self.head(encoded, patch_index)
    }
}
