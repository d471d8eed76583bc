//! A model that is slower than the stream: the close of many series takes it longer than
//! the group waits for a poll.

use crate::support::broker;
use crate::support::messages::Subscriber;
use crate::support::pipeline::Pipeline;
use crate::support::service::Service;
use crate::support::topics::{Topics, row};

/// Series that close together, in four partitions.
const SERIES: usize = 400;
const PARTITIONS: i32 = 4;
const MINUTES: i64 = 2;

#[test]
fn a_close_that_takes_the_model_long_costs_no_partition_and_a_stop_ends_in_the_middle() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), PARTITIONS);
    let pipeline = Pipeline {
        model: "'provider' = 'moirai-moe', 'path' = 'builtin:tiny', 'device' = 'cpu'",
        arguments: "horizon => 64, context => 64, min_context => 1, samples => 100, quantiles => [0.1, 0.5, 0.9]",
        ..Pipeline::new("exactly-once")
    };
    // The group takes the partitions of whoever does not poll for ten seconds.
    let script = pipeline.script(&topics).replace(
        "'properties.session.timeout.ms' = '6000'",
        "'properties.session.timeout.ms' = '6000', 'properties.max.poll.interval.ms' = '10000'",
    );
    let names: Vec<String> = (0..SERIES).map(|number| format!("s{number}")).collect();
    let rows = |minutes: std::ops::Range<i64>, names: &[String]| -> Vec<(i32, Vec<u8>)> {
        let of = |minute: i64| {
            names.iter().enumerate().map(move |(number, name)| {
                let partition = number as i32 % PARTITIONS;
                (partition, row(name, minute, 10, number as f64 + minute as f64))
            })
        };
        minutes.flat_map(of).collect()
    };
    topics.send(&rows(0..MINUTES, &names));
    // One record each closes the last window of all series of its partition.
    topics.send(&rows(MINUTES..MINUTES + 1, &names[..PARTITIONS as usize]));

    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    let start = |instance: &str| {
        let instance = format!("pipeline.instance={instance}");
        let settings =
            [instance.as_str(), "model.threads=1", "state.url=off", "pipeline.drain_timeout=10s"];
        Service::start(&script, broker.bootstrap(), &settings)
    };
    let first = start("first");
    // Forecasts come while the close is under way, not when it is through.
    subscriber.await_distinct(100, &first);
    let mut second = start("second");
    second.until("the second process has two partitions", |log| {
        (log.matches("partition assigned").count() == 2).then_some(())
    });
    let all = SERIES * MINUTES as usize;
    assert!(subscriber.distinct() < all, "the model is not slow enough for this test");
    assert_eq!(first.get("/readyz").code, 200, "{}", first.log());
    let restarts = first.metric("tidecast_pipeline_restarts_total", "");
    assert_eq!(restarts, 0.0, "{}", first.log());
    let log = first.log();
    for word in ["partitions lost", "rejoining the group", "generation ended"] {
        assert!(!log.contains(word), "`{word}`\n{log}");
    }
    first.stop();
    subscriber.await_distinct(all, &second);
    let log = second.log();
    for word in ["partitions lost", "rejoining the group", "generation ended"] {
        assert!(!log.contains(word), "`{word}`\n{log}");
    }
    second.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    assert_eq!(topics.committed(&pipeline.group), topics.ends());
}
