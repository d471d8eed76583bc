//! Several targets, covariates, and what is known ahead of an origin.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidecast_sql::window::{SeriesContext, Windower};
use tidecast_sql::{PipelinePlan, Refresh, WindowerOutput};

use crate::harness::{Reading, View, ranges, reading};
use crate::replay::{assert_resumes, source_batch};
use crate::snapshot::assert_goes_on;

const HORIZON: usize = 3;

fn view() -> View {
    View {
        delay_micros: 0,
        moves_if: Some("kw IS NOT NULL".to_owned()),
        ..View::new(
            "SELECT site, window_end AS t, max(kw) AS kw, max(n) AS n, count(flag) AS flags \
             FROM windowed GROUP BY site, window_start, window_end",
        )
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Forecasts `kw` with `n` known ahead.
fn plan(view: &View, context: usize, refresh: Refresh) -> PipelinePlan {
    let mut plan = view.pipeline(context, refresh);
    plan.forecast.horizon = HORIZON;
    plan.forecast.future_covariates = names(&["n"]);
    plan
}

fn known(site: &'static str, n: i64, seconds: i64) -> Reading {
    Reading { kw: None, n: Some(n), ..reading(site, 0.0, seconds) }
}

fn measured(site: &'static str, kw: f64, n: i64, seconds: i64) -> Reading {
    Reading { n: Some(n), ..reading(site, kw, seconds) }
}

/// Values with `-1` for a missing step.
fn plain(columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let plain = |value: &f64| if value.is_nan() { -1.0 } else { *value };
    columns.iter().map(|column| column.iter().map(plain).collect()).collect()
}

fn process(windower: &mut Windower, readings: &[Reading]) -> WindowerOutput {
    windower.process(&source_batch(readings, 0..readings.len())).unwrap()
}

#[test]
fn targets_and_covariates_come_apart_and_targets_alone_are_observed() {
    let mut plan = View { delay_micros: 0, moves_if: None, ..view() }.pipeline(8, Refresh::OnClose);
    plan.forecast.targets = names(&["kw", "n"]);
    plan.forecast.past_covariates = names(&["flags"]);
    let mut windower = Windower::new(&plan).unwrap();
    let row = |kw, n, seconds| Reading { kw, n, ..reading("a", 0.0, seconds) };
    let readings = [
        row(Some(1.0), None, 5),
        row(None, None, 15),
        Reading { flag: Some(true), ..row(None, Some(7), 25) },
        row(Some(2.0), Some(8), 45),
    ];
    process(&mut windower, &readings);
    let output = windower.close_all().unwrap();
    let context = output.contexts.last().unwrap();
    assert_eq!(
        plain(&context.values),
        [[1.0, -1.0, -1.0, -1.0, 2.0], [-1.0, -1.0, 7.0, -1.0, 8.0]]
    );
    assert_eq!(plain(&context.past_covariates), [[0.0, 0.0, 1.0, -1.0, 0.0]]);
    assert!(context.future_covariates.is_empty());
    assert_eq!(context.observed, 3, "steps of some target");
    assert_eq!(context.prior.len(), 2, "one per target");
}

#[test]
fn the_horizon_is_what_open_windows_hold_when_the_origin_closes() {
    let mut windower = Windower::new(&plan(&view(), 8, Refresh::OnClose)).unwrap();
    let readings = [
        known("a", 10, 5),
        known("a", 11, 15),
        known("b", 99, 15),
        known("a", 13, 35),
        known("a", 14, 45), // beyond the horizon
        measured("a", 1.0, 10, 6),
        measured("a", 2.0, 12, 16), // closes the first window, and is in the second
        known("a", 77, 25),         // too late for the first, not for the second
        measured("a", 3.0, 12, 26),
    ];
    let contexts = process(&mut windower, &readings).contexts;
    let futures: Vec<_> = contexts.iter().map(|c| plain(&c.future_covariates)).collect();
    assert_eq!(contexts.len(), 3, "{contexts:?}");
    assert_eq!(futures[0], [[10.0, 12.0, -1.0, 13.0]]);
    assert_eq!(futures[1], [[10.0, 12.0, 77.0, 13.0, 14.0]], "series a at 20 s");
    assert_eq!(contexts[2].key.label(), "b");
    assert_eq!(futures[2], [[99.0, -1.0, -1.0, -1.0]]);
    assert_eq!(plain(&contexts[1].values), [[1.0, 2.0]]);
}

#[test]
fn what_cannot_be_computed_is_missing_ahead_and_reported_once() {
    let view = View {
        sql: "SELECT site, window_end AS t, max(kw) AS kw, 10 / sum(n) AS n FROM windowed \
              GROUP BY site, window_start, window_end"
            .to_owned(),
        ..view()
    };
    let mut windower = Windower::new(&plan(&view, 8, Refresh::OnClose)).unwrap();
    let readings = [
        measured("a", 1.0, 1, 5),
        known("a", 0, 15),
        known("a", 5, 25),
        measured("b", 1.0, 1, 10), // closes the first window
        measured("a", 1.0, 1, 21), // closes the second, whose group of `a` fails
    ];
    let output = process(&mut windower, &readings);
    assert_eq!(plain(&output.contexts[0].future_covariates), [[10.0, -1.0, 2.0, -1.0]]);
    assert_eq!(output.bad.len(), 1, "{:?}", output.bad);
    assert!(output.bad[0].error.contains("Divide by zero"), "{}", output.bad[0].error);
}

#[test]
fn at_the_end_steps_without_a_target_are_ahead_of_the_origin() {
    // As for a file sorted by series: no row is late.
    let patient = View { delay_micros: 1_000_000_000, ..view() };
    let mut windower = Windower::new(&plan(&patient, 3, Refresh::AtEnd)).unwrap();
    let mut readings: Vec<Reading> =
        (0..5).map(|i| measured("a", 1.0 + i as f64, 10 + i, i * 10)).collect();
    readings.extend([known("a", 15, 50), known("a", 17, 70), known("a", 18, 80)]);
    readings.extend([measured("b", 5.0, 1, 10), known("c", 1, 0), known("c", 2, 10)]);
    // A gap of the target is not the end of the series.
    readings.extend([measured("d", 1.0, 1, 0), known("d", 2, 10), measured("d", 3.0, 3, 20)]);
    process(&mut windower, &readings);
    let contexts = windower.finish().unwrap().contexts;
    let found: Vec<_> = contexts
        .iter()
        .map(|context| {
            let origin = context.origin.as_millis() / 10_000;
            let columns = [&context.values[..], &context.future_covariates].map(plain);
            (context.key.label(), origin, context.observed, columns.concat())
        })
        .collect();
    let of = |site: &str| found.iter().find(|(label, ..)| label == site).cloned().unwrap();
    // The whole context is from before the origin, however many steps are ahead.
    let values = vec![3.0, 4.0, 5.0];
    let covariate = vec![12.0, 13.0, 14.0, 15.0, -1.0, 17.0];
    assert_eq!(of("a"), ("a".to_owned(), 5, 3, vec![values, covariate]));
    assert_eq!(
        of("d"),
        ("d".to_owned(), 3, 2, vec![vec![1.0, -1.0, 3.0], vec![1.0, 2.0, 3.0, -1.0, -1.0, -1.0]])
    );
    // Steps ahead of `a` make `b` no older, of which nothing is known ahead.
    assert_eq!(of("b"), ("b".to_owned(), 2, 1, vec![vec![5.0], vec![1.0, -1.0, -1.0, -1.0]]));
    assert_eq!(of("c").2, 0, "nothing to forecast from");
}

#[test]
fn a_series_whose_target_was_never_observed_says_so() {
    let mut windower = Windower::new(&plan(&view(), 3, Refresh::AtEnd)).unwrap();
    process(&mut windower, &[known("a", 1, 0), known("a", 2, 10)]);
    let contexts = windower.finish().unwrap().contexts;
    assert_eq!((contexts.len(), contexts[0].observed), (1, 0));
    assert_eq!(plain(&contexts[0].values), [[-1.0, -1.0]]);
    assert_eq!(contexts[0].origin.as_millis(), 20_000);
}

/// Rows of three series that come in order or not, and rows ahead of them.
fn stream(longest: usize) -> impl Strategy<Value = Vec<Reading>> {
    let row = (0_usize..3, 0_i64..9, -8_i64..12, 0_u8..3, 0_i64..60, -5.0..5.0);
    prop::collection::vec(row, 1..longest).prop_map(|rows| {
        let mut now = 1_000;
        let reading = |(site, n, step, kind, ahead, kw): (usize, i64, i64, u8, i64, f64)| {
            let site = ["a", "b", "c"][site];
            if kind == 0 {
                now += step + i64::from(step == 11) * 60;
                return measured(site, kw, n, now);
            }
            known(site, n, now + ahead)
        };
        rows.into_iter().map(reading).collect()
    })
}

/// All that comes out, as text that tells NaN from NaN.
fn outcome(
    plan: &PipelinePlan,
    readings: &[Reading],
    cuts: &[usize],
) -> (String, Vec<SeriesContext>) {
    let mut windower = Windower::new(plan).unwrap();
    let mut contexts = Vec::new();
    let mut late = Vec::new();
    for cut in ranges(readings.len(), cuts) {
        let output = windower.process(&source_batch(readings, cut)).unwrap();
        contexts.extend(output.contexts);
        late.extend(output.late.into_iter().map(|late| late.position.offset));
    }
    let idle = windower.close_idle().unwrap().contexts;
    (format!("{contexts:?} {late:?} {idle:?} {:?}", windower.replay_point()), contexts)
}

/// What is known ahead, as the documentation says it, one row at a time.
fn known_ahead(view: &View, readings: &[Reading]) -> Vec<(String, i64, Vec<f64>)> {
    let size = view.size_micros;
    let mut watermark = i64::MIN;
    let mut open: BTreeMap<i64, Vec<&Reading>> = BTreeMap::new();
    let mut found = Vec::new();
    for reading in readings {
        let ts = reading.ts.unwrap();
        let start = ts.div_euclid(size) * size;
        if start + size > watermark {
            open.entry(start).or_default().push(reading);
        }
        if reading.kw.is_some() {
            watermark = watermark.max(ts - view.delay_micros);
        }
        while let Some((start, rows)) = open.first_key_value().map(|(s, rows)| (*s, rows.clone())) {
            if start + size > watermark {
                break;
            }
            open.remove(&start);
            let mut sites: Vec<&str> = Vec::new();
            for row in rows {
                if !sites.contains(&row.site) {
                    sites.push(row.site);
                }
            }
            for site in sites {
                let at = |step: i64| {
                    let rows = open.get(&(start + step * size)).into_iter().flatten();
                    let values = rows.filter(|row| row.site == site).filter_map(|row| row.n);
                    values.max().map_or(f64::NAN, |n| n as f64)
                };
                let ahead = (1..=HORIZON as i64).map(at).collect();
                found.push((site.to_owned(), start + size, ahead));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn cuts_do_not_matter_to_what_is_known_ahead(
        readings in stream(150),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
        delay in 0_i64..15,
    ) {
        let view = View { delay_micros: delay * 1_000_000, ..view() };
        let plan = plan(&view, 4, Refresh::OnClose);
        let (whole, contexts) = outcome(&plan, &readings, &[]);
        prop_assert_eq!(&outcome(&plan, &readings, &cuts).0, &whole);
        let one_by_one: Vec<usize> = (0..readings.len()).collect();
        prop_assert_eq!(&outcome(&plan, &readings, &one_by_one).0, &whole);

        let found: Vec<_> = contexts
            .iter()
            .map(|context| {
                let ahead = context.future_covariates[0][context.values[0].len()..].to_vec();
                (context.key.label(), context.origin.as_micros(), ahead)
            })
            .collect();
        let expected = known_ahead(&view, &readings);
        prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }

    /// Sums that round, so that a window fed otherwise than it was shows.
    #[test]
    fn looking_into_a_window_changes_nothing_in_it(readings in stream(150)) {
        let view = View {
            sql: "SELECT site, window_end AS t, avg(kw * 1e9 + n / 7.0) AS kw, \
                  approx_median(kw) AS n FROM windowed GROUP BY site, window_start, window_end"
                .to_owned(),
            ..view()
        };
        let values = |plan: &PipelinePlan| {
            let (_, contexts) = outcome(plan, &readings, &[]);
            contexts.into_iter().map(|c| (c.key.label(), c.values)).collect::<Vec<_>>()
        };
        let blind = view.pipeline(4, Refresh::OnClose);
        prop_assert_eq!(
            format!("{:?}", values(&plan(&view, 4, Refresh::OnClose))),
            format!("{:?}", values(&blind))
        );
    }

    #[test]
    fn a_replay_rebuilds_what_is_known_ahead(
        readings in stream(120),
        stop in any::<prop::sample::Index>(),
        idle in prop::collection::vec(0_usize..120, 0..4),
    ) {
        let view = View { delay_micros: 2_000_000, ..view() };
        let plan = plan(&view, 3, Refresh::OnClose);
        assert_resumes(&plan, &readings, stop.index(readings.len()), &idle);
    }
    #[test]
    fn a_snapshot_holds_what_is_known_ahead(
        readings in stream(120),
        taken in any::<prop::sample::Index>(),
        stop in any::<prop::sample::Index>(),
        idle in prop::collection::vec(0_usize..120, 0..4),
        aggregate in prop::sample::select(vec!["max(kw)", "stddev(kw)", "max(kw) FILTER (WHERE n > 3)"]),
    ) {
        let sql = view().sql.replace("max(kw)", aggregate);
        let view = View { delay_micros: 2_000_000, sql, ..view() };
        let plan = plan(&view, 3, Refresh::OnClose);
        let stop = stop.index(readings.len() + 1);
        assert_goes_on(&plan, &readings, (taken.index(stop + 1), stop), &idle);
    }
}
