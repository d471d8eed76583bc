//! `tidecast forecast`: files in, files out.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Float64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{Ended, run};
use crate::support::messages::printed;
use crate::support::topics::time;

const HOURS: i64 = 72;
const SITES: [&str; 2] = ["north", "south, left"];
/// A model whose forecasts anybody can work out.
const NAIVE: [&str; 4] = ["--model", "seasonal-naive", "--season", "24"];

/// One row of a file.
#[derive(Clone)]
struct Row {
    site: &'static str,
    hour: i64,
    kw: f64,
}

fn value(site: &str, hour: i64) -> f64 {
    site.len() as f64 * 100.0 + hour.rem_euclid(24) as f64
}

/// Three days of two sites, by site.
fn rows() -> Vec<Row> {
    let of_site = |site| (0..HOURS).map(move |hour| Row { site, hour, kw: value(site, hour) });
    SITES.into_iter().flat_map(of_site).collect()
}

fn hour(hour: i64) -> String {
    time(hour * 60, 0)
}

fn csv(rows: &[Row]) -> String {
    rows.iter().fold("ts,site,kw\n".to_owned(), |mut text, Row { site, hour: at, kw }| {
        writeln!(text, "{},\"{site}\",{kw}", hour(*at)).unwrap();
        text
    })
}

/// A folder for a test's files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn write_parquet(&self, name: &str, rows: &[Row]) -> PathBuf {
        let midnight = 1_722_470_400_000_000; // 2024-08-01 in microseconds
        let times = rows.iter().map(|row| midnight + row.hour * 3_600_000_000);
        let columns: [(&str, ArrayRef); 3] = [
            ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
            ("site", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.site)))),
            ("kw", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.kw)))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = self.path(name);
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }
}

/// Forecasts `kw` by `site`.
fn forecast(input: &Path, more: &[&str]) -> Ended {
    let mut arguments = vec!["forecast", "--input", input.to_str().unwrap()];
    arguments.extend(["--time", "ts", "--target", "kw", "--series", "site"]);
    arguments.extend(more);
    run(&arguments)
}

fn naive(input: &Path, more: &[&str]) -> Ended {
    forecast(input, &[&NAIVE[..], &["--horizon", "24"], more].concat())
}

#[test]
fn the_forecast_depends_on_neither_format_nor_order_of_the_file() {
    let folder = Folder::new();
    let by_site = rows();
    let mut by_time = by_site.clone();
    by_time.sort_by_key(|row| row.hour);
    // 7 and 144 have no factor in common: every row once, in no order.
    let mixed: Vec<Row> =
        (0..by_site.len()).map(|index| by_site[index * 7 % by_site.len()].clone()).collect();
    let json_lines: String = by_time
        .iter()
        .map(|row| json!({"ts": hour(row.hour), "site": row.site, "kw": row.kw}).to_string() + "\n")
        .collect();
    let inputs = [
        folder.write("by-site.csv", &csv(&by_site)),
        folder.write("by-time.csv", &csv(&by_time)),
        folder.write("mixed.csv", &csv(&mixed)),
        folder.write("by-time.jsonl", &json_lines),
        folder.write_parquet("by-site.parquet", &by_site),
    ];
    let outputs = inputs.map(|input| printed(&naive(&input, &["--format", "jsonl"])));
    for output in &outputs {
        assert_eq!(output, &outputs[0]);
    }

    let sites: Vec<&Value> = outputs[0].iter().map(|message| &message["series"]["site"]).collect();
    assert_eq!(sites, SITES);
    for (message, site) in outputs[0].iter().zip(SITES) {
        assert_eq!(message["status"], "ok");
        assert_eq!(message["origin"], hour(HOURS - 1));
        assert_eq!(message["step_ms"], 3_600_000);
        assert_eq!(message["context"], json!({"steps": HOURS, "observed": HOURS}));
        let expected: Vec<f64> = (HOURS..HOURS + 24).map(|hour| value(site, hour)).collect();
        assert_eq!(message["variates"][0]["mean"], json!(expected));
    }
}

#[test]
fn forecasts_are_written_as_people_and_programs_want_them() {
    let folder = Folder::new();
    let input = folder.write("load.csv", &csv(&rows()));

    let ended = naive(&input, &[]);
    let table = ended.succeeded();
    assert!(table.contains("north") && table.contains("2024-08-04 00:00"), "{table}");
    assert!(ended.stderr.contains("2 series, 144 rows, step 1h"), "{}", ended.stderr);

    let csv = naive(&input, &["--format", "csv"]);
    let lines: Vec<&str> = csv.succeeded().lines().collect();
    assert_eq!(
        lines[0],
        "pipeline,site,origin,time,step,variate,mean,q0.1,q0.5,q0.9,model,status,reason"
    );
    assert_eq!(lines.len(), 1 + 2 * 24);
    assert!(lines[1].contains("2024-08-04T00:00:00"), "{}", lines[1]);
    assert!(lines.last().unwrap().contains("\"south, left\""));

    let written = folder.path("out.csv");
    naive(&input, &["--output", written.to_str().unwrap()]).succeeded();
    assert_eq!(fs::read_to_string(&written).unwrap(), csv.stdout, "the ending names the format");

    let written = folder.path("out.parquet");
    naive(&input, &["--output", written.to_str().unwrap()]).succeeded();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&written).unwrap());
    let batches: Vec<RecordBatch> = reader.unwrap().build().unwrap().map(Result::unwrap).collect();
    let means: Vec<f64> = batches
        .iter()
        .flat_map(|batch| {
            batch.column_by_name("mean").unwrap().as_primitive::<Float64Type>().values().to_vec()
        })
        .collect();
    let expected: Vec<f64> =
        SITES.iter().flat_map(|site| (HOURS..HOURS + 24).map(|hour| value(site, hour))).collect();
    assert_eq!(means, expected);
}

#[test]
fn what_several_steps_come_to_and_the_paths_are_told_where_asked_for() {
    let folder = Folder::new();
    let input = folder.write("load.csv", &csv(&rows()));
    let more = ["--horizon-aggregate", "sum,max:12", "--quantiles", "0.1,0.5,0.9"];
    let table = naive(&input, &more);
    let table = table.succeeded();
    assert!(table.contains("sum of 2024-08-04 00:00 to 2024-08-04 23:00"), "{table}");
    let csv = naive(&input, &[&more[..], &["--format", "csv"]].concat());
    let rows: Vec<&str> = csv.succeeded().lines().collect();
    assert!(rows[0].contains(",step,aggregate,variate,"), "{}", rows[0]);
    // By series 24 steps, a sum, and the largest of each half of the day.
    assert_eq!(rows.len(), 1 + 2 * (24 + 1 + 2));
    let sum: f64 = (0..24).map(|hour| value("north", hour)).sum();
    let of_north: Vec<&str> = rows
        .iter()
        .filter(|row| row.contains(",sum,kw,") && row.contains("north"))
        .copied()
        .collect();
    let [row] = of_north[..] else { panic!("{rows:?}") };
    let cells: Vec<&str> = row.split(',').collect();
    assert_eq!(cells[7..11], [format!("{sum:?}").as_str(); 4], "what repeats has no error: {row}");

    let ended = naive(&input, &["--with-samples"]);
    assert!(ended.refused().contains("expected --format jsonl"), "{}", ended.stderr);
    let more = ["--horizon-aggregate", "avg:8", "--samples", "8", "--with-samples"];
    let ended = forecast(&input, &[&["--horizon", "24", "--format", "jsonl"], &more[..]].concat());
    for message in printed(&ended) {
        let kw = &message["variates"][0];
        let samples = kw["samples"].as_array().unwrap();
        assert_eq!((samples.len(), samples[0].as_array().unwrap().len()), (8, 24));
        // The mean of a block is that of its paths.
        for block in 0..3 {
            let value = |path: &Value, step: usize| path[block * 8 + step].as_f64().unwrap();
            let of_path = |path: &Value| (0..8).map(|step| value(path, step)).sum::<f64>() / 8.0;
            let mean = samples.iter().map(of_path).sum::<f64>() / 8.0;
            let told = kw["aggregates"][0]["mean"][block].as_f64().unwrap();
            assert!((told - mean).abs() < 1e-9 * mean.abs(), "{told} for {mean}");
        }
    }
}

#[test]
fn the_built_in_model_forecasts_and_draws_the_same_each_time() {
    let folder = Folder::new();
    let input = folder.write("load.csv", &csv(&rows()));
    let arguments = |plot: &str| {
        let plot = folder.path(plot).display().to_string();
        let small = ["--horizon", "20", "--samples", "12", "--format", "jsonl", "--plot"];
        forecast(&input, &[&small[..], &[&plot]].concat())
    };
    let first = arguments("out.svg");
    let second = arguments("out.png");
    assert_eq!(printed(&first).len(), 2);
    assert_eq!(first.stdout, second.stdout);
    for message in printed(&first) {
        assert_eq!(message["status"], "ok");
        assert!(message["model"]["version"].as_str().unwrap().starts_with("sha256:"));
    }

    let svg = fs::read_to_string(folder.path("out.svg")).unwrap();
    assert!(svg.trim_start().starts_with("<svg") && svg.contains("north"), "{svg:.300}");
    let png = fs::read(folder.path("out.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 5_000, "{}", png.len());
}

#[test]
fn missing_values_and_steps_are_missing_for_the_model() {
    let folder = Folder::new();
    let mut text = "ts,site,kw\n".to_owned();
    for at in 0..HOURS {
        let kw = match at {
            20..25 => continue, // no row
            30 => String::new(),
            31 => "NaN".to_owned(),
            _ => value("north", at).to_string(),
        };
        writeln!(text, "{},north,{kw}", hour(at)).unwrap();
    }
    let input = folder.write("gaps.csv", &text);
    let found = printed(&naive(&input, &["--format", "jsonl"]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["context"], json!({"steps": HOURS, "observed": HOURS - 7}));
    let expected: Vec<f64> = (HOURS..HOURS + 24).map(|hour| value("north", hour)).collect();
    assert_eq!(found[0]["variates"][0]["mean"], json!(expected));
}

#[test]
fn a_cell_that_is_no_number_costs_its_row_and_nothing_else() {
    let folder = Folder::new();
    let mut text = csv(&rows());
    text.push_str(&format!("{},north,oops\n", hour(HOURS)));
    let input = folder.write("load.csv", &text);
    let ended = naive(&input, &["--format", "jsonl"]);
    assert!(ended.stderr.contains("1 of 145 rows (0.7 %) could not be used"), "{}", ended.stderr);
    assert!(ended.stderr.contains("oops"), "{}", ended.stderr);
    assert_eq!(printed(&ended).len(), 2);
}

#[test]
fn a_series_of_one_row_is_forecast_beside_the_others() {
    let folder = Folder::new();
    let mut rows = rows();
    rows.push(Row { site: "young", hour: HOURS - 1, kw: 5.0 });
    let input = folder.write("load.csv", &csv(&rows));
    let found = printed(&naive(&input, &["--format", "jsonl"]));
    let young = found.iter().find(|message| message["series"]["site"] == "young").unwrap();
    assert_eq!(young["context"], json!({"steps": 1, "observed": 1}));
    assert_eq!(young["variates"][0]["mean"], json!(vec![5.0; 24]));
    assert_eq!(found.len(), 3);

    // Alone it has no step; with one given it has.
    let alone = folder.write("alone.csv", &csv(&rows[rows.len() - 1..]));
    assert!(naive(&alone, &[]).refused().contains("give --step"));
    let given = printed(&naive(&alone, &["--step", "1h", "--format", "jsonl"]));
    assert_eq!(given[0]["variates"][0]["mean"], json!(vec![5.0; 24]));
}

#[test]
fn what_is_wrong_with_a_file_or_an_argument_is_said() {
    let folder = Folder::new();
    let input = folder.write("load.csv", &csv(&rows()));
    let input = input.to_str().unwrap();
    let missing = folder.path("missing.csv").display().to_string();
    let nowhere = folder.path("no-such-folder/out.csv").display().to_string();
    let cases: [(&[&str], &[&str]); 8] = [
        (
            &["--input", input, "--time", "ts", "--target", "kw", "--series", "sites"],
            &["no column `sites`", "did you mean `site`?"],
        ),
        (
            &["--input", input, "--time", "tss", "--target", "kw"],
            &["no column `tss`", "did you mean `ts`?"],
        ),
        (
            &["--input", input, "--time", "ts", "--target", "site"],
            &["a number in `site` (--target)", "the first row that cannot be used"],
        ),
        (
            &["--input", input, "--time", "kw", "--target", "kw"],
            &["column `kw` is named twice", "--time"],
        ),
        (
            &["--input", &missing, "--time", "ts", "--target", "kw"],
            &["missing.csv", "No such file"],
        ),
        (
            &["--input", input, "--time", "ts", "--target", "kw", "--format", "parquet"],
            &["give --output FILE"],
        ),
        (
            &[
                "--input", input, "--time", "ts", "--target", "kw", "--series", "site", "--output",
                &nowhere,
            ],
            &["out.csv"],
        ),
        (
            &["--input", input, "--time", "ts", "--target", "kw", "--plot", "out.gif"],
            &["`out.gif`", ".svg or .png"],
        ),
    ];
    for (arguments, expected) in cases {
        let fixed = ["forecast", "--horizon", "3"];
        let ended = run(&[&fixed[..], &NAIVE, arguments].concat());
        let said = ended.refused();
        for part in expected {
            assert!(said.contains(part), "`{part}` is missing for {arguments:?}: {said}");
        }
    }
}

/// A pipeline from a file to standard output is a batch: it ends by itself.
#[test]
fn a_pipeline_over_a_file_runs_to_its_end() {
    let folder = Folder::new();
    let input = folder.write("load.csv", &csv(&rows()));
    let script = format!(
        "CREATE TABLE load (ts TIMESTAMP NOT NULL, site VARCHAR NOT NULL, kw DOUBLE,
           WATERMARK FOR ts AS ts - INTERVAL '10' DAY)
         WITH ('connector' = 'filesystem', 'path' = '{}');
         CREATE MODEL naive WITH ('provider' = 'seasonal-naive', 'season' = '24');
         CREATE TABLE forecasts WITH ('connector' = 'stdout');
         CREATE VIEW hourly AS SELECT site, window_start AS hour, max(kw) + 1 AS kw
         FROM TUMBLE(TABLE load, DESCRIPTOR(ts), INTERVAL '1' HOUR)
         GROUP BY site, window_start, window_end;
         CREATE PIPELINE p AS INSERT INTO forecasts SELECT * FROM forecast(
           TABLE hourly, model => 'naive', series => 'site', time => 'hour', target => 'kw',
           horizon => 3, refresh => 'at_end');",
        input.display()
    );
    let script = folder.write("load.sql", &script);
    let ended = run(&["run", script.to_str().unwrap(), "--set", "server.enabled=false"]);
    let found = printed(&ended);
    assert_eq!(found.len(), SITES.len());
    for message in &found {
        let site = message["series"]["site"].as_str().unwrap();
        let expected: Vec<f64> = (HOURS..HOURS + 3).map(|hour| value(site, hour) + 1.0).collect();
        assert_eq!(message["variates"][0]["mean"], json!(expected), "{site}");
    }
}
