//! `tidecast demo`, as in the README.

use serde_json::Value;

use crate::support::command::{Ended, Running, run, tidecast};

const REGIONS: [&str; 6] = ["CAL", "FLA", "NE", "NW", "NY", "TEX"];

/// Returns the summary: the last line, as one JSON object.
fn summary(ended: &Ended) -> Value {
    let last = ended.succeeded().lines().last().unwrap();
    let summary: Value =
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{last}: {error}"));
    let series: Vec<&str> = summary["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| series["series"].as_str().unwrap())
        .collect();
    assert_eq!(series, REGIONS);
    summary
}

#[test]
fn the_demo_ends_by_itself_with_a_summary() {
    let ended = run(&["demo", "--for", "1s", "--plain", "--json"]);
    assert!(summary(&ended)["seconds"].as_f64().unwrap() >= 1.0);
}

/// How long it takes until all six are scored is the machine's affair, so the
/// test watches the lines and stops the demo as a user would.
#[test]
fn the_demo_forecasts_and_scores_every_region() {
    let mut command = tidecast();
    command.args(["demo", "--plain", "--json"]);
    let mut demo = Running::start(command);
    demo.until("every region has a score", |demo| {
        let output = demo.stdout();
        let newest = output.rsplit("\n[").next()?;
        let is_scored = |region: &&str| {
            let line = newest.lines().find(|line| line.trim_start().starts_with(region));
            line.is_some_and(|line| !line.contains("MASE -") && line.contains('%'))
                && line.is_some_and(|line| !line.trim_end().ends_with("band -"))
        };
        REGIONS.iter().all(is_scored).then_some(())
    });
    assert!(demo.stderr().contains("kcat -C -b 127.0.0.1:"), "how to subscribe: {}", demo.stderr());
    demo.terminate();
    let summary = summary(&demo.wait());
    for series in summary["series"].as_array().unwrap() {
        assert!(series["forecasts"].as_u64().unwrap() > 0, "{series}");
        let mase = series["mase"].as_f64().unwrap();
        assert!(mase.is_finite() && mase > 0.0, "{series}");
        assert!((0.0..=1.0).contains(&series["coverage80"].as_f64().unwrap()), "{series}");
    }
    assert!(summary["forecasts"].as_u64().unwrap() >= 6);
}
