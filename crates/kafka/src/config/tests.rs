use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;

fn source(properties: &[(&str, &str)]) -> Result<ClientConfig, ConfigError> {
    let mut config = KafkaSourceConfig::new("b:9092", "g", "t", Arc::new(Schema::empty()));
    config.properties = properties.iter().copied().collect();
    config.client_config()
}

#[test]
fn an_unknown_property_is_named() {
    let error = source(&[("fetch.mx.bytes", "1")]).unwrap_err().to_string();
    assert!(error.contains("`fetch.mx.bytes`"), "{error}");
    assert!(error.contains("no such configuration property"), "{error}");
}

#[test]
fn tokens_are_fetched_with_the_systems_authorities() {
    let found = |pairs: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        let properties: ClientProperties = pairs.iter().copied().collect();
        find_authorities(&mut config, &properties);
        config.get("https.ca.location").map(str::to_owned)
    };
    let oidc = ("sasl.oauthbearer.method", "oidc");
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[oidc]).as_deref(), Some("probe"));
    assert_eq!(found(&[oidc, ("https.ca.pem", "…")]), None);
}

#[test]
fn every_property_in_the_documents_is_one() {
    let mut lines = 0;
    for line in include_str!("../../../../docs/kafka.md").lines() {
        let Some((name, value)) = line.strip_prefix('"').and_then(|it| it.split_once("\" = \""))
        else {
            continue;
        };
        let value = value.trim_end_matches('"');
        let (name, value) = match secret::property_of_file(name) {
            Some(property) => (property, "content"),
            None => (name, value),
        };
        let set = ClientConfig::new().set(name, value).create_native_config();
        assert!(set.is_ok(), "{line}: {:?}", set.err());
        lines += 1;
    }
    assert!(lines > 30, "{lines} lines were found");
}

/// librdkafka's build leaves out what it finds no library for, without an error.
#[test]
fn what_hosted_brokers_ask_for_is_in_this_build() {
    for protocol in ["ssl", "sasl_ssl", "sasl_plaintext"] {
        source(&[("security.protocol", protocol)]).unwrap();
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
        source(&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", mechanism)]).unwrap();
    }
    source(&[
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", "https://login.example/token"),
        ("https.ca.location", "probe"),
    ])
    .unwrap();
    let features = ClientConfig::new().create_native_config().unwrap();
    let features = features.get("builtin.features").unwrap();
    for feature in ["ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer", "oidc"] {
        assert!(features.split(',').any(|it| it.trim() == feature), "{feature}: {features}");
    }
}

#[test]
fn a_secret_is_read_when_a_generation_begins() {
    let path = std::env::temp_dir().join(format!("tidecast-password-{}", std::process::id()));
    let file = path.display().to_string();
    for password in ["one", "two"] {
        std::fs::write(&path, format!("{password}\n")).unwrap();
        let config = source(&[("sasl.password.file", &file)]).unwrap();
        assert_eq!(config.get("sasl.password"), Some(password));
        assert_eq!(config.get("sasl.password.file"), None);
    }
    std::fs::remove_file(&path).unwrap();
    let error = source(&[("sasl.password.file", &file)]).unwrap_err().to_string();
    assert!(error.contains("`sasl.password.file`") && error.contains(&file), "{error}");
    std::fs::write(&path, "group").unwrap();
    let error = source(&[("group.id.file", &file)]).unwrap_err();
    assert!(matches!(error, ConfigError::Reserved { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_value_out_of_range_is_named() {
    let error = source(&[("session.timeout.ms", "soon")]).unwrap_err().to_string();
    assert!(error.contains("`session.timeout.ms` = `soon`"), "{error}");
}

#[test]
fn secrets_are_neither_printed_nor_told() {
    let error = source(&[("sasl.passwrd", "hunter2")]).unwrap_err().to_string();
    assert!(error.contains("sasl.passwrd") && !error.contains("hunter2"), "{error}");
    let mut config = KafkaSinkConfig::new("b:9092", "t");
    config.properties.insert("sasl.password", "hunter2");
    let printed = format!("{config:?}");
    assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
}

/// What `rdkafka_conf.c` of librdkafka 2.12.1 marks with `_RK_SENSITIVE`.
const SENSITIVE: [&str; 13] = [
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl_key",
    "ssl.ca.pem",
    "ssl.keystore.password",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
];

#[test]
fn what_librdkafka_takes_for_secret_is_secret_here() {
    for name in SENSITIVE {
        assert!(secret::is_secret(name), "{name}");
    }
    // No call of librdkafka's tells its marks. So whoever takes another version
    // looks at them again: `grep _RK_SENSITIVE rdkafka_conf.c`.
    let (_, version) = rdkafka::util::get_rdkafka_version();
    assert_eq!(version, "2.12.1", "is `SENSITIVE` still the list of this version?");
}

#[test]
fn what_the_promises_rest_on_cannot_be_overridden() {
    let error = source(&[("enable.auto.commit", "true")]).unwrap_err().to_string();
    assert!(error.contains("committed together"), "{error}");
    let error = source(&[("partition.assignment.strategy", "range")]).unwrap_err().to_string();
    assert!(error.contains("cooperative-sticky"), "{error}");
    let mut sink = KafkaSinkConfig::new("b:9092", "t");
    sink.properties.insert("transactional.id", "x");
    assert!(matches!(sink.client_config(), Err(ConfigError::Reserved { .. })));
}

#[test]
fn a_topic_that_kafka_would_refuse_is_refused_at_once() {
    for name in ["", "a b", "a\0b", "..", &"x".repeat(250)] {
        let error = KafkaSinkConfig::new("b:9092", name).client_config().unwrap_err();
        assert!(matches!(error, ConfigError::Topic { .. }), "{error}");
    }
    assert_eq!(check_topic("a.b_c-1"), Ok(()));
}

#[test]
fn the_users_properties_win_over_the_tuned_ones() {
    let config = source(&[("fetch.wait.max.ms", "7"), ("client.id", "me")]).unwrap();
    assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
    assert_eq!(config.get("client.id"), Some("me"));
}

#[test]
fn the_new_group_protocol_goes_without_a_strategy() {
    let config = source(&[("group.protocol", "consumer")]).unwrap();
    assert_eq!(config.get("partition.assignment.strategy"), None);
}
