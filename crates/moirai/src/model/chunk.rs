//! Tokens that one thread takes through a layer.

use std::cell::RefCell;

use crate::ops::{BLOCK, PackedMemory, Scores, add_to, blend};
use crate::rows::{Rotary, RowGroup, Rows};

/// Some of a batch's tokens with everything a layer needs of them, so that
/// between two meetings with the experts they stay in the cache of one core.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(super) past: Past<'a>,
    pub(super) rotary: Rotary,
    /// The tokens that leave the last layer; `None` is all.
    pub(super) wanted: Option<Vec<usize>>,
    /// The residual stream, `[tokens, width]`.
    pub(super) x: Vec<f32>,
    /// What the experts are asked, `[tokens, width]`.
    pub(super) normed: Vec<f32>,
    /// Each token's experts, the farther first, and their weights.
    pub(super) experts: Vec<[u32; 2]>,
    pub(super) weights: Vec<[f32; 2]>,
    /// Where each token's two answers stand.
    pub(super) slots: Vec<[u32; 2]>,
}

/// What a chunk needs only between two meetings with the experts, and an
/// expert within one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Queries, keys and values, then the attention's output.
    pub(super) projected: Vec<f32>,
    pub(super) mixed: Vec<f32>,
    /// Queries of the wanted tokens, where they alone are needed.
    pub(super) queries: Vec<f32>,
    pub(super) distances: Vec<f32>,
    pub(super) scores: Scores,
    /// An expert's hidden units.
    pub(super) hidden: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Lends memory that this thread uses again for each chunk. It is taken
    /// away meanwhile: a thread that waits for helpers may begin another chunk.
    pub(super) fn lend<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        let mut scratch = SCRATCH.take();
        let result = work(&mut scratch);
        SCRATCH.set(scratch);
        result
    }
}

/// What the tokens attend to.
#[derive(Debug)]
pub(super) enum Past<'a> {
    /// Each to its own row.
    Rows {
        rows: Vec<&'a RowGroup>,
        /// By row, then by layer; `None` if nobody will ask.
        kept: Option<Vec<Vec<PackedMemory>>>,
    },
    /// To their sample path.
    Path(PathMemory<'a>),
}

/// What some sample paths of one series attend to.
#[derive(Debug)]
pub(crate) struct PathMemory<'a> {
    /// By layer: the context's, shared by all paths of the series.
    pub(super) prefix: &'a [PackedMemory],
    /// By layer: the paths' own keys and values, `[steps, rows, 2 * width]`.
    pub(super) suffix: Vec<Vec<f32>>,
    /// Variates of the prefix's tokens and of a path's tokens in one step;
    /// `None` with a single variate.
    pub(super) variates: Option<(Vec<u32>, Vec<u32>)>,
    /// Tokens of one path in one step.
    pub(super) tokens: usize,
    /// Tokens of all paths in one step.
    pub(super) rows: usize,
}

impl<'a> PathMemory<'a> {
    /// `prefix` is by layer; `prefix_variates` and `step_variates` tell the
    /// variates of the context's tokens and of a path's tokens in one step;
    /// there will be `steps` of `width` numbers a token.
    pub(crate) fn new(
        prefix: &'a [PackedMemory],
        prefix_variates: &[u32],
        step_variates: &[u32],
        paths: usize,
        steps: usize,
        width: usize,
    ) -> Self {
        let rows = paths * step_variates.len();
        let own = || Vec::with_capacity(steps * rows * 2 * width);
        let first = step_variates.first();
        let is_single = prefix_variates.iter().chain(step_variates).all(|v| Some(v) == first);
        Self {
            prefix,
            suffix: prefix.iter().map(|_| own()).collect(),
            variates: (!is_single).then(|| (prefix_variates.to_vec(), step_variates.to_vec())),
            tokens: step_variates.len(),
            rows,
        }
    }
}

impl<'a> Chunk<'a> {
    fn new(past: Past<'a>, rotary: Rotary, wanted: Option<Vec<usize>>) -> Self {
        Self {
            past,
            rotary,
            wanted,
            x: Vec::new(),
            normed: Vec::new(),
            experts: Vec::new(),
            weights: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Returns the size of chunks in which `threads` threads share `tokens`
    /// tokens: what fits the cache near a core, and something for everybody.
    pub(crate) fn size(tokens: usize, threads: usize) -> usize {
        tokens.div_ceil(threads.max(1)).clamp(1, BLOCK)
    }

    /// Returns the newest tokens of sample paths; before each step
    /// [`step`](Self::step) says when it is.
    pub(crate) fn of_paths(memory: PathMemory<'a>) -> Self {
        Self::new(Past::Path(memory), Rotary::default(), None)
    }

    /// Sets the time of the next tokens, and which of them leave the model
    /// (`None` is all).
    pub(crate) fn step(&mut self, rotary: Rotary, wanted: Option<Vec<usize>>) {
        (self.rotary, self.wanted) = (rotary, wanted);
    }

    /// Cuts rows into chunks of about `size` tokens, all in order. `wanted` are
    /// the tokens (ascending) that leave the model; `None` is all. With `keep`
    /// the rows' keys and values can be had afterwards.
    pub(crate) fn of_rows(
        rows: &'a Rows,
        head_dim: usize,
        wanted: Option<&[u32]>,
        keep: bool,
        size: usize,
    ) -> Vec<Self> {
        let (mut chunks, mut some, mut tokens, mut start) = (Vec::new(), Vec::new(), 0, 0);
        let mut left = wanted;
        let mut finish = |some: &mut Vec<&'a RowGroup>, tokens: usize, start: usize| {
            let times = some.iter().flat_map(|row| row.times.iter().copied());
            let rotary = Rotary::new(&times.collect::<Vec<_>>(), head_dim);
            let own = left.map(|all| {
                let end = (start + tokens) as u32;
                let (own, others) = all.split_at(all.partition_point(|&token| token < end));
                left = Some(others);
                own.iter().map(|&token| token as usize - start).collect()
            });
            let kept = keep.then(|| some.iter().map(|_| Vec::new()).collect());
            chunks.push(Self::new(Past::Rows { rows: std::mem::take(some), kept }, rotary, own));
        };
        for group in &rows.groups {
            for _ in 0..group.rows {
                if tokens > 0 && tokens + group.length > size {
                    finish(&mut some, tokens, start);
                    (start, tokens) = (start + tokens, 0);
                }
                some.push(group);
                tokens += group.length;
            }
        }
        if tokens > 0 {
            finish(&mut some, tokens, start);
        }
        chunks
    }

    /// Returns the tokens.
    pub(super) fn tokens(&self) -> usize {
        match &self.past {
            Past::Rows { rows, .. } => rows.iter().map(|row| row.length).sum(),
            Past::Path(memory) => memory.rows,
        }
    }

    /// Returns the rows' keys and values, by row and then by layer.
    pub(crate) fn into_kept(self) -> Vec<Vec<PackedMemory>> {
        match self.past {
            Past::Rows { kept, .. } => kept.unwrap_or_default(),
            Past::Path(_) => Vec::new(),
        }
    }

    /// Leaves only the wanted tokens in the residual stream.
    pub(super) fn keep_wanted(&mut self, width: usize) {
        if let Some(wanted) = &self.wanted {
            keep(&mut self.x, wanted, width);
        }
    }

    /// Adds the experts' answers, blended, to the residual stream; `mixed`
    /// gets what is added.
    pub(super) fn take_answers(&mut self, answers: &[f32], mixed: &mut Vec<f32>, width: usize) {
        mixed.resize(self.slots.len() * width, 0.0);
        let answer = |slot: u32| &answers[slot as usize * width..][..width];
        let routes = self.slots.iter().zip(&self.weights);
        for (out, (&[first, second], &weights)) in mixed.chunks_exact_mut(width).zip(routes) {
            blend(weights, answer(first), answer(second), out);
        }
        add_to(&mut self.x, mixed);
    }
}

/// Leaves only some rows of a matrix, whose numbers ascend.
pub(super) fn keep(matrix: &mut Vec<f32>, rows: &[usize], width: usize) {
    for (to, &from) in rows.iter().enumerate() {
        matrix.copy_within(from * width..(from + 1) * width, to * width);
    }
    matrix.truncate(rows.len() * width);
}
