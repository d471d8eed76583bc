//! `tidecast backtest`: on a file, on a suite.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::support::command::{Ended, run};
use crate::support::repository;
use crate::support::topics::time;

const HOURS: usize = 240;
const SITES: [&str; 2] = ["north", "south"];
/// Enough for the relations below, and done in seconds.
const SMALL: [&str; 4] = ["--context", "96", "--samples", "20"];

/// A day's shape, with a little that does not repeat.
fn value(site: &str, hour: usize) -> f32 {
    let base = if site == "north" { 100.0 } else { 300.0 };
    let day = (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
    let noise = ((hour * 7919 + base as usize) % 101) as f64 / 101.0 - 0.5;
    (base * (1.0 + 0.5 * day + 0.05 * noise)) as f32
}

/// Some hours have no row, one row has no value.
fn is_missing(hour: usize) -> bool {
    matches!(hour, 50..53 | 200)
}

/// `parts` rows an hour that add up to its value.
fn csv(parts: usize) -> String {
    let mut text = "ts,site,kw\n".to_owned();
    for site in SITES {
        for hour in 0..HOURS {
            for part in 0..parts {
                let at = time((hour * 60 + part * 60 / parts) as i64, 0);
                let kw = f64::from(value(site, hour)) / parts as f64;
                match is_missing(hour) {
                    false => writeln!(text, "{at},{site},{kw}").unwrap(),
                    true if hour == 200 => writeln!(text, "{at},{site},").unwrap(),
                    true => {}
                }
            }
        }
    }
    text
}

/// The same series, one row each.
fn write_listed(path: &Path) {
    let series = SITES.map(|site| {
        let value = |hour| (!is_missing(hour)).then(|| value(site, hour));
        Some((0..HOURS).map(value).collect::<Vec<_>>())
    });
    let columns: [(&str, ArrayRef); 4] = [
        ("series_id", Arc::new(StringArray::from_iter_values(SITES))),
        ("freq", Arc::new(StringArray::from_iter_values(["h", "h"]))),
        ("start", Arc::new(TimestampMicrosecondArray::from(vec![1_722_470_400_000_000; 2]))),
        ("target", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(series))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn suite(more: &str) -> String {
    format!(
        "[[task]]\nname = 'load.csv'\nfile = 'load.parquet'\nhorizon = 24\nwindows = 2\nseason = 24\n{more}"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn backtest(input: &Path, more: &[&str]) -> Ended {
    let mut arguments = vec!["backtest", "--input", input.to_str().unwrap(), "--time", "ts"];
    arguments.extend(["--target", "kw", "--series", "site"]);
    arguments.extend(more);
    run(&arguments)
}

/// The JSON on the last line.
fn report(ended: &Ended) -> Value {
    serde_json::from_str(ended.succeeded().lines().last().unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, not {value}"))
}

#[test]
fn a_file_is_scored_the_same_each_time_and_as_a_suite_would() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "load.csv", &csv(1));
    let output = folder.path().join("by-series.csv");
    let fixed = ["--horizon", "24", "--windows", "2", "--season", "24", "--json"];
    let both = ["--rollout", "both", "--repeats", "2", "--output", output.to_str().unwrap()];
    let first = backtest(&input, &[&SMALL[..], &fixed, &both].concat());
    let second = backtest(&input, &[&SMALL[..], &fixed, &both, &["--threads", "1"]].concat());
    assert_eq!(first.succeeded(), second.succeeded(), "threads have no part in it either");

    let found = report(&first);
    let task = &found["tasks"][0];
    assert_eq!(
        (&task["windows"], &task["labels"]),
        (&4.into(), &94.into()),
        "one label each missing"
    );
    assert_eq!(task["models"].as_array().unwrap().len(), 2);
    for (model, rollout) in task["models"].as_array().unwrap().iter().zip(["cached", "exact"]) {
        assert_eq!(model["rollout"], rollout);
        // The day is plain to see, the noise small: far better than no forecast at all.
        assert!(number(&model["wql"]) < 0.1, "{model}");
        assert!((0.3..=1.0).contains(&number(&model["coverage"])), "{model}");
        let seeds = model["seeds"].as_array().unwrap();
        assert_ne!(seeds[0]["wql"], seeds[1]["wql"]);
        let mean = (number(&seeds[0]["wql"]) + number(&seeds[1]["wql"])) / 2.0;
        assert!((mean - number(&model["wql"])).abs() < 1e-12);
    }
    let table = first.succeeded();
    assert!(table.contains("builtin:tiny, exact") && table.contains("80 % band"), "{table}");

    let by_series = fs::read_to_string(&output).unwrap();
    let lines: Vec<&str> = by_series.lines().collect();
    assert_eq!(lines[0], "task,series,model,rollout,windows,labels,wql,mase,coverage");
    assert_eq!(lines.len(), 1 + SITES.len() * 3);
    assert!(lines[1].starts_with("load.csv,north,builtin:tiny,cached,2,47,"), "{}", lines[1]);

    // The suite's task has the same name and the same series: the same paths are drawn.
    write_listed(&folder.path().join("load.parquet"));
    let suite = write(folder.path(), "suite.toml", &suite(""));
    let arguments = ["backtest", "--suite", suite.to_str().unwrap(), "--json"];
    let both = &both[..4];
    let third = run(&[&arguments[..], &SMALL, both].concat());
    assert_eq!(report(&third), found);
    assert_eq!(third.succeeded(), first.succeeded());
}

#[test]
fn the_model_beats_repeating_the_last_value() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "load.csv", &csv(1));
    let of_season = |season| {
        let fixed = ["--horizon", "24", "--json", "--season", season];
        report(&backtest(&input, &[&SMALL[..], &fixed].concat()))["tasks"][0].clone()
    };
    let (hour, day) = (of_season("1"), of_season("24"));
    for score in ["wql_ratio", "mase_ratio"] {
        assert!(number(&hour["models"][0][score]) < 0.5, "{hour}");
    }
    // The season is the yardstick's and the scale's, never the model's.
    assert_eq!(hour["models"][0]["wql"], day["models"][0]["wql"]);
    assert!(number(&day["seasonal_naive"]["wql"]) < number(&hour["seasonal_naive"]["wql"]));
}

#[test]
fn what_was_not_said_is_chosen_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let naive = ["--horizon", "4", "--model", "seasonal-naive", "--json"];
    let whole = backtest(&write(folder.path(), "load.csv", &csv(1)), &naive);
    let said = &whole.stderr;
    assert!(said.contains("2 series, 472 rows, step 1h"), "{said}");
    assert!(
        said.contains("6 windows a series, a tenth of the shortest series' 240 steps"),
        "{said}"
    );
    assert!(said.contains("season 24, a day"), "{said}");
    assert_eq!(report(&whole)["tasks"][0]["windows"], 12);

    // Two rows an hour that add up to the same are the same series; their mean is
    // half of it, which no score shows.
    let other = tempfile::tempdir().unwrap();
    let as_hours = |text: &str, aggregate: &str| {
        let input = write(other.path(), "load.csv", text);
        let more = ["--step", "1h", "--aggregate", aggregate];
        backtest(&input, &[&naive[..], &more].concat()).succeeded().to_owned()
    };
    let halves = csv(2);
    assert_eq!(as_hours(&halves, "sum"), whole.stdout);
    assert_eq!(as_hours(&halves, "avg"), whole.stdout);
    // Of one hour only one row came: the mean is as before, the sum is not.
    let without = time(100 * 60 + 30, 0);
    let fewer: Vec<&str> = halves.lines().filter(|line| !line.starts_with(&without)).collect();
    let fewer = fewer.join("\n");
    assert_eq!(as_hours(&fewer, "avg"), whole.stdout);
    assert_ne!(as_hours(&fewer, "sum"), whole.stdout);
}

#[test]
fn a_young_series_has_fewer_windows_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = csv(1);
    for hour in HOURS - 30..HOURS {
        writeln!(text, "{},young,{}", time(hour as i64 * 60, 0), hour % 24).unwrap();
    }
    let input = write(folder.path(), "load.csv", &text);
    let naive = ["--horizon", "12", "--windows", "4", "--model", "seasonal-naive", "--json"];
    let ended = backtest(&input, &naive);
    let task = &report(&ended)["tasks"][0];
    // Two of its four have a past; of these none is longer than a day.
    assert_eq!((&task["windows"], &task["windows_left_out"]), (&10.into(), &2.into()));
    assert_eq!(task["windows_without_scale"], 2);
    let warned = "2 windows of 1 series left out: too short";
    assert!(ended.stderr.contains(warned), "{}", ended.stderr);
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "load.csv", &csv(1));
    let unseen = csv(1).lines().take(220).fold(String::new(), |text, line| text + line + "\n");
    let unseen: String =
        (220..240).fold(unseen, |text, hour| text + &format!("{},north,\n", time(hour * 60, 0)));
    let unseen = write(folder.path(), "unseen.csv", &unseen);
    let nowhere = folder.path().join("nowhere/scores.csv").display().to_string();
    let cases: [(&[&str], &str); 10] = [
        (&["--horizon", "0"], "--horizon is `0`"),
        (&["--horizon", "3", "--windows", "0"], "--windows is `0`"),
        (&["--horizon", "240"], "the longest has 240 steps, a window needs 241"),
        (&["--horizon", "24", "--season", "216"], "--season 216 is too long"),
        (&["--horizon", "24", "--quantiles", "0.1,0.9"], "`0.5` is not among [0.1, 0.9]"),
        (&["--horizon", "24", "--series", "sit"], "did you mean `site`?"),
        (&["--horizon", "24", "--step", "1ms"], "is --step too short, or a time wrong?"),
        (&["--horizon", "24", "--model", "no-such-folder"], "is not a folder"),
        (&["--horizon", "24", "--output", &nowhere], "cannot write `"),
        (&["--horizon", "24", "--output", "scores.txt"], "ends in .csv"),
    ];
    for (arguments, expected) in cases {
        let ended = backtest(&input, arguments);
        assert!(ended.refused().contains(expected), "`{expected}`: {}", ended.stderr);
    }
    let ended = backtest(&unseen, &["--horizon", "10", "--windows", "1"]);
    assert!(ended.refused().contains("no step was observed in any window"), "{}", ended.stderr);

    let usage = run(&["backtest", "--horizon", "3"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    assert!(usage.stderr.contains("--input") && usage.stderr.contains("--time"), "{usage:?}");
}

#[test]
fn what_is_wrong_with_a_suite_is_placed() {
    let folder = tempfile::tempdir().unwrap();
    write_listed(&folder.path().join("load.parquet"));
    let given = |wql: f64| {
        suite(&format!("[task.baselines]\nseasonal-naive = {{ wql = {wql}, mase = 1.0 }}\n"))
    };
    let cases: [(String, &[&str], &[&str]); 6] = [
        (suite("seasons = 3\n"), &[], &["suite.toml", "line 7: unknown field `seasons`"]),
        (suite(""), &["--only", "laod.csv"], &["no task `laod.csv`", "did you mean `load.csv`?"]),
        (suite("").replace("windows = 2", "windows = 12"), &[], &["`north`", "too short for 12"]),
        (suite("").replace(".parquet", ".csv"), &[], &["task `load.csv`", "--data FOLDER"]),
        (suite(""), &["--data", "nowhere"], &["nowhere/load.parquet", "No such file"]),
        (given(0.5), &[], &["WQL of the seasonal naive forecast", "the suite says 0.5"]),
    ];
    for (text, arguments, expected) in cases {
        let path = write(folder.path(), "suite.toml", &text);
        let ended = run(&[&["backtest", "--suite", path.to_str().unwrap()], arguments].concat());
        for part in expected {
            assert!(ended.refused().contains(part), "`{part}`: {}", ended.stderr);
        }
    }
}

/// The sets themselves are elsewhere, so the first thing missed is a file of the first task.
#[test]
fn the_suite_of_the_repository_is_read() {
    let suite = repository("bench/accuracy/suite.toml");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let ended = run(&["backtest", "--suite", suite.to_str().unwrap(), "--data", data]);
    assert!(ended.refused().contains("ett1_h.parquet"), "{}", ended.stderr);
}
