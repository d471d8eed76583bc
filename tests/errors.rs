//! What can be wrong before anything runs: status 1, and a message that says what
//! to do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::broker::{self, unique};
use crate::support::command::{Ended, run, run_command, tidecast};
use crate::support::pipeline::Pipeline;
use crate::support::repository;
use crate::support::service::run_to_end;
use crate::support::topics::Topics;

/// Topics on no broker at all.
fn nowhere() -> Topics {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Topics {
        bootstrap: listener.local_addr().unwrap().to_string(),
        source: "readings".to_owned(),
        forecasts: "forecasts".to_owned(),
        late: "late".to_owned(),
        bad: "bad".to_owned(),
        partitions: 1,
    }
}

fn assert_says(ended: &Ended, parts: &[&str]) {
    let said = ended.refused();
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
}

#[test]
fn a_missing_topic_is_named() {
    let Some(broker) = broker::shared() else { return };
    let topics = Topics::create(broker.bootstrap(), 1);
    let pipeline = Pipeline::new("exactly-once");
    let missing = unique("missing");

    let without_source = Topics { source: missing.clone(), ..topics.clone() };
    let ended = run_to_end(&pipeline.script(&without_source), broker.bootstrap(), &[]);
    let named = format!("topic `{missing}`");
    assert_says(&ended, &[&pipeline.name, &named, "does not exist", "create it or check 'topic'"]);

    let without_sink = Topics { forecasts: missing, ..topics };
    let ended = run_to_end(&pipeline.script(&without_sink), broker.bootstrap(), &[]);
    assert_says(&ended, &[&named, "does not exist", "create it or check 'topic'"]);
}

#[test]
fn a_broker_that_does_not_answer_is_named() {
    let topics = nowhere();
    let script = Pipeline::new("exactly-once").script(&topics);
    let ended = run_to_end(&script, &topics.bootstrap, &["pipeline.restart_max=0"]);
    let named = format!("no broker answers at `{}`", topics.bootstrap);
    assert_says(&ended, &[&named, "check 'bootstrap.servers' and that the broker runs"]);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let intact = repository("crates/moirai/tests/golden/model");
    let copy = |from: &str| fs::copy(intact.join(from), folder.path().join(from)).unwrap();
    let path = folder.path().display().to_string();
    let topics = nowhere();
    let run = || {
        let script = Pipeline::new("exactly-once").script(&topics).replace(
            crate::support::pipeline::SEASONAL_NAIVE,
            &format!("'provider' = 'moirai-moe', 'path' = '{path}'"),
        );
        run_to_end(&script, &topics.bootstrap, &["pipeline.restart_max=0"])
    };

    assert_says(&run(), &["config.json` cannot be read", "a checkpoint folder holds"]);

    copy("config.json");
    assert_says(&run(), &["model.safetensors` cannot be read", "a checkpoint folder holds"]);

    copy("model.safetensors");
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_says(&run(), &["model.safetensors` is damaged", "fetch it again"]);

    let missing = folder.path().join("no-such-folder").display().to_string();
    let ended = run_model_info(&missing);
    assert_says(&ended, &["no-such-folder` is not a folder", "`builtin:tiny`"]);
}

fn run_model_info(path: &str) -> Ended {
    run(&["model", "info", path])
}

#[test]
fn mistakes_in_sql_are_placed_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load.sql");
    let good = Pipeline::new("exactly-once").script(&nowhere());
    let check = |script: &str| {
        fs::write(&path, script).unwrap();
        run(&["check", path.to_str().unwrap()])
    };
    assert!(check(&good).succeeded().contains("is fine"));

    for (right, wrong, expected) in [
        ("avg(kw)", "avg(kwh)", "unknown column `kwh`"),
        ("'late.topic'", "'late.topics'", "unknown option `late.topics`"),
        ("horizon =>", "horizont =>", "unknown argument `horizont`"),
        ("'format' = 'json', 'group.id'", "'format' = 'jsn', 'group.id'", "`jsn`"),
    ] {
        let script = good.replacen(right, wrong, 1);
        let at = script.find(wrong).unwrap();
        let line = script[..at].matches('\n').count() + 1;
        let ended = check(&script);
        assert_says(&ended, &[expected, &format!("load.sql:{line}:")]);
        let place = ended.stderr.split("load.sql:").nth(1).unwrap();
        let column = place.split(':').nth(1).unwrap();
        assert!(column.parse::<usize>().is_ok_and(|column| column > 0), "{place}");
    }
    let misspelt = check(&good.replacen("'late.topic'", "'late.topics'", 1));
    assert_says(&misspelt, &["did you mean", "late.topic"]);
}

#[test]
fn unknown_settings_are_refused_with_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    fs::write(&file, "[kafka]\n\nbootstrap_server = 'x:1'\n").unwrap();
    let ended = run(&["config", "--config", file.to_str().unwrap()]);
    let suggestion = "did you mean `bootstrap_servers`?";
    assert_says(&ended, &["my.toml` line 3", "`kafka.bootstrap_server`", suggestion]);

    let mut command = tidecast();
    command.arg("config").env("TIDECAST_KAFKA__BOOTSTRAP_SERVER", "x:1");
    let ended = run_command(command);
    assert_says(&ended, &["`TIDECAST_KAFKA__BOOTSTRAP_SERVER`", suggestion]);

    let ended = run(&["config", "--set", "kafka.bootstrap_server=x:1"]);
    assert_says(&ended, &["--set", suggestion]);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let script = Pipeline::new("exactly-once").script(&nowhere());
    let listen = format!("server.listen={address}");
    let ended = run_to_end(&script, "127.0.0.1:1", &[&listen]);
    assert_says(&ended, &[&format!("cannot listen on `{address}`"), "`server.listen`"]);
}

#[test]
fn files_that_are_missing_or_empty_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(Path::new(&path("empty.sql")), "").unwrap();
    for command in ["run", "check", "explain"] {
        let ended = run(&[command, &path("nowhere.sql")]);
        assert_says(&ended, &["cannot read", "nowhere.sql", "No such file"]);
        let ended = run(&[command, &path("empty.sql")]);
        assert_says(&ended, &["empty.sql:1:1", "nothing to run", "expected a CREATE PIPELINE"]);
    }
    let ended = run(&["check", &path("")]);
    assert!(ended.status.code() == Some(1), "a folder with an empty file: {ended:?}");
}
