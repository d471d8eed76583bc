//! `tidecast model`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::command::run;
use crate::support::repository;
use crate::support::topics::time;

const MODEL: &str = "crates/moirai/tests/golden/model";
const GOLDEN: &str = "crates/moirai/tests/golden";

fn verify(golden: &Path, more: &[&str]) -> crate::support::command::Ended {
    let model = repository(MODEL);
    let mut arguments = vec!["model", "verify", "--model", model.to_str().unwrap()];
    arguments.extend(["--golden", golden.to_str().unwrap()]);
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn the_golden_set_is_reproduced() {
    let ended = verify(&repository(GOLDEN), &[]);
    let lines: Vec<&str> = ended.succeeded().lines().collect();
    let (last, checks) = lines.split_last().unwrap();
    assert!(last.contains(" passed, 0 failed"), "{last}");
    for check in checks {
        let word = check.split_whitespace().next().unwrap_or_default();
        assert!(["ok", "unsupported"].contains(&word), "{check}");
        assert!(word != "ok" || check.contains("tolerance"), "{check}");
    }
    for file in ["module_forward", "sampler", "forecast_uni_exact", "forecast_uni_ragged_missing"] {
        let found = checks.iter().filter(|line| line.contains(file)).count();
        assert!(found > 0, "no check of {file}\n{}", ended.stdout);
        assert!(
            !checks.iter().any(|line| line.contains(file) && line.starts_with("unsupported")),
            "{file}\n{}",
            ended.stdout
        );
    }

    let ended = verify(&repository(GOLDEN), &["--json"]);
    let report: Value = serde_json::from_str(ended.succeeded()).unwrap();
    assert_eq!(report["failed"], 0);
    assert_eq!(report["checks"].as_array().unwrap().len(), checks.len());
}

#[test]
fn a_changed_golden_tensor_is_found() {
    const FILE: &str = "forecast_uni_exact.safetensors";
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(repository(GOLDEN)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    // Its last tensor, half of it: 1.0 everywhere.
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() - bytes.len() / 2;
    for value in bytes[half / 4 * 4..].chunks_exact_mut(4) {
        value.copy_from_slice(&1.0_f32.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();

    let ended = verify(folder.path(), &[]);
    assert!(ended.refused().contains("exceed their tolerance"), "{}", ended.stderr);
    let failed: Vec<&str> =
        ended.stdout.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert!(!failed.is_empty() && failed.iter().all(|line| line.contains("forecast_uni_exact")));
}

#[test]
fn the_built_in_model_says_what_it_is() {
    let ended = run(&["model", "info", "builtin:tiny", "--json"]);
    let info: Value = serde_json::from_str(ended.succeeded()).unwrap();
    assert_eq!(info["provider"], "moirai-moe");
    assert_eq!(info["licence"], "Apache-2.0");
    assert!(info["version"].as_str().unwrap().starts_with("sha256:"));
    let parameters = info["parameters"].as_u64().unwrap();
    assert!((8_500_000..9_000_000).contains(&parameters), "{parameters}");
    assert!(info["active_parameters"].as_u64().unwrap() < parameters);

    let text = run(&["model", "info", "builtin:tiny"]);
    assert!(text.succeeded().contains("Apache-2.0"));
}

#[test]
fn the_built_in_model_is_measured_wherever_it_runs() {
    let few = ["--context", "32", "--horizon", "20", "--samples", "2", "--repeats", "1"];
    let ended = run(&[&["model", "bench", "builtin:tiny", "--json"][..], &few].concat());
    let measured: Value = serde_json::from_str(ended.succeeded().lines().last().unwrap()).unwrap();
    let points = measured["points"].as_array().unwrap_or_else(|| panic!("{measured}"));
    assert_eq!(points.len(), 2, "batches of 1 and 32");
    assert!(points.iter().all(|point| point["forecasts_per_second"].as_f64().unwrap() > 0.0));
}

#[test]
fn a_file_shows_how_its_series_use_the_experts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load.csv");
    let mut text = "ts,site,kw\n".to_owned();
    for hour in 0..120 {
        let at = time(hour * 60, 0);
        let kw = 10.0 + (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
        text.push_str(&format!("{at},A,{kw}\n{at},B,{}\n", 5.0 * kw));
    }
    fs::write(&path, text).unwrap();
    let data = path.to_str().unwrap();
    let columns = ["--data", data, "--time", "ts", "--target", "kw", "--series", "site"];
    let ended = run(&[&["model", "info", "builtin:tiny", "--json"][..], &columns].concat());
    let info: Value = serde_json::from_str(ended.succeeded()).unwrap();
    let layers = info["expert_usage"].as_array().unwrap();
    assert_eq!(layers.len(), 6);
    for (index, layer) in layers.iter().enumerate() {
        // Two series: 8 patches of context, then 5 times one token for each of 20
        // paths, each at two experts; from the last layer only the newest leaves.
        let context = if index < 5 { 8 } else { 1 };
        assert_eq!(layer["tokens"], 2 * 2 * (context + 5 * 20), "layer {index}");
        let shares = layer["shares"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9);
        let entropy = layer["entropy"].as_f64().unwrap();
        assert!(entropy > 0.3 && entropy < 1.0, "layer {index}: {entropy}");
    }

    let ended = run(&[&["model", "info", "builtin:tiny"][..], &columns].concat());
    assert!(ended.succeeded().contains("layer     tokens   entropy  dead"), "{}", ended.stdout);
    let wrong = ["--data", data, "--time", "ts", "--target", "kW"];
    let ended = run(&[&["model", "info", "builtin:tiny"][..], &wrong].concat());
    assert!(ended.refused().contains("kW"), "{}", ended.stderr);
}
