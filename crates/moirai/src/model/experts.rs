//! The sparse feed-forward part of a layer.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::chunk::{Chunk, Scratch};
use super::{ACTIVE_EXPERTS, Probe, Stage};
use crate::config::Config;
use crate::error::CheckpointError;
use crate::ops::{BLOCK, Expert, Packed, distances, linear};
use crate::precision::Precision;
use crate::weights::{Stored, Weights, matrices};

/// Sparse feed-forward: each token goes to the two experts whose centroids
/// are FARTHEST from it. That is how the published weights were trained
/// (uni2ts issue 211); nearest ones would be another model.
#[derive(Debug)]
pub(super) struct Experts {
    width: usize,
    centroids: Packed,
    /// Squared lengths of the centroids.
    squared: Vec<f32>,
    experts: Vec<Expert>,
    /// Tokens each expert got since the model was loaded.
    usage: Vec<AtomicU64>,
}

impl Experts {
    /// Reads the experts; `centroids` are `[experts, width]`.
    pub(super) fn load(
        prefix: &str,
        config: &Config,
        centroids: &[f32],
        weights: &mut Weights<'_>,
    ) -> Result<Self, CheckpointError> {
        let (width, hidden) = (config.d_model, config.d_ff);
        let centroids: Vec<&[f32]> = centroids.chunks_exact(width).collect();
        let mut stored = Vec::with_capacity(centroids.len());
        for expert in 0..centroids.len() {
            let mut take = |name: &str, shape: [usize; 2]| {
                weights.take(&format!("{prefix}.experts.{expert}.{name}.weight"), &shape)
            };
            stored.push([
                take("fc_gate", [hidden, width])?,
                take("fc1", [hidden, width])?,
                take("fc2", [width, hidden])?,
            ]);
        }
        let pack = |stored: &[Stored<'_>; 3]| -> Result<Expert, CheckpointError> {
            let (numbers, precision) = matrices(stored)?;
            // As many as were stored.
            let [gate, up, down] = [0, 1, 2].map(|matrix| numbers[matrix].as_slice());
            Ok(Expert::new([gate, up, down], width, hidden, precision))
        };
        let squares = |centroid: &&[f32]| centroid.iter().map(|number| number * number).sum();
        Ok(Self {
            width,
            squared: centroids.iter().map(squares).collect(),
            centroids: Packed::new(&centroids, width, Precision::F32),
            experts: stored.par_iter().map(pack).collect::<Result<_, _>>()?,
            usage: centroids.iter().map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Returns the tokens each expert got since the model was loaded.
    pub(super) fn usage(&self) -> Vec<u64> {
        self.usage.iter().map(|tokens| tokens.load(Ordering::Relaxed)).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.experts.iter().map(Expert::bytes).sum::<usize>() + self.centroids.bytes()
    }

    pub(super) fn count(&self) -> usize {
        self.squared.len()
    }

    /// Chooses the experts of a chunk's tokens; `all` is memory for distances.
    pub(super) fn route(
        &self,
        chunk: &mut Chunk<'_>,
        all: &mut Vec<f32>,
        index: usize,
        helpers: usize,
        probe: &mut Probe<'_>,
    ) {
        let Chunk { normed, experts, weights, .. } = chunk;
        linear(normed, &self.centroids, None, helpers, all);
        distances(normed, &self.squared, all);
        probe.see(Stage::Distances(index), all, self.count());
        experts.clear();
        weights.clear();
        for row in all.chunks_exact(self.count()) {
            let (chosen, [far, near]) = two_largest(row);
            let second = (near - far).exp();
            experts.push(chosen);
            weights.push([1.0 / (1.0 + second), second / (1.0 + second)]);
        }
        probe.see_experts(Stage::Experts(index), experts);
        probe.see(Stage::ExpertWeights(index), weights.as_flattened(), ACTIVE_EXPERTS);
    }

    /// Writes the experts' answers to all chunks' tokens to `answers`
    /// `[slots, width]`; each token learns its slots. All tokens of an expert
    /// stand together: its weights are read once.
    pub(super) fn answer(&self, chunks: &mut [Chunk<'_>], answers: &mut Vec<f32>) {
        let mut counts = vec![0usize; self.count()];
        let routes = chunks.iter().flat_map(|chunk| chunk.experts.as_flattened());
        routes.for_each(|&expert| counts[expert as usize] += 1);
        let (mut next, mut total) = (Vec::with_capacity(counts.len()), 0);
        for (&count, usage) in counts.iter().zip(&self.usage) {
            usage.fetch_add(count as u64, Ordering::Relaxed);
            next.push(total);
            total += count;
        }
        let mut tokens = vec![(0u32, 0u32); total];
        for (number, chunk) in chunks.iter_mut().enumerate() {
            let place = |(row, chosen): (usize, &[u32; ACTIVE_EXPERTS])| {
                chosen.map(|expert| {
                    let slot = &mut next[expert as usize];
                    tokens[*slot] = (number as u32, row as u32);
                    *slot += 1;
                    *slot as u32 - 1
                })
            };
            chunk.slots.clear();
            chunk.slots.extend(chunk.experts.iter().enumerate().map(place));
        }
        answers.resize(total * self.width, 0.0);
        let (mut rest, mut tokens, mut work) =
            (answers.as_mut_slice(), tokens.as_slice(), Vec::with_capacity(self.count()));
        for (expert, count) in self.experts.iter().zip(counts) {
            let mut left = count;
            while left > 0 {
                let some = left.min(2 * BLOCK);
                let (out, others) = rest.split_at_mut(some * self.width);
                let (own, others_tokens) = tokens.split_at(some);
                work.push((expert, own, out));
                (rest, tokens, left) = (others, others_tokens, left - some);
            }
        }
        let chunks = &*chunks;
        let width = self.width;
        work.into_par_iter().with_max_len(1).for_each(|(expert, tokens, out)| {
            let token = |index: usize| {
                let (chunk, row) = tokens[index];
                &chunks[chunk as usize].normed[row as usize * width..][..width]
            };
            Scratch::lend(|scratch| {
                expert.answer(tokens.len(), token, &mut scratch.hidden, out);
            });
        });
    }
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
