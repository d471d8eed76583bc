//! Files as people have them, on which something was once read wrong: each under
//! `cases/`, with what is right.
//!
//! Times and means are those of the seasonal naive forecast, which anybody can work
//! out; where the model itself matters its numbers are bounded.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::command::{Ended, run_command, tidecast};
use crate::support::messages::printed;

/// A step of a forecast: series (values joined by `,`), time and mean.
type Step = (&'static str, &'static str, f64);

fn folder(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(case)
}

/// Runs `tidecast forecast` in the case's folder.
fn forecast(case: &str, arguments: &str) -> Ended {
    let mut command = tidecast();
    command.current_dir(folder(case)).arg("forecast").args(arguments.split_whitespace());
    run_command(command)
}

fn naive(case: &str, arguments: &str, season: usize) -> Ended {
    forecast(case, &format!("{arguments} --model seasonal-naive --season {season}"))
}

/// Every step of every message, in the order of the output.
fn steps(ended: &Ended) -> Vec<(String, String, String, f64)> {
    let mut steps = Vec::new();
    for message in printed(ended) {
        let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let series: Vec<String> =
            message["series"].as_object().unwrap().values().map(text).collect();
        let origin: tidecast_stream::EventTime =
            message["origin"].as_str().unwrap().parse().unwrap();
        for variate in message["variates"].as_array().unwrap() {
            for (index, mean) in variate["mean"].as_array().unwrap().iter().enumerate() {
                let time = match message["step_ms"].as_i64() {
                    Some(step) => origin.plus_micros((index as i64 + 1) * step * 1_000).to_string(),
                    None => message["times"][index].as_str().unwrap().to_owned(),
                };
                let name = variate["name"].as_str().unwrap().to_owned();
                steps.push((series.join(","), name, time, mean.as_f64().unwrap()));
            }
        }
    }
    steps
}

/// Checks the naive forecast of a case.
#[track_caller]
fn check(case: &str, arguments: &str, season: usize, expected: &[Step]) -> Ended {
    let ended = naive(case, &format!("{arguments} --format jsonl"), season);
    ended.succeeded();
    let found: Vec<_> = steps(&ended).into_iter().map(|(s, _, t, mean)| (s, t, mean)).collect();
    let expected: Vec<_> =
        expected.iter().map(|(s, t, mean)| ((*s).to_owned(), (*t).to_owned(), *mean)).collect();
    assert_eq!(found, expected, "{case}\n{}", ended.stderr);
    ended
}

#[track_caller]
fn refused(case: &str, arguments: &str, words: &[&str]) {
    let ended = naive(case, arguments, 24);
    let said = ended.refused();
    for word in words {
        assert!(said.contains(word), "{case}: no `{word}` in {said}");
    }
}

const MIDNIGHT: &str = "2024-08-04T00:00:00Z";
const ONE: &str = "2024-08-04T01:00:00Z";
const TWO: &str = "2024-08-04T02:00:00Z";

#[test]
fn what_names_a_series_is_its_text() {
    let two = [
        ("007", MIDNIGHT, 100.0),
        ("007", ONE, 110.0),
        ("007", TWO, 120.0),
        ("7", MIDNIGHT, 1000.0),
        ("7", ONE, 1010.0),
        ("7", TWO, 1020.0),
    ];
    for file in ["input.csv", "input.jsonl"] {
        let arguments = format!("--input {file} --time ts --target kw --series site --horizon 3");
        check("ids-leading-zeros", &arguments, 24, &two);
    }
    let arguments = "--input input.csv --time ts --target kw --series sim --horizon 1";
    let (one, other) = ("89014103211118510720", "89014103211118510721");
    check("ids-twenty-digits", arguments, 24, &[(one, MIDNIGHT, 100.0), (other, MIDNIGHT, 1000.0)]);
    let arguments = "--input input.csv.gz --time ts --target kw --series site --horizon 1";
    let text_after_numbers =
        [("1001", "2025-09-25T20:00:00Z", 300.0), ("X12", "2024-08-04T00:00:00Z", 500.0)];
    check("ids-text-after-numbers", arguments, 24, &text_after_numbers);
}

#[test]
fn each_series_is_forecast_from_its_own_end() {
    let arguments = "--input input.csv --time ts --target kw --series site --horizon 2";
    let both = [
        ("new", "2024-08-09T08:00:00Z", 1080.0),
        ("new", "2024-08-09T09:00:00Z", 1090.0),
        ("old", "2023-01-09T08:00:00Z", 180.0),
        ("old", "2023-01-09T09:00:00Z", 190.0),
    ];
    check("ended-series", arguments, 24, &both);
    // A time that stands for none is set aside and named.
    let arguments = "--input input.csv --time ts --target kw --series site --horizon 1";
    let expected = [("a", MIDNIGHT, 100.0), ("b", MIDNIGHT, 1000.0)];
    let ended = check("far-future-row", arguments, 24, &expected);
    assert!(ended.stderr.contains("9999-12-31T00:00:00Z in series a"), "{}", ended.stderr);
    refused("far-future-row", &format!("{arguments} --strict"), &["--strict"]);
}

#[test]
fn a_file_has_no_late_rows() {
    let arguments = "--input input.csv --time year --target spots --horizon 1 --quantiles 0.5,0.9 \
                     --format jsonl";
    let ended = naive("newest-first", arguments, 11);
    let messages = printed(&ended);
    assert_eq!(messages[0]["context"]["observed"], 309);
    assert_eq!(messages[0]["origin"], "2008-01-01T00:00:00Z");
    // Years of the calendar repeat every 11 to the digit: there is no band. (Years of 365
    // days would slip by one in the middle, and seem to have one.)
    assert_eq!(messages[0]["variates"][0]["quantiles"]["0.9"][0], 101.0);
}

#[test]
fn steps_are_those_of_the_calendar_and_of_the_datas_phase() {
    let months = [
        ("", "2024-01-01T00:00:00Z", 210.0),
        ("", "2024-02-01T00:00:00Z", 230.0),
        ("", "2024-03-01T00:00:00Z", 250.0),
    ];
    let arguments = "--input input.csv --time month --target orders --horizon 3";
    let ended = check("months", arguments, 12, &months);
    let message = &printed(&ended)[0];
    assert_eq!((message["step"].as_str(), &message["step_ms"]), (Some("P1M"), &Value::Null));
    let mondays = [("", "2025-02-24T00:00:00Z", 100.0), ("", "2025-03-03T00:00:00Z", 101.0)];
    let arguments = "--input input.csv --time week --target y --horizon 2";
    check("weeks-from-monday", arguments, 4, &mondays);
    let at_six = [("", "2024-03-01T06:00:00Z", 104.0), ("", "2024-03-02T06:00:00Z", 105.0)];
    check("daily-at-six", "--input input.csv --time ts --target y --horizon 2", 7, &at_six);
    let berlin = [("", "2024-04-29T22:00:00Z", 104.0), ("", "2024-04-30T22:00:00Z", 105.0)];
    check(
        "daily-at-six",
        "--input local-midnight.csv --time ts --target y --horizon 2",
        7,
        &berlin,
    );
}

#[test]
fn the_step_is_found_in_spite_of_jitter() {
    for file in ["input.csv", "microseconds.csv"] {
        let arguments = format!("--input {file} --time ts --target y --horizon 2");
        let minutes = [("", "2024-08-01T05:00:00Z", 20.0), ("", "2024-08-01T05:01:00Z", 21.0)];
        check("jitter", &arguments, 10, &minutes);
    }
}

#[test]
fn units_of_time_are_a_columns() {
    let arguments = "--input input.csv --time ts --target y --horizon 2";
    let expected = [("", "1974-05-02T00:00:00Z", 100.0), ("", "1974-05-03T00:00:00Z", 101.0)];
    check("epoch-milliseconds-1972", arguments, 7, &expected);
    let arguments = "--input float-milliseconds.csv --time ts --target kw --horizon 1";
    check("epoch-with-fraction", arguments, 24, &[("", MIDNIGHT, 100.0)]);
    let arguments = "--input input.csv --time ts --target kw --horizon 1";
    check("epoch-with-fraction", arguments, 24, &[("", "2024-08-04T00:00:00.250Z", 100.0)]);
    check(
        "hour-24",
        "--input input.csv --time ts --target kw --horizon 2",
        24,
        &[("", ONE, 100.0), ("", TWO, 110.0)],
    );
}

#[test]
fn values_keep_their_digits_and_their_unit() {
    let arguments = "--input input.csv --time ts --target y --horizon 24 --format jsonl";
    let large = steps(&naive("large-level", arguments, 24));
    assert!(large.iter().all(|step| (step.3 - 1e9).abs() <= 10.0), "{large:?}");
    let spread = large.iter().map(|step| step.3).fold(0.0, f64::max) - 999_999_990.0;
    assert!(spread > 19.9, "the swing of 20 is there: {spread}");

    let message = &printed(&forecast("small-scale", arguments))[0];
    let quantile = |level: &str, step: usize| {
        message["variates"][0]["quantiles"][level][step].as_f64().unwrap()
    };
    for step in 0..24 {
        let (low, median, high) =
            (quantile("0.1", step), quantile("0.5", step), quantile("0.9", step));
        assert!((0.5e-6..3.5e-6).contains(&median), "step {step}: {median:e}");
        assert!((high - low) < 1e-6, "step {step}: {low:e} to {high:e}");
    }
    // Beyond 32-bit floats is no reason.
    let arguments = "--input input.csv --time ts --target y --horizon 2 --format jsonl";
    assert_eq!(printed(&forecast("nothing-forecast", arguments))[0]["status"], "ok");
}

#[test]
fn a_gap_of_two_targets_is_no_zero_and_a_dead_one_is_named() {
    let arguments = "--input input.csv --time ts --target y,z --horizon 24 --format jsonl";
    let found = steps(&forecast("gaps-with-two-targets", arguments));
    for name in ["y", "z"] {
        let means: Vec<f64> = found.iter().filter(|s| s.1 == name).map(|s| s.3).collect();
        let (low, high) = (
            means.iter().copied().fold(f64::MAX, f64::min),
            means.iter().copied().fold(f64::MIN, f64::max),
        );
        assert!(low < 994.0 && high > 1006.0, "{name} swings from {low} to {high}");
    }
    let arguments = "--input input.csv --time ts --target a,b,c --horizon 1 --format jsonl";
    let ended = naive("dead-target", arguments, 24);
    let found: Vec<(String, f64)> = steps(&ended).into_iter().map(|s| (s.1, s.3)).collect();
    assert_eq!(found, [("a".to_owned(), 100.0), ("b".to_owned(), 500.0)]);
    assert!(
        ended.stderr.contains("no forecast of `c`: none of the `72` steps"),
        "{}",
        ended.stderr
    );
}

#[test]
fn sums_know_empty_and_cut_off_steps() {
    let arguments = "--input input.csv --time ts --target errors --horizon 2 --step 1h";
    let ended = naive("counts-without-events", &format!("{arguments} --aggregate sum"), 1);
    assert!(ended.stderr.contains("--fill zero"), "{}", ended.stderr);
    for how in ["--aggregate count", "--aggregate sum --fill zero"] {
        let ended = naive("counts-without-events", &format!("{arguments} {how} --format jsonl"), 1);
        let context = &printed(&ended)[0]["context"];
        assert_eq!(context["steps"], context["observed"], "{how}");
        assert!(!ended.stderr.contains("--fill"), "{}", ended.stderr);
    }
    let arguments = "--input input.csv --time ts --target y --horizon 1 --step 1h --aggregate sum";
    let ended = check("partial-last-step", arguments, 1, &[("", "2024-08-03T12:00:00Z", 60.0)]);
    assert!(ended.stderr.contains("has a part only"), "{}", ended.stderr);
}

#[test]
fn how_a_file_is_written_is_found_and_said() {
    for (file, value) in [("input.csv", 100.5), ("tabs.csv", 100.0), ("sep.csv", 100.0)] {
        let arguments = format!("--input {file} --time ts --target kw --series site --horizon 1");
        let ended = check("semicolons", &arguments, 24, &[("A", MIDNIGHT, value)]);
        assert!(ended.stderr.contains("separated by"), "{}", ended.stderr);
    }
    let arguments = "--input input.csv --time ts --target kw --horizon 1";
    check("thousands", arguments, 24, &[("", MIDNIGHT, 700.0)]);
    check("comma-at-line-end", arguments, 24, &[("", MIDNIGHT, 100.0)]);
    let header_only = arguments.replace("input.csv", "header-only.csv");
    refused("comma-at-line-end", &header_only, &["has a header and no rows"]);
    refused("column-twice", arguments, &["has two columns `kw`", "columns 2 and 3"]);
    let arguments = "--input input.csv --time window_start --target kw --horizon 1";
    check("window-start-column", arguments, 24, &[("", MIDNIGHT, 100.0)]);
    for file in ["schema.parquet", "page.parquet"] {
        let arguments = format!("--input {file} --time ts --target kw --horizon 1");
        refused("damaged-parquet", &arguments, &["it is damaged"]);
    }
}

#[test]
fn json_is_read_however_it_is_laid_out() {
    for file in ["input.json", "lines-of-an-array.json"] {
        let arguments = format!("--input {file} --time ts --target kw --horizon 1");
        check("json-array", &arguments, 24, &[("", MIDNIGHT, 100.0)]);
    }
    let arguments = "--input input.jsonl --time ts --target b --horizon 1";
    let ended = check("not-a-number-in-json", arguments, 24, &[("", MIDNIGHT, 48.0)]);
    assert!(!ended.stderr.contains("could not be used"), "{}", ended.stderr);
}

#[test]
fn empty_rows_behind_the_last_value_are_told_of() {
    let arguments = "--input input.csv --time day --target units --horizon 2";
    let expected = [("", "2024-04-10T00:00:00Z", 102.0), ("", "2024-04-11T00:00:00Z", 103.0)];
    let ended = check("trailing-empty-rows", arguments, 7, &expected);
    assert!(ended.stderr.contains("behind 2024-04-09T00:00:00Z"), "{}", ended.stderr);
}

#[test]
fn names_steer_neither_pictures_nor_terminals() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("odd.svg");
    let arguments = "--input input.csv --time ts --target kw --series site --horizon 3 --plot";
    let ended = naive("plot-of-odd-names", &format!("{arguments} {}", plot.display()), 24);
    assert!(ended.succeeded().chars().all(|c| !c.is_control() || c == '\n'), "{}", ended.stdout);
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.chars().all(|c| !c.is_control() || c == '\n'), "XML forbids it");
    assert!(svg.contains("bell"), "the series is drawn");

    let arguments = "--input labels.csv --time ts --target kw --series a --series b --horizon 1";
    let expected = [("p,q/r", MIDNIGHT, 1000.0), ("p/q,r", MIDNIGHT, 100.0)];
    let ended = check("plot-of-odd-names", arguments, 24, &expected);
    assert!(ended.stderr.contains("2 series, 144 rows"), "{}", ended.stderr);
}

#[test]
fn sums_of_whole_numbers_do_not_wrap() {
    let mut command = tidecast();
    command.current_dir(folder("sum-beyond-64-bits")).args([
        "run",
        "pipeline.sql",
        "--set",
        "server.enabled=false",
        "--set",
        "state.url=off",
    ]);
    let ended = run_command(command);
    assert!(!ended.stdout.contains("-4.6"), "{}", ended.stdout);
    assert!(!ended.succeeded().contains("\"mean\":[-"), "{}", ended.stdout);
}

#[test]
fn sql_is_refused_in_words_that_help() {
    for (case, words) in [
        ("sql-messages/struct.sql", "nested"),
        ("sql-messages/user.sql", "word of SQL"),
        ("forecasts-into-their-source/pipeline.sql", "would come back as a record"),
    ] {
        let path = folder(case);
        let ended = crate::support::command::run(&["check", path.to_str().unwrap()]);
        assert!(ended.refused().contains(words), "{case}: {}", ended.stderr);
    }
}

#[test]
fn a_series_without_a_whole_step_is_told_so() {
    let arguments = "--input input.csv --time ts --target y --horizon 1 --step 1y --aggregate sum";
    let ended = naive("partial-last-step", arguments, 1);
    let said = ended.refused();
    assert!(said.contains("no series has a forecast"), "{said}");
    assert!(said.contains("a part only of each of its steps"), "{said}");
}
