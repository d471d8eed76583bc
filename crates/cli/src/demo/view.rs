//! The demo's picture: a function of the state, nothing else.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::data::region_name;
use super::state::{DemoState, SeriesState};
use super::summary::{score_text, share_text};
use crate::screen::{BAND, Chart, MEDIAN, PAST, columns, draw_chart, grid, number, panel};

/// Draws `state` onto the whole frame.
pub fn draw(frame: &mut Frame<'_>, state: &DemoState) {
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    draw_header(frame, header, state);
    draw_body(frame, body, state);
    let footer_line = Line::from(vec![
        " q ".black().on_gray(),
        " quit   ".dim(),
        Span::from(state.subscribe.as_str()).dim(),
    ]);
    frame.render_widget(Paragraph::new(footer_line), footer);
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, state: &DemoState) {
    let now = state.now().map_or_else(|| "waiting".to_owned(), |now| now.to_string());
    let figures = Line::from(vec![
        " Tidecast ".bold().black().on_cyan(),
        format!("  {:.0} s", state.elapsed.as_secs_f64()).into(),
        "   stream at ".dim(),
        now.into(),
        "   records ".dim(),
        format!("{} ({:.0}/s)", state.records, state.records_per_second()).into(),
        "   forecasts ".dim(),
        format!("{} ({:.0}/s)", state.forecasts, state.forecasts_per_second()).into(),
    ]);
    let legend = Line::from(vec![
        " Electricity demand, MW.  ".dim(),
        Span::styled("━ history  ", PAST),
        Span::styled("━ median  ", MEDIAN),
        Span::styled("█ 80 % band  ", BAND),
        "MASE < 1 beats yesterday's value".dim(),
    ]);
    frame.render_widget(Paragraph::new(vec![figures, legend]), area);
}

fn draw_body(frame: &mut Frame<'_>, area: Rect, state: &DemoState) {
    let Some(columns) = columns(area, state.series.len()) else {
        return draw_lines(frame, area, state);
    };
    let cells = grid(area, state.series.len(), columns);
    for ((name, series), cell) in state.series.iter().zip(cells) {
        draw_panel(frame, cell, name, series);
    }
}

/// The figures alone, where there is no room for charts.
fn draw_lines(frame: &mut Frame<'_>, area: Rect, state: &DemoState) {
    let lines: Vec<Line<'_>> = state
        .series
        .iter()
        .map(|(name, series)| {
            let mut spans = vec![format!(" {name:<5}").bold()];
            spans.extend(figures(series));
            Line::from(spans)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// Last value, MASE and coverage.
fn figures(series: &SeriesState) -> Vec<Span<'static>> {
    let last = series.history.back();
    let last = last.map_or_else(|| "-".to_owned(), |(_, value)| number(value.round()));
    let mase = series.score.mase();
    let colour = match mase {
        Some(mase) if mase < 1.0 => Color::Green,
        Some(_) => Color::Red,
        None => Color::Reset,
    };
    vec![
        format!("{last:>7} MW").into(),
        "  MASE ".dim(),
        Span::styled(score_text(mase), colour),
        "  in band ".dim(),
        share_text(series.score.coverage()).into(),
    ]
}

fn draw_panel(frame: &mut Frame<'_>, area: Rect, name: &str, series: &SeriesState) {
    let mut title = vec![" ".into(), region_name(name).to_owned().bold(), " ".into()];
    title.extend(figures(series));
    title.push(" ".into());
    let block = panel(Line::from(title));
    let past = series.history.iter().copied().collect();
    let chart = Chart { past, fan: series.latest.as_ref() };
    if !draw_chart(frame, area, block.clone(), &chart) {
        let waiting = Paragraph::new("waiting for records".dim()).centered().block(block);
        frame.render_widget(waiting, area);
    }
}

#[cfg(test)]
mod tests;
