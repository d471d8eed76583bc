//! The cached rollout on a card: from scaled contexts to quantiles.
//!
//! The card sees standardised values alone, in f32. The host subtracts location
//! and divides by scale before, and undoes both after, in f64: mean and quantiles
//! of `location + scale z` are those of z, since the scale is positive.
//!
//! Series are sorted by their horizons, the longest first, so that those still
//! running are always the front of every buffer. The host builds tables of
//! where everything stands, launches kernels without looking back, and waits
//! once, for the results. What it built for a small batch it keeps for the next one of the
//! same shape: there, launching takes longer than computing.

use std::sync::{Mutex, PoisonError};

use super::batch::{Batch, Shape};
use super::encoder::{Work, size_of_operand};
use super::gpu::{CudaError, Gpu, Result};
use super::network::CudaNetwork;
use crate::network::Network;
use crate::rollout::Rolled;
use crate::rollout::cached::Job;

/// Of the memory that is free, what one batch may take.
const SHARE_OF_MEMORY: f64 = 0.8;

/// Bytes up to which a batch is kept: with more series launches are hidden behind work.
const MOST_KEPT_BYTES: usize = 1 << 30;

/// Batches that are kept, those used last.
const MOST_KEPT: usize = 4;

/// Batches that are kept for others of their shape, the one used last at the end.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<Batch>>);

impl Kept {
    fn take(&self, shape: &Shape) -> Option<Batch> {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = batches.iter().position(|batch| batch.is_of(shape))?;
        Some(batches.remove(index))
    }

    fn put(&self, batch: Batch) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push(batch);
        let most = batches.len().saturating_sub(MOST_KEPT);
        batches.drain(..most);
    }

    /// Lets all go; returns whether there were any.
    fn clear(&self) -> bool {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::take(&mut *batches).is_empty()
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

/// Rolls out as many series at once as memory allows.
pub(super) fn roll_out(
    network: &CudaNetwork,
    gpu: &Gpu,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Rolled>> {
    let (free, _) = gpu.memory()?;
    let limit = (free as f64 * SHARE_OF_MEMORY) as usize;
    let mut all = Vec::with_capacity(jobs.len());
    let (mut start, mut bytes) = (0, 0);
    for (index, job) in jobs.iter().enumerate() {
        let own = bytes_of(network, job);
        if index > start && bytes + own > limit {
            all.extend(roll_some(network, gpu, patch_index, &jobs[start..index])?);
            (start, bytes) = (index, 0);
        }
        bytes += own;
    }
    if start < jobs.len() {
        all.extend(roll_some(network, gpu, patch_index, &jobs[start..])?);
    }
    Ok(all)
}

/// Returns the bytes a series needs while it is rolled out.
fn bytes_of(network: &CudaNetwork, job: &Job<'_>) -> usize {
    let (config, operands) = (network.config(), network.encoder().network.operands);
    let steps = job.series.patches() - 1;
    let context = job.series.context.len();
    let rows = job.paths * job.series.step_variates().len();
    let memory = 2 * config.layers * config.d_model * size_of_operand(operands);
    context * memory
        + rows * steps * memory
        + context.max(rows) * Work::bytes_of_row(config, operands)
        + 4 * (1 + job.fill.points()) * job.paths * job.series.variates() * job.series.steps()
}

/// Rolls out series together; if memory does not suffice after all, without what is kept
/// for others, then in halves.
fn roll_some(
    network: &CudaNetwork,
    gpu: &Gpu,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Rolled>> {
    match roll_together(network, gpu, patch_index, jobs) {
        Err(CudaError::OutOfMemory) if network.kept().clear() => {
            roll_some(network, gpu, patch_index, jobs)
        }
        Err(CudaError::OutOfMemory) if jobs.len() > 1 => {
            network.count_split();
            tracing::warn!(series = jobs.len(), "no memory is left on the card: in two halves");
            let (left, right) = jobs.split_at(jobs.len() / 2);
            let mut all = roll_some(network, gpu, patch_index, left)?;
            all.extend(roll_some(network, gpu, patch_index, right)?);
            Ok(all)
        }
        outcome => outcome,
    }
}

fn roll_together(
    network: &CudaNetwork,
    gpu: &Gpu,
    patch_index: usize,
    jobs: &[Job<'_>],
) -> Result<Vec<Rolled>> {
    let bytes: usize = jobs.iter().map(|job| bytes_of(network, job)).sum();
    let shape = Shape::of(patch_index, jobs);
    let is_kept = shape.draws && bytes <= MOST_KEPT_BYTES;
    let mut batch = match network.kept().take(&shape) {
        Some(batch) => batch,
        None => Batch::new(network, gpu, shape)?,
    };
    batch.load(network, gpu, jobs)?;
    batch.run(network, gpu, jobs)?;
    let results = batch.results(network, gpu, jobs)?;
    if is_kept {
        network.kept().put(batch);
    }
    Ok(results)
}
