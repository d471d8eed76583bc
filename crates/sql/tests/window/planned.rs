//! From the text of a script to contexts, through the planner.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use tidecast_sql::{Windower, parse_scripts};
use tidecast_stream::{EventTime, Offset, OffsetRange, Partition, SourceBatch};

use crate::models::MODELS;

const SCRIPT: &str = "
CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
                       WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'max.future'='1h');
CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts', 'format'='json');
CREATE VIEW load_1m AS SELECT upper(site) AS site, window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  WHERE kw > 0 GROUP BY upper(site), window_start, window_end;
CREATE PIPELINE load_forecast AS INSERT INTO forecasts
  SELECT * FROM forecast(TABLE load_1m, series => 'site', time => 't', target => 'kw',
                         horizon => 96, context => 512);
";

#[test]
fn a_script_becomes_contexts() {
    let plan =
        parse_scripts(&[("load.sql".to_owned(), SCRIPT.to_owned())], &MODELS).unwrap().remove(0);
    let seconds = [5, 50, 61, 62, 300];
    let times: Vec<i64> = seconds.iter().map(|second| second * 1_000).collect();
    let ts: ArrayRef = Arc::new(arrow::array::TimestampMillisecondArray::from(times.clone()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "a", "a", "b", "a"])),
        Arc::new(Float64Array::from(vec![1.0, 3.0, 5.0, -7.0, 9.0])),
        ts,
    ];
    let mut stamps = times;
    stamps[4] = 0; // its event time is five minutes ahead of it, within the hour
    let batch = SourceBatch {
        partition: Partition::new("readings", 2),
        range: OffsetRange::new(Offset(0), Offset(5)).unwrap(),
        rows: RecordBatch::try_new(Arc::clone(&plan.source.schema), columns).unwrap(),
        offsets: Int64Array::from_iter_values(0..5),
        timestamps: Int64Array::from(stamps),
        bad: Vec::new(),
        payload_bytes: 0,
    };
    let mut windower = Windower::new(&plan).unwrap();
    let output = windower.process(&batch).unwrap();
    assert!(output.bad.is_empty() && output.late.is_empty(), "{output:?}");
    let last = output.contexts.last().unwrap();
    assert_eq!(last.key.to_string(), r#"{"site":"A"}"#);
    assert_eq!(last.origin, EventTime::from_millis(120_000));
    assert_eq!(last.values, [[2.0, 5.0]]);
    let end = windower.close_all().unwrap().contexts;
    assert_eq!(format!("{:?}", end[0].values), "[[2.0, 5.0, NaN, NaN, NaN, 9.0]]");
}
