//! The kernels' parameters, as `kernels/*.cu` declare them, and their grids.

use cudarc::driver::DeviceRepr;
use tidecast_stream::Domain;

use super::buffer::Pointer;
use super::gpu::{Gpu, Result};
use crate::coupling::MOST_PATCHES;
use crate::precision::Precision;
use crate::scaler::Scaling;

/// Kinds of numbers in products: weights and activations.
pub(super) type Operand = u8;

/// Rows that the columns of weights are filled up to: a block's.
pub(super) const BLOCK_COLUMNS: usize = 128;

/// What inner dimensions are filled up to.
pub(super) const INNER_STEP: usize = 32;

/// Experts that routing has room for.
pub(super) const MOST_EXPERTS: usize = 128;

/// Widths that norms have registers for.
pub(super) const MOST_WIDTH: usize = 1024;

/// Queries of a tile of attention.
pub(super) const TILE_QUERIES: usize = 64;

/// Rows from which on large tiles pay.
const MANY_ROWS: usize = 1024;

/// Rows of an expert from which on large tiles pay.
const MANY_ROWS_OF_EXPERT: usize = 48;

const STAGES: usize = 4;

macro_rules! parameters {
    ($($name:ident),*) => {
        $(
            // SAFETY: a `repr(C)` structure of numbers and pointers, as the
            // kernel of that name declares it: `Gpu::open` has compared the two.
            unsafe impl DeviceRepr for $name {}
        )*
    };
}
parameters!(
    Product, Projection, Norm, Route, Place, Rotate, Attention, Span, Draw, Series, Held, Looked,
    Hindsight, Quantiles, Pair
);

/// `out[row, n] = sum of a[row, k] * weights[n, k]`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) a: Pointer<Operand>,
    pub(super) weights: Pointer<Operand>,
    pub(super) bias: Pointer<f32>,
    pub(super) out: Pointer<Operand>,
    pub(super) perm: Pointer<u32>,
    pub(super) offsets: Pointer<u32>,
    pub(super) tile_expert: Pointer<u32>,
    pub(super) tile_row: Pointer<u32>,
    pub(super) pair_weight: Pointer<f32>,
    pub(super) rows: i32,
    pub(super) columns: i32,
    pub(super) inner: i32,
    pub(super) stride: i32,
    pub(super) padded: i32,
}

/// What a linear layer does with its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// Keeps it as f32.
    Wide,
    /// Adds it to what is there, f32.
    Add,
    /// Applies SiLU, for f32 operands, and keeps it as the operand of the next
    /// layer.
    Silu(Precision),
}

/// Multiplies rows by a linear layer's weights.
pub(super) fn linear(
    gpu: &Gpu,
    operands: Precision,
    finish: Finish,
    product: Product,
) -> Result<()> {
    let kind = match finish {
        Finish::Wide => format!("linear_wide_{operands}"),
        Finish::Add => format!("linear_add_{operands}"),
        Finish::Silu(Precision::F32) => "linear_silu_f32".to_owned(),
        Finish::Silu(next) => format!("linear_silu_f32_{next}"),
    };
    let rows = product.rows as usize;
    let tile = tile_rows(operands, rows >= MANY_ROWS);
    launch_product(gpu, &kind, operands, tile, rows.div_ceil(tile), &product)
}

/// What is done with queries, keys and values.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) query_weight: Pointer<f32>,
    pub(super) key_weight: Pointer<f32>,
    pub(super) turns: Pointer<f32>,
    pub(super) time: Pointer<u32>,
    pub(super) queries: Pointer<Operand>,
    pub(super) keys: Pointer<Operand>,
    pub(super) values: Pointer<Operand>,
    pub(super) width: i32,
    /// Added to every time.
    pub(super) now: i32,
    /// Whether keys and values are laid out by lane, as queries are in 16 bits.
    pub(super) by_lane: i32,
}

/// A product whose result is queries, keys and values.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Projection {
    pub(super) product: Product,
    pub(super) heads: Heads,
}

/// Makes queries, keys and values, normed and rotated, in one go: for operands of
/// 16 bits.
pub(super) fn project(gpu: &Gpu, operands: Precision, projection: &Projection) -> Result<()> {
    let rows = projection.product.rows as usize;
    let tile = tile_rows(operands, rows >= MANY_ROWS);
    let block = Block::of(gpu, tile, "project", &projection.product);
    let grid = (projection.product.padded as usize / BLOCK_COLUMNS, rows.div_ceil(tile));
    let name = format!("project_{operands}_{}", block.name);
    gpu.launch(&name, grid, block.threads, block.shared, projection)
}

/// A block of the products with tensor cores.
struct Block {
    name: &'static str,
    threads: usize,
    shared: usize,
}

impl Block {
    /// Returns the block for tiles of so many rows.
    ///
    /// Where the result is added to what is there, the finish takes longer than
    /// the product, and warpgroups gained nothing.
    fn of(gpu: &Gpu, tile: usize, kind: &str, product: &Product) -> Self {
        /// Stages and inner numbers of a stage of the products by warpgroups.
        const GROUP: (usize, usize) = (3, 64);
        let shared = |stages: usize, inner: usize| stages * (tile + BLOCK_COLUMNS) * 2 * inner;
        match tile {
            128 if gpu.is_hopper()
                && !kind.starts_with("linear_add")
                && (product.inner as usize).is_multiple_of(GROUP.1) =>
            {
                Self { name: "group", threads: 256, shared: shared(GROUP.0, GROUP.1) }
            }
            128 => Self { name: "128", threads: 256, shared: shared(STAGES, INNER_STEP) },
            _ => Self { name: "32", threads: 128, shared: shared(STAGES, INNER_STEP) },
        }
    }
}

/// Returns the rows of a tile of the experts' products, for so many pairs.
pub(super) fn expert_tile_rows(operands: Precision, pairs: usize, experts: usize) -> usize {
    tile_rows(operands, pairs >= MANY_ROWS_OF_EXPERT * experts)
}

fn tile_rows(operands: Precision, is_many: bool) -> usize {
    match operands {
        Precision::F32 => 64,
        _ if is_many => 128,
        _ => 32,
    }
}

/// Multiplies pairs by their experts' weights; `kind` is `glu` or `down`.
pub(super) fn experts(
    gpu: &Gpu,
    operands: Precision,
    kind: &str,
    tile: usize,
    tiles: usize,
    product: &Product,
) -> Result<()> {
    launch_product(gpu, &format!("experts_{kind}_{operands}"), operands, tile, tiles, product)
}

fn launch_product(
    gpu: &Gpu,
    kind: &str,
    operands: Precision,
    tile: usize,
    tiles: usize,
    product: &Product,
) -> Result<()> {
    if operands == Precision::F32 {
        let blocks = (product.padded as usize).min(grid_columns(kind, product)) / 64;
        return gpu.launch(kind, (blocks, tiles), 256, 0, product);
    }
    let block = Block::of(gpu, tile, kind, product);
    let grid = (product.padded as usize / BLOCK_COLUMNS, tiles);
    gpu.launch(&format!("{kind}_{}", block.name), grid, block.threads, block.shared, product)
}

/// Returns the columns of weights that count, in blocks of 64.
fn grid_columns(kind: &str, product: &Product) -> usize {
    let columns = product.columns as usize;
    let columns = if kind.starts_with("experts_glu") { 2 * columns } else { columns };
    columns.next_multiple_of(64)
}

/// Adds experts' answers to the residual stream and norms it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) x: Pointer<f32>,
    pub(super) answers: Pointer<Operand>,
    pub(super) weight: Pointer<f32>,
    pub(super) rows_of: Pointer<u32>,
    pub(super) out: Pointer<Operand>,
    pub(super) counts: Pointer<u32>,
    pub(super) rows: i32,
    pub(super) width: i32,
    pub(super) experts: i32,
}

pub(super) fn norm(gpu: &Gpu, operands: Precision, is_wide: bool, norm: &Norm) -> Result<()> {
    let name = format!("norm_{operands}{}", if is_wide { "_wide" } else { "" });
    gpu.launch(&name, ((norm.rows as usize).div_ceil(8), 1), 256, 0, norm)
}

/// Norms and chooses experts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) x: Pointer<f32>,
    pub(super) weight: Pointer<f32>,
    pub(super) centroids: Pointer<f32>,
    pub(super) squared: Pointer<f32>,
    pub(super) out: Pointer<Operand>,
    pub(super) chosen: Pointer<u32>,
    pub(super) pair_weight: Pointer<f32>,
    pub(super) rank: Pointer<u32>,
    pub(super) counts: Pointer<u32>,
    pub(super) distances: Pointer<f32>,
    pub(super) rows: i32,
    pub(super) width: i32,
    pub(super) experts: i32,
}

pub(super) fn route(gpu: &Gpu, operands: Precision, route: &Route) -> Result<()> {
    let rows = route.rows as usize;
    // Few rows to a block where many would leave multiprocessors idle.
    let tokens = if rows >= 4096 { 64 } else { 16 };
    let shared = tokens * (route.experts as usize + 1) * size_of::<f32>();
    let name = format!("route_{operands}_{tokens}");
    gpu.launch(&name, (rows.div_ceil(tokens), 1), 128, shared, route)
}

/// Sorts pairs by expert.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) chosen: Pointer<u32>,
    pub(super) rank: Pointer<u32>,
    pub(super) counts: Pointer<u32>,
    pub(super) perm: Pointer<u32>,
    pub(super) offsets: Pointer<u32>,
    pub(super) tile_expert: Pointer<u32>,
    pub(super) tile_row: Pointer<u32>,
    pub(super) usage: Pointer<u64>,
    pub(super) pairs: i32,
    pub(super) experts: i32,
    pub(super) tiles: i32,
    pub(super) tile_rows: i32,
}

pub(super) fn place(gpu: &Gpu, place: &Place) -> Result<()> {
    gpu.launch("place", ((place.pairs as usize).div_ceil(256), 1), 256, 0, place)
}

/// Norms and rotates queries and keys that a product of f32 has made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotate {
    pub(super) projected: Pointer<f32>,
    pub(super) heads: Heads,
    pub(super) rows: i32,
}

pub(super) fn rotate(gpu: &Gpu, operands: Precision, rotate: &Rotate) -> Result<()> {
    let warps = rotate.rows as usize * rotate.heads.width as usize / 64;
    gpu.launch(&format!("rotate_{operands}"), (warps.div_ceil(8), 1), 256, 0, rotate)
}

/// Some queries that share keys.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) first_query: u32,
    pub(super) queries: u32,
    pub(super) first_key: u32,
    pub(super) keys: u32,
    /// Tokens of a sample path in one step.
    pub(super) tokens: u32,
}

/// Two numbers side by side (`uint2`).
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair(pub(super) u32, pub(super) u32);

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) queries: Pointer<Operand>,
    pub(super) keys: Pointer<Operand>,
    pub(super) values: Pointer<Operand>,
    pub(super) spans: Pointer<Span>,
    pub(super) tiles: Pointer<Pair>,
    pub(super) time: Pointer<u32>,
    pub(super) sample: Pointer<u32>,
    pub(super) variate: Pointer<u32>,
    pub(super) own_variate: Pointer<u32>,
    pub(super) own_keys: Pointer<Operand>,
    pub(super) own_values: Pointer<Operand>,
    pub(super) bias: Pointer<f32>,
    pub(super) out: Pointer<Operand>,
    pub(super) width: i32,
    pub(super) steps: i32,
    pub(super) own_rows: i32,
}

/// Attends for `tiles` tiles and all heads.
pub(super) fn attend(
    gpu: &Gpu,
    operands: Precision,
    tiles: usize,
    attention: &Attention,
) -> Result<()> {
    let heads = attention.width as usize / 64;
    let threads = if operands == Precision::F32 { 256 } else { 128 };
    gpu.launch(&format!("attend_{operands}"), (tiles, heads), threads, 0, attention)
}

/// Components that a mixture has room for.
pub(super) const MOST_COMPONENTS: usize = 16;

/// Points of a path at a step that the kernel has room for.
pub(super) const MOST_POINTS: usize = 32;

/// The head's distribution.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) components: i32,
    pub(super) is_mixture: i32,
    pub(super) kind: [i32; MOST_COMPONENTS],
    pub(super) first: [i32; MOST_COMPONENTS],
    pub(super) fixed: [f32; MOST_COMPONENTS],
}

/// Where a series' numbers stand.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Series {
    pub(super) seed_low: u32,
    pub(super) seed_high: u32,
    pub(super) first_row: u32,
    pub(super) tokens: u32,
    pub(super) variates: u32,
    pub(super) paths: u32,
    pub(super) first_head: u32,
    pub(super) context_head: u32,
    pub(super) first_column: u32,
    pub(super) covariates: u32,
    pub(super) patches: u32,
    pub(super) horizon: u32,
    pub(super) first_result: u32,
    pub(super) unused: u32,
    pub(super) first_value: u64,
}

/// The values that a variate can have, and how they are standardised. Two infinite ends
/// are none.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) location: f64,
    pub(super) scale: f64,
    pub(super) least: f64,
    pub(super) largest: f64,
    pub(super) is_whole: i32,
    /// Whether there are values that it cannot have.
    pub(super) is_held: i32,
}

impl Held {
    /// Holds the values of a variate to its domain.
    pub(super) fn to(domain: Domain, scaling: Scaling) -> Self {
        let (least, largest) = domain.ends();
        Self {
            location: scaling.location,
            scale: scaling.scale,
            least: least.unwrap_or(f64::NEG_INFINITY),
            largest: largest.unwrap_or(f64::INFINITY),
            is_whole: i32::from(domain.integer),
            is_held: i32::from(!domain.is_any()),
        }
    }
}

/// Draws a patch and makes the next step's tokens.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) head: Pointer<f32>,
    pub(super) series: Pointer<Series>,
    pub(super) series_of: Pointer<u32>,
    pub(super) held: Pointer<Held>,
    pub(super) covariates: Pointer<f32>,
    pub(super) values: Pointer<f32>,
    pub(super) input: Pointer<f32>,
    pub(super) points: Pointer<f32>,
    pub(super) rows: i32,
    pub(super) step: i32,
    pub(super) stride: i32,
    pub(super) patch_size: i32,
    pub(super) patch_width: i32,
    pub(super) padded: i32,
    pub(super) is_drawn: i32,
    pub(super) points_of_step: i32,
    pub(super) output: Output,
}

pub(super) fn draw(gpu: &Gpu, draw: &Draw) -> Result<()> {
    let threads = draw.rows as usize * draw.padded as usize;
    gpu.launch("draw", (threads.div_ceil(128), 1), 128, 0, draw)
}

/// The patches of a variate's context that are looked back at.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    pub(super) seed_low: u32,
    pub(super) seed_high: u32,
    pub(super) variate: u32,
    pub(super) first_head: u32,
    pub(super) first_patch: u32,
    pub(super) patches: u32,
}

/// Places what happened in a context in what the model had said of it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Hindsight {
    pub(super) head: Pointer<f32>,
    pub(super) happened: Pointer<f32>,
    pub(super) looked: Pointer<Looked>,
    pub(super) together: Pointer<f32>,
    pub(super) stride: i32,
    pub(super) patch_size: i32,
    pub(super) patch_width: i32,
    pub(super) points: i32,
    pub(super) output: Output,
}

/// Sums of a variate that looking back gives.
pub(super) const SUMS: usize = 6;

pub(super) fn look_back(gpu: &Gpu, variates: usize, hindsight: &Hindsight) -> Result<()> {
    let places = MOST_PATCHES * hindsight.patch_size as usize;
    gpu.launch("look_back", (variates, 1), 128, places * size_of::<f32>(), hindsight)
}

/// Sums up sample paths.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantiles {
    pub(super) values: Pointer<f32>,
    pub(super) points: Pointer<f32>,
    pub(super) series: Pointer<Series>,
    pub(super) items: Pointer<Pair>,
    pub(super) levels: Pointer<f64>,
    pub(super) means: Pointer<f64>,
    pub(super) quantiles: Pointer<f32>,
    pub(super) counts: Pointer<u32>,
    pub(super) levels_count: i32,
    pub(super) patch_size: i32,
    pub(super) size: i32,
    pub(super) points_of_step: i32,
}

pub(super) fn quantiles(gpu: &Gpu, results: usize, quantiles: &Quantiles) -> Result<()> {
    let size = quantiles.size as usize;
    let threads = (size / 2).clamp(32, 256);
    gpu.launch("quantiles", (results, 1), threads, size * size_of::<f32>(), quantiles)
}
