//! `bench --only memory`: what series take while nothing happens, what an open window of
//! all of them takes beside, and what its close does.
//!
//! Contexts are full. As their values are kept in as many bytes as they need
//! (`sql::window`), that is measured with values of three kinds; of a million series all
//! but two steps are missing, since the rows of so many take too long.
//!
//! Memory is what the system says (`VmRSS` of `/proc/self/status`), so each measurement
//! runs in a process of its own, and this is for Linux.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::{Value, json};
use tidecast_engine::{ConnectError, Connection, Connectors, Engine, EngineConfig, MODELS};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tidecast_stream::{
    Offset, OffsetRange, Partition, Sink, SinkError, Source, SourceBatch, SourceError, SourceEvent,
    Transaction,
};

use crate::print::line;

/// Series and values of the measurements.
const MEASURED: [(usize, Values); 5] = [
    (10_000, Values::Means),
    (100_000, Values::Readings),
    (100_000, Values::Means),
    (100_000, Values::Unlike),
    (1_000_000, Values::Missing),
];
/// Steps of a context.
const CONTEXT: i64 = 512;
/// Rows of a batch, as the source of a topic hands them on.
const BATCH: usize = 8_192;
const MINUTE: i64 = 60_000_000;
/// How long a close may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Names the measurement to a process that measures, by its place in [`MEASURED`].
const VARIABLE: &str = "TIDECAST_BENCH_MEMORY";

/// What contexts are full of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Values {
    /// Hundredths between 3 and 30.
    Readings,
    /// As many digits as a double has, between 3 and 30.
    Means,
    /// The same over 40 powers of ten.
    Unlike,
    /// But for two steps there are none.
    Missing,
}

impl Values {
    fn name(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Means => "means",
            Self::Unlike => "unlike",
            Self::Missing => "missing",
        }
    }

    /// Returns the value of a series in a minute.
    fn at(self, series: usize, minute: i64) -> f64 {
        let load = 16.5 + 13.5 * (0.7 * series as f64 + 0.26 * minute as f64).sin();
        match self {
            Self::Readings => (load * 100.0).round() / 100.0,
            Self::Means | Self::Missing => load,
            Self::Unlike => load * 10_f64.powi((minute % 40) as i32 - 20),
        }
    }
}

/// Measures each number of series in a process of its own.
pub(super) fn memory() -> anyhow::Result<Value> {
    line(format_args!("context {CONTEXT}, one target, seasonal naive, one partition"));
    let mut rows = Vec::new();
    for (index, (series, values)) in MEASURED.into_iter().enumerate() {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--only", "memory", "--json"]).env(VARIABLE, index.to_string());
        let output = command.output()?;
        if !output.status.success() {
            bail!("with {series} series: {}", String::from_utf8_lossy(&output.stderr));
        }
        let row: Value = serde_json::from_slice(&output.stdout)?;
        let number = |name: &str| row.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        line(format_args!(
            "  {series:>9} series, {:<8}  {:>6.0} bytes each idle ({:.0} behind the close)  \
             {:>5.0} more with an open window  {:>7.1} MiB in flight at a close  {:>8.1} MiB peak  {:>6.1} s a close",
            values.name(),
            number("bytes_per_series"),
            number("after_close_bytes_per_series"),
            number("open_window_bytes_per_series"),
            number("in_flight_bytes") / f64::from(1 << 20),
            number("peak_bytes") / f64::from(1 << 20),
            number("close_seconds"),
        ));
        rows.push(row);
    }
    Ok(json!(rows))
}

/// Measures, if this process was started for that; prints a JSON object.
pub(super) fn measured_here() -> Option<anyhow::Result<()>> {
    let index = std::env::var(VARIABLE).ok()?;
    let measured = index.parse().ok().and_then(|index: usize| MEASURED.get(index).copied());
    let measured = measured.context("no such measurement").and_then(measure);
    Some(measured.map(|row| line(format_args!("{row}"))))
}

/// Fills the contexts of so many series, then closes a window of all of them.
fn measure((series, values): (usize, Values)) -> anyhow::Result<Value> {
    let plan = plan()?;
    let ends = Arc::new(Ends::of(series, values));
    let runtime = tokio::runtime::Runtime::new()?;
    let before = resident()?;
    let engine = {
        let _inside = runtime.enter();
        let ends: Arc<dyn Connectors> = Arc::clone(&ends) as _;
        Engine::start(vec![plan], EngineConfig::default(), ends)
    };
    // Two steps at both ends of a context make it whole.
    let filled = if values == Values::Missing { 0..1 } else { 0..CONTEXT - 1 };
    let last = CONTEXT - 1;
    filled.for_each(|minute| ends.feed(minute, series));
    ends.feed(last, 1);
    ends.settle()?;
    let closed = resident()?;
    ends.feed(last, series);
    ends.settle()?;
    let open = resident()?;
    // One record closes the window of all, at which all are due.
    let sampler = Sampler::start();
    let started = Instant::now();
    ends.feed(CONTEXT, 1);
    ends.wait_for(series as u64)?;
    let took = started.elapsed();
    let peak = sampler.peak();
    ends.settle()?;
    let idle = resident()?;
    runtime.block_on(engine.shutdown());
    Ok(json!({
        "series": series,
        "values": values.name(),
        "bytes_per_series": closed.saturating_sub(before) as f64 / series as f64,
        "after_close_bytes_per_series": idle.saturating_sub(before) as f64 / series as f64,
        "open_window_bytes_per_series": open.saturating_sub(closed) as f64 / series as f64,
        "in_flight_bytes": peak.saturating_sub(idle.max(open)),
        "peak_bytes": peak,
        "close_seconds": took.as_secs_f64(),
    }))
}

fn plan() -> anyhow::Result<PipelinePlan> {
    let script = format!(
        "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
         WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'max.future'='none',
               'idle.timeout'='none');
         CREATE TABLE forecasts WITH ('connector'='stdout');
         CREATE MODEL naive WITH ('provider'='seasonal-naive');
         CREATE VIEW minutes AS SELECT site, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY site, window_start, window_end;
         CREATE PIPELINE bench AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
           model => 'naive', series => 'site', time => 't', target => 'kw',
           refresh => 'every {CONTEXT} steps', horizon => 24, context => {CONTEXT},
           min_context => 1, quantiles => [0.1, 0.5, 0.9]);"
    );
    let plans = parse_scripts(&[("bench".to_owned(), script)], &MODELS);
    let plans = plans.map_err(|errors| anyhow::anyhow!("{errors}"))?;
    plans.into_iter().next().context("the script has a pipeline")
}

/// A row of so many series in one minute.
#[derive(Debug, Clone, Copy)]
struct Minute {
    minute: i64,
    series: usize,
}

/// The two ends of the pipeline: rows that are made up, forecasts that are counted.
#[derive(Debug, Clone)]
struct Ends {
    fed: Arc<Mutex<VecDeque<Minute>>>,
    forecasts: Arc<AtomicU64>,
    values: Values,
    /// Names of the series, as many together as a batch has rows.
    names: Arc<Vec<ArrayRef>>,
}

impl Ends {
    fn of(series: usize, values: Values) -> Self {
        let names = |from: usize| -> ArrayRef {
            let names = (from..series.min(from + BATCH)).map(|series| format!("site-{series:07}"));
            Arc::new(StringArray::from_iter_values(names))
        };
        Self {
            fed: Arc::default(),
            forecasts: Arc::default(),
            values,
            names: Arc::new((0..series).step_by(BATCH).map(names).collect()),
        }
    }

    fn feed(&self, minute: i64, series: usize) {
        let mut fed = self.fed.lock().unwrap_or_else(PoisonError::into_inner);
        fed.push_back(Minute { minute, series });
    }

    /// Waits until what was fed is taken and nothing is done any more.
    #[expect(clippy::disallowed_methods, reason = "that nothing happens is no event")]
    fn settle(&self) -> anyhow::Result<()> {
        const LOOK: Duration = Duration::from_millis(500);
        let deadline = Instant::now() + PATIENCE;
        let mut before = None;
        loop {
            std::thread::sleep(LOOK);
            let is_taken = self.fed.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            let now = cpu_ticks()?;
            // A busy thread has some fifty in that time.
            if is_taken && before.is_some_and(|before| now < before + 3) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("what was fed was not taken in within {PATIENCE:?}");
            }
            before = Some(now);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "another thread counts")]
    fn wait_for(&self, forecasts: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.forecasts.load(Ordering::Relaxed) < forecasts {
            if Instant::now() > deadline {
                bail!("{forecasts} forecasts did not come within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Connectors for Ends {
    fn connect(&self, plan: &PipelinePlan, _: &EngineConfig) -> Result<Connection, ConnectError> {
        let source = Rows {
            ends: self.clone(),
            schema: plan.source.schema.clone(),
            partition: Partition::new("readings", 0),
            is_announced: false,
            is_started: false,
            is_held: false,
            next: 0,
            under_way: None,
        };
        Ok(Connection { source: Box::new(source), sink: Box::new(Counter(self.clone())) })
    }
}

struct Rows {
    ends: Ends,
    schema: arrow::datatypes::SchemaRef,
    partition: Partition,
    is_announced: bool,
    is_started: bool,
    is_held: bool,
    /// The next offset.
    next: i64,
    /// A minute, and the series to go on with.
    under_way: Option<(Minute, usize)>,
}

impl Source for Rows {
    fn poll(&mut self, _wait: Duration) -> Result<SourceEvent, SourceError> {
        if !self.is_announced {
            self.is_announced = true;
            return Ok(SourceEvent::Assigned(vec![(self.partition.clone(), None)]));
        }
        if self.is_held || !self.is_started {
            return Ok(SourceEvent::Idle);
        }
        if self.under_way.is_none() {
            let mut fed = self.ends.fed.lock().unwrap_or_else(PoisonError::into_inner);
            self.under_way = fed.pop_front().map(|minute| (minute, 0));
        }
        let Some((minute, from)) = self.under_way else { return Ok(SourceEvent::Idle) };
        let until = (from + BATCH).min(minute.series);
        self.under_way = (until < minute.series).then_some((minute, until));
        let count = until - from;
        let failed = |error: String| SourceError {
            message: error,
            blame: tidecast_stream::Blame::Internal,
            retriable: false,
        };
        let micros = minute.minute * MINUTE;
        let names = self.ends.names.get(from / BATCH).map(|names| names.slice(0, count));
        let times: ArrayRef = match self.schema.field(2).data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Arc::new(TimestampMillisecondArray::from(vec![micros / 1_000; count]))
            }
            _ => Arc::new(TimestampMicrosecondArray::from(vec![micros; count])),
        };
        let columns: Vec<ArrayRef> = vec![
            names.ok_or_else(|| failed("a row of no series".to_owned()))?,
            Arc::new(Float64Array::from_iter_values(
                (from..until).map(|series| self.ends.values.at(series, minute.minute)),
            )),
            times,
        ];
        let rows = RecordBatch::try_new(self.schema.clone(), columns);
        let rows = rows.map_err(|error| failed(error.to_string()))?;
        let end = self.next + count as i64;
        let range = OffsetRange::new(Offset(self.next), Offset(end));
        let range = range.ok_or_else(|| failed("offsets go back".to_owned()))?;
        let offsets = Int64Array::from_iter_values(self.next..end);
        self.next = end;
        Ok(SourceEvent::Batch(SourceBatch {
            partition: self.partition.clone(),
            range,
            rows,
            offsets,
            timestamps: Int64Array::new_null(count),
            bad: Vec::new(),
            payload_bytes: 0,
        }))
    }

    fn start(&mut self, _: &Partition, _: Option<Offset>) -> Result<(), SourceError> {
        self.is_started = true;
        Ok(())
    }

    fn release(&mut self, _: &[Partition]) -> Result<(), SourceError> {
        Ok(())
    }

    fn hold(&mut self, _: &Partition, is_held: bool) -> Result<(), SourceError> {
        self.is_held = is_held;
        Ok(())
    }
}

struct Counter(Ends);

impl Sink for Counter {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        self.0.forecasts.fetch_add(transaction.forecasts.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Looks at the memory every few milliseconds.
struct Sampler {
    peak: Arc<AtomicU64>,
    stop: std::sync::mpsc::SyncSender<()>,
}

impl Sampler {
    fn start() -> Self {
        let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
        let peak = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&peak);
        std::thread::spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Timeout;
            while stopped.recv_timeout(Duration::from_millis(2)) == Err(Timeout) {
                seen.fetch_max(resident().unwrap_or(0), Ordering::Relaxed);
            }
        });
        Self { peak, stop }
    }

    fn peak(self) -> u64 {
        // It may be gone, which is as good.
        self.stop.send(()).ok();
        self.peak.load(Ordering::Relaxed)
    }
}

/// Bytes of memory that this process has.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("`--only memory` needs /proc, which Linux has")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("no VmRSS in /proc/self/status")?.trim().parse()?;
    Ok(kilobytes << 10)
}

/// Hundredths of a second of processor that this process has used.
fn cpu_ticks() -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which is in brackets and may have blanks.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>);
    ticks.sum::<Result<u64, _>>().context("no times in /proc/self/stat")
}
