//! Measuring a model: forecasts a second, and how far that is from what the
//! machine could do.
//!
//! Two floors are measured on the spot. On the processor, with the same number
//! of threads: the rate of large f32 matrix products (the `gemm` crate's), and the
//! rate at which memory is read. On a card: the rate of cuBLAS's products of the
//! numbers in use, and of copying within its memory. No forecast can take less
//! time than its operations at the first (a kernel better than the yardstick's
//! can); and a batch cannot take less than reading the weights once for each
//! patch of the horizon at the second.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidecast_forecast::{Context, ForecastTask, LoadError, ModelSpec, Provider, TaskError};

use crate::device::{Rates, place};
use crate::options;
use crate::provider::{Moirai, load};

/// What is forecast: so many series at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Steps of context.
    pub context: usize,
    /// Steps to forecast.
    pub horizon: usize,
    /// Sample paths.
    pub samples: usize,
    /// Series in a batch.
    pub batch: usize,
}

/// What this machine does with a number of threads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// `cpu`, or a card's number and name.
    pub device: String,
    /// Threads at work.
    pub threads: usize,
    /// Floating-point operations a second in large matrix products.
    pub flops: f64,
    /// Bytes a second read from memory; on a card read and written.
    pub bytes: f64,
}

/// One point, measured. Times are medians.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What was forecast.
    #[serde(flatten)]
    pub point: Point,
    /// `cached` or `exact`.
    pub rollout: String,
    /// Threads of the model.
    pub threads: usize,
    /// Repeats that were timed, after one that was not.
    pub repeats: usize,
    /// Seconds for the batch.
    pub seconds: f64,
    /// Fastest and slowest.
    pub seconds_range: [f64; 2],
    /// What 99 of 100 rounds stay at or below; the slowest, if there were fewer.
    pub seconds_p99: f64,
    /// Forecasts a second.
    pub forecasts_per_second: f64,
    /// Operations of one forecast.
    pub operations: f64,
    /// Seconds that the operations of the batch take at the rate of large
    /// matrix products.
    pub floor_operations: f64,
    /// Seconds that reading the weights takes, once for each patch.
    pub floor_bytes: f64,
    /// Time taken over the larger floor.
    pub over_floor: f64,
    /// Peak memory of the process so far, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// Memory of the card in use, by whoever; `None` on the processor.
    pub device_memory: Option<u64>,
}

/// The head of the table whose lines [`Measured`] writes. The floors are those
/// of the batch in milliseconds, by operations and by bytes.
pub const TABLE_HEAD: &str = "rollout  context  horizon  samples  batch  forecasts/s  \
                              slowest..fastest   ms/batch  GFLOP each  GFLOP/s  by op ms  \
                              by byte ms  over floor  peak MiB";

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { context, horizon, samples, batch } = self.point;
        let [fastest, slowest] = self.seconds_range.map(|seconds| batch as f64 / seconds);
        let range = format!("{slowest:.2}..{fastest:.2}");
        let peak = self.peak_memory.map_or("-".to_owned(), |bytes| (bytes >> 20).to_string());
        write!(
            f,
            "{:<7}  {context:7}  {horizon:7}  {samples:7}  {batch:5}  {:11.2}  {range:>16}  \
             {:9.2}  {:10.3}  {:7.1}  {:8.2}  {:10.2}  {:10.2}  {peak:>8}",
            self.rollout,
            self.forecasts_per_second,
            1e3 * self.seconds,
            self.operations / 1e9,
            self.operations * self.forecasts_per_second / 1e9,
            1e3 * self.floor_operations,
            1e3 * self.floor_bytes,
            self.over_floor,
        )
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A series was not forecast.
    #[error("context {context}, horizon {horizon}: {source}")]
    Task {
        /// Steps of context.
        context: usize,
        /// Steps to forecast.
        horizon: usize,
        /// Why not.
        source: TaskError,
    },
}

/// Loads a model and makes one forecast; returns it with the time both took.
///
/// # Errors
/// If it does not load, or does not forecast.
pub fn load_and_forecast(spec: &ModelSpec) -> Result<(Moirai, Duration), BenchError> {
    let started = Instant::now();
    let mut model = load(spec)?;
    let point = Point { context: 64, horizon: 1, samples: 1, batch: 1 };
    once(&mut model, &tasks(point, None), point)?;
    Ok((model, started.elapsed()))
}

/// Measures a point: one round to warm up, then `repeats` rounds. `series` are
/// the contexts, used in turn; `None` makes some.
///
/// # Errors
/// If a series cannot be forecast.
pub fn measure(
    model: &mut Moirai,
    point: Point,
    series: Option<&[Vec<f64>]>,
    repeats: usize,
    machine: &Machine,
) -> Result<Measured, BenchError> {
    let tasks = tasks(point, series);
    once(model, &tasks, point)?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats.max(1) {
        times.push(once(model, &tasks, point)?.as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let operations = tasks.first().and_then(|task| model.operations(task)).unwrap_or(0.0);
    let info = model.info();
    let patches = point.horizon.div_ceil(model.patch_size());
    let floor_operations = operations * point.batch as f64 / machine.flops;
    let floor_bytes = info.memory_bytes as f64 * patches as f64 / machine.bytes;
    Ok(Measured {
        point,
        rollout: model.rollout().to_string(),
        threads: info.threads,
        repeats: times.len(),
        seconds,
        seconds_range: [times[0], times[times.len() - 1]],
        seconds_p99: times[(times.len() * 99).div_ceil(100) - 1],
        forecasts_per_second: point.batch as f64 / seconds,
        operations,
        floor_operations,
        floor_bytes,
        over_floor: seconds / floor_operations.max(floor_bytes),
        peak_memory: peak_memory(),
        device_memory: model.device_memory().map(|(used, _)| used),
    })
}

fn once(model: &mut Moirai, tasks: &[ForecastTask], point: Point) -> Result<Duration, BenchError> {
    let started = Instant::now();
    for outcome in model.forecast(tasks) {
        let Point { context, horizon, .. } = point;
        black_box(outcome.map_err(|source| BenchError::Task { context, horizon, source })?);
    }
    Ok(started.elapsed())
}

fn tasks(point: Point, series: Option<&[Vec<f64>]>) -> Vec<ForecastTask> {
    let made: Vec<Vec<f64>>;
    let series = match series {
        Some(series) if !series.is_empty() => series,
        _ => {
            made = (0..point.batch).map(|index| wave(index, point.context)).collect();
            &made
        }
    };
    let task = |(index, values): (usize, &Vec<f64>)| {
        let newest = &values[values.len().saturating_sub(point.context)..];
        let mut task = ForecastTask::new(Context::univariate(newest), point.horizon);
        (task.samples, task.seed) = (Some(point.samples), index as u64);
        task
    };
    series.iter().cycle().take(point.batch).enumerate().map(task).collect()
}

/// A daily and a weekly season with some noise that is the same on every run.
fn wave(index: usize, steps: usize) -> Vec<f64> {
    let mut noise = index as u32 + 1;
    let mut value = |step: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (noise >> 8) as f32 / 16_777_216.0 - 0.5;
        let turns = |season: f32| (step as f32 / season * std::f32::consts::TAU).sin();
        f64::from(10.0 + turns(24.0) + 0.5 * turns(168.0) + 0.3 * noise)
    };
    (0..steps).map(&mut value).collect()
}

/// Returns the highest resident memory of this process so far, on Linux.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

impl Machine {
    /// Measures what `threads` threads do together; takes about two seconds.
    /// Do it before the model is loaded: it starts peak memory anew.
    pub fn measure(threads: usize) -> Self {
        let threads = threads.max(1);
        let (flops, bytes) = (at_once(threads, products), at_once(threads, reads));
        // What was read here is no memory of the model's. Only Linux has the
        // file; elsewhere peak memory is not known anyhow.
        let _is_reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { device: "cpu".to_owned(), threads, flops, bytes }
    }

    /// Measures the device of a model with this setting, with as many threads as
    /// it takes.
    ///
    /// # Errors
    /// If the device cannot be used, or cuBLAS is not installed beside a card.
    pub fn measure_for(spec: &ModelSpec) -> Result<Self, LoadError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = spec.threads.unwrap_or(cores);
        match place(&spec.device)?.rates(options::dtype(spec)?)? {
            Some(Rates { name: device, flops, bytes }) => {
                Ok(Self { device, threads, flops, bytes })
            }
            None => Ok(Self::measure(threads)),
        }
    }
}

/// Runs the same work on several threads and returns the sum of their rates.
fn at_once(threads: usize, work: fn() -> f64) -> f64 {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

/// How long a rate is taken.
const WHILE: Duration = Duration::from_millis(700);

/// Returns the best rate of 512 x 512 x 512 products, in operations a second.
#[allow(unsafe_code)] // gemm takes pointers and strides
fn products() -> f64 {
    const SIZE: usize = 512;
    let (left, right) = (vec![0.5f32; SIZE * SIZE], vec![0.25f32; SIZE * SIZE]);
    let mut out = vec![0f32; SIZE * SIZE];
    let (mut best, began) = (f64::INFINITY, Instant::now());
    while began.elapsed() < WHILE {
        let started = Instant::now();
        // SAFETY: three square matrices of SIZE, rows SIZE numbers apart, each
        // in a vector of its own that is as long.
        unsafe {
            gemm::gemm(
                SIZE,
                SIZE,
                SIZE,
                out.as_mut_ptr(),
                1,
                SIZE as isize,
                false,
                left.as_ptr(),
                1,
                SIZE as isize,
                right.as_ptr(),
                1,
                SIZE as isize,
                0f32,
                1f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        best = best.min(started.elapsed().as_secs_f64());
        black_box(&out);
    }
    2.0 * (SIZE * SIZE * SIZE) as f64 / best
}

/// Returns the best rate of reading memory that no cache holds, in bytes a
/// second.
fn reads() -> f64 {
    let numbers = vec![1f32; 32 << 20];
    let (mut best, began) = (f64::INFINITY, Instant::now());
    while began.elapsed() < WHILE {
        let started = Instant::now();
        let mut sums = [0f32; 64];
        for chunk in numbers.as_chunks::<64>().0 {
            sums.iter_mut().zip(chunk).for_each(|(sum, number)| *sum += number);
        }
        black_box(sums);
        best = best.min(started.elapsed().as_secs_f64());
    }
    size_of_val(numbers.as_slice()) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Rollout;
    use crate::spec;

    #[test]
    fn operations_are_those_of_the_tokens() {
        let count = |rollout, horizon| {
            let model = load(&spec().with("rollout", rollout)).expect("loads");
            let point = Point { context: 512, horizon, samples: 100, batch: 1 };
            model.operations(&tasks(point, None)[0]).expect("counted")
        };
        // One patch: the same work, whatever the rollout.
        assert_eq!(count(Rollout::Cached, 16), count(Rollout::Exact, 16));
        // 532 tokens of 4.2 MFLOP and a little for attention and embedding.
        let cached = count(Rollout::Cached, 96);
        assert!((2.2e9..2.6e9).contains(&cached), "{cached}");
        // 17,532 tokens, of which the last layer needs a fraction.
        let exact = count(Rollout::Exact, 96);
        assert!((20.0..35.0).contains(&(exact / cached)), "{exact} for {cached}");
    }

    #[test]
    fn a_point_is_measured() {
        let mut model = load(&spec()).expect("loads");
        let device = "cpu".to_owned();
        let machine = Machine { device, threads: 1, flops: 1e9, bytes: 1e9 };
        let point = Point { context: 32, horizon: 20, samples: 3, batch: 2 };
        let series = [vec![1.0, 2.0, 3.0, 4.0]];
        let measured = measure(&mut model, point, Some(&series), 2, &machine).expect("measured");
        assert_eq!((measured.repeats, measured.rollout.as_str()), (2, "cached"));
        assert!(measured.floor_bytes > 0.0 && measured.over_floor > 0.0);
        let missing = [vec![f64::NAN; 4]];
        let error = measure(&mut model, point, Some(&missing), 1, &machine).expect_err("refused");
        assert!(error.to_string().starts_with("context 32, horizon 20: "), "{error}");
    }
}
