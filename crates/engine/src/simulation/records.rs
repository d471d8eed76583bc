//! What goes into the simulation and what comes out of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{StringBuilder, TimestampMicrosecondArray};
use tidecast_sql::{PipelinePlan, WindowerOutput, parse_scripts};
use tidecast_stream::{
    ContextSummary, EventTime, ForecastMessage, LateRecord, Offset, OffsetRange, Partition,
    SeriesKey, SourceBatch,
};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) site: String,
    pub(super) kw: f64,
    pub(super) micros: i64,
}

/// What went out of a partition, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Published {
    pub(super) forecasts: Vec<String>,
    pub(super) late: Vec<String>,
}

impl Published {
    /// Adds what a windower says, as messages would.
    pub(super) fn add(&mut self, output: &WindowerOutput) {
        for context in &output.contexts {
            let value = fake_forecast(&context.values);
            let (steps, observed) = (context.steps(), context.observed);
            self.add_line(&context.key, context.origin, steps, observed, value);
        }
        output.late.iter().for_each(|late| self.add_late(late));
        assert!(output.bad.is_empty(), "no record is bad");
    }

    pub(super) fn add_message(&mut self, message: &ForecastMessage) {
        let ContextSummary { steps, observed } = message.context;
        let value = message.variates.first().and_then(|it| it.mean().first().copied());
        let value = value.unwrap_or(f64::NAN);
        self.add_line(&message.series, message.origin, steps, observed, value);
    }

    fn add_line(
        &mut self,
        key: &SeriesKey,
        origin: EventTime,
        steps: usize,
        observed: usize,
        value: f64,
    ) {
        self.forecasts.push(format!("{key} {origin} {steps} {observed} {:x}", value.to_bits()));
    }

    pub(super) fn add_late(&mut self, late: &LateRecord) {
        self.late.push(format!("{:?} {}", late.position, late.row));
    }
}

/// A forecast that depends on every bit of its context.
pub(super) fn fake_forecast(values: &[Vec<f64>]) -> f64 {
    let values = values.iter().flatten().enumerate();
    let weighed = values.map(|(step, value)| match value.is_finite() {
        true => value * (step + 1) as f64,
        false => -1e-3 * (step + 1) as f64,
    });
    weighed.sum()
}

/// The partition of a series: its name begins with the number.
pub(super) fn number_of(series: &SeriesKey) -> usize {
    let site = series.0.get("site").and_then(|site| site.as_str()).unwrap_or_default();
    site.chars().next().and_then(|digit| digit.to_digit(10)).unwrap_or_default() as usize
}

pub(super) fn plan() -> PipelinePlan {
    let script = "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '60' SECOND)
         WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'idle.timeout'='4s');
         CREATE MODEL naive WITH ('provider'='seasonal-naive');
         CREATE TABLE forecasts WITH ('connector'='stdout');
         CREATE VIEW minutes AS SELECT site, window_end AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY site, window_start, window_end;
         CREATE PIPELINE load AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
           model => 'naive', series => 'site', time => 't', target => 'kw',
           horizon => 2, context => 24, min_context => 1, samples => 10, quantiles => [0.5]);";
    parse_scripts(&[("test.sql".to_owned(), script.to_owned())], &crate::MODELS)
        .expect("a valid script")
        .remove(0)
}

pub(super) fn partition(number: usize) -> Partition {
    Partition::new("readings", number as i32)
}

pub(super) fn batch(
    plan: &PipelinePlan,
    number: usize,
    log: &[Row],
    from: usize,
    to: usize,
) -> SourceBatch {
    let mut rows: Vec<Row> = Vec::new();
    let mut offsets = Vec::new();
    for (offset, row) in log.iter().enumerate().take(to).skip(from) {
        rows.push(row.clone());
        offsets.push(offset as i64);
        // Some records are a list of two rows, of which the second may close a window that
        // the first is in.
        if offset % 5 == 2 {
            rows.push(Row { kw: row.kw + 0.5, micros: row.micros + 70_000_000, ..row.clone() });
            offsets.push(offset as i64);
        }
    }
    let mut sites = StringBuilder::new();
    rows.iter().for_each(|row| sites.append_value(&row.site));
    let sites: StringArray = sites.finish();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(sites),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.kw))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.micros))),
    ];
    let range = OffsetRange::new(Offset(from as i64), Offset(to as i64)).expect("a range");
    SourceBatch {
        partition: partition(number),
        range,
        rows: RecordBatch::try_new(Arc::clone(&plan.source.schema), columns).expect("rows"),
        offsets: offsets.into(),
        timestamps: Int64Array::from(vec![None; rows.len()]),
        bad: Vec::new(),
        payload_bytes: 0,
    }
}
