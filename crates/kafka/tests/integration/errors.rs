//! What is said when something is wrong, and whether to try again. Faults are
//! injected into librdkafka's mock.

use std::net::TcpListener;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidecast_kafka::tools::{Isolation, MockBroker, Producer};
use tidecast_kafka::{Delivery, KafkaSink, KafkaSinkConfig, KafkaSource, LostRecords};
use tidecast_stream::{Blame, Offset, Sink, SinkError, Source, SourceEvent};

use crate::common::{LIMIT, Reader, fill, ids, source_config, transaction};

fn cluster(topics: &[&str]) -> (MockCluster<'static, DefaultProducerContext>, String) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in topics {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let bootstrap = cluster.bootstrap_servers();
    (cluster, bootstrap)
}

fn sink(bootstrap: &str, delivery: Delivery) -> KafkaSink {
    let mut config = KafkaSinkConfig::new(bootstrap, "out");
    config.delivery = delivery;
    KafkaSink::connect(config, None).unwrap()
}

fn exactly_once() -> Delivery {
    Delivery::ExactlyOnce { transactional_id: "t".to_owned() }
}

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_missing_topic_is_named_with_the_broker_and_the_remedy() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    let mut config = source_config(broker.bootstrap(), "g", "nosuch");
    config.timeout = Duration::from_millis(500);
    let error = KafkaSource::connect(config).unwrap_err();
    assert_eq!(error.blame, Blame::User, "{error}");
    assert!(!error.retriable);
    let expected = format!(
        "reading topic `nosuch`: it does not exist on `{}`; create it or check 'topic'",
        broker.bootstrap()
    );
    assert_eq!(error.message, expected);
}

#[test]
fn a_broker_that_does_not_answer_is_named_and_may_come_back() {
    let address = nowhere();
    let mut config = source_config(&address, "g", "in");
    config.timeout = Duration::from_millis(700);
    let error = KafkaSource::connect(config).unwrap_err();
    assert_eq!(error.blame, Blame::External);
    assert!(error.retriable);
    assert!(error.message.contains(&format!("no broker answers at `{address}`")), "{error}");
    assert!(error.message.contains("'bootstrap.servers'"), "{error}");

    let mut config = KafkaSinkConfig::new(&address, "out");
    config.timeout = Duration::from_millis(700);
    let error = KafkaSink::connect(config, None).unwrap_err();
    assert!(error.retriable && error.message.contains(&address), "{error}");
}

#[test]
fn a_wrong_property_is_the_users() {
    let mut config = source_config(&nowhere(), "g", "in");
    config.properties.insert("no.such.thing", "1");
    let error = KafkaSource::connect(config).unwrap_err();
    assert_eq!(error.blame, Blame::User);
    assert!(error.message.contains("`no.such.thing`"), "{error}");
}

#[test]
fn a_broker_that_goes_and_comes_back_costs_nothing() {
    let (cluster, bootstrap) = cluster(&["in"]);
    fill(&bootstrap, "in", 1, 3);
    let mut reader = Reader::new(source_config(&bootstrap, "g", "in"));
    reader.catch_up(1);
    cluster.broker_down(-1).unwrap();
    for _ in 0..20 {
        reader.step(Duration::from_millis(50));
    }
    cluster.broker_up(-1).unwrap();
    fill(&bootstrap, "in", 1, 3);
    reader.until("the rest", |reader| reader.offsets(0).len() == 6);
    assert_eq!(reader.contiguous_end(0, 0), 6);
}

#[test]
fn a_fetch_that_fails_loses_no_record() {
    for failure in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_MSG,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
    ] {
        let (cluster, bootstrap) = cluster(&["in"]);
        fill(&bootstrap, "in", 1, 3);
        let mut reader = Reader::new(source_config(&bootstrap, "g", "in"));
        reader.catch_up(1);
        cluster.request_errors(RDKafkaApiKey::Fetch, &[failure; 2]);
        for _ in 0..20 {
            reader.step(Duration::from_millis(50));
        }
        fill(&bootstrap, "in", 1, 3);
        reader.until("the rest", |reader| reader.offsets(0).len() == 6);
        assert_eq!(reader.contiguous_end(0, 0), 6);
    }
}

#[test]
fn records_that_retention_took_are_passed_over() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    fill(broker.bootstrap(), "in", 1, 3);
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);
    reader.source.committer().commit(&transaction(&[], "in", &[(0, 1)]).commits).unwrap();
    drop(reader);
    // The mock keeps 5 MiB of a partition.
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let large = format!(r#"{{"site":"{}"}}"#, "x".repeat(100_000));
    for _ in 0..80 {
        producer.send("in", None, Some(large.as_bytes()), None).unwrap();
    }
    producer.flush(LIMIT).unwrap();

    let mut strict = source_config(broker.bootstrap(), "g", "in");
    strict.lost_records = LostRecords::Fail;
    let mut refusing = KafkaSource::connect(strict).unwrap();
    let error = loop {
        if let SourceEvent::Assigned(assigned) = refusing.poll(LIMIT).unwrap() {
            break refusing.start(&assigned[0].0, Some(Offset(1))).unwrap_err();
        }
    };
    assert_eq!((error.blame, error.retriable), (Blame::User, false), "{error}");
    assert!(
        error.message.contains("`in[0]`") && error.message.contains("'lost.records'"),
        "{error}"
    );
    drop(refusing);

    let mut next = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    next.catch_up(1);
    assert_eq!(next.commits[&0].as_ref().unwrap().offset, Offset(1));
    let read = next.offsets(0);
    assert!(read[0] > 3 && read.last() == Some(&82), "{read:?}");
    assert_eq!(next.contiguous_end(0, 1), 83, "the first range covers what is gone");
}

#[test]
fn a_source_closes_without_its_broker() {
    let (cluster, bootstrap) = cluster(&["in"]);
    let mut reader = Reader::new(source_config(&bootstrap, "g", "in"));
    reader.catch_up(1);
    cluster.broker_down(-1).unwrap();
    drop(reader);
}

#[test]
fn what_librdkafka_retries_is_no_error() {
    let (cluster, bootstrap) = cluster(&["out"]);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION],
    );
    sink(&bootstrap, Delivery::AtLeastOnce).publish(transaction(&["a"], "in", &[])).unwrap();
    cluster.request_errors(
        RDKafkaApiKey::EndTxn,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        ],
    );
    sink(&bootstrap, exactly_once()).publish(transaction(&["b"], "in", &[])).unwrap();
    assert_eq!(ids(&bootstrap, "out", Isolation::ReadCommitted), ["a", "b"]);
}

/// Injects `error` into `api`, publishes, and returns what went wrong.
fn failure(delivery: Delivery, api: RDKafkaApiKey, error: RDKafkaRespErr) -> SinkError {
    let (cluster, bootstrap) = cluster(&["out"]);
    let mut sink = sink(&bootstrap, delivery);
    cluster.request_errors(api, &[error; 8]);
    let error = sink.publish(transaction(&["a"], "in", &[])).unwrap_err();
    cluster.clear_request_errors(api);
    let again = sink.publish(transaction(&["b"], "in", &[])).unwrap_err();
    assert_eq!(again.message, error.message, "after an error nothing more is published");
    assert!(sink.close().is_err());
    error
}

#[test]
fn denied_access_is_the_users() {
    for delivery in [Delivery::AtLeastOnce, exactly_once()] {
        let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        let error = failure(delivery, RDKafkaApiKey::Produce, denied);
        assert_eq!(error.blame, Blame::User, "{error}");
        assert!(error.message.contains("ACL") && error.message.contains("`out`"), "{error}");
    }
}

#[test]
fn a_fenced_writer_says_that_another_has_taken_over() {
    let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
    let error = failure(exactly_once(), RDKafkaApiKey::EndTxn, fenced);
    assert!(error.message.contains("another writer"), "{error}");
    assert!(error.retriable);
}

#[test]
fn a_broken_sequence_ends_the_writer_and_not_the_pipeline() {
    let broken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    let error = failure(exactly_once(), RDKafkaApiKey::Produce, broken);
    assert!(error.retriable, "a new producer may succeed: {error}");
}

#[test]
fn a_message_that_is_too_large_names_the_limits() {
    let (_cluster, bootstrap) = cluster(&["out"]);
    for delivery in [Delivery::AtLeastOnce, exactly_once()] {
        let mut config = KafkaSinkConfig::new(&bootstrap, "out");
        config.delivery = delivery;
        config.properties.insert("message.max.bytes", "1000");
        let mut sink = KafkaSink::connect(config, None).unwrap();
        let error = sink.publish(transaction(&[&"x".repeat(2_000)], "in", &[])).unwrap_err();
        assert_eq!(error.blame, Blame::User);
        assert!(!error.retriable);
        assert!(error.message.contains("max.message.bytes"), "{error}");
    }
}

#[test]
fn a_commit_for_a_partition_that_is_not_ours_is_refused() {
    let broker = MockBroker::start(&[("in", 1)]).unwrap();
    let mut reader = Reader::new(source_config(broker.bootstrap(), "g", "in"));
    reader.catch_up(1);
    let committer = reader.source.committer();
    let commits = |topic: &str, partition: i32| transaction(&[], topic, &[(partition, 1)]).commits;
    let error = committer.commit(&commits("in", 9)).unwrap_err();
    assert!(error.message.contains("`in[9]` has moved to another member"), "{error}");
    assert_eq!(committer.commit(&commits("else", 0)).unwrap_err().blame, Blame::Internal);
    let mut large = commits("in", 0);
    large[0].metadata = "x".repeat(5_000);
    assert!(committer.commit(&large).unwrap_err().message.contains("4096"));
    committer.commit(&[]).unwrap();
}
