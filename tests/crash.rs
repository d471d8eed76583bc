//! `kill -9`, and what readers see of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::broker::{self, unique};
use crate::support::messages::Subscriber;
use crate::support::pipeline::Pipeline;
use crate::support::service::Service;
use crate::support::topics::{Series, Topics};

const SERIES: [Series; 4] = [
    Series { name: "a", partition: 0, level: 1.0 },
    Series { name: "b", partition: 0, level: 2.0 },
    Series { name: "c", partition: 1, level: 3.0 },
    Series { name: "d", partition: 1, level: 4.0 },
];
/// Small steps, so that a kill meets the middle of something.
const SMALL_STEPS: [&str; 2] = ["pipeline.max_batch_records=3", "pipeline.commit_interval=5ms"];

#[test]
fn with_exactly_once_a_kill_neither_loses_nor_repeats() {
    let Some(subscriber) = killed_twice_and_compared("exactly-once") else { return };
    subscriber.assert_no_repeats();
}

#[test]
fn with_at_least_once_a_kill_loses_nothing() {
    killed_twice_and_compared("at-least-once");
}

fn killed_twice_and_compared(delivery: &'static str) -> Option<Subscriber> {
    const MINUTES: i64 = 400;
    // Far more than goes through while it is seen that some has.
    const BEFORE: i64 = 360;
    let broker = broker::shared()?;
    let topics = Topics::create(broker.bootstrap(), 2);
    let pipeline = Pipeline::new(delivery);
    let script = pipeline.script(&topics);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);

    topics.send_minutes(&SERIES, 0..BEFORE);
    let all = (MINUTES as usize - 1) * SERIES.len();
    for seen in [all / 16, all / 6] {
        let service = Service::start(&script, broker.bootstrap(), &SMALL_STEPS);
        subscriber.await_distinct(seen, &service);
        service.kill();
        assert_ne!(topics.committed(&pipeline.group), topics.ends(), "it was in the middle");
    }
    topics.send_minutes(&SERIES, BEFORE..MINUTES);
    let service = Service::start(&script, broker.bootstrap(), &SMALL_STEPS);
    subscriber.await_distinct(all, &service);
    service.stop();
    subscriber.read_to_end();
    assert_eq!(topics.committed(&pipeline.group), topics.ends());

    // The same records, read by another group at leisure.
    let undisturbed = topics.with_other_forecasts();
    let calm = Pipeline { group: unique("calm"), ..pipeline };
    let service = Service::start(&calm.script(&undisturbed), broker.bootstrap(), &[]);
    let mut reference = Subscriber::new(broker.bootstrap(), &undisturbed.forecasts);
    reference.await_distinct(all, &service);
    service.stop();
    reference.read_to_end();

    let expected: BTreeMap<&str, _> =
        reference.messages.iter().map(|message| (message.id(), message.content())).collect();
    assert_eq!(expected.len(), all);
    let found: BTreeSet<&str> = subscriber.messages.iter().map(|message| message.id()).collect();
    assert_eq!(found, expected.keys().copied().collect(), "none is lost and none made up");
    for message in &subscriber.messages {
        // Repeats say the same, and contexts were whole after each restart.
        assert_eq!(message.content(), expected[message.id()]);
    }
    Some(subscriber)
}
