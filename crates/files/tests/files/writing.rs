use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use tidecast_files::{FileFormat, FileSink, JsonLinesWriter};
use tidecast_stream::{
    ContextSummary, EventTime, ForecastMessage, ForecastStatus, ModelRef, SeriesKey, Sink,
    Transaction, VariateForecast,
};

fn forecast(site: Value) -> ForecastMessage {
    let quantiles = [("0.1", json!([1.0, 2.0])), ("0.9", json!([3.0, 4.0]))];
    ForecastMessage {
        forecast_id: "f".to_owned(),
        pipeline: "p".to_owned(),
        series: SeriesKey::new([("site", site), ("time", 2.into())]),
        origin: EventTime::from_millis(1_722_470_400_000),
        step: "PT1H".to_owned(),
        step_ms: Some(3_600_000),
        times: Vec::new(),
        model: ModelRef { name: "tiny".to_owned(), version: "v".to_owned() },
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 8, observed: 7 },
        variates: vec![VariateForecast {
            reason: None,
            name: "kw".to_owned(),
            mean: vec![2.0, 3.0],
            quantiles: quantiles
                .map(|(level, values)| (level.to_owned(), values))
                .into_iter()
                .collect(),
        }],
        is_backfill: false,
    }
}

fn too_short() -> ForecastMessage {
    ForecastMessage {
        status: ForecastStatus::TooShort,
        reason: Some("3 of 16 steps".to_owned()),
        variates: Vec::new(),
        ..forecast("B".into())
    }
}

fn transaction(forecasts: Vec<ForecastMessage>) -> Transaction {
    Transaction { forecasts, ..Transaction::default() }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn csv_is_long_and_appears_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    let mut sink = FileSink::create(&path, FileFormat::Csv).unwrap();
    sink.publish(transaction(vec![too_short()])).unwrap();
    sink.publish(transaction(vec![forecast("A".into())])).unwrap();
    assert!(!path.exists(), "not before it is whole");
    sink.close().unwrap();
    let expected = "\
pipeline,site,series_time,origin,time,step,variate,mean,q0.1,q0.9,model,status,reason
p,B,2,2024-08-01T00:00:00Z,,,,,,,tiny,too_short,3 of 16 steps
p,A,2,2024-08-01T00:00:00Z,2024-08-01T01:00:00Z,1,kw,2.0,1.0,3.0,tiny,ok,
p,A,2,2024-08-01T00:00:00Z,2024-08-01T02:00:00Z,2,kw,3.0,2.0,4.0,tiny,ok,
";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(names(folder.path()), ["out.csv"]);
}

#[test]
fn parquet_keeps_types() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.parquet");
    let mut sink = FileSink::create(&path, FileFormat::Parquet).unwrap();
    sink.publish(transaction(vec![forecast("A".into()), too_short()])).unwrap();
    sink.close().unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let rows = reader.next().unwrap().unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap();
    assert_eq!(column("series_time").as_primitive::<Int64Type>().values(), &[2, 2, 2]);
    assert_eq!(column("q0.9").as_primitive::<Float64Type>().values()[..2], [3.0, 4.0]);
    assert_eq!(column("q0.9").null_count(), 1);
    let time = column("time").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(time.value(1), 1_722_477_600_000_000);
}

#[test]
fn a_sink_that_is_given_up_leaves_the_old_file_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    std::fs::write(&path, "old").unwrap();
    let mut sink = FileSink::create(&path, FileFormat::Csv).unwrap();
    sink.publish(transaction(vec![forecast("A".into())])).unwrap();
    drop(sink);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["out.csv"]);
}

#[test]
fn no_forecast_at_all_is_a_file_with_a_header() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    FileSink::create(&path, FileFormat::Csv).unwrap().close().unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, "pipeline,origin,time,step,variate,mean,model,status,reason\n");
}

#[test]
fn a_series_value_of_another_type_is_named() {
    let folder = TempDir::new().unwrap();
    let mut sink = FileSink::create(&folder.path().join("out.csv"), FileFormat::Csv).unwrap();
    sink.publish(transaction(vec![forecast(1.into())])).unwrap();
    let error = sink.publish(transaction(vec![forecast("A".into())])).unwrap_err().to_string();
    assert!(error.contains("`\"A\"` in series column `site` is no integer"), "{error}");
    assert!(FileSink::create(&folder.path().join("no/out.csv"), FileFormat::Csv).is_err());
}

#[test]
fn json_lines_are_the_messages() {
    let mut bytes = Vec::new();
    let mut sink = JsonLinesWriter::new(&mut bytes, "memory");
    sink.publish(transaction(vec![forecast("A".into()), too_short()])).unwrap();
    sink.close().unwrap();
    let read: Vec<ForecastMessage> = String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, [forecast("A".into()), too_short()]);
}

#[test]
fn appending_goes_on_behind_the_last_whole_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.jsonl");
    let whole = format!("{}\n", serde_json::to_string(&forecast("A".into())).unwrap());
    for cut in ["", "{", &"x".repeat(20_000)] {
        std::fs::write(&path, format!("{whole}{cut}")).unwrap();
        let mut sink = FileSink::append(&path).unwrap();
        sink.publish(transaction(vec![forecast("A".into())])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole.repeat(2), "before it is closed");
        sink.close().unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    FileSink::append(&path).unwrap().publish(transaction(vec![forecast("A".into())])).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
}
