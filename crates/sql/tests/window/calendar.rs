//! Windows of a calendar, from the text of a script to contexts; files, which end; and
//! steps without a row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use proptest::prelude::*;
use tidecast_sql::window::{SeriesContext, Windower};
use tidecast_sql::{PipelinePlan, Refresh, WindowerOutput, parse_scripts};
use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Offset, OffsetRange, Partition, Period, SourceBatch, TimeGrid};

use crate::harness::{View, reading};
use crate::models::MODELS;
use crate::replay::assert_resumes;
use crate::snapshot::assert_goes_on;

/// A pipeline over `window` of the table `s (site, n, y, ts)`.
fn plan(connector: &str, target: &str, window: &str, more: &str) -> PipelinePlan {
    let script = format!(
        "CREATE TABLE s (site VARCHAR, n BIGINT, y DOUBLE, ts TIMESTAMP NOT NULL,
                         WATERMARK FOR ts AS ts) WITH ({connector});
         CREATE TABLE o WITH ('connector'='stdout');
         CREATE VIEW v AS SELECT site, window_start AS t, {target} AS y
           FROM TUMBLE(TABLE s, DESCRIPTOR(ts), {window}) GROUP BY site, window_start, window_end;
         CREATE PIPELINE p AS INSERT INTO o SELECT * FROM forecast(TABLE v,
           series => 'site', time => 't', target => 'y', horizon => 2, context => 8{more});"
    );
    parse_scripts(&[("test.sql".to_owned(), script)], &MODELS).unwrap().remove(0)
}

const TOPIC: &str = "'connector'='kafka', 'topic'='s', 'max.future'='none', 'max.past'='none'";
const FILE: &str = "'connector'='filesystem', 'path'='s.csv'";

/// Rows of one site each: site, time, value.
fn batch(plan: &PipelinePlan, rows: &[(&str, &str, f64)]) -> SourceBatch {
    let micros = |text: &str| text.parse::<EventTime>().unwrap().as_micros();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2 as i64))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| micros(row.1)))),
    ];
    let count = rows.len() as i64;
    SourceBatch {
        partition: Partition::new("s", 0),
        range: OffsetRange::new(Offset(0), Offset(count)).unwrap(),
        rows: RecordBatch::try_new(Arc::clone(&plan.source.schema), columns).unwrap(),
        offsets: Int64Array::from_iter_values(0..count),
        timestamps: Int64Array::new_null(rows.len()),
        bad: Vec::new(),
        payload_bytes: 0,
    }
}

/// What comes out by the end, and the last context of each series.
fn run(plan: &PipelinePlan, rows: &[(&str, &str, f64)]) -> (WindowerOutput, Vec<SeriesContext>) {
    let mut windower = Windower::new(plan).unwrap();
    let mut output = windower.process(&batch(plan, rows)).unwrap();
    let end = windower.finish().unwrap();
    output.contexts.extend(end.contexts);
    output.bad.extend(end.bad);
    let mut last: Vec<SeriesContext> = Vec::new();
    for context in &output.contexts {
        last.retain(|known| known.key != context.key);
        last.push(context.clone());
    }
    (output, last)
}

/// Origin and values of the last context, `-1` for a missing step.
fn only(contexts: &[SeriesContext]) -> (String, Vec<f64>) {
    let [context] = contexts else { panic!("one series, found {contexts:?}") };
    let value = |value: &f64| if value.is_nan() { -1.0 } else { *value };
    (context.origin.to_string(), context.values[0].iter().map(value).collect())
}

#[test]
fn a_month_is_one_step_whatever_its_length() {
    let plan = plan(TOPIC, "sum(y)", "INTERVAL '1' MONTH", "");
    let rows = [
        ("a", "2024-01-01T00:00:00Z", 1.0),
        ("a", "2024-01-31T23:59:59Z", 2.0),
        ("a", "2024-02-29T12:00:00Z", 4.0),
        ("a", "2024-04-30T00:00:00Z", 8.0),
        ("a", "2024-05-01T00:00:00Z", 16.0),
    ];
    let (_, last) = run(&plan, &rows);
    assert_eq!(only(&last), ("2024-05-01T00:00:00Z".to_owned(), vec![3.0, 4.0, -1.0, 8.0, 16.0]));
}

#[test]
fn days_of_a_zone_hold_the_hours_that_its_clocks_show() {
    let window = "INTERVAL '1' DAY, timezone => 'Europe/Berlin'";
    let plan = plan(TOPIC, "count(y)", window, "");
    let first: EventTime = "2024-03-29T23:00:00Z".parse().unwrap();
    let hours: Vec<String> =
        (0..71).map(|hour| first.plus_micros(hour * 3_600_000_000).to_string()).collect();
    let rows: Vec<_> = hours.iter().map(|hour| ("a", hour.as_str(), 1.0)).collect();
    let (_, last) = run(&plan, &rows);
    // 31 March 2024 had 23 hours.
    assert_eq!(only(&last), ("2024-03-31T22:00:00Z".to_owned(), vec![24.0, 23.0, 24.0]));
}

#[test]
fn a_weekend_belongs_to_the_business_day_before() {
    let plan = plan(TOPIC, "sum(y)", "INTERVAL '1' DAY, calendar => 'business'", "");
    let rows = [
        ("a", "2024-02-29T09:00:00Z", 1.0),
        ("a", "2024-03-01T09:00:00Z", 2.0),
        ("a", "2024-03-02T09:00:00Z", 4.0),
        ("a", "2024-03-04T09:00:00Z", 8.0),
    ];
    let (_, last) = run(&plan, &rows);
    assert_eq!(only(&last), ("2024-03-04T00:00:00Z".to_owned(), vec![1.0, 6.0, 8.0]));
}

#[test]
fn a_file_has_no_late_rows_and_forgets_no_series() {
    let rows = [
        ("new", "2024-08-02T00:00:00Z", 5.0),
        ("new", "2024-08-01T00:00:00Z", 4.0),
        ("old", "1924-01-02T00:00:00Z", 2.0),
        ("old", "1924-01-01T00:00:00Z", 1.0),
        ("end", "9999-12-31T00:00:00Z", 9.0),
    ];
    let day = "INTERVAL '1' DAY";
    let (output, last) = run(&plan(FILE, "avg(y)", day, ", refresh => 'at_end'"), &rows);
    assert!(output.late.is_empty());
    let found: Vec<_> = last.iter().map(|context| only(std::slice::from_ref(context))).collect();
    let expected =
        [("1924-01-02T00:00:00Z", vec![1.0, 2.0]), ("2024-08-02T00:00:00Z", vec![4.0, 5.0])];
    let mut found: Vec<_> = found.iter().map(|(t, v)| (t.as_str(), v.clone())).collect();
    found.sort_by_key(|(time, _)| *time);
    assert_eq!(found, expected);
    assert_eq!(output.bad.len(), 1, "a placeholder is no time: {:?}", output.bad);
    // The same rows of a topic are late.
    let (output, _) = run(&plan(TOPIC, "avg(y)", day, ""), &rows);
    assert_eq!(output.late.len(), 3);
}

#[test]
fn no_row_is_no_event() {
    let rows = [
        ("a", "2024-08-01T00:00:00Z", 1.0),
        ("a", "2024-08-01T03:00:00Z", 2.0),
        ("a", "2024-08-01T03:30:00Z", 2.0),
    ];
    let hour = "INTERVAL '1' HOUR";
    for (target, more, expected) in [
        ("count(*)", "", [1.0, 0.0, 0.0, 2.0]),
        ("sum(y)", "", [1.0, -1.0, -1.0, 4.0]),
        ("sum(y)", ", fill => 'zero'", [1.0, 0.0, 0.0, 4.0]),
        ("max(y)", ", fill => 'zero'", [1.0, 0.0, 0.0, 2.0]),
    ] {
        let plan = plan(TOPIC, target, hour, more);
        let (output, last) = run(&plan, &rows);
        assert_eq!(only(&last).1, expected, "{target}{more}");
        assert_eq!((output.steps, output.gap_steps), (1, 0), "the second step closes at the end");
        let observed = expected.iter().filter(|value| **value >= 0.0).count();
        assert_eq!(last[0].observed, observed);
    }
}

#[test]
fn a_silence_longer_than_a_context_is_zeros_in_a_file_and_the_end_of_a_streams_series() {
    let rows = [("a", "2024-08-01T00:00:00Z", 1.0), ("a", "2024-08-02T00:00:00Z", 2.0)];
    let hour = "INTERVAL '1' HOUR";
    let (_, last) = run(&plan(FILE, "count(*)", hour, ", refresh => 'at_end'"), &rows);
    assert_eq!(only(&last).1, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let (_, last) = run(&plan(TOPIC, "count(*)", hour, ""), &rows);
    assert_eq!(only(&last).1, [1.0]);
}

#[test]
fn a_sum_beyond_64_bits_fails_its_group_and_no_other() {
    let large = 4.611686018427388e18;
    let rows = [
        ("a", "2024-08-01T00:00:00Z", large),
        ("a", "2024-08-01T00:00:01Z", large),
        ("b", "2024-08-01T00:00:01Z", large),
        ("a", "2024-08-01T00:00:02Z", large),
    ];
    let (output, last) = run(&plan(TOPIC, "sum(n)", "INTERVAL '1' MINUTE", ""), &rows);
    assert_eq!(last.len(), 1);
    assert_eq!((last[0].key.label().as_str(), last[0].values[0][0]), ("b", large));
    let [bad] = &output.bad[..] else { panic!("one group: {:?}", output.bad) };
    assert!(bad.error.contains("13835058055282163712"), "{}", bad.error);
    assert!(bad.error.contains("CAST(… AS DOUBLE)"), "{}", bad.error);
    // As a DOUBLE it is the number it is.
    let (_, last) = run(&plan(TOPIC, "sum(y)", "INTERVAL '1' MINUTE", ""), &rows);
    assert_eq!(last.iter().map(|c| c.values[0][0]).fold(0.0, f64::max), 3.0 * large);
}

#[test]
fn a_decimal_that_names_a_series_keeps_its_digits() {
    let script = "CREATE TABLE s (sim DECIMAL(20, 0), y DOUBLE, ts TIMESTAMP NOT NULL,
                                  WATERMARK FOR ts AS ts) WITH ('connector'='kafka', 'topic'='s');
         CREATE TABLE o WITH ('connector'='stdout');
         CREATE VIEW v AS SELECT sim, window_end AS t, avg(y) AS y
           FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY sim, window_end;
         CREATE PIPELINE p AS INSERT INTO o SELECT * FROM forecast(TABLE v,
           series => 'sim', time => 't', target => 'y', horizon => 1);";
    let plan =
        parse_scripts(&[("test.sql".to_owned(), script.to_owned())], &MODELS).unwrap().remove(0);
    let sims = [89_014_103_211_118_510_720_i128 / 10, 89_014_103_211_118_510_721 / 10 + 1];
    let decimals = arrow::array::Decimal128Array::from_iter_values(sims);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(decimals.with_precision_and_scale(20, 0).unwrap()),
        Arc::new(Float64Array::from(vec![1.0, 2.0])),
        Arc::new(TimestampMicrosecondArray::from(vec![1_722_470_400_000_000; 2])),
    ];
    let batch = SourceBatch {
        partition: Partition::new("s", 0),
        range: OffsetRange::new(Offset(0), Offset(2)).unwrap(),
        rows: RecordBatch::try_new(Arc::clone(&plan.source.schema), columns).unwrap(),
        offsets: Int64Array::from_iter_values(0..2),
        timestamps: Int64Array::new_null(2),
        bad: Vec::new(),
        payload_bytes: 0,
    };
    let mut windower = Windower::new(&plan).unwrap();
    windower.process(&batch).unwrap();
    let contexts = windower.close_all().unwrap().contexts;
    let mut labels: Vec<String> = contexts.iter().map(|context| context.key.label()).collect();
    labels.sort();
    assert_eq!(labels, sims.map(|sim| sim.to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Months and days of a zone, steps without a row that are 0: a restart goes on as if
    /// there had been none, from a snapshot and by reading again.
    #[test]
    fn a_restart_changes_nothing_of_a_calendar(
        steps in prop::collection::vec((0_usize..3, -6_i64..60, 0.0..5.0), 1..60),
        calendar in 0_usize..4,
        is_zero in any::<bool>(),
        taken in any::<prop::sample::Index>(),
        stop in any::<prop::sample::Index>(),
    ) {
        let grid = match calendar {
            0 => TimeGrid::new(Period::Days(1), 0, Tz::Europe__Berlin),
            1 => TimeGrid::new(Period::BusinessDays, 0, Tz::UTC),
            2 => TimeGrid::new(Period::Months(1), -86_400_000_000, Tz::UTC),
            _ => TimeGrid::new(Period::Fixed(86_400_000_000), 0, Tz::UTC),
        };
        let view = View {
            calendar: Some(grid),
            delay_micros: 3_600_000_000,
            ..View::new(
                "SELECT site, window_end AS t, sum(kw) AS kw FROM windowed \
                 GROUP BY site, window_start, window_end",
            )
        };
        let mut plan = view.pipeline(4, Refresh::OnClose);
        plan.forecast.zero_filled = vec![is_zero];
        // Around the changes of clocks of 2024, a few hours to weeks apart.
        let mut now = 1_711_700_000;
        let readings: Vec<_> = steps
            .into_iter()
            .map(|(site, hours, kw)| {
                now += hours * 3_600 * if hours > 50 { 12 } else { 1 };
                reading(["a", "b", "c"][site], kw, now)
            })
            .collect();
        let stop = stop.index(readings.len() + 1);
        assert_goes_on(&plan, &readings, (taken.index(stop + 1), stop), &[]);
        assert_resumes(&plan, &readings, stop, &[]);
    }
}
