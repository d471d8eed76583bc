//! Watermark, late rows, bad rows, and what a view may not say.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use tidecast_sql::window::{WindowOperator, WindowQuery};
use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Offset, Period, TimeGrid, Watermark};

use crate::harness::{Reading, View, batch, floats, ranges, reading, run};

fn sums() -> View {
    View::new(
        "SELECT site, window_start AS f, window_end AS t, sum(kw) AS kw FROM windowed \
         GROUP BY site, window_start, window_end",
    )
}

fn push(operator: &mut WindowOperator, readings: &[Reading]) -> tidecast_sql::window::WindowOutput {
    let none = Int64Array::from(vec![None; readings.len()]);
    push_stamped(operator, readings, none)
}

fn push_stamped(
    operator: &mut WindowOperator,
    readings: &[Reading],
    timestamps: Int64Array,
) -> tidecast_sql::window::WindowOutput {
    let offsets = Int64Array::from_iter_values(0..readings.len() as i64);
    operator.push(&batch(readings), &offsets, &timestamps).unwrap()
}

#[test]
fn a_window_closes_when_the_watermark_reaches_its_end() {
    let mut operator = sums().operator();
    let output = push(&mut operator, &[reading("b", 1.0, 1), reading("a", 2.0, 9)]);
    assert!(output.closed.is_empty());
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(7_000)));
    let output = push(&mut operator, &[reading("a", 4.0, 11), reading("b", 8.0, 5)]);
    assert!(output.closed.is_empty() && output.late.is_empty(), "within the delay");
    let output = push(&mut operator, &[reading("a", 16.0, 12), reading("b", 32.0, 6)]);
    assert_eq!(output.closed.len(), 1);
    let window = &output.closed[0];
    assert_eq!(
        (window.start, window.end),
        (EventTime::from_millis(0), EventTime::from_millis(10_000))
    );
    assert_eq!(window.first_offset, Offset(0));
    let sites: Vec<_> = window.rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(sites, ["b", "a"], "groups in order of first appearance");
    assert_eq!(floats(&window.rows, "kw"), [Some(9.0), Some(2.0)]);
    let late: Vec<usize> = output.late.iter().map(|late| late.row).collect();
    assert_eq!(late, [1], "the row behind the one that closed the window");
    assert_eq!(operator.open_windows(), 1);
}

#[test]
fn a_row_that_where_drops_moves_the_watermark_but_is_never_late() {
    let view = View::new(
        "SELECT window_end AS t, sum(kw) AS kw FROM windowed WHERE kw > 0 GROUP BY window_end",
    );
    let mut operator = view.operator();
    let output = push(
        &mut operator,
        &[
            reading("a", 1.0, 1),
            reading("a", -1.0, 60),
            reading("a", -1.0, 1),
            reading("a", 1.0, 2),
        ],
    );
    assert_eq!(output.closed.len(), 1);
    assert_eq!(floats(&output.closed[0].rows, "kw"), [Some(1.0)]);
    assert_eq!(output.late.iter().map(|late| late.row).collect::<Vec<_>>(), [3]);
}

#[test]
fn several_windows_close_in_order_of_their_ends() {
    let mut operator = sums().operator();
    let readings = [
        reading("a", 1.0, 25),
        reading("a", 2.0, 23),
        reading("a", 3.0, 31),
        reading("a", 4.0, 100),
    ];
    let ends: Vec<i64> = push(&mut operator, &readings)
        .closed
        .iter()
        .map(|window| window.end.as_micros() / 1_000_000)
        .collect();
    assert_eq!(ends, [30, 40]);
}

#[test]
fn an_idle_partition_is_closed_and_stays_closed() {
    let mut operator = sums().operator();
    push(&mut operator, &[reading("a", 1.0, 1), reading("a", 2.0, 11)]);
    let output = operator.close_all().unwrap();
    assert_eq!(output.closed.len(), 2);
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(20_000)));
    let output = push(&mut operator, &[reading("a", 4.0, 12), reading("a", 8.0, 20)]);
    assert_eq!(output.late.len(), 1, "its window has been closed");
    assert_eq!(operator.open_windows(), 1);
    assert!(operator.close_all().unwrap().closed.len() == 1);
    assert!(operator.close_all().unwrap().closed.is_empty());
}

#[test]
fn advance_to_closes_what_ended_and_never_goes_back() {
    let mut operator = sums().operator();
    push(&mut operator, &[reading("a", 1.0, 1), reading("a", 2.0, 11)]);
    let at = |seconds: i64| Watermark::at(EventTime::from_millis(seconds * 1_000));
    assert_eq!(operator.advance_to(at(10)).unwrap().closed.len(), 1);
    assert!(operator.advance_to(at(3)).unwrap().closed.is_empty());
    assert_eq!(operator.watermark(), at(10));
    assert_eq!(operator.replay_from(), Some(Offset(1)));
}

#[test]
fn a_null_event_time_is_rejected_and_changes_nothing() {
    let mut operator = sums().operator();
    let null = Reading { ts: None, ..reading("a", 1.0, 0) };
    let output = push(&mut operator, &[null, reading("a", 2.0, 1)]);
    assert_eq!(output.rejected.len(), 1);
    assert_eq!(output.rejected[0].row, 0);
    assert_eq!(
        output.rejected[0].reason,
        "event time `ts` is null; every record needs one, because it decides the window"
    );
    assert_eq!(operator.open_windows(), 1);
}

#[test]
fn a_time_too_far_ahead_is_rejected_and_does_not_close_windows() {
    let view = View { max_future_micros: Some(3_600_000_000), ..sums() };
    let mut operator = view.operator();
    let readings = [
        reading("a", 1.0, 1),
        reading("a", 2.0, 3_602),
        reading("a", 4.0, 3_601),
        reading("a", 8.0, 9_999),
    ];
    let stamps = Int64Array::from(vec![Some(1_000), Some(1_000), Some(1_000), None]);
    let output = push_stamped(&mut operator, &readings, stamps);
    assert_eq!(output.rejected.len(), 1);
    assert_eq!(output.rejected[0].row, 1);
    assert_eq!(
        output.rejected[0].reason,
        "event time 1970-01-01T01:00:02Z lies 1h 1s ahead of the record's timestamp \
         1970-01-01T00:00:01Z; `max.future` allows 1h"
    );
    assert_eq!(output.closed.len(), 2, "without a record's timestamp there is no bound");
}

#[test]
fn a_time_at_the_end_of_the_calendar_is_rejected() {
    let mut operator = sums().operator();
    let edge = |ts| Reading { ts: Some(ts), ..reading("a", 1.0, 0) };
    let output = push(
        &mut operator,
        &[edge(i64::MAX), edge(i64::MIN), edge(253_402_214_400_000_000), reading("a", 1.0, 5)],
    );
    assert_eq!(output.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        output.rejected[2].reason,
        "event time `ts` is 9999-12-31T00:00:00Z, which no series reaches (before 1677 or after \
         2262): a placeholder for a time that is not known?"
    );
    assert_eq!(operator.open_windows(), 1);
}

#[test]
fn a_time_far_behind_the_record_is_rejected_with_the_likely_unit() {
    let view = View { max_past_micros: Some(50 * 365 * 86_400_000_000), ..sums() };
    let mut operator = view.operator();
    // Milliseconds of 2025 taken for microseconds; 1970; a replay of ten years.
    let stamp = 1_763_805_600_000;
    let times = [stamp, 0, (stamp - 10 * 365 * 86_400_000) * 1_000];
    let readings = times.map(|ts| Reading { ts: Some(ts), ..reading("a", 1.0, 0) });
    let stamps = Int64Array::from(vec![Some(stamp); 3]);
    let output = push_stamped(&mut operator, &readings, stamps);
    assert_eq!(output.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(
        output.rejected[0].reason,
        "event time 1970-01-21T09:56:45.600Z lies 55 years behind the record's timestamp \
         2025-11-22T10:00:00Z; `max.past` allows 49 years; in another unit it would be near: say \
         'timestamp.unit'"
    );
    assert!(output.rejected[1].reason.ends_with("`max.past` allows 49 years"));
}

#[test]
fn a_row_on_which_an_expression_fails_is_rejected_alone() {
    let view = View::new(
        "SELECT window_end AS t, sum(100 / n) AS kw FROM windowed \
         WHERE kw < 1000 GROUP BY window_end",
    );
    let readings: Vec<Reading> = (0..1_000)
        .map(|i| Reading {
            n: Some(i64::from(i % 331 != 7)),
            ..reading("a", if i == 338 { 2_000.0 } else { 1.0 }, 100)
        })
        .collect();
    let outcome = run(&mut view.operator(), &readings, &ranges(readings.len(), &[]));
    let rejected: Vec<i64> = outcome.rejected.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(rejected, [7, 669], "row 338 fails too, but WHERE drops it before");
    assert_eq!(outcome.rejected[0].1, "Divide by zero error");
    let sum = outcome.closed[0].3.column(1);
    let sum = arrow::util::display::array_value_to_string(sum, 0).unwrap();
    assert_eq!(sum, (100 * 997).to_string());
    for step in [1, 10, 300] {
        let cuts: Vec<usize> = (0..readings.len()).step_by(step).collect();
        let cut = run(&mut view.operator(), &readings, &ranges(readings.len(), &cuts));
        assert_eq!(cut, outcome, "batches of {step}");
    }
}

#[test]
fn a_rejected_row_does_not_move_the_watermark() {
    let view =
        View::new("SELECT window_end AS t, sum(100 / n) AS kw FROM windowed GROUP BY window_end");
    let mut operator = view.operator();
    let bad = Reading { n: Some(0), ..reading("a", 1.0, 500) };
    let good = Reading { n: Some(1), ..reading("a", 1.0, 5) };
    let output = push(&mut operator, &[bad, good]);
    assert_eq!((output.rejected.len(), output.late.len(), output.closed.len()), (1, 0, 0));
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(3_000)));
}

#[test]
fn a_group_whose_result_fails_is_reported_alone() {
    let view = View::new(
        "SELECT site, window_end AS t, 100 / sum(n) AS kw FROM windowed GROUP BY site, window_end",
    );
    let mut operator = view.operator();
    let n = |site, n| Reading { n: Some(n), ..reading(site, 1.0, 1) };
    push(&mut operator, &[n("a", 5), n("b", 0), n("c", 10)]);
    let output = operator.close_all().unwrap();
    assert_eq!(output.closed[0].rows.num_rows(), 2);
    assert_eq!(output.failed.len(), 1);
    assert_eq!(output.failed[0].reason, "Divide by zero error");
    let group = output.failed[0].group.as_ref().unwrap();
    assert_eq!(group.column(0).as_string::<i32>().value(0), "b");
}

#[test]
fn event_time_may_have_any_unit() {
    let readings = [reading("a", 1.0, -1), reading("a", 2.0, 0), reading("a", 4.0, 12)];
    for unit in
        [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]
    {
        let instant = DataType::Timestamp(unit, None);
        let rows = batch(&readings);
        let mut columns = rows.columns().to_vec();
        columns[4] = arrow::compute::cast(&columns[4], &instant).unwrap();
        let mut fields: Vec<_> = rows.schema().fields().to_vec();
        fields[4] = Arc::new(Field::new("ts", instant, true));
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();

        let query = compile_over(&schema);
        let mut operator = WindowOperator::new(&query).unwrap();
        let offsets = Int64Array::from_iter_values(0..3);
        let output = operator.push(&rows, &offsets, &Int64Array::from(vec![None; 3])).unwrap();
        let ends: Vec<i64> =
            output.closed.iter().map(|window| window.end.as_micros() / 1_000_000).collect();
        assert_eq!(ends, [0, 10], "{unit:?}");
    }
}

/// A view over a source of another schema, built without SQL.
fn compile_over(schema: &Arc<Schema>) -> WindowQuery {
    use datafusion::datasource::{MemTable, provider_as_source};
    use datafusion::functions_aggregate::expr_fn::sum;
    use datafusion::logical_expr::{LogicalPlanBuilder, col};
    use tidecast_sql::window::{SourceTableInfo, TumbleNode};

    let table = MemTable::try_new(Arc::clone(schema), vec![vec![]]).unwrap();
    let scan = LogicalPlanBuilder::scan("readings", provider_as_source(Arc::new(table)), None);
    let scan = scan.unwrap().build().unwrap();
    let grid = TimeGrid::new(Period::Fixed(10_000_000), 0, Tz::UTC);
    let tumble = TumbleNode::try_new(scan, "ts", grid).unwrap().into_plan();
    let plan = LogicalPlanBuilder::from(tumble)
        .aggregate(vec![col("window_end")], vec![sum(col("kw"))])
        .unwrap()
        .build()
        .unwrap();
    let source = SourceTableInfo {
        schema: Arc::clone(schema),
        event_time: "ts".to_owned(),
        delay_micros: 0,
        watermark_condition: None,
        max_future_micros: None,
        max_past_micros: None,
        is_bounded: false,
    };
    WindowQuery::compile(&plan, &tidecast_sql::Session::default(), &source).unwrap()
}

#[test]
fn a_batch_of_another_schema_is_an_error() {
    let mut operator = sums().operator();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_from_iter([("other", column)]).unwrap();
    let offsets = Int64Array::from(vec![0]);
    let error = operator.push(&rows, &offsets, &Int64Array::new_null(1)).unwrap_err();
    assert!(error.to_string().starts_with("the batch has the columns"), "{error}");
}

#[test]
fn what_cannot_run_on_a_stream_is_refused_in_plain_words() {
    let windows = "GROUP BY site, window_start, window_end";
    let cases = [
        ("SELECT site, kw FROM windowed".to_owned(), "the view does not aggregate"),
        ("SELECT site, sum(kw) FROM windowed GROUP BY site".to_owned(), "groups span windows"),
        (
            format!("SELECT DISTINCT site, sum(kw) FROM windowed {windows}"),
            "SELECT DISTINCT is not",
        ),
        (format!("SELECT site, sum(kw) FROM windowed {windows} ORDER BY site"), "ORDER BY is not"),
        (format!("SELECT site, sum(kw) FROM windowed {windows} LIMIT 3"), "LIMIT is not"),
        (
            "SELECT site, sum(kw) FROM readings GROUP BY site".to_owned(),
            "`readings` is read without",
        ),
        (
            format!("SELECT site, sum(kw * random()) FROM windowed {windows}"),
            "`random` gives another",
        ),
        (format!("SELECT site, now(), sum(kw) FROM windowed {windows}"), "`now` gives another"),
        (
            format!("SELECT site, nth_value(kw, 2 ORDER BY n) FROM windowed {windows}"),
            "ORDER BY inside `nth_value`",
        ),
        (
            "SELECT site, sum(kw) FROM windowed GROUP BY ROLLUP (site, window_start)".to_owned(),
            "ROLLUP",
        ),
        (
            "SELECT a.site, sum(a.kw) FROM windowed a JOIN readings b ON a.site = b.site \
             GROUP BY a.site, window_start"
                .to_owned(),
            "JOIN is not",
        ),
        (
            "SELECT site, sum(t) FROM (SELECT site, window_start, sum(kw) AS t FROM windowed \
             GROUP BY site, window_start) AS x GROUP BY site, window_start"
                .to_owned(),
            "a second GROUP BY is not",
        ),
    ];
    for (sql, expected) in cases {
        let error = View::new(sql.clone()).compile().expect_err(&sql);
        assert!(error.message.contains(expected), "{sql}: {error}");
    }
}

#[test]
fn a_view_describes_its_steps() {
    let view = View::new(
        "SELECT site, window_end AS t, avg(kw) AS kw FROM windowed WHERE n > 1 \
         GROUP BY site, window_start, window_end HAVING count(*) > 2",
    );
    let lines = view.compile().unwrap().describe();
    assert_eq!(
        lines,
        [
            "window: tumbling, 10s by `ts`",
            "filter: n > 1",
            "group by: site, window_start, window_end",
            "aggregate: avg(kw)",
            "aggregate: count(*)",
            "filter: count(*) > 2",
            "select: site, window_end AS t, avg(kw) AS kw",
        ]
    );
}

#[test]
fn the_operator_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&sums().operator());
}

/// Nulls in `kw` are rows ahead: they do not move the watermark.
fn measured() -> View {
    View { delay_micros: 0, moves_if: Some("kw IS NOT NULL".to_owned()), ..sums() }
}

fn ahead(site: &'static str, seconds: i64) -> Reading {
    Reading { kw: None, ..reading(site, 0.0, seconds) }
}

#[test]
fn only_rows_for_which_the_condition_is_true_move_the_watermark() {
    let mut operator = measured().operator();
    let output = push(&mut operator, &[reading("a", 1.0, 1), ahead("a", 95), ahead("a", 15)]);
    assert!(output.closed.is_empty());
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(1_000)));
    // They are late like others.
    let output = push(&mut operator, &[reading("a", 2.0, 25), ahead("a", 11), ahead("a", 21)]);
    assert_eq!(output.closed.len(), 2);
    assert_eq!(output.late.iter().map(|late| late.row).collect::<Vec<_>>(), [1]);
    assert_eq!(operator.open_windows(), 2, "those of 20 and 90 seconds");
}

#[test]
fn a_null_condition_moves_no_watermark_and_a_failing_one_rejects_its_row() {
    let view = View { moves_if: Some("10 / n > 1".to_owned()), ..measured() };
    let mut operator = view.operator();
    let n = |n: Option<i64>, seconds| Reading { n, ..reading("a", 1.0, seconds) };
    let output = push(&mut operator, &[n(Some(1), 5), n(None, 40), n(Some(0), 50), n(Some(9), 60)]);
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(5_000)));
    let rejected: Vec<_> =
        output.rejected.iter().map(|rejected| (rejected.row, rejected.reason.as_str())).collect();
    assert_eq!(rejected, [(2, "Divide by zero error")]);
    assert_eq!(operator.open_windows(), 3);
}

#[test]
fn an_idle_partition_keeps_the_windows_that_are_only_ahead() {
    let mut operator = measured().operator();
    push(&mut operator, &[ahead("a", 65)]);
    assert!(operator.close_idle().unwrap().closed.is_empty(), "nothing has begun");
    push(&mut operator, &[reading("a", 1.0, 1), ahead("a", 12), reading("a", 2.0, 15)]);
    assert_eq!(operator.close_idle().unwrap().closed.len(), 1);
    assert_eq!(operator.watermark().event_time(), Some(EventTime::from_millis(20_000)));
    assert_eq!(operator.open_windows(), 1);
    assert!(operator.close_idle().unwrap().closed.is_empty(), "not the next one, either");
    assert_eq!(operator.close_all().unwrap().closed.len(), 1);
}
