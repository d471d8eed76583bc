use std::sync::Arc;

use arrow::datatypes::DataType;

use tidecast_formats::json::decode_forecast;
use tidecast_stream::{
    ContextSummary, EventTime, ForecastId, ForecastStatus, ModelRef, Period, SeriesKey,
    VariateForecast,
};

use super::*;

fn schema() -> ForecastSchema {
    ForecastSchema {
        series: vec![("store".to_owned(), DataType::Utf8), ("item".to_owned(), DataType::Int64)],
        targets: vec!["units".to_owned()],
        levels: vec![0.1, 0.9],
        horizon: 2,
        aggregates: Vec::new(),
    }
}

fn forecasts() -> Vec<ForecastMessage> {
    let quantiles = [[101.0, 102.0], [141.23456, 151.0]];
    let ok = ForecastMessage {
        id: ForecastId([0xf0; 16]),
        pipeline: "forecast".into(),
        series: SeriesKey::new([("store", "A".into()), ("item", 7.into())]),
        origin: EventTime::from_millis(1_722_470_400_000),
        revision: 0,
        step: Period::Fixed(86_400_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 8, observed: 8 },
        variates: vec![
            VariateForecast::new("units", [0.1, 0.9], &[120.0, 125.5], quantiles).unwrap(),
        ],
        is_backfill: true,
    };
    let failed = ForecastMessage {
        series: SeriesKey::new([("store", "B".into()), ("item", 8.into())]),
        status: ForecastStatus::TooShort,
        reason: Some("1 of 16 steps".to_owned()),
        variates: Vec::new(),
        ..ok.clone()
    };
    vec![ok, failed]
}

#[test]
fn the_table_is_for_people() {
    let expected = "\
┌───────────────────────────────────────────────────────────────────┐
│ store   item   time (UTC)                    mean    q0.1    q0.9 │
╞═══════════════════════════════════════════════════════════════════╡
│ A       7      2024-08-02                   120.0   101.0   141.2 │
│ A       7      2024-08-03                   125.5   102.0   151.0 │
│ B       8      no forecast: 1 of 16 steps                         │
└───────────────────────────────────────────────────────────────────┘
";
    let printed = forecast_table(&schema(), &forecasts());
    assert_eq!(printed, expected, "\n{printed}");
}

#[test]
fn pipes_get_csv_or_the_messages() {
    let mut csv = Vec::new();
    write_to(&mut csv, &schema(), &forecasts(), OutputFormat::Csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(
        csv.starts_with("pipeline,store,item,origin,time,step,variate,mean,q0.1,q0.9,"),
        "{csv}"
    );

    let mut lines = Vec::new();
    write_to(&mut lines, &schema(), &forecasts(), OutputFormat::Jsonl).unwrap();
    let read: Vec<ForecastMessage> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(|line| decode_forecast(line.as_bytes()).unwrap())
        .collect();
    assert_eq!(read, forecasts());
}

#[test]
fn files_get_any_format() {
    let folder = tempfile::tempdir().unwrap();
    for (name, format, start) in [
        ("a.csv", OutputFormat::Csv, &b"pipeline,"[..]),
        ("a.jsonl", OutputFormat::Jsonl, b"{\"forecast_id\""),
        ("a.parquet", OutputFormat::Parquet, b"PAR1"),
        ("a.txt", OutputFormat::Table, "┌─".as_bytes()),
    ] {
        let path = folder.path().join(name);
        write(&schema(), &forecasts(), format, Some(&path)).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
        let error =
            write(&schema(), &forecasts(), format, Some("/nowhere/a".as_ref())).unwrap_err();
        assert!(format!("{error:#}").contains("`/nowhere/a`"), "{error:#}");
    }
}
