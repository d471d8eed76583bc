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
    SCRATCH.with_borrow_mut(|scratch| {
        for start in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - start);
            let block = Block { start, rows: count, row: |i| row(start + i), weights };
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
            for index in 0..rows {
                let row = &(block.row)(first + index)[..inner];
                for (column, &number) in tile.chunks_exact_mut(rows).zip(row) {
                    column[index] = number;
                }
            }
        }
        let mut sums = [[0f32; PANEL]; TILE];
        for index in 0..block.weights.panels() {
            // With AVX-512 a single tile widens 16-bit weights on the way, so that
            // reading them from memory and computing go on at the same time.
            // Elsewhere widening in the loop takes longer than that gains.
            let panel = match block.weights.panel(index) {
                narrow if block.rows <= most && S::F32_LANES >= STRIP => narrow,
                narrow => narrow.widened(widened),
            };
            for first in (0..block.rows).step_by(height) {
                let rows = height.min(block.rows - first);
                let tile = &tiles[first * inner..(first + rows) * inner];
                match panel {
                    Panel::F32(panel) => multiply_tile(simd, rows, tile, panel, &mut sums),
                    Panel::F16(panel) => multiply_tile(simd, rows, tile, panel, &mut sums),
                    Panel::Bf16(panel) => multiply_tile(simd, rows, tile, panel, &mut sums),
                }
                for (row, sums) in sums.iter().enumerate().take(rows) {
                    take.take(block.start + first + row, index, sums);
                }
            }
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
    sums: &mut [[f32; PANEL]; TILE],
) {
    match rows {
        1 => multiply_rows::<S, W, 1>(simd, tile, panel, sums),
        2 => multiply_rows::<S, W, 2>(simd, tile, panel, sums),
        3 => multiply_rows::<S, W, 3>(simd, tile, panel, sums),
        4 => multiply_rows::<S, W, 4>(simd, tile, panel, sums),
        5 => multiply_rows::<S, W, 5>(simd, tile, panel, sums),
        6 => multiply_rows::<S, W, 6>(simd, tile, panel, sums),
        7 => multiply_rows::<S, W, 7>(simd, tile, panel, sums),
        8 => multiply_rows::<S, W, 8>(simd, tile, panel, sums),
        9 => multiply_rows::<S, W, 9>(simd, tile, panel, sums),
        10 => multiply_rows::<S, W, 10>(simd, tile, panel, sums),
        11 => multiply_rows::<S, W, 11>(simd, tile, panel, sums),
        _ => multiply_rows::<S, W, 12>(simd, tile, panel, sums),
    }
}

#[inline(always)]
fn multiply_rows<S: Simd, W: Weight, const ROWS: usize>(
    simd: S,
    tile: &[f32],
    panel: &[W],
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
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: a hint; it may point anywhere and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(weights.as_ptr().wrapping_add(AHEAD * STRIP).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = weights;
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
