//! `bench`: measures on this machine.
//!
//! Ratios are what lasts: both sides of one are measured in turn, in one run,
//! and the medians are compared.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tidecast_engine::MODELS;
use tidecast_kafka::tools::{MockBroker, Producer, consume_bare};
use tidecast_kafka::{KafkaSource, KafkaSourceConfig};
use tidecast_moirai::bench::{Machine, Point, measure};
use tidecast_moirai::{Rollout, load, spec};
use tidecast_sql::{PipelinePlan, Windower, parse_scripts};
use tidecast_stream::{Partition, Source, SourceEvent};

#[path = "bench_delivery.rs"]
mod delivery;
#[path = "bench_memory.rs"]
mod memory;
#[path = "bench_warm.rs"]
mod warm;

use crate::arguments::{BenchArguments, BenchSubject};
use crate::commands::start_logging;
use crate::config::Config;
use crate::print::{line, note};

/// Runs `tidecast bench`.
///
/// # Errors
/// If something that is measured fails.
pub fn run(arguments: &BenchArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = Config::load(None, std::env::vars_os(), &[])?;
    start_logging(&config, Some(log.unwrap_or("warn")))?;
    if cfg!(debug_assertions) {
        note(format_args!("warning: a debug build; its numbers mean nothing (use --release)"));
    }
    if arguments.repeats == 0 {
        bail!("--repeats is 0; expected at least 1");
    }
    if let Some(measured) = memory::measured_here() {
        return measured;
    }
    let wanted = |subject| arguments.only.is_none_or(|only| only == subject);
    let mut report = serde_json::Map::new();
    report.insert("cores".to_owned(), json!(std::thread::available_parallelism()?.get()));
    report.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    if wanted(BenchSubject::Windows) {
        report.insert("windows".to_owned(), windows(arguments.repeats)?);
    }
    if wanted(BenchSubject::Forecasts) {
        report.insert("forecasts".to_owned(), forecasts(arguments.repeats)?);
    }
    if wanted(BenchSubject::Memory) {
        report.insert("memory".to_owned(), memory::memory()?);
    }
    match (&arguments.kafka, arguments.only) {
        (Some(bootstrap), None | Some(BenchSubject::Delivery)) => {
            let measured = delivery::delivery(bootstrap, arguments.repeats)?;
            report.insert("delivery".to_owned(), measured);
        }
        (Some(bootstrap), Some(BenchSubject::Warm)) => {
            report.insert("warm".to_owned(), warm::warm(bootstrap)?);
        }
        (None, Some(BenchSubject::Delivery | BenchSubject::Warm)) => {
            bail!(
                "this needs a Kafka: `--kafka HOST:PORT`; it makes topics of its own and deletes them"
            );
        }
        _ => {}
    }
    if arguments.json {
        line(format_args!("{}", Value::Object(report)));
    }
    Ok(())
}

/// Records of one round: what the mock broker holds of these without dropping.
const RECORDS: u64 = 400_000;
const PARTITIONS: i32 = 8;
const SITES: u64 = 100;
const TOPIC: &str = "bench";
/// One row per site and second, averaged per minute.
const SCRIPT: &str = "
CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector'='kafka', 'topic'='bench', 'format'='json', 'max.future'='none');
CREATE TABLE forecasts WITH ('connector'='stdout');
CREATE VIEW minutes AS SELECT site, window_end AS t, avg(kw) AS kw, max(kw) AS peak
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  GROUP BY site, window_start, window_end;
CREATE PIPELINE bench AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
  series => 'site', time => 't', target => 'kw', horizon => 24, context => 512);";

/// Records a second through source and windows, beside the bare consumer.
fn windows(repeats: usize) -> anyhow::Result<Value> {
    let broker = MockBroker::start(&[(TOPIC, PARTITIONS)])?;
    let bootstrap = broker.bootstrap();
    let bytes = fill(bootstrap)?;
    let plan = parse_scripts(&[("bench".to_owned(), SCRIPT.to_owned())], &MODELS)
        .map_err(|errors| anyhow::anyhow!("{errors}"))?
        .pop()
        .context("the script has a pipeline")?;
    line(format_args!(
        "{RECORDS} JSON records of {} bytes, {PARTITIONS} partitions, {SITES} series; the mock broker runs in this process",
        bytes / RECORDS as usize
    ));
    let (mut bare, mut decoded, mut windowed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..repeats {
        bare.push(rate(consume_bare(bootstrap, TOPIC, PARTITIONS, RECORDS)?));
        decoded.push(rate(read(bootstrap, &plan, &format!("decoded-{round}"), false)?));
        windowed.push(rate(read(bootstrap, &plan, &format!("windowed-{round}"), true)?));
    }
    let [bare, decoded, windowed] = [bare, decoded, windowed].map(median);
    for (name, rate) in [
        ("bare consumer", bare),
        ("source, decoded to Arrow", decoded),
        ("source and windows", windowed),
    ] {
        line(format_args!("  {name:<26} {rate:>12.0} records/s  {:>5.2} of bare", rate / bare));
    }
    Ok(json!({
        "records": RECORDS,
        "bare_per_second": bare,
        "decoded_per_second": decoded,
        "windowed_per_second": windowed,
        "decoded_to_bare": decoded / bare,
        "windowed_to_bare": windowed / bare,
    }))
}

fn rate(taken: Duration) -> f64 {
    RECORDS as f64 / taken.as_secs_f64().max(f64::EPSILON)
}

fn fill(bootstrap: &str) -> anyhow::Result<usize> {
    let producer = Producer::connect(bootstrap)?;
    let mut bytes = 0;
    for index in 0..RECORDS {
        let site = index % SITES;
        let seconds = index / SITES;
        let payload = format!(
            r#"{{"site":"site-{site:03}","kw":{:.3},"ts":{}}}"#,
            (index % 9_973) as f64 * 0.037,
            1_763_805_600_000 + seconds * 1_000,
        );
        bytes += payload.len();
        // A series' records are in one partition.
        let partition = i32::try_from(site)? % PARTITIONS;
        producer.send_to(TOPIC, Some(partition), None, Some(payload.as_bytes()), None)?;
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(bytes)
}

/// Reads all records as a pipeline does; returns the time from the first batch
/// to the last. Joining the group is not measured.
fn read(
    bootstrap: &str,
    plan: &PipelinePlan,
    group: &str,
    through_windows: bool,
) -> anyhow::Result<Duration> {
    let config = KafkaSourceConfig::new(bootstrap, group, TOPIC, plan.source.schema.clone());
    let mut source = KafkaSource::connect(config)?;
    let mut windowers = HashMap::<Partition, Windower>::new();
    let (mut taken, mut began) = (0, None);
    while taken < RECORDS {
        match source.poll(Duration::from_millis(100))? {
            SourceEvent::Assigned(assigned) => {
                for (partition, _) in assigned {
                    source.start(&partition, None)?;
                    windowers.insert(partition, Windower::new(plan)?);
                }
            }
            SourceEvent::Batch(batch) => {
                began.get_or_insert_with(Instant::now);
                taken += batch.rows.num_rows() as u64;
                if let Some(bad) = batch.bad.first() {
                    bail!("{}: {}", bad.position, bad.error);
                }
                if through_windows && let Some(windower) = windowers.get_mut(&batch.partition) {
                    std::hint::black_box(windower.process(&batch)?);
                }
            }
            _ => {}
        }
    }
    Ok(began.map_or(Duration::ZERO, |began: Instant| began.elapsed()))
}

/// Forecasts a second of the built-in model: context 512, horizon 96, 100
/// samples. `model bench` says more.
fn forecasts(repeats: usize) -> anyhow::Result<Value> {
    let at = |batch| Point { context: 512, horizon: 96, samples: 16, batch };
    let machine = Machine::measure_for(&spec())?;
    line(format_args!("builtin:tiny, context 512, horizon 96, 16 samples"));
    let mut rows = Vec::new();
    for (rollout, batch) in [(Rollout::Cached, 1), (Rollout::Cached, 32), (Rollout::Exact, 1)] {
        let mut model = load(&spec().with("rollout", rollout))?;
        let measured = measure(&mut model, at(batch), None, repeats, &machine)?;
        line(format_args!(
            "  {:<7} batch {batch:>3}  {} threads  {:>9.2} forecasts/s",
            measured.rollout, measured.threads, measured.forecasts_per_second,
        ));
        rows.push(serde_json::to_value(&measured)?);
    }
    Ok(json!(rows))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
