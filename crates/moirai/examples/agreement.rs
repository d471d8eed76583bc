//! How near forecasts on a card are to each other: in a batch and alone, in 16
//! bits and in f32, and to the processor's.
//!
//! ```sh
//! cargo run --release -p tidecast-moirai --features cuda --example agreement -- \
//!     --model builtin:tiny --device cuda --context 512 --series 64
//! ```
//!
//! Differences are in units of each series' scale. The same paths are drawn in
//! every precision, so what differs is rounding, and what rounding makes of a
//! path that feeds on itself. The processor draws other paths: its quantiles
//! differ by the noise of sampling, which a second seed on the card shows. So do those
//! of series whose values are held to a domain, in which what is fed back has to be.

#![allow(clippy::print_stdout)] // the numbers are what it is for

use std::error::Error;

use tidecast_forecast::{Context, Forecast, ForecastTask, ModelSpec, Provider};
use tidecast_moirai::{Precision, load};
use tidecast_stream::{AggregateFunction, DomainRule, HorizonAggregate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let last = |name: &str, usual: &str| {
        let mut pairs = arguments.chunks_exact(2).filter(|pair| pair[0] == name);
        pairs.next_back().map_or(usual.to_owned(), |pair| pair[1].clone())
    };
    let (device, model) = (last("--device", "cuda"), last("--model", "builtin:tiny"));
    let context: usize = last("--context", "512").parse()?;
    let series: usize = last("--series", "64").parse()?;
    let spec = |device: &str, dtype: Precision| {
        let spec = tidecast_moirai::spec().with("path", &model).with("dtype", dtype);
        ModelSpec { device: device.to_owned(), ..spec }
    };
    let tasks = |horizon: usize, offset: u64| -> Vec<ForecastTask> {
        (0..series)
            .map(|index| {
                let mut task = ForecastTask::new(example(context, index), horizon);
                task.seed = offset + index as u64;
                task
            })
            .collect()
    };
    for horizon in [16, 96] {
        let tasks_of = |offset| tasks(horizon, offset);
        let run = |device: &str, dtype, offset| -> Result<Vec<Forecast>, String> {
            let mut model = load(&spec(device, dtype)).map_err(|error| error.to_string())?;
            let outcomes = model.forecast(&tasks_of(offset));
            outcomes.into_iter().map(|one| one.map_err(|error| error.to_string())).collect()
        };
        let long = run(&device, Precision::F32, 0)?;
        for dtype in [Precision::F32, Precision::F16, Precision::Bf16] {
            let mut loaded = load(&spec(&device, dtype))?;
            let tasks = tasks_of(0);
            let together: Vec<Forecast> =
                loaded.forecast(&tasks).into_iter().collect::<Result<_, _>>()?;
            let again: Vec<Forecast> =
                loaded.forecast(&tasks).into_iter().collect::<Result<_, _>>()?;
            let mut alone = Vec::new();
            for task in tasks.iter().take(8) {
                alone.push(loaded.forecast(std::slice::from_ref(task)).remove(0)?);
            }
            println!(
                "horizon {horizon}, {dtype}: again {}, alone {}, from f32 {}",
                difference(&together, &again),
                difference(&together, &alone),
                difference(&together, &long),
            );
        }
        let noise = difference(&long, &run(&device, Precision::F32, 1000)?);
        let processor = difference(&long, &run("cpu", Precision::F32, 0)?);
        println!("horizon {horizon}: another seed {noise}, the processor {processor}");
        // Of whole paths: whether they depend on the batch, and how wide their sums are.
        let told = |device: &str, offset| -> Result<(Vec<Forecast>, bool), Box<dyn Error>> {
            let mut tasks = tasks_of(offset);
            tasks.iter_mut().for_each(|task| task.keep_samples = true);
            let mut loaded = load(&spec(device, Precision::F32))?;
            let together: Vec<Forecast> =
                loaded.forecast(&tasks).into_iter().collect::<Result<_, _>>()?;
            let mut is_same = true;
            for (task, together) in tasks.iter().zip(&together).take(8) {
                let alone = loaded.forecast(std::slice::from_ref(task)).remove(0)?;
                is_same &= alone.samples == together.samples;
            }
            Ok((together, is_same))
        };
        let (card, is_same) = told(&device, 0)?;
        let widths = [told(&device, 1000)?.0, told("cpu", 0)?.0].map(|it| width_of_sums(&it));
        let card = width_of_sums(&card);
        println!(
            "horizon {horizon}: paths alone are those in the batch: {is_same}; bands of sums, mean \
             width {card}, another seed {}, the processor {}",
            widths[0], widths[1]
        );
        for (name, rule) in rules() {
            let held = |device: &str, rule, offset| -> Result<Vec<Forecast>, Box<dyn Error>> {
                let mut tasks = tasks_of(offset);
                tasks.iter_mut().for_each(|task| task.domain = rule);
                let outcomes = load(&spec(device, Precision::F32))?.forecast(&tasks);
                Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
            };
            let card = held(&device, rule, 0)?;
            let at_the_end = after(&held(&device, DomainRule::default(), 0)?, &card);
            println!(
                "horizon {horizon}, {name}, mean differences of medians: held only at the end {:.4}, \
                 another seed {:.4}, the processor {:.4}",
                mean_difference(&card, &at_the_end),
                mean_difference(&card, &held(&device, rule, 1000)?),
                mean_difference(&card, &held("cpu", rule, 0)?),
            );
        }
    }
    Ok(())
}

/// Domains that half of what is drawn lies outside of.
fn rules() -> [(&'static str, DomainRule); 2] {
    let any = DomainRule::default();
    [
        ("bounded", DomainRule { lower: Some(0.0), upper: Some(0.5), ..any }),
        ("whole", DomainRule { integer: Some(true), ..any }),
    ]
}

/// Returns forecasts of series that can have any value, held to others' domains.
fn after(free: &[Forecast], held: &[Forecast]) -> Vec<Forecast> {
    let one = |(free, held): (&Forecast, &Forecast)| free.clone().held_to(held.domains.clone());
    free.iter().zip(held).map(one).collect()
}

/// Returns by how much medians differ on average, with their sign: noise cancels out.
fn mean_difference(left: &[Forecast], right: &[Forecast]) -> f64 {
    let medians = |forecast: &Forecast| {
        let middle = forecast.quantiles.len() / 2;
        forecast.quantiles.get(middle).cloned().unwrap_or_default().concat()
    };
    let pairs = left.iter().zip(right);
    let all = pairs.flat_map(|(left, right)| medians(left).into_iter().zip(medians(right)));
    let (sum, count) =
        all.fold((0.0, 0), |(sum, count), (left, right)| (sum + left - right, count + 1));
    sum / f64::from(count)
}

/// Returns the mean width of the 80 % band of the horizon's sum.
fn width_of_sums(forecasts: &[Forecast]) -> f64 {
    let aggregate = HorizonAggregate { function: AggregateFunction::Sum, steps: None };
    let width = |forecast: &Forecast| {
        let sums = forecast.aggregated(aggregate, &[0.1, 0.9])?;
        let [low, high] = [0, 1].map(|level: usize| sums.quantiles.get(level)?.first()?.first());
        Some(high? - low?)
    };
    forecasts.iter().filter_map(width).sum::<f64>() / forecasts.len() as f64
}

/// Two seasons and a little noise, of scale one.
fn example(steps: usize, index: usize) -> Context {
    let mut state = index as u64 + 1;
    let values: Vec<f64> = (0..steps)
        .map(|step| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            let step = step as f32 + 7.0 * index as f32;
            f64::from((step * 0.26).sin() + 0.7 * (step * 0.037).sin() + noise)
        })
        .collect();
    Context::univariate(&values)
}

/// Median and largest difference of all quantiles.
fn difference(left: &[Forecast], right: &[Forecast]) -> String {
    let flat = |forecast: &Forecast| forecast.quantiles.concat().concat();
    let mut all: Vec<f64> = left
        .iter()
        .zip(right)
        .flat_map(|(left, right)| flat(left).into_iter().zip(flat(right)))
        .map(|(left, right)| (left - right).abs())
        .collect();
    all.sort_by(f64::total_cmp);
    let median = all.get(all.len() / 2).copied().unwrap_or(f64::NAN);
    let largest = all.last().copied().unwrap_or(f64::NAN);
    if largest == 0.0 { "0".to_owned() } else { format!("{median:.1e} (at most {largest:.1e})") }
}
