//! Against a registry of a few answers; `tests/door.sh` asks a real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tidecast_stream::{Blame, ClientProperties};

use super::super::{SchemaCache, URL};
use super::*;

/// Answers requests, and keeps their paths and bodies.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Stub {
    /// `answer` is told the path and the body.
    fn start(answer: impl Fn(&str, &Value) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim_end().to_ascii_lowercase();
                    if let Some(said) = line.strip_prefix("content-length: ") {
                        length = said.parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let path = first.split(' ').nth(1).unwrap().to_owned();
                let body = serde_json::from_slice(&body).unwrap();
                let (status, answer) = answer(&path, &body);
                kept.lock().unwrap().push((path, body));
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }

    fn registry(&self, more: &[(&str, &str)]) -> SchemaRegistry {
        let pairs = [(URL, self.url.as_str())].into_iter().chain(more.iter().copied());
        SchemaRegistry::new(&pairs.collect(), Duration::from_secs(10), &SchemaCache::default())
            .unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn schema(kind: SchemaKind) -> RegisteredSchema {
    RegisteredSchema { kind, text: "\"int\"".to_owned(), references: Vec::new() }
}

fn refused(status: u16, code: u32, message: &str) -> (u16, String) {
    (status, json!({"error_code": code, "message": message}).to_string())
}

fn no_subject() -> (u16, String) {
    refused(404, 40401, "Subject not found")
}

#[test]
fn a_schema_is_registered_where_it_is_not_there() {
    let stub = Stub::start(|path, _| match path {
        "/subjects/a%2Fb-value" => (200, r#"{"subject":"a/b-value","version":3,"id":41}"#.into()),
        "/subjects/f-value/versions" => (200, r#"{"id":42}"#.to_owned()),
        _ => no_subject(),
    });
    let registry = stub.registry(&[]);
    assert_eq!(registry.number("a/b-value", &schema(SchemaKind::Avro)), Ok(41));
    assert_eq!(registry.number("f-value", &schema(SchemaKind::Protobuf)), Ok(42));
    let asked = ["/subjects/a%2Fb-value", "/subjects/f-value", "/subjects/f-value/versions"];
    assert_eq!(stub.paths(), asked);
    let bodies = stub.asked.lock().unwrap();
    assert_eq!(bodies[0].1, json!({"schema": "\"int\""}));
    assert_eq!(bodies[2].1, json!({"schema": "\"int\"", "schemaType": "PROTOBUF"}));
}

#[test]
fn a_schema_that_is_not_to_be_registered_has_to_be_there() {
    let stub = Stub::start(|path, _| match path {
        "/subjects/f-value" => (200, r#"{"id":7}"#.to_owned()),
        _ => no_subject(),
    });
    let registry = stub.registry(&[("auto.register.schemas", "false")]);
    assert_eq!(registry.number("f-value", &schema(SchemaKind::Avro)), Ok(7));
    let error = registry.number("g-value", &schema(SchemaKind::Avro)).unwrap_err();
    assert!(!error.is_transient);
    for part in ["`g-value`", &stub.url, "Subject not found", "explain --schema", "to 'true'"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(stub.paths(), ["/subjects/f-value", "/subjects/g-value"], "nothing is registered");
}

#[test]
fn what_a_registry_refuses_is_said_and_whether_it_may_mend() {
    let stub = Stub::start(|path, _| {
        let versions = path.strip_suffix("/versions");
        match (versions.unwrap_or(path).trim_start_matches("/subjects/"), versions) {
            ("incompatible", Some(_)) => refused(409, 409, "READER_FIELD_MISSING_DEFAULT_VALUE"),
            ("invalid", Some(_)) => refused(422, 42201, "Invalid schema"),
            ("forbidden", Some(_)) => (403, "User is denied operation Write".to_owned()),
            ("unknown", None) => (401, String::new()),
            ("proxy", None) => (404, "<html>".to_owned()),
            ("redirected", None) => (200, "<html>".to_owned()),
            ("busy", None) => refused(429, 42901, "slow down"),
            ("broken", Some(_)) => refused(500, 50003, "no leader"),
            ("odd", Some(_)) => (200, "{}".to_owned()),
            _ => no_subject(),
        }
    });
    let registry = stub.registry(&[]);
    for (subject, is_transient, reason) in [
        ("incompatible", false, "as incompatible with those of subject `incompatible` (READER_"),
        ("incompatible", false, "write to another topic"),
        ("invalid", false, "as subject `invalid` (status 422: Invalid schema)"),
        ("forbidden", false, "may register schemas of the subject of /subjects/forbidden/versions"),
        ("forbidden", false, "denied operation Write"),
        ("unknown", false, "may read the subject"),
        ("proxy", false, "is none"),
        ("redirected", false, "is none"),
        ("busy", true, "slow down"),
        ("broken", true, "no leader"),
        ("odd", false, "no `id`"),
    ] {
        let error = registry.number(subject, &schema(SchemaKind::Avro)).unwrap_err();
        assert!(error.message.contains(reason), "{subject}: {error}");
        assert_eq!(error.is_transient, is_transient, "{subject}: {error}");
    }
}

#[test]
fn asking_what_would_be_registers_nothing() {
    let stub = Stub::start(|path, _| match path {
        "/subjects/there" => (200, r#"{"id":7}"#.to_owned()),
        "/compatibility/subjects/next/versions/latest?verbose=true" => {
            (200, r#"{"is_compatible":true}"#.to_owned())
        }
        "/compatibility/subjects/other/versions/latest?verbose=true" => {
            (200, r#"{"is_compatible":false,"messages":["NAME_MISMATCH","at /"]}"#.to_owned())
        }
        _ => no_subject(),
    });
    let registry = stub.registry(&[]);
    let state = |subject| registry.state(subject, &schema(SchemaKind::Avro));
    assert_eq!(state("there"), Ok(SubjectState::Registered(7)));
    assert_eq!(state("next"), Ok(SubjectState::Next));
    assert_eq!(state("first"), Ok(SubjectState::First));
    let error = state("other").unwrap_err().message;
    assert!(error.contains("incompatible with those of subject `other` (NAME_MISMATCH; at /)"));
    assert!(stub.paths().iter().all(|path| !path.starts_with("/subjects/") || path.len() < 20));
}

/// A registry that takes a connection and says nothing, and one that nobody runs.
#[test]
fn a_registry_that_does_not_answer_may_yet() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let mut config = crate::config::KafkaSinkConfig::new("b:9092", "f");
        let avro = tidecast_stream::ForecastFraming::Confluent;
        config.format.encoding = tidecast_stream::ForecastEncoding::Avro(avro);
        config.schema_registry =
            [(URL, format!("http://{address}"))].into_iter().collect::<ClientProperties>();
        config.timeout = Duration::from_millis(300);
        let error = crate::KafkaSink::connect(config, None).unwrap_err();
        assert!(error.message.starts_with("writing topic `f`: the schema registry at"), "{error}");
        assert!(error.message.contains("does not answer"), "{error}");
        assert!(error.retriable && error.blame == Blame::External, "{error:?}");
    }
}

#[test]
fn whether_schemas_are_registered_is_said_by_true_or_false() {
    let settings = [(URL, "http://a"), ("auto.register.schemas", "no")].into_iter().collect();
    let error = SchemaRegistry::new(&settings, Duration::ZERO, &SchemaCache::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`no`, expected `true` or `false`"), "{error}");
}
