use std::path::PathBuf;
use std::time::Duration;

use super::layers::Layers;
use super::*;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no sample in {}", folder.display());
    files
}

fn load(environment: &[(&str, &str)], set: &[&str]) -> Result<Config, String> {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    Config::load(None, environment.iter().copied(), &set).map_err(|error| error.to_string())
}

fn load_text(text: &str) -> Result<Config, String> {
    let mut layers = Layers::defaults().map_err(|error| error.to_string())?;
    layers
        .add_file("my.toml", text)
        .and_then(|()| Config::from_layers(&layers, None))
        .map_err(|error| error.to_string())
}

#[test]
fn every_shipped_configuration_parses() {
    for path in files("../../config") {
        let nothing: [(&str, &str); 0] = [];
        Config::load(Some(&path), nothing, &[])
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Each sample says in its first line what it is refused with.
#[test]
fn every_invalid_sample_is_refused_with_its_message() {
    let mut differences = String::new();
    for path in files("tests/config/invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let found = load_text(&text).err();
        if expected.is_none() || found.as_deref() != expected {
            let found = found.unwrap_or_else(|| "(accepted)".to_owned());
            differences += &format!("{}\n    # expect: {found}\n", path.display());
        }
    }
    assert!(differences.is_empty(), "not refused as their first lines say:\n{differences}");
}

#[test]
fn later_sources_go_over_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    let text = "[kafka]\nbootstrap_servers = 'file:1'\ngroup_prefix = 'g'\n\
        [kafka.properties]\n'security.protocol' = 'SSL'\n'fetch.min.bytes' = 5\n\
        [model]\nthreads = 3\n";
    std::fs::write(&path, text).unwrap();
    let environment = [
        ("TIDECAST_KAFKA__BOOTSTRAP_SERVERS", "environment:1"),
        ("TIDECAST_KAFKA__PROPERTIES__SSL_CA_LOCATION", "/ca.pem"),
        ("TIDECAST_MODEL__THREADS", "2"),
        ("TIDECAST_SERVER__ENABLED", "false"),
        ("TIDECAST_CONFIG", "not ours"),
        ("OTHER__THING", "not ours"),
    ];
    let set = ["model.threads=0".to_owned(), "kafka.properties.client.id=me".to_owned()];
    let config = Config::load(Some(&path), environment, &set).unwrap();
    assert_eq!(config.kafka.bootstrap_servers, "environment:1");
    assert_eq!(config.kafka.group_prefix, "g");
    let properties: Vec<_> = config.kafka.properties.iter().collect();
    let expected = [
        ("client.id", "me"),
        ("fetch.min.bytes", "5"),
        ("security.protocol", "SSL"),
        ("ssl.ca.location", "/ca.pem"),
    ];
    assert_eq!(properties, expected);
    assert_eq!(config.model.threads, None);
    assert!(!config.server.enabled);
    assert_eq!(config.pipeline.commit_interval, Duration::from_millis(200), "the default stays");
    let printed = config.to_toml();
    assert!(printed.contains("threads = 0  # --set `model.threads=0`"), "{printed}");
    assert!(printed.contains("group_prefix = \"g\"  # `"), "{printed}");
    assert_eq!(load_text(&printed).unwrap().kafka, config.kafka, "what is printed can be read");
}

#[test]
fn all_defaults_are_printed_in_their_order_and_secrets_are_not() {
    let config = load(&[("TIDECAST_KAFKA__PROPERTIES__SASL_PASSWORD", "hush")], &[]).unwrap();
    let printed = config.to_toml();
    assert!(!printed.contains("hush"), "{printed}");
    let keys = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.contains("sasl"))
            .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
            .collect()
    };
    assert_eq!(keys(&printed), keys(DEFAULTS));
}

/// `tidecast config` printed some of librdkafka's secrets, and all that came by `--set`.
#[test]
fn secrets_are_hidden_wherever_they_come_from() {
    let names = ["sasl.oauthbearer.config", "sasl.oauthbearer.assertion.private.key.passphrase"];
    for name in names {
        let set = format!("kafka.properties.{name}=hush");
        let config = load(&[], &[&set]).unwrap();
        let variable = format!("TIDECAST_KAFKA__PROPERTIES__{}", name.replace('.', "_"));
        let from_environment = load(&[(&variable.to_uppercase(), "hush")], &[]).unwrap();
        let file = format!("[kafka.properties]\n'{name}' = 'hush'\n");
        for config in [config, from_environment, load_text(&file).unwrap()] {
            assert_eq!(config.kafka.properties.get(name), Some("hush"));
            let shown = format!("{config:?} {:?} {}", config.engine(), config.to_toml());
            assert!(shown.contains(name) && !shown.contains("hush"), "{shown}");
        }
    }
    for wrong in ["kafka.propertis.sasl.password=hush", "kafka.sasl_password=hush"] {
        let error = load(&[], &[wrong]).unwrap_err();
        assert!(error.contains("password=***") && !error.contains("hush"), "{error}");
    }
    assert!(load(&[], &["model.max_batch_tokens=7"]).unwrap().to_toml().contains("tokens=7`"));
}

#[test]
fn a_secret_is_told_by_its_file_and_the_later_way_holds() {
    let variable = "TIDECAST_KAFKA__PROPERTIES__SASL_PASSWORD_FILE";
    let config = load(&[(variable, "/run/secrets/kafka")], &[]).unwrap();
    let properties: Vec<_> = config.kafka.properties.iter().collect();
    assert_eq!(properties, [("sasl.password.file", "/run/secrets/kafka")]);
    assert!(config.to_toml().contains("\"sasl.password.file\" = \"/run/secrets/kafka\""));

    let over = "kafka.properties.sasl.password=hush";
    let config = load(&[(variable, "/run/secrets/kafka")], &[over]).unwrap();
    let properties: Vec<_> = config.kafka.properties.iter().collect();
    assert_eq!(properties, [("sasl.password", "hush")]);
    let shown = config.to_toml();
    assert!(!shown.contains("hush") && !shown.contains("/run/secrets"), "{shown}");

    let plain = ("TIDECAST_KAFKA__PROPERTIES__SASL_PASSWORD", "hush");
    let error = load(&[plain, (variable, "/f")], &[]).unwrap_err();
    let expected = format!(
        "environment variable `{variable}`: `sasl.password.file` says again what \
         `sasl.password` says; expected one"
    );
    assert_eq!(error, expected);
    let file = "[kafka.properties]\n'sasl.password' = 'hush'\n'sasl.password.file' = '/f'\n";
    let error = load_text(file).unwrap_err();
    assert!(error.contains("line ") && !error.contains("hush"), "{error}");
}

#[test]
fn the_engine_alone_has_the_same_defaults() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.engine(), EngineConfig::default());
}

#[test]
fn snapshots_go_where_the_setting_says() {
    let url = |setting: &str| load(&[], &[&format!("state.url={setting}")]).unwrap().state.url;
    assert_eq!(url("off").url(), None);
    assert_eq!(url("/var/lib/state").url(), Some("/var/lib/state"));
    assert_eq!(url("auto").url(), None, "the environment that is given names no place");
    let auto = |environment: &[(&str, &str)]| load(environment, &[]).unwrap().state.url;
    let home = ("HOME", "/home/me");
    assert_eq!(auto(&[home]).url(), Some("/home/me/.local/share/tidecast/state"));
    let data = [("XDG_DATA_HOME", "/data"), home];
    assert_eq!(auto(&data).url(), Some("/data/tidecast/state"));
    let empty = [("XDG_DATA_HOME", ""), home];
    assert_eq!(auto(&empty), auto(&[home]));
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    let cases = [
        (
            load(&[("TIDECAST_KAFKA__BOOTSTRAP_SERVER", "x")], &[]),
            "environment variable `TIDECAST_KAFKA__BOOTSTRAP_SERVER`: there is no setting \
             `kafka.bootstrap_server`; did you mean `bootstrap_servers`?",
        ),
        (
            load(&[("TIDECAST_KAFKA_GROUP_PREFIX", "x")], &[]),
            "environment variable `TIDECAST_KAFKA_GROUP_PREFIX`: there is no setting \
             `kafka_group_prefix`; did you mean `TIDECAST_KAFKA__GROUP_PREFIX`?",
        ),
        (
            load(&[("TIDECAST_MODEL__THREADS", "many")], &[]),
            "environment variable `TIDECAST_MODEL__THREADS`: `many` is no whole number",
        ),
        (
            load(&[("TIDECAST_MODEL__MAX_WAIT", "soon")], &[]),
            "environment variable `TIDECAST_MODEL__MAX_WAIT`: `model.max_wait`: invalid value: \
             string \"soon\", expected a duration such as \"200ms\" or \"1h 30m\"",
        ),
        (
            load(&[("TIDECAST_MODLE__THREADS", "2")], &[]),
            "environment variable `TIDECAST_MODLE__THREADS`: there is no setting `modle`; \
             did you mean `model`?",
        ),
        (
            load(&[], &["log.level"]),
            "--set `log.level`: expected section.key=value, as in `log.level=debug`",
        ),
        (
            load(&[], &["server.listen=9464"]),
            "--set `server.listen=9464`: `server.listen`: invalid value: string \"9464\", \
             expected address:port, such as 127.0.0.1:9464",
        ),
        (
            load(&[], &["kafka.properties=x"]),
            "--set `kafka.properties=x`: `kafka.properties` is a table; name the property, \
             as in `kafka.properties.…`",
        ),
    ];
    for (result, expected) in cases {
        assert_eq!(result.expect_err(expected), expected);
    }
    let nothing: [(&str, &str); 0] = [];
    let error = Config::load(Some("/nowhere.toml".as_ref()), nothing, &[]).unwrap_err().to_string();
    assert!(error.starts_with("cannot read configuration `/nowhere.toml`"), "{error}");
}
