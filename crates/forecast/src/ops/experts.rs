//! Sparse experts: tokens sorted by expert, one matrix product per expert.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::dense::{Store, rows_at_once};
use super::kernel::{PANEL, Take, multiply};
use super::packed::{Packed, Precision};
use super::{dot, exp, numbers, vectorized};

/// Hidden units of which a panel holds the gates and the values.
const HALF: usize = PANEL / 2;

/// One expert's weights: `fc2(silu(fc_gate(x)) * fc1(x))`.
#[derive(Debug)]
pub(crate) struct Expert {
    /// `fc_gate` and `fc1`, in turns of half a panel each.
    gate_up: Packed,
    down: Packed,
}

impl Expert {
    /// Packs the three matrices, each `[outputs, inputs]`; `hidden` is the
    /// width between them.
    pub(crate) fn new(
        [gate, up, down]: [&[f32]; 3],
        width: usize,
        hidden: usize,
        precision: Precision,
    ) -> Self {
        let zeros = vec![0f32; width];
        let mut gate_up: Vec<&[f32]> = Vec::with_capacity(2 * hidden.next_multiple_of(HALF));
        for first in (0..hidden).step_by(HALF) {
            for weights in [gate, up] {
                gate_up.extend(
                    (first..first + HALF).map(|unit| {
                        weights.get(unit * width..(unit + 1) * width).unwrap_or(&zeros)
                    }),
                );
            }
        }
        let down: Vec<&[f32]> = down.chunks_exact(hidden).collect();
        Self {
            gate_up: Packed::new(&gate_up, width, precision),
            down: Packed::new(&down, hidden, precision),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.gate_up.bytes() + self.down.bytes()
    }

    fn hidden(&self) -> usize {
        self.down.inner()
    }

    /// Writes the answers to `tokens` (rows of `x`).
    fn answer(&self, x: &[f32], tokens: &[u32], hidden: &mut Vec<f32>, out: &mut [f32]) {
        let (width, units) = (self.gate_up.inner(), self.hidden());
        hidden.resize(tokens.len() * units, 0.0);
        let token = |slot: usize| &x[tokens[slot] as usize * width..][..width];
        multiply(tokens.len(), token, &self.gate_up, &mut Gate { hidden, units });
        let row = |slot: usize| &hidden[slot * units..(slot + 1) * units];
        let mut store = Store { out, stride: width, columns: width, bias: None };
        multiply(tokens.len(), row, &self.down, &mut store);
    }
}

/// Writes `silu(gate) * value`.
struct Gate<'a> {
    hidden: &'a mut [f32],
    units: usize,
}

impl Take for Gate<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, sums: &[f32; PANEL]) {
        let first = panel * HALF;
        let (gates, values) = sums.split_at(HALF);
        let mut answers = [0f32; HALF];
        for ((answer, gate), value) in answers.iter_mut().zip(gates).zip(values) {
            *answer = gate / (1.0 + exp(-gate)) * value;
        }
        let width = HALF.min(self.units - first);
        self.hidden[row * self.units + first..][..width].copy_from_slice(&answers[..width]);
    }
}

/// Tokens sorted by expert, so that each expert multiplies one matrix.
pub(crate) struct Slots {
    /// The token in each slot.
    tokens: Vec<u32>,
    /// Each token's two slots, in the order of its experts.
    of_token: Vec<[u32; 2]>,
    /// Experts with work: expert and slots.
    ranges: Vec<(usize, usize)>,
}

impl Slots {
    /// Sorts the tokens; `routes` names each one's two experts.
    pub(crate) fn new(routes: &[[u32; 2]], experts: usize) -> Self {
        let mut counts = vec![0usize; experts];
        routes.as_flattened().iter().for_each(|&expert| counts[expert as usize] += 1);
        let (mut ranges, mut next, mut start) = (Vec::new(), Vec::with_capacity(experts), 0);
        for (expert, &count) in counts.iter().enumerate() {
            next.push(start);
            if count > 0 {
                ranges.push((expert, count));
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

    /// Returns the experts with work and how many tokens each has.
    pub(crate) fn ranges(&self) -> &[(usize, usize)] {
        &self.ranges
    }
}

/// Returns the Euclidean distances `[tokens, experts]` of tokens to centroids
/// from `|x|² + |c|² - 2 x·c`, as the reference computes them; `squared` are
/// the `|c|²`.
pub(crate) fn distances(x: &Tensor, centroids: &Packed, squared: &[f32]) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Distances { centroids, squared })
}

struct Distances<'a> {
    centroids: &'a Packed,
    squared: &'a [f32],
}

impl CustomOp1 for Distances<'_> {
    fn name(&self) -> &'static str {
        "distances"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let experts = self.squared.len();
        let x = numbers(x, layout)?;
        let mut out = vec![0f32; tokens * experts];
        let at_once = rows_at_once(tokens, width * experts);
        out.par_chunks_mut(at_once * experts).zip(x.par_chunks(at_once * width)).for_each(
            |(out, x)| {
                let mut store = Store { out, stride: experts, columns: experts, bias: None };
                let token = |token: usize| &x[token * width..(token + 1) * width];
                multiply(x.len() / width, token, self.centroids, &mut store);
                vectorized(|| {
                    for (row, token) in out.chunks_exact_mut(experts).zip(x.chunks_exact(width)) {
                        let length = dot(token, token);
                        for (distance, squared) in row.iter_mut().zip(self.squared) {
                            *distance = (length + squared - 2.0 * *distance).max(0.0).sqrt();
                        }
                    }
                });
            },
        );
        Ok((CpuStorage::F32(out), (tokens, experts).into()))
    }
}

/// Returns, for each token `[tokens, width]`, the weighted sum of its two
/// experts' answers.
pub(crate) fn grouped_experts(
    x: &Tensor,
    experts: &[Expert],
    slots: &Slots,
    weights: &[[f32; 2]],
) -> Result<Tensor> {
    x.apply_op1_no_bwd(&GroupedExperts { experts, slots, weights })
}

struct GroupedExperts<'a> {
    experts: &'a [Expert],
    slots: &'a Slots,
    weights: &'a [[f32; 2]],
}

impl CustomOp1 for GroupedExperts<'_> {
    fn name(&self) -> &'static str {
        "grouped-experts"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let x = numbers(x, layout)?;
        let slots = self.slots;
        let mut answers = vec![0f32; slots.tokens.len() * width];
        let mut work = Vec::with_capacity(slots.ranges.len());
        let (mut rest, mut start) = (answers.as_mut_slice(), 0);
        for &(expert, count) in &slots.ranges {
            let (own, others) = rest.split_at_mut(count * width);
            work.push((&self.experts[expert], &slots.tokens[start..start + count], own));
            (rest, start) = (others, start + count);
        }
        work.into_par_iter().for_each_init(Vec::new, |hidden, (expert, tokens, out)| {
            expert.answer(x, tokens, hidden, out);
        });
        let row = |slot: u32| &answers[slot as usize * width..(slot as usize + 1) * width];
        let mut out = vec![0f32; tokens * width];
        vectorized(|| {
            let routes = slots.of_token.iter().zip(self.weights);
            for (out, (&[first, second], &[a, b])) in out.chunks_exact_mut(width).zip(routes) {
                for ((out, x), y) in out.iter_mut().zip(row(first)).zip(row(second)) {
                    *out = a * x + b * y;
                }
            }
        });
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}
