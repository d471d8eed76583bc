//! Forecasts in other formats and layouts than nested JSON.

use arrow::datatypes::DataType;
use serde_json::Value;
use tidecast_kafka::tools::{Isolation, MockBroker};
use tidecast_kafka::{Delivery, KafkaSink, KafkaSinkConfig};
use tidecast_stream::{
    ForecastEncoding, ForecastFormat, ForecastFraming, ForecastLayout, ForecastSchema, Sink,
};

use crate::broker::{self, unique};
use crate::common::{Reader, fill, forecast, read_all, source_config, topics, transaction};
use crate::letters::create;

fn config(bootstrap: &str, topic: &str, encoding: ForecastEncoding) -> KafkaSinkConfig {
    KafkaSinkConfig {
        format: ForecastFormat { encoding, layout: ForecastLayout::Long },
        forecasts: ForecastSchema {
            series: vec![("site".to_owned(), DataType::Utf8)],
            targets: vec!["kw".to_owned()],
            levels: vec![0.5],
            horizon: 2,
            aggregates: Vec::new(),
        },
        ..KafkaSinkConfig::new(bootstrap, topic)
    }
}

/// Site and step of each row of a topic, in their order.
fn rows(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<(String, u64)> {
    let row = |payload: &[u8]| {
        let row: Value = serde_json::from_slice(payload).unwrap();
        (row["site"].as_str().unwrap().to_owned(), row["step"].as_u64().unwrap())
    };
    let records = read_all(bootstrap, topic, isolation);
    records.iter().map(|record| row(record.payload.as_deref().unwrap())).collect()
}

fn pairs(sites: &[&str]) -> Vec<(String, u64)> {
    sites.iter().flat_map(|site| [1, 2].map(|step| ((*site).to_owned(), step))).collect()
}

#[test]
fn a_row_is_a_record_under_the_forecasts_key_and_id() {
    let broker = MockBroker::start(&[("out", 1)]).unwrap();
    let mut sink =
        KafkaSink::connect(config(broker.bootstrap(), "out", ForecastEncoding::Json), None)
            .unwrap();
    sink.publish(transaction(&["a", "b"], "in", &[])).unwrap();
    let all = rows(broker.bootstrap(), "out", Isolation::ReadCommitted);
    assert_eq!(all, pairs(&["a", "b"]));
    for record in read_all(broker.bootstrap(), "out", Isolation::ReadCommitted) {
        let row: Value = serde_json::from_slice(record.payload.as_deref().unwrap()).unwrap();
        assert_eq!(record.header("forecast_id"), row["forecast_id"].as_str());
        assert_eq!(record.header("content-type"), Some("application/json"));
        let key: Value = serde_json::from_slice(record.key.as_deref().unwrap()).unwrap();
        assert_eq!(key["site"], row["site"]);
    }
}

#[test]
fn a_record_says_what_it_is_written_in() {
    let broker = MockBroker::start(&[("out", 1)]).unwrap();
    for (encoding, content_type) in [
        (ForecastEncoding::Avro(ForecastFraming::None), "avro/binary"),
        (ForecastEncoding::Protobuf(ForecastFraming::None), "application/protobuf"),
    ] {
        let config = config(broker.bootstrap(), "out", encoding);
        let encoder = config.encoder().unwrap();
        let mut sink = KafkaSink::connect(config, None).unwrap();
        sink.publish(transaction(&["a"], "in", &[])).unwrap();
        let records = read_all(broker.bootstrap(), "out", Isolation::ReadCommitted);
        let last = records.last().unwrap();
        assert_eq!(last.header("content-type"), Some(content_type));
        let mut expected = Vec::new();
        encoder.encode(&forecast("a"), 1, &mut expected).unwrap();
        assert_eq!(last.payload.as_deref(), Some(expected.as_slice()));
    }
}

/// A forecast is many records, which are visible together with the source's offsets or not
/// at all.
#[test]
fn the_rows_of_a_forecast_are_one_transaction() {
    let Some(broker) = broker::shared() else { return };
    let bootstrap = broker.bootstrap();
    let (input, output, group, writer) =
        (unique("in"), unique("out"), unique("group"), unique("writer"));
    topics(bootstrap, &[(&input, 1), (&output, 1)]);
    fill(bootstrap, &input, 1, 20);
    let mut reader = Reader::new(source_config(bootstrap, &group, &input));
    reader.catch_up(1);
    let sink = || {
        let mut config = config(bootstrap, &output, ForecastEncoding::Json);
        config.delivery = Delivery::ExactlyOnce { transactional_id: writer.clone() };
        KafkaSink::connect(config, Some(reader.source.committer())).unwrap()
    };
    sink().publish(transaction(&["a", "b"], &input, &[(0, 5)])).unwrap();
    // The rows are sent, then a commit for a partition that is not ours fails.
    let error = sink().publish(transaction(&["x"], &input, &[(0, 8), (7, 1)])).unwrap_err();
    assert!(error.message.contains("has moved to another member"), "{error}");
    sink().publish(transaction(&["c"], &input, &[(0, 9)])).unwrap();
    let seen = rows(bootstrap, &output, Isolation::ReadCommitted);
    assert_eq!(seen, pairs(&["a", "b", "c"]));
    let sent = rows(bootstrap, &output, Isolation::ReadUncommitted);
    assert_eq!(sent, pairs(&["a", "b", "x", "c"]), "they had reached the broker");
}

/// A batch that the topic finds too large is sent again in smaller ones, rows and all.
#[test]
fn rows_that_do_not_fit_into_one_batch_go_in_several() {
    let Some(broker) = broker::shared() else { return };
    let bootstrap = broker.bootstrap();
    let output = unique("narrow");
    create(bootstrap, &[(&output, &[("max.message.bytes", "2000")])]);
    let sites: Vec<String> = (0..40).map(|number| format!("s{number:02}")).collect();
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let mut config = config(bootstrap, &output, ForecastEncoding::Json);
    config.properties.insert("compression.type", "none");
    config.delivery = Delivery::ExactlyOnce { transactional_id: unique("writer") };
    let mut sink = KafkaSink::connect(config, None).unwrap();
    sink.publish(transaction(&sites, "in", &[])).unwrap();
    assert_eq!(rows(bootstrap, &output, Isolation::ReadCommitted), pairs(&sites));
}
