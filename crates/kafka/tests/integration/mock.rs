//! What needs no real broker.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use tidecast_kafka::tools::{Isolation, MockBroker, Producer, ReadFrom, TopicReader};
use tidecast_kafka::{KafkaSink, KafkaSinkConfig, StartupMode};
use tidecast_stream::{
    AvroFormat, BadRecord, LateRecord, Offset, Partition, RecordPosition, SchemaFraming, Sink,
    Source, Transaction, ValueFormat,
};

use crate::common::{LIMIT, Reader, fill, forecast, read_all, row, source_config, transaction};

#[test]
fn a_topic_is_read_whole_in_contiguous_batches() {
    let broker = MockBroker::start(&[("in", 3)]).unwrap();
    fill(broker.bootstrap(), "in", 3, 2_000);
    let mut config = source_config(broker.bootstrap(), "g", "in");
    config.max_batch_records = 256;
    let mut reader = Reader::new(config);
    reader.catch_up(3);

    for partition in 0..3 {
        assert_eq!(reader.contiguous_end(partition, 0), 2_000);
        assert_eq!(reader.offsets(partition), (0..2_000).collect::<Vec<_>>());
    }
    assert!(reader.batches.iter().all(|batch| batch.rows.num_rows() <= 256));
    let batch = &reader.batches[0];
    let first = batch.offsets.value(0);
    assert_eq!(batch.timestamps.value(0), 5_000 + first, "Kafka's own timestamp");
    assert_eq!(batch.rows.schema(), crate::common::schema());
    let rows = batch.rows.num_rows() as i64;
    let bytes: usize = (first..first + rows).map(|index| row(index).len()).sum();
    assert_eq!(batch.payload_bytes, bytes);
}

#[test]
fn a_partition_that_is_held_back_loses_nothing_and_keeps_no_other_waiting() {
    let broker = MockBroker::start(&[("in", 3)]).unwrap();
    fill(broker.bootstrap(), "in", 3, 2_000);
    let mut config = source_config(broker.bootstrap(), "g", "in");
    config.max_batch_records = 64;
    // Little is fetched ahead, so that what is held back has to be fetched afterwards.
    config.properties.insert("queued.max.messages.kbytes", "8");
    config.properties.insert("fetch.message.max.bytes", "4096");
    let mut reader = Reader::new(config);
    reader.until("a first batch", |reader| !reader.batches.is_empty());
    let held = Partition::new("in", 1);
    reader.source.hold(&held, true).unwrap();
    reader.until("the others are read", |reader| {
        [0, 2].iter().all(|partition| reader.caught_up.contains(partition))
    });
    // More records come, and rebalances and errors would be served meanwhile.
    fill(broker.bootstrap(), "in", 3, 100);
    reader.until("the others are read again", |reader| {
        [0, 2].iter().all(|partition| reader.offsets(*partition).len() == 2_100)
    });
    assert!(reader.offsets(1).len() < 2_000, "it was read on: {}", reader.offsets(1).len());
    assert!(!reader.caught_up.contains(&1));
    reader.source.hold(&held, false).unwrap();
    reader.until("the rest", |reader| reader.offsets(1).len() == 2_100);
    for partition in 0..3 {
        assert_eq!(reader.contiguous_end(partition, 0), 2_100);
        assert_eq!(reader.offsets(partition), (0..2_100).collect::<Vec<_>>());
    }
    // What is held back can be given up, or started again.
    reader.source.hold(&held, true).unwrap();
    reader.source.hold(&Partition::new("in", 7), true).unwrap();
}

/// A generation that starts while the schema registry is away reads records of known schemas.
#[test]
fn a_known_schema_outlives_its_registry() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It answers once, and is gone.
    let registry = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        let schema = r#"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"site\",\"type\":\"string\"}]}"#;
        let body = format!(r#"{{"schema":"{schema}"}}"#);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
        write!(stream, "{head}connection: close\r\n\r\n{body}").unwrap();
    });
    let mut config = source_config(broker.bootstrap(), "g", "in");
    let framing = SchemaFraming::Confluent;
    config.format = ValueFormat::Avro(AvroFormat { framing, schema: None });
    config.schema_registry.insert("url", url);
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let send = || {
        producer.send("in", None, Some(&[0, 0, 0, 0, 7, 2, b'a']), None).unwrap();
        producer.flush(LIMIT).unwrap();
    };
    send();
    let mut first = Reader::new(config.clone());
    first.catch_up(1);
    assert_eq!(first.offsets(0), [0]);
    drop(first);
    registry.join().unwrap();
    send();
    let mut second = Reader::new(config);
    second.catch_up(1);
    assert_eq!(second.offsets(0), [0, 1]);
}

#[test]
fn bad_records_travel_with_their_place_and_their_bytes() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let good = row(1);
    let payloads: [Option<&[u8]>; 5] =
        [Some(good.as_bytes()), Some(b"{nope"), None, Some(b"\xff\xfe"), Some(good.as_bytes())];
    for payload in payloads {
        producer.send("in", Some(b"key"), payload, None).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);

    assert_eq!(reader.contiguous_end(0, 0), 5);
    assert_eq!(reader.offsets(0), [0, 4]);
    let bad: Vec<&BadRecord> = reader.batches.iter().flat_map(|batch| &batch.bad).collect();
    let offsets: Vec<i64> = bad.iter().map(|record| record.position.offset.0).collect();
    assert_eq!(offsets, [1, 2, 3]);
    assert_eq!(bad[0].payload.as_deref(), Some(b"{nope".as_slice()));
    assert_eq!(bad[0].key.as_deref(), Some(b"key".as_slice()));
    assert_eq!(bad[1].payload, None);
    assert!(bad[1].error.contains("tombstone"), "{}", bad[1].error);
    assert_eq!(bad[2].payload.as_deref(), Some(b"\xff\xfe".as_slice()));
}

#[test]
fn reading_starts_where_it_is_told() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    fill(broker.bootstrap(), "in", 1, 10);
    let partition = Partition::new("in", 0);

    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);
    assert!(reader.source.start(&partition, None).is_err(), "started twice");
    drop(reader);

    let mut config = source_config(broker.bootstrap(), "h", "in");
    config.startup = StartupMode::Latest;
    let mut latest = Reader::new(config);
    latest.catch_up(1);
    fill(broker.bootstrap(), "in", 1, 2);
    latest.until("new records", |reader| reader.offsets(0).len() == 2);
    assert_eq!(latest.contiguous_end(0, 10), 12);
}

#[test]
fn a_trickle_is_not_held_back_and_each_catching_up_is_told() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);
    for count in 1..=5 {
        fill(broker.bootstrap(), "in", 1, 1);
        reader.until("one more", |reader| reader.offsets(0).len() == count);
        reader.catch_up(1);
    }
}

#[test]
fn commits_are_found_by_the_next_reader() {
    let broker = MockBroker::start(&[("in", 1), ("out", 1)]).unwrap();
    fill(broker.bootstrap(), "in", 1, 10);
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);
    assert_eq!(reader.commits[&0], None);
    let config = KafkaSinkConfig::new(broker.bootstrap(), "out");
    let mut sink = KafkaSink::connect(config, Some(reader.source.committer())).unwrap();
    sink.publish(transaction(&["a"], "in", &[(0, 4)])).unwrap();
    // Nothing to say, and only something to commit: both are in order.
    sink.publish(Transaction::default()).unwrap();
    sink.publish(transaction(&[], "in", &[(0, 6)])).unwrap();
    sink.close().unwrap();
    drop(reader);

    let mut next = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    next.catch_up(1);
    assert_eq!(next.commits[&0].as_ref().unwrap().offset, Offset(6));
    assert_eq!(next.offsets(0), [6, 7, 8, 9]);
}

#[test]
fn a_committer_outlives_its_source_without_holding_the_group() {
    let broker = MockBroker::start(&[("in", 2)]).unwrap();
    fill(broker.bootstrap(), "in", 2, 1);
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(2);
    let committer = reader.source.committer();
    drop(reader);
    let commits = transaction(&[], "in", &[(0, 1)]).commits;
    assert!(committer.commit(&commits).unwrap_err().retriable);
    let mut next = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    next.catch_up(2);
}

#[test]
fn late_rows_and_dead_letters_go_to_their_topics() {
    let broker = MockBroker::start(&[("out", 1), ("late", 1), ("bad", 1)]).unwrap();
    let mut config = KafkaSinkConfig::new(broker.bootstrap(), "out");
    config.late_topic = Some("late".to_owned());
    config.bad_topic = Some("bad".to_owned());
    let mut sink = KafkaSink::connect(config, None).unwrap();
    let position = RecordPosition { partition: Partition::new("in", 1), offset: Offset(42) };
    sink.publish(Transaction {
        forecasts: vec![forecast("a")],
        late: vec![LateRecord {
            position: position.clone(),
            row: r#"{"site":"A"}"#.to_owned(),
            reason: "after its window".to_owned(),
        }],
        bad: vec![BadRecord {
            position,
            key: Some(b"k".to_vec()),
            payload: Some(b"\xff".to_vec()),
            error: "not UTF-8".to_owned(),
        }],
        commits: Vec::new(),
    })
    .unwrap();

    let one = |topic: &str| {
        let mut records = read_all(broker.bootstrap(), topic, Isolation::ReadCommitted);
        assert_eq!(records.len(), 1, "{topic}");
        records.remove(0)
    };
    let out = one("out");
    assert_eq!(out.key.as_deref(), Some(br#"{"site":"a"}"#.as_slice()));
    assert_eq!(out.header("content-type"), Some("application/json"));
    let (late, bad) = (one("late"), one("bad"));
    assert_eq!(late.payload.as_deref(), Some(br#"{"site":"A"}"#.as_slice()));
    assert_eq!(late.header("reason"), Some("after its window"));
    assert_eq!(bad.payload.as_deref(), Some(b"\xff".as_slice()));
    assert_eq!(bad.key.as_deref(), Some(b"k".as_slice()));
    for record in [&late, &bad] {
        assert_eq!(record.header("topic"), Some("in"));
        assert_eq!(record.header("partition"), Some("1"));
        assert_eq!(record.header("offset"), Some("42"));
    }
    assert_eq!(bad.header("error"), Some("not UTF-8"));
}

#[test]
fn a_reader_from_the_end_sees_only_what_comes() {
    let broker = MockBroker::start(&[("in", 2)]).unwrap();
    fill(broker.bootstrap(), "in", 2, 5);
    let mut reader =
        TopicReader::open(broker.bootstrap(), "in", ReadFrom::End, Isolation::ReadCommitted)
            .unwrap();
    assert_eq!(reader.next(Duration::from_millis(300)).unwrap(), None);
    fill(broker.bootstrap(), "in", 1, 1);
    let record = reader.next(LIMIT).unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (0, 5));
    assert_eq!(record.timestamp_ms, Some(5_000));
}
