//! `model bench`: what a model does on this machine, beside what the machine
//! could do.

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidecast_forecast::ModelSpec;
use tidecast_moirai::Rollout;
use tidecast_moirai::bench::{Machine, Measured, Point, TABLE_HEAD, load_and_forecast, measure};

use crate::arguments::ModelBenchArguments;
use crate::choices::RolloutChoice;
use crate::print::{line, note};

/// Runs `tidecast model bench`.
///
/// # Errors
/// If an argument is zero, the model does not load, or a series is not forecast.
pub fn run(arguments: &ModelBenchArguments) -> anyhow::Result<()> {
    let points = points(arguments)?;
    if cfg!(debug_assertions) {
        note(format_args!("warning: a debug build; its numbers mean nothing (use --release)"));
    }
    let rollouts: &[Rollout] = match arguments.rollout {
        RolloutChoice::Cached => &[Rollout::Cached],
        RolloutChoice::Exact => &[Rollout::Exact],
        RolloutChoice::Both => &[Rollout::Cached, Rollout::Exact],
    };
    let specs: Vec<ModelSpec> = rollouts.iter().map(|&rollout| spec(arguments, rollout)).collect();
    let first = specs.first().context("there is a rollout")?;
    // Before any model is loaded, for it starts peak memory anew.
    let machine = Machine::measure_for(first)?;
    if !arguments.json {
        line(format_args!(
            "{} on {}: {} threads, {:.1} GFLOP/s in large matrix products, {:.1} GB/s read",
            arguments.model,
            machine.device,
            machine.threads,
            machine.flops / 1e9,
            machine.bytes / 1e9
        ));
    }
    let progress = progress((points.len() * specs.len()) as u64);
    let (mut measured, mut loading_s) = (Vec::<Measured>::new(), None);
    for spec in &specs {
        let (mut model, loading) = load_and_forecast(spec)?;
        if loading_s.is_none() && !arguments.json {
            let seconds = loading.as_secs_f64();
            progress.suspend(|| {
                line(format_args!("loaded and first forecast made in {seconds:.2} s"));
                line(format_args!("{TABLE_HEAD}"));
            });
        }
        loading_s.get_or_insert(loading.as_secs_f64());
        for &point in &points {
            let Point { context, horizon, batch, .. } = point;
            progress.set_message(format!("context {context}, horizon {horizon}, batch {batch}"));
            let found = measure(&mut model, point, None, arguments.repeats, &machine)?;
            if !arguments.json {
                progress.suspend(|| line(format_args!("{found}")));
            }
            measured.push(found);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    if arguments.json {
        let model = &arguments.model;
        line(format_args!(
            "{}",
            json!({
                "model": model,
                "machine": machine,
                "load_to_forecast_s": loading_s,
                "points": measured,
            })
        ));
    }
    Ok(())
}

fn spec(arguments: &ModelBenchArguments, rollout: Rollout) -> ModelSpec {
    let spec = tidecast_moirai::spec()
        .with("path", &arguments.model)
        .with_some("license.accept", arguments.accept_license.as_ref())
        .with("rollout", rollout)
        .with_some("dtype", arguments.dtype);
    let said = arguments.model_options.iter();
    let spec = said.fold(spec, |spec, (name, value)| spec.with(name, value));
    ModelSpec { device: arguments.device.clone(), threads: arguments.threads, ..spec }
}

/// Returns every combination of what was asked for, small contexts first.
fn points(arguments: &ModelBenchArguments) -> anyhow::Result<Vec<Point>> {
    let ModelBenchArguments { context, horizon, samples, batch, repeats, .. } = arguments;
    let threads: Vec<usize> = arguments.threads.into_iter().collect();
    for (name, values) in [
        ("context", context),
        ("horizon", horizon),
        ("samples", samples),
        ("batch", batch),
        ("threads", &threads),
        ("repeats", &vec![*repeats]),
    ] {
        if values.contains(&0) {
            bail!("--{name} is `0`: expected at least `1`");
        }
    }
    let mut points = Vec::new();
    for &context in context {
        for &horizon in horizon {
            for &samples in samples {
                points.extend(batch.iter().map(|&batch| Point {
                    context,
                    horizon,
                    samples,
                    batch,
                }));
            }
        }
    }
    Ok(points)
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {pos} of {len}  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command, ModelCommand};

    fn parse(words: &[&str]) -> Box<ModelBenchArguments> {
        let words = ["tidecast", "model", "bench"].iter().chain(words);
        match Arguments::try_parse_from(words).expect("parses").command {
            Command::Model(ModelCommand::Bench(arguments)) => arguments,
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn every_combination_is_measured() {
        let usual = points(&parse(&[])).expect("points");
        assert_eq!(usual.len(), 8);
        assert!(usual.contains(&Point { context: 2048, horizon: 96, samples: 16, batch: 32 }));
        let few = parse(&["--context", "64", "--horizon", "8,9", "--samples", "3", "--batch", "2"]);
        let point = |horizon| Point { context: 64, horizon, samples: 3, batch: 2 };
        assert_eq!(points(&few).expect("points"), [point(8), point(9)]);
    }

    #[test]
    fn nothing_to_measure_is_refused() {
        for name in ["context", "horizon", "samples", "batch", "threads", "repeats"] {
            let error = points(&parse(&[&format!("--{name}"), "0"])).expect_err("refused");
            assert_eq!(error.to_string(), format!("--{name} is `0`: expected at least `1`"));
        }
    }

    #[test]
    fn what_was_asked_for_is_loaded() {
        let arguments = parse(&["some/folder", "--threads", "3", "--rollout", "exact"]);
        let spec = spec(&arguments, Rollout::Exact);
        assert_eq!((spec.text("path"), spec.threads), (Some("some/folder"), Some(3)));
        assert_eq!(spec.text("rollout"), Some("exact"));
    }
}
