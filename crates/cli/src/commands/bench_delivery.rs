//! `bench --only delivery`: what exactly-once costs on a Kafka, and how soon after
//! their window closed forecasts can be read.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tidecast_engine::{Engine, EngineConfig, SqlConnectors, Status};
use tidecast_kafka::{Isolation, Producer, ReadFrom, TopicReader, create_topics, delete_topics};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tokio::runtime::Runtime;

use super::median;
use crate::print::line;

const SERIES: u64 = 1_000;
const PARTITIONS: u64 = 4;
/// Minutes of which each series has a row for every second.
const MINUTES: u64 = 20;
/// Windows that are closed one after the other to time their forecasts.
const ROUNDS: u64 = 40;
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
        let Self { source, forecasts, delivery, .. } = self;
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
               horizon => 24, context => 64, min_context => 1, quantiles => [0.1, 0.5, 0.9]);"
        );
        let plans = parse_scripts(&[("bench".to_owned(), script)]);
        let plans = plans.map_err(|errors| anyhow::anyhow!("{errors}"))?;
        plans.into_iter().next().context("the script has a pipeline")
    }

    /// Starts the service, here.
    fn start(&self, runtime: &Runtime) -> anyhow::Result<Engine> {
        let mut config = EngineConfig { instance: self.forecasts.clone(), ..Default::default() };
        config.kafka.bootstrap_servers = self.bootstrap.to_owned();
        let _inside = runtime.enter();
        Ok(Engine::start(vec![self.plan()?], config, Arc::new(SqlConnectors)))
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
    let measured = throughput(bootstrap, &runtime, repeats, &mut topics)
        .and_then(|throughput| Ok((throughput, latency(bootstrap, &runtime, &mut topics)?)));
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let cleaned = delete_topics(bootstrap, &all);
    let (mut report, latency) = measured?;
    cleaned?;
    if let (Value::Object(report), Value::Object(latency)) = (&mut report, latency) {
        report.extend(latency);
    }
    Ok(report)
}

/// Records a second from topic to committed forecasts, both deliveries in turn.
fn throughput(
    bootstrap: &str,
    runtime: &Runtime,
    repeats: usize,
    topics: &mut Vec<String>,
) -> anyhow::Result<Value> {
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
    Ok(json!({
        "at_least_once_per_second": at_least,
        "exactly_once_per_second": exactly,
        "exactly_to_at_least": exactly / at_least,
    }))
}

/// From the first forecast that can be read to the last: joining the group is not
/// measured.
fn one_rate(setup: &Setup<'_>, runtime: &Runtime) -> anyhow::Result<f64> {
    let mut reader = setup.reader()?;
    let engine = setup.start(runtime)?;
    let expected = SERIES * MINUTES;
    let (mut found, mut first, deadline) = (0, None, Instant::now() + PATIENCE);
    while found < expected {
        if reader.next(Duration::from_millis(100))?.is_some() {
            found += 1;
            first.get_or_insert_with(|| (Instant::now(), found));
        } else {
            check(&engine, deadline)?;
        }
    }
    let last = Instant::now();
    runtime.block_on(engine.shutdown());
    let (first, _) = first.context("nothing was forecast")?;
    // The first window's records came before.
    let records = SERIES * (MINUTES - 1) * 60;
    Ok(records as f64 / (last - first).as_secs_f64())
}

/// From the record that closes a window of all series to each series' forecast, as a
/// `read_committed` reader sees it.
fn latency(bootstrap: &str, runtime: &Runtime, topics: &mut Vec<String>) -> anyhow::Result<Value> {
    let setup = Setup::new(bootstrap, None, "exactly-once")?;
    topics.extend([setup.source.clone(), setup.forecasts.clone()]);
    let producer = Producer::connect(bootstrap)?;
    let mut reader = setup.reader()?;
    let engine = setup.start(runtime)?;
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
    Ok(json!({ "latency_ms_p50": half, "latency_ms_p99": most, "latency_ms_max": worst }))
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
