//! Rebuilding a windower's state by reading again.

use std::ops::Range;

use arrow::array::Int64Array;
use proptest::prelude::*;
use tidecast_sql::window::{ReplayPoint, Windower};
use tidecast_sql::{PipelinePlan, Refresh};
use tidecast_stream::{Offset, OffsetRange, Partition, SourceBatch};

use crate::harness::{Reading, View, batch, reading};

/// Returns some readings as a source would hand them over; offsets are indices.
pub(crate) fn source_batch(readings: &[Reading], range: Range<usize>) -> SourceBatch {
    let (start, end) = (range.start as i64, range.end as i64);
    SourceBatch {
        partition: Partition::new("readings", 0),
        range: OffsetRange::new(Offset(start), Offset(end)).unwrap(),
        rows: batch(&readings[range.clone()]),
        offsets: Int64Array::from_iter_values(start..end),
        timestamps: Int64Array::from(vec![None; range.len()]),
        bad: Vec::new(),
        payload_bytes: 0,
    }
}

fn average() -> View {
    View::new(
        "SELECT site, window_end AS t, avg(kw) AS kw FROM windowed \
         GROUP BY site, window_start, window_end",
    )
}

/// Contexts without what came before them: that is not rebuilt.
fn contexts(output: &tidecast_sql::WindowerOutput) -> String {
    let contexts: Vec<_> = output
        .contexts
        .iter()
        .map(|context| {
            let columns = (&context.values, &context.past_covariates, &context.future_covariates);
            (context.key.to_string(), context.origin, columns, context.observed)
        })
        .collect();
    format!("{contexts:?} {:?}", output.late.iter().map(|l| l.position.offset).collect::<Vec<_>>())
}

/// Runs `readings`, stops at `stop`, rebuilds a second windower from what a
/// commit would hold, and checks that both say the same from there on.
pub(crate) fn assert_resumes(
    plan: &PipelinePlan,
    readings: &[Reading],
    stop: usize,
    idle: &[usize],
) {
    let mut first = Windower::new(plan).unwrap();
    for offset in 0..stop {
        first.process(&source_batch(readings, offset..offset + 1)).unwrap();
        if idle.contains(&offset) {
            first.close_idle().unwrap();
        }
    }
    let text = serde_json::to_string(&first.replay_point()).unwrap();
    assert!(text.len() < 3_000, "must fit beside a committed offset: {text}");
    let point: ReplayPoint = serde_json::from_str(&text).unwrap();
    let mut second = Windower::new(plan).unwrap();
    second.restore(&point).unwrap();
    let from = point.from.map_or(stop, |offset| offset.0 as usize);
    second.process(&source_batch(readings, from..stop)).unwrap();

    assert_eq!(second.open_windows(), first.open_windows(), "from {from} to {stop}");
    let how = format!("replayed from {from} to {stop}");
    assert_go_on_alike((first, second), readings, stop, contexts, &how);
}

/// Checks that two windowers say the same of the readings from `stop` on, and at the
/// end; `words` puts down what is compared.
pub(crate) fn assert_go_on_alike(
    (mut first, mut second): (Windower, Windower),
    readings: &[Reading],
    stop: usize,
    words: impl Fn(&tidecast_sql::WindowerOutput) -> String,
    how: &str,
) {
    for offset in stop..readings.len() {
        let batch = source_batch(readings, offset..offset + 1);
        let (a, b) = (first.process(&batch).unwrap(), second.process(&batch).unwrap());
        assert_eq!(words(&b), words(&a), "at {offset}, {how}");
    }
    let (a, b) = (first.close_all().unwrap(), second.close_all().unwrap());
    assert_eq!(words(&b), words(&a), "at the end, {how}");
}

/// Returns the readings of random steps of site, time and value: most go on by
/// seconds, some go back and may come late, some leap over windows.
pub(crate) fn walk(steps: Vec<(usize, i64, f64)>) -> Vec<Reading> {
    let mut now = 1_000;
    let reading = |(site, step, kw): (usize, i64, f64)| {
        now += step.max(-8) + i64::from(step == 11) * 60;
        reading(["a", "b", "c"][site], kw, now)
    };
    steps.into_iter().map(reading).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_replay_rebuilds_windows_late_rows_and_contexts(
        steps in prop::collection::vec((0_usize..3, -14_i64..12, -5.0..5.0), 1..120),
        stop in any::<prop::sample::Index>(),
        idle in prop::collection::vec(0_usize..120, 0..4),
    ) {
        let readings = walk(steps);
        let plan = average().pipeline(3, Refresh::OnClose);
        assert_resumes(&plan, &readings, stop.index(readings.len()), &idle);
    }
}

#[test]
fn a_replay_starts_at_the_oldest_window_a_context_reaches_back_to() {
    let plan = average().pipeline(3, Refresh::OnClose);
    let readings: Vec<Reading> = (0..10).map(|i| reading("a", i as f64, i * 10)).collect();
    let mut windower = Windower::new(&plan).unwrap();
    assert_eq!(windower.replay_from(), None);
    windower.process(&source_batch(&readings, 0..10)).unwrap();
    // The window of offset 9 is open, that of 8 too (two seconds of delay), and
    // the context holds those of 5, 6 and 7.
    assert_eq!(windower.open_windows(), 2);
    assert_eq!(windower.replay_from(), Some(Offset(5)));
}

#[test]
fn an_older_window_may_still_open_after_a_replay() {
    let readings = [reading("a", 1.0, 10), reading("a", 2.0, 9), reading("a", 3.0, 30)];
    assert_resumes(&average().pipeline(3, Refresh::OnClose), &readings, 1, &[]);
}

#[test]
fn an_idle_close_is_repeated_where_it_happened() {
    let plan = average().pipeline(8, Refresh::OnClose);
    let readings =
        [reading("a", 1.0, 3), reading("a", 2.0, 4), reading("a", 4.0, 5), reading("a", 8.0, 30)];
    let mut first = Windower::new(&plan).unwrap();
    first.process(&source_batch(&readings, 0..2)).unwrap();
    assert_eq!(first.close_all().unwrap().contexts[0].values, [[1.5]]);
    let late = first.process(&source_batch(&readings, 2..3)).unwrap().late;
    assert_eq!(late[0].position.offset, Offset(2));
    assert_eq!(
        late[0].reason,
        "its window ended at 1970-01-01T00:00:10Z, the watermark was at 1970-01-01T00:00:10Z"
    );

    let mut second = Windower::new(&plan).unwrap();
    second.restore(&first.replay_point()).unwrap();
    let replayed = second.process(&source_batch(&readings, 0..3)).unwrap();
    assert_eq!(replayed.contexts[0].values, [[1.5]]);
    assert_eq!(replayed.late.len(), 1);
    assert_eq!(second.replay_point(), first.replay_point());
}
