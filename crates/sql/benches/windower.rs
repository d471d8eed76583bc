//! Rows per second through the windower, one partition, one thread.
//!
//! `cargo bench -p tidecast-sql` prints one line per case; there is no target.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark talks to a person")]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use tidecast_sql::{PipelinePlan, Windower, parse_scripts};
use tidecast_stream::{Offset, OffsetRange, Partition, SourceBatch};

#[path = "../tests/support/models.rs"]
mod models;

/// One record a second and series, one-minute windows.
const ROWS: usize = 4_000_000;

fn main() {
    for (name, aggregate, series, batch) in [
        ("avg, 100 series", "avg(kw)", 100, 10_000),
        ("avg, 10000 series", "avg(kw)", 10_000, 10_000),
        ("avg, 100 series, batches of 100", "avg(kw)", 100, 100),
        ("approx_median, 100 series", "approx_median(kw)", 100, 10_000),
        ("avg of distinct, 100 series", "avg(DISTINCT kw)", 100, 10_000),
    ] {
        let plan = plan(aggregate);
        let batches = batches(&plan, series, batch);
        let mut windower = Windower::new(&plan).unwrap();
        let (mut windows, mut contexts) = (0, 0);
        let start = Instant::now();
        for batch in &batches {
            let output = windower.process(batch).unwrap();
            windows += output.windows_closed;
            contexts += output.contexts.len();
        }
        let seconds = start.elapsed().as_secs_f64();
        let rows: usize = batches.iter().map(|batch| batch.rows.num_rows()).sum();
        let rate = rows as f64 / seconds;
        println!("{name}: {rate:.0} rows/s ({windows} windows, {contexts} contexts)");
    }
}

fn plan(aggregate: &str) -> PipelinePlan {
    let text = format!(
        "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
         WITH ('connector'='kafka', 'topic'='readings', 'format'='json');
         CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts');
         CREATE VIEW load_1m AS SELECT site, window_end AS t, {aggregate} AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           WHERE kw >= 0 GROUP BY site, window_start, window_end;
         CREATE PIPELINE bench AS INSERT INTO forecasts SELECT * FROM
           forecast(TABLE load_1m, series => 'site', time => 't', target => 'kw',
                    horizon => 24, context => 512);"
    );
    parse_scripts(&[("bench.sql".to_owned(), text)], &models::MODELS).unwrap().remove(0)
}

fn batches(plan: &PipelinePlan, series: usize, rows_per_batch: usize) -> Vec<SourceBatch> {
    let names: Vec<String> = (0..series).map(|i| format!("site-{i:05}")).collect();
    (0..ROWS / rows_per_batch)
        .map(|batch| {
            let rows = batch * rows_per_batch..(batch + 1) * rows_per_batch;
            let site = rows.clone().map(|row| names[row % series].as_str());
            let kw = rows.clone().map(|row| (row as f64 * 0.001).sin().abs());
            let ts = rows.clone().map(|row| (row / series) as i64 * 1_000_000);
            let columns: Vec<arrow::array::ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(site)),
                Arc::new(Float64Array::from_iter_values(kw)),
                Arc::new(TimestampMicrosecondArray::from_iter_values(ts)),
            ];
            let (start, end) = (rows.start as i64, rows.end as i64);
            SourceBatch {
                partition: Partition::new("readings", 0),
                range: OffsetRange::new(Offset(start), Offset(end)).unwrap(),
                rows: RecordBatch::try_new(Arc::clone(&plan.source.schema), columns).unwrap(),
                offsets: Int64Array::from_iter_values(start..end),
                timestamps: Int64Array::new_null(rows_per_batch),
                bad: Vec::new(),
                payload_bytes: 0,
            }
        })
        .collect()
}
