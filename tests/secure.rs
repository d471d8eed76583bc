//! A Kafka with TLS, logins and access rules: who is let in, and what those are told who
//! are not. All on one broker with a listener for each way in.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use arrow::datatypes::{DataType, Field, Schema};
use tidecast_kafka::tools::create_topics;
use tidecast_kafka::{Delivery, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig};
use tidecast_stream::{
    BadRecord, Blame, ClientProperties, Offset, Partition, RecordPosition, Sink, Source,
    SourceError, SourceEvent, Transaction,
};

use crate::support::broker::{self, SecureBroker, unique};
use crate::support::command::run;
use crate::support::messages::{Subscriber, records};
use crate::support::pipeline::Pipeline;
use crate::support::service::{Service, run_to_end};
use crate::support::topics::{Series, Topics};
use crate::support::{LIMIT, eventually};

type Properties = Vec<(&'static str, String)>;

/// How long connecting is tried where it is not to succeed.
const PATIENCE: Duration = Duration::from_secs(2);

fn properties(pairs: &[(&'static str, &str)]) -> Properties {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn with(mut properties: Properties, more: &[(&'static str, &str)]) -> Properties {
    for (name, value) in more {
        properties.retain(|(known, _)| known != name);
        properties.push((name, (*value).to_owned()));
    }
    properties
}

/// TLS with the right authority.
fn tls(broker: &SecureBroker) -> Properties {
    let ca = broker.certificate("ca.pem");
    properties(&[("security.protocol", "SSL"), ("ssl.ca.location", &ca)])
}

/// TLS with one of the clients' certificates.
fn mutual(broker: &SecureBroker, client: &str) -> Properties {
    let certificate = broker.certificate(&format!("{client}.pem"));
    let key = broker.certificate(&format!("{client}.key"));
    with(tls(broker), &[("ssl.certificate.location", &certificate), ("ssl.key.location", &key)])
}

fn sasl(broker: &SecureBroker, mechanism: &str, user: &str, password: &str) -> Properties {
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    with(tls(broker), &login)
}

/// A login by a token of whoever answers at `endpoint`.
fn oidc(broker: &SecureBroker, endpoint: &str) -> Properties {
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", "service"),
        ("sasl.oauthbearer.client.secret", "hush-oidc"),
        ("sasl.oauthbearer.token.endpoint.url", endpoint),
    ];
    with(tls(broker), &login)
}

fn source(address: &str, topic: &str, properties: &Properties) -> KafkaSourceConfig {
    let schema = Arc::new(Schema::new(vec![Field::new("kw", DataType::Float64, true)]));
    KafkaSourceConfig {
        properties: properties.iter().cloned().collect(),
        ..KafkaSourceConfig::new(address, format!("{topic}-group"), topic, schema)
    }
}

/// Connects and joins the group.
fn join(config: KafkaSourceConfig) -> Result<KafkaSource, SourceError> {
    let mut source = KafkaSource::connect(config)?;
    loop {
        if let SourceEvent::Assigned(assigned) = source.poll(LIMIT)? {
            for (partition, _) in assigned {
                source.start(&partition, None)?;
            }
            return Ok(source);
        }
    }
}

/// Answers every request for a token with one for `service` that nobody has signed: the
/// broker of these tests takes such.
fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            answer_with_token(&mut stream).ok();
        }
    });
    endpoint
}

fn answer_with_token(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(11).any(|window| window == b"grant_type=") {
        match stream.read(&mut buffer)? {
            0 => break,
            read => request.extend(&buffer[..read]),
        }
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = format!(r#"{{"sub":"service","iat":{now},"exp":{}}}"#, now + 3_600);
    let token = format!("{}.{}.", base64(br#"{"alg":"none"}"#), base64(claims.as_bytes()));
    let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// As tokens have it: for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let of = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let word = of(0) << 16 | of(1) << 8 | of(2);
        for digit in 0..=chunk.len() {
            let index = word >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

#[test]
fn every_way_in_that_hosted_brokers_have_is_open() {
    let Some(broker) = broker::secure() else { return };
    let topic = unique("secure");
    create_topics(broker.address("bootstrap.servers"), &[(&topic, 1)]).unwrap();
    let locked = broker.certificate("client-locked.key");
    let password = broker.certificate("client-locked.password");
    let by_file = broker.certificate("scram.password");
    fs::write(&by_file, "hush-512\n").unwrap();
    let endpoint = token_endpoint();
    let scram_by_file = {
        let mut login = sasl(broker, "SCRAM-SHA-512", "service", "");
        login.retain(|(name, _)| *name != "sasl.password");
        with(login, &[("sasl.password.file", &by_file)])
    };
    let locked_key = [("ssl.key.location", locked.as_str()), ("ssl.key.password.file", &password)];
    let ways = [
        ("TLS", "ssl", tls(broker)),
        ("a client's certificate", "mtls", mutual(broker, "client")),
        ("a locked key", "mtls", with(mutual(broker, "client"), &locked_key)),
        ("PLAIN", "sasl", sasl(broker, "PLAIN", "service", "hush-plain")),
        ("SCRAM-SHA-256", "sasl", sasl(broker, "SCRAM-SHA-256", "service", "hush-256")),
        ("SCRAM-SHA-512, by a file", "sasl", scram_by_file),
        ("OAUTHBEARER", "sasl", oidc(broker, &endpoint)),
    ];
    thread::scope(|scope| {
        for (way, listener, properties) in &ways {
            let config = KafkaSourceConfig {
                group_id: unique("group"),
                ..source(broker.address(listener), &topic, properties)
            };
            scope.spawn(move || join(config).unwrap_or_else(|error| panic!("{way}: {error}")));
        }
    });
}

/// The errors name what the broker or TLS said, the setting, and what to do, and show no
/// secret; and they come soon.
#[test]
fn who_is_not_let_in_is_told_why_and_what_to_set() {
    let Some(broker) = broker::secure() else { return };
    let topic = unique("secure");
    let ca = broker.certificate("ca.pem");
    let other_ca = broker.certificate("other-ca.pem");
    let missing = broker.certificate("missing");
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/token", listener.local_addr().unwrap())
    };
    let plaintext = properties(&[]);
    let no_authority = ["its authority is none of `ssl.ca.location`", "name the certificate"];
    let expired = ["it expired at 2020-02-01T00:00:00Z", "give the broker a new certificate"];
    let elsewhere = ["it is not for host `localhost`", "broker.example", "subjectAltName"];
    let parts = |more: &[&'static str]| {
        [&["no secure connection", "certificate verify failed"], more].concat()
    };
    let (no_authority, expired, elsewhere) =
        (parts(&no_authority), parts(&expired), parts(&elsewhere));
    let client_certificate: &[&str] =
        &["no secure connection", "`ssl.certificate.location`", "of a CA that the broker trusts"];
    let scram = |password| sasl(broker, "SCRAM-SHA-256", "service", password);
    let kept_out: [(&str, &str, Properties, Blame, &[&str]); 13] = [
        (
            "a wrong SCRAM password",
            "sasl",
            scram("hush-wrong"),
            Blame::User,
            &["refused the login", "invalid credentials", "`sasl.password`"],
        ),
        (
            "a wrong PLAIN password",
            "sasl",
            sasl(broker, "PLAIN", "service", "hush-wrong"),
            Blame::User,
            &["refused the login", "Invalid username or password", "`sasl.username`"],
        ),
        (
            "a mechanism that is not enabled",
            "sasl",
            with(
                scram("hush-256"),
                &[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")],
            ),
            Blame::User,
            &["SASL mechanism GSSAPI", "check `sasl.mechanism`"],
        ),
        (
            "no token",
            "sasl",
            oidc(broker, &nobody),
            Blame::User,
            &["refused the login", "OAUTHBEARER", "`sasl.oauthbearer.*`"],
        ),
        (
            "another authority",
            "ssl",
            with(tls(broker), &[("ssl.ca.location", &other_ca)]),
            Blame::User,
            &no_authority,
        ),
        ("an expired certificate", "expired", tls(broker), Blame::User, &expired),
        ("another host's certificate", "elsewhere", tls(broker), Blame::User, &elsewhere),
        ("no client's certificate", "mtls", tls(broker), Blame::User, client_certificate),
        (
            "an expired client's certificate",
            "mtls",
            mutual(broker, "client-expired"),
            Blame::User,
            client_certificate,
        ),
        (
            "a client's certificate of another authority",
            "mtls",
            mutual(broker, "client-other"),
            Blame::User,
            client_certificate,
        ),
        (
            "no TLS where TLS is spoken",
            "ssl",
            plaintext,
            Blame::External,
            &["no broker answers", "`security.protocol`"],
        ),
        (
            "TLS where none is spoken",
            "bootstrap.servers",
            tls(broker),
            Blame::External,
            &["no broker answers", "`security.protocol`"],
        ),
        (
            "no file of the authority",
            "ssl",
            with(tls(broker), &[("ssl.ca.location", &missing)]),
            Blame::User,
            &["property `ssl.ca.location`", &missing, "No such file"],
        ),
    ];
    assert_ne!(ca, other_ca);
    thread::scope(|scope| {
        for (case, listener, properties, blame, parts) in &kept_out {
            let mut config = source(broker.address(listener), &topic, properties);
            config.timeout = PATIENCE;
            scope.spawn(move || {
                let error = match KafkaSource::connect(config) {
                    Ok(_) => panic!("{case}: let in"),
                    Err(error) => error,
                };
                for part in *parts {
                    assert!(error.message.contains(part), "{case}: no `{part}` in: {error}");
                }
                assert!(!error.message.contains("hush"), "{case}: {error}");
                assert_eq!(error.blame, *blame, "{case}: {error}");
            });
        }
    });
}

#[test]
fn a_file_without_its_secret_is_named_and_the_service_ends() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let topics = Topics {
        bootstrap: "127.0.0.1:1".to_owned(),
        source: "readings".to_owned(),
        forecasts: "forecasts".to_owned(),
        late: "late".to_owned(),
        bad: "bad".to_owned(),
        partitions: 1,
    };
    let script = Pipeline::new("exactly-once").script(&topics);
    for (path, fault) in [(folder.path().join("missing"), "No such file"), (empty, "is empty")] {
        let setting = format!("kafka.properties.sasl.password.file={}", path.display());
        let ended = run_to_end(&script, &topics.bootstrap, &[&setting]);
        let said = ended.refused();
        let path = format!("`{}`", path.display());
        for part in ["property `sasl.password.file`", &path, fault, "expected a file"] {
            assert!(said.contains(part), "`{part}` is missing in: {said}");
        }
    }
}

/// What the user `limited` may do, as `tidecast explain --acls` has it.
struct Rules<'a> {
    broker: &'a SecureBroker,
    calls: Vec<String>,
}

impl<'a> Rules<'a> {
    fn explained(broker: &'a SecureBroker, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.sql");
        fs::write(&path, script).unwrap();
        let path = path.to_str().unwrap();
        let said = run(&["explain", "--acls", "--principal", "User:limited", path]);
        let call = |line: &str| line.strip_prefix("kafka-acls.sh ").map(str::to_owned);
        let calls: Vec<String> = said.succeeded().lines().filter_map(call).collect();
        Self { broker, calls }
    }

    fn give(&self) {
        self.calls.iter().for_each(|call| self.broker.acl(call));
    }

    /// Runs `look` without the rule about `resource`.
    fn without<T>(&self, resource: &str, look: impl FnOnce() -> T) -> T {
        let about: Vec<&String> =
            self.calls.iter().filter(|call| call.contains(resource)).collect();
        assert_eq!(about.len(), 1, "{resource}: {:?}", self.calls);
        self.broker.acl(&about[0].replace("--add", "--remove"));
        let found = look();
        self.broker.acl(about[0]);
        found
    }
}

/// Everything that is printed is needed, nothing else is, and whatever is missing is named.
#[test]
fn the_acls_that_are_explained_are_those_that_the_broker_wants() {
    let Some(broker) = broker::secure() else { return };
    let topics = Topics::create(broker.address("bootstrap.servers"), 1);
    let pipeline = Pipeline::new("exactly-once");
    let script = pipeline.script(&topics);
    let login = sasl(broker, "PLAIN", "limited", "hush-limited");
    let rules = Rules::explained(broker, &script);
    assert_eq!(rules.calls.len(), 6, "{:?}", rules.calls);
    rules.give();

    let settings: Vec<String> =
        login.iter().map(|(name, value)| format!("kafka.properties.{name}={value}")).collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let series = [Series { name: "A", partition: 0, level: 5.0 }];
    topics.send_minutes(&series, 0..8);
    // Late, and bad: their topics are written, too.
    topics.send_minutes(&series, 0..1);
    topics.send(&[(0, b"no JSON".to_vec())]);
    let service = Service::start(&script, broker.address("sasl"), &settings);
    let mut subscriber = Subscriber::new(&topics.bootstrap, &topics.forecasts);
    subscriber.await_distinct(5, &service);
    for topic in [&topics.late, &topics.bad] {
        eventually(
            || (!records(&topics.bootstrap, topic).is_empty()).then_some(()),
            || format!("a letter in `{topic}`"),
        );
    }
    service.stop();

    let properties: ClientProperties = login.iter().cloned().collect();
    let read = || {
        let mut config = source(broker.address("sasl"), &topics.source, &login);
        config.group_id.clone_from(&pipeline.group);
        join(config).map(drop)
    };
    let write = || {
        let id = format!("tidecast-{}-0", pipeline.name);
        let config = KafkaSinkConfig {
            late_topic: Some(topics.late.clone()),
            bad_topic: Some(topics.bad.clone()),
            delivery: Delivery::ExactlyOnce { transactional_id: id },
            properties: properties.clone(),
            ..KafkaSinkConfig::new(broker.address("sasl"), &topics.forecasts)
        };
        KafkaSink::connect(config, None).map(drop)
    };
    read().unwrap();
    write().unwrap();
    let assert_names = |message: &str, rule: &str| {
        for part in ["denied access", rule, "`tidecast explain --acls`"] {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    };
    for (resource, rule) in [
        (format!("--topic '{}'", topics.source), format!("`Read` on topic `{}`", topics.source)),
        (format!("--group '{}'", pipeline.group), format!("`Read` on group `{}`", pipeline.group)),
    ] {
        let error = rules.without(&resource, || read().unwrap_err());
        assert_names(&error.message, &rule);
        assert_eq!((error.blame, error.retriable), (Blame::User, false));
    }
    for topic in [&topics.forecasts, &topics.late, &topics.bad] {
        let error = rules.without(&format!("--topic '{topic}'"), || write().unwrap_err());
        assert_names(&error.message, &format!("`Write` on topic `{topic}`"));
        assert_eq!((error.blame, error.retriable), (Blame::User, false));
    }
    let error = rules.without("--transactional-id", || write().unwrap_err());
    assert_names(
        &error.message,
        &format!("`Write` on transactional id `tidecast-{}-0`", pipeline.name),
    );

    let ended = rules.without(&format!("--topic '{}'", topics.bad), || {
        run_to_end(&script, broker.address("sasl"), &settings)
    });
    assert_names(ended.refused(), &format!("`Write` on topic `{}`", topics.bad));
}

/// Whoever may look at a topic, and no more, is found out only by reading and writing.
#[test]
fn a_right_to_look_is_none_to_read_or_write() {
    let Some(broker) = broker::secure() else { return };
    let topics = Topics::create(broker.address("bootstrap.servers"), 1);
    let Topics { source: read, bad: written, .. } = &topics;
    let group = unique("group");
    let login = sasl(broker, "PLAIN", "looking", "hush-looking");
    let address = broker.address("sasl");
    let allow = |rule: &str| broker.acl(&format!("--add --allow-principal User:looking {rule}"));
    allow(&format!("--operation Describe --topic {read}"));
    allow(&format!("--operation Describe --topic {written}"));
    allow(&format!("--operation Read --group {group}"));
    topics.send(&[(0, b"{}".to_vec())]);

    let config = KafkaSourceConfig { group_id: group, ..source(address, read, &login) };
    let mut reading = join(config).unwrap();
    let error = loop {
        match reading.poll(LIMIT) {
            Ok(event) => assert!(!matches!(event, SourceEvent::Batch(_)), "{event:?}"),
            Err(error) => break error,
        }
    };
    assert!(error.message.contains(&format!("`Read` on topic `{read}`")), "{error}");
    assert_eq!((error.blame, error.retriable), (Blame::User, false));

    let assert_refused = || {
        let config = KafkaSinkConfig {
            properties: login.iter().cloned().collect(),
            delivery: Delivery::AtLeastOnce,
            bad_topic: Some(written.clone()),
            ..KafkaSinkConfig::new(address, written)
        };
        let mut writing = KafkaSink::connect(config, None).unwrap();
        let position =
            RecordPosition { partition: Partition::new(read.as_str(), 0), offset: Offset(0) };
        let letter = BadRecord { position, key: None, payload: None, error: "no JSON".to_owned() };
        let transaction = Transaction { bad: vec![letter], ..Transaction::default() };
        let error = writing.publish(transaction).unwrap_err();
        assert!(error.message.contains(&format!("`Write` on topic `{written}`")), "{error}");
        assert_eq!((error.blame, error.retriable), (Blame::User, false), "{error}");
    };
    // Who may write nothing at all is refused before the topic is of interest.
    assert_refused();
    allow(&format!("--operation Write --topic {}", topics.late));
    assert_refused();
}
