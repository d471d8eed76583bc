//! What lies in the repository works as it lies there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_yaml_ng::Value;

use crate::support::command::{run, run_command, tidecast};
use crate::support::{repository, repository_text};

#[test]
fn every_pipeline_passes_check_and_explain() {
    let mut files: Vec<PathBuf> = fs::read_dir(repository("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    assert!(files.iter().any(|file| file.ends_with("demo.sql")), "{files:?}");
    // A folder of them is a service, too.
    run(&["check", &repository("pipelines").to_string_lossy()]).succeeded();
    for file in files {
        let file = file.to_str().unwrap();
        assert!(run(&["check", file]).succeeded().contains("is fine"), "{file}");
        let explained = run(&["explain", file]);
        for word in ["horizon", "context", "group.id", "commit.interval"] {
            assert!(explained.succeeded().contains(word), "`{word}` in {}", explained.stdout);
        }
    }
}

/// Blocks of a Markdown text in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    text.split(&opening)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_sql_of_the_readme_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(&repository_text("README.md"), "sql");
    assert!(!blocks.is_empty(), "no ```sql block in README.md");
    for (number, block) in blocks.iter().enumerate() {
        let path = folder.path().join(format!("block-{number}.sql"));
        fs::write(&path, block).unwrap();
        let ended = run(&["check", path.to_str().unwrap()]);
        assert!(ended.succeeded().contains("is fine"), "{block}\n{ended:?}");
    }
}

#[test]
fn the_files_the_readme_points_to_exist() {
    let readme = repository_text("README.md");
    let targets: Vec<&str> = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .collect();
    assert!(targets.len() > 3, "{targets:?}");
    for target in targets {
        assert!(repository(target).exists(), "README.md points to `{target}`");
    }
}

/// The test command of `.ci/run` stands in the README, and CI runs it as it is.
#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let ci = repository_text(".ci/run");
    let command = ci
        .lines()
        .find_map(|line| line.strip_prefix("test_command='")?.strip_suffix('\''))
        .expect("test_command='…' in .ci/run");
    assert!(ci.contains("step 'tests' $test_command"), "{ci}");
    let readme = repository_text("README.md");
    let named = blocks(&readme, "sh").iter().any(|block| block.lines().any(|line| line == command));
    assert!(named, "README.md names no `{command}`");
}

fn compose() -> Value {
    serde_yaml_ng::from_str(&repository_text("docker-compose.yml")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected text, not {value:?}"))
}

#[test]
fn the_service_of_docker_compose_reads_its_settings() {
    let compose = compose();
    let service = &compose["services"]["tidecast"];
    let mut command = tidecast();
    command.arg("config");
    let mut expected = Vec::new();
    for (name, value) in service["environment"].as_mapping().unwrap() {
        let (name, value) = (text(name), text(value));
        assert!(name.starts_with("TIDECAST_"), "{name}");
        command.env(name, value);
        let key = name.split("__").last().unwrap().to_lowercase();
        expected.push(format!("{key} = \"{value}\""));
    }
    assert!(!expected.is_empty());
    let ended = run_command(command);
    for line in expected {
        assert!(ended.succeeded().contains(&line), "`{line}` in {}", ended.stdout);
    }

    // The broker it names is a service that listens there.
    let broker = text(&service["environment"]["TIDECAST_KAFKA__BOOTSTRAP_SERVERS"]);
    let kafka = &compose["services"]["kafka"]["environment"];
    assert!(text(&kafka["KAFKA_ADVERTISED_LISTENERS"]).contains(&format!("//{broker}")));

    // What it runs is mounted where it looks.
    let words: Vec<&str> = service["command"].as_sequence().unwrap().iter().map(text).collect();
    let ["run", pipeline] = words.as_slice() else { panic!("{words:?}") };
    let mounts = service["volumes"].as_sequence().unwrap().iter().map(text);
    let found = mounts.filter_map(|mount| {
        let (here, there) = mount.split_once(':')?;
        let rest = pipeline.strip_prefix(there.split(':').next()?)?;
        Some(repository(&format!("{here}{rest}")))
    });
    assert!(found.into_iter().any(|path| path.is_file()), "{pipeline} is mounted from nowhere");
}

#[test]
fn what_docker_compose_mounts_exists() {
    let compose = compose();
    let mut mounted = 0;
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let Some(volumes) = service["volumes"].as_sequence() else { continue };
        for volume in volumes.iter().map(text).filter(|volume| volume.starts_with("./")) {
            let here = volume.split(':').next().unwrap();
            assert!(repository(here).exists(), "{name:?} mounts `{here}`");
            mounted += 1;
        }
    }
    assert!(mounted >= 4, "{mounted}");
    assert!(repository("Dockerfile").is_file(), "`build: .` needs it");
}

#[test]
fn docker_compose_creates_the_topics_of_the_demo() {
    let compose = compose();
    let script = text(&compose["services"]["topics"]["command"][0]);
    let list = script.split("for topic in ").nth(1).unwrap().split(';').next().unwrap();
    let created: BTreeSet<&str> = list.split_whitespace().collect();
    let pipeline = repository_text("pipelines/demo.sql");
    let named: BTreeSet<&str> = pipeline
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .filter_map(|line| {
            let (option, value) = line.split_once('=')?;
            let is_topic = option.trim().trim_matches('\'').ends_with("topic");
            is_topic.then(|| value.trim().trim_end_matches(',').trim_matches('\''))
        })
        .collect();
    assert_eq!(named.len(), 4, "{named:?}");
    assert_eq!(created, named);
}

#[test]
fn prometheus_scrapes_where_the_service_listens() {
    let prometheus: Value =
        serde_yaml_ng::from_str(&repository_text("config/prometheus.yml")).unwrap();
    let target = text(&prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0]);
    let (host, port) = target.split_once(':').unwrap();
    let compose = compose();
    let service = &compose["services"][host];
    let listen = text(&service["environment"]["TIDECAST_SERVER__LISTEN"]);
    assert_eq!(listen.rsplit(':').next(), Some(port), "{listen}");
    // And by default, too.
    let ended = run(&["config"]);
    let default = ended.succeeded().lines().find(|line| line.starts_with("listen = ")).unwrap();
    assert!(default.contains(&format!(":{port}\"")), "{default}");
}
