//! Charts of one series each, and how many of them fit.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::canvas::{Canvas, Context, Line as Stroke};
use ratatui::widgets::{Block, BorderType};
use tidecast_stream::EventTime;

use super::fan::Fan;

/// What lies behind the forecast.
pub(crate) const PAST: Color = Color::Gray;
pub(crate) const MEDIAN: Color = Color::Yellow;
pub(crate) const BAND: Color = Color::Blue;
/// Smallest panel, in columns and lines, in which a chart still says something.
pub(crate) const PANEL: (u16, u16) = (36, 7);

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// What a chart shows.
#[derive(Debug)]
pub struct Chart<'a> {
    /// Values before the forecast, oldest first.
    pub past: Vec<(EventTime, f64)>,
    /// The forecast.
    pub fan: Option<&'a Fan>,
}

/// Returns in how many columns `count` charts are shown, if there is room for all: as few as
/// leave each high enough, for wide charts show more.
pub(crate) fn columns(area: Rect, count: usize) -> Option<u16> {
    let count = u16::try_from(count).unwrap_or(u16::MAX).max(1);
    let mut columns = 1..=(area.width / PANEL.0).max(1);
    columns.find(|columns| area.height / count.div_ceil(*columns) >= PANEL.1)
}

/// Returns the areas of `count` charts in so many columns, row by row.
pub(crate) fn grid(area: Rect, count: usize, columns: u16) -> Vec<Rect> {
    let rows = count.div_ceil(usize::from(columns.max(1)));
    let row_areas = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    let cells = row_areas.iter().flat_map(|row| {
        let widths = vec![Constraint::Fill(1); usize::from(columns)];
        Layout::horizontal(widths).split(*row).to_vec()
    });
    cells.take(count).collect()
}

/// Returns the frame around a chart.
pub(crate) fn panel(title: Line<'_>) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().dark_gray())
        .title(title)
}

/// Draws a chart into `block`; returns whether there was anything to draw.
pub(crate) fn draw_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    block: Block<'_>,
    chart: &Chart<'_>,
) -> bool {
    let Some(window) = Window::around(chart) else {
        return false;
    };
    let format = match window.right {
        span if span > 60.0 * DAY => "%Y-%m-%d",
        span if span > 2.0 * HOUR => "%b %d %H:%M",
        _ => "%H:%M:%S",
    };
    let time = |x| Line::from(format!(" {} ", time_text(window.time(x), format))).dim();
    let block = block
        .title_bottom(time(0.0).left_aligned())
        .title_bottom(time(window.right).right_aligned());
    let canvas = Canvas::default()
        .block(block)
        .marker(Marker::Braille)
        .x_bounds([0.0, window.right])
        .y_bounds([window.bottom, window.top])
        .paint(|context| paint(context, chart, &window, area.width));
    frame.render_widget(canvas, area);
    true
}

/// What a chart shows: seconds since its first time, in which a double has room for the
/// shortest steps, by values.
struct Window {
    start: EventTime,
    right: f64,
    bottom: f64,
    top: f64,
}

impl Window {
    fn around(chart: &Chart<'_>) -> Option<Self> {
        let past = chart.past.iter().map(|(time, value)| (*time, *value, *value));
        let forecast =
            chart.fan.iter().flat_map(|fan| fan.timed()).map(|(time, step)| {
                (time, step.lower.min(step.median), step.upper.max(step.median))
            });
        let points: Vec<(EventTime, f64, f64)> = past.chain(forecast).collect();
        let start = points.iter().map(|(time, ..)| *time).min()?;
        let bottom = points.iter().map(|(_, low, _)| *low).fold(f64::INFINITY, f64::min);
        let top = points.iter().map(|(.., high)| *high).fold(f64::NEG_INFINITY, f64::max);
        let mut window = Self { start, right: 0.0, bottom, top };
        window.right = points.iter().map(|(time, ..)| window.x(*time)).fold(0.0, f64::max);
        // A single point, or a flat line, still needs an extent.
        let margin = ((top - bottom) * 0.06).max(top.abs() * 1e-3).max(1e-9);
        window.bottom -= margin;
        window.top += margin;
        if window.right <= 0.0 {
            window.right = HOUR;
        }
        Some(window)
    }

    fn x(&self, time: EventTime) -> f64 {
        time.as_micros().saturating_sub(self.start.as_micros()) as f64 / 1e6
    }

    fn time(&self, x: f64) -> EventTime {
        self.start.plus_micros((x * 1e6) as i64)
    }
}

fn paint(context: &mut Context<'_>, chart: &Chart<'_>, window: &Window, width: u16) {
    if let Some(fan) = chart.fan {
        let steps: Vec<(f64, _)> = fan.timed().map(|(time, step)| (window.x(time), step)).collect();
        // Braille has two dots per cell and side: one vertical stroke per dot
        // fills the band.
        let dot = window.right / (f64::from(width.max(1)) * 2.0);
        for pair in steps.windows(2).filter(|_| fan.share.is_some()) {
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
        let start = chart.past.iter().find(|(time, _)| *time == fan.origin);
        let start = start.map(|(time, value)| (window.x(*time), *value));
        let medians: Vec<(f64, f64)> =
            start.into_iter().chain(steps.iter().map(|(x, step)| (*x, step.median))).collect();
        path(context, &medians, MEDIAN);
        context.layer();
    }
    let past: Vec<(f64, f64)> =
        chart.past.iter().map(|(time, value)| (window.x(*time), *value)).collect();
    path(context, &past, PAST);
    context.layer();
    context.print(0.0, window.top, Line::from(number(window.top)).dim());
    context.print(0.0, window.bottom, Line::from(number(window.bottom)).dim());
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

fn time_text(time: EventTime, format: &str) -> String {
    chrono::DateTime::from_timestamp_micros(time.as_micros())
        .map_or_else(String::new, |time| time.format(format).to_string())
}

/// Returns a number for people: four digits that count, `43172.4` as `43,172`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - size.max(1e-9).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{size:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !rest.is_empty() {
        text = format!("{text}.{rest}");
    }
    if value < 0.0 && text != "0" { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let texts = [0.0, 43_172.4, -1_234_567.0, 999.6, 12.5, -0.012_3, 3e-9, 1e300, 1.0];
        let texts = texts.map(number);
        let expected = ["0", "43,172", "-1,234,567", "999.6", "12.5", "-0.0123", "3.000e-9"];
        assert_eq!(texts[..7], expected);
        assert_eq!(texts[7..], ["1.000e300", "1"]);
        assert_eq!(number(f64::NAN), "NaN");
    }

    #[test]
    fn charts_stand_side_by_side_where_they_would_be_too_low() {
        let area = Rect::new(0, 0, 120, 36);
        assert_eq!(columns(area, 5), Some(1));
        assert_eq!(columns(area, 6), Some(2));
        assert_eq!(columns(area, 15), Some(3));
        assert_eq!(columns(area, 16), None, "3 columns of 5 is what there is room for");
        assert_eq!(columns(Rect::new(0, 0, 1, 1), 1), None);
        let cells = grid(area, 3, 2);
        assert_eq!(cells.len(), 3);
        assert_eq!((cells[2].x, cells[2].y, cells[2].width), (0, 18, 60));
    }
}
