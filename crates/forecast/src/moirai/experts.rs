//! The sparse feed-forward part of a layer.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{ACTIVE_EXPERTS, Probe, Stage};
use crate::checkpoint::{Stored, Weights, common_precision};
use crate::config::Config;
use crate::ops::{Expert, Packed, Precision, Slots, distances, grouped_experts};
use crate::provider::LoadError;

/// Sparse feed-forward: each token goes to the two experts whose centroids
/// are FARTHEST from it. That is how the published weights were trained
/// (uni2ts issue 211); nearest ones would be another model.
#[derive(Debug)]
pub(super) struct Experts {
    centroids: Packed,
    /// Squared lengths of the centroids.
    squared: Vec<f32>,
    experts: Vec<Expert>,
    parameters_of_one: u64,
    /// Tokens each expert got since the model was loaded.
    usage: Vec<AtomicU64>,
}

impl Experts {
    pub(super) fn load(
        prefix: &str,
        config: &Config,
        centroids: &Tensor,
        weights: &mut Weights<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (width, hidden) = (config.d_model, config.d_ff);
        let count = centroids.dim(0)?;
        let mut stored = Vec::with_capacity(count);
        for expert in 0..count {
            let mut take = |name: &str, shape: [usize; 2]| {
                weights.take(&format!("{prefix}.experts.{expert}.{name}.weight"), &shape)
            };
            stored.push([
                take("fc_gate", [hidden, width])?,
                take("fc1", [hidden, width])?,
                take("fc2", [width, hidden])?,
            ]);
        }
        let pack = |stored: &[Stored<'_>; 3]| -> std::result::Result<Expert, LoadError> {
            let [gate, up, down] = stored;
            let (gate, up, down) = (gate.numbers()?, up.numbers()?, down.numbers()?);
            Ok(Expert::new([&gate, &up, &down], width, hidden, common_precision(stored)))
        };
        let centroid_numbers = centroids.flatten_all()?.to_vec1::<f32>()?;
        let rows: Vec<&[f32]> = centroid_numbers.chunks_exact(width).collect();
        Ok(Self {
            squared: centroids.sqr()?.sum(1)?.to_vec1()?,
            centroids: Packed::new(&rows, width, Precision::F32),
            experts: stored.par_iter().map(pack).collect::<std::result::Result<_, _>>()?,
            parameters_of_one: 3 * (width * hidden) as u64,
            usage: (0..count).map(|_| AtomicU64::new(0)).collect(),
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

    pub(super) fn parameters_of_one(&self) -> u64 {
        self.parameters_of_one
    }

    pub(super) fn forward(
        &self,
        x: &Tensor,
        index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Tensor> {
        let routes = self.route(x, index, probe)?;
        let slots = Slots::new(&routes.experts, self.count());
        for &(expert, tokens) in slots.ranges() {
            self.usage[expert].fetch_add(tokens as u64, Ordering::Relaxed);
        }
        grouped_experts(x, &self.experts, &slots, &routes.weights)
    }

    /// Chooses the experts of each token.
    fn route(&self, x: &Tensor, index: usize, probe: &mut Probe<'_>) -> Result<Routes> {
        let distances = distances(x, &self.centroids, &self.squared)?;
        probe.see(Stage::Distances(index), &distances);
        let distances = distances.flatten_all()?.to_vec1::<f32>()?;
        let tokens = distances.len() / self.count();
        let mut routes =
            Routes { experts: Vec::with_capacity(tokens), weights: Vec::with_capacity(tokens) };
        for row in distances.chunks_exact(self.count()) {
            let (experts, [far, near]) = two_largest(row);
            let second = (near - far).exp();
            routes.experts.push(experts);
            routes.weights.push([1.0 / (1.0 + second), second / (1.0 + second)]);
        }
        if probe.0.is_some() {
            let (experts, weights) = (routes.experts.concat(), routes.weights.concat());
            let experts = Tensor::from_vec(experts, (tokens, ACTIVE_EXPERTS), x.device())?;
            probe.see(Stage::Experts(index), &experts);
            let weights = Tensor::from_vec(weights, (tokens, ACTIVE_EXPERTS), x.device())?;
            probe.see(Stage::ExpertWeights(index), &weights);
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
