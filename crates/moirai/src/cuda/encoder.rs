//! The layers, over rows of tokens or over the newest tokens of sample paths.

use super::buffer::{Buffer, Pointer};
use super::gpu::{Gpu, Result};
use super::launch::{
    Attention, Finish, Heads, Norm, Operand, Pair, Place, Product, Projection, Rotate, Route, Span,
    attend, expert_tile_rows, experts, norm, place, project, rotate, route,
};
use super::weights::{Layer, Network, PatchLayers};
use crate::config::Config;
use crate::model::{Probe, Stage};
use crate::precision::Precision;

/// Experts that answer a token.
const ACTIVE_EXPERTS: usize = 2;

/// Returns the bytes of an operand.
pub(super) fn size_of_operand(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 4,
        Precision::F16 | Precision::Bf16 => 2,
    }
}

/// Keys and values of tokens, `[tokens, width]` for each layer.
#[derive(Debug)]
pub(super) struct Memory {
    /// One, if layers need not keep theirs.
    layers: Vec<[Buffer<u8>; 2]>,
}

impl Memory {
    /// Makes room for `layers` layers of so many numbers.
    pub(super) fn new(
        gpu: &Gpu,
        layers: usize,
        numbers: usize,
        operands: Precision,
    ) -> Result<Self> {
        let bytes = numbers * size_of_operand(operands);
        let layer = |_| Ok([Buffer::new(gpu, bytes)?, Buffer::new(gpu, bytes)?]);
        Ok(Self { layers: (0..layers).map(layer).collect::<Result<_>>()? })
    }

    /// Returns a layer's keys and values.
    fn of(&self, layer: usize) -> [Pointer<Operand>; 2] {
        let layer = &self.layers[layer.min(self.layers.len() - 1)];
        [layer[0].pointer(), layer[1].pointer()]
    }
}

/// What tokens attend to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attended<'a> {
    pub(super) spans: Pointer<Span>,
    pub(super) tiles: Pointer<Pair>,
    pub(super) tile_count: usize,
    /// Of each token, before `now` is added.
    pub(super) time: Pointer<u32>,
    pub(super) now: usize,
    pub(super) own_variate: Pointer<u32>,
    /// Keys and values that queries share, and what is known of those tokens.
    pub(super) shared: &'a Memory,
    pub(super) variate: Pointer<u32>,
    /// Of rows that see but what is of their time or before, and of their
    /// sample; null where all shared keys are seen.
    pub(super) sample: Pointer<u32>,
    pub(super) shared_time: Pointer<u32>,
    /// Where paths keep their own, and how much of it.
    pub(super) own: Option<Own<'a>>,
}

/// Sample paths' own keys and values, `[steps, rows, width]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) memory: &'a Memory,
    /// Rows of one step.
    pub(super) rows: usize,
    /// Steps with the newest one.
    pub(super) steps: usize,
}

/// Memory to work in, for so many tokens at once.
#[derive(Debug)]
pub(super) struct Work {
    /// Patches, `[rows, padded patch]`.
    pub(super) input: Buffer<f32>,
    x: Buffer<f32>,
    normed: Buffer<u8>,
    /// With f32 alone.
    projected: Buffer<f32>,
    queries: Buffer<u8>,
    chosen: Buffer<u32>,
    pair_weight: Buffer<f32>,
    rank: Buffer<u32>,
    perm: Buffer<u32>,
    counts: Buffer<u32>,
    offsets: Buffer<u32>,
    tile_expert: Buffer<u32>,
    tile_row: Buffer<u32>,
    hidden: Buffer<u8>,
    answers: Buffer<u8>,
    encoded: Buffer<f32>,
    /// The head's rows.
    pub(super) head: Buffer<f32>,
    distances: Option<Buffer<f32>>,
}

impl Work {
    /// Returns the bytes that a token takes.
    pub(super) fn bytes_of_row(config: &Config, operands: Precision) -> usize {
        let (width, size) = (config.d_model, size_of_operand(operands));
        let outputs = config.output.width() * config.patch_width;
        width * (4 + 12 + 4 + 4 * size)
            + 2 * size * (config.d_ff + 32)
            + 4 * (outputs + config.patch_width + 32)
            + 64
    }
}

/// A network with its card: what runs the layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoder<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) config: &'a Config,
    pub(super) network: &'a Network,
}

impl Encoder<'_> {
    fn projection(&self, patch_index: usize) -> &PatchLayers {
        &self.network.projections[patch_index]
    }

    /// Returns the length of a patch as the first layers take it.
    pub(super) fn padded_patch(&self) -> usize {
        self.projection(0).in_proj.inner
    }

    /// Returns the length of a head's row.
    pub(super) fn head_width(&self) -> usize {
        self.projection(0).head.columns
    }

    /// Makes room for `rows` tokens, `wanted` of which leave the head.
    pub(super) fn work(&self, rows: usize, wanted: usize, is_seen: bool) -> Result<Work> {
        let (gpu, width, operands) = (self.gpu, self.config.d_model, self.network.operands);
        let experts = self.network.experts;
        let hidden = self.network.layers.first().map_or(0, |layer| layer.experts.hidden);
        let (pairs, size) = (ACTIVE_EXPERTS * rows, size_of_operand(operands));
        // With the smallest tiles there are the most.
        let tiles = pairs.div_ceil(32) + experts;
        Ok(Work {
            input: Buffer::new(gpu, rows * self.padded_patch())?,
            x: Buffer::new(gpu, rows * width)?,
            normed: Buffer::new(gpu, rows * width * size)?,
            projected: Buffer::new(
                gpu,
                if operands == Precision::F32 { rows * 3 * width } else { 0 },
            )?,
            queries: Buffer::new(gpu, rows * width * size)?,
            chosen: Buffer::new(gpu, pairs)?,
            pair_weight: Buffer::new(gpu, pairs)?,
            rank: Buffer::new(gpu, pairs)?,
            perm: Buffer::new(gpu, pairs)?,
            counts: Buffer::new(gpu, experts)?,
            offsets: Buffer::new(gpu, experts + 1)?,
            tile_expert: Buffer::new(gpu, tiles)?,
            tile_row: Buffer::new(gpu, tiles)?,
            hidden: Buffer::new(gpu, pairs * hidden * size)?,
            answers: Buffer::new(gpu, pairs * width * size)?,
            encoded: Buffer::new(gpu, wanted * width)?,
            head: Buffer::new(gpu, wanted * self.head_width())?,
            distances: is_seen.then(|| Buffer::new(gpu, rows * experts)).transpose()?,
        })
    }

    /// Patches to tokens.
    pub(super) fn embed(
        &self,
        patch_index: usize,
        work: &Work,
        rows: usize,
        probe: &mut Probe<'_>,
    ) -> Result<()> {
        let (gpu, width) = (self.gpu, self.config.d_model);
        let projection = self.projection(patch_index);
        let (input, x) = (work.input.pointer().cast(), work.x.pointer().cast());
        let hidden = work.normed.pointer();
        let finish = Finish::Silu(self.network.operands);
        projection.in_proj.forward(gpu, rows, input, finish, hidden, width)?;
        projection.res_proj.forward(gpu, rows, input, Finish::Wide, x, width)?;
        self.see(probe, Stage::ResidualProjection, &work.x, rows)?;
        projection.feat_proj.forward(gpu, rows, hidden, Finish::Add, x, width)?;
        self.see(probe, Stage::EncoderIn, &work.x, rows)
    }

    /// Puts tokens where [`embed`](Self::embed) would.
    pub(super) fn set_tokens(&self, work: &mut Work, tokens: &[f32]) -> Result<()> {
        work.x.write(self.gpu, tokens)
    }

    /// Returns the tokens.
    pub(super) fn tokens(&self, work: &Work, rows: usize) -> Result<Vec<f32>> {
        work.x.read(self.gpu, rows * self.config.d_model)
    }

    /// Takes tokens through all layers; those of `wanted` (null is the first
    /// `count`) leave the last norm.
    pub(super) fn encode(
        &self,
        work: &Work,
        rows: usize,
        attended: Attended<'_>,
        (wanted, count): (Pointer<u32>, usize),
        probe: &mut Probe<'_>,
    ) -> Result<()> {
        let (gpu, width) = (self.gpu, self.config.d_model);
        for (index, layer) in self.network.layers.iter().enumerate() {
            self.norm_first(work, rows, index, probe)?;
            self.attend(work, rows, (index, layer), attended, probe)?;
            self.answer(work, rows, (index, layer), probe)?;
        }
        let last = Norm {
            x: work.x.pointer(),
            answers: work.answers.pointer(),
            weight: self.network.norm.pointer(),
            rows_of: wanted,
            out: work.encoded.pointer().cast(),
            counts: Pointer::NULL,
            rows: count as i32,
            width: width as i32,
            experts: 0,
        };
        let before = self.before(probe, work, rows)?;
        norm(gpu, self.network.operands, true, &last)?;
        if let (Some(before), Some(index)) = (before, self.network.layers.len().checked_sub(1)) {
            self.see_added(probe, Stage::FeedForward(index), &before, work, rows)?;
            self.see(probe, Stage::LayerOut(index), &work.x, rows)?;
            self.see(probe, Stage::EncoderOut, &work.encoded, count)?;
        }
        Ok(())
    }

    /// The head's rows of what left the last norm.
    pub(super) fn head(&self, patch_index: usize, work: &Work, count: usize) -> Result<()> {
        let (encoded, head) = (work.encoded.pointer().cast(), work.head.pointer().cast());
        let stride = self.head_width();
        self.projection(patch_index).head.forward(
            self.gpu,
            count,
            encoded,
            Finish::Wide,
            head,
            stride,
        )
    }

    /// Puts rows where the last norm would.
    pub(super) fn set_encoded(&self, work: &mut Work, encoded: &[f32]) -> Result<()> {
        work.encoded.write(self.gpu, encoded)
    }

    /// Returns what left the last norm.
    pub(super) fn encoded(&self, work: &Work, count: usize) -> Result<Vec<f32>> {
        work.encoded.read(self.gpu, count * self.config.d_model)
    }

    /// Takes in the answers of the layer before, and norms.
    fn norm_first(
        &self,
        work: &Work,
        rows: usize,
        index: usize,
        probe: &mut Probe<'_>,
    ) -> Result<()> {
        let before = self.before(probe, work, rows)?;
        let layer = &self.network.layers[index];
        let first = Norm {
            x: work.x.pointer(),
            answers: if index == 0 { Pointer::NULL } else { work.answers.pointer() },
            weight: layer.norm1.pointer(),
            rows_of: Pointer::NULL,
            out: work.normed.pointer(),
            counts: work.counts.pointer(),
            rows: rows as i32,
            width: self.config.d_model as i32,
            experts: layer.experts.count as i32,
        };
        norm(self.gpu, self.network.operands, false, &first)?;
        if let (Some(before), Some(last)) = (before, index.checked_sub(1)) {
            self.see_added(probe, Stage::FeedForward(last), &before, work, rows)?;
            self.see(probe, Stage::LayerOut(last), &work.x, rows)?;
        }
        self.see_operands(probe, Stage::Norm1(index), &work.normed, rows)
    }

    fn attend(
        &self,
        work: &Work,
        rows: usize,
        (index, layer): (usize, &Layer),
        attended: Attended<'_>,
        probe: &mut Probe<'_>,
    ) -> Result<()> {
        let (gpu, width, operands) = (self.gpu, self.config.d_model, self.network.operands);
        let normed = work.normed.pointer();
        let [shared_keys, shared_values] = attended.shared.of(index);
        let own = attended.own.map(|own| (own, own.memory.of(index)));
        let [keys, values] = match own {
            None => [shared_keys, shared_values],
            Some((own, memory)) => {
                let at = (own.steps - 1) * own.rows * width * size_of_operand(operands);
                memory.map(|pointer| pointer.at(at))
            }
        };
        let heads = Heads {
            query_weight: layer.query_norm.pointer(),
            key_weight: layer.key_norm.pointer(),
            turns: self.network.turns.pointer(),
            time: attended.time,
            queries: work.queries.pointer(),
            keys,
            values,
            width: width as i32,
            now: attended.now as i32,
            by_lane: i32::from(own.is_some()),
        };
        if operands == Precision::F32 {
            let projected = work.projected.pointer();
            layer.qkv.forward(gpu, rows, normed, Finish::Wide, projected.cast(), 3 * width)?;
            rotate(gpu, operands, &Rotate { projected, heads, rows: rows as i32 })?;
        } else {
            let product = layer.qkv.product(rows, normed, Pointer::NULL, 0);
            project(gpu, operands, &Projection { product, heads })?;
        }
        let [own_keys, own_values] = own.map_or([Pointer::NULL; 2], |(_, memory)| memory);
        let attention = Attention {
            queries: work.queries.pointer(),
            keys: shared_keys,
            values: shared_values,
            spans: attended.spans,
            tiles: attended.tiles,
            time: attended.shared_time,
            sample: attended.sample,
            variate: attended.variate,
            own_variate: attended.own_variate,
            own_keys,
            own_values,
            bias: layer.bias.pointer(),
            out: normed,
            width: width as i32,
            steps: own.map_or(0, |(own, _)| own.steps) as i32,
            own_rows: own.map_or(0, |(own, _)| own.rows) as i32,
        };
        attend(gpu, operands, attended.tile_count, &attention)?;
        let before = self.before(probe, work, rows)?;
        layer.out.forward(gpu, rows, normed, Finish::Add, work.x.pointer().cast(), width)?;
        match before {
            Some(before) => self.see_added(probe, Stage::Attention(index), &before, work, rows),
            None => Ok(()),
        }
    }

    /// Asks the experts.
    fn answer(
        &self,
        work: &Work,
        rows: usize,
        (index, layer): (usize, &Layer),
        probe: &mut Probe<'_>,
    ) -> Result<()> {
        let (gpu, width, operands) = (self.gpu, self.config.d_model, self.network.operands);
        let (own, pairs) = (&layer.experts, ACTIVE_EXPERTS * rows);
        let normed = work.normed.pointer();
        let chosen = Route {
            x: work.x.pointer(),
            weight: layer.norm2.pointer(),
            centroids: own.centroids.pointer(),
            squared: own.squared.pointer(),
            out: normed,
            chosen: work.chosen.pointer(),
            pair_weight: work.pair_weight.pointer(),
            rank: work.rank.pointer(),
            counts: work.counts.pointer(),
            distances: work.distances.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            rows: rows as i32,
            width: width as i32,
            experts: own.count as i32,
        };
        route(gpu, operands, &chosen)?;
        let tile_rows = expert_tile_rows(operands, pairs, own.count);
        let tiles = pairs.div_ceil(tile_rows) + own.count;
        let sorted = Place {
            chosen: work.chosen.pointer(),
            rank: work.rank.pointer(),
            counts: work.counts.pointer(),
            perm: work.perm.pointer(),
            offsets: work.offsets.pointer(),
            tile_expert: work.tile_expert.pointer(),
            tile_row: work.tile_row.pointer(),
            usage: own.usage.pointer(),
            pairs: pairs as i32,
            experts: own.count as i32,
            tiles: tiles as i32,
            tile_rows: tile_rows as i32,
        };
        place(gpu, &sorted)?;
        let glu = Product {
            a: normed,
            weights: own.gate_up.pointer(),
            bias: Pointer::NULL,
            out: work.hidden.pointer(),
            perm: work.perm.pointer(),
            offsets: work.offsets.pointer(),
            tile_expert: work.tile_expert.pointer(),
            tile_row: work.tile_row.pointer(),
            pair_weight: work.pair_weight.pointer(),
            rows: rows as i32,
            columns: own.hidden as i32,
            inner: width as i32,
            stride: own.hidden as i32,
            padded: (2 * own.hidden).next_multiple_of(super::launch::BLOCK_COLUMNS) as i32,
        };
        experts(gpu, operands, "glu", tile_rows, tiles, &glu)?;
        let down = Product {
            a: work.hidden.pointer(),
            weights: own.down.pointer(),
            out: work.answers.pointer(),
            columns: width as i32,
            inner: own.hidden as i32,
            stride: width as i32,
            padded: width.next_multiple_of(super::launch::BLOCK_COLUMNS) as i32,
            ..glu
        };
        experts(gpu, operands, "down", tile_rows, tiles, &down)?;
        if probe.0.is_none() {
            return Ok(());
        }
        self.see_operands(probe, Stage::Norm2(index), &work.normed, rows)?;
        if let Some(distances) = &work.distances {
            let distances = distances.read(gpu, rows * own.count)?;
            probe.see(Stage::Distances(index), &distances, own.count);
        }
        let chosen = work.chosen.read(gpu, pairs)?;
        probe.see_experts(Stage::Experts(index), chosen.as_chunks().0);
        let weights = work.pair_weight.read(gpu, pairs)?;
        probe.see(Stage::ExpertWeights(index), &weights, ACTIVE_EXPERTS);
        Ok(())
    }

    // What a probe sees: nothing of this happens without one.

    /// Returns the residual stream, if anybody looks.
    fn before(&self, probe: &Probe<'_>, work: &Work, rows: usize) -> Result<Option<Vec<f32>>> {
        probe.0.is_some().then(|| self.tokens(work, rows)).transpose()
    }

    fn see(
        &self,
        probe: &mut Probe<'_>,
        stage: Stage,
        numbers: &Buffer<f32>,
        rows: usize,
    ) -> Result<()> {
        if probe.0.is_some() {
            let width = self.config.d_model;
            probe.see(stage, &numbers.read(self.gpu, rows * width)?, width);
        }
        Ok(())
    }

    /// Shows what was added to the residual stream.
    fn see_added(
        &self,
        probe: &mut Probe<'_>,
        stage: Stage,
        before: &[f32],
        work: &Work,
        rows: usize,
    ) -> Result<()> {
        let mut added = self.tokens(work, rows)?;
        added.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
        probe.see(stage, &added, self.config.d_model);
        Ok(())
    }

    fn see_operands(
        &self,
        probe: &mut Probe<'_>,
        stage: Stage,
        numbers: &Buffer<u8>,
        rows: usize,
    ) -> Result<()> {
        if probe.0.is_none() {
            return Ok(());
        }
        let width = self.config.d_model;
        let operands = self.network.operands;
        let bytes = numbers.read(self.gpu, rows * width * size_of_operand(operands))?;
        let words = bytes.as_chunks::<2>().0.iter().copied();
        let numbers: Vec<f32> = match operands {
            Precision::F32 => bytes.as_chunks().0.iter().map(|w| f32::from_le_bytes(*w)).collect(),
            Precision::F16 => words.map(|w| half::f16::from_le_bytes(w).to_f32()).collect(),
            Precision::Bf16 => words.map(|w| half::bf16::from_le_bytes(w).to_f32()).collect(),
        };
        probe.see(stage, &numbers, width);
        Ok(())
    }
}
