//! Formats of forecasts: whatever they are written in, the forecasts are the same.
//!
//! What is in the bytes, readers of others tell in `formats`, and Confluent's own in
//! `tests/door.sh`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use serde_json::{Value, json};
use tidecast_formats::schemas::SchemaSource;
use tidecast_formats::{Decoder, DecoderConfig};
use tidecast_kafka::{SchemaCache, SchemaRegistry};
use tidecast_stream::{AvroFormat, FieldColumn, ProtobufFormat, SchemaFraming, ValueFormat};

use crate::support::broker;
use crate::support::command::run;
use crate::support::eventually;
use crate::support::messages::records;
use crate::support::service::{Service, run_to_end};
use crate::support::topics::{Series, Topics};

/// A schema registry that keeps what it is given.
struct Registry {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Subject, and what was registered; its number is its place, from 1.
    schemas: Vec<(String, Value)>,
    /// What the next ones to register are told instead.
    refusals: Vec<(u16, Value)>,
}

impl State {
    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        if let Some(number) = path.strip_prefix("/schemas/ids/") {
            let index = number.parse::<usize>().unwrap() - 1;
            return (200, self.schemas[index].1.clone());
        }
        let path = path.strip_prefix("/subjects/").unwrap();
        let subject = path.strip_suffix("/versions").unwrap_or(path).to_owned();
        let entry = (subject, body.clone());
        if let Some(index) = self.schemas.iter().position(|known| *known == entry) {
            return (200, json!({"id": index + 1}));
        }
        if !path.ends_with("/versions") {
            return (404, json!({"error_code": 40403, "message": "Schema not found"}));
        }
        if let Some(refusal) = self.refusals.pop() {
            return refusal;
        }
        self.schemas.push(entry);
        (200, json!({"id": self.schemas.len()}))
    }
}

impl Registry {
    fn start(refusals: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { refusals, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).unwrap();
                for line in reader.by_ref().lines().map_while(Result::ok) {
                    let line = line.to_ascii_lowercase();
                    if let Some(said) = line.strip_prefix("content-length: ") {
                        length = said.parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let path = first.split(' ').nth(1).unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = shared.lock().unwrap().answer(path, &body);
                let answer = answer.to_string();
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
            }
        });
        Self { url, state }
    }

    fn client(&self) -> Box<dyn SchemaSource> {
        let settings = [("url", self.url.as_str())].into_iter().collect();
        Box::new(
            SchemaRegistry::new(&settings, Duration::from_secs(60), &SchemaCache::default())
                .unwrap(),
        )
    }
}

const SERIES: [Series; 2] = [
    Series { name: "007", partition: 0, level: 0.1 },
    Series { name: "café", partition: 0, level: -2.7 },
];

/// Forecasts of [`SERIES`] for these minutes, of which the last one stays open.
const MINUTES: i64 = 8;
const FORECASTS: usize = 14;

fn script(topics: &Topics, pipeline: &str, options: &str) -> String {
    format!(
        "CREATE MODEL naive WITH ('provider'='seasonal-naive');
         CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
         WITH ('connector'='kafka', 'topic'='{}', 'idle.timeout'='none', 'max.past'='none');
         CREATE VIEW load AS SELECT site, window_start AS t, avg(kw) AS kw
           FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
           GROUP BY site, window_start;
         CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='{}', {options});
         CREATE PIPELINE {pipeline} AS INSERT INTO forecasts SELECT * FROM
           forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2,
             context => 8, min_context => 2, quantiles => [0.1, 0.5], model => 'naive');",
        topics.source, topics.forecasts
    )
}

/// What each record of a topic says, as a table's row of text, in an order of its own.
fn rows(
    topics: &Topics,
    format: &str,
    layout: &str,
    schema: Option<String>,
    registry: &Registry,
) -> Vec<String> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let low = if format == "json" { "$['q0.1']" } else { "$.q0_1" };
    let columns: &[(&str, DataType, &str)] = match layout {
        "long" => &[
            ("site", DataType::Utf8, "$.site"),
            ("origin", time.clone(), "$.origin"),
            ("time", time, "$.time"),
            ("step", DataType::Int64, "$.step"),
            ("mean", DataType::Float64, "$.mean"),
            ("low", DataType::Float64, low),
            ("status", DataType::Utf8, "$.status"),
            ("reason", DataType::Utf8, "$.reason"),
        ],
        _ => &[
            ("site", DataType::Utf8, "$.series.site"),
            ("origin", time, "$.origin"),
            ("step", DataType::Utf8, "$.step"),
            ("step_ms", DataType::Int64, "$.step_ms"),
            ("observed", DataType::Int64, "$.context.observed"),
            ("model", DataType::Utf8, "$.model.name"),
            ("status", DataType::Utf8, "$.status"),
            ("reason", DataType::Utf8, "$.reason"),
        ],
    };
    let fields = columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true));
    let path = |(column, (_, _, path)): (usize, &(&str, DataType, &str))| FieldColumn {
        column,
        path: path.parse().unwrap(),
    };
    let framing = match format.ends_with("-confluent") {
        true => SchemaFraming::Confluent,
        false => SchemaFraming::None,
    };
    let config = DecoderConfig {
        format: match format.split('-').next().unwrap() {
            "avro" => ValueFormat::Avro(AvroFormat { framing, schema: None }),
            "protobuf" => {
                ValueFormat::Protobuf(ProtobufFormat { framing, schema: None, message: None })
            }
            _ => ValueFormat::Json,
        },
        fields: columns.iter().enumerate().map(path).collect(),
        own_schema: schema.map(String::into_bytes),
        ..DecoderConfig::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    };
    let registry = (framing == SchemaFraming::Confluent).then(|| registry.client());
    let mut decoder = Decoder::new(config, registry).unwrap();
    let found = records(&topics.bootstrap, &topics.forecasts);
    let payloads: Vec<_> = found.iter().map(|record| record.payload.as_deref()).collect();
    let decoded = decoder.decode(&payloads).unwrap();
    assert!(decoded.bad.is_empty(), "{format}, {layout}: {:?}", decoded.bad);
    let text = |row: usize| {
        let values = decoded.rows.columns().iter();
        let values = values.map(|column| array_value_to_string(column, row).unwrap());
        values.collect::<Vec<_>>().join(" | ")
    };
    let mut rows: Vec<String> = (0..decoded.rows.num_rows()).map(text).collect();
    rows.sort();
    rows
}

/// The different forecasts of a topic, by their header.
fn distinct(topics: &Topics) -> usize {
    let records = records(&topics.bootstrap, &topics.forecasts);
    let ids: BTreeSet<&str> =
        records.iter().map(|record| record.header("forecast_id").unwrap()).collect();
    ids.len()
}

#[test]
fn forecasts_are_the_same_in_any_format_and_layout() {
    let Some(broker) = broker::shared() else { return };
    // Not available at first: the pipeline starts again from what was committed.
    let unavailable = (503, json!({"error_code": 50301, "message": "starting"}));
    let registry = Registry::start(vec![unavailable]);
    let url = format!("kafka.schema_registry.url={}", registry.url);
    let source = Topics::create(broker.bootstrap(), 1);
    source.send_minutes(&SERIES, 0..MINUTES);
    let formats = ["json", "avro", "avro-confluent", "protobuf", "protobuf-confluent"];
    for layout in ["nested", "long"] {
        let all = formats.map(|format| {
            let topics = source.with_other_forecasts();
            let name = broker::unique(&format!("{format}-{layout}")).replace('-', "_");
            let options = format!("'format'='{format}', 'layout'='{layout}'");
            let script = script(&topics, &name, &options);
            let schema = ["avro", "protobuf"].contains(&format).then(|| {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("pipeline.sql");
                std::fs::write(&file, &script).unwrap();
                let file = file.to_str().unwrap();
                run(&["explain", "--schema", file]).succeeded().to_owned()
            });
            let service = Service::start(&script, broker.bootstrap(), &[&url]);
            eventually(
                || (distinct(&topics) == FORECASTS).then_some(()),
                || format!("{FORECASTS} forecasts as {format}, {layout}\n{}", service.log()),
            );
            service.stop();
            rows(&topics, format, layout, schema, &registry)
        });
        // Of one step there is one reading, too few for a forecast: one row all the same.
        let expected = if layout == "long" { 2 * FORECASTS - 2 } else { FORECASTS };
        assert_eq!(all[0].len(), expected, "{:#?}", all[0]);
        assert!(all[0].iter().any(|row| row.contains("too_short")), "{:#?}", all[0]);
        for (format, rows) in formats.iter().zip(&all) {
            assert_eq!(rows, &all[0], "{format}, {layout}");
        }
    }
    assert!(registry.state.lock().unwrap().refusals.is_empty(), "it was asked and refused");
}

#[test]
fn a_schema_that_is_refused_stops_the_pipeline_and_loses_nothing() {
    let Some(broker) = broker::shared() else { return };
    let incompatible = (409, json!({"error_code": 409, "message": "TYPE_MISMATCH at /fields/3"}));
    let registry = Registry::start(vec![incompatible]);
    let url = format!("kafka.schema_registry.url={}", registry.url);
    let topics = Topics::create(broker.bootstrap(), 1);
    topics.send_minutes(&SERIES, 0..MINUTES);
    let name = broker::unique("refused").replace('-', "_");
    let script = script(&topics, &name, "'format'='avro-confluent'");
    let ended = run_to_end(&script, broker.bootstrap(), &[&url]);
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let subject = format!("`{}-value`", topics.forecasts);
    for part in ["incompatible", &subject, "TYPE_MISMATCH", "write to another topic"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(distinct(&topics), 0);
    // Somebody has set the subject's compatibility otherwise.
    let service = Service::start(&script, broker.bootstrap(), &[&url]);
    eventually(
        || (distinct(&topics) == FORECASTS).then_some(()),
        || format!("{FORECASTS} forecasts\n{}", service.log()),
    );
    service.stop();
    assert_eq!(records(broker.bootstrap(), &topics.forecasts).len(), FORECASTS);
}

#[test]
fn whoever_reads_forecasts_is_told_their_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.sql");
    let topics = Topics {
        bootstrap: String::new(),
        source: "in".to_owned(),
        forecasts: "out".to_owned(),
        late: String::new(),
        bad: String::new(),
        partitions: 1,
    };
    let run_with = |command: &[&str], options: &str, level: &str| {
        let script = script(&topics, "load", options).replace("[0.1, 0.5]", level);
        std::fs::write(&file, script).unwrap();
        run(&[command, &[file.to_str().unwrap()]].concat())
    };
    let schema = |options: &str| run_with(&["explain", "--schema"], options, "[0.1, 0.5]");
    let json = schema("'format'='json'");
    let json: Value = serde_json::from_str(json.succeeded()).unwrap();
    assert_eq!(json["$id"], "urn:tidecast:schema:forecast-message");
    let avro = schema("'format'='avro-confluent', 'layout'='long'");
    let avro: Value = serde_json::from_str(avro.succeeded()).unwrap();
    assert_eq!(
        (&avro["name"], &avro["namespace"]),
        (&json!("ForecastRow"), &json!("tidecast.load"))
    );
    assert!(schema("'format'='protobuf'").succeeded().contains("message Forecast {"));
    let refused = schema("'format'='json', 'layout'='long'");
    assert!(refused.refused().contains("expected 'layout'='nested'"), "{refused:?}");
    // Told before anything is started.
    let refused = run_with(&["check"], "'format'='protobuf', 'layout'='long'", "[0.123456789]");
    assert!(refused.refused().contains("quantile level `0.123456789`"), "{refused:?}");
}
