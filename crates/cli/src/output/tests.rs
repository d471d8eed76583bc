use serde_json::json;

use tidecast_stream::{
    ContextSummary, EventTime, ForecastStatus, ModelRef, SeriesKey, VariateForecast,
};

use super::*;

fn forecasts() -> Vec<ForecastMessage> {
    let quantiles = [("0.1", json!([101.0, 102.0])), ("0.9", json!([141.23456, 151.0]))];
    let ok = ForecastMessage {
        forecast_id: "f".to_owned(),
        pipeline: "forecast".to_owned(),
        series: SeriesKey::new([("store", "A".into()), ("item", 7.into())]),
        origin: EventTime::from_millis(1_722_470_400_000),
        step: "P1D".to_owned(),
        step_ms: Some(86_400_000),
        times: Vec::new(),
        model: ModelRef { name: "m".to_owned(), version: "1".to_owned() },
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 8, observed: 8 },
        variates: vec![VariateForecast {
            reason: None,
            name: "units".to_owned(),
            mean: vec![120.0, 125.5],
            quantiles: quantiles
                .map(|(level, values)| (level.to_owned(), values))
                .into_iter()
                .collect(),
        }],
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
    let printed = forecast_table(&forecasts());
    assert_eq!(printed, expected, "\n{printed}");
}

#[test]
fn pipes_get_csv_or_the_messages() {
    let mut csv = Vec::new();
    write_to(&mut csv, &forecasts(), OutputFormat::Csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(
        csv.starts_with("pipeline,store,item,origin,time,step,variate,mean,q0.1,q0.9,"),
        "{csv}"
    );

    let mut lines = Vec::new();
    write_to(&mut lines, &forecasts(), OutputFormat::Jsonl).unwrap();
    let read: Vec<ForecastMessage> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
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
        write(&forecasts(), format, Some(&path)).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
        let error = write(&forecasts(), format, Some("/nowhere/a".as_ref())).unwrap_err();
        assert!(format!("{error:#}").contains("`/nowhere/a`"), "{error:#}");
    }
}
