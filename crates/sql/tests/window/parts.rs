//! What closing windows trigger, taken part by part.

use proptest::prelude::*;
use tidecast_sql::window::{PartLimit, Windower};
use tidecast_sql::{PipelinePlan, Refresh, WindowerOutput};

use crate::harness::{Reading, View, reading};
use crate::properties::stream;
use crate::replay::source_batch;

fn plan(refresh: Refresh) -> PipelinePlan {
    let view = View::new(
        "SELECT site, window_end AS t, avg(kw) AS kw FROM windowed \
         GROUP BY site, window_start, window_end",
    );
    view.pipeline(4, refresh)
}

/// Takes all parts of what was fed, none of them larger than it may be.
fn parts(windower: &mut Windower, limit: PartLimit) -> Vec<WindowerOutput> {
    let mut parts = vec![windower.take_part(limit).unwrap()];
    while windower.has_more() {
        parts.push(windower.take_part(limit).unwrap());
    }
    for part in &parts {
        let bytes: usize = part.contexts.iter().map(|context| context.bytes()).sum();
        let last = part.contexts.last().map_or(0, |context| context.bytes());
        assert!(part.contexts.len() <= limit.series.max(1));
        assert!(part.contexts.len() == 1 || bytes - last < limit.bytes, "{bytes} bytes");
    }
    parts
}

/// What is said of some readings, each batch of them taken in parts, and of the end.
fn said(plan: &PipelinePlan, readings: &[Reading], cut: usize, limit: PartLimit) -> Vec<String> {
    let mut windower = Windower::new(plan).unwrap();
    let mut said: Vec<WindowerOutput> = Vec::new();
    for range in [0..cut, cut..readings.len()] {
        windower.feed(&source_batch(readings, range)).unwrap();
        said.extend(parts(&mut windower, limit));
    }
    windower.feed_idle().unwrap();
    said.extend(parts(&mut windower, limit));
    windower.feed_end().unwrap();
    said.extend(parts(&mut windower, limit));
    let contexts: Vec<_> = said.iter().flat_map(|part| &part.contexts).collect();
    let late: Vec<_> = said.iter().flat_map(|part| &part.late).collect();
    let bad: Vec<_> = said.iter().flat_map(|part| &part.bad).collect();
    let sum = |count: fn(&WindowerOutput) -> usize| said.iter().map(count).sum::<usize>();
    let counts = (
        sum(|it| it.windows_closed),
        sum(|it| it.rows),
        sum(|it| it.steps),
        sum(|it| it.gap_steps),
        sum(|it| it.missing_values),
    );
    let mut said: Vec<String> = contexts.iter().map(|context| format!("{context:?}")).collect();
    said.push(format!("{late:?} {bad:?} {counts:?} {:?}", windower.replay_point()));
    said
}

proptest! {
    /// However small the parts, together they say what one part says, in its order.
    #[test]
    fn parts_say_together_what_the_whole_says(
        readings in stream(150),
        cut in any::<prop::sample::Index>(),
        series in 1usize..6,
        bytes in 1usize..4_000,
        at_end in any::<bool>(),
    ) {
        let plan = plan(if at_end { Refresh::AtEnd } else { Refresh::OnClose });
        let cut = cut.index(readings.len() + 1);
        let whole = said(&plan, &readings, cut, PartLimit::NONE);
        prop_assert_eq!(&said(&plan, &readings, cut, PartLimit { series, bytes }), &whole);
        prop_assert_eq!(&said(&plan, &readings, cut, PartLimit { series: 1, bytes: 1 }), &whole);
    }

    /// What is discarded leaves the state that taking it does.
    #[test]
    fn discarding_leaves_the_same_state(readings in stream(100), cut in any::<prop::sample::Index>()) {
        let plan = plan(Refresh::OnClose);
        let cut = cut.index(readings.len() + 1);
        let (mut taken, mut discarded) = (Windower::new(&plan).unwrap(), Windower::new(&plan).unwrap());
        taken.process(&source_batch(&readings, 0..cut)).unwrap();
        discarded.feed(&source_batch(&readings, 0..cut)).unwrap();
        discarded.discard_parts().unwrap();
        prop_assert_eq!(taken.replay_point(), discarded.replay_point());
        let rest = source_batch(&readings, cut..readings.len());
        let rest = [taken.process(&rest), discarded.process(&rest)].map(|it| format!("{it:?}"));
        prop_assert_eq!(&rest[0], &rest[1]);
        let ends = [taken.finish(), discarded.finish()].map(|it| format!("{it:?}"));
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

#[test]
fn no_snapshot_is_taken_between_two_parts() {
    let readings = [reading("a", 1.0, 5), reading("b", 2.0, 6), reading("a", 3.0, 90)];
    let mut windower = Windower::new(&plan(Refresh::OnClose)).unwrap();
    windower.feed(&source_batch(&readings, 0..3)).unwrap();
    let one = windower.take_part(PartLimit { series: 1, bytes: usize::MAX }).unwrap();
    assert_eq!((one.contexts.len(), windower.has_more()), (1, true));
    assert!(windower.snapshot().unwrap().is_none(), "b's step is in no context yet");
    let other = windower.take_part(PartLimit::NONE).unwrap();
    assert_eq!((other.contexts.len(), windower.has_more()), (1, false));
    assert!(windower.snapshot().unwrap().is_some());
}
