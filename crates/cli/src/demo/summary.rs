//! The demo without a terminal: lines while it runs, a table and JSON at its end.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::data::region_name;
use super::state::DemoState;

/// Returns a few lines about where the demo stands, for `--plain`.
pub fn plain_block(state: &DemoState) -> String {
    let mut text = format!(
        "[{:>5.1} s] {}  {} records ({:.0}/s)  {} forecasts ({:.0}/s)\n",
        state.elapsed.as_secs_f64(),
        state.now().map_or_else(|| "no record yet".to_owned(), |now| now.to_string()),
        state.records,
        state.records_per_second(),
        state.forecasts,
        state.forecasts_per_second(),
    );
    for (name, series) in &state.series {
        let last = series.history.back().map(|(_, value)| *value);
        let next = series.latest.as_ref().and_then(|latest| latest.steps.first());
        let next = next.map_or_else(
            || "-".to_owned(),
            |step| format!("{:.0} ({:.0}..{:.0})", step.median, step.lower, step.upper),
        );
        text += &format!(
            "  {name:<4} now {:>6}  next {next:<22} MASE {}  in the 80 % band {}\n",
            last.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}")),
            score_text(series.score.mase()),
            share_text(series.score.coverage()),
        );
    }
    text
}

/// Returns the summary for people.
pub fn summary_table(state: &DemoState) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["series", "region", "forecasts", "MASE", "in the 80 % band"]);
    for (name, series) in &state.series {
        table.add_row([
            name.clone(),
            region_name(name).to_owned(),
            series.score.forecasts().to_string(),
            score_text(series.score.mase()),
            share_text(series.score.coverage()),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{} records and {} forecasts in {:.1} s\n{table}\n\
         MASE: mean absolute error of the median over that of repeating the value of {} steps before; \
         below 1 is better.\n",
        state.records,
        state.forecasts,
        state.elapsed.as_secs_f64(),
        state.season(),
    )
}

/// Returns the summary for programs; scores that are not known yet are null.
pub fn summary_json(state: &DemoState) -> Value {
    let series: Vec<Value> = state
        .series
        .iter()
        .map(|(name, series)| {
            json!({
                "series": name,
                "forecasts": series.score.forecasts(),
                "mase": series.score.mase(),
                "coverage80": series.score.coverage(),
            })
        })
        .collect();
    json!({
        "seconds": (state.elapsed.as_secs_f64() * 1e3).round() / 1e3,
        "records": state.records,
        "forecasts": state.forecasts,
        "series": series,
    })
}

pub(super) fn score_text(score: Option<f64>) -> String {
    score.map_or_else(|| "-".to_owned(), |score| format!("{score:.2}"))
}

pub(super) fn share_text(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}
