//! Context rings: gaps, wrap-around, history, forgotten series.

use proptest::prelude::*;
use tidecast_sql::window::{Prior, SeriesContext, Windower};
use tidecast_sql::{PipelinePlan, Refresh};
use tidecast_stream::EventTime;

use crate::harness::{Reading, View, reading};
use crate::replay::source_batch;

/// Ten-second windows, no delay, the greatest value.
fn plan(context: usize, refresh: Refresh) -> PipelinePlan {
    let view = View {
        delay_micros: 0,
        ..View::new(
            "SELECT site, window_end AS t, max(kw) AS kw FROM windowed \
             GROUP BY site, window_start, window_end",
        )
    };
    view.pipeline(context, refresh)
}

fn run(plan: &PipelinePlan, readings: &[Reading]) -> (Windower, Vec<SeriesContext>) {
    let mut windower = Windower::new(plan).unwrap();
    let mut contexts =
        windower.process(&source_batch(readings, 0..readings.len())).unwrap().contexts;
    contexts.extend(windower.finish().unwrap().contexts);
    (windower, contexts)
}

/// Values with `-1` for a missing step.
fn values(context: &SeriesContext) -> Vec<f64> {
    context.values[0].iter().map(|value| if value.is_nan() { -1.0 } else { *value }).collect()
}

#[test]
fn a_gap_becomes_missing_steps() {
    let readings = [reading("a", 1.0, 5), reading("a", 2.0, 15), reading("a", 3.0, 45)];
    let (_, contexts) = run(&plan(8, Refresh::OnClose), &readings);
    let found: Vec<_> = contexts.iter().map(values).collect();
    assert_eq!(found, [vec![1.0], vec![1.0, 2.0], vec![1.0, 2.0, -1.0, -1.0, 3.0]]);
    let last = &contexts[2];
    assert_eq!(last.observed, 3);
    assert_eq!(last.origin, EventTime::from_millis(50_000));
    assert_eq!(last.key.to_string(), r#"{"site":"a"}"#);
    assert_eq!(last.prior, [Prior::default()]);
}

#[test]
fn nulls_and_infinities_are_missing_and_counted() {
    let null = Reading { kw: None, ..reading("a", 0.0, 15) };
    let readings =
        [reading("a", 1.0, 5), null, reading("a", 1e300, 25), reading("a", f64::INFINITY, 35)];
    let mut windower = Windower::new(&plan(8, Refresh::AtEnd)).unwrap();
    let taken = windower.process(&source_batch(&readings, 0..4)).unwrap();
    assert!(taken.contexts.is_empty());
    let output = windower.finish().unwrap();
    assert_eq!(values(&output.contexts[0]), [1.0, -1.0, 1e300, -1.0]);
    assert_eq!(output.contexts[0].observed, 2);
    assert_eq!((taken.missing_values, output.missing_values), (1, 1));
}

#[test]
fn the_ring_wraps_and_remembers_what_it_lost() {
    let readings: Vec<Reading> = (0..7)
        .filter(|i| *i != 1)
        .map(|i| reading("a", f64::from(i) + 1.0, i64::from(i) * 10))
        .collect();
    let (_, contexts) = run(&plan(3, Refresh::OnClose), &readings);
    let last = contexts.last().unwrap();
    assert_eq!(values(last), [5.0, 6.0, 7.0]);
    // 1, (missing: 1 again), 3, 4
    assert_eq!(last.prior, [Prior { sum: 9.0, count: 4, last: 4.0 }]);
}

#[test]
fn leading_missing_steps_count_with_the_first_observed_value() {
    let null = |seconds| Reading { kw: None, ..reading("a", 0.0, seconds) };
    let readings = [null(5), null(15), null(25), reading("a", 8.0, 35), reading("a", 2.0, 45)];
    let (_, contexts) = run(&plan(2, Refresh::OnClose), &readings);
    assert_eq!(contexts[2].prior, [Prior::default()], "nothing observed yet");
    assert_eq!(contexts[3].prior, [Prior { sum: 16.0, count: 2, last: 8.0 }]);
    assert_eq!(contexts[4].prior, [Prior { sum: 24.0, count: 3, last: 8.0 }]);
}

#[test]
fn refresh_decides_which_contexts_come_out() {
    let readings: Vec<Reading> = (0..6).map(|i| reading("a", 1.0, i * 10)).collect();
    let origins = |refresh| -> Vec<i64> {
        let (_, contexts) = run(&plan(4, refresh), &readings);
        contexts.iter().map(|context| context.origin.as_millis() / 10_000).collect()
    };
    assert_eq!(origins(Refresh::OnClose), [1, 2, 3, 4, 5, 6]);
    assert_eq!(origins(Refresh::Every(3)), [3, 6]);
    assert_eq!(origins(Refresh::AtEnd), [6]);
}

#[test]
fn at_the_end_every_series_comes_once_in_order_of_appearance() {
    let readings = [reading("b", 1.0, 5), reading("a", 2.0, 6), reading("a", 3.0, 15)];
    let (_, contexts) = run(&plan(4, Refresh::AtEnd), &readings);
    let found: Vec<_> = contexts.iter().map(|c| (c.key.label(), values(c))).collect();
    assert_eq!(found, [("b".to_owned(), vec![1.0]), ("a".to_owned(), vec![2.0, 3.0])]);
}

#[test]
fn a_series_without_data_for_a_whole_context_is_forgotten() {
    let mut readings = vec![reading("b", 1.0, 5)];
    readings.extend((0..5).map(|i| reading("a", 1.0, i * 10)));
    let (windower, contexts) = run(&plan(3, Refresh::AtEnd), &readings);
    assert_eq!(windower.series(), 1);
    assert_eq!(contexts.len(), 1);

    readings.push(reading("b", 9.0, 45));
    let (_, contexts) = run(&plan(3, Refresh::OnClose), &readings);
    let last = contexts.last().unwrap();
    assert_eq!((last.key.label(), values(last)), ("b".to_owned(), vec![9.0]));
    assert_eq!(last.prior, [Prior::default()]);
}

#[test]
fn two_rows_of_a_series_in_one_window_are_reported() {
    let view = View::new(
        "SELECT site, n, window_end AS t, max(kw) AS kw FROM windowed \
         GROUP BY site, n, window_start, window_end",
    );
    let mut windower = Windower::new(&view.pipeline(4, Refresh::OnClose)).unwrap();
    let readings = [reading("a", 1.0, 5), Reading { n: Some(7), ..reading("a", 2.0, 6) }];
    windower.process(&source_batch(&readings, 0..2)).unwrap();
    let output = windower.close_all().unwrap();
    assert_eq!(output.contexts.len(), 1);
    assert_eq!(output.bad.len(), 1);
    let bad = &output.bad[0];
    assert_eq!(
        bad.error,
        "series {\"site\":\"a\"} has another row at or before its step 1970-01-01T00:00:10Z; a \
         series needs one row per window, so GROUP BY exactly the series columns and the window"
    );
    let payload = String::from_utf8(bad.payload.clone().unwrap()).unwrap();
    assert_eq!(payload, r#"{"site":"a","n":7,"t":"1970-01-01T00:00:10","kw":2.0}"#);
}

#[test]
fn late_and_rejected_rows_come_as_json_with_their_place() {
    let mut windower = Windower::new(&plan(4, Refresh::OnClose)).unwrap();
    let readings = [
        reading("a", 1.0, 5),
        Reading { ts: None, ..reading("b", 2.5, 0) },
        reading("a", 1.0, 25),
        reading("a", 3.0, 6),
    ];
    let output = windower.process(&source_batch(&readings, 0..4)).unwrap();
    assert_eq!(output.late.len(), 1);
    assert_eq!(output.late[0].position.to_string(), "readings[0]@3");
    assert_eq!(
        output.late[0].row,
        r#"{"site":"a","kw":3.0,"n":0,"flag":null,"ts":"1970-01-01T00:00:06"}"#
    );
    assert_eq!(output.bad.len(), 1);
    assert_eq!(output.bad[0].position.to_string(), "readings[0]@1");
    let payload = String::from_utf8(output.bad[0].payload.clone().unwrap()).unwrap();
    assert_eq!(payload, r#"{"site":"b","kw":2.5,"n":0,"flag":null,"ts":null}"#);
    assert_eq!((output.rows, output.windows_closed), (4, 1));
}

proptest! {
    /// The imputation of the reference sees the whole series; prior and context
    /// together must tell it the same.
    #[test]
    fn prior_and_context_tell_the_causal_mean_of_the_whole_series(
        steps in prop::collection::vec(proptest::option::weighted(0.6, -100.0_f64..100.0), 1..40),
        context in 1_usize..12,
    ) {
        let readings: Vec<Reading> = steps
            .iter()
            .enumerate()
            .map(|(i, kw)| Reading { kw: kw.map(f64::from), ..reading("a", 0.0, i as i64 * 10) })
            .collect();
        let (_, contexts) = run(&plan(context, Refresh::AtEnd), &readings);
        let found = &contexts[0];

        let series: Vec<f64> = steps.iter().map(|step| step.unwrap_or(f64::NAN)).collect();
        let first = series.iter().copied().find(|value| !value.is_nan());
        let cut = series.len().saturating_sub(context);
        let mut expected = Prior::default();
        if let Some(mut last) = first {
            for value in &series[..cut] {
                last = if value.is_nan() { last } else { *value };
                expected.sum += last;
                expected.count += 1;
                expected.last = last;
            }
        }
        let [prior] = &found.prior[..] else { panic!("one target, found {:?}", found.prior) };
        prop_assert_eq!((prior.count, prior.last), (expected.count, expected.last));
        // Steps before the first observed one are a product there, and a sum here.
        let apart = (prior.sum - expected.sum).abs();
        prop_assert!(apart <= 1e-12 * expected.sum.abs().max(100.0), "{prior:?}, {expected:?}");
        prop_assert_eq!(format!("{:?}", found.values[0]), format!("{:?}", &series[cut..]));
        let observed = series[cut..].iter().filter(|value| !value.is_nan()).count();
        prop_assert_eq!(found.observed, observed);
    }
}
