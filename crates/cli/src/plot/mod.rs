//! Pictures of forecasts: history, median and bands of a few series, as SVG or
//! PNG.
//!
//! Each series, and each target of it, is a panel with its own axes. Only the end of the history is
//! drawn (five horizons, 48 steps at least), or the forecast would be a sliver.
//! The font (DejaVu Sans, a subset) is built in, so that a machine without fonts
//! draws the same picture.

mod axis;
mod panel;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;
use plotters::style::{FontStyle, register_font};

use tidecast_stream::{EventTime, ForecastMessage, ForecastStatus, VariateForecast, printable};

const FONT: &[u8] = include_bytes!("../../data/fonts/DejaVuSans-subset.ttf");
/// Bitmaps are drawn this much larger and averaged down: the backend draws
/// lines without smoothing.
const OVERSAMPLING: u32 = 3;

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotSeries {
    /// Its title.
    pub label: String,
    /// Values up to the origin and, where known, behind it; sorted by time.
    pub history: Vec<(EventTime, f64)>,
    /// Time of the newest value the forecast knew.
    pub origin: EventTime,
    /// The times of the horizon's steps.
    pub times: Vec<EventTime>,
    /// Mean per step; drawn where there is no median.
    pub mean: Vec<f64>,
    /// Quantile per step, by level, levels ascending. Drawn are 0.5, the band
    /// 0.1–0.9 (or that of the outermost levels), and 0.25–0.75 if there.
    pub quantiles: Vec<(f64, Vec<f64>)>,
    /// What happened behind the origin, where known; sorted by time.
    pub actuals: Vec<(EventTime, f64)>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The file's name does not say what to draw.
    #[error("cannot draw `{0}`: expected a name ending in .svg or .png")]
    Extension(String),
    /// There is nothing to draw.
    #[error("there is no forecast to draw")]
    Nothing,
    /// The file cannot be written.
    #[error("cannot draw `{path}`: {reason}; check that the folder exists and there is room")]
    Draw {
        /// The file.
        path: String,
        /// What happened.
        reason: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Picture {
    Svg,
    Png,
}

/// Checks that `path` names a picture we can draw, before any work is done.
///
/// # Errors
/// If its extension is neither `.svg` nor `.png`.
pub fn check_path(path: &Path) -> Result<(), PlotError> {
    picture(path).map(drop)
}

fn picture(path: &Path) -> Result<Picture, PlotError> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("svg") => Ok(Picture::Svg),
        Some("png") => Ok(Picture::Png),
        _ => Err(PlotError::Extension(path.display().to_string())),
    }
}

/// Values by series, as a message names it ([`SeriesKey`]'s JSON: labels may collide),
/// each sorted by time.
///
/// [`SeriesKey`]: tidecast_stream::SeriesKey
pub type Histories = BTreeMap<String, Vec<(EventTime, f64)>>;

/// Draws the forecasts of the first `count` series, a panel for each target, with
/// their histories, by target, to `path`. Of a history, what lies behind the
/// origin is drawn as what happened.
///
/// # Errors
/// If there is no forecast, or the file cannot be written.
pub fn draw_forecasts(
    messages: &[ForecastMessage],
    histories: &BTreeMap<String, Histories>,
    count: usize,
    path: &Path,
) -> Result<(), PlotError> {
    let series: Vec<PlotSeries> = messages
        .iter()
        .filter(|message| message.status == ForecastStatus::Ok)
        .take(count)
        .flat_map(|message| message.variates.iter().map(move |variate| (message, variate)))
        .filter(|(_, variate)| variate.steps() > 0)
        .map(|(message, variate)| {
            let of_target = histories.get(&*variate.name);
            let history =
                of_target.and_then(|histories| histories.get(&message.series.to_string()));
            PlotSeries::of_variate(message, variate, history.map_or(&[], Vec::as_slice))
        })
        .collect();
    draw(&series, path)
}

impl PlotSeries {
    /// Returns the panel of a forecast's first variate; `values` are all that is
    /// known of the series, sorted by time.
    pub fn of_message(message: &ForecastMessage, values: &[(EventTime, f64)]) -> Option<Self> {
        Some(Self::of_variate(message, message.variates.first()?, values))
    }

    /// Returns the panel of one variate of a forecast; `values` are all that is
    /// known of it, sorted by time.
    pub fn of_variate(
        message: &ForecastMessage,
        variate: &VariateForecast,
        values: &[(EventTime, f64)],
    ) -> Self {
        // A band has no corner at infinity.
        let quantiles = variate
            .quantiles()
            .filter(|(_, values)| values.iter().all(|value| value.is_finite()))
            .map(|(level, values)| (level, values.to_vec()))
            .collect();
        let known = values.partition_point(|(time, _)| *time <= message.origin);
        let (history, actuals) = values.split_at(known);
        let series = message.series.label();
        let label = match (series.is_empty(), message.variates.len() > 1) {
            (true, _) => printable(&variate.name),
            (false, true) => format!("{series}: {}", printable(&variate.name)),
            (false, false) => series,
        };
        Self {
            label,
            history: history.to_vec(),
            origin: message.origin,
            times: (1..=variate.steps()).map_while(|step| message.time_of(step)).collect(),
            mean: variate.mean().to_vec(),
            quantiles,
            actuals: actuals.to_vec(),
        }
    }
}

/// Draws `series`, a panel each, to `path`: SVG or PNG by its extension.
///
/// # Errors
/// If there is no series, or the file cannot be written.
pub fn draw(series: &[PlotSeries], path: &Path) -> Result<(), PlotError> {
    let picture = picture(path)?;
    if series.is_empty() {
        return Err(PlotError::Nothing);
    }
    let failed = |reason: String| PlotError::Draw { path: path.display().to_string(), reason };
    register_builtin_font().map_err(failed)?;
    let columns = match series.len() {
        1 => 1,
        2..=8 => 2,
        _ => 3,
    };
    let size = size_of(series.len(), columns);
    match picture {
        Picture::Svg => paint(SVGBackend::new(path, size), series, columns, 1).map_err(failed),
        Picture::Png => {
            let pixels = smooth_bitmap(series, columns, size).map_err(failed)?;
            let mut file = BitMapBackend::new(path, size);
            file.blit_bitmap((0, 0), size, &pixels)
                .and_then(|()| file.present())
                .map_err(|error| failed(error.to_string()))
        }
    }
}

fn size_of(panels: usize, columns: usize) -> (u32, u32) {
    let rows = u32::try_from(panels.div_ceil(columns)).unwrap_or(1);
    match columns {
        1 => (960, 440),
        2 => (1280, 40 + rows * 280),
        _ => (1620, 40 + rows * 250),
    }
}

fn paint<B: DrawingBackend>(
    backend: B,
    series: &[PlotSeries],
    columns: usize,
    scale: u32,
) -> Result<(), String> {
    let root = backend.into_drawing_area();
    panel::draw_all(&root, series, columns, scale).map_err(|error| error.to_string())?;
    root.present().map_err(|error| error.to_string())
}

/// Returns RGB pixels, drawn large and averaged down.
fn smooth_bitmap(
    series: &[PlotSeries],
    columns: usize,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, String> {
    let large_width = width * OVERSAMPLING;
    let mut large = vec![255_u8; (large_width * height * OVERSAMPLING * 3) as usize];
    let size = (large_width, height * OVERSAMPLING);
    paint(BitMapBackend::with_buffer(&mut large, size), series, columns, OVERSAMPLING)?;
    let mut sums = vec![0_u32; (width * height * 3) as usize];
    for (y, row) in large.chunks_exact((large_width * 3) as usize).enumerate() {
        let start = y / OVERSAMPLING as usize * (width * 3) as usize;
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            let target = start + x / OVERSAMPLING as usize * 3;
            let Some(sums) = sums.get_mut(target..target + 3) else { continue };
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
        }
    }
    let samples = OVERSAMPLING * OVERSAMPLING;
    Ok(sums.into_iter().map(|sum| u8::try_from(sum / samples).unwrap_or(u8::MAX)).collect())
}

fn register_builtin_font() -> Result<(), String> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font("sans-serif", FontStyle::Normal, FONT).is_ok();
    if *REGISTERED.get_or_init(register) {
        Ok(())
    } else {
        Err("the built-in font cannot be read".to_owned())
    }
}

#[cfg(test)]
mod tests;
