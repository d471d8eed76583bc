//! A windower that goes on from a snapshot of another.

use proptest::prelude::*;
use tidecast_sql::window::{SnapshotError, Windower, WindowerOutput, read_head};
use tidecast_sql::{PipelinePlan, Refresh, ReplayPoint};
use tidecast_stream::Offset;

use crate::harness::{Reading, View, reading};
use crate::replay::{assert_go_on_alike, source_batch, walk};

fn average() -> View {
    View::new(
        "SELECT site, window_end AS t, avg(kw) AS kw FROM windowed \
         GROUP BY site, window_start, window_end",
    )
}

/// Everything that is published, what came before the contexts included.
fn all(output: &WindowerOutput) -> String {
    let late: Vec<_> =
        output.late.iter().map(|late| (late.position.offset, &late.reason)).collect();
    format!("{:?} {late:?} {:?} {}", output.contexts, output.bad, output.windows_closed)
}

/// Runs `readings`, takes a snapshot at `taken`, stops at `stop`, and checks that a
/// second windower that goes on from the snapshot says the same as the first.
pub(crate) fn assert_goes_on(
    plan: &PipelinePlan,
    readings: &[Reading],
    (taken, stop): (usize, usize),
    idle: &[usize],
) {
    let mut first = Windower::new(plan).unwrap();
    let mut snapshot = None;
    for offset in 0..stop {
        if offset == taken {
            snapshot = first.snapshot().unwrap();
        }
        first.process(&source_batch(readings, offset..offset + 1)).unwrap();
        if idle.contains(&offset) {
            first.close_idle().unwrap();
        }
    }
    if taken == stop {
        snapshot = first.snapshot().unwrap();
    }
    let Some(snapshot) = snapshot else {
        assert_eq!(taken, 0, "only a windower that has seen nothing has no snapshot");
        return;
    };
    assert_eq!(snapshot.offset(), Offset(taken as i64));
    let mut second = Windower::new(plan).unwrap();
    let point = first.replay_point();
    let from = second.restore_snapshot(&snapshot.encode().unwrap(), &point).unwrap().0 as usize;
    let is_in_it = read_head(&snapshot.encode().unwrap()).unwrap().open_windows().is_some();
    assert!(from <= taken && (from == taken || !is_in_it), "read from {from}");
    // However the replay is cut.
    let middle = from.midpoint(stop);
    second.process(&source_batch(readings, from..middle)).unwrap();
    second.process(&source_batch(readings, middle..stop)).unwrap();

    assert_eq!(second.open_windows(), first.open_windows(), "read from {from} to {stop}");
    assert_eq!(second.series(), first.series());
    assert_eq!(second.replay_point(), first.replay_point());
    let how = format!("taken at {taken}, read from {from} to {stop}");
    assert_go_on_alike((first, second), readings, stop, all, &how);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whoever_goes_on_from_a_snapshot_says_the_same(
        steps in prop::collection::vec((0_usize..3, -14_i64..12, -5.0..5.0), 1..120),
        taken in any::<prop::sample::Index>(),
        stop in any::<prop::sample::Index>(),
        idle in prop::collection::vec(0_usize..120, 0..9),
        context in 1_usize..6,
        aggregate in prop::sample::select(vec![
            "avg(kw)",
            "count(DISTINCT kw)",
            "last_value(kw ORDER BY n)",
            "median(kw) FILTER (WHERE kw > 0)",
            "stddev(kw)", // open windows are read again
        ]),
    ) {
        let readings = walk(steps);
        let plan = View::new(format!(
            "SELECT site, window_end AS t, {aggregate} AS kw FROM windowed \
             GROUP BY site, window_start, window_end",
        ));
        let plan = plan.pipeline(context, Refresh::OnClose);
        let stop = stop.index(readings.len() + 1);
        let taken = taken.index(stop + 1);
        assert_goes_on(&plan, &readings, (taken, stop), &idle);
    }
}

#[test]
fn closes_between_a_snapshot_and_what_contexts_reach_back_to_are_repeated() {
    // The partition goes idle behind the second record, so that the third is late. When
    // the windower stops, no context reaches back there any more, only their priors.
    let times = [1_000, 1_050, 1_045, 1_100, 1_200, 1_300, 1_400, 1_500];
    let readings: Vec<Reading> = times.map(|at| reading("a", at as f64, at)).to_vec();
    let plan = average().pipeline(1, Refresh::OnClose);
    assert_goes_on(&plan, &readings, (1, 6), &[1]);
}

fn some() -> (PipelinePlan, Vec<u8>) {
    let plan = average().pipeline(3, Refresh::OnClose);
    let readings: Vec<Reading> = (0..10).map(|i| reading("a", i as f64, i * 10)).collect();
    let mut windower = Windower::new(&plan).unwrap();
    windower.process(&source_batch(&readings, 0..10)).unwrap();
    (plan, windower.snapshot().unwrap().unwrap().encode().unwrap())
}

#[test]
fn a_snapshot_says_what_it_is() {
    let (_, bytes) = some();
    let head = read_head(&bytes).unwrap();
    assert_eq!((head.offset, head.series), (Offset(10), 1));
    // Two windows are open (two seconds of delay); they begin at the eighth record.
    assert_eq!((head.open_from, head.open_windows()), (Some(Offset(8)), Some(2)));
    assert_eq!(head.read_from(), Offset(10), "nothing has to be read again");
}

#[test]
fn a_snapshot_of_something_else_is_refused_by_what_differs() {
    let (plan, bytes) = some();
    let refused = |plan: &PipelinePlan, bytes: &[u8]| {
        let mut windower = Windower::new(plan).unwrap();
        windower.restore_snapshot(bytes, &ReplayPoint::default()).unwrap_err()
    };
    let longer = average().pipeline(4, Refresh::OnClose);
    assert_eq!(
        refused(&longer, &bytes).to_string(),
        "it belongs to another query or other series columns: the context has changed"
    );
    let sum = View::new(
        "SELECT site, window_end AS t, sum(kw) AS kw FROM windowed \
         GROUP BY site, window_start, window_end",
    );
    let error = refused(&sum.pipeline(3, Refresh::OnClose), &bytes);
    assert!(
        matches!(&error, SnapshotError::Foreign { what } if what == "the window query"),
        "{error}"
    );
    // Horizon and quantiles may change.
    let mut other = plan.clone();
    (other.forecast.horizon, other.forecast.quantiles) = (7, vec![0.5]);
    let mut windower = Windower::new(&other).unwrap();
    assert_eq!(windower.restore_snapshot(&bytes, &ReplayPoint::default()).unwrap(), Offset(10));
    for end in [0, 1, 30, bytes.len() / 2, bytes.len() - 1] {
        let error = refused(&plan, &bytes[..end]);
        assert!(matches!(error, SnapshotError::Damaged(_)), "{end}: {error}");
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("\"format\":3"));
    let with = |what: &str, other: &str| {
        let mut changed = bytes.clone();
        while let Some(at) = changed.windows(what.len()).position(|at| at == what.as_bytes()) {
            changed[at..at + what.len()].copy_from_slice(other.as_bytes());
        }
        assert_ne!(changed, bytes, "{what}");
        changed
    };
    let later = with("\"format\":3", "\"format\":4");
    assert_eq!(refused(&plan, &later), SnapshotError::Format { found: 4 });
    // The form of the identity has a version of its own.
    let later = with("\"identity_version\":2", "\"identity_version\":3");
    assert_eq!(refused(&plan, &later), SnapshotError::Foreign { what: "the version".to_owned() });
    assert_eq!(refused(&plan, b"ARROW1 and so on"), SnapshotError::Format { found: 1 });
}

#[test]
fn a_snapshot_from_before_forgotten_closes_is_refused() {
    let plan = average().pipeline(3, Refresh::OnClose);
    // Of two readings the second comes when its window has been closed.
    let readings: Vec<Reading> = (0..80).map(|i| reading("a", i as f64, i / 2 * 100)).collect();
    let mut windower = Windower::new(&plan).unwrap();
    let mut snapshots = Vec::new();
    for offset in (0..80).step_by(2) {
        windower.process(&source_batch(&readings, offset..offset + 1)).unwrap();
        snapshots.push(windower.snapshot().unwrap().unwrap().encode().unwrap());
        windower.close_idle().unwrap();
        let output = windower.process(&source_batch(&readings, offset + 1..offset + 2)).unwrap();
        assert_eq!(output.late.len(), 1);
    }
    // 40 closes at 1, 3 and so on to 79, of which 32 are named: 15 is the last forgotten.
    let point = windower.replay_point();
    assert_eq!((point.closes.len(), point.forgotten), (32, Some(Offset(15))));
    let restore =
        |taken: usize| Windower::new(&plan).unwrap().restore_snapshot(&snapshots[taken], &point);
    assert_eq!(restore(7), Err(SnapshotError::Outlived { close: Offset(15) }));
    assert!(restore(8).is_ok(), "at 17 the close behind it is known");
}

#[test]
fn closes_that_records_would_have_brought_about_need_not_be_known() {
    let plan = average().pipeline(3, Refresh::OnClose);
    let readings: Vec<Reading> = (0..90).map(|i| reading("a", i as f64, i * 20)).collect();
    let mut windower = Windower::new(&plan).unwrap();
    for offset in 0..90 {
        windower.process(&source_batch(&readings, offset..offset + 1)).unwrap();
        windower.close_idle().unwrap();
    }
    let point = windower.replay_point();
    assert_eq!((point.closes.len(), point.forgotten), (1, None), "the newest, as yet");
    assert_goes_on(&plan, &readings, (5, 80), &(0..80).collect::<Vec<_>>());
}

#[test]
fn open_windows_of_another_datafusion_are_read_again() {
    let (plan, mut bytes) = some();
    let ours = b"\"datafusion\":\"";
    let places: Vec<usize> =
        (0..bytes.len() - ours.len()).filter(|at| bytes[*at..].starts_with(ours)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + ours.len()] = b'0';
    }
    let head = read_head(&bytes).unwrap();
    assert_eq!((head.open_windows(), head.read_from()), (None, Offset(8)));
    let mut windower = Windower::new(&plan).unwrap();
    assert_eq!(windower.restore_snapshot(&bytes, &ReplayPoint::default()).unwrap(), Offset(8));
    assert_eq!((windower.series(), windower.open_windows()), (1, 0));
}

#[test]
fn a_snapshot_does_not_see_what_comes_after_it() {
    let plan = average().pipeline(3, Refresh::OnClose);
    let readings: Vec<Reading> = (0..20).map(|i| reading("a", i as f64, i * 10)).collect();
    let mut windower = Windower::new(&plan).unwrap();
    windower.process(&source_batch(&readings, 0..10)).unwrap();
    let snapshot = windower.snapshot().unwrap().unwrap();
    windower.process(&source_batch(&readings, 10..20)).unwrap();
    assert_eq!(snapshot.encode().unwrap(), some().1);
    assert_ne!(windower.snapshot().unwrap().unwrap().encode().unwrap(), some().1);
}
