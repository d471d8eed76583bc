//! What it costs in accuracy to encode contexts on a grid that stays put, so that between
//! two origins within a patch only the newest token changes.
//!
//! ```sh
//! cargo run --release -p tidecast-moirai --example grid -- FOLDER [CONTEXT [MODEL]]
//! ```
//!
//! FOLDER has the evaluation sets as CSV (`bench/accuracy/grid.sh` writes them). Each way
//! to deal with a newest patch that is filled by 4, 8 or 12 of 16 steps forecasts the next
//! 16; a cell is its WQL over that of re-encoding, where all patches end at the origin.
//!
//! - **held**: the patch is filled up with the medians of what its predecessor foretells,
//!   which is the forecast of the steps left of it, too.
//! - **whole**: the newest token is the patch that ends at the origin, and overlaps the last
//!   one of the grid.

#![allow(clippy::print_stdout)] // the table is what it is for

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use tidecast_forecast::accuracy::{Accuracy, seasonal_error};
use tidecast_forecast::{Context, Forecast, ForecastTask, Provider};
use tidecast_moirai::{Moirai, load};

const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
const MEDIAN: usize = 4;

/// Season, and windows at the end of each series, one behind the other.
const SETS: [(&str, usize, usize); 8] = [
    ("ett1_h", 24, 20),
    ("m4_hourly", 24, 2),
    ("us_births_d", 1, 20),
    ("exchange_rate", 5, 20),
    ("m3_monthly", 12, 1),
    ("tourism_monthly", 12, 1),
    ("nn5", 7, 4),
    ("eia_2024h2", 24, 10),
];

/// How the newest patch is dealt with; the number is how many of its steps are there.
#[derive(Debug, Clone, Copy)]
enum Way {
    Reencoded,
    Held(usize),
    Whole(usize),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("expected the folder with the sets as CSV")?;
    let context: usize = arguments.get(1).map_or(Ok(1024), |steps| steps.parse())?;
    let path = arguments.get(2).map_or("builtin:tiny", String::as_str);
    let mut model = load(&tidecast_moirai::spec().with("path", path))?;
    let ways: Vec<Way> = std::iter::once(Way::Reencoded)
        .chain([4, 8, 12].into_iter().flat_map(|filled| [Way::Held(filled), Way::Whole(filled)]))
        .collect();
    let mut ratios = vec![Vec::new(); ways.len()];
    for (set, season, windows) in SETS {
        let series = read(&Path::new(folder).join(set).with_extension("csv"))?;
        let mut scores = vec![Accuracy::new(&LEVELS)?; ways.len()];
        for values in series.values() {
            let origins = (1..=windows).rev().filter_map(|back| {
                let origin = values.len().checked_sub(back * model.patch_size())?;
                let is_seen = values[..origin].iter().rev().take(context).any(|it| it.is_finite());
                is_seen.then_some(origin)
            });
            let origins: Vec<usize> = origins.collect();
            let contexts: Vec<Context> =
                origins.iter().map(|&origin| Context::newest(&values[..origin], context)).collect();
            for (way, score) in ways.iter().zip(&mut scores) {
                for (&origin, quantiles) in origins.iter().zip(way.forecast(&mut model, &contexts)?)
                {
                    let labels = &values[origin..origin + model.patch_size()];
                    score.add(labels, &quantiles, seasonal_error(&values[..origin], season))?;
                }
            }
        }
        let wql: Vec<f64> = scores.iter().map(|score| score.wql().unwrap_or(f64::NAN)).collect();
        ratios.iter_mut().zip(&wql).for_each(|(ratios, own)| ratios.push(own / wql[0]));
    }
    println!("| newest patch | all | {} |", SETS.map(|(set, ..)| set).join(" | "));
    println!("|---|---|{}", "---|".repeat(SETS.len()));
    for (way, ratios) in ways.iter().zip(&ratios) {
        let all = ratios.iter().map(|ratio: &f64| ratio.ln()).sum::<f64>() / ratios.len() as f64;
        let cells: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
        println!("| {way:?} | {:.3} | {} |", all.exp(), cells.join(" | "));
    }
    Ok(())
}

/// Reads a set that the example `long_csv` of `tidecast-files` wrote.
fn read(path: &Path) -> Result<BTreeMap<String, Vec<f64>>, Box<dyn Error>> {
    let open = |error| format!("cannot read `{}`: {error}", path.display());
    let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in csv::Reader::from_path(path).map_err(open)?.deserialize() {
        let (_time, name, value): (String, String, Option<f64>) = row?;
        series.entry(name).or_default().push(value.unwrap_or(f64::NAN));
    }
    Ok(series)
}

impl Way {
    /// Returns the quantiles of the next patch, `[context][level][step]`.
    fn forecast(
        self,
        model: &mut Moirai,
        contexts: &[Context],
    ) -> Result<Vec<Vec<Vec<f64>>>, Box<dyn Error>> {
        let size = model.patch_size();
        match self {
            Self::Reencoded => next_patch(model, contexts),
            Self::Whole(filled) => {
                let whole = |context: &Context| {
                    let values = &context.variates[0];
                    let newest = &values[values.len().saturating_sub(size)..];
                    with(context, &[&values[..values.len() - filled], newest].concat())
                };
                next_patch(model, &contexts.iter().map(whole).collect::<Vec<_>>())
            }
            Self::Held(filled) => {
                let grid = |context: &Context| {
                    let values = &context.variates[0];
                    with(context, &values[..values.len() - filled])
                };
                let near = next_patch(model, &contexts.iter().map(grid).collect::<Vec<_>>())?;
                let filled_up = |(context, near): (&Context, &Vec<Vec<f64>>)| {
                    with(context, &[&context.variates[0], &near[MEDIAN][filled..]].concat())
                };
                let filled_up: Vec<Context> = contexts.iter().zip(&near).map(filled_up).collect();
                let far = next_patch(model, &filled_up)?;
                let joined = |(near, far): (&Vec<Vec<f64>>, &Vec<Vec<f64>>)| {
                    let level = |(near, far): (&Vec<f64>, &Vec<f64>)| {
                        [&near[filled..], &far[..filled]].concat()
                    };
                    near.iter().zip(far).map(level).collect()
                };
                Ok(near.iter().zip(&far).map(joined).collect())
            }
        }
    }
}

/// Returns the context with other values of its one variate.
fn with(context: &Context, values: &[f64]) -> Context {
    Context { variates: vec![values.to_vec()], ..context.clone() }
}

fn next_patch(
    model: &mut Moirai,
    contexts: &[Context],
) -> Result<Vec<Vec<Vec<f64>>>, Box<dyn Error>> {
    let horizon = model.patch_size();
    let task = |context: &Context| ForecastTask {
        quantiles: LEVELS.to_vec(),
        ..ForecastTask::new(context.clone(), horizon)
    };
    let tasks: Vec<ForecastTask> = contexts.iter().map(task).collect();
    let only_variate = |forecast: Forecast| {
        forecast.quantiles.into_iter().filter_map(|level| level.into_iter().next()).collect()
    };
    let forecasts = model.forecast(&tasks).into_iter();
    forecasts.map(|outcome| Ok(only_variate(outcome?))).collect()
}
