//! Sparse experts: tokens sorted by expert, one matrix product per expert.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, product};
use super::{dot, exp, numbers};

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
/// from `|x|² + |c|² - 2 x·c`, as the reference computes them; `products` are
/// `x·c`, `squared` are `|c|²`.
pub(crate) fn distances(products: &Tensor, x: &Tensor, squared: &[f32]) -> Result<Tensor> {
    products.apply_op2_no_bwd(x, &Distances { squared })
}

struct Distances<'a> {
    squared: &'a [f32],
}

impl CustomOp2 for Distances<'_> {
    fn name(&self) -> &'static str {
        "distances"
    }

    fn cpu_fwd(
        &self,
        products: &CpuStorage,
        layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = x_layout.shape().dims2()?;
        let mut out = numbers(products, layout)?.to_vec();
        let tokens = numbers(x, x_layout)?.chunks_exact(width);
        for (row, token) in out.chunks_exact_mut(self.squared.len()).zip(tokens) {
            let length = dot(token, token);
            for (distance, squared) in row.iter_mut().zip(self.squared) {
                *distance = (length + squared - 2.0 * *distance).max(0.0).sqrt();
            }
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// Returns, for each token `[tokens, width]`, the weighted sum of its two
/// experts' `(silu(x gate) * (x up)) down`. `gate_up` is
/// `[experts, width, gate then up]`, `down` `[experts, hidden, width]`.
pub(crate) fn grouped_experts(
    x: &Tensor,
    gate_up: &Tensor,
    down: &Tensor,
    slots: &Slots,
    weights: &[[f32; 2]],
) -> Result<Tensor> {
    x.apply_op3_no_bwd(gate_up, down, &GroupedExperts { slots, weights })
}

struct GroupedExperts<'a> {
    slots: &'a Slots,
    weights: &'a [[f32; 2]],
}

impl CustomOp3 for GroupedExperts<'_> {
    fn name(&self) -> &'static str {
        "grouped-experts"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        gate_up: &CpuStorage,
        gate_up_layout: &Layout,
        down: &CpuStorage,
        down_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let (_, hidden, _) = down_layout.shape().dims3()?;
        let x = numbers(x, layout)?;
        let (gate_up, down) = (numbers(gate_up, gate_up_layout)?, numbers(down, down_layout)?);
        let slots = self.slots;
        let mut answers = vec![0f32; slots.tokens.len() * width];
        let mut work = Vec::with_capacity(slots.ranges.len());
        let (mut rest, mut start) = (answers.as_mut_slice(), 0);
        for &(expert, count) in &slots.ranges {
            let (own, others) = rest.split_at_mut(count * width);
            work.push((expert, &slots.tokens[start..start + count], own));
            (rest, start) = (others, start + count);
        }
        work.into_par_iter().for_each_init(Scratch::default, |scratch, (expert, tokens, out)| {
            let gate_up = &gate_up[expert * width * 2 * hidden..][..width * 2 * hidden];
            let down = &down[expert * hidden * width..][..hidden * width];
            scratch.answer(x, tokens, gate_up, down, out);
        });
        let row = |slot: u32| &answers[slot as usize * width..(slot as usize + 1) * width];
        let mut out = Vec::with_capacity(tokens * width);
        for (&[first, second], &[a, b]) in slots.of_token.iter().zip(self.weights) {
            out.extend(row(first).iter().zip(row(second)).map(|(x, y)| a * x + b * y));
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }
}

/// Memory that one thread uses again for each of its experts.
#[derive(Default)]
struct Scratch {
    gathered: Vec<f32>,
    projected: Vec<f32>,
    hidden: Vec<f32>,
}

impl Scratch {
    /// Writes one expert's answers to `tokens` (rows of `x`).
    fn answer(
        &mut self,
        x: &[f32],
        tokens: &[u32],
        gate_up: &[f32],
        down: &[f32],
        out: &mut [f32],
    ) {
        let count = tokens.len();
        let width = out.len() / count;
        let hidden = down.len() / width;
        self.gathered.clear();
        for &token in tokens {
            self.gathered.extend_from_slice(&x[token as usize * width..][..width]);
        }
        self.projected.resize(count * 2 * hidden, 0.0);
        product(
            Matrix::new(&self.gathered, count, width, width),
            Matrix::new(gate_up, width, 2 * hidden, 2 * hidden),
            &mut self.projected,
            2 * hidden,
            false,
        );
        self.hidden.resize(count * hidden, 0.0);
        for (row, out) in
            self.projected.chunks_exact(2 * hidden).zip(self.hidden.chunks_exact_mut(hidden))
        {
            let (gate, up) = row.split_at(hidden);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate / (1.0 + exp(-gate)) * up;
            }
        }
        let hidden_rows = Matrix::new(&self.hidden, count, hidden, hidden);
        product(hidden_rows, Matrix::new(down, hidden, width, width), out, width, false);
    }
}
