//! Series that are rolled out together on a card: where everything of them stands, and the
//! kernels that go over it.
//!
//! What is where follows from the [`Shape`] of a batch alone. Numbers are [loaded](Batch::load)
//! into it, then it [runs](Batch::run), and what it comes to is read back; so a batch can be
//! used again for others of its shape, and its launches recorded as a graph, which the card
//! goes through without the host.

mod results;
mod shape;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use rayon::prelude::*;

use super::buffer::{Buffer, Pointer};
use super::encoder::{Attended, Memory, Own, Work};
use super::gpu::{Gpu, Result};
use super::launch::{self, Draw, Held, Hindsight, Looked, Quantiles, SUMS};
use super::network::{CudaNetwork, TokenRows};
use crate::coupling::POINTS;
use crate::model::Probe;
use crate::network::Network;
use crate::rollout;
use crate::rollout::cached::Job;
use crate::scaler::Scaling;

pub(super) use self::shape::Shape;
use self::shape::{PathTables, SeriesShape, Summed};

/// Sample paths that the quantiles' kernel sorts at most; more go to the host.
const MOST_SORTED: usize = 4096;

/// Launches that are recorded.
struct Graph(CudaGraph);

// SAFETY: a graph is a handle of the driver, which any thread may use, one at a time: a
// batch is in one thread's hands while it is loaded and runs.
unsafe impl Send for Graph {}

/// Series that are rolled out together.
pub(super) struct Batch {
    shape: Shape,
    /// The place of each among those given, the longest horizon first.
    order: Vec<usize>,
    /// By series, in that order, as all that follows.
    table: Vec<launch::Series>,
    scalings: Vec<Vec<Scaling>>,
    contexts: TokenRows,
    /// The contexts' keys and values.
    memory: Memory,
    /// The contexts' tokens that leave the model.
    wanted: Buffer<u32>,
    wanted_count: usize,
    looked: Vec<Looked>,
    looked_back: Buffer<Looked>,
    happened: Buffer<f32>,
    together: Buffer<f32>,
    paths: PathTables,
    /// The paths' own keys and values, if there is more than a patch.
    own: Option<Memory>,
    values: Buffer<f32>,
    value_count: usize,
    /// Points of the paths' distributions, `[values, points_of_step]`.
    points: Buffer<f32>,
    series: Buffer<launch::Series>,
    series_of: Buffer<u32>,
    held: Buffer<Held>,
    covariates: Buffer<f32>,
    work: Work,
    summed: Vec<Summed>,
    /// How often it ran.
    runs: usize,
    graph: Option<Graph>,
}

/// So many of each at one step: those of the series still running.
#[derive(Debug, Clone, Copy)]
struct Running {
    series: usize,
    rows: usize,
    heads: usize,
    tiles: usize,
}

impl Batch {
    /// Makes room for jobs of this shape, and builds its tables.
    pub(super) fn new(network: &CudaNetwork, gpu: &Gpu, shape: Shape) -> Result<Self> {
        let config = network.config();
        let patch_size = config.patch_sizes[shape.patch_index];
        let mut order: Vec<usize> = (0..shape.series.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(shape.series[*index].patches));
        let sorted: Vec<&SeriesShape> = order.iter().map(|index| &shape.series[*index]).collect();
        let (mut table, mut series_of) = (Vec::with_capacity(sorted.len()), Vec::new());
        let (mut columns, mut covariates) = (0, 0);
        let mut next = launch::Series::default();
        let (mut wanted, mut looked_at) = (Vec::new(), Vec::new());
        let mut looked: Vec<Looked> = Vec::new();
        let mut context_tokens = 0;
        for (index, series) in sorted.iter().enumerate() {
            let (tokens, variates) = (series.step_variates.len(), series.newest.len());
            let own = launch::Series {
                tokens: tokens as u32,
                variates: variates as u32,
                paths: series.paths as u32,
                first_column: columns as u32,
                covariates: covariates as u32,
                patches: series.patches as u32,
                horizon: series.horizon as u32,
                ..next
            };
            table.push(own);
            series_of.extend(std::iter::repeat_n(index as u32, series.paths * tokens));
            columns += series.columns;
            covariates += series.future_covariates * series.patches * network.padded_patch();
            let first = context_tokens as u32;
            wanted.extend(series.newest.iter().map(|newest| first + newest));
            for (variate, tokens) in series.looked_at.iter().enumerate() {
                let (first_patch, patches) = (looked_at.len() as u32, tokens.len() as u32);
                let variate = variate as u32;
                looked.push(Looked { variate, first_patch, patches, ..Looked::default() });
                looked_at.extend(tokens.clone().map(|token| first + token as u32));
            }
            next.first_row += (series.paths * tokens) as u32;
            next.first_head += (series.paths * variates) as u32;
            next.context_head += variates as u32;
            next.first_result += (variates * series.horizon) as u32;
            next.first_value += (series.paths * variates * series.patches * patch_size) as u64;
            context_tokens += series.layout.len();
        }
        // The head's rows of what is looked back at come behind those of the newest tokens.
        looked
            .iter_mut()
            .for_each(|looked| looked.first_head = next.context_head + looked.first_patch);
        let happened = Buffer::new(gpu, looked_at.len() * patch_size)?;
        wanted.extend(looked_at);
        let (encoder, value_count) = (network.encoder(), next.first_value as usize);
        let layouts: Vec<_> = sorted.iter().map(|series| (&series.layout, 1)).collect();
        let contexts = TokenRows::new(gpu, &layouts)?;
        let operands = encoder.network.operands;
        let memory = Memory::new(gpu, config.layers, contexts.count * config.d_model, operands)?;
        let heads = (next.first_head as usize).max(wanted.len());
        let rows = context_tokens.max(next.first_row as usize);
        let work = encoder.work(rows, heads, false)?;
        let paths = PathTables::new(gpu, &sorted, &table)?;
        let summed = Summed::all(gpu, &sorted, &table, shape.points_of_step)?;
        let mut batch = Self {
            contexts,
            memory,
            wanted_count: wanted.len(),
            wanted: Buffer::from(gpu, &wanted)?,
            together: Buffer::new(gpu, looked.len() * SUMS)?,
            looked_back: Buffer::new(gpu, looked.len())?,
            looked,
            happened,
            paths,
            own: None,
            values: Buffer::new(gpu, value_count)?,
            value_count,
            points: Buffer::new(gpu, value_count * shape.points_of_step)?,
            series: Buffer::new(gpu, table.len())?,
            series_of: Buffer::from(gpu, &series_of)?,
            held: Buffer::new(gpu, columns)?,
            covariates: Buffer::new(gpu, covariates)?,
            work,
            summed,
            scalings: Vec::new(),
            runs: 0,
            graph: None,
            table,
            order,
            shape,
        };
        let longest = batch.longest();
        if longest > 1 {
            let numbers = (longest - 1) * batch.running(1).rows * config.d_model;
            batch.own = Some(Memory::new(gpu, config.layers, numbers, operands)?);
        }
        Ok(batch)
    }

    /// Whether jobs of this shape fit into it.
    pub(super) fn is_of(&self, shape: &Shape) -> bool {
        self.shape == *shape
    }

    /// Puts the numbers of jobs into it, which are of its shape.
    pub(super) fn load(
        &mut self,
        network: &CudaNetwork,
        gpu: &Gpu,
        jobs: &[Job<'_>],
    ) -> Result<()> {
        let jobs: Vec<&Job<'_>> = self.order.iter().map(|index| &jobs[*index]).collect();
        self.scalings =
            jobs.par_iter().map(|job| job.series.scalings(&job.series.moments)).collect();
        let padded = network.padded_patch();
        let scale = |(job, scalings): (&&Job<'_>, &Vec<Scaling>)| {
            let mut scaled = Vec::new();
            job.series.push_context(scalings, &mut scaled);
            network.padded(&scaled)
        };
        let scaled: Vec<Vec<f32>> = jobs.par_iter().zip(&self.scalings).map(scale).collect();
        self.work.input.write(gpu, &scaled.concat())?;
        let (mut covariates, mut happened, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let mut looked = self.looked.iter_mut();
        for ((job, scalings), own) in jobs.iter().zip(&self.scalings).zip(&mut self.table) {
            let seed = job.fill.seed().unwrap_or(0);
            (own.seed_low, own.seed_high) = (seed as u32, (seed >> 32) as u32);
            let columns = scalings.iter().enumerate();
            held.extend(
                columns.map(|(column, scaling)| Held::to(job.fill.domain(column), *scaling)),
            );
            push_covariates(job.series, scalings, padded, &mut covariates);
            let variates = scalings.iter().enumerate().take(job.series.variates());
            for ((variate, scaling), looked) in variates.zip(&mut looked) {
                (looked.seed_low, looked.seed_high) = (own.seed_low, own.seed_high);
                if job.coupled().is_some() {
                    job.series.push_happened(variate, *scaling, &mut happened);
                }
            }
        }
        self.series.write(gpu, &self.table)?;
        self.held.write(gpu, &held)?;
        self.covariates.write(gpu, &covariates)?;
        if self.looks_back() {
            self.happened.write(gpu, &happened)?;
            self.looked_back.write(gpu, &self.looked)?;
        }
        Ok(())
    }

    /// Rolls out what is loaded. The second time its launches are recorded, and from then
    /// on played back.
    pub(super) fn run(&mut self, network: &CudaNetwork, gpu: &Gpu, jobs: &[Job<'_>]) -> Result<()> {
        self.runs += 1;
        if self.runs > 1 && self.shape.draws && self.graph.is_none() {
            let stream = gpu.stream();
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
            let launched = self.launch(network, gpu, jobs);
            // Ended in any case: a stream that records does nothing else.
            let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
            let graph = stream.end_capture(flags);
            launched?;
            self.graph = graph?.map(Graph);
        }
        match &self.graph {
            Some(Graph(graph)) => Ok(graph.launch()?),
            None => self.launch(network, gpu, jobs),
        }
    }

    fn launch(&mut self, network: &CudaNetwork, gpu: &Gpu, jobs: &[Job<'_>]) -> Result<()> {
        let (encoder, patch_index) = (network.encoder(), self.shape.patch_index);
        let count = self.contexts.count;
        encoder.embed(patch_index, &self.work, count, &mut Probe::none())?;
        let attended = self.contexts.attended(&self.memory);
        let wanted = (self.wanted.pointer(), self.wanted_count);
        encoder.encode(&self.work, count, attended, wanted, &mut Probe::none())?;
        encoder.head(patch_index, &self.work, self.wanted_count)?;
        self.look_back(network, gpu)?;
        let longest = self.longest();
        self.draw(network, gpu, jobs, 0)?;
        for step in 1..longest {
            let running = self.running(step);
            encoder.embed(patch_index, &self.work, running.rows, &mut Probe::none())?;
            let own = self.own.as_ref().map(|memory| Own {
                memory,
                rows: self.running(1).rows,
                steps: step,
            });
            let attended = Attended {
                spans: self.paths.spans.pointer(),
                tiles: self.paths.tiles.pointer(),
                tile_count: running.tiles,
                time: self.paths.time.pointer(),
                now: step - 1,
                own_variate: self.paths.variate.pointer(),
                shared: &self.memory,
                variate: self.contexts.variate(),
                sample: Pointer::NULL,
                shared_time: Pointer::NULL,
                own,
            };
            let wanted = self.paths.wanted.as_ref().map_or(Pointer::NULL, Buffer::pointer);
            let wanted = (wanted, running.heads);
            encoder.encode(&self.work, running.rows, attended, wanted, &mut Probe::none())?;
            encoder.head(patch_index, &self.work, running.heads)?;
            self.draw(network, gpu, jobs, step)?;
        }
        self.summed.iter().try_for_each(|summed| self.sum(network, gpu, summed))
    }

    fn longest(&self) -> usize {
        self.table.first().map_or(0, |own| own.patches as usize)
    }

    fn looks_back(&self) -> bool {
        self.looked.iter().any(|looked| looked.patches > 0)
    }

    /// Places what happened in the contexts in what the model had said of it.
    fn look_back(&self, network: &CudaNetwork, gpu: &Gpu) -> Result<()> {
        if !self.looks_back() {
            return Ok(());
        }
        let config = network.config();
        let hindsight = Hindsight {
            head: self.work.head.pointer(),
            happened: self.happened.pointer(),
            looked: self.looked_back.pointer(),
            together: self.together.pointer(),
            stride: network.encoder().head_width() as i32,
            patch_size: config.patch_sizes[self.shape.patch_index] as i32,
            patch_width: config.patch_width as i32,
            points: POINTS as i32,
            output: network.output(),
        };
        launch::look_back(gpu, self.looked.len(), &hindsight)
    }

    /// Returns what still runs at a step.
    fn running(&self, step: usize) -> Running {
        let series = self.table.partition_point(|own| own.patches as usize > step);
        let table = &self.table[..series];
        Running {
            series,
            rows: table.iter().map(|own| (own.paths * own.tokens) as usize).sum(),
            heads: table.iter().map(|own| (own.paths * own.variates) as usize).sum(),
            tiles: self.paths.tiles_of[series],
        }
    }

    /// Draws the patches of a step, and makes the next one's tokens.
    fn draw(
        &mut self,
        network: &CudaNetwork,
        gpu: &Gpu,
        jobs: &[Job<'_>],
        step: usize,
    ) -> Result<()> {
        let running = self.running(step);
        if !self.shape.draws {
            self.fill_on_host(network, gpu, jobs, step, running)?;
        }
        let config = network.config();
        let goes_on = step + 1 < self.longest();
        let draw = Draw {
            head: self.work.head.pointer(),
            series: self.series.pointer(),
            series_of: self.series_of.pointer(),
            held: self.held.pointer(),
            covariates: self.covariates.pointer(),
            values: self.values.pointer(),
            input: if goes_on { self.work.input.pointer() } else { Pointer::NULL },
            points: self.points.pointer(),
            rows: running.rows as i32,
            step: step as i32,
            stride: network.encoder().head_width() as i32,
            patch_size: config.patch_sizes[self.shape.patch_index] as i32,
            patch_width: config.patch_width as i32,
            padded: network.padded_patch() as i32,
            is_drawn: i32::from(self.shape.draws),
            points_of_step: self.shape.points_of_step as i32,
            output: network.output(),
        };
        launch::draw(gpu, &draw)
    }

    /// Lets the jobs' own rules fill a step's patches. For the comparison with
    /// the reference: everything travels to the host and back.
    fn fill_on_host(
        &mut self,
        network: &CudaNetwork,
        gpu: &Gpu,
        jobs: &[Job<'_>],
        step: usize,
        running: Running,
    ) -> Result<()> {
        let config = network.config();
        let width = network.encoder().head_width();
        let patch_size = config.patch_sizes[self.shape.patch_index];
        let (series, heads) = match step {
            0 => (self.table.len(), self.table.iter().map(|own| own.variates as usize).sum()),
            _ => (running.series, running.heads),
        };
        let head = self.work.head.read(gpu, heads * width)?;
        let mut values = self.values.read(gpu, self.value_count)?;
        let mut patch = vec![0.0; patch_size];
        for (index, own) in self.table[..series].iter().enumerate() {
            let (job, variates) = (&jobs[self.order[index]], own.variates as usize);
            let length = own.patches as usize * patch_size;
            for path in 0..own.paths as usize {
                for variate in 0..variates {
                    let row = match step {
                        0 => own.context_head as usize + variate,
                        _ => own.first_head as usize + path * variates + variate,
                    };
                    let scaling = self.scalings[index][variate];
                    let draw = rollout::Draw {
                        path,
                        step,
                        variate,
                        output: &config.output,
                        row: &head[row * width..(row + 1) * width],
                        patch_width: config.patch_width,
                        scaling,
                        strata: None,
                    };
                    let at = own.first_value as usize + (path * variates + variate) * length;
                    let at = at + step * patch_size;
                    job.fill.fill(&draw, &mut patch, &mut []);
                    let standardised = patch.iter().map(|&value| scaling.apply(value));
                    let places = values[at..at + patch_size].iter_mut();
                    places.zip(standardised).for_each(|(place, z)| *place = z);
                }
            }
        }
        self.values.write(gpu, &values)
    }

    /// Sums up the paths of series with the same levels.
    fn sum(&self, network: &CudaNetwork, gpu: &Gpu, summed: &Summed) -> Result<()> {
        let points = self.shape.points_of_step;
        let parameters = Quantiles {
            values: self.values.pointer(),
            points: self.points.pointer(),
            series: self.series.pointer(),
            items: summed.items.pointer(),
            levels: summed.wanted.pointer(),
            means: summed.means.pointer(),
            quantiles: summed.quantiles.pointer(),
            counts: summed.counts.pointer(),
            levels_count: summed.levels.len() as i32,
            patch_size: network.config().patch_sizes[self.shape.patch_index] as i32,
            size: (summed.most_paths * points.max(1)).next_power_of_two().max(2) as i32,
            points_of_step: points as i32,
        };
        launch::quantiles(gpu, summed.count, &parameters)
    }
}

/// Appends a series' covariates known ahead, scaled: `[covariates, patches, padded]`.
fn push_covariates(
    series: &rollout::Series<'_>,
    scalings: &[Scaling],
    padded: usize,
    all: &mut Vec<f32>,
) {
    let segments = &series.row.segments;
    for covariate in 0..segments.future_covariates {
        let scaling = scalings[segments.variates + covariate];
        for step in 0..series.patches() {
            let patch = series.row.patch(segments.covariate_future(covariate, step));
            all.extend(patch.iter().map(|&value| scaling.apply(value)));
            all.extend(std::iter::repeat_n(0.0, padded - patch.len()));
        }
    }
}
