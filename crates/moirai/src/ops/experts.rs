//! The experts' arithmetic.

use super::dense::Store;
use super::kernel::{PANEL, Take, multiply};
use super::packed::Packed;
use super::{dot, exp, vectorized};
use crate::precision::Precision;

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

    /// Writes the answers to `count` tokens; `hidden` is memory to work in.
    pub(crate) fn answer<'x>(
        &self,
        count: usize,
        token: impl Fn(usize) -> &'x [f32],
        hidden: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (width, units) = (self.gate_up.inner(), self.down.inner());
        hidden.resize(count * units, 0.0);
        multiply(count, token, &self.gate_up, &mut Gate { hidden, units });
        let row = |token: usize| &hidden[token * units..(token + 1) * units];
        let mut store = Store { out, stride: width, columns: width, bias: None };
        multiply(count, row, &self.down, &mut store);
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
        let hidden = &mut self.hidden[row * self.units..(row + 1) * self.units][first..];
        match hidden.first_chunk_mut() {
            Some(hidden) => *hidden = answers,
            None => hidden.copy_from_slice(&answers[..hidden.len()]),
        }
    }
}

/// Turns products `x·c` of tokens and centroids `[tokens, experts]` into their
/// Euclidean distances, from `|x|² + |c|² - 2 x·c` as the reference computes
/// them; `squared` are the `|c|²`.
pub(crate) fn distances(x: &[f32], squared: &[f32], products: &mut [f32]) {
    let experts = squared.len();
    let width = x.len() * experts / products.len().max(1);
    vectorized(|| {
        for (row, token) in products.chunks_exact_mut(experts).zip(x.chunks_exact(width)) {
            let length = dot(token, token);
            for (distance, squared) in row.iter_mut().zip(squared) {
                *distance = (length + squared - 2.0 * *distance).max(0.0).sqrt();
            }
        }
    });
}

/// Writes `a * x + b * y` to `out`.
pub(crate) fn blend([a, b]: [f32; 2], x: &[f32], y: &[f32], out: &mut [f32]) {
    vectorized(|| {
        for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = a * x + b * y;
        }
    });
}
