use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

use tidecast_files::{FileFormat, FileSink, JsonLinesWriter, LongTable};
use tidecast_formats::json::{decode_forecast, encode_forecast};
use tidecast_stream::{
    AggregateValues, ContextSummary, EventTime, ForecastId, ForecastMessage, ForecastSchema,
    ForecastStatus, HorizonAggregate, ModelRef, Period, SeriesKey, Sink, Transaction,
    VariateForecast,
};

const HEADER: &str =
    "pipeline,site,series_time,origin,time,step,variate,mean,q0.1,q0.9,model,status,reason\n";

fn schema() -> ForecastSchema {
    ForecastSchema {
        series: vec![("site".to_owned(), DataType::Utf8), ("time".to_owned(), DataType::Int64)],
        targets: vec!["kw".to_owned()],
        levels: vec![0.1, 0.9],
        horizon: 2,
        aggregates: Vec::new(),
    }
}

fn forecast(site: &str) -> ForecastMessage {
    let quantiles = [[1.0, 2.0], [3.0, 4.0]];
    ForecastMessage {
        id: ForecastId([0xf0; 16]),
        pipeline: "p".into(),
        series: SeriesKey::new([("site", site.into()), ("time", 2.into())]),
        origin: EventTime::from_millis(1_722_470_400_000),
        revision: 0,
        step: Period::Fixed(3_600_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "v".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 8, observed: 7 },
        variates: vec![VariateForecast::new("kw", [0.1, 0.9], &[2.0, 3.0], quantiles).unwrap()],
        is_backfill: false,
    }
}

fn too_short() -> ForecastMessage {
    ForecastMessage {
        status: ForecastStatus::TooShort,
        reason: Some("3 of 16 steps".to_owned()),
        variates: Vec::new(),
        ..forecast("B")
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
    let mut sink = FileSink::create(&path, FileFormat::Csv, &schema()).unwrap();
    sink.publish(transaction(vec![too_short()])).unwrap();
    sink.publish(transaction(vec![forecast("A")])).unwrap();
    assert!(!path.exists(), "not before it is whole");
    sink.close().unwrap();
    let expected = "\
p,B,2,2024-08-01T00:00:00Z,,,,,,,tiny,too_short,3 of 16 steps
p,A,2,2024-08-01T00:00:00Z,2024-08-01T01:00:00Z,1,kw,2.0,1.0,3.0,tiny,ok,
p,A,2,2024-08-01T00:00:00Z,2024-08-01T02:00:00Z,2,kw,3.0,2.0,4.0,tiny,ok,
";
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, format!("{HEADER}{expected}"));
    assert_eq!(names(folder.path()), ["out.csv"]);
}

#[test]
fn what_several_steps_come_to_is_behind_the_steps() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    let aggregate: HorizonAggregate = "max:2".parse().unwrap();
    let schema = ForecastSchema { aggregates: vec![aggregate], ..schema() };
    let mut message = forecast("A");
    let quantiles = vec![vec![2.5], vec![4.5]];
    message.variates[0].aggregates =
        vec![AggregateValues { aggregate, mean: vec![3.5], quantiles }];
    let mut sink = FileSink::create(&path, FileFormat::Csv, &schema).unwrap();
    sink.publish(transaction(vec![too_short(), message])).unwrap();
    sink.close().unwrap();
    let header = HEADER.replace("step,", "step,aggregate,");
    let expected = "\
p,B,2,2024-08-01T00:00:00Z,,,,,,,,tiny,too_short,3 of 16 steps
p,A,2,2024-08-01T00:00:00Z,2024-08-01T01:00:00Z,1,,kw,2.0,1.0,3.0,tiny,ok,
p,A,2,2024-08-01T00:00:00Z,2024-08-01T02:00:00Z,2,,kw,3.0,2.0,4.0,tiny,ok,
p,A,2,2024-08-01T00:00:00Z,2024-08-01T02:00:00Z,2,max:2,kw,3.5,2.5,4.5,tiny,ok,
";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{header}{expected}"));
}

#[test]
fn parquet_keeps_types() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.parquet");
    let mut sink = FileSink::create(&path, FileFormat::Parquet, &schema()).unwrap();
    sink.publish(transaction(vec![forecast("A"), too_short()])).unwrap();
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
    let mut sink = FileSink::create(&path, FileFormat::Csv, &schema()).unwrap();
    sink.publish(transaction(vec![forecast("A")])).unwrap();
    drop(sink);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["out.csv"]);
}

#[test]
fn no_forecast_at_all_is_a_file_with_a_header() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    FileSink::create(&path, FileFormat::Csv, &schema()).unwrap().close().unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, HEADER);
}

/// A message with this value in the column `site` of this type, as a row.
fn row_of(site: Value, data_type: DataType) -> Result<RecordBatch, String> {
    let message = ForecastMessage { series: SeriesKey::new([("site", site)]), ..too_short() };
    let schema = ForecastSchema { series: vec![("site".to_owned(), data_type)], ..schema() };
    LongTable::new(&schema).rows(&[message], "out").map_err(|error| error.to_string())
}

#[test]
fn series_columns_have_the_type_of_the_schema() {
    let rows = row_of(7.into(), DataType::Int64).unwrap();
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[7]);
    let rows = row_of(u64::MAX.into(), DataType::UInt64).unwrap();
    assert_eq!(rows.column(1).as_primitive::<UInt64Type>().values(), &[u64::MAX]);
    let rows = row_of(7.5.into(), DataType::Float64).unwrap();
    assert_eq!(rows.column(1).as_primitive::<Float64Type>().values(), &[7.5]);
    let rows = row_of(true.into(), DataType::Boolean).unwrap();
    assert!(rows.column(1).as_boolean().value(0));
    let rows = row_of("007".into(), DataType::Utf8).unwrap();
    assert_eq!(rows.column(1).as_string::<i32>().value(0), "007");
    for data_type in [DataType::Utf8, DataType::Int64, DataType::Boolean] {
        assert!(row_of(Value::Null, data_type).unwrap().column(1).is_null(0));
    }
    for (site, data_type, reason) in [
        ("A".into(), DataType::Int64, "`\"A\"` in series column `site` is no integer"),
        ((-1).into(), DataType::UInt64, "`-1` in series column `site` is no integer above -1"),
    ] {
        let error = row_of(site, data_type).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_message_of_another_schema_is_named() {
    let rows = |schema: &ForecastSchema| {
        LongTable::new(schema).rows(&[forecast("A")], "out").unwrap_err().to_string()
    };
    let error = rows(&ForecastSchema { levels: vec![0.5], ..schema() });
    assert!(error.contains("it has the quantiles [0.1, 0.9], the pipeline has [0.5]"), "{error}");
    let error = rows(&ForecastSchema { series: Vec::new(), ..schema() });
    assert!(error.contains("it has a series column `site`, which the pipeline has not"), "{error}");
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("no/out.csv");
    assert!(FileSink::create(&nowhere, FileFormat::Csv, &schema()).is_err());
}

#[test]
fn values_out_of_range_are_missing_one_by_one() {
    let quantiles = [[f64::INFINITY, 2.0], [3.0, f64::NAN]];
    let kw = VariateForecast::new("kw", [0.1, 0.9], &[2.0, f64::NAN], quantiles).unwrap();
    let message = ForecastMessage { variates: vec![kw], ..forecast("A") };
    let rows = LongTable::new(&schema()).rows(&[message], "out").unwrap();
    let found = |name: &str| {
        let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter();
        column.collect::<Vec<_>>()
    };
    assert_eq!(found("mean"), [Some(2.0), None]);
    assert_eq!(found("q0.1"), [None, Some(2.0)]);
    assert_eq!(found("q0.9"), [Some(3.0), None]);
}

#[test]
fn json_lines_are_the_messages() {
    let mut bytes = Vec::new();
    let mut sink = JsonLinesWriter::new(&mut bytes, "memory");
    sink.publish(transaction(vec![forecast("A"), too_short()])).unwrap();
    sink.close().unwrap();
    let read: Vec<ForecastMessage> = String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| decode_forecast(line.as_bytes()).unwrap())
        .collect();
    assert_eq!(read, [forecast("A"), too_short()]);
}

#[test]
fn appending_goes_on_behind_the_last_whole_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut whole = Vec::new();
    encode_forecast(&forecast("A"), &mut whole).unwrap();
    let whole = format!("{}\n", String::from_utf8(whole).unwrap());
    for cut in ["", "{", &"x".repeat(20_000)] {
        std::fs::write(&path, format!("{whole}{cut}")).unwrap();
        let mut sink = FileSink::append(&path).unwrap();
        sink.publish(transaction(vec![forecast("A")])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole.repeat(2), "before it is closed");
        sink.close().unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    FileSink::append(&path).unwrap().publish(transaction(vec![forecast("A")])).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
}
