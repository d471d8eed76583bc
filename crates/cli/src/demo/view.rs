//! The demo's picture: a function of the state, nothing else.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Context, Line as Stroke};
use ratatui::widgets::{Block, BorderType, Paragraph};

use super::data::region_name;
use super::state::{DemoState, SeriesState};
use super::summary::{score_text, share_text};

const HISTORY: Color = Color::Gray;
const MEDIAN: Color = Color::Yellow;
const BAND: Color = Color::Blue;
/// Smallest panel in which a chart still says something.
const PANEL: (u16, u16) = (36, 7);

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
        Span::styled("━ history  ", HISTORY),
        Span::styled("━ median  ", MEDIAN),
        Span::styled("█ 80 % band  ", BAND),
        "MASE < 1 beats yesterday's value".dim(),
    ]);
    frame.render_widget(Paragraph::new(vec![figures, legend]), area);
}

fn draw_body(frame: &mut Frame<'_>, area: Rect, state: &DemoState) {
    let count = u16::try_from(state.series.len()).unwrap_or(u16::MAX).max(1);
    // As few columns as leave each chart high enough: wide charts show more.
    let columns = (1..=(area.width / PANEL.0).max(1))
        .find(|columns| area.height / count.div_ceil(*columns) >= PANEL.1);
    let Some(columns) = columns else {
        return draw_lines(frame, area, state);
    };
    let rows = usize::from(count.div_ceil(columns));
    let row_areas = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    let cells = row_areas.iter().flat_map(|row| {
        let widths = vec![Constraint::Fill(1); usize::from(columns)];
        Layout::horizontal(widths).split(*row).to_vec()
    });
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
    let last = last.map_or_else(|| "-".to_owned(), |(_, value)| thousands(*value));
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
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().dark_gray())
        .title(Line::from(title));
    let Some(window) = Window::around(series) else {
        let waiting = Paragraph::new("waiting for records".dim()).centered().block(block);
        return frame.render_widget(waiting, area);
    };
    let block = block.title_bottom(
        Line::from(format!(" {} ", time_text(window.left, "%b %d %H:%M"))).dim().left_aligned(),
    );
    let block = block.title_bottom(
        Line::from(format!(" {} ", time_text(window.right, "%b %d %H:%M"))).dim().right_aligned(),
    );
    let canvas = Canvas::default()
        .block(block)
        .marker(Marker::Braille)
        .x_bounds([window.left, window.right])
        .y_bounds([window.bottom, window.top])
        .paint(|context| paint(context, series, &window, area.width));
    frame.render_widget(canvas, area);
}

/// What a chart shows: seconds since the epoch by values.
struct Window {
    left: f64,
    right: f64,
    bottom: f64,
    top: f64,
}

impl Window {
    fn around(series: &SeriesState) -> Option<Self> {
        let forecast = series.latest.iter().flat_map(|latest| latest.timed());
        let points = series
            .history
            .iter()
            .map(|(time, value)| (seconds(time.as_micros()), *value, *value))
            .chain(
                forecast.map(|(time, step)| (seconds(time.as_micros()), step.lower, step.upper)),
            );
        let mut window: Option<Self> = None;
        for (x, low, high) in points {
            let window = window.get_or_insert(Self { left: x, right: x, bottom: low, top: high });
            window.left = window.left.min(x);
            window.right = window.right.max(x);
            window.bottom = window.bottom.min(low);
            window.top = window.top.max(high);
        }
        let mut window = window?;
        // A single point, or a flat line, still needs an extent.
        let margin = ((window.top - window.bottom) * 0.06).max(window.top.abs() * 1e-3).max(1e-9);
        window.bottom -= margin;
        window.top += margin;
        if window.right <= window.left {
            window.right = window.left + 3600.0;
        }
        Some(window)
    }
}

fn paint(context: &mut Context<'_>, series: &SeriesState, window: &Window, width: u16) {
    if let Some(latest) = &series.latest {
        let steps: Vec<(f64, _)> =
            latest.timed().map(|(time, step)| (seconds(time.as_micros()), step)).collect();
        // Braille has two dots per cell and side: one vertical stroke per dot
        // fills the band.
        let dot = (window.right - window.left) / (f64::from(width.max(1)) * 2.0);
        for pair in steps.windows(2) {
            let [(x1, a), (x2, b)] = pair else { continue };
            let mut x = *x1;
            while x <= *x2 {
                let share = (x - x1) / (x2 - x1);
                let lower = a.lower + (b.lower - a.lower) * share;
                let upper = a.upper + (b.upper - a.upper) * share;
                stroke(context, (x, lower), (x, upper), BAND);
                x += dot;
            }
        }
        context.layer();
        let origin = series.history.iter().find(|(time, _)| *time == latest.origin);
        let start = origin.map(|(time, value)| (seconds(time.as_micros()), *value));
        let medians: Vec<(f64, f64)> =
            start.into_iter().chain(steps.iter().map(|(x, step)| (*x, step.median))).collect();
        path(context, &medians, MEDIAN);
        context.layer();
    }
    let history: Vec<(f64, f64)> =
        series.history.iter().map(|(time, value)| (seconds(time.as_micros()), *value)).collect();
    path(context, &history, HISTORY);
    context.layer();
    context.print(window.left, window.top, Line::from(thousands(window.top)).dim());
    context.print(window.left, window.bottom, Line::from(thousands(window.bottom)).dim());
}

fn path(context: &mut Context<'_>, points: &[(f64, f64)], color: Color) {
    for pair in points.windows(2) {
        if let [from, to] = pair {
            stroke(context, *from, *to, color);
        }
    }
}

fn stroke(context: &mut Context<'_>, from: (f64, f64), to: (f64, f64), color: Color) {
    context.draw(&Stroke { x1: from.0, y1: from.1, x2: to.0, y2: to.1, color });
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn time_text(seconds: f64, format: &str) -> String {
    chrono::DateTime::from_timestamp(seconds as i64, 0)
        .map_or_else(String::new, |time| time.format(format).to_string())
}

/// `43172.4` as `43,172`.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests;
