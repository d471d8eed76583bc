//! Writes a set with one row a series as people's files are: a row per step.
//!
//! `cargo run --release -p tidecast-files --example long_csv -- m3_monthly.parquet m3.csv`

#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::path::Path;

use tidecast_files::read_listed_series;
use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Period, TimeGrid};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("expected two files: the set, and the .csv to write".into());
    };
    let mut text = String::from("time,series,value\n");
    for series in read_listed_series(Path::new(&from))? {
        let grid = grid(&series.freq, series.start)?;
        for (step, value) in series.values.iter().enumerate() {
            let time = grid.after(series.start, i64::try_from(step)?).ok_or("a time too far")?;
            let value = if value.is_nan() { String::new() } else { value.to_string() };
            text.push_str(&format!("{time},\"{}\",{value}\n", series.id.replace('"', "\"\"")));
        }
    }
    Ok(std::fs::write(to, text)?)
}

/// The steps that pandas calls `h`, `D`, `B` and `MS`.
fn grid(freq: &str, start: EventTime) -> Result<TimeGrid, String> {
    let period = match freq {
        "h" | "H" => Period::Fixed(3_600_000_000),
        "D" => Period::Days(1),
        "B" => Period::BusinessDays,
        "M" | "MS" => Period::Months(1),
        other => return Err(format!("unknown frequency `{other}`, expected h, D, B or MS")),
    };
    let of_day = start.as_micros().rem_euclid(86_400_000_000);
    Ok(TimeGrid::new(period, if period == Period::Days(1) { of_day } else { 0 }, Tz::UTC))
}
