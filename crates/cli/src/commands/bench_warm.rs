//! `bench --only warm`: what a new pipeline reads before its first forecast.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tidecast_engine::{Engine, EngineConfig, MODELS, SqlConnectors, StatePlace, Status};
use tidecast_formats::json::decode_forecast;
use tidecast_kafka::tools::{
    Isolation, Producer, ReadFrom, TopicReader, create_topics, delete_topics,
};
use tidecast_server::Metrics;
use tidecast_sql::parse_scripts;
use tidecast_stream::{EventTime, VariateForecast};
use tokio::runtime::Runtime;

use crate::print::line;

const SERIES: i64 = 1_000;
const PARTITIONS: i64 = 4;
const DAYS: i64 = 30;
const STEP_MINUTES: i64 = 15;
const STEPS_A_DAY: i64 = 24 * 60 / STEP_MINUTES;
const CONTEXT: usize = 512;
/// A midnight of 2025, in milliseconds.
const START: i64 = 1_763_769_600_000;
/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(900);
/// Silence that means that all there was has been read.
const QUIET: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Measures both, and says them: a topic that was filled just now with 30 days of a year ago,
/// so that Kafka's timestamps tell nothing.
pub(super) fn warm(bootstrap: &str) -> anyhow::Result<Value> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let metrics = tidecast_server::install_recorder()?;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let name = format!("tidecast-bench-{}-{}", std::process::id(), now.as_micros());
    let topics = ["records", "warm", "whole"].map(|what| format!("{name}-{what}"));
    let partitions = i32::try_from(PARTITIONS)?;
    let wanted = topics.each_ref().map(|topic| (topic.as_str(), partitions));
    create_topics(bootstrap, &wanted)?;
    let measured = measure(bootstrap, &runtime, &metrics, &topics);
    let cleaned = delete_topics(bootstrap, &wanted.map(|(topic, _)| topic));
    let report = measured?;
    cleaned?;
    Ok(report)
}

fn measure(
    bootstrap: &str,
    runtime: &Runtime,
    metrics: &Metrics,
    [source, warm, whole]: &[String; 3],
) -> anyhow::Result<Value> {
    let producer = Producer::connect(bootstrap)?;
    // The last step comes, and closes, while the warm pipeline runs.
    let last = DAYS * STEPS_A_DAY - 1;
    let step = |step| (0..SERIES).try_for_each(|series| send(&producer, source, series, step));
    (0..last).try_for_each(step)?;
    producer.flush(PATIENCE)?;
    let there = SERIES * last;
    line(format_args!(
        "{there} records of {DAYS} days, {SERIES} series of {STEP_MINUTES} minutes, {PARTITIONS} partitions, \
         written just now; context {CONTEXT}, seasonal naive"
    ));
    let total = || metric(metrics, "tidecast_source_records_total").iter().sum::<f64>();
    let lag = || metric(metrics, "tidecast_source_lag_records").iter().sum::<f64>();

    let began = Instant::now();
    let engine = start(bootstrap, runtime, "warm", source, warm)?;
    // Before its first record a partition's lag is not known, and 0: it is caught up when
    // nothing comes any more.
    let (mut read, mut newest) = (0.0, began);
    await_until(&engine, || {
        if total() > read {
            (read, newest) = (total(), Instant::now());
        }
        read > 0.0 && lag() == 0.0 && newest.elapsed() > QUIET
    })?;
    let of_warm = (read, newest.duration_since(began).as_secs_f64());
    step(last)?;
    (0..PARTITIONS).try_for_each(|series| send(&producer, source, series, last + 1))?;
    producer.flush(PATIENCE)?;
    let warm = first_forecasts(bootstrap, warm, &engine)?;
    runtime.block_on(engine.shutdown());

    let (before, all) = (total(), (there + SERIES + PARTITIONS) as f64);
    let began = Instant::now();
    let engine = start(bootstrap, runtime, "earliest-offset", source, whole)?;
    await_until(&engine, || total() - before >= all)?;
    let of_whole = (all, began.elapsed().as_secs_f64());
    let whole = first_forecasts(bootstrap, whole, &engine)?;
    runtime.block_on(engine.shutdown());

    let full = warm.values().filter(|(steps, _)| *steps == CONTEXT).count();
    let equal = warm.iter().filter(|(series, said)| whole.get(*series) == Some(said)).count();
    for (name, (records, seconds)) in [("warm", of_warm), ("earliest-offset", of_whole)] {
        let share = records / all;
        line(format_args!(
            "  {name:<16} {records:>10.0} records read ({share:.3} of all) in {seconds:.1} s from the start"
        ));
    }
    line(format_args!(
        "  the first forecasts: {full} of {SERIES} from a full context, {equal} equal to the bit to those of the other"
    ));
    Ok(json!({
        "records": all, "warm_records": of_warm.0, "warm_seconds": of_warm.1,
        "whole_seconds": of_whole.1, "full_contexts": full, "equal_forecasts": equal,
    }))
}

fn send(producer: &Producer, topic: &str, series: i64, step: i64) -> anyhow::Result<()> {
    let (kw, ts) = ((series * 31 + step * step) % 997, START + step * STEP_MINUTES * 60_000);
    let payload = format!(r#"{{"site":"site-{series:04}","kw":{kw}.25,"ts":{ts}}}"#);
    let partition = i32::try_from(series % PARTITIONS)?;
    producer.send_to(topic, Some(partition), None, Some(payload.as_bytes()), None)?;
    Ok(())
}

/// Starts the service, here; it forecasts at midnights.
fn start(
    bootstrap: &str,
    runtime: &Runtime,
    mode: &str,
    source: &str,
    forecasts: &str,
) -> anyhow::Result<Engine> {
    let script = format!(
        "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
         WITH ('connector'='kafka', 'topic'='{source}', 'format'='json', 'group.id'='{forecasts}',
               'scan.startup.mode'='{mode}', 'idle.timeout'='none');
         CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='{forecasts}', 'format'='json');
         CREATE MODEL naive WITH ('provider'='seasonal-naive', 'season'='{STEPS_A_DAY}');
         CREATE VIEW steps AS SELECT site, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '{STEP_MINUTES}' MINUTE)
           GROUP BY site, window_start, window_end;
         CREATE PIPELINE bench AS INSERT INTO forecasts SELECT * FROM forecast(TABLE steps,
           model => 'naive', series => 'site', time => 't', target => 'kw', horizon => 24,
           context => {CONTEXT}, min_context => 1, quantiles => [0.1, 0.5, 0.9],
           refresh => 'every {STEPS_A_DAY} steps');"
    );
    let plans = parse_scripts(&[("bench".to_owned(), script)], &MODELS);
    let plans = plans.map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let mut config = EngineConfig::default();
    forecasts.clone_into(&mut config.pipeline.instance);
    config.state.url = StatePlace::Nowhere;
    bootstrap.clone_into(&mut config.kafka.bootstrap_servers);
    let _inside = runtime.enter();
    Ok(Engine::start(plans, config, Arc::new(SqlConnectors::default())))
}

/// Returns the numbers of a metric, one for each of its label sets.
fn metric(metrics: &Metrics, name: &str) -> Vec<f64> {
    let text = metrics.render();
    let lines =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|it| it.starts_with('{')));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
}

/// Reads each series' forecast from the last midnight: how full its context was, and its
/// numbers.
fn first_forecasts(
    bootstrap: &str,
    topic: &str,
    engine: &Engine,
) -> anyhow::Result<BTreeMap<String, (usize, Vec<VariateForecast>)>> {
    let origin = EventTime::from_millis(START + DAYS * STEPS_A_DAY * STEP_MINUTES * 60_000);
    let isolation = Isolation::ReadCommitted;
    let mut reader = TopicReader::open(bootstrap, topic, ReadFrom::Beginning, isolation)?;
    let mut found = BTreeMap::new();
    await_until(engine, || {
        while let Ok(Some(record)) = reader.next(LOOK) {
            if let Ok(message) = decode_forecast(&record.payload.unwrap_or_default())
                && message.origin == origin
            {
                found.insert(message.series.label(), (message.context.observed, message.variates));
            }
        }
        found.len() as i64 >= SERIES
    })?;
    Ok(found)
}

/// Waits until something is so; ends where it will never be.
#[allow(clippy::disallowed_methods, reason = "time passing is what is wanted")]
fn await_until(engine: &Engine, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        for (_, status) in engine.status() {
            if let Status::Failed { reason } | Status::Backoff { reason, .. } = status {
                bail!("the pipeline failed: {reason}");
            }
        }
        if Instant::now() >= deadline {
            bail!("what was waited for did not come within {PATIENCE:?}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
