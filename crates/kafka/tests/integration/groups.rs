//! Consumer groups, against a real broker.

use std::collections::BTreeSet;

use rdkafka::admin::AdminOptions;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tidecast_kafka::KafkaSource;
use tidecast_stream::{ClientProperties, Offset, Partition, PartitionCommit, Source, SourceEvent};

use crate::broker::{self, unique};
use crate::common::{LIMIT, Reader, admin, fill, source_config, topics, until_all, wait};

fn setting(partitions: i32, records: i64) -> Option<(&'static str, String, String)> {
    let bootstrap = broker::shared()?.bootstrap();
    let topic = unique("in");
    topics(bootstrap, &[(&topic, partitions)]);
    fill(bootstrap, &topic, partitions, records);
    Some((bootstrap, topic, unique("group")))
}

/// Commits what the reader has read of these partitions.
fn commit_read(reader: &Reader, partitions: &[i32]) {
    let end = |number: &i32| {
        let mut ends = reader.batches.iter().filter(|batch| batch.partition.number == *number);
        ends.next_back()
            .map(|batch| PartitionCommit::new(batch.partition.clone(), batch.range.end()))
    };
    let commits: Vec<PartitionCommit> = partitions.iter().filter_map(end).collect();
    reader.source.committer().commit(&commits).unwrap();
}

/// A second member takes over half of the partitions: the first commits before it
/// lets go, the second goes on from there, nothing is lost and nothing doubled.
fn hands_over(properties: &[(&str, &str)]) {
    let Some((bootstrap, topic, group)) = setting(4, 50) else { return };
    let member = || {
        let mut config = source_config(bootstrap, &group, &topic);
        if !properties.is_empty() {
            config.properties = ClientProperties::default();
        }
        for (name, value) in properties {
            config.properties.insert(*name, *value);
        }
        Reader::new(config)
    };
    let mut first = member();
    first.hold_revoked = true;
    first.catch_up(4);
    let mut readers = [first, member()];
    until_all(&mut readers, "a revocation", |readers| !readers[0].revoked.is_empty());

    // The broker waits for us: the second member has nothing yet.
    let revoked = readers[0].revoked.clone();
    assert!(readers[1].reading.is_empty());
    let numbers: Vec<i32> = revoked.iter().map(|partition| partition.number).collect();
    commit_read(&readers[0], &numbers);
    readers[0].release(&revoked);
    readers[0].hold_revoked = false;
    until_all(&mut readers, "the second member's share", |readers| readers[1].reading.len() == 2);
    assert_eq!(readers[1].reading, numbers.iter().copied().collect::<BTreeSet<_>>());
    for number in &numbers {
        let commit = readers[1].commits[number].as_ref().unwrap();
        assert_eq!(commit.offset, Offset(50));
    }

    fill(bootstrap, &topic, 4, 50);
    until_all(&mut readers, "the new records", |readers| {
        readers.iter().all(|reader| reader.caught_up.len() == 2)
            && (0..4).all(|n| readers.iter().any(|reader| reader.offsets(n).last() == Some(&99)))
    });
    for number in 0..4 {
        let read: Vec<i64> = readers.iter().flat_map(|reader| reader.offsets(number)).collect();
        assert_eq!(read, (0..100).collect::<Vec<_>>(), "partition {number}");
    }

    // The second leaves, and the first takes all of it back.
    let [mut first, second] = readers;
    commit_read(&second, &numbers);
    drop(second);
    first.until("all partitions again", |reader| reader.reading.len() == 4);
    fill(bootstrap, &topic, 4, 1);
    first.until("one more of each", |reader| {
        (0..4).all(|number| reader.offsets(number).last() == Some(&100))
    });
    for number in numbers {
        let read = first.offsets(number);
        assert_eq!(read.len(), 51, "0..50 and, after the other's commit, 100");
    }
}

#[test]
fn a_rebalance_hands_partitions_over_without_loss() {
    hands_over(&[]);
}

#[test]
fn so_does_one_of_the_new_group_protocol() {
    hands_over(&[("group.protocol", "consumer")]);
}

#[test]
fn a_topic_that_was_created_anew_is_not_read_from_the_wrong_place() {
    let Some((bootstrap, topic, group)) = setting(1, 5) else { return };
    let mut reader = Reader::new(source_config(bootstrap, &group, &topic));
    reader.until("assigned", |reader| reader.reading.len() == 1);
    let partition = Partition::new(topic.as_str(), 0);
    reader.catch_up(1);
    let beyond = PartitionCommit::new(partition, Offset(1_000));
    reader.source.committer().commit(&[beyond]).unwrap();
    drop(reader);

    let mut next = KafkaSource::connect(source_config(bootstrap, &group, &topic)).unwrap();
    let SourceEvent::Assigned(assigned) = next.poll(LIMIT).unwrap() else {
        panic!("expected an assignment")
    };
    let (partition, commit) = assigned.into_iter().next().unwrap();
    let error = next.start(&partition, commit.map(|commit| commit.offset)).unwrap_err();
    assert!(error.message.contains("ends at 5"), "{error}");
    assert!(error.message.contains("stands at 1000"), "{error}");
    assert!(!error.retriable);
}

/// Retention takes all records that a group has not read: nothing is left to come that
/// would say so, and the partition is read to its end all the same.
#[test]
fn a_partition_of_which_nothing_is_left_is_read_to_its_end() {
    let Some((bootstrap, topic, group)) = setting(2, 20) else { return };
    let mut reader = Reader::new(source_config(bootstrap, &group, &topic));
    reader.catch_up(2);
    let partition = |number| Partition::new(topic.as_str(), number);
    let committed = [0, 1].map(|number| PartitionCommit::new(partition(number), Offset(5)));
    reader.source.committer().commit(&committed).unwrap();
    drop(reader);
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&topic, 0, KafkaOffset::Offset(20)).unwrap();
    gone.add_partition_offset(&topic, 1, KafkaOffset::Offset(19)).unwrap();
    wait(admin(bootstrap).delete_records(&gone, &AdminOptions::new())).unwrap();

    let mut next = Reader::new(source_config(bootstrap, &group, &topic));
    next.catch_up(2);
    assert_eq!((next.contiguous_end(0, 5), next.offsets(0)), (20, vec![]));
    assert_eq!((next.contiguous_end(1, 5), next.offsets(1)), (20, vec![19]));
    // What comes afterwards follows.
    fill(bootstrap, &topic, 2, 3);
    next.until("the new records", |next| {
        [0, 1].iter().all(|number| next.contiguous_end(*number, 5) == 23)
    });
    assert_eq!(next.offsets(0), [20, 21, 22]);
}
