//! Forecasts per second of the built-in checkpoint.
//!
//! ```sh
//! cargo run --release -p tidecast-forecast --example throughput -- --threads 1 --seconds 5
//! ```
//!
//! One line per rollout, context, horizon and batch size; 100 sample paths.

#![allow(clippy::print_stdout)] // the numbers are what it is for

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use tidecast_forecast::{Context, ForecastTask, ModelSpec, Rollout, load};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(move |argument| argument != name);
        arguments.nth(1)
    };
    let threads = argument("--threads").map(|text| text.parse()).transpose()?;
    let seconds: f64 = argument("--seconds").unwrap_or("3".to_owned()).parse()?;
    let only: Option<Rollout> = argument("--rollout").map(|text| text.parse()).transpose()?;

    println!("rollout  context  horizon  batch  threads  forecasts/s  ms/forecast");
    for rollout in [Rollout::Cached, Rollout::Exact] {
        if only.is_some_and(|only| only != rollout) {
            continue;
        }
        let spec = ModelSpec { rollout: Some(rollout), threads, ..ModelSpec::default() };
        let mut model = load(&spec)?;
        for (context, horizon, batch) in [
            (512, 24, 1),
            (512, 24, 32),
            (512, 96, 1),
            (512, 96, 32),
            (1024, 24, 32),
            (1024, 96, 32),
        ] {
            // The exact rollout does tens of times the work: small batches do.
            let batch = if rollout == Rollout::Exact { batch.min(2) } else { batch };
            let tasks: Vec<ForecastTask> =
                (0..batch).map(|series| task(series, context, horizon)).collect();
            let (mut count, start) = (0, Instant::now());
            while count == 0 || start.elapsed() < Duration::from_secs_f64(seconds) {
                for outcome in model.forecast(&tasks) {
                    outcome?;
                    count += 1;
                }
            }
            let rate = count as f64 / start.elapsed().as_secs_f64();
            println!(
                "{:7}  {context:7}  {horizon:7}  {batch:5}  {:7}  {rate:11.2}  {:11.2}",
                rollout.to_string(),
                model.info().threads,
                1e3 / rate,
            );
        }
    }
    Ok(())
}

/// Two seasons, a trend and some noise.
fn task(series: usize, context: usize, horizon: usize) -> ForecastTask {
    let mut noise = series as u32 + 1;
    let values: Vec<f32> = (0..context)
        .map(|step| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (noise >> 8) as f32 / 16_777_216.0 - 0.5;
            let t = step as f32;
            10.0 + (t / 24.0 * TAU).sin() + 0.5 * (t / 168.0 * TAU).sin() + 0.3 * noise
        })
        .collect();
    let mut task = ForecastTask::new(Context::univariate(&values), horizon);
    task.seed = series as u64;
    task
}
