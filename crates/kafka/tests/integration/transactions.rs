//! Exactly once, against a real broker.

use tidecast_kafka::tools::Isolation;
use tidecast_kafka::{Delivery, KafkaSink, KafkaSinkConfig};
use tidecast_stream::{Offset, Sink};

use crate::broker::{self, unique};
use crate::common::{Reader, fill, ids, read_all, source_config, topics, transaction};

/// A source topic of two partitions with records, and an empty sink topic.
struct Setting {
    bootstrap: &'static str,
    input: String,
    output: String,
    group: String,
    transactional_id: String,
}

impl Setting {
    fn new() -> Option<Self> {
        let bootstrap = broker::shared()?.bootstrap();
        let (input, output) = (unique("in"), unique("out"));
        topics(bootstrap, &[(&input, 2), (&output, 2)]);
        fill(bootstrap, &input, 2, 20);
        let (group, transactional_id) = (unique("group"), unique("writer"));
        Some(Self { bootstrap, input, output, group, transactional_id })
    }

    fn reader(&self) -> Reader {
        let mut reader = Reader::new(source_config(self.bootstrap, &self.group, &self.input));
        reader.catch_up(2);
        reader
    }

    fn sink(&self, reader: &Reader) -> KafkaSink {
        let mut config = KafkaSinkConfig::new(self.bootstrap, &self.output);
        let transactional_id = self.transactional_id.clone();
        config.delivery = Delivery::ExactlyOnce { transactional_id };
        KafkaSink::connect(config, Some(reader.source.committer())).unwrap()
    }

    fn ids(&self, isolation: Isolation) -> Vec<String> {
        ids(self.bootstrap, &self.output, isolation)
    }

    /// What a new member of the group finds committed: (offset, metadata).
    fn committed(&self, reader: Reader) -> Vec<Option<(i64, String)>> {
        drop(reader);
        let commits = self.reader().commits;
        let pair = |commit: tidecast_stream::PartitionCommit| (commit.offset.0, commit.metadata);
        commits.into_values().map(|commit| commit.map(pair)).collect()
    }
}

#[test]
fn forecasts_and_offsets_become_visible_together() {
    let Some(setting) = Setting::new() else { return };
    let reader = setting.reader();
    let mut sink = setting.sink(&reader);
    let input = &setting.input;
    sink.publish(transaction(&["a", "b"], input, &[(0, 5), (1, 7)])).unwrap();
    sink.publish(transaction(&["c"], input, &[(1, 9)])).unwrap();
    // Neither an empty transaction nor one of offsets alone is an error.
    sink.publish(transaction(&[], input, &[])).unwrap();
    sink.publish(transaction(&[], input, &[(0, 6)])).unwrap();
    sink.close().unwrap();
    assert_eq!(setting.ids(Isolation::ReadCommitted), ["a", "b", "c"]);
    let expected = |offset: i64| Some((offset, format!("replay-from={}", offset - 1)));
    assert_eq!(setting.committed(reader), [expected(6), expected(9)]);
}

#[test]
fn what_was_aborted_is_never_seen_and_moves_no_offset() {
    let Some(setting) = Setting::new() else { return };
    let reader = setting.reader();
    let input = &setting.input;
    setting.sink(&reader).publish(transaction(&["a"], input, &[(0, 5)])).unwrap();
    // The messages are sent, then a commit for a partition that is not ours fails.
    let error = setting.sink(&reader).publish(transaction(&["x", "y"], input, &[(0, 8), (7, 1)]));
    assert!(error.unwrap_err().message.contains("has moved to another member"));
    setting.sink(&reader).publish(transaction(&["b"], input, &[(1, 2)])).unwrap();

    assert_eq!(setting.ids(Isolation::ReadCommitted), ["a", "b"]);
    let all = setting.ids(Isolation::ReadUncommitted);
    assert_eq!(all, ["a", "b", "x", "y"], "they had reached the broker");
    let offsets: Vec<Option<i64>> =
        setting.committed(reader).into_iter().map(|c| c.map(|(offset, _)| offset)).collect();
    assert_eq!(offsets, [Some(5), Some(2)]);
}

#[test]
fn an_older_writer_is_fenced_off_by_a_newer_one() {
    let Some(setting) = Setting::new() else { return };
    let reader = setting.reader();
    let input = &setting.input;
    let mut older = setting.sink(&reader);
    older.publish(transaction(&["a"], input, &[(0, 1)])).unwrap();
    let mut newer = setting.sink(&reader);
    let error = older.publish(transaction(&["zombie"], input, &[(0, 2)])).unwrap_err();
    assert!(error.message.contains("another writer"), "{error}");
    newer.publish(transaction(&["b"], input, &[(0, 3)])).unwrap();
    assert_eq!(setting.ids(Isolation::ReadCommitted), ["a", "b"]);
    assert_eq!(setting.committed(reader)[0].as_ref().unwrap().0, 3);
}

#[test]
fn a_member_that_was_thrown_out_commits_nothing() {
    let Some(setting) = Setting::new() else { return };
    let mut config = source_config(setting.bootstrap, &setting.group, &setting.input);
    for (name, value) in [("session.timeout.ms", "1000"), ("max.poll.interval.ms", "1000")] {
        config.properties.insert(name, value);
    }
    let mut stalled = Reader::new(config);
    stalled.catch_up(2);
    let mut config = KafkaSinkConfig::new(setting.bootstrap, &setting.output);
    let transactional_id = format!("{}-stalled", setting.transactional_id);
    config.delivery = Delivery::ExactlyOnce { transactional_id };
    let mut sink = KafkaSink::connect(config, Some(stalled.source.committer())).unwrap();
    sink.publish(transaction(&["a"], &setting.input, &[(0, 3)])).unwrap();

    // It stops polling; the group gives its partitions to another member, from
    // where they were committed.
    let other = setting.reader();
    assert_eq!(other.offsets(0).first(), Some(&3));

    let error = sink.publish(transaction(&["stale"], &setting.input, &[(0, 9)])).unwrap_err();
    assert!(error.retriable, "{error}");
    let commits = transaction(&[], &setting.input, &[(0, 9)]).commits;
    assert!(stalled.source.committer().commit(&commits).unwrap_err().retriable);
    assert_eq!(setting.ids(Isolation::ReadCommitted), ["a"]);
    stalled.until("told of its loss", |reader| !reader.lost.is_empty());
    drop(stalled);
    assert_eq!(setting.committed(other)[0].as_ref().unwrap().0, 3);
}

#[test]
fn aborted_and_open_transactions_of_the_input_are_not_read() {
    let Some(setting) = Setting::new() else { return };
    // The input of this reader is the output of a sink.
    let reader = setting.reader();
    setting.sink(&reader).publish(transaction(&["a"], &setting.input, &[])).unwrap();
    let aborted = transaction(&["x", "y", "z"], &setting.input, &[(7, 1)]);
    setting.sink(&reader).publish(aborted).unwrap_err();

    let mut downstream =
        Reader::new(source_config(setting.bootstrap, &unique("group"), &setting.output));
    downstream.catch_up(2);
    let good: usize = downstream.batches.iter().map(|b| b.offsets.len() + b.bad.len()).sum();
    assert_eq!(good, 1);
    // Ranges go on to the end, over the aborted records and the markers.
    let all = read_all(setting.bootstrap, &setting.output, Isolation::ReadUncommitted);
    for partition in 0..2 {
        let last = all.iter().filter(|r| r.partition == partition).map(|r| r.offset).max();
        let end = downstream.contiguous_end(partition, 0);
        assert!(last.is_none_or(|last| Offset(end) > Offset(last)), "{end} {last:?}");
    }
}
