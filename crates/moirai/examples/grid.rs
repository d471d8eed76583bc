//! Accuracy and cost of contexts on a grid that stays put, by a prototype.
//!
//! `--example grid -- FOLDER [CONTEXT [SET]]` scores the ways to deal with a part-filled
//! patch on the evaluation sets, written there as CSV by the example `long_csv` of
//! tidecast-files; with `TAIL` set, those with a tail of patches that end at the origin.
//! `--example grid -- speed` prints milliseconds of processor a forecast.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::collections::BTreeMap;
use std::error::Error;
use tidecast_forecast::accuracy::{Accuracy, Yardstick, seasonal_error};
use tidecast_forecast::{Context, ModelSpec};
use tidecast_moirai::grid::{History, Way, forecast, processor_seconds};
use tidecast_moirai::load;

const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("folder")?;
    let context: usize = arguments.next().unwrap_or("1024".into()).parse()?;
    let only = arguments.next();
    if folder == "speed" {
        return speed();
    }
    let model = load(&ModelSpec { threads: Some(2), ..tidecast_moirai::spec() })?;
    let re = |scale_age, shorter| Way::Reencode { scale_age, keep: context - shorter };
    let ways: Vec<(usize, String, Way)> = {
        let mut ways = vec![
            (0, "re-encoded".into(), re(0, 0)),
            (0, "scale 32 old".into(), re(32, 0)),
            (0, "scale 32 old, 32 shorter".into(), re(32, 32)),
            (0, "scale 64 old, 64 shorter".into(), re(64, 64)),
            (0, "scale 128 old, 128 shorter".into(), re(128, 128)),
            (0, "scale 8 old".into(), re(8, 0)),
            (0, "scale 64 old".into(), re(64, 0)),
            (0, "scale 256 old".into(), re(256, 0)),
            (0, "context 15 shorter".into(), re(0, 15)),
            (0, "context 128 shorter".into(), re(0, 128)),
            (0, "context 256 shorter".into(), re(0, 256)),
        ];
        for filled in [4, 8, 12] {
            ways.push((filled, format!("held {filled}"), Way::Held));
            ways.push((filled, format!("conditioned 1 {filled}"), Way::Conditioned { paths: 1 }));
            ways.push((filled, format!("conditioned 16 {filled}"), Way::Conditioned { paths: 16 }));
            ways.push((
                filled,
                format!("overlap int {filled}"),
                Way::Overlap { fractional: false },
            ));
            ways.push((
                filled,
                format!("overlap frac {filled}"),
                Way::Overlap { fractional: true },
            ));
            ways.push((filled, format!("gap int {filled}"), Way::Gap { fractional: false }));
            ways.push((filled, format!("gap frac {filled}"), Way::Gap { fractional: true }));
        }
        if std::env::var("TAIL").is_ok() {
            ways.truncate(1);
            for filled in [8] {
                for tokens in [4, 8, 16, 32] {
                    ways.push((
                        filled,
                        format!("tail {tokens} int {filled}"),
                        Way::Tail { tokens, fractional: false },
                    ));
                    ways.push((
                        filled,
                        format!("tail {tokens} frac {filled}"),
                        Way::Tail { tokens, fractional: true },
                    ));
                }
            }
            for tokens in [5, 9, 17, 33, 49] {
                ways.push((
                    0,
                    format!("newest {tokens} alone"),
                    re(0, context.saturating_sub(16 * tokens)),
                ));
            }
        }
        ways
    };
    let mut table: Vec<Vec<(f64, f64)>> = vec![Vec::new(); ways.len()];
    let mut names = Vec::new();
    for (set, season, windows) in SETS {
        if only.as_ref().is_some_and(|only| only != set) {
            continue;
        }
        let mut reader = csv::Reader::from_path(format!("{folder}/{set}.csv"))?;
        let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for record in reader.records() {
            let record = record?;
            let value = if record[2].is_empty() { f64::NAN } else { record[2].parse()? };
            series.entry(record[1].to_owned()).or_default().push(value);
        }
        names.push(set);
        let mut origins = Vec::new();
        for (index, values) in series.values().enumerate() {
            for window in 0..windows {
                let Some(origin) = values.len().checked_sub(16 * (windows - window)) else {
                    continue;
                };
                if values[..origin].iter().rev().take(context).any(|v| v.is_finite()) {
                    origins.push((index, origin));
                }
            }
        }
        if std::env::var("TAIL").is_ok() {
            let every = origins.len().div_ceil(200);
            origins = origins.into_iter().step_by(every).collect();
        }
        let all: Vec<&Vec<f64>> = series.values().collect();
        let mut scores = vec![Accuracy::new(&LEVELS)?; ways.len()];
        let mut naive = Accuracy::new(&LEVELS)?;
        for batch in origins.chunks(32) {
            let contexts: Vec<Context> =
                batch.iter().map(|(s, o)| Context::newest(&all[*s][..*o], context)).collect();
            let histories: Vec<History> = contexts
                .iter()
                .zip(batch)
                .map(|(c, (s, o))| History {
                    values: &c.variates[0],
                    prior: c.prior.as_ref().map(|prior| prior[0]).unwrap_or_default(),
                    seed: (*s * 1_000_003 + *o) as u64,
                })
                .collect();
            for filled in [0, 4, 8, 12] {
                let (at, of): (Vec<usize>, Vec<Way>) = ways
                    .iter()
                    .enumerate()
                    .filter(|(_, (f, ..))| *f == filled)
                    .map(|(i, (_, _, w))| (i, *w))
                    .unzip();
                let found = forecast(&model, &histories, filled, &of, &LEVELS)?;
                for (at, by_series) in at.iter().zip(found) {
                    for ((s, o), quantiles) in batch.iter().zip(by_series) {
                        scores[*at].add(
                            &all[*s][*o..*o + 16],
                            &quantiles,
                            seasonal_error(&all[*s][..*o], season),
                        )?;
                    }
                }
            }
            for (s, o) in batch {
                let past = &all[*s][..*o];
                naive.add(
                    &all[*s][*o..*o + 16],
                    &Yardstick { season }.quantiles(past, 16, &LEVELS),
                    seasonal_error(past, season),
                )?;
            }
        }
        eprintln!(
            "{set}: {} windows, naive {:.4} {:.3}",
            origins.len(),
            naive.wql().unwrap_or(f64::NAN),
            naive.mase().unwrap_or(f64::NAN)
        );
        for (row, score) in table.iter_mut().zip(&scores) {
            row.push((score.wql().unwrap_or(f64::NAN), score.mase().unwrap_or(f64::NAN)));
        }
    }
    println!("{:24} {:>8} {:>8}  {}", "way", "WQL", "MASE", names.join(" "));
    let base = table[0].clone();
    for ((_, name, _), row) in ways.iter().zip(&table) {
        let n = row.len() as f64;
        let geo = |f: &dyn Fn(&(f64, f64)) -> f64| {
            (row.iter().zip(&base).map(|(a, b)| (f(a) / f(b)).ln()).sum::<f64>() / n).exp()
        };
        let cells: Vec<String> =
            row.iter().zip(&base).map(|(a, b)| format!("{:.4}", a.0 / b.0)).collect();
        println!("{name:24} {:8.4} {:8.4}  {}", geo(&|x| x.0), geo(&|x| x.1), cells.join(" "));
    }
    Ok(())
}

fn speed() -> Result<(), Box<dyn Error>> {
    use tidecast_forecast::{ForecastTask, Provider};
    let mut model = load(&ModelSpec { threads: Some(1), ..tidecast_moirai::spec() })?;
    println!("context batch whole_ms encode_ms newest_ms bytes");
    for context in [512, 1024, 2048, 4096] {
        for batch in [1usize, 32] {
            let values: Vec<Vec<f64>> = (0..batch)
                .map(|s| {
                    (0..context)
                        .map(|t| {
                            10.0 + (t as f64 * 0.26).sin()
                                + 0.3 * ((t * 7919 + s * 104729) % 1000) as f64 / 1000.0
                        })
                        .collect()
                })
                .collect();
            let repeats = (200 * 512 / context / batch).max(4);
            let tasks: Vec<ForecastTask> =
                values.iter().map(|v| ForecastTask::new(Context::univariate(v), 16)).collect();
            model.forecast(&tasks);
            let before = processor_seconds();
            for _ in 0..repeats {
                for outcome in model.forecast(&tasks) {
                    outcome?;
                }
            }
            let whole = 1e3 * (processor_seconds() - before) / (repeats * batch) as f64;
            let [encode, newest, bytes] = tidecast_moirai::grid::time(&model, &values, repeats)?;
            println!("{context} {batch} {whole:.3} {encode:.3} {newest:.4} {bytes}");
        }
    }
    Ok(())
}
