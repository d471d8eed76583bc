//! Several targets and covariates, from files to forecasts.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{Ended, run};
use crate::support::messages::printed;
use crate::support::topics::time;

const HOURS: i64 = 96;
const AHEAD: i64 = 24;
const NAIVE: [&str; 4] = ["--model", "seasonal-naive", "--season", "24"];

fn hour(hour: i64) -> String {
    time(hour * 60, 0)
}

fn temperature(hour: i64) -> f64 {
    10.0 + (hour as f64 * 0.26).sin() * 8.0
}

fn kw(hour: i64) -> f64 {
    500.0 + hour.rem_euclid(24) as f64 * 10.0 - temperature(hour) * 12.0
}

/// Four days of load, price and temperature, and a day of temperatures to come,
/// `warmer` than before.
fn csv(warmer: f64) -> String {
    let mut text = "ts,kw,price,temperature,site\n".to_owned();
    for at in 0..HOURS {
        let price = 40.0 + at.rem_euclid(24) as f64;
        writeln!(text, "{},{},{price},{},A", hour(at), kw(at), temperature(at)).unwrap();
    }
    for at in HOURS..HOURS + AHEAD {
        writeln!(text, "{},,,{},A", hour(at), temperature(at) + warmer).unwrap();
    }
    text
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn forecast(input: &Path, more: &[&str]) -> Ended {
    let fixed = ["--time", "ts", "--series", "site", "--horizon", "24"];
    run(&[&["forecast", "--input", input.to_str().unwrap()], &fixed[..], more].concat())
}

#[test]
fn what_is_known_ahead_changes_the_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let of = |warmer: f64, role: &str| {
        let input = write(&folder, &format!("{warmer}.csv"), &csv(warmer));
        let small = ["--target", "kw", role, "temperature", "--samples", "8", "--format", "jsonl"];
        let mut found = printed(&forecast(&input, &small));
        assert_eq!(found.len(), 1);
        found.remove(0)
    };
    let mild = of(0.0, "--future-covariates");
    assert_eq!(mild["status"], "ok");
    assert_eq!(mild["origin"], hour(HOURS - 1), "the last step with a target");
    assert_eq!(mild["context"], json!({"steps": HOURS, "observed": HOURS}));
    assert_eq!(mild["variates"].as_array().unwrap().len(), 1, "covariates are not forecast");
    assert_eq!(of(0.0, "--future-covariates"), mild);
    let warm = of(15.0, "--future-covariates");
    assert_eq!(warm["origin"], mild["origin"]);
    assert_ne!(warm["variates"], mild["variates"]);

    // What is known for the past only is not looked up ahead, and rows without a
    // target at the end move no origin.
    let past = of(0.0, "--past-covariates");
    assert_eq!(past["origin"], hour(HOURS - 1));
}

#[test]
fn several_targets_come_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let history: String = csv(0.0)
        .lines()
        .take(1 + HOURS as usize)
        .fold(String::new(), |text, line| text + line + "\n");
    let input = write(&folder, "load.csv", &history);
    let both = [&NAIVE[..], &["--target", "kw,price"]].concat();
    let found = printed(&forecast(&input, &[&both[..], &["--format", "jsonl"]].concat()));
    let variates = found[0]["variates"].as_array().unwrap();
    let names: Vec<&Value> = variates.iter().map(|variate| &variate["name"]).collect();
    assert_eq!(names, ["kw", "price"]);
    let expected: Vec<f64> =
        (HOURS - 24..HOURS).map(|at| 40.0 + at.rem_euclid(24) as f64).collect();
    assert_eq!(variates[1]["mean"], json!(expected));

    let repeated = [&NAIVE[..], &["--target", "kw", "--target", "price"]].concat();
    let again = forecast(&input, &[&repeated[..], &["--format", "jsonl"]].concat());
    assert_eq!(printed(&again), found);

    let plot = folder.path().join("both.svg");
    let ended = forecast(&input, &[&both[..], &["--plot", plot.to_str().unwrap()]].concat());
    let table = ended.succeeded();
    assert!(table.contains("variate") && table.contains("price"), "{table}");
    let svg = fs::read_to_string(plot).unwrap();
    assert!(svg.contains("A: kw") && svg.contains("A: price"), "a panel each");
    let csv = forecast(&input, &[&both[..], &["--format", "csv"]].concat());
    let rows = csv.succeeded().lines().filter(|line| line.contains(",price,")).count();
    assert_eq!(rows, 24);
    let small = ["--target", "kw,price", "--samples", "4", "--format", "jsonl"];
    let by_model = printed(&forecast(&input, &small));
    assert_eq!(by_model[0]["variates"].as_array().unwrap().len(), 2);
}

#[test]
fn columns_that_are_wrong_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(&folder, "load.csv", &csv(0.0));
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["--target", "kw", "--future-covariates", "temperatur"],
            &["no column `temperatur`", "did you mean `temperature`?"],
        ),
        (&["--target", "kw,kw"], &["column `kw` is named twice"]),
        (
            &["--target", "kw", "--past-covariates", "price", "--future-covariates", "price"],
            &["column `price` is named twice", "--future-covariates"],
        ),
        (&["--target", "kw", "--past-covariates", "ts"], &["column `ts`", "not numeric"]),
    ];
    for (arguments, expected) in cases {
        let ended = forecast(&input, &[&NAIVE[..], arguments].concat());
        let said = ended.refused();
        for part in expected {
            assert!(said.contains(part), "`{part}` is missing for {arguments:?}: {said}");
        }
    }
}

/// Measurements come in order, and with each what is known six hours ahead.
#[test]
fn a_pipeline_sees_rows_ahead_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let of = |warmer: f64| {
        let mut text = "ts,kw,temperature\n".to_owned();
        for at in 0..HOURS {
            writeln!(text, "{},{},{}", hour(at), kw(at), temperature(at)).unwrap();
            writeln!(text, "{},,{}", hour(at + 6), temperature(at + 6) + warmer).unwrap();
        }
        let input = write(&folder, &format!("stream-{warmer}.csv"), &text);
        let script = format!(
            "CREATE TABLE load (ts TIMESTAMP NOT NULL, kw DOUBLE, temperature DOUBLE,
               WATERMARK FOR ts AS CASE WHEN kw IS NOT NULL THEN ts END)
             WITH ('connector' = 'filesystem', 'path' = '{}');
             CREATE TABLE forecasts WITH ('connector' = 'stdout');
             CREATE VIEW hourly AS SELECT window_start AS hour, avg(kw) AS kw, avg(temperature) AS temperature
             FROM TUMBLE(TABLE load, DESCRIPTOR(ts), INTERVAL '1' HOUR)
             GROUP BY window_start, window_end;
             CREATE PIPELINE p AS INSERT INTO forecasts SELECT * FROM forecast(
               TABLE hourly, time => 'hour', target => 'kw', future_covariates => 'temperature',
               horizon => 6, samples => 4, context => 48, min_context => 48, refresh => 'every 24 steps');",
            input.display()
        );
        let script = write(&folder, "load.sql", &script);
        let ended = run(&["run", script.to_str().unwrap(), "--set", "server.enabled=false"]);
        let found = printed(&ended);
        found.into_iter().filter(|message| message["status"] == "ok").collect::<Vec<_>>()
    };
    let (mild, warm) = (of(0.0), of(15.0));
    assert!(!mild.is_empty());
    let origins = |messages: &[Value]| -> Vec<Value> {
        messages.iter().map(|message| message["origin"].clone()).collect()
    };
    assert_eq!(origins(&mild), origins(&warm));
    for (mild, warm) in mild.iter().zip(&warm) {
        assert_ne!(mild["variates"], warm["variates"]);
    }
}
