//! The picture: a function of the state, nothing else.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use tidecast_stream::printable;

use super::state::{SeriesState, TailState};
use crate::screen::{BAND, Chart, MEDIAN, PANEL, PAST, columns, draw_chart, grid, number, panel};

/// How much a screen shows at once: what keys go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Series.
    pub series: usize,
    /// Columns in which they stand.
    pub columns: usize,
}

/// Draws `state` onto the whole frame; returns how much of it there was room for.
pub fn draw(frame: &mut Frame<'_>, state: &TailState) -> Shown {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    draw_head(frame, head, state);
    draw_foot(frame, foot, state);
    draw_body(frame, body, state)
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &TailState) {
    let counts = &state.counts;
    let origin = counts.origin.map_or_else(|| "-".to_owned(), |origin| origin.to_string());
    let mut figures = vec![
        " Tidecast ".bold().black().on_cyan(),
        format!("  {}", state.place).into(),
        "   forecasts ".dim(),
        counts.forecasts.to_string().into(),
        "   series ".dim(),
        state.series.len().to_string().into(),
        "   newest origin ".dim(),
        origin.into(),
    ];
    let mut tell = |count: u64, what: &str| {
        if count > 0 {
            figures.push(Span::styled(format!("   {count} {what}"), Color::Yellow));
        }
    };
    tell(counts.without_forecast, "without a forecast");
    tell(counts.not_kept, "of further series (--series chooses)");
    tell(counts.of_others, "of other pipelines");
    tell(counts.no_forecasts, "that are no forecasts");
    let shown = state.series.values().find_map(|series| state.target_of(series));
    let share = shown.and_then(|target| target.fan.as_ref()?.share);
    let mut legend =
        vec![Span::styled(" ━ as forecast before  ", PAST), Span::styled("━ median  ", MEDIAN)];
    if let Some(share) = share {
        legend.push(Span::styled(format!("█ {:.0} % band  ", share * 100.0), BAND));
    }
    if let Some(why) = &counts.why {
        legend.push(Span::styled(printable(why), Color::Yellow));
    }
    frame.render_widget(Paragraph::new(vec![Line::from(figures), Line::from(legend)]), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &TailState) {
    let key = |name: &'static str| name.black().on_gray();
    let mut keys = vec![key(" q "), " quit  ".dim()];
    keys.extend([key(" ←↑↓→ "), " choose  ".dim(), key(" Enter ")]);
    keys.push(if state.is_enlarged { " all  ".dim() } else { " enlarge  ".dim() });
    keys.extend([key(" PgUp PgDn "), " page  ".dim()]);
    if state.series.values().any(|series| series.targets.len() > 1) {
        keys.extend([key(" t "), " next target".dim()]);
    }
    frame.render_widget(Paragraph::new(Line::from(keys)), area);
}

fn draw_body(frame: &mut Frame<'_>, area: Rect, state: &TailState) -> Shown {
    let nothing = Shown { series: 1, columns: 1 };
    if state.series.is_empty() {
        let waiting =
            "waiting for forecasts; `--from earliest` or `--from -1h` also shows what came before";
        let paragraph = Paragraph::new(waiting.dim()).wrap(Wrap { trim: true }).centered();
        frame.render_widget(paragraph, area);
        return nothing;
    }
    let enlarged = state.chosen.as_ref().filter(|_| state.is_enlarged);
    if let Some(label) = enlarged
        && let Some(series) = state.series.get(label)
    {
        draw_panel(frame, area, state, label, series);
        return nothing;
    }
    let most = usize::from((area.width / PANEL.0).max(1)) * usize::from(area.height / PANEL.1);
    let has_charts = most > 0;
    // Without room for a chart, a line each.
    let page = if has_charts { most } else { usize::from(area.height).max(1) };
    let first = state.position() / page * page;
    let series: Vec<_> = state.series.iter().skip(first).take(page).collect();
    match columns(area, series.len()).filter(|_| has_charts) {
        Some(columns) => {
            let cells = grid(area, series.len(), columns);
            for ((label, series), cell) in series.into_iter().zip(cells) {
                draw_panel(frame, cell, state, label, series);
            }
            Shown { series: page, columns: usize::from(columns) }
        }
        None => {
            let lines = series.into_iter().map(|(label, series)| title(state, label, series));
            let lines: Vec<Line<'_>> = lines.collect();
            frame.render_widget(Paragraph::new(lines), area);
            Shown { series: page, columns: 1 }
        }
    }
}

fn draw_panel(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &TailState,
    label: &str,
    series: &SeriesState,
) {
    let mut block = panel(title(state, label, series));
    if state.chosen.as_deref() == Some(label) {
        block = block.border_style(Style::new().cyan());
    }
    let target = state.target_of(series);
    let fan = target.and_then(|target| target.fan.as_ref());
    let past = target.map(|target| target.past.iter().copied().collect()).unwrap_or_default();
    let reason = target.and_then(|target| target.reason.as_ref()).or(series.reason.as_ref());
    if !draw_chart(frame, area, block.clone(), &Chart { past, fan }) {
        let reason = printable(reason.map_or("no forecast yet", String::as_str));
        let paragraph = Paragraph::new(reason.dim()).wrap(Wrap { trim: true }).block(block);
        frame.render_widget(paragraph, area);
    }
}

/// Series, target and what is forecast of the next step.
fn title<'a>(state: &TailState, label: &'a str, series: &'a SeriesState) -> Line<'a> {
    let is_chosen = state.chosen.as_deref() == Some(label);
    let name = format!(" {label} ").bold();
    let mut title = vec![if is_chosen { name.cyan() } else { name }];
    let target = state.target_of(series);
    if let Some(target) = target.filter(|_| series.targets.len() > 1) {
        title.push(format!("{} ", printable(&target.name)).into());
    }
    let fan = target.and_then(|target| target.fan.as_ref());
    if let Some((fan, next)) = fan.and_then(|fan| Some((fan, fan.steps.first()?))) {
        title.push("next ".dim());
        title.push(Span::styled(number(next.median), MEDIAN));
        if fan.share.is_some() {
            title.push(format!(" ({}..{})", number(next.lower), number(next.upper)).into());
        }
        title.push(" ".into());
    }
    if let Some(reason) = &series.reason {
        title.push(Span::styled(format!("{} ", printable(reason)), Color::Yellow));
    }
    Line::from(title)
}

#[cfg(test)]
mod tests;
