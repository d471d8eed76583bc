//! Against a registry of a few routes; the real one is asked in the project's own tests.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// A request's path and `authorization`.
type Asked = (String, Option<String>);

/// Answers requests and keeps them.
struct Stub {
    url: String,
    requests: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let path = first.split(' ').nth(1).unwrap().to_owned();
                let mut authorization = None;
                for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
                    if let Some((name, value)) = line.split_once(": ")
                        && name.eq_ignore_ascii_case("authorization")
                    {
                        authorization = Some(value.to_owned());
                    }
                }
                let (status, body) = answer(&path);
                kept.lock().unwrap().push((path, authorization));
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { url, requests }
    }

    fn registry(&self, more: &[(&str, &str)]) -> SchemaRegistry {
        // The last of a name counts.
        let pairs = [(URL, self.url.as_str())].into_iter().chain(more.iter().copied());
        let settings = pairs.collect();
        SchemaRegistry::new(&settings, Duration::from_secs(10), &SchemaCache::default()).unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn not_found() -> (u16, String) {
    (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned())
}

#[test]
fn a_schema_comes_with_all_that_it_refers_to() {
    let stub = Stub::start(|path| {
        let reference = |name: &str, subject: &str| {
            format!(r#"[{{"name":"{name}","subject":"{subject}","version":2}}]"#)
        };
        match path {
            "/schemas/ids/7" => {
                let references = reference("a.Place", "place value");
                (200, format!(r#"{{"schema":"\"int\"","references":{references}}}"#))
            }
            "/subjects/place%20value/versions/2" => {
                let references = reference("a.City", "city/x");
                (200, format!(r#"{{"id":1,"schema":"\"long\"","references":{references}}}"#))
            }
            "/subjects/city%2Fx/versions/2" => {
                // In a circle.
                let references = reference("a.Place", "place value");
                (200, format!(r#"{{"schema":"\"null\"","references":{references}}}"#))
            }
            "/schemas/ids/8" => (200, r#"{"schema":"x","schemaType":"PROTOBUF"}"#.to_owned()),
            _ => not_found(),
        }
    });
    let mut registry = stub.registry(&[(USER_INFO, "me:pass")]);
    let schema = registry.schema(SchemaId::Registered(7)).unwrap().unwrap();
    assert_eq!((schema.kind, schema.text.as_str()), (SchemaKind::Avro, "\"int\""));
    let names: Vec<&str> = schema.references.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.Place", "a.City"]);
    assert_eq!(
        registry.schema(SchemaId::Registered(8)).unwrap().unwrap().kind,
        SchemaKind::Protobuf
    );
    assert_eq!(stub.requests.lock().unwrap()[0].1.as_deref(), Some("Basic bWU6cGFzcw=="));
    assert!(!format!("{registry:?}").contains("bWU6cGFzcw"), "a secret is shown");
}

/// Apicurio's own interface gives texts, and is found beside the one that is as Confluent's.
#[test]
fn a_schema_by_apicurios_numbers_comes_from_its_own_interface() {
    let stub = Stub::start(|path| {
        let Some(path) = path.strip_prefix("/apis/registry/v2") else { return not_found() };
        match path {
            "/ids/globalIds/7" => (200, r#"{"type":"record","name":"R","fields":[]}"#.to_owned()),
            "/ids/globalIds/7/references" => {
                let of = r#"[{"artifactId":"a/b","name":"x.Place","version":"2"}]"#;
                (200, of.to_owned())
            }
            "/groups/default/artifacts/a%2Fb/versions/2" => (200, "\"int\"".to_owned()),
            "/groups/default/artifacts/a%2Fb/versions/2/references" => {
                let of = r#"[{"groupId":"g","artifactId":"c","name":"x.City","version":"1"},
                    {"artifactId":"a/b","name":"x.Place","version":"2"}]"#;
                (200, of.to_owned())
            }
            "/groups/g/artifacts/c/versions/1" => (200, "\"long\"".to_owned()),
            "/ids/contentIds/3" => (200, "syntax = \"proto3\";".to_owned()),
            path if path.ends_with("/references") => (200, "[]".to_owned()),
            _ => (404, r#"{"error_code":404,"message":"No artifact"}"#.to_owned()),
        }
    });
    for end in ["/apis/ccompat/v7", "/apis/registry/v2/"] {
        let mut registry = stub.registry(&[(URL, &format!("{}{end}", stub.url))]);
        let schema = registry.schema(SchemaId::Global(7)).unwrap().unwrap();
        assert_eq!(schema.kind, SchemaKind::Avro);
        let names: Vec<&str> = schema.references.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x.Place", "x.City"]);
        let schema = registry.schema(SchemaId::Content(3)).unwrap().unwrap();
        assert_eq!((schema.kind, schema.references.len()), (SchemaKind::Protobuf, 0));
        assert_eq!(registry.schema(SchemaId::Global(8)), Ok(None));
    }
}

/// What was asked for once is known to whoever comes next, and the registry may be away.
#[test]
fn a_schema_that_is_kept_is_not_asked_for_again() {
    let stub = Stub::start(|path| match path {
        "/schemas/ids/1" => (200, r#"{"schema":"\"int\""}"#.to_owned()),
        _ => not_found(),
    });
    let cache = SchemaCache::default();
    let settings: ClientProperties = [(URL, stub.url.as_str())].into_iter().collect();
    let next = || SchemaRegistry::new(&settings, Duration::from_secs(10), &cache).unwrap();
    for _ in 0..2 {
        let mut registry = next();
        assert!(registry.schema(SchemaId::Registered(1)).unwrap().is_some());
        assert_eq!(registry.schema(SchemaId::Registered(2)), Ok(None), "it may be there soon");
    }
    assert_eq!(stub.paths(), ["/schemas/ids/1", "/schemas/ids/2", "/schemas/ids/2"]);
}

#[test]
fn a_schema_that_is_not_there_is_asked_for_once() {
    let stub = Stub::start(|_| not_found());
    let mut registry = stub.registry(&[(TOKEN, "t")]);
    for _ in 0..3 {
        assert_eq!(registry.schema(SchemaId::Registered(9)), Ok(None));
    }
    assert_eq!(stub.paths(), ["/schemas/ids/9"]);
    assert_eq!(stub.requests.lock().unwrap()[0].1.as_deref(), Some("Bearer t"));
}

#[test]
fn what_is_wrong_with_a_registry_is_said_and_whether_it_may_mend() {
    let stub = Stub::start(|path| match path {
        "/schemas/ids/1" => (401, "who are you".to_owned()),
        "/schemas/ids/2" => (404, "<html>".to_owned()),
        "/schemas/ids/3" => (503, String::new()),
        "/schemas/ids/4" => (200, "{}".to_owned()),
        _ => (500, r#"{"error_code":50001,"message":"store timed out"}"#.to_owned()),
    });
    let mut registry = stub.registry(&[]);
    for (id, is_transient, reason) in [
        (1, false, "refused access (status 401)"),
        (2, false, "is none"),
        (3, true, "status 503"),
        (4, false, "no `schema`"),
        (5, true, "store timed out"),
    ] {
        let error = registry.schema(SchemaId::Registered(id)).unwrap_err();
        assert!(error.message.contains(reason), "{error}");
        assert_eq!(error.is_transient, is_transient, "{error}");
    }
}

#[test]
fn the_next_address_is_asked_where_one_does_not_answer() {
    let stub = Stub::start(|_| (200, r#"{"schema":"\"int\""}"#.to_owned()));
    // A port that nobody listens on.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = format!("http://{closed}/, {}/", stub.url);
    let settings = |url: &str| [(URL, url.to_owned())].into_iter().collect::<ClientProperties>();
    let new = |url: &str| {
        SchemaRegistry::new(&settings(url), Duration::from_secs(10), &SchemaCache::default())
    };
    assert!(new(&both).unwrap().schema(SchemaId::Registered(1)).unwrap().is_some());
    let error =
        new(&format!("http://{closed}")).unwrap().schema(SchemaId::Registered(1)).unwrap_err();
    assert!(error.is_transient && error.message.contains("does not answer"), "{error}");
    // A scheme in capitals, as some write it, is one.
    assert!(new(&stub.url.replace("http", "HTTP")).is_ok());
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    for (settings, reason) in [
        (vec![], "`url`: it is missing"),
        (vec![(URL, "registry:8081")], "`registry:8081` is no address"),
        (vec![(URL, "http://a"), ("ulr", "b")], "`ulr`: there is no such setting"),
        (vec![(URL, "http://me:pass@a")], "`url`: it has a login in it"),
        (vec![(URL, "http://a"), (USER_INFO, "me")], "expected `user:password`"),
        (vec![(URL, "http://a"), (USER_INFO, "a:b"), (TOKEN, "t")], "is set as well"),
        (vec![(URL, "http://a"), ("bearer.auth.token.file", "/nowhere")], "`/nowhere`"),
        (vec![(URL, "https://a"), (CA, "/nowhere.pem")], "`/nowhere.pem`"),
        (vec![(URL, "https://a"), (CA, "Cargo.toml")], "no certificate"),
    ] {
        let settings: ClientProperties = settings.into_iter().collect();
        let registry = SchemaRegistry::new(&settings, Duration::ZERO, &SchemaCache::default());
        let error = registry.unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}
