//! What a batch has come to, brought to the host.

use super::{Batch, Summed};
use crate::coupling::{Coupling, Together};
use crate::cuda::gpu::{Gpu, Result};
use crate::cuda::launch::SUMS;
use crate::cuda::network::CudaNetwork;
use crate::network::Network;
use crate::rollout::cached::Job;
use crate::rollout::{Paths, Rolled, Summary};

impl Batch {
    /// Brings the results to the host, in the order of the jobs given.
    pub(in crate::cuda) fn results(
        &self,
        network: &CudaNetwork,
        gpu: &Gpu,
        jobs: &[Job<'_>],
    ) -> Result<Vec<Rolled>> {
        let mut results: Vec<(usize, Rolled)> = Vec::with_capacity(jobs.len());
        for summed in &self.summed {
            results.extend(self.summaries(gpu, summed)?);
        }
        let is_summed = |index: &usize| self.summed.iter().any(|it| it.members.contains(index));
        if results.len() < jobs.len() {
            let per_step = self.shape.points_of_step;
            let drawn = self.values.read(gpu, self.value_count)?;
            let points = self.points.read(gpu, self.value_count * per_step)?;
            let patch_size = network.config().patch_sizes[self.shape.patch_index];
            let couplings = self.couplings(gpu, patch_size)?;
            for index in (0..jobs.len()).filter(|index| !is_summed(index)) {
                let place = self.order[index];
                let own = self.paths_of(index, &jobs[place], &drawn, &points, &couplings);
                results.push((place, Rolled::Paths(own)));
            }
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, rolled)| rolled).collect())
    }

    /// Returns by variate how closely steps hang together; nothing where nobody asks.
    fn couplings(&self, gpu: &Gpu, patch_size: usize) -> Result<Vec<Coupling>> {
        if !self.looks_back() {
            return Ok(vec![Together::default().coupling(patch_size); self.looked.len()]);
        }
        let sums = self.together.read(gpu, self.looked.len() * SUMS)?;
        let (sums, _) = sums.as_chunks::<SUMS>();
        let coupling = |sums: &[f32; SUMS]| {
            let [places, squares, neighbours, of_neighbours, pairs, of_pairs] = sums.map(f64::from);
            Together { places, squares, neighbours, of_neighbours, pairs, of_pairs }
                .coupling(patch_size)
        };
        Ok(sums.iter().map(coupling).collect())
    }

    /// Returns the sample paths of a series.
    fn paths_of(
        &self,
        index: usize,
        job: &Job<'_>,
        drawn: &[f32],
        points: &[f32],
        couplings: &[Coupling],
    ) -> Paths {
        let (table, per_step) = (&self.table[index], self.shape.points_of_step);
        let mut own = Paths::new(job.paths, job.series, per_step);
        own.scalings.clone_from(&self.scalings[index]);
        own.coupled = job.coupled().map(|strata| {
            let first = table.context_head as usize;
            let variates = couplings.iter().copied().skip(first).take(job.series.variates());
            (strata, variates.collect())
        });
        let first = table.first_value as usize;
        let (length, steps) = (own.values.len(), own.steps);
        own.points.copy_from_slice(&points[first * per_step..(first + length) * per_step]);
        let drawn = drawn[first..first + length].chunks_exact(steps);
        let variates = self.scalings[index][..own.variates].iter().cycle();
        let places = own.values.chunks_exact_mut(steps);
        for ((places, drawn), scaling) in places.zip(drawn).zip(variates) {
            let values = drawn.iter().map(|&z| scaling.undo(f64::from(z)));
            places.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        }
        own
    }

    /// Returns what was summed up.
    fn summaries(&self, gpu: &Gpu, summed: &Summed) -> Result<Vec<(usize, Rolled)>> {
        let (count, levels) = (summed.count, summed.levels.len());
        let means = summed.means.read(gpu, count)?;
        let quantiles = summed.quantiles.read(gpu, count * levels)?;
        let counts = summed.counts.read(gpu, count)?;
        let mut first = 0;
        let mut all = Vec::with_capacity(summed.members.len());
        for &index in &summed.members {
            let own = &self.table[index];
            let (variates, horizon) = (own.variates as usize, own.horizon as usize);
            let scalings = &self.scalings[index];
            let mean = |variate: usize, at: usize| scalings[variate].undo(means[at]);
            let of = |variate: usize| first + variate * horizon..first + (variate + 1) * horizon;
            let level = |level: usize| -> Vec<Vec<f64>> {
                let value = |variate: usize, at: usize| {
                    scalings[variate].undo(f64::from(quantiles[at * levels + level]))
                };
                let row = |variate| of(variate).map(|at| value(variate, at)).collect();
                (0..variates).map(row).collect()
            };
            let left = counts[first..first + variates * horizon].iter().min().copied();
            let summary = Summary {
                mean: (0..variates)
                    .map(|variate| of(variate).map(|at| mean(variate, at)).collect())
                    .collect(),
                quantiles: (0..levels).map(level).collect(),
                broken: left.map_or(0, |left| {
                    let left = left as usize / self.shape.points_of_step.max(1);
                    (own.paths as usize).saturating_sub(left)
                }),
            };
            all.push((self.order[index], Rolled::Summary(summary)));
            first += variates * horizon;
        }
        Ok(all)
    }
}
