//! The matrix product of a few rows with packed weights, in vector registers.
//!
//! [`Packed`](super::packed::Packed) weights lie in panels of [`PANEL`] outputs.
//! A block of rows is laid out in tiles of at most twelve rows, and each tile
//! meets each panel once: twelve rows by two registers of 16 numbers are 24
//! running sums, which with AVX-512 leaves eight registers to load into; with
//! fewer or narrower registers a tile has six rows and a panel is crossed in
//! parts.
//!
//! Each element of the result is one running sum of fused products over the
//! inner dimension, from the first to the last. So a row's result depends on
//! the row alone, to the bit, whatever else is in the block.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::packed::{Packed, Panel, Weight};

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;

/// Outputs of a strip, of which a panel has two.
pub(super) const STRIP: usize = PANEL / 2;

/// Rows of the largest tile.
pub(super) const TILE: usize = 12;

/// Rows that share a panel while it is in the cache near the core.
pub(crate) const BLOCK: usize = 8 * TILE;

/// Memory that a thread uses again for each block.
#[derive(Default)]
struct Scratch {
    /// The block's rows in tiles, `[tile][inner][row]`.
    tiles: Vec<f32>,
    /// A panel of 16-bit weights, widened.
    widened: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What is done with the sums of a row: the row in the block, the panel, and
/// the products with the panel's outputs.
pub(super) trait Take {
    fn take(&mut self, row: usize, panel: usize, sums: &[f32; PANEL]);
}

/// Multiplies `rows` rows (`row(i)`, at least as long as the inner dimension)
/// by the weights and hands on the sums.
pub(super) fn multiply<'x>(
    rows: usize,
    row: impl Fn(usize) -> &'x [f32],
    weights: &Packed,
    take: &mut impl Take,
) {
    multiply_panels(rows, row, weights, 0..weights.panels(), take);
}

/// The same with some panels of the weights.
pub(super) fn multiply_panels<'x>(
    rows: usize,
    row: impl Fn(usize) -> &'x [f32],
    weights: &Packed,
    panels: Range<usize>,
    take: &mut impl Take,
) {
    SCRATCH.with_borrow_mut(|scratch| {
        for start in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - start);
            let (row, panels) = (|i| row(start + i), panels.clone());
            let block = Block { start, rows: count, row, weights, panels };
            Arch::new().dispatch(Run { block, scratch, take });
        }
    });
}

struct Block<'a, R> {
    /// The first row.
    start: usize,
    rows: usize,
    row: R,
    weights: &'a Packed,
    panels: Range<usize>,
}

struct Run<'a, R, T> {
    block: Block<'a, R>,
    scratch: &'a mut Scratch,
    take: &'a mut T,
}

impl<'x, R: Fn(usize) -> &'x [f32], T: Take> WithSimd for Run<'_, R, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, scratch: Scratch { tiles, widened }, take } = self;
        let inner = block.weights.inner();
        // Tiles of nearly one height: a last one of two rows would be slow.
        let most = if S::REGISTER_COUNT >= 32 { TILE } else { TILE / 2 };
        let height = block.rows.div_ceil(block.rows.div_ceil(most));
        tiles.resize(block.rows * inner, 0.0);
        for first in (0..block.rows).step_by(height) {
            let rows = height.min(block.rows - first);
            let tile = &mut tiles[first * inner..(first + rows) * inner];
            lay(tile, rows, |index| &(block.row)(first + index)[..inner]);
        }
        let mut sums = [[0f32; PANEL]; TILE];
        for index in block.panels.clone() {
            // With AVX-512 a single tile widens 16-bit weights on the way, so that
            // reading them from memory and computing go on at the same time.
            // Elsewhere widening in the loop takes longer than that gains.
            let kept = block.weights.panel(index);
            let panel = match kept {
                narrow if block.rows <= most && S::F32_LANES >= STRIP => narrow,
                narrow => narrow.widened(widened),
            };
            let crossings = (STRIP / S::F32_LANES).max(1);
            let steps = block.rows.div_ceil(height) * crossings * inner;
            let mut next = Next::after(kept, steps);
            for first in (0..block.rows).step_by(height) {
                let rows = height.min(block.rows - first);
                let tile = &tiles[first * inner..(first + rows) * inner];
                let next = &mut next;
                match panel {
                    Panel::F32(panel) => multiply_tile(simd, rows, tile, panel, next, &mut sums),
                    Panel::F16(panel) => multiply_tile(simd, rows, tile, panel, next, &mut sums),
                    Panel::Bf16(panel) => multiply_tile(simd, rows, tile, panel, next, &mut sums),
                }
                for (row, sums) in sums.iter().enumerate().take(rows) {
                    take.take(block.start + first + row, index, sums);
                }
            }
        }
    }
}

/// Rows that are laid at a time, and numbers of each: they turn in registers.
const TURN: usize = 4;

/// Lays rows side by side, `[inner][rows]`.
#[inline(always)]
fn lay<'x>(tile: &mut [f32], rows: usize, row: impl Fn(usize) -> &'x [f32]) {
    let turned = rows - rows % TURN;
    for first in (0..turned).step_by(TURN) {
        let four = [0, 1, 2, 3].map(|index| row(first + index).as_chunks::<TURN>());
        let [a, b, c, d] = four.map(|(whole, _)| whole);
        let (whole, rest) = tile.split_at_mut(a.len() * TURN * rows);
        let numbers = a.iter().zip(b).zip(c).zip(d);
        for (columns, (((a, b), c), d)) in whole.chunks_exact_mut(TURN * rows).zip(numbers) {
            for (index, column) in columns.chunks_exact_mut(rows).enumerate() {
                column[first..first + TURN]
                    .copy_from_slice(&[a[index], b[index], c[index], d[index]]);
            }
        }
        for (index, column) in rest.chunks_exact_mut(rows).enumerate() {
            column[first..first + TURN].copy_from_slice(&four.map(|(_, rest)| rest[index]));
        }
    }
    for index in turned..rows {
        for (column, &number) in tile.chunks_exact_mut(rows).zip(row(index)) {
            column[index] = number;
        }
    }
}

/// Multiplies a tile `[inner][rows]` by a panel, two strips `[inner][STRIP]`.
#[inline(always)]
fn multiply_tile<S: Simd, W: Weight>(
    simd: S,
    rows: usize,
    tile: &[f32],
    panel: &[W],
    next: &mut Next,
    sums: &mut [[f32; PANEL]; TILE],
) {
    match rows {
        1 => multiply_rows::<S, W, 1>(simd, tile, panel, next, sums),
        2 => multiply_rows::<S, W, 2>(simd, tile, panel, next, sums),
        3 => multiply_rows::<S, W, 3>(simd, tile, panel, next, sums),
        4 => multiply_rows::<S, W, 4>(simd, tile, panel, next, sums),
        5 => multiply_rows::<S, W, 5>(simd, tile, panel, next, sums),
        6 => multiply_rows::<S, W, 6>(simd, tile, panel, next, sums),
        7 => multiply_rows::<S, W, 7>(simd, tile, panel, next, sums),
        8 => multiply_rows::<S, W, 8>(simd, tile, panel, next, sums),
        9 => multiply_rows::<S, W, 9>(simd, tile, panel, next, sums),
        10 => multiply_rows::<S, W, 10>(simd, tile, panel, next, sums),
        11 => multiply_rows::<S, W, 11>(simd, tile, panel, next, sums),
        _ => multiply_rows::<S, W, 12>(simd, tile, panel, next, sums),
    }
}

#[inline(always)]
fn multiply_rows<S: Simd, W: Weight, const ROWS: usize>(
    simd: S,
    tile: &[f32],
    panel: &[W],
    next: &mut Next,
    sums: &mut [[f32; PANEL]; TILE],
) {
    let (low, high) = panel.split_at(panel.len() / 2);
    let (low, high) = (low.as_chunks().0, high.as_chunks().0);
    let tile = tile.as_chunks::<ROWS>().0;
    if S::F32_LANES >= STRIP {
        // A register takes a strip's outputs: both strips at once.
        let mut running = [[simd.splat_f32s(0.0); 2]; ROWS];
        for ((column, low), high) in tile.iter().zip(low).zip(high) {
            fetch_ahead(low);
            fetch_ahead(high);
            next.fetch();
            let weights = [load::<S, W>(low, 0), load::<S, W>(high, 0)];
            add_products(simd, column, weights, &mut running);
        }
        for (sums, running) in sums.iter_mut().zip(running) {
            let (sums, _) = S::as_mut_simd_f32s(sums);
            sums[..2].copy_from_slice(&running);
        }
        return;
    }
    // One strip after the other, two registers at a time; with 8 lanes that is
    // the whole strip.
    let registers = STRIP / S::F32_LANES;
    for (half, strip) in [low, high].into_iter().enumerate() {
        for part in (0..registers).step_by(2) {
            let mut running = [[simd.splat_f32s(0.0); 2]; ROWS];
            for (column, weights) in tile.iter().zip(strip) {
                fetch_ahead(weights);
                next.fetch();
                let weights = [load::<S, W>(weights, part), load::<S, W>(weights, part + 1)];
                add_products(simd, column, weights, &mut running);
            }
            for (sums, running) in sums.iter_mut().zip(running) {
                let (sums, _) = S::as_mut_simd_f32s(sums);
                let first = half * registers + part;
                sums[first] = running[0];
                sums[first + 1] = running[1];
            }
        }
    }
}

/// Steps of the inner dimension by which weights are fetched ahead.
const AHEAD: usize = 8;

/// Asks for weights some steps before they are needed: a panel is larger than
/// the first-level cache, and a step is done sooner than the second level
/// delivers the next one's.
#[inline(always)]
fn fetch_ahead<W>(weights: &[W; STRIP]) {
    fetch(weights.as_ptr().wrapping_add(AHEAD * STRIP).cast(), Level::First);
}

/// The panel after the one that is multiplied by, on its way from memory to the
/// second-level cache, a little at each step: memory takes longer than the
/// steps that [`fetch_ahead`] looks ahead, and blocks of many rows leave it
/// idle most of the time.
struct Next {
    at: *const u8,
    /// Bytes of a strip: both come at the same time, since two pages at once
    /// come faster than one.
    strip: usize,
    /// Bytes of each strip for each step.
    share: usize,
}

impl Next {
    /// Fetches what follows `panel` in `steps` steps.
    #[inline(always)]
    fn after(panel: Panel<'_>, steps: usize) -> Self {
        let (at, bytes) = match panel {
            Panel::F32(numbers) => (numbers.as_ptr_range().end.cast(), size_of_val(numbers)),
            Panel::F16(numbers) => (numbers.as_ptr_range().end.cast(), size_of_val(numbers)),
            Panel::Bf16(numbers) => (numbers.as_ptr_range().end.cast(), size_of_val(numbers)),
        };
        let strip = bytes / 2;
        Self { at, strip, share: strip.div_ceil(steps) }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        fetch(self.at, Level::Second);
        fetch(self.at.wrapping_add(self.strip), Level::Second);
        self.at = self.at.wrapping_add(self.share);
    }
}

/// A level of the processor's caches.
enum Level {
    First,
    Second,
}

/// Asks for the cache line at an address, which need not be anyone's.
#[inline(always)]
fn fetch(at: *const u8, level: Level) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: a hint; it may point anywhere and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match level {
            Level::First => _mm_prefetch::<_MM_HINT_T0>(at.cast()),
            Level::Second => _mm_prefetch::<_MM_HINT_T1>(at.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, level);
}

/// Loads one register of weights.
#[inline(always)]
fn load<S: Simd, W: Weight>(weights: &[W; STRIP], register: usize) -> S::f32s {
    let mut wide = [0f32; STRIP];
    let (weights, _) = S::as_simd_f32s(W::widened(weights, &mut wide));
    weights[register]
}

#[inline(always)]
fn add_products<S: Simd, const ROWS: usize>(
    simd: S,
    column: &[f32; ROWS],
    weights: [S::f32s; 2],
    running: &mut [[S::f32s; 2]; ROWS],
) {
    for (running, &number) in running.iter_mut().zip(column) {
        let number = simd.splat_f32s(number);
        running[0] = simd.mul_add_f32s(number, weights[0], running[0]);
        running[1] = simd.mul_add_f32s(number, weights[1], running[1]);
    }
}
