//! How fast forecasts are written in each format and layout, and how many bytes they take.
//!
//! `cargo run --release -p tidecast-formats --example forecast_bench`

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::DataType;
use tidecast_formats::forecast::ForecastEncoder;
use tidecast_stream::{
    ContextSummary, EventTime, ForecastEncoding, ForecastFormat, ForecastFraming, ForecastId,
    ForecastLayout, ForecastMessage, ForecastSchema, ForecastStatus, ModelRef, Period, SeriesKey,
    VariateForecast,
};

/// Forecasts of a turn.
const FORECASTS: usize = 1_000;
const TURNS: usize = 51;
const STEPS: usize = 24;

fn forecast(index: usize, levels: &Arc<[f64]>) -> Result<ForecastMessage, Box<dyn Error>> {
    // Numbers with all their digits, as a model's are.
    let value = |row: usize, step: usize| ((index * 31 + row * 7 + step) as f64).sin() * 40.0;
    let row = |row: usize| (0..STEPS).map(|step| value(row, step)).collect::<Vec<_>>();
    let quantiles = (1..=levels.len()).map(row);
    let kw = VariateForecast::new("kw", Arc::clone(levels), &row(0), quantiles)?;
    Ok(ForecastMessage {
        id: ForecastId([7; 16]),
        pipeline: "load".into(),
        series: SeriesKey::new([("site", format!("a{index}").into())]),
        origin: EventTime::from_millis(1_722_470_400_000),
        revision: 0,
        step: Period::Fixed(3_600_000_000),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "tiny".to_owned(), version: "sha256:0".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 512, observed: 512 },
        variates: vec![kw],
        is_backfill: false,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let levels: Arc<[f64]> = (1..10).map(|tenth| f64::from(tenth) / 10.0).collect();
    let schema = ForecastSchema {
        series: vec![("site".to_owned(), DataType::Utf8)],
        targets: vec!["kw".to_owned()],
        levels: levels.to_vec(),
        horizon: STEPS,
        aggregates: Vec::new(),
    };
    let forecasts: Vec<ForecastMessage> =
        (0..FORECASTS).map(|index| forecast(index, &levels)).collect::<Result<_, _>>()?;
    println!("| format | layout | thousand forecasts/s | bytes each |");
    println!("|---|---|---|---|");
    for layout in ForecastLayout::ALL {
        for encoding in [
            ForecastEncoding::Json,
            ForecastEncoding::Avro(ForecastFraming::Confluent),
            ForecastEncoding::Protobuf(ForecastFraming::Confluent),
        ] {
            let mut encoder =
                ForecastEncoder::new("load", &schema, ForecastFormat { encoding, layout })?;
            if encoder.needs_schema_number() {
                encoder.set_schema_number(1);
            }
            let mut out = Vec::new();
            let (mut rates, mut bytes) = (Vec::new(), 0);
            for _ in 0..TURNS {
                let start = Instant::now();
                bytes = 0;
                for forecast in &forecasts {
                    for record in 0..encoder.records(forecast) {
                        out.clear();
                        encoder.encode(forecast, record, &mut out)?;
                        bytes += black_box(&out).len();
                    }
                }
                rates.push(FORECASTS as f64 / start.elapsed().as_secs_f64() / 1e3);
            }
            rates.sort_by(f64::total_cmp);
            let (name, layout) = (encoding.name(), layout.name());
            let (rate, bytes) = (rates[TURNS / 2], bytes / FORECASTS);
            println!("| `{name}` | {layout} | {rate:.0} | {bytes} |");
        }
    }
    Ok(())
}
