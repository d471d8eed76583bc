//! Formats of records: the same readings are the same forecasts, however they are written.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tidecast_kafka::tools::Producer;

use crate::support::broker;
use crate::support::messages::{Subscriber, records};
use crate::support::service::Service;
use crate::support::topics::Topics;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The schema registry as far as it is asked here.
struct Registry {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start() -> Self {
        let avro = |fields: serde_json::Value| {
            let schema = json!({"type": "record", "name": "Reading", "fields": fields});
            json!({"schema": schema.to_string()})
        };
        let first = avro(json!([
            {"name": "site", "type": "string"},
            {"name": "kw", "type": ["null", "double"]},
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ]));
        // Renamed, added, in another order.
        let second = avro(json!([
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "volts", "type": "float", "default": 230},
            {"name": "load", "type": "double", "aliases": ["kw"]},
            {"name": "site", "type": "string"},
        ]));
        let proto = "syntax = \"proto3\"; message Other {} message Reading { string site = 1; \
                     double kw = 2; Time time = 3; message Time { int64 ms = 1; } }";
        let reading = json!({"type": "record", "name": "Value", "fields": [
            {"name": "at", "type": "long"}, {"name": "kw", "type": "double"},
        ]});
        let lists = avro(json!([
            {"name": "meter", "type": "string"},
            {"name": "readings", "type": {"type": "array", "items": reading}},
        ]));
        let messages = "syntax = \"proto3\"; message Gateway { string meter = 1; \
                        repeated Reading readings = 2; } \
                        message Reading { int64 at = 1; double kw = 2; }";
        let first_text = first["schema"].as_str().unwrap();
        let answers = [
            ("/schemas/ids/1".to_owned(), first.clone()),
            ("/schemas/ids/2".to_owned(), second),
            ("/schemas/ids/3".to_owned(), json!({"schema": proto, "schemaType": "PROTOBUF"})),
            ("/schemas/ids/4".to_owned(), lists),
            // By Apicurio's own interface, the text itself.
            ("/ids/globalIds/6".to_owned(), serde_json::from_str(first_text).unwrap()),
            ("/ids/globalIds/6/references".to_owned(), json!([])),
            ("/schemas/ids/5".to_owned(), json!({"schema": messages, "schemaType": "PROTOBUF"})),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let (status, body) = match answers.iter().find(|(known, _)| *known == path) {
                    Some((_, answer)) => (200, answer.to_string()),
                    None => (404, json!({"error_code": 40403, "message": "not found"}).to_string()),
                };
                kept.lock().unwrap().push(path);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7F) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Avro's numbers, whose sign is the lowest bit.
fn long(number: i64) -> Vec<u8> {
    varint(((number << 1) ^ (number >> 63)) as u64)
}

fn text(text: &str) -> Vec<u8> {
    [long(text.len() as i64), text.as_bytes().to_vec()].concat()
}

fn framed(schema: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    [vec![0, 0, 0, 0, schema], parts.concat()].concat()
}

fn avro(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    framed(1, &[text(site), long(1), kw.to_le_bytes().to_vec(), long(ms)])
}

/// The same behind eight bytes of number, as Apicurio's serializers write it.
fn apicurio(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    [&[0, 0, 0, 0, 0, 0, 0, 0, 6], &avro(site, kw, ms)[5..]].concat()
}

fn avro_later(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    let volts = 231.5_f32.to_le_bytes().to_vec();
    framed(2, &[long(ms * 1_000), volts, kw.to_le_bytes().to_vec(), text(site)])
}

fn protobuf(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    let time = [vec![1 << 3], varint(ms as u64)].concat();
    let site = [vec![1 << 3 | 2], varint(site.len() as u64), site.into()].concat();
    let kw = [vec![2 << 3 | 1], kw.to_le_bytes().to_vec()].concat();
    let time = [vec![3 << 3 | 2], varint(time.len() as u64), time].concat();
    // One message index: the second message of the file.
    framed(3, &[vec![2, 2], time, kw, site])
}

fn avro_list(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    let reading = |ms: i64| [long(ms), kw.to_le_bytes().to_vec()].concat();
    framed(4, &[text(site), long(2), reading(ms), reading(ms + 1), long(0)])
}

fn protobuf_list(site: &str, kw: f64, ms: i64) -> Vec<u8> {
    let reading = |ms: i64| {
        let reading = [vec![1 << 3], varint(ms as u64), vec![2 << 3 | 1], kw.to_le_bytes().into()];
        let reading = reading.concat();
        [vec![2 << 3 | 2], varint(reading.len() as u64), reading].concat()
    };
    let site = [vec![1 << 3 | 2], varint(site.len() as u64), site.into()].concat();
    framed(5, &[vec![0], site, reading(ms), reading(ms + 1)])
}

type Writer = fn(&str, f64, i64) -> Vec<u8>;

const FORMATS: [(&str, &str, Writer); 10] = [
    ("json", "'format'='json'", |site, kw, ms| {
        json!({"site": site, "kw": kw, "ts": ms}).to_string().into_bytes()
    }),
    (
        "nested",
        "'fields.site'='$.device.id', 'fields.kw'='$.payload.values[''kW net'']',
           'fields.ts'='payload.at'",
        |site, kw, ms| {
            let payload = json!({"at": ms, "values": {"kW net": kw.to_string()}});
            json!({"payload": payload, "device": {"id": site}}).to_string().into_bytes()
        },
    ),
    (
        "list",
        "'fields.site'='$.meter', 'fields.kw'='$.readings[*].v.kw', 'fields.ts'='$.readings[*].at'",
        |site, kw, ms| {
            let reading = |at: i64| json!({"at": at, "v": {"kw": kw}});
            let readings = json!([reading(ms), reading(ms + 1)]);
            json!({"kw": 9, "meter": site, "readings": readings}).to_string().into_bytes()
        },
    ),
    (
        "debezium",
        "'format'='debezium-json', 'tombstones'='skip', 'timestamp.unit'='us'",
        |site, kw, ms| {
            let after = json!({"site": site, "kw": kw, "ts": ms * 1_000});
            let source = json!({"ts_ms": 1, "kw": 9});
            json!({"before": null, "after": after, "source": source, "op": "c"})
                .to_string()
                .into_bytes()
        },
    ),
    ("csv", "'format'='csv', 'csv.field-delimiter'=';'", |site, kw, ms| {
        format!("\"{site}\";{kw};{ms}\n").into_bytes()
    }),
    ("avro", "'format'='avro-confluent'", avro),
    ("apicurio", "'format'='avro-apicurio'", apicurio),
    ("protobuf", "'format'='protobuf-confluent', 'fields.ts'='time.ms'", protobuf),
    (
        "avro_list",
        "'format'='avro-confluent', 'fields.site'='$.meter', 'fields.kw'='$.readings[*].kw',
           'fields.ts'='$.readings[*].at'",
        avro_list,
    ),
    (
        "protobuf_list",
        "'format'='protobuf-confluent', 'fields.site'='$.meter', 'fields.kw'='$.readings[*].kw',
           'fields.ts'='$.readings[*].at'",
        protobuf_list,
    ),
];

#[test]
fn the_same_readings_are_the_same_forecasts_in_any_format() {
    let Some(broker) = broker::shared() else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let start = (i64::try_from(now.as_secs() / 60).unwrap() - 60) * 60_000;
    let registry = Registry::start();
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let mut script = "CREATE MODEL naive WITH ('provider'='seasonal-naive');".to_owned();
    let mut all = Vec::new();
    let name = broker::unique("formats").replace('-', "_");
    for (format, options, write) in FORMATS {
        let topics = Topics::create(broker.bootstrap(), 1);
        let send = |value: Option<&[u8]>| {
            producer.send_to(&topics.source, Some(0), None, value, None).unwrap();
        };
        for minute in 0..6 {
            for (site, kw) in [("007", 0.1), ("café", -2.5)] {
                // While it is read a topic's schema goes on.
                let write = if format == "avro" && minute >= 3 { avro_later } else { write };
                send(Some(&write(
                    site,
                    kw + f64::from(minute),
                    start + i64::from(minute) * 60_000,
                )));
            }
        }
        match format {
            "debezium" => send(Some(br#"{"before":{"site":"007"},"after":null,"op":"d"}"#)),
            "avro" => {
                send(Some(&framed(9, &[])));
                send(Some(&framed(9, &[])));
            }
            _ => send(Some(b"\xff")),
        }
        script += &format!(
            "CREATE TABLE in_{format} (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
               WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
             WITH ('connector'='kafka', 'topic'='{}', 'idle.timeout'='500ms', 'bad.topic'='{}',
               'max.past'='none', {options});
             CREATE TABLE out_{format} WITH ('connector'='kafka', 'topic'='{}');
             CREATE VIEW v_{format} AS SELECT site, window_start AS t, avg(kw) AS kw
               FROM TUMBLE(TABLE in_{format}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
               GROUP BY site, window_start;
             CREATE PIPELINE {name}_{format} AS INSERT INTO out_{format} SELECT * FROM
               forecast(TABLE v_{format}, model => 'naive', series => 'site', time => 't',
                 target => 'kw', horizon => 2, context => 8, min_context => 1,
                 quantiles => [0.1, 0.5]);",
            topics.source, topics.bad, topics.forecasts
        );
        all.push((format, topics));
    }
    producer.flush(LIMIT).unwrap();
    let url = format!("kafka.schema_registry.url={}", registry.url);
    let service = Service::start(&script, broker.bootstrap(), &["state.url=off", &url]);
    let mut expected: Option<Vec<_>> = None;
    for (format, topics) in &all {
        let mut subscriber = Subscriber::new(broker.bootstrap(), &topics.forecasts);
        subscriber.await_distinct(12, &service);
        let mut found: Vec<_> = subscriber
            .messages
            .iter()
            .map(|message| (message.name(), message.body["variates"].clone()))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found.len(), 12, "{format}");
        assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{format}");
    }
    service.stop();
    for (format, topics) in &all {
        let bad = records(broker.bootstrap(), &topics.bad);
        let reasons: Vec<&str> = bad.iter().map(|record| record.header("error").unwrap()).collect();
        let expected = match *format {
            "debezium" => vec![],
            "avro" => vec!["schema 9, which the schema registry does not have"; 2],
            "apicurio" | "avro_list" | "protobuf" | "protobuf_list" => {
                vec!["no schema registry's header"]
            }
            "csv" => vec!["UTF-8"],
            _ => vec!["not a JSON object"],
        };
        assert_eq!(reasons.len(), expected.len(), "{format}: {reasons:?}");
        for (reason, expected) in reasons.iter().zip(expected) {
            assert!(reason.contains(expected), "{format}: {reason}");
        }
    }
    let mut asked = registry.asked.lock().unwrap().clone();
    asked.sort();
    let mut expected = ["", "/references"].map(|end| format!("/ids/globalIds/6{end}")).to_vec();
    expected.extend([1, 2, 3, 4, 5, 9].map(|number| format!("/schemas/ids/{number}")));
    assert_eq!(asked, expected, "each once");
}
