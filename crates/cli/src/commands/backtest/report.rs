//! What is printed and written of a backtest.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};
use tidecast_forecast::accuracy::{Accuracy, geometric_mean};
use tidecast_stream::HorizonAggregate;

use super::evaluate::Scored;
use super::task::{Task, Windows};

/// The name of the yardstick in a suite's baselines.
pub(super) const YARDSTICK: &str = "seasonal-naive";

/// One task with all that was scored on it. The series themselves are not kept.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) task: Task,
    pub(super) windows: Windows,
    pub(super) yardstick: Scored,
    pub(super) models: Vec<ModelOutcome>,
}

/// One model and rollout on one task.
#[derive(Debug)]
pub(super) struct ModelOutcome {
    pub(super) name: String,
    pub(super) rollout: Option<String>,
    pub(super) version: String,
    /// By seed.
    pub(super) scored: Vec<(u64, Scored)>,
}

/// Means over seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Scores {
    wql: Option<f64>,
    mase: Option<f64>,
    coverage: Option<f64>,
}

impl Scores {
    fn of(accuracy: &Accuracy) -> Self {
        Self { wql: accuracy.wql(), mase: accuracy.mase(), coverage: accuracy.coverage() }
    }

    fn mean(of: &[Self]) -> Self {
        let mean = |field: fn(&Self) -> Option<f64>| {
            let sum = of.iter().map(field).sum::<Option<f64>>()?;
            (!of.is_empty()).then(|| sum / of.len() as f64)
        };
        Self {
            wql: mean(|scores| scores.wql),
            mase: mean(|scores| scores.mase),
            coverage: mean(|scores| scores.coverage),
        }
    }

    fn over(self, yardstick: Self) -> (Option<f64>, Option<f64>) {
        (ratio(self.wql, yardstick.wql), ratio(self.mase, yardstick.mase))
    }

    fn json(self) -> Map<String, Value> {
        let members = [("wql", self.wql), ("mase", self.mase), ("coverage", self.coverage)];
        members.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }
}

fn ratio(value: Option<f64>, of: Option<f64>) -> Option<f64> {
    value.zip(of.filter(|of| *of > 0.0)).map(|(value, of)| value / of)
}

impl ModelOutcome {
    fn label(&self) -> String {
        match &self.rollout {
            Some(rollout) => format!("{}, {rollout}", self.name),
            None => self.name.clone(),
        }
    }

    fn totals(&self) -> anyhow::Result<Vec<(u64, Scores)>> {
        let total = |(seed, scored): &(u64, Scored)| Ok((*seed, Scores::of(&scored.total()?)));
        self.scored.iter().map(total).collect()
    }

    /// Returns the scores of what several steps come to, means over seeds.
    fn aggregates(&self) -> Vec<(HorizonAggregate, Scores)> {
        let seeds: Vec<_> = self.scored.iter().map(|(_, scored)| &scored.aggregates).collect();
        let asked = seeds.first().into_iter().flat_map(|first| first.iter().enumerate());
        asked
            .map(|(index, (aggregate, _))| {
                let of_seed = seeds.iter().filter_map(|seed| seed.get(index));
                let scores: Vec<Scores> = of_seed.map(|(_, found)| Scores::of(found)).collect();
                (*aggregate, Scores::mean(&scores))
            })
            .collect()
    }

    fn mean(&self) -> anyhow::Result<Scores> {
        let totals: Vec<Scores> = self.totals()?.into_iter().map(|(_, scores)| scores).collect();
        Ok(Scores::mean(&totals))
    }
}

/// Geometric means over tasks of the ratios to the yardstick, by model.
struct SuiteScore {
    label: String,
    wql: Option<f64>,
    mase: Option<f64>,
}

fn suite_scores(outcomes: &[Outcome]) -> anyhow::Result<Vec<SuiteScore>> {
    let models = outcomes.first().map_or(0, |outcome| outcome.models.len());
    let mut scores = Vec::new();
    for index in 0..models {
        let (mut wql, mut mase, mut label) = (Vec::new(), Vec::new(), String::new());
        for outcome in outcomes {
            let Some(model) = outcome.models.get(index) else { continue };
            let yardstick = Scores::of(&outcome.yardstick.total()?);
            let ratios = model.mean()?.over(yardstick);
            wql.push(ratios.0.unwrap_or(f64::NAN));
            mase.push(ratios.1.unwrap_or(f64::NAN));
            label = model.label();
        }
        let (wql, mase) = (geometric_mean(&wql), geometric_mean(&mase));
        scores.push(SuiteScore { label, wql, mase });
    }
    Ok(scores)
}

/// Returns the scores as a table for people.
///
/// # Errors
/// Not with what [`evaluate`](super::evaluate) returns.
pub(super) fn table(outcomes: &[Outcome]) -> anyhow::Result<String> {
    let is_suite = outcomes.len() > 1;
    let mut table = Table::new();
    let band = outcomes.first().map(|outcome| outcome.yardstick.total()).transpose()?;
    let band = band.map_or(0.8, |accuracy| accuracy.band());
    let mut header = vec![
        "task".to_owned(),
        "model".to_owned(),
        "WQL".to_owned(),
        "MASE".to_owned(),
        format!("{:.0} % band covers", band * 100.0),
        "WQL ratio".to_owned(),
        "MASE ratio".to_owned(),
    ];
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !is_suite {
        header.remove(0);
    }
    table.set_header(header);
    for outcome in outcomes {
        for (index, mut row) in rows(outcome)?.into_iter().enumerate() {
            if is_suite {
                row.insert(0, if index == 0 { outcome.task.name.clone() } else { String::new() });
            }
            table.add_row(row);
        }
    }
    if is_suite {
        for (index, score) in suite_scores(outcomes)?.into_iter().enumerate() {
            let title = format!("geometric mean of {}", outcomes.len());
            let empty = String::new;
            let title = if index == 0 { title } else { empty() };
            let ratios = [number(score.wql, 3), number(score.mase, 3)];
            let row = [title, score.label, empty(), empty(), empty()].into_iter().chain(ratios);
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(if is_suite { 2 } else { 1 }) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table.to_string())
}

fn rows(outcome: &Outcome) -> anyhow::Result<Vec<Vec<String>>> {
    let yardstick = Scores::of(&outcome.yardstick.total()?);
    let row = |label: String, scores: Scores| {
        let (wql_ratio, mase_ratio) = scores.over(yardstick);
        vec![
            label,
            number(scores.wql, 4),
            number(scores.mase, 3),
            scores.coverage.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0)),
            number(wql_ratio, 3),
            number(mase_ratio, 3),
        ]
    };
    let mut rows = Vec::new();
    for model in &outcome.models {
        rows.push(row(model.label(), model.mean()?));
        let aggregates = model.aggregates().into_iter();
        rows.extend(aggregates.map(|(aggregate, scores)| {
            let mut row = row(format!("  {aggregate}"), scores);
            // The yardstick says nothing of several steps together.
            row.iter_mut().rev().take(2).for_each(|ratio| "-".clone_into(ratio));
            row
        }));
    }
    rows.push(row(format!("seasonal naive, season {}", outcome.task.season), yardstick));
    for (name, baseline) in outcome.task.baselines.iter().filter(|(name, _)| *name != YARDSTICK) {
        let scores = Scores { wql: Some(baseline.wql), mase: Some(baseline.mase), coverage: None };
        rows.push(row(format!("{name} (given)"), scores));
    }
    Ok(rows)
}

/// Returns a score as people read it.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Returns the scores for programs.
///
/// # Errors
/// As [`table`].
pub(super) fn json(outcomes: &[Outcome], samples: Option<usize>) -> anyhow::Result<Value> {
    let tasks = outcomes.iter().map(task_json).collect::<anyhow::Result<Vec<_>>>()?;
    let suite = suite_scores(outcomes)?;
    let means: Vec<Value> = suite
        .iter()
        .map(
            |score| json!({"model": score.label, "wql_ratio": score.wql, "mase_ratio": score.mase}),
        )
        .collect();
    Ok(json!({"samples": samples, "tasks": tasks, "geometric_means": means}))
}

fn task_json(outcome: &Outcome) -> anyhow::Result<Value> {
    let Outcome { task, windows, yardstick, models } = outcome;
    let total = yardstick.total()?;
    let naive = Scores::of(&total);
    let mut of_models = Vec::new();
    for model in models {
        let mean = model.mean()?;
        let (wql_ratio, mase_ratio) = mean.over(naive);
        let mut object = Map::new();
        object.insert("model".to_owned(), json!(model.name));
        object.insert("rollout".to_owned(), json!(model.rollout));
        object.insert("version".to_owned(), json!(model.version));
        object.extend(mean.json());
        object.insert("wql_ratio".to_owned(), json!(wql_ratio));
        object.insert("mase_ratio".to_owned(), json!(mase_ratio));
        let by_seed = model.totals()?.into_iter().map(|(seed, scores)| {
            let mut object = Map::from_iter([("seed".to_owned(), json!(seed))]);
            object.extend(scores.json());
            Value::Object(object)
        });
        object.insert("seeds".to_owned(), by_seed.collect());
        let aggregates = model.aggregates().into_iter().map(|(aggregate, scores)| {
            json!({"aggregate": aggregate.to_string(), "wql": scores.wql, "coverage": scores.coverage})
        });
        object.insert("aggregates".to_owned(), aggregates.collect());
        of_models.push(Value::Object(object));
    }
    let baselines: Map<String, Value> = task
        .baselines
        .iter()
        .map(|(name, score)| (name.clone(), json!({"wql": score.wql, "mase": score.mase})))
        .collect();
    Ok(json!({
        "task": task.name,
        "series": task.series.len(),
        "horizon": task.placement.horizon,
        "stride": task.placement.stride,
        "season": task.season,
        "context": task.context,
        "quantiles": task.levels,
        "windows": windows.asked.len(),
        "windows_left_out": windows.too_early + windows.blind,
        "windows_without_scale": total.unscaled_windows(),
        "labels": total.labels(),
        "models": of_models,
        "seasonal_naive": naive.json(),
        "baselines": baselines,
    }))
}

/// Writes a row per task, series and model.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_series(
    outcomes: &[Outcome],
    file: impl Write,
    path: &Path,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut writer = csv::Writer::from_writer(file);
    let header =
        ["task", "series", "model", "rollout", "windows", "labels", "wql", "mase", "coverage"];
    writer.write_record(header).with_context(cannot)?;
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for outcome in outcomes {
        for (index, series) in outcome.task.series.iter().enumerate() {
            let mut row = |model: &str, rollout: &str, seeds: &[&Accuracy]| {
                let Some(first) = seeds.first() else { return Ok(()) };
                let scores: Vec<Scores> =
                    seeds.iter().map(|accuracy| Scores::of(accuracy)).collect();
                let Scores { wql, mase, coverage } = Scores::mean(&scores);
                writer.write_record([
                    &outcome.task.name,
                    &series.name,
                    model,
                    rollout,
                    &first.windows().to_string(),
                    &first.labels().to_string(),
                    &text(wql),
                    &text(mase),
                    &text(coverage),
                ])
            };
            for model in &outcome.models {
                let seeds = model.scored.iter().filter_map(|(_, s)| s.by_series.get(index));
                let rollout = model.rollout.as_deref().unwrap_or_default();
                row(&model.name, rollout, &seeds.collect::<Vec<_>>()).with_context(cannot)?;
            }
            let naive: Vec<&Accuracy> =
                outcome.yardstick.by_series.get(index).into_iter().collect();
            row("seasonal naive", "", &naive).with_context(cannot)?;
        }
    }
    writer.flush().with_context(cannot)
}
