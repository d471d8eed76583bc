//! Snapshots of state: what a restart makes of them, and what people see.

use std::path::{Path, PathBuf};

use crate::support::broker;
use crate::support::command::{Ended, run_command, tidecast};
use crate::support::eventually;
use crate::support::messages::{Subscriber, records};
use crate::support::pipeline::{CONTEXT, Pipeline};
use crate::support::service::{Service, run_to_end};
use crate::support::topics::{Series, Topics, time};

const SERIES: [Series; 2] = [
    Series { name: "a", partition: 0, level: 1.0 },
    Series { name: "b", partition: 0, level: 2.0 },
];

/// Returns a folder's snapshots, the newest last.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == "arrow") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// Whether a snapshot is the state behind all records before this offset.
fn is_at(path: &Path, offset: i64) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with(&format!("{offset:020}."))
}

fn state(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = tidecast();
    command.arg("state").args(arguments);
    command.arg("--set").arg(format!("state.url={}", folder.display()));
    run_command(command)
}

/// Starts a service and waits until it has the partition.
fn start(script: &str, bootstrap: &str, settings: &[&str]) -> Service {
    let mut service = Service::start(script, bootstrap, settings);
    service.until("it has the partition", |log| log.contains("partition assigned").then_some(()));
    service
}

#[test]
fn a_restart_goes_on_from_the_newest_snapshot_that_can_be_used() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics);
    let url = format!("state.url=file://{}", folder.path().display());
    let settings = [url.as_str(), "state.interval=1ms", "pipeline.commit_interval=5ms"];
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    let expected = |minutes: usize| (minutes - 1) * SERIES.len();

    // Twice as long as the context, so that it does not reach back to the beginning.
    topics.send_minutes(&SERIES, 0..50);
    let service = Service::start(&script, broker.bootstrap(), &settings);
    subscriber.await_distinct(expected(50), &service);
    let end = topics.ends()[0].unwrap();
    // The state behind the last record is written once it is committed.
    topics.send_minutes(&SERIES, 50..51);
    subscriber.await_distinct(expected(51), &service);
    eventually(
        || snapshots(folder.path()).iter().any(|path| !is_at(path, end)).then_some(()),
        || format!("a snapshot\n{}", service.log()),
    );
    service.kill();
    let listed = state(folder.path(), &["ls", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.succeeded()).unwrap();
    let name = listed[0]["name"].as_str().unwrap().to_owned();
    assert_eq!(listed[0]["pipeline"], pipeline.name.as_str());
    let shown = state(folder.path(), &["inspect", &name]);
    let shown = shown.succeeded();
    assert!(shown.contains("series                 2"), "{shown}");

    // It reads on, and not as far back as contexts reach.
    let service = start(&script, broker.bootstrap(), &settings);
    let log = service.log();
    assert!(log.contains("state restored"), "{log}");
    assert!(!log.contains("cannot be used"), "{log}");
    topics.send_minutes(&SERIES, 51..60);
    subscriber.await_distinct(expected(60), &service);
    service.kill();

    // What is damaged is named and passed over.
    for path in snapshots(folder.path()) {
        let mut content = std::fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(&path, content).unwrap();
    }
    let damaged = state(folder.path(), &["ls", "--json"]);
    let damaged: serde_json::Value = serde_json::from_str(damaged.succeeded()).unwrap();
    let name = damaged[0]["name"].as_str().unwrap();
    let refused = state(folder.path(), &["inspect", name]);
    assert!(refused.refused().contains("is damaged"), "{refused:?}");
    let service = start(&script, broker.bootstrap(), &settings);
    let log = service.log();
    assert!(log.contains("its content is not what was written"), "{log}");
    assert!(log.contains("no snapshot is left"), "{log}");
    assert!(!log.contains("state restored"), "{log}");
    topics.send_minutes(&SERIES, 60..65);
    subscriber.await_distinct(expected(65), &service);
    service.stop();

    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    for minute in CONTEXT..64 {
        for series in SERIES {
            let message = subscriber.find(series.name, &time(minute, 0));
            assert_eq!(message.context_steps(), CONTEXT, "{:?}", message.name());
            assert_eq!(message.mean()[0], series.value(minute + 1), "{:?}", message.name());
        }
    }
    let all = snapshots(folder.path()).len();
    assert!(all > 0);
    let dry = state(folder.path(), &["gc", "--keep", "0", "--dry-run"]);
    assert_eq!((dry.succeeded().lines().count(), snapshots(folder.path()).len()), (all, all));
    state(folder.path(), &["gc", "--keep", "0"]).succeeded();
    assert_eq!(snapshots(folder.path()), Vec::<PathBuf>::new());
    let elsewhere = state(folder.path(), &["inspect", "load/readings/0/1.x.arrow"]);
    assert!(elsewhere.refused().contains("`tidecast state ls` lists their names"));
}

#[test]
fn a_restart_in_the_middle_of_a_long_window_reads_nothing_again() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let topics = Topics::create(broker.bootstrap(), 1);
    let mut pipeline = Pipeline::new("exactly-once");
    pipeline.arguments = "horizon => 2, context => 24, min_context => 1, quantiles => [0.5]";
    let script = pipeline.script(&topics).replace("INTERVAL '1' MINUTE", "INTERVAL '1' HOUR");
    let url = format!("state.url=file://{}", folder.path().display());
    let settings = [url.as_str(), "state.interval=50ms", "pipeline.commit_interval=5ms"];

    topics.send_minutes(&SERIES, 0..50);
    let service = Service::start(&script, broker.bootstrap(), &settings);
    let end = topics.ends()[0].unwrap();
    // Of all the records, though none came after them.
    eventually(
        || snapshots(folder.path()).iter().any(|path| is_at(path, end)).then_some(()),
        || format!("a snapshot at {end}\n{}", service.log()),
    );
    service.kill();

    let service = start(&script, broker.bootstrap(), &settings);
    let log = service.log();
    let assigned = log.lines().find(|line| line.contains("partition assigned")).unwrap();
    assert!(assigned.contains(&format!("\"read_from\":\"Some({end})\"")), "{assigned}");
    topics.send_minutes(&SERIES, 50..61);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    subscriber.await_distinct(SERIES.len(), &service);
    service.stop();
    for series in SERIES {
        // The mean of ten seasons; of what came after the restart it would be another.
        let mean = (0..60).map(|minute| series.value(minute)).sum::<f64>() / 60.0;
        assert_eq!(subscriber.find(series.name, &time(0, 0)).mean(), [mean, mean]);
    }
}

#[test]
fn what_was_open_at_the_end_of_the_topic_closes_after_a_restart_though_nothing_comes() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let url = format!("state.url=file://{}", folder.path().display());
    let settings = [url.as_str(), "state.interval=50ms", "pipeline.commit_interval=5ms"];
    topics.send_minutes(&SERIES, 0..10);
    let service = Service::start(&pipeline.script(&topics), broker.bootstrap(), &settings);
    let end = topics.ends()[0].unwrap();
    let is_written = |offset: i64| {
        let is_there = snapshots(folder.path()).iter().any(|path| is_at(path, offset));
        is_there.then_some(())
    };
    eventually(|| is_written(end), || format!("a snapshot at {end}\n{}", service.log()));
    service.kill();

    // All that is committed is in the snapshot, so no record is read, not even again.
    let idle = Pipeline { idle_timeout: "300ms", ..pipeline };
    let script = idle.script(&topics);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    let service = start(&script, broker.bootstrap(), &settings);
    subscriber.await_distinct(10 * SERIES.len(), &service);
    service.kill();

    // And once it is out it is out, with what the clock decided.
    let service = start(&script, broker.bootstrap(), &settings);
    topics.send_minutes(&SERIES, 9..11);
    subscriber.await_distinct(11 * SERIES.len(), &service);
    service.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    for series in SERIES {
        let message = subscriber.find(series.name, &time(9, 0));
        assert_eq!(message.context_steps(), 10, "{:?}", message.name());
    }
    let late = records(broker.bootstrap(), &topics.late).len();
    assert_eq!(late, 2 * SERIES.len(), "minute 9 was closed");
}

#[test]
fn a_store_that_cannot_be_used_is_named() {
    let refused = |url: &str| {
        let mut command = tidecast();
        command.args(["state", "ls", "--set", &format!("state.url={url}")]);
        run_command(command).refused().to_owned()
    };
    assert!(refused("s3://bucket/state").contains("this build is without the feature `s3`"));
    assert!(refused("off").contains("there are no snapshots"));
}

#[test]
fn another_window_query_is_refused_unless_the_state_may_be_reset() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    topics.send_minutes(&SERIES, 0..10);
    let service = Service::start(&script, broker.bootstrap(), &["state.url=off"]);
    subscriber.await_distinct(9 * SERIES.len(), &service);
    service.stop();

    // Horizon, quantiles and the context's length are free to change.
    let arguments = "horizon => 3, context => 12, min_context => 3, quantiles => [0.5]";
    let other = Pipeline { arguments, ..pipeline };
    topics.send_minutes(&SERIES, 10..12);
    let service = Service::start(&other.script(&topics), broker.bootstrap(), &["state.url=off"]);
    subscriber.await_distinct(11 * SERIES.len(), &service);
    service.stop();
    let message = subscriber.find("a", &time(10, 0));
    assert_eq!(message.context_steps(), 11, "the context was kept");

    // Another aggregate would be mixed with what contexts hold.
    let sums = script.replace("avg(kw)", "sum(kw)");
    assert_ne!(sums, script);
    let refused = run_to_end(&sums, broker.bootstrap(), &["state.url=off"]);
    let said = refused.refused();
    assert!(said.contains("the window query changed since offset"), "{said}");
    assert!(said.contains("--reset-state"), "{said}");

    topics.send_minutes(&SERIES, 12..17);
    let settings = ["state.url=off", "--reset-state"];
    let service = Service::start(&sums, broker.bootstrap(), &settings);
    // Not minute 11: its rows came before the committed offset.
    subscriber.await_distinct(15 * SERIES.len(), &service);
    assert!(service.log().contains("are left behind"), "{}", service.log());
    service.stop();
    subscriber.read_to_end();
    subscriber.assert_no_repeats();
    let message = subscriber.find("a", &time(15, 0));
    assert_eq!(message.context_steps(), 4, "12 to 15");
}
