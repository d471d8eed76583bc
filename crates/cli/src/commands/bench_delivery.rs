//! `bench --only delivery`: what exactly-once costs on a Kafka, how soon after their
//! window closed forecasts can be read, and how long a restart takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use tidecast_engine::{
    Engine, EngineConfig, MODELS, SnapshotStore, SqlConnectors, StatePlace, Status,
};
use tidecast_kafka::tools::{
    Isolation, Producer, ReadFrom, TopicReader, create_topics, delete_topics,
};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tokio::runtime::Runtime;

use super::median;
use crate::print::line;

const SERIES: u64 = 1_000;
const PARTITIONS: u64 = 4;
/// Minutes of which each series has a row for every second.
const MINUTES: u64 = 100;
/// Windows that are closed one after the other to time their forecasts.
const ROUNDS: u64 = 40;
/// Series of the restart, and the minutes each has a row in.
const STATE_SERIES: u64 = 100_000;
const STATE_MINUTES: u64 = 12;
/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(300);
/// Some minute of 2025, in milliseconds.
const START: u64 = 1_763_805_600_000;

/// A topic to read, one to write, and a pipeline between them.
struct Setup<'a> {
    bootstrap: &'a str,
    source: String,
    forecasts: String,
    delivery: &'a str,
    /// When forecasts are made.
    refresh: &'a str,
}

impl<'a> Setup<'a> {
    /// Creates the topic of forecasts, and that of the records if there is none yet.
    fn new(bootstrap: &'a str, source: Option<&str>, delivery: &'a str) -> anyhow::Result<Self> {
        let name = unique();
        let setup = Self {
            bootstrap,
            source: source.map_or_else(|| format!("{name}-records"), str::to_owned),
            forecasts: format!("{name}-forecasts"),
            delivery,
            refresh: "on_close",
        };
        let partitions = i32::try_from(PARTITIONS)?;
        let mut topics = vec![(setup.forecasts.as_str(), partitions)];
        if source.is_none() {
            topics.push((setup.source.as_str(), partitions));
        }
        create_topics(bootstrap, &topics)?;
        Ok(setup)
    }

    fn plan(&self) -> anyhow::Result<PipelinePlan> {
        let Self { source, forecasts, delivery, refresh, .. } = self;
        let script = format!(
            "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
               WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
             WITH ('connector'='kafka', 'topic'='{source}', 'format'='json', 'max.future'='none',
                   'group.id'='{forecasts}', 'idle.timeout'='none');
             CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='{forecasts}',
                   'format'='json', 'delivery'='{delivery}');
             CREATE MODEL naive WITH ('provider'='seasonal-naive');
             CREATE VIEW minutes AS SELECT site, window_end AS t, avg(kw) AS kw
               FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
               GROUP BY site, window_start, window_end;
             CREATE PIPELINE bench AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
               model => 'naive', series => 'site', time => 't', target => 'kw',
               horizon => 24, context => 64, min_context => 1, quantiles => [0.1, 0.5, 0.9],
               refresh => '{refresh}');"
        );
        let plans = parse_scripts(&[("bench".to_owned(), script)], &MODELS);
        let plans = plans.map_err(|errors| anyhow::anyhow!("{errors}"))?;
        plans.into_iter().next().context("the script has a pipeline")
    }

    /// Starts the service, here; `state` is where its snapshots go.
    fn start(&self, runtime: &Runtime, state: Option<&str>) -> anyhow::Result<Engine> {
        let mut config = EngineConfig::default();
        config.pipeline.instance.clone_from(&self.forecasts);
        config.state.url = state.map_or(StatePlace::Nowhere, |url| StatePlace::Url(url.to_owned()));
        config.state.interval = Duration::from_secs(1);
        config.kafka.bootstrap_servers = self.bootstrap.to_owned();
        let _inside = runtime.enter();
        Ok(Engine::start(vec![self.plan()?], config, Arc::new(SqlConnectors::default())))
    }

    fn reader(&self) -> anyhow::Result<TopicReader> {
        let from = ReadFrom::Beginning;
        Ok(TopicReader::open(self.bootstrap, &self.forecasts, from, Isolation::ReadCommitted)?)
    }

    /// Sends a row of each series for some seconds.
    fn send(&self, producer: &Producer, seconds: std::ops::Range<u64>) -> anyhow::Result<()> {
        for second in seconds {
            for series in 0..SERIES {
                self.send_row(producer, series, second)?;
            }
        }
        Ok(())
    }

    fn send_row(&self, producer: &Producer, series: u64, second: u64) -> anyhow::Result<()> {
        let (kw, ts) = ((series + second) % 997, START + second * 1_000);
        let payload = format!(r#"{{"site":"site-{series:04}","kw":{kw}.25,"ts":{ts}}}"#);
        let partition = i32::try_from(series % PARTITIONS)?;
        producer.send_to(&self.source, Some(partition), None, Some(payload.as_bytes()), None)?;
        Ok(())
    }
}

fn unique() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("tidecast-bench-{}-{}", std::process::id(), now.as_micros())
}

/// Measures both, and says them.
pub(super) fn delivery(bootstrap: &str, repeats: usize) -> anyhow::Result<Value> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let mut topics = Vec::new();
    let measured = throughput(bootstrap, &runtime, repeats, &mut topics).and_then(|mut report| {
        report.extend(latency(bootstrap, &runtime, &mut topics)?);
        let folder = std::env::temp_dir().join(unique());
        let restarted = restart(bootstrap, &runtime, &folder, &mut topics);
        std::fs::remove_dir_all(&folder).context("the folder of snapshots")?;
        report.extend(restarted?);
        Ok(report)
    });
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let cleaned = delete_topics(bootstrap, &all);
    let report = measured?;
    cleaned?;
    Ok(Value::Object(report))
}

fn object<const N: usize>(numbers: [(&str, f64); N]) -> Map<String, Value> {
    numbers.map(|(name, number)| (name.to_owned(), json!(number))).into_iter().collect()
}

/// Records a second from topic to committed forecasts, both deliveries in turn.
fn throughput(
    bootstrap: &str,
    runtime: &Runtime,
    repeats: usize,
    topics: &mut Vec<String>,
) -> anyhow::Result<Map<String, Value>> {
    let filled = Setup::new(bootstrap, None, "exactly-once")?;
    topics.extend([filled.source.clone(), filled.forecasts.clone()]);
    let producer = Producer::connect(bootstrap)?;
    filled.send(&producer, 0..MINUTES * 60 + 1)?;
    producer.flush(PATIENCE)?;
    let records = SERIES * MINUTES * 60;
    line(format_args!(
        "{records} JSON records, {SERIES} series, {PARTITIONS} partitions, a forecast of 24 steps per series and minute (seasonal naive), committed every 200 ms"
    ));
    let (mut exactly, mut at_least) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        for (delivery, rates) in [("exactly-once", &mut exactly), ("at-least-once", &mut at_least)]
        {
            let setup = Setup::new(bootstrap, Some(&filled.source), delivery)?;
            topics.push(setup.forecasts.clone());
            rates.push(one_rate(&setup, runtime)?);
        }
    }
    let [exactly, at_least] = [exactly, at_least].map(median);
    for (name, rate) in [("at-least-once", at_least), ("exactly-once", exactly)] {
        let share = rate / at_least;
        line(format_args!("  {name:<26} {rate:>12.0} records/s  {share:>5.2} of at-least-once"));
    }
    Ok(object([
        ("at_least_once_per_second", at_least),
        ("exactly_once_per_second", exactly),
        ("exactly_to_at_least", exactly / at_least),
    ]))
}

/// From the start of the service to the last forecast that can be read. Joining the
/// group is part of it, on both sides; were the first forecast the beginning,
/// transactions would gain what it comes later in them.
fn one_rate(setup: &Setup<'_>, runtime: &Runtime) -> anyhow::Result<f64> {
    let mut reader = setup.reader()?;
    let began = Instant::now();
    let engine = setup.start(runtime, None)?;
    read(&mut reader, SERIES * MINUTES, &engine)?;
    let taken = began.elapsed();
    runtime.block_on(engine.shutdown());
    Ok((SERIES * MINUTES * 60) as f64 / taken.as_secs_f64())
}

/// From the record that closes a window of all series to each series' forecast, as a
/// `read_committed` reader sees it.
fn latency(
    bootstrap: &str,
    runtime: &Runtime,
    topics: &mut Vec<String>,
) -> anyhow::Result<Map<String, Value>> {
    let setup = Setup::new(bootstrap, None, "exactly-once")?;
    topics.extend([setup.source.clone(), setup.forecasts.clone()]);
    let producer = Producer::connect(bootstrap)?;
    let mut reader = setup.reader()?;
    let engine = setup.start(runtime, None)?;
    let mut waits = Vec::new();
    for round in 0..ROUNDS + 2 {
        setup.send(&producer, round * 60..round * 60 + 1)?;
        producer.flush(PATIENCE)?;
        pause(round);
        let closed = Instant::now();
        for series in 0..PARTITIONS {
            setup.send_row(&producer, series, (round + 1) * 60)?;
        }
        let (mut found, deadline) = (0, Instant::now() + PATIENCE);
        while found < SERIES {
            if reader.next(Duration::from_millis(100))?.is_some() {
                found += 1;
                // The first rounds wait for the group and for caches.
                if round >= 2 {
                    waits.push(closed.elapsed().as_secs_f64() * 1e3);
                }
            } else {
                check(&engine, deadline)?;
            }
        }
    }
    runtime.block_on(engine.shutdown());
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (waits.len() as f64 * share) as usize;
        waits.get(index.min(waits.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    let (half, most, worst) = (at(0.5), at(0.99), at(1.0));
    line(format_args!(
        "a window of {SERIES} series closes, {ROUNDS} times: its forecasts can be read after {half:.0} ms (median), {most:.0} ms (99 of 100), {worst:.0} ms at most"
    ));
    Ok(object([("latency_ms_p50", half), ("latency_ms_p99", most), ("latency_ms_max", worst)]))
}

/// From the start of a service that has many series to the first forecast it makes
/// then: with a snapshot of its state, and with none.
fn restart(
    bootstrap: &str,
    runtime: &Runtime,
    folder: &Path,
    topics: &mut Vec<String>,
) -> anyhow::Result<Map<String, Value>> {
    let url = folder.display().to_string();
    let store = SnapshotStore::open(&url)?;
    let setup = Setup { refresh: "every 10 steps", ..Setup::new(bootstrap, None, "exactly-once")? };
    topics.extend([setup.source.clone(), setup.forecasts.clone()]);
    let producer = Producer::connect(bootstrap)?;
    for minute in 0..STATE_MINUTES {
        for series in 0..STATE_SERIES {
            setup.send_row(&producer, series, minute * 60)?;
        }
    }
    producer.flush(PATIENCE)?;
    let mut reader = setup.reader()?;
    let engine = setup.start(runtime, Some(&url))?;
    read(&mut reader, STATE_SERIES, &engine)?;
    await_snapshots(&setup, &producer, runtime, &store, &engine)?;
    runtime.block_on(engine.shutdown());
    let mut seconds = Vec::new();
    for (round, url) in [Some(url.as_str()), None].into_iter().enumerate() {
        // The next window in which forecasts are due, of a few series, and what closes it.
        let due = (round as u64 + 1) * 10 + 9;
        for minute in [due, due + 1] {
            for series in 0..PARTITIONS {
                setup.send_row(&producer, series, minute * 60)?;
            }
        }
        producer.flush(PATIENCE)?;
        let started = Instant::now();
        let engine = setup.start(runtime, url)?;
        read(&mut reader, 1, &engine)?;
        seconds.push(started.elapsed().as_secs_f64());
        read(&mut reader, PARTITIONS - 1, &engine)?;
        runtime.block_on(engine.shutdown());
    }
    let [with, without] = [0, 1].map(|round| seconds.get(round).copied().unwrap_or(f64::NAN));
    line(format_args!(
        "a service with {STATE_SERIES} series of {STATE_MINUTES} steps starts: its first new forecast can be read after {with:.1} s with a snapshot, {without:.1} s without"
    ));
    Ok(object([("restart_seconds", with), ("restart_seconds_without_snapshot", without)]))
}

/// Waits until each partition has a snapshot of all that was sent: one is taken behind
/// a record, and written once that is committed.
fn await_snapshots(
    setup: &Setup<'_>,
    producer: &Producer,
    runtime: &Runtime,
    store: &SnapshotStore,
    engine: &Engine,
) -> anyhow::Result<()> {
    let sent = i64::try_from(STATE_SERIES / PARTITIONS * STATE_MINUTES)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let files = runtime.block_on(store.list(None, None))?;
        let of_all = files.iter().filter(|file| file.offset.0 >= sent);
        if of_all.map(|file| &file.partition).collect::<BTreeSet<_>>().len() as u64 == PARTITIONS {
            return Ok(());
        }
        check(engine, deadline)?;
        for series in 0..PARTITIONS {
            setup.send_row(producer, series, (STATE_MINUTES - 1) * 60 + 1)?;
        }
        producer.flush(PATIENCE)?;
        pause(0);
    }
}

/// Reads so many forecasts.
fn read(reader: &mut TopicReader, count: u64, engine: &Engine) -> anyhow::Result<()> {
    let (mut found, deadline) = (0, Instant::now() + PATIENCE);
    while found < count {
        match reader.next(Duration::from_millis(100))? {
            Some(_) => found += 1,
            None => check(engine, deadline)?,
        }
    }
    Ok(())
}

/// Lets what was sent be read, and meets the commit interval at another place in each
/// round.
#[allow(clippy::disallowed_methods, reason = "time passing is what is wanted")]
fn pause(round: u64) {
    std::thread::sleep(Duration::from_millis(250 + 37 * (round % 7)));
}

/// Ends where nothing more will come.
fn check(engine: &Engine, deadline: Instant) -> anyhow::Result<()> {
    for (_, status) in engine.status() {
        if let Status::Failed { reason } | Status::Backoff { reason, .. } = status {
            bail!("the pipeline failed: {reason}");
        }
    }
    if Instant::now() >= deadline {
        bail!("forecasts did not come within {PATIENCE:?}");
    }
    Ok(())
}
