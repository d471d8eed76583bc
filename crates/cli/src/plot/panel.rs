//! The drawing itself.

use plotters::backend::DrawingBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{DashedPathElement, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use super::PlotSeries;
use super::axis::{Axis, time_text, time_ticks, value_text, value_ticks};

const INK: RGBColor = RGBColor(45, 52, 60);
const FAINT: RGBColor = RGBColor(120, 128, 136);
const GRID: RGBColor = RGBColor(228, 231, 234);
const FORECAST: RGBColor = RGBColor(31, 111, 180);
const ACTUAL: RGBColor = RGBColor(214, 96, 20);
const HEADER: u32 = 34;

type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;
type Point = (f64, f64);

/// Draws all panels below a legend.
pub(super) fn draw_all<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    series: &[PlotSeries],
    columns: usize,
    scale: u32,
) -> Result<(), Failure<B>> {
    root.fill(&WHITE)?;
    let (header, body) = root.split_vertically(HEADER * scale);
    let panels: Vec<Panel> = series.iter().map(Panel::of).collect();
    draw_legend(&header, &panels, scale)?;
    let cells = body.split_evenly((series.len().div_ceil(columns), columns));
    for (panel, cell) in panels.iter().zip(&cells) {
        panel.draw(cell, scale)?;
    }
    Ok(())
}

fn text(size: u32, scale: u32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size * scale).into_font().color(&color)
}

fn line(color: impl Color, width: u32, scale: u32) -> ShapeStyle {
    color.stroke_width(width * scale)
}

/// Names what is drawn in at least one panel.
fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panels: &[Panel],
    scale: u32,
) -> Result<(), Failure<B>> {
    let unit = i32::try_from(scale).unwrap_or(1);
    let style = text(13, scale, INK).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y) = (18 * unit, 20 * unit);
    let has_bands = |narrow: bool| panels.iter().find_map(|panel| panel.band(narrow));
    let has_actuals = panels.iter().any(|panel| !panel.actuals.is_empty());
    let (width, _) = area.dim_in_pixel();
    let right = i32::try_from(width).unwrap_or(i32::MAX) - 18 * unit;
    let remark = text(12, scale, FAINT).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new("times in UTC", (right, y), remark))?;
    let mut entries = vec![("history".to_owned(), Swatch::Line(INK))];
    let center = if panels.iter().any(|panel| panel.is_median) { "median" } else { "mean" };
    entries.push((center.to_owned(), Swatch::Line(FORECAST)));
    for narrow in [true, false] {
        if let Some(band) = has_bands(narrow) {
            let strength = if narrow { 0.5 } else { 0.22 };
            entries.push((format!("{:.0} % band", band.share * 100.0), Swatch::Band(strength)));
        }
    }
    if has_actuals {
        entries.push(("what happened".to_owned(), Swatch::Line(ACTUAL)));
    }
    for (label, swatch) in entries {
        match swatch {
            Swatch::Line(color) => area
                .draw(&PathElement::new(vec![(x, y), (x + 22 * unit, y)], line(color, 2, scale)))?,
            Swatch::Band(strength) => area.draw(&Rectangle::new(
                [(x, y - 6 * unit), (x + 22 * unit, y + 6 * unit)],
                FORECAST.mix(strength).filled(),
            ))?,
        }
        x += 28 * unit;
        area.draw(&Text::new(label.clone(), (x, y), style.clone()))?;
        let (width, _) = area.estimate_text_size(&label, &style)?;
        x += i32::try_from(width).unwrap_or(0) + 22 * unit;
    }
    Ok(())
}

enum Swatch {
    Line(RGBColor),
    Band(f64),
}

/// A band between two quantiles.
struct Band {
    /// How much of the probability it should hold.
    share: f64,
    is_narrow: bool,
    lower: Vec<Point>,
    upper: Vec<Point>,
}

/// A series in chart coordinates: seconds since the epoch by values.
struct Panel {
    title: String,
    origin: f64,
    history: Vec<Vec<Point>>,
    actuals: Vec<Vec<Point>>,
    bands: Vec<Band>,
    center: Vec<Point>,
    is_median: bool,
}

impl Panel {
    fn of(series: &PlotSeries) -> Self {
        let seconds = |micros: i64| micros as f64 / 1e6;
        let origin = seconds(series.origin.as_micros());
        let times: Vec<f64> = series.times.iter().map(|time| seconds(time.as_micros())).collect();
        // The longest one, where a calendar makes them differ.
        let step = std::iter::once(&origin).chain(&times).zip(&times);
        let step = step.map(|(earlier, later)| later - earlier).fold(0.0, f64::max);
        let horizon = times.len();
        let points = |values: &[(tidecast_stream::EventTime, f64)]| -> Vec<Point> {
            values.iter().map(|(time, value)| (seconds(time.as_micros()), *value)).collect()
        };
        let from = origin - (horizon * 5).max(48) as f64 * step;
        let until = times.last().copied().unwrap_or(origin);
        let mut history = points(&series.history);
        history.retain(|(x, _)| (from..=origin).contains(x));
        let mut actuals = points(&series.actuals);
        actuals.retain(|(x, _)| (origin..=until).contains(x));
        // The forecast grows out of the last value it knew.
        let start = history.last().copied().filter(|(x, y)| y.is_finite() && origin - x <= step);
        let path = |values: &[f64]| -> Vec<Point> {
            let steps = times.iter().copied().zip(values.iter().copied());
            start.into_iter().chain(steps).collect()
        };
        let at = |level: f64| {
            let mut quantiles = series.quantiles.iter();
            quantiles.find(|(known, _)| (known - level).abs() < 1e-9).map(|(_, values)| values)
        };
        let band = |lower: &[f64], upper: &[f64], share: f64, is_narrow: bool| Band {
            share,
            is_narrow,
            lower: path(lower),
            upper: path(upper),
        };
        let mut bands = Vec::new();
        match (at(0.1), at(0.9), series.quantiles.first(), series.quantiles.last()) {
            (Some(lower), Some(upper), ..) => bands.push(band(lower, upper, 0.8, false)),
            (_, _, Some((low, lower)), Some((high, upper))) if low < high => {
                bands.push(band(lower, upper, high - low, false));
            }
            _ => {}
        }
        if let (Some(lower), Some(upper)) = (at(0.25), at(0.75)) {
            bands.push(band(lower, upper, 0.5, true));
        }
        if let Some(start) = start {
            actuals.insert(0, start);
        }
        let only_start = actuals.len() < 2;
        Self {
            title: series.label.clone(),
            origin,
            history: pieces(&history, step),
            actuals: if only_start { Vec::new() } else { pieces(&actuals, step) },
            center: path(at(0.5).unwrap_or(&series.mean)),
            is_median: at(0.5).is_some(),
            bands,
        }
    }

    fn band(&self, narrow: bool) -> Option<&Band> {
        self.bands.iter().find(|band| band.is_narrow == narrow)
    }

    /// Returns the extent of all points: left, right, bottom, top.
    fn extent(&self) -> (f64, f64, f64, f64) {
        let bands = self.bands.iter().flat_map(|band| band.lower.iter().chain(&band.upper));
        let points = self.history.iter().chain(&self.actuals).flatten().chain(&self.center);
        let infinite = f64::INFINITY;
        let mut extent = (infinite, -infinite, infinite, -infinite);
        for (x, y) in points.chain(bands).filter(|(_, y)| y.is_finite()) {
            extent = (extent.0.min(*x), extent.1.max(*x), extent.2.min(*y), extent.3.max(*y));
        }
        if extent.0 > extent.1 {
            extent = (self.origin, self.origin + 1.0, 0.0, 1.0);
        }
        let (left, right, bottom, top) = extent;
        // A flat line has some room, too, whatever its unit.
        let level = top.abs().max(bottom.abs());
        let margin = ((top - bottom) * 0.07).max(if level > 0.0 { level * 1e-6 } else { 1.0 });
        (left, right.max(left + 1.0), bottom - margin, top + margin)
    }

    fn draw<B: DrawingBackend>(
        &self,
        cell: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), Failure<B>> {
        let (left, right, bottom, top) = self.extent();
        let (width, height) = cell.dim_in_pixel();
        let most = |pixels: u32, apart: u32| (pixels / scale / apart) as usize;
        let (times, format) = time_ticks(left, right, most(width, 78));
        let values = value_ticks(bottom, top, most(height, 48).max(2));
        let value_step = match values.as_slice() {
            [first, second, ..] => second - first,
            _ => top - bottom,
        };
        let mut chart = ChartBuilder::on(cell)
            .margin(8 * scale)
            .margin_right(18 * scale)
            .caption(&self.title, text(14, scale, INK))
            .x_label_area_size(24 * scale)
            .y_label_area_size(62 * scale)
            .build_cartesian_2d(Axis::new(left, right, times), Axis::new(bottom, top, values))?;
        chart
            .configure_mesh()
            .bold_line_style(line(GRID, 1, scale))
            .light_line_style(GRID.mix(0.0))
            .axis_style(line(FAINT, 1, scale))
            .label_style(text(12, scale, FAINT))
            .x_label_formatter(&|seconds| time_text(*seconds, format))
            .y_label_formatter(&|value| value_text(*value, value_step))
            .set_all_tick_mark_size(4 * scale)
            .draw()?;
        self.draw_lines(&mut chart, bottom, top, scale)
    }

    fn draw_lines<B: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, B>,
        bottom: f64,
        top: f64,
        scale: u32,
    ) -> Result<(), Failure<B>> {
        for band in &self.bands {
            let outline: Vec<Point> =
                band.upper.iter().chain(band.lower.iter().rev()).copied().collect();
            let strength = if band.is_narrow { 0.30 } else { 0.20 };
            let fill = FORECAST.mix(strength).filled();
            chart.draw_series([Polygon::new(outline, fill)])?;
        }
        let dash = 4 * scale;
        chart.draw_series([DashedPathElement::new(
            vec![(self.origin, bottom), (self.origin, top)],
            dash,
            dash,
            line(FAINT, 1, scale),
        )])?;
        for (pieces, color) in [(&self.history, INK), (&self.actuals, ACTUAL)] {
            for piece in pieces {
                let width = 2 * scale - scale / 2;
                let style = color.stroke_width(width.max(1));
                chart.draw_series([PathElement::new(piece.clone(), style)])?;
            }
        }
        chart.draw_series([PathElement::new(self.center.clone(), line(FORECAST, 2, scale))])?;
        Ok(())
    }
}

/// Parts a line where a value is missing: a gap is no straight line.
fn pieces(points: &[Point], step: f64) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for (x, y) in points.iter().filter(|(_, y)| y.is_finite()) {
        match pieces.last_mut() {
            Some(piece) if x - last <= step * 1.5 => piece.push((*x, *y)),
            _ => pieces.push(vec![(*x, *y)]),
        }
        last = *x;
    }
    pieces
}
