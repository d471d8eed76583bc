//! `tidecast tail` on a real Kafka, as programs read it.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use tidecast_kafka::tools::Producer;

use crate::support::LIMIT;
use crate::support::broker;
use crate::support::command::{Running, run, tidecast};
use crate::support::messages::Subscriber;
use crate::support::pipeline::Pipeline;
use crate::support::service::Service;
use crate::support::topics::{Series, Topics};

const SERIES: [Series; 2] = [
    Series { name: "A", partition: 0, level: 10.0 },
    Series { name: "B", partition: 1, level: 20.0 },
];

/// A pipeline's file, and how to tail it.
struct Tail {
    file: tempfile::NamedTempFile,
    bootstrap: String,
}

impl Tail {
    fn new(script: &str, bootstrap: &str) -> Self {
        let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
        std::fs::write(file.path(), script).unwrap();
        Self { file, bootstrap: format!("kafka.bootstrap_servers={bootstrap}") }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let file = self.file.path().to_str().unwrap();
        [&["tail", file, "--set", &self.bootstrap], more].concat()
    }
}

#[test]
fn forecasts_are_told_as_they_are_and_as_they_come() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 2);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics);
    let tail = Tail::new(&script, broker.bootstrap());
    topics.send_minutes(&SERIES, 0..8);
    let service = Service::start(&script, broker.bootstrap(), &[]);
    let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
    // Seven minutes of each series have closed.
    subscriber.await_distinct(14, &service);

    let said = run(&tail.arguments(&["--json", "--from", "earliest", "--limit", "14"]));
    let mut printed: Vec<&str> = said.succeeded().lines().collect();
    let mut expected: Vec<String> = subscriber
        .messages
        .iter()
        .map(|message| String::from_utf8(message.record.payload.clone().unwrap()).unwrap())
        .collect();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(printed, expected, "the messages as they are");
    assert!(said.stderr.contains("14 forecasts of"), "{}", said.stderr);

    let of_b = ["--from", "-1h", "--series", "site=B", "--limit", "7"];
    let said = run(&tail.arguments(&of_b));
    let lines: Vec<Vec<&str>> =
        said.succeeded().lines().map(|line| line.split('\t').collect()).collect();
    assert!(lines.iter().all(|fields| fields.len() == 6 && fields[0] == "B"), "{}", said.stdout);
    let short = &lines[0];
    assert_eq!(short[1..5], ["2024-08-01T00:00:00Z", "-", "-", "-"]);
    assert!(short[5].starts_with("too_short: "), "{short:?}");
    let newest = lines.last().unwrap();
    let body = &subscriber.find("B", newest[1]).body["variates"][0]["quantiles"];
    let next = |level: &str| body[level][0].as_f64().unwrap();
    let near = |text: &str, value: f64| {
        let read: f64 = text.parse().unwrap();
        assert!((read - value).abs() <= value.abs() * 1e-5, "{text} for {value}");
    };
    assert_eq!((newest[2], newest[5]), ("kw", "ok"));
    near(newest[3], next("0.5"));
    let (lower, upper) = newest[4].split_once("..").unwrap();
    near(lower, next("0.1"));
    near(upper, next("0.9"));

    // From now on: what is made after it began, and nothing of before.
    let mut command = tidecast();
    command.args(tail.arguments(&["--json", "--limit", "2"]));
    let mut live = Running::start(command);
    live.until("it follows", |live| live.stderr().contains("following").then_some(()));
    topics.send_minutes(&SERIES, 8..9);
    let said = live.wait();
    let origins: Vec<Value> = said
        .succeeded()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["origin"].clone())
        .collect();
    assert_eq!(origins, ["2024-08-01T00:07:00Z"; 2]);
    service.stop();
}

#[test]
fn what_is_no_forecast_of_the_pipeline_is_counted_and_passed_over() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let tail = Tail::new(&pipeline.script(&topics), broker.bootstrap());
    let forecast = |pipeline: &str, origin: &str| {
        let text = r#"{"forecast_id":"b1946ac92492d2347c6235b4d2611184","pipeline":"PIPELINE",
            "series":{"site":"A"},"origin":"ORIGIN","step":"PT1M","step_ms":60000,
            "model":{"name":"m","version":"1"},"status":"ok","context":{"steps":5,"observed":5},
            "variates":[{"name":"kw","mean":[12.5],"quantiles":{"0.1":[1.0],"0.5":[2.0],"0.9":[3.0]}}],
            "is_backfill":false,"of a later version":1}"#;
        text.replace("PIPELINE", pipeline).replace("ORIGIN", origin).replace('\n', " ")
    };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("transactional.id", broker::unique("aborted"));
    let writer: BaseProducer = config.create().unwrap();
    writer.init_transactions(LIMIT).unwrap();
    writer.begin_transaction().unwrap();
    let aborted = forecast(&pipeline.name, "2024-08-01T01:00:00Z");
    writer
        .send(BaseRecord::<(), str>::to(&topics.forecasts).partition(0).payload(&aborted))
        .unwrap();
    writer.flush(LIMIT).unwrap();
    writer.abort_transaction(LIMIT).unwrap();
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let good = forecast(&pipeline.name, "2024-08-01T02:00:00Z");
    let other = forecast("another", "2024-08-01T03:00:00Z");
    let unlike = r#"{"site": "A", "kw": 1.0}"#;
    let values: [Option<&[u8]>; 5] = [
        Some(b"\0\0\0\0\x01avro"),
        Some(unlike.as_bytes()),
        None,
        Some(other.as_bytes()),
        Some(good.as_bytes()),
    ];
    for value in values {
        producer.send_to(&topics.forecasts, Some(0), Some(b"k"), value, None).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let said = run(&tail.arguments(&["--plain", "--from", "earliest", "--limit", "1"]));
    assert_eq!(said.succeeded(), "A\t2024-08-01T02:00:00Z\tkw\t2\t1..3\tok\n");
    for part in [
        "it is no JSON object; forecasts in other formats cannot be shown yet",
        "1 forecast of other pipelines passed over (`another`)",
        "3 records passed over that are no forecasts",
        "it has no value",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    // Ctrl-C is the ordinary end of following.
    let mut command = tidecast();
    command.args(tail.arguments(&["--from", "2024-08-01T00:00:00Z"]));
    let mut live = Running::start(command);
    live.until("a forecast", |live| live.stdout().contains("\tok").then_some(()));
    live.signal("INT");
    live.wait().succeeded();
}

#[test]
fn what_cannot_be_followed_says_why() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let script = Pipeline::new("at-least-once").script(&topics);
    let refused = |script: &str, bootstrap: &str, more: &[&str], expected: &[&str]| {
        let said = run(&Tail::new(script, bootstrap).arguments(more));
        let error = said.refused();
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
    };
    let broker = broker.bootstrap();
    let gone = script.replace(&topics.forecasts, "no-such-topic");
    refused(&gone, broker, &[], &["topic `no-such-topic`", "does not exist"]);
    refused(&script, "127.0.0.1:1", &[], &["127.0.0.1:1"]);
    refused(&script, broker, &["--series", "region=A"], &["`region=…`", "expected `site`"]);
    refused(&script, broker, &["--pipeline", "x"], &["no pipeline `x`, expected `load_"]);
    let printed = script.replace(
        &format!("'connector' = 'kafka', 'topic' = '{}', 'format' = 'json', 'delivery' = 'at-least-once'", topics.forecasts),
        "'connector' = 'stdout'",
    );
    refused(&printed, broker, &[], &["does not write to a Kafka topic"]);
}
