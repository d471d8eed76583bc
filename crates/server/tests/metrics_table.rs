//! The table of metrics against the code that emits them and the dashboard that
//! shows them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidecast_server::{MetricKind, describe_metrics};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|ending| ending == extension) {
            found.push(path);
        }
    }
}

/// Returns the names that follow one of `before` in `text`.
fn names_after(text: &str, before: &[String]) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    before
        .iter()
        .flat_map(|before| text.split(before.as_str()).skip(1))
        .map(|rest| rest.trim_start().trim_start_matches('"'))
        .map(|rest| rest.chars().take_while(|c| is_of_name(*c)).collect::<String>())
        .filter(|name| name.starts_with("tidecast_"))
        .collect()
}

#[test]
fn the_table_lists_what_the_code_emits_and_nothing_else() {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            files_below(&source, "rs", &mut sources);
        }
    }
    let listed = |kind| -> BTreeSet<String> {
        describe_metrics()
            .into_iter()
            .filter(|metric| metric.kind == kind)
            .map(|metric| metric.name.to_owned())
            .collect()
    };
    for (kind, call) in [
        (MetricKind::Counter, "counter!("),
        (MetricKind::Gauge, "gauge!("),
        (MetricKind::Histogram, "histogram!("),
    ] {
        let mut emitted = BTreeSet::new();
        for source in &sources {
            let text = fs::read_to_string(source).unwrap();
            emitted.extend(names_after(&text, &[call.to_owned()]));
            // What models count is handed over as data.
            if kind == MetricKind::Counter {
                let names = ["name: ", "const NAME: &str = "].map(str::to_owned);
                emitted.extend(names_after(&text, &names));
            }
        }
        assert_eq!(emitted, listed(kind), "emitted, and in docs/metrics.md, as {kind:?}");
    }
}

#[test]
fn names_follow_the_template() {
    const STAGES: [&str; 6] =
        ["source", "windower", "forecaster", "publisher", "mailbox", "pipeline"];
    let mut seen = BTreeSet::new();
    for metric in describe_metrics() {
        let name = metric.name;
        assert!(seen.insert(name), "`{name}` is listed twice");
        let stage = name.strip_prefix("tidecast_").and_then(|rest| rest.split('_').next());
        assert!(stage.is_some_and(|stage| STAGES.contains(&stage)), "`{name}` has no stage");
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "`{name}`");
        assert!(metric.help.ends_with('.') && !metric.labels.is_empty(), "`{name}`");
    }
    assert!(seen.len() > 15, "the table was not found");
}

/// Pipelines may share a topic; what one of them makes of it is not the other's.
#[test]
fn what_is_about_a_topic_says_of_which_pipeline() {
    for metric in describe_metrics() {
        let labels: Vec<&str> = metric.labels.split(", ").collect();
        let is_told = !labels.contains(&"topic") || labels.contains(&"pipeline");
        assert!(is_told, "`{}` has the labels {labels:?}", metric.name);
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let metrics = describe_metrics();
    let exists = |name: &str| {
        metrics.iter().any(|metric| match metric.kind {
            MetricKind::Histogram => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|series| name.strip_suffix(series) == Some(metric.name)),
            MetricKind::Counter | MetricKind::Gauge => name == metric.name,
        })
    };
    let mut dashboards = Vec::new();
    files_below(&root().join("config/grafana"), "json", &mut dashboards);
    assert!(!dashboards.is_empty());
    for dashboard in dashboards {
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&dashboard).unwrap()).unwrap();
        let mut asked = 0;
        for panel in json["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().unwrap();
                let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                for name in words.filter(|word| word.starts_with("tidecast_")) {
                    assert!(exists(name), "{}: `{name}` in `{query}`", panel["title"]);
                    asked += 1;
                }
            }
        }
        assert!(asked > 0, "{} asks for nothing", dashboard.display());
    }
}
