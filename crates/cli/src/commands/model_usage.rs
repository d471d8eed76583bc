//! `model info --data`: how a file's series use a mixture's experts.

use std::fmt::Write as _;

use anyhow::bail;
use tidecast_forecast::{Context, ForecastTask, Provider};
use tidecast_moirai::{LayerUsage, Moirai};

use crate::arguments::UsageArguments;
use crate::commands::series::plan::SaidSteps;
use crate::commands::series::table::InputColumns;
use crate::commands::series::{Series, StepAggregate, read};
use crate::print::note;

/// Newest steps handed to a model whose card recommends no number.
const USUAL_CONTEXT: usize = 1024;

/// Steps forecast and paths drawn: enough for the tokens of a horizon to show
/// beside those of the context.
const HORIZON: usize = 96;
const SAMPLES: usize = 20;

/// Series handed to the model at once.
const AT_ONCE: usize = 64;

/// Forecasts the newest steps of each series and returns how their tokens were
/// spread; `None` if no file was named.
///
/// # Errors
/// If the file is wrong, or no series can be forecast.
pub(super) fn layers(
    model: &mut Moirai,
    arguments: &UsageArguments,
) -> anyhow::Result<Option<Vec<LayerUsage>>> {
    let Some(path) = arguments.data.as_deref() else { return Ok(None) };
    let (time, target) = (arguments.time.as_ref(), arguments.target.as_ref());
    let columns = InputColumns::univariate(path, time, target, &arguments.series)?;
    let before = model.expert_usage();
    let found = read(columns, SaidSteps::default(), StepAggregate::Avg, None, false)?;
    let series: Vec<Series> = found.into_iter().flat_map(|same| same.series).collect();
    let newest = model.info().recommended_context.unwrap_or(USUAL_CONTEXT);
    let (mut forecast, mut refused) = (0, None);
    for some in series.chunks(AT_ONCE) {
        let task = |values: &[f64]| {
            let context = Context::newest(values, newest);
            ForecastTask { samples: Some(SAMPLES), ..ForecastTask::new(context, HORIZON) }
        };
        let tasks: Vec<ForecastTask> = some.iter().map(|series| task(&series.values)).collect();
        for (series, outcome) in some.iter().zip(model.forecast(&tasks)) {
            match outcome {
                Ok(_) => forecast += 1,
                Err(error) => refused = Some((&series.name, error)),
            }
        }
    }
    match (forecast, refused) {
        (0, Some((name, error))) => bail!("no series can be forecast; `{name}`: {error}"),
        (0, None) => bail!("`{}` has no series", path.display()),
        (_, Some((name, error))) => {
            note(format_args!("warning: some series were left out, among them `{name}`: {error}"));
        }
        _ => {}
    }
    Ok(Some(model.expert_usage().since(&before).by_layer()))
}

/// Returns a line for each layer.
pub(super) fn table(layers: &[LayerUsage]) -> String {
    let mut text =
        "layer     tokens   entropy  dead  smallest share  largest share  by expert".to_owned();
    for (index, layer) in layers.iter().enumerate() {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let smallest = layer.shares.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = layer.shares.iter().copied().fold(0.0, f64::max);
        // Writing to a string cannot fail.
        let _infallible = write!(
            text,
            "\n{index:<5} {:>10}  {:>8.3}  {:>4}  {:>14}  {:>13}  {}",
            layer.tokens,
            layer.entropy,
            layer.dead,
            percent(smallest),
            percent(largest),
            bars(&layer.shares, largest)
        );
    }
    text
}

/// One block an expert, as high as its share of the largest.
fn bars(shares: &[f64], largest: f64) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |share: &f64| match *share {
        0.0 => '·',
        share => BLOCKS[((share / largest * 7.0).round() as usize).min(7)],
    };
    shares.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_moirai::ExpertUsage;

    #[test]
    fn a_line_shows_what_a_layer_did() {
        let usage = ExpertUsage { layers: vec![vec![40, 20, 0, 20], vec![1, 1, 1, 1]] };
        let table = table(&usage.by_layer());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("1           0.0 %         50.0 %  █▅·▅"), "{table}");
        assert!(lines[2].ends_with("1.000     0          25.0 %         25.0 %  ████"), "{table}");
    }
}
