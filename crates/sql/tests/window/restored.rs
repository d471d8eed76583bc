//! Open windows that were written down and taken up again.

use proptest::prelude::*;
use tidecast_sql::window::WindowOperator;

use crate::harness::{Reading, View, feed, ranges, run};
use crate::properties::{BY_PIECES, EXACT, all_aggregates, stream};

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

#[test]
fn what_cannot_be_merged_to_the_bit_is_not_written_down() {
    let readings: Vec<Reading> = (0..9).map(|i| crate::harness::reading("a", 0.5, i)).collect();
    for aggregate in all().filter(is_read_again) {
        let mut operator = all_aggregates(&[&["count(*)", aggregate]]).operator();
        feed(&mut operator, &readings, &ranges(9, &[]));
        assert!(operator.save().unwrap().is_none(), "{aggregate}");
        assert_eq!(operator.open_windows(), 1, "and nothing has happened to it");
    }
}
