//! Pipelines between the in-memory doubles: what comes out, in which order, and
//! what is committed.

#![allow(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use tidecast_engine::{
    ConnectError, Connection, Connectors, Engine, EngineConfig, MODELS, SqlConnectors, Status,
};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tidecast_stream::memory::{MemorySink, MemorySource};
use tidecast_stream::{
    BadRecord, Blame, ForecastMessage, ForecastStatus, Offset, OffsetRange, Partition,
    PartitionCommit, Period, RecordPosition, Sink, SinkError, Source, SourceBatch, SourceError,
    SourceEvent, Transaction,
};

const MINUTE: i64 = 60_000_000;

fn plan(name: &str) -> PipelinePlan {
    let script = format!(
        "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
         WITH ('connector'='kafka', 'topic'='readings', 'format'='json');
         CREATE MODEL naive WITH ('provider'='seasonal-naive');
         CREATE TABLE forecasts WITH ('connector'='stdout');
         CREATE VIEW minutes AS SELECT site, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY site, window_start, window_end;
         CREATE PIPELINE {name} AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
           model => 'naive', series => 'site', time => 't', target => 'kw',
           horizon => 2, context => 4, min_context => 2, samples => 10, quantiles => [0.5]);"
    );
    parse_scripts(&[("test.sql".to_owned(), script)], &MODELS).expect("a valid script").remove(0)
}

/// One row per entry: (offset, site, value, minute).
fn batch(partition: i32, range: (i64, i64), rows: &[(i64, &str, f64, i64)]) -> SourceBatch {
    let schema = plan("schema").source.schema;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|row| row.3 * MINUTE),
        )),
    ];
    SourceBatch {
        partition: Partition::new("readings", partition),
        range: OffsetRange::new(Offset(range.0), Offset(range.1)).expect("a range"),
        rows: RecordBatch::try_new(schema, columns).expect("rows of the schema"),
        offsets: Int64Array::from_iter_values(rows.iter().map(|row| row.0)),
        timestamps: Int64Array::from(vec![None; rows.len()]),
        bad: Vec::new(),
        payload_bytes: 0,
    }
}

fn assigned(partition: i32, commit: Option<PartitionCommit>) -> SourceEvent {
    SourceEvent::Assigned(vec![(Partition::new("readings", partition), commit)])
}

/// Hands out prepared sources, one per generation.
struct Prepared {
    sources: Mutex<Vec<Box<dyn Source>>>,
    sink: MemorySink,
}

impl Connectors for Prepared {
    fn connect(&self, plan: &PipelinePlan, _: &EngineConfig) -> Result<Connection, ConnectError> {
        let mut sources = self.sources.lock().expect("no other test holds it");
        if sources.is_empty() {
            return Err(ConnectError::Source(SourceError {
                message: format!("no source is left for `{}`", plan.name),
                blame: Blame::External,
                retriable: false,
            }));
        }
        Ok(Connection { source: sources.remove(0), sink: Box::new(self.sink.clone()) })
    }
}

async fn run(
    plans: Vec<PipelinePlan>,
    sources: Vec<Box<dyn Source>>,
) -> (Vec<Transaction>, Vec<(String, Status)>) {
    let sink = MemorySink::default();
    let connectors = Prepared { sources: Mutex::new(sources), sink: sink.clone() };
    let engine = Engine::start(plans, EngineConfig::default(), Arc::new(connectors));
    let endings = engine.ended().await;
    engine.shutdown().await;
    (sink.take(), endings)
}

fn source(events: impl IntoIterator<Item = SourceEvent>) -> Box<dyn Source> {
    Box::new(MemorySource::new(events))
}

fn forecasts(transactions: &[Transaction]) -> Vec<&ForecastMessage> {
    transactions.iter().flat_map(|transaction| &transaction.forecasts).collect()
}

/// Five minutes of two sites, one row a minute each: offsets 0..10.
fn ten_rows() -> Vec<(i64, &'static str, f64, i64)> {
    (0..10)
        .map(|offset| {
            let site = if offset % 2 == 0 { "A" } else { "B" };
            (offset, site, offset as f64, offset / 2)
        })
        .collect()
}

fn summary(messages: &[&ForecastMessage]) -> Vec<(String, i64, ForecastStatus, usize)> {
    messages
        .iter()
        .map(|message| {
            let minute = message.origin.as_micros() / MINUTE;
            (message.series.label(), minute, message.status, message.context.steps)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_closed_window_of_a_series_gets_a_message_in_order() {
    let rows = ten_rows();
    let events = [
        assigned(0, None),
        SourceEvent::Batch(batch(0, (0, 3), &rows[..3])),
        SourceEvent::Batch(batch(0, (3, 10), &rows[3..])),
    ];
    let (transactions, endings) = run(vec![plan("load")], vec![source(events)]).await;

    assert_eq!(endings, [("load".to_owned(), Status::Stopped)]);
    let messages = forecasts(&transactions);
    let expected: Vec<_> = (1..=5)
        .flat_map(|minute| {
            let steps = usize::try_from(minute).unwrap().min(4);
            let status = if minute < 2 { ForecastStatus::TooShort } else { ForecastStatus::Ok };
            ["A", "B"].map(|site| (site.to_owned(), minute, status, steps))
        })
        .collect();
    assert_eq!(summary(&messages), expected);

    // The naive forecast repeats the newest value: site A had 8 in its last minute.
    let last_of_a = messages.iter().rev().find(|message| message.series.label() == "A").unwrap();
    assert_eq!(last_of_a.variates[0].quantile(0.5), Some(&[8.0, 8.0][..]));
    assert_eq!(last_of_a.step, Period::Fixed(60_000_000));

    let commits: Vec<i64> = transactions
        .iter()
        .flat_map(|transaction| &transaction.commits)
        .map(|commit| commit.offset.0)
        .collect();
    assert_eq!(commits.last(), Some(&10), "everything read is committed at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_repeats_nothing_and_knows_the_contexts() {
    let rows = ten_rows();
    let whole = [assigned(0, None), SourceEvent::Batch(batch(0, (0, 10), &rows))];
    let (undisturbed, _) = run(vec![plan("load")], vec![source(whole)]).await;

    // The first owner reads 7 records and is stopped; it does not close windows
    // that are still open, because its source has not ended.
    let first = then_idle([assigned(0, None), SourceEvent::Batch(batch(0, (0, 7), &rows[..7]))]);
    let sink = MemorySink::default();
    let connectors = Prepared { sources: Mutex::new(vec![first]), sink: sink.clone() };
    let engine = Engine::start(vec![plan("load")], EngineConfig::default(), Arc::new(connectors));
    let mut before = Vec::new();
    while before.iter().all(|transaction: &Transaction| transaction.commits.is_empty()) {
        before.extend(sink.take());
        tokio::task::yield_now().await;
    }
    engine.shutdown().await;
    before.extend(sink.take());
    let commit = before.iter().flat_map(|transaction| &transaction.commits).last().unwrap().clone();
    assert_eq!(commit.offset, Offset(7));

    // The second owner is handed the commit, and re-reads in other batches.
    let second = [
        assigned(0, Some(commit)),
        SourceEvent::Batch(batch(0, (0, 5), &rows[..5])),
        SourceEvent::Batch(batch(0, (5, 9), &rows[5..9])),
        SourceEvent::Batch(batch(0, (9, 10), &rows[9..])),
    ];
    let (after, _) = run(vec![plan("load")], vec![source(second)]).await;

    let mut both = forecasts(&before);
    both.extend(forecasts(&after));
    assert_eq!(both, forecasts(&undisturbed));
}

/// Plays its events; where a bounded source would end, it goes on as told.
struct Unbounded(MemorySource, fn() -> Result<SourceEvent, SourceError>);

/// Is idle for ever after these events, as a topic is.
fn then_idle(events: impl IntoIterator<Item = SourceEvent>) -> Box<dyn Source> {
    Box::new(Unbounded(MemorySource::new(events), || Ok(SourceEvent::Idle)))
}

/// Loses its connection after these events.
fn then_failing(events: impl IntoIterator<Item = SourceEvent>) -> Box<dyn Source> {
    let failed = || {
        Err(SourceError {
            message: "connection lost".to_owned(),
            blame: Blame::External,
            retriable: true,
        })
    };
    Box::new(Unbounded(MemorySource::new(events), failed))
}

impl Source for Unbounded {
    fn poll(&mut self, wait: std::time::Duration) -> Result<SourceEvent, SourceError> {
        match self.0.poll(wait)? {
            SourceEvent::Finished => (self.1)(),
            event => Ok(event),
        }
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        self.0.start(partition, from)
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        self.0.release(partitions)
    }

    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        self.0.hold(partition, is_held)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_and_late_records_leave_with_their_place_and_stop_nothing() {
    let mut spoilt = batch(0, (0, 5), &[(0, "A", 1.0, 0), (2, "A", 2.0, 3), (4, "A", 9.0, 1)]);
    spoilt.bad.push(BadRecord {
        position: RecordPosition { partition: spoilt.partition.clone(), offset: Offset(1) },
        key: None,
        payload: Some(b"{oops".to_vec()),
        error: "not JSON".to_owned(),
    });
    let events = [assigned(0, None), SourceEvent::Batch(spoilt)];
    let (transactions, endings) = run(vec![plan("load")], vec![source(events)]).await;

    assert_eq!(endings[0].1, Status::Stopped);
    let bad: Vec<_> = transactions.iter().flat_map(|transaction| &transaction.bad).collect();
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].position.to_string(), "readings[0]@1");
    let late: Vec<_> = transactions.iter().flat_map(|transaction| &transaction.late).collect();
    assert_eq!(late.len(), 1, "{late:?}");
    assert_eq!(late[0].position.offset, Offset(4));
    assert!(late[0].row.contains("9.0"), "{}", late[0].row);
    // Minutes 0 and 3 closed; 1 and 2 are missing steps of the context.
    let last = forecasts(&transactions).pop().unwrap().clone();
    assert_eq!((last.context.steps, last.context.observed), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_fails_is_followed_by_another() {
    let failing = then_failing([assigned(0, None)]);
    let rows = ten_rows();
    let whole = [assigned(0, None), SourceEvent::Batch(batch(0, (0, 10), &rows))];
    let sink = MemorySink::default();
    let connectors =
        Prepared { sources: Mutex::new(vec![failing, source(whole)]), sink: sink.clone() };
    let mut config = EngineConfig::default();
    config.pipeline.restart_backoff = std::time::Duration::from_millis(1);
    let engine = Engine::start(vec![plan("load")], config, Arc::new(connectors));
    assert_eq!(engine.ended().await[0].1, Status::Stopped);
    engine.shutdown().await;
    assert_eq!(forecasts(&sink.take()).len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_windower_that_ends_on_a_quiet_topic_is_noticed() {
    let rows = ten_rows();
    // The second batch leaves a gap, which no source may; nothing comes after it.
    let events = [
        assigned(0, None),
        SourceEvent::Batch(batch(0, (0, 3), &rows[..3])),
        SourceEvent::Batch(batch(0, (5, 6), &rows[5..6])),
    ];
    let connectors =
        Prepared { sources: Mutex::new(vec![then_idle(events)]), sink: MemorySink::default() };
    let mut config = EngineConfig::default();
    config.pipeline.restart_max = 0;
    let engine = Engine::start(vec![plan("load")], config, Arc::new(connectors));
    // Unnoticed, it would be waited for without end.
    let limit = std::time::Duration::from_secs(60);
    let endings = tokio::time::timeout(limit, engine.ended()).await.expect("the pipeline ends");
    engine.shutdown().await;
    let Status::Failed { reason } = &endings[0].1 else { panic!("{endings:?}") };
    assert!(reason.contains("does not continue position 3"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_cannot_start_says_why_and_leaves_the_others_alone() {
    let mut broken = plan("broken");
    broken.model.family = MODELS.family("moirai-moe").expect("a family");
    broken.model.options.set("path", "no/such/folder");
    let rows = ten_rows();
    let whole = [assigned(0, None), SourceEvent::Batch(batch(0, (0, 10), &rows))];
    let (transactions, endings) = run(vec![broken, plan("load")], vec![source(whole)]).await;

    let Status::Failed { reason } = &endings[0].1 else { panic!("{endings:?}") };
    assert!(reason.contains("no/such/folder"), "{reason}");
    assert_eq!(endings[1].1, Status::Stopped);
    assert_eq!(forecasts(&transactions).len(), 10);
}

/// Is stuck in its first transaction until it is told to go on.
struct Stuck {
    go_on: Arc<Mutex<Option<std::sync::mpsc::Receiver<()>>>>,
    sink: MemorySink,
}

impl Sink for Stuck {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        let first = self.go_on.lock().expect("no other holds it").take();
        if let Some(go_on) = first {
            go_on.recv().expect("told to go on");
        }
        self.sink.publish(transaction)
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Hands out prepared ends, one pair per generation.
struct PreparedEnds(Mutex<Vec<Connection>>);

impl Connectors for PreparedEnds {
    fn connect(&self, _: &PipelinePlan, _: &EngineConfig) -> Result<Connection, ConnectError> {
        Ok(self.0.lock().expect("no other holds it").remove(0))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_hangs_is_shown_and_followed_by_another_once_it_is_gone() {
    let rows = ten_rows();
    let events = || [assigned(0, None), SourceEvent::Batch(batch(0, (0, 10), &rows))];
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let sink = MemorySink::default();
    let go_on = Arc::new(Mutex::new(Some(told)));
    let stuck = || Box::new(Stuck { go_on: Arc::clone(&go_on), sink: sink.clone() });
    let ends = PreparedEnds(Mutex::new(vec![
        Connection { source: then_idle(events()), sink: stuck() },
        Connection { source: source(events()), sink: stuck() },
    ]));
    let stall_timeout = std::time::Duration::from_millis(300);
    let mut config = EngineConfig::default();
    config.pipeline.stall_timeout = stall_timeout;
    config.pipeline.restart_backoff = std::time::Duration::from_millis(1);
    let engine = Engine::start(vec![plan("load")], config, Arc::new(ends));
    let stalled = async {
        loop {
            if let Status::Stalled { reason } = &engine.status()[0].1 {
                break reason.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    let reason = tokio::time::timeout(limit, stalled).await.expect("it is shown");
    assert!(reason.starts_with("publisher-load has been at one message for "), "{reason}");
    assert!(sink.take().is_empty());
    // What is stuck holds the next generation up: they must not overlap.
    assert!(matches!(engine.status()[0].1, Status::Stalled { .. }));
    tell.send(()).expect("it waits");
    let endings = tokio::time::timeout(limit, engine.ended()).await.expect("it ends");
    assert_eq!(endings[0].1, Status::Stopped);
    engine.shutdown().await;
    // The first transaction went through after all, and nobody committed it.
    let transactions = sink.take();
    assert!(forecasts(&transactions).len() >= 10);
}

/// A file of forecasts has its columns before the first is made, and keeps them if none is.
#[test]
fn a_sink_with_columns_is_told_them_when_it_is_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    std::fs::write(&input, "meter,kw,ts\n").expect("an input");
    let script = format!(
        "CREATE TABLE readings (meter BIGINT, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
         WITH ('connector'='filesystem', 'path'='{}');
         CREATE TABLE forecasts WITH ('connector'='filesystem', 'path'='{}');
         CREATE VIEW minutes AS SELECT meter, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY meter, window_start, window_end;
         CREATE PIPELINE p AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
           series => 'meter', time => 't', target => 'kw', horizon => 2, quantiles => [0.5]);",
        input.display(),
        output.display()
    );
    let plan =
        parse_scripts(&[("test.sql".to_owned(), script)], &MODELS).expect("a script").remove(0);
    let mut ends =
        SqlConnectors::default().connect(&plan, &EngineConfig::default()).expect("two files");
    ends.sink.close().expect("a file");
    let written = std::fs::read_to_string(&output).expect("the file");
    assert_eq!(written, "pipeline,meter,origin,time,step,variate,mean,q0.5,model,status,reason\n");
}
