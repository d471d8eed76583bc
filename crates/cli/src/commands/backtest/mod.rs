//! `backtest`: how good a model would have been on the past of some series.
//!
//! `Task`s come from flags (`input`) or from a suite (`suite`); windows are
//! placed (`placement`), forecast and scored (`evaluate`), and reported
//! (`report`). The scores themselves are `tidecast_forecast::accuracy`'s.

pub mod arguments;
mod evaluate;
mod input;
mod placement;
mod report;
mod suite;
mod task;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tidecast_engine::FAMILIES;
use tidecast_forecast::accuracy::Accuracy;
use tidecast_forecast::{ModelSpec, Provider, load_with, seasonal_naive};
use tidecast_moirai::Rollout;

use crate::choices::RolloutChoice;
use crate::commands::model::DownloadBar;
use crate::commands::{counted, start_logging};
use crate::config::Config;
use crate::print::{line, note};

use self::arguments::BacktestArguments;
use self::evaluate::{Draw, Scored, evaluate, yardstick};
use self::report::{ModelOutcome, Outcome, YARDSTICK};
use self::suite::Suite;
use self::task::{Task, Windows};

/// Newest steps handed to the model where nothing else is said.
const USUAL_CONTEXT: usize = 1024;

/// How far the yardstick's scores may lie from what a suite says, relative to it.
const SAME: f64 = 1e-6;

/// Runs `tidecast backtest`.
///
/// # Errors
/// If the file, the suite or an argument is wrong, the model cannot be loaded, or
/// a window cannot be forecast.
pub fn run(arguments: &BacktestArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = Config::load(None, std::env::vars_os(), &[])?;
    start_logging(&config, Some(log.unwrap_or("warn")))?;
    check(arguments)?;
    if cfg!(debug_assertions) {
        note(format_args!(
            "warning: a debug build; its speed means nothing (use --release), its scores are right"
        ));
    }
    // Before the work: a folder that is not there should not cost it.
    let output = arguments.output.as_deref().map(create).transpose()?;
    let mut models = Models { arguments, season: 0, loaded: Vec::new() };
    let mut outcomes = Vec::new();
    match &arguments.suite {
        None => {
            for task in input::tasks(arguments)? {
                outcomes.push(backtest(task, &mut models)?);
            }
        }
        Some(path) => {
            let suite = Suite::read(path, &arguments.only)?;
            let beside = path.parent().unwrap_or(Path::new("."));
            let folder = arguments.data.as_deref().unwrap_or(beside);
            for entry in &suite.tasks {
                let context = arguments.context.unwrap_or_else(|| suite.context(entry));
                let mut outcome = backtest(entry.load(folder, context)?, &mut models)?;
                // Their names are still needed, a suite's values no longer.
                outcome.task.series.iter_mut().for_each(|series| series.values = Vec::new());
                outcomes.push(outcome);
            }
        }
    }
    line(format_args!("{}", report::table(&outcomes)?));
    if let Some((file, path)) = output {
        report::write_series(&outcomes, file, path)?;
    }
    if arguments.json {
        line(format_args!("{}", report::json(&outcomes, arguments.samples)?));
    }
    Ok(())
}

fn check(arguments: &BacktestArguments) -> anyhow::Result<()> {
    for (name, value) in [
        ("horizon", arguments.horizon),
        ("windows", arguments.windows),
        ("stride", arguments.stride),
        ("season", arguments.season),
        ("context", arguments.context),
        ("threads", arguments.threads),
        ("samples", arguments.samples),
        ("repeats", usize::try_from(arguments.repeats).ok()),
    ] {
        if value == Some(0) {
            bail!("--{name} is `0`: expected at least `1`");
        }
    }
    let horizon = arguments.horizon.unwrap_or(usize::MAX);
    if let Some(long) = arguments.horizon_aggregates.iter().find(|it| it.steps_of(1) > horizon) {
        bail!("--horizon-aggregate `{long}`: the horizon has only `{horizon}` steps");
    }
    if let Some(least) = arguments.domain.rule().contradiction() {
        bail!("--upper leaves no value: expected one not below the least, `{least}`");
    }
    Ok(())
}

fn create(path: &Path) -> anyhow::Result<(File, &Path)> {
    if path.extension().is_none_or(|extension| extension != "csv") {
        bail!("--output `{}`: expected a name that ends in .csv", path.display());
    }
    let file = File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok((file, path))
}

/// Scores the yardstick and each model on a task.
fn backtest(task: Task, models: &mut Models<'_>) -> anyhow::Result<Outcome> {
    let windows = task.windows();
    warn_of(&task, &windows);
    let naive = yardstick(&task, &windows.asked)?;
    let total = naive.total()?;
    if total.labels() == 0 {
        bail!(
            "`{}`: there is nothing to score: no step was observed in any window that has a past (of {} windows)",
            task.name,
            windows.asked.len() + windows.blind
        );
    }
    compare(&task, &total)?;
    let arguments = models.arguments;
    let mut outcome = Outcome { task, windows, yardstick: naive, models: Vec::new() };
    for (rollout, model) in models.for_season(outcome.task.season)? {
        let scored = score(&outcome, *rollout, &mut **model, arguments)?;
        outcome.models.push(ModelOutcome {
            name: arguments.model.clone(),
            rollout: rollout.map(|rollout| rollout.to_string()),
            version: model.info().version.clone(),
            scored,
        });
    }
    Ok(outcome)
}

/// Compares the yardstick's scores with those that the suite gives for it.
fn compare(task: &Task, yardstick: &Accuracy) -> anyhow::Result<()> {
    let Some(given) = task.baselines.get(YARDSTICK) else { return Ok(()) };
    for (score, found, given) in
        [("WQL", yardstick.wql(), given.wql), ("MASE", yardstick.mase(), given.mase)]
    {
        if !found.is_some_and(|found| (found - given).abs() <= SAME * given.abs()) {
            let found = found.map_or("undefined".to_owned(), |found| found.to_string());
            bail!(
                "`{}`: {score} of the seasonal naive forecast is {found}, the suite says {given}: is the file another, or horizon, windows or season?",
                task.name
            );
        }
    }
    Ok(())
}

/// Scores a model with each seed.
fn score(
    outcome: &Outcome,
    rollout: Option<Rollout>,
    model: &mut dyn Provider,
    arguments: &BacktestArguments,
) -> anyhow::Result<Vec<(u64, Scored)>> {
    let (task, asked) = (&outcome.task, &outcome.windows.asked);
    let rollout = rollout.map(|rollout| format!(", {rollout}")).unwrap_or_default();
    let mut by_seed = Vec::new();
    for seed in (0..arguments.repeats).map(|repeat| arguments.seed.wrapping_add(repeat)) {
        let what = format!("{}{rollout}, seed {seed}", task.name);
        let draw = Draw {
            seed,
            samples: arguments.samples,
            domain: arguments.domain.rule(),
            aggregates: &arguments.horizon_aggregates,
        };
        let bar = progress(asked.len() as u64, what.clone());
        let scored = evaluate(task, asked, model, draw, &mut |done| bar.inc(done as u64))?;
        bar.finish_and_clear();
        // Told at once: a long run that is broken off should not have been in vain.
        let (total, seconds) = (scored.total()?, scored.taken.as_secs_f64());
        note(format_args!(
            "{what}: WQL {}, MASE {}; {} in {seconds:.1} s ({:.1}/s)",
            report::number(total.wql(), 4),
            report::number(total.mase(), 3),
            counted(asked.len(), "forecast", "forecasts"),
            asked.len() as f64 / seconds.max(f64::EPSILON)
        ));
        by_seed.push((seed, scored));
    }
    Ok(by_seed)
}

fn warn_of(task: &Task, windows: &Windows) {
    if windows.blind > 0 {
        note(format_args!(
            "warning: `{}`: {} left out: nothing was observed in the {} steps before",
            task.name,
            counted(windows.blind, "window", "windows"),
            task.context
        ));
    }
}

/// A model, and how it fills a horizon.
type Loaded = (Option<Rollout>, Box<dyn Provider>);

/// The models that were asked for, loaded once.
struct Models<'a> {
    arguments: &'a BacktestArguments,
    /// The season they were loaded for.
    season: usize,
    loaded: Vec<Loaded>,
}

impl Models<'_> {
    /// Returns each rollout's model.
    fn for_season(&mut self, season: usize) -> anyhow::Result<&mut [Loaded]> {
        let is_naive = self.arguments.model == seasonal_naive::FAMILY.about.name;
        if self.loaded.is_empty() || (is_naive && self.season != season) {
            let rollouts: &[Option<Rollout>] = match self.arguments.rollout {
                _ if is_naive => &[None],
                RolloutChoice::Cached => &[Some(Rollout::Cached)],
                RolloutChoice::Exact => &[Some(Rollout::Exact)],
                RolloutChoice::Both => &[Some(Rollout::Cached), Some(Rollout::Exact)],
            };
            let load = |&rollout: &Option<Rollout>| {
                let spec = self.spec(season, rollout, is_naive);
                Ok((rollout, load_with(&FAMILIES, &spec, &mut DownloadBar::default())?))
            };
            self.loaded = rollouts.iter().map(load).collect::<anyhow::Result<_>>()?;
            self.season = season;
        }
        Ok(&mut self.loaded)
    }

    fn spec(&self, season: usize, rollout: Option<Rollout>, is_naive: bool) -> ModelSpec {
        let Self { arguments, .. } = self;
        let spec = match is_naive {
            true => ModelSpec::new(&arguments.model).with("season", season),
            false => tidecast_moirai::spec()
                .with("path", &arguments.model)
                .with_some("license.accept", arguments.accept_license.as_ref())
                .with_some("rollout", rollout),
        };
        let said = arguments.model_options.iter();
        let spec = said.fold(spec, |spec, (name, value)| spec.with(name, value));
        ModelSpec { device: arguments.device.clone(), threads: arguments.threads, ..spec }
    }
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(length: u64, message: String) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(message);
    let style = "{msg} [{bar:20}] {pos} of {len}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
