//! Forecasts one column of a CSV file: prints the step ahead, the median and
//! the band that four out of five values should be in.
//!
//! ```sh
//! cargo run --release -p tidecast-moirai --example forecast_csv -- sales.csv units 28
//! ```
//!
//! Rows are steps, oldest first, at equal distances. A cell that is no number
//! is a missing step.

#![allow(clippy::print_stdout)] // the forecast is what it is for

use tidecast_forecast::{Context, ForecastTask, Provider};
use tidecast_moirai::{load, spec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, column, horizon] = &arguments[..] else {
        return Err("three arguments expected: FILE COLUMN STEPS".into());
    };
    let history = read(path, column)?;
    let mut model = load(&spec())?;
    // The model is at its best with so much; more only takes longer.
    let newest = model.info().recommended_context.unwrap_or(1024);
    let context = Context::newest(&history, newest);
    let mut task = ForecastTask::new(context, horizon.parse()?);
    task.quantiles = vec![0.1, 0.5, 0.9];
    for outcome in model.forecast(&[task]) {
        let quantiles = outcome?.quantiles;
        println!("step,p10,p50,p90");
        for (step, median) in quantiles[1][0].iter().enumerate() {
            println!(
                "{},{:.4},{median:.4},{:.4}",
                step + 1,
                quantiles[0][0][step],
                quantiles[2][0][step]
            );
        }
    }
    Ok(())
}

fn read(path: &str, column: &str) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let names = reader.headers()?.clone();
    let place = names.iter().position(|name| name == column).ok_or_else(|| {
        let names: Vec<&str> = names.iter().collect();
        format!("{path} has no column `{column}`: expected one of `{}`", names.join("`, `"))
    })?;
    let number = |record: csv::StringRecord| {
        record.get(place).and_then(|cell| cell.trim().parse().ok()).unwrap_or(f64::NAN)
    };
    reader.records().map(|record| Ok(number(record?))).collect()
}
