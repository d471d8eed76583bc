//! Laws: the stream equals the batch query, and cuts do not matter, to the bit.

use arrow::array::RecordBatch;
use proptest::prelude::*;
use tidecast_sql::Refresh;
use tidecast_sql::window::{WindowOperator, Windower};

use crate::harness::{Outcome, Reading, View, batch, ranges, run, sorted};
use crate::replay::source_batch;

/// Aggregates whose batch result is the same to the bit: DataFusion adds rows up
/// one after the other, too. (None that sorts: DataFusion would then sort the
/// rows for all of them.)
pub(crate) const EXACT: &[&str] = &[
    "sum(kw)",
    "avg(kw)",
    "min(kw)",
    "max(kw)",
    "count(kw)",
    "count(*)",
    "sum(n)",
    "avg(n)",
    "min(site)",
    "max(site)",
    "count(DISTINCT n)",
    "sum(DISTINCT n)",
    "stddev(kw)",
    "stddev_pop(kw)",
    "var_samp(kw)",
    "var_pop(kw)",
    "median(kw)",
    "approx_distinct(n)",
    "corr(kw, n)",
    "bool_and(flag)",
    "bool_or(flag)",
    "bit_and(n)",
    "bit_or(n)",
    "bit_xor(n)",
    "first_value(kw)",
    "last_value(kw)",
    "nth_value(kw, 2)",
    "array_agg(n)",
    "string_agg(site, ',')",
    "sum(kw) FILTER (WHERE n > 2)",
    "count(*) FILTER (WHERE flag)",
    "avg(CAST(kw + 0.0 AS DECIMAL(30, 4)))",
    "sum(kw * 2.0 + 1.0)",
];

/// Aggregates that DataFusion rounds, orders or breaks ties by what it was
/// handed at once; on a stream they must not.
pub(crate) const BY_PIECES: &[&str] = &[
    "array_agg(DISTINCT n ORDER BY n)",
    "percentile_cont(0.3) WITHIN GROUP (ORDER BY kw)",
    "sum(DISTINCT kw)",
    "avg(DISTINCT kw)",
    "median(DISTINCT kw)",
    "stddev(DISTINCT kw)",
    "array_agg(DISTINCT n)",
    "string_agg(DISTINCT site, ',')",
    "approx_median(kw)",
    "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY kw)",
    "approx_percentile_cont(0.2, 50) WITHIN GROUP (ORDER BY kw DESC)",
    "covar_samp(kw, n)",
    "covar_pop(kw, n)",
    "regr_slope(kw, n)",
    "regr_r2(kw, n)",
    "regr_intercept(kw, n)",
    "first_value(kw ORDER BY n)",
    "last_value(kw ORDER BY n)",
    "first_value(kw) IGNORE NULLS",
    "array_agg(kw ORDER BY n, kw)",
    "string_agg(site, ',' ORDER BY kw)",
];

pub(crate) fn all_aggregates(lists: &[&[&str]]) -> View {
    let aggregates: Vec<String> = lists
        .concat()
        .iter()
        .enumerate()
        .map(|(index, text)| format!("{text} AS a{index}"))
        .collect();
    View::new(format!(
        "SELECT site, window_end AS t, {} FROM windowed GROUP BY site, window_start, window_end",
        aggregates.join(", ")
    ))
}

/// Values of all magnitudes, so that any other order of addition shows.
fn kw() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(-0.0)),
        2 => Just(Some(1e16)),
        2 => Just(Some(-1e16)),
        6 => (-1000.0..1000.0).prop_map(Some),
        2 => (-1.0..1.0).prop_map(|x: f64| Some(x * 1e-9)),
    ]
}

/// A stream of readings that wander forward, jitter, repeat and leap.
pub(crate) fn stream(longest: usize) -> impl Strategy<Value = Vec<Reading>> {
    let site = prop_oneof![Just("a"), Just("b"), Just("c")];
    let step = prop_oneof![
        6 => 0_i64..2_000_000,
        3 => -9_000_000_i64..0,
        1 => 20_000_000_i64..60_000_000,
    ];
    let n = proptest::option::weighted(0.9, 0_i64..6);
    let flag = proptest::option::weighted(0.9, any::<bool>());
    prop::collection::vec((site, kw(), n, flag, step), 0..longest).prop_map(|rows| {
        let mut now = 100_000_000;
        let reading = |(site, kw, n, flag, step)| {
            now += step;
            Reading { site, kw, n, flag, ts: Some(now) }
        };
        rows.into_iter().map(reading).collect()
    })
}

/// Sorts late rows out as the documentation says it, one row at a time.
fn without_late(view: &View, readings: &[Reading], kept: impl Fn(&Reading) -> bool) -> Late {
    let mut watermark = i64::MIN;
    let mut late = Late::default();
    for (offset, reading) in readings.iter().enumerate() {
        let ts = reading.ts.unwrap();
        let size = view.size_micros;
        let end = ts - (ts - view.offset_micros).rem_euclid(size) + size;
        if kept(reading) && end <= watermark {
            late.offsets.push(offset as i64);
        } else {
            late.in_time.push(reading.clone());
        }
        watermark = watermark.max(ts - view.delay_micros);
    }
    late
}

#[derive(Default)]
struct Late {
    offsets: Vec<i64>,
    in_time: Vec<Reading>,
}

fn streamed(view: &View, readings: &[Reading], cuts: &[usize]) -> Outcome {
    run(&mut view.operator(), readings, &ranges(readings.len(), cuts))
}

fn assert_equals_batch(view: &View, readings: &[Reading], kept: fn(&Reading) -> bool) {
    let query = view.compile().unwrap();
    let mut operator = WindowOperator::new(&query).unwrap();
    let outcome = run(&mut operator, readings, &ranges(readings.len(), &[7, 19]));
    let expected = without_late(view, readings, kept);
    let late: Vec<i64> = outcome.late.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(late, expected.offsets);
    assert_eq!((outcome.rejected.as_slice(), outcome.failed.as_slice()), (&[][..], &[][..]));
    let batch = view.run_as_batch(&expected.in_time);
    let (found, wanted) = (sorted(&outcome.rows(&query.output_schema())), sorted(&batch));
    for (index, field) in found.schema().fields().iter().enumerate() {
        assert_eq!(found.column(index), wanted.column(index), "{} of {}", field.name(), view.sql);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn windows_equal_a_batch_query_without_the_late_rows(readings in stream(80)) {
        assert_equals_batch(&all_aggregates(&[EXACT]), &readings, |_| true);
    }

    #[test]
    fn filters_expressions_and_having_equal_the_batch_query(
        readings in stream(80),
        offset_micros in -20_000_000_i64..20_000_000,
    ) {
        let sql = "SELECT s AS site, t, round(total, 3) AS kw, total > 0 AS positive FROM (
                SELECT upper(site) AS s, window_end AS t, sum(kw + coalesce(n, 0)) AS total
                FROM (SELECT *, n % 2 AS odd FROM windowed WHERE n IS NULL OR n <> 3) AS inside
                WHERE odd IS DISTINCT FROM 5
                GROUP BY upper(site), window_start, window_end
                HAVING count(*) > 1) AS totals";
        let view = View { offset_micros, ..View::new(sql) };
        assert_equals_batch(&view, &readings, |reading| reading.n != Some(3));
    }

    #[test]
    fn cuts_do_not_matter_to_the_bit(
        readings in stream(150),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let view = all_aggregates(&[EXACT, BY_PIECES]);
        let whole = streamed(&view, &readings, &[]);
        prop_assert_eq!(&streamed(&view, &readings, &cuts), &whole);
        let one_by_one: Vec<usize> = (0..readings.len()).collect();
        prop_assert_eq!(&streamed(&view, &readings, &one_by_one), &whole);
    }

    #[test]
    fn cuts_do_not_matter_to_contexts(
        readings in stream(200),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let view = View::new(
            "SELECT site, window_end AS t, avg(kw) AS kw FROM windowed \
             GROUP BY site, window_start, window_end",
        );
        let plan = view.pipeline(4, Refresh::OnClose);
        let contexts = |cuts: &[usize]| {
            let mut windower = Windower::new(&plan).unwrap();
            let mut contexts = Vec::new();
            for cut in ranges(readings.len(), cuts) {
                let batch = source_batch(&readings, cut);
                contexts.extend(windower.process(&batch).unwrap().contexts);
            }
            contexts.extend(windower.close_all().unwrap().contexts);
            // Debug text tells NaN from NaN and -0 from 0.
            (format!("{contexts:?}"), windower.replay_point())
        };
        prop_assert_eq!(contexts(&cuts), contexts(&[]));
    }
}

/// Many rows in one group: several pieces for accumulators that are fed so, and
/// long runs for the arrow kernels that would add up in lanes.
#[test]
fn cuts_do_not_matter_in_a_long_window() {
    let readings: Vec<Reading> = (0..2_000_i64)
        .map(|i| Reading {
            site: if i % 11 == 0 { "b" } else { "a" },
            kw: (i % 17 != 0).then_some((i as f64 * 0.37).sin() * 10_f64.powi((i % 20) as i32)),
            n: (i % 5 != 0).then_some(i * i % 97),
            flag: Some(i % 3 == 0),
            ts: Some(100_000_000 + i * 1_000),
        })
        .collect();
    let view = all_aggregates(&[EXACT, BY_PIECES]);
    let whole = streamed(&view, &readings, &[]);
    assert_eq!(whole.closed.len(), 1);
    for step in [1, 63, 64, 700] {
        let cuts: Vec<usize> = (0..readings.len()).step_by(step).collect();
        assert_eq!(streamed(&view, &readings, &cuts), whole, "batches of {step}");
    }
}

/// The batch query says nothing about the bits of these, but about their values.
#[test]
fn aggregates_fed_in_pieces_are_right() {
    let readings: Vec<Reading> = (0..500_i64)
        .map(|i| Reading {
            site: "a",
            kw: Some((i as f64 * 0.7).sin() * 100.0),
            n: Some((i * 7) % 101),
            flag: None,
            ts: Some(100_000_000 + i * 1_000),
        })
        .collect();
    let aggregates = [
        "sum(DISTINCT kw)",
        "avg(DISTINCT n)",
        "covar_samp(kw, n)",
        "regr_slope(kw, n)",
        "CAST(array_length(array_agg(DISTINCT n)) AS DOUBLE)",
        "percentile_cont(0.3) WITHIN GROUP (ORDER BY kw)",
        "approx_median(kw)",
        "first_value(kw ORDER BY n DESC, kw)",
        "last_value(kw ORDER BY n, kw DESC)",
    ];
    for aggregate in aggregates {
        let view = View::new(format!(
            "SELECT CAST({aggregate} AS DOUBLE) AS a FROM windowed GROUP BY window_start"
        ));
        let value = |rows: &RecordBatch| crate::harness::floats(rows, "a")[0].unwrap();
        let outcome = streamed(&view, &readings, &[100, 333]);
        let (found, wanted) = (value(&outcome.closed[0].3), value(&view.run_as_batch(&readings)));
        let tolerance = if aggregate.starts_with("approx") { 5.0 } else { 1e-9 };
        assert!(
            (found - wanted).abs() <= tolerance * wanted.abs().max(1.0),
            "{aggregate}: {found} on the stream, {wanted} in the batch"
        );
    }
    assert_eq!(batch(&readings).num_rows(), 500);
}
