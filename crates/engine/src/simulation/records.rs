//! What goes into the simulation and what comes out of it.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{StringBuilder, TimestampMicrosecondArray};
use tidecast_sql::{PipelinePlan, WindowerOutput, parse_scripts};
use tidecast_stream::{Offset, OffsetRange, Partition, SourceBatch};

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
    pub(super) fn add(&mut self, output: &WindowerOutput) {
        for context in &output.contexts {
            let mut line = format!("{} {}", context.key, context.origin);
            for value in context.values.iter().flatten() {
                let _infallible = write!(line, " {:x}", value.to_bits());
            }
            self.forecasts.push(line);
        }
        let late = output.late.iter().map(|late| format!("{:?} {}", late.position, late.row));
        self.late.extend(late);
        assert!(output.bad.is_empty(), "no record is bad");
    }

    pub(super) fn append(&mut self, other: Self) {
        self.forecasts.extend(other.forecasts);
        self.late.extend(other.late);
    }
}

pub(super) fn plan() -> PipelinePlan {
    let script = "CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '60' SECOND)
         WITH ('connector'='kafka', 'topic'='readings', 'format'='json');
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
    let rows = &log[from..to];
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
        offsets: Int64Array::from_iter_values(from as i64..to as i64),
        timestamps: Int64Array::from(vec![None; rows.len()]),
        bad: Vec::new(),
        payload_bytes: 0,
    }
}
