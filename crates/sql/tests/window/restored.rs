//! Open windows that were written down and taken up again.

use proptest::prelude::*;
use tidecast_sql::window::{WindowOperator, Windower, read_head};
use tidecast_sql::{Refresh, ReplayPoint};

use crate::harness::{Reading, View, feed, ranges, reading, run};
use crate::properties::{BY_PIECES, EXACT, all_aggregates, stream};
use crate::replay::source_batch;

/// Aggregates whose state cannot be merged to the bit: DataFusion divides means by
/// counts and compresses digests when it merges. Their windows are read again.
const READ_AGAIN: &[&str] = &[
    "approx_median",
    "approx_percentile_cont",
    "corr",
    "covar",
    "nth_value",
    "regr",
    "stddev",
    "var",
];

fn is_read_again(aggregate: &&&str) -> bool {
    READ_AGAIN.iter().any(|name| aggregate.starts_with(name))
}

fn all() -> impl Iterator<Item = &'static &'static str> {
    EXACT.iter().chain(BY_PIECES)
}

/// Stops at `at`, in the middle of a stream, and checks that whoever goes on from the
/// windows saved there, and whoever saved them, say what they say who never stopped.
fn assert_goes_on(view: &View, readings: &[Reading], at: usize, cuts: &[usize]) {
    let query = view.compile().unwrap();
    let operator = || WindowOperator::new(&query).unwrap();
    let (before, after): (Vec<_>, Vec<_>) = {
        let cuts = [cuts, &[at]].concat();
        ranges(readings.len(), &cuts).into_iter().partition(|range| range.end <= at)
    };
    let mut never = operator();
    feed(&mut never, readings, &before);
    let expected = run(&mut never, readings, &after);

    let mut first = operator();
    feed(&mut first, readings, &before);
    let windows = first.save().unwrap().expect("can be saved");
    let mut second = operator();
    second.advance_to(first.watermark()).unwrap();
    second.restore(windows).unwrap();
    assert_eq!(second.replay_from(), first.replay_from());
    assert_eq!(run(&mut first, readings, &after), expected, "{}", view.sql);
    assert_eq!(run(&mut second, readings, &after), expected, "{}", view.sql);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn windows_go_on_to_the_bit(
        readings in stream(150),
        at in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<usize>(), 0..9),
    ) {
        let restorable: Vec<&str> = all().filter(|a| !is_read_again(a)).copied().collect();
        let view = all_aggregates(&[&restorable]);
        assert_goes_on(&view, &readings, at.index(readings.len() + 1), &cuts);
    }
}

/// Enough rows in a group for accumulators that are fed in pieces to have had some.
#[test]
fn long_windows_go_on_to_the_bit() {
    let readings: Vec<Reading> = (0..1_000_i64)
        .map(|i| Reading {
            site: if i % 11 == 0 { "b" } else { "a" },
            kw: (i % 17 != 0).then_some((i as f64 * 0.37).sin() * 10_f64.powi((i % 20) as i32)),
            n: (i % 5 != 0).then_some(i * i % 97),
            flag: Some(i % 3 == 0),
            ts: Some(100_000_000 + i * 15_000),
        })
        .collect();
    for aggregate in all().filter(|a| !is_read_again(a)) {
        let without_keys = View::new(format!(
            "SELECT window_end AS t, {aggregate} AS a FROM windowed GROUP BY window_end"
        ));
        for view in [all_aggregates(&[&[*aggregate]]), without_keys] {
            for at in [1, 64, 129, 777] {
                assert_goes_on(&view, &readings, at, &[]);
            }
        }
    }
}

/// What is written to a file comes back from it: every type of state, and of key.
#[test]
fn windows_of_all_kinds_come_back_from_a_snapshot() {
    let readings: Vec<Reading> = (0..300_i64)
        .map(|i| Reading {
            site: ["a", "b", "c"][i as usize % 3],
            kw: (i % 7 != 0).then_some(i as f64 / 3.0),
            n: (i % 5 != 0).then_some(i % 13),
            flag: (i % 2 == 0).then_some(i % 3 == 0),
            ts: Some(100_000_000 + i * 50_000),
        })
        .collect();
    let aggregates = all().filter(|a| !is_read_again(a)).map(|a| (format!(", {a} AS a"), ""));
    let keys = [
        "n",
        "flag",
        "kw",
        "ts",
        "n, flag",
        "CAST(n AS DECIMAL(9, 2))",
        "date_trunc('minute', ts)",
    ];
    let keys = keys.map(|key| (String::new(), key));
    for (aggregate, key) in aggregates.chain(keys).chain([(String::new(), "")]) {
        let key = if key.is_empty() { String::new() } else { format!("{key}, ") };
        let view = View::new(format!(
            "SELECT site, window_end AS t, count(*) AS kw{aggregate} FROM windowed \
             GROUP BY {key}site, window_end"
        ));
        let plan = view.pipeline(3, Refresh::OnClose);
        let mut first = Windower::new(&plan).unwrap();
        first.process(&source_batch(&readings, 0..250)).unwrap();
        let bytes = first.snapshot().unwrap().unwrap().encode().unwrap();
        let head = read_head(&bytes).unwrap();
        assert_eq!(head.open_windows(), Some(first.open_windows()), "{}", view.sql);
        assert!(first.open_windows() > 0);
        let mut second = Windower::new(&plan).unwrap();
        let from = second.restore_snapshot(&bytes, &ReplayPoint::default()).unwrap();
        assert_eq!(from.0, 250);
        for windower in [&mut first, &mut second] {
            windower.process(&source_batch(&readings, 250..300)).unwrap();
        }
        let [first, second] = [first, second]
            .map(|mut windower| windower.snapshot().unwrap().unwrap().encode().unwrap());
        assert!(first == second, "{}", view.sql);
    }
}

/// A view that aggregates nothing has windows with nothing in them.
#[test]
fn windows_without_columns_come_back_from_a_snapshot() {
    let view = View {
        delay_micros: 1_000_000_000,
        ..View::new(
            "SELECT 'a' AS site, window_end AS t, CAST(extract(second FROM window_end) AS DOUBLE) AS kw \
             FROM windowed GROUP BY window_end",
        )
    };
    let plan = view.pipeline(3, Refresh::OnClose);
    let readings: Vec<Reading> = (0..9).map(|i| reading("a", 0.5, i * 10)).collect();
    let mut first = Windower::new(&plan).unwrap();
    first.process(&source_batch(&readings, 0..9)).unwrap();
    let bytes = first.snapshot().unwrap().unwrap().encode().unwrap();
    let mut second = Windower::new(&plan).unwrap();
    second.restore_snapshot(&bytes, &ReplayPoint::default()).unwrap();
    let contexts =
        |windower: &mut Windower| format!("{:?}", windower.close_all().unwrap().contexts);
    assert_eq!(second.open_windows(), 9);
    assert_eq!(contexts(&mut second), contexts(&mut first));
}

#[test]
fn what_cannot_be_merged_to_the_bit_is_not_written_down() {
    let readings: Vec<Reading> = (0..9).map(|i| reading("a", 0.5, i)).collect();
    for aggregate in all().filter(is_read_again) {
        let mut operator = all_aggregates(&[&["count(*)", aggregate]]).operator();
        feed(&mut operator, &readings, &ranges(9, &[]));
        assert!(operator.save().unwrap().is_none(), "{aggregate}");
        assert_eq!(operator.open_windows(), 1, "and nothing has happened to it");
    }
}
