//! Several processes of one group.

use crate::support::broker;
use crate::support::messages::Subscriber;
use crate::support::pipeline::{CONTEXT, Pipeline};
use crate::support::service::Service;
use crate::support::topics::{Series, Topics, time};

const SERIES: [Series; 4] = [
    Series { name: "a", partition: 0, level: 1.0 },
    Series { name: "b", partition: 1, level: 2.0 },
    Series { name: "c", partition: 2, level: 3.0 },
    Series { name: "d", partition: 3, level: 4.0 },
];

#[test]
fn two_processes_share_the_partitions_and_one_takes_over() {
    share_and_take_over(|first| {
        first.stop();
    });
}

#[test]
fn the_partitions_of_a_killed_process_are_taken_over() {
    share_and_take_over(Service::kill);
}

fn share_and_take_over(end: impl FnOnce(Service)) {
    const FORECASTS: &str = "tidecast_forecaster_forecasts_total";
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 4);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    let expected = |minutes: usize| (minutes - 1) * SERIES.len();

    topics.send_minutes(&SERIES, 0..30);
    let first = Service::start(&script, broker.bootstrap(), &["pipeline.instance=first"]);
    subscriber.await_distinct(expected(30), &first);
    let alone = first.metric(FORECASTS, "");

    let mut second = Service::start(&script, broker.bootstrap(), &["pipeline.instance=second"]);
    second.until("the second process has two partitions", |log| {
        (log.matches("partition assigned").count() == 2).then_some(())
    });
    topics.send_minutes(&SERIES, 30..40);
    subscriber.await_distinct(expected(40), &second);
    // Ten minutes of four series, half each.
    assert_eq!(first.metric(FORECASTS, ""), alone + 20.0, "{}", first.log());
    assert_eq!(second.metric(FORECASTS, ""), 20.0, "{}", second.log());

    end(first);
    topics.send_minutes(&SERIES, 40..50);
    subscriber.await_distinct(expected(50), &second);
    assert_eq!(second.metric(FORECASTS, ""), 60.0, "{}", second.log());
    second.stop();

    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    for minute in CONTEXT..49 {
        for series in SERIES {
            let message = subscriber.find(series.name, &time(minute, 0));
            assert_eq!(message.context_steps(), CONTEXT, "{:?}", message.name());
            assert_eq!(message.body["context"]["observed"], CONTEXT);
            assert_eq!(message.mean()[0], series.value(minute + 1), "{:?}", message.name());
        }
    }
    assert_eq!(topics.committed(&pipeline.group), topics.ends());
}

#[test]
fn a_static_member_that_comes_back_gets_its_partitions_again_and_the_other_keeps_its_own() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 4);
    let script = Pipeline::new("exactly-once").script(&topics);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    let expected = |minutes: usize| (minutes - 1) * SERIES.len();
    let start = |instance: &str| {
        let instance = format!("pipeline.instance={instance}");
        let settings = [instance.as_str(), "pipeline.static_membership=true"];
        Service::start(&script, broker.bootstrap(), &settings)
    };
    let has_two = |log: &str| (log.matches("partition assigned").count() == 2).then_some(());

    topics.send_minutes(&SERIES, 0..5);
    let mut first = start("first");
    subscriber.await_distinct(expected(5), &first);
    let mut second = start("second");
    second.until("the second process has two partitions", has_two);
    // In order and without warning.
    for (round, end) in [|it: Service| drop(it.stop()), Service::kill].into_iter().enumerate() {
        end(first);
        first = start("first");
        first.until("the first process has two partitions again", has_two);
        let minutes = 5 + 5 * (round as i64 + 1);
        topics.send_minutes(&SERIES, minutes - 5..minutes);
        subscriber.await_distinct(expected(minutes as usize), &first);
        let log = second.log();
        assert!(!log.contains("partitions revoked"), "{log}");
        assert!(has_two(&log).is_some(), "{log}");
    }
    first.stop();
    second.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
}
