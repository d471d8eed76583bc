use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::TempDir;

use tidecast_stream::{ContextSummary, ForecastId, ModelRef, Period, SeriesKey, VariateForecast};

use super::*;
use crate::demo::records;

const HOUR: i64 = 3_600_000_000;

/// The demo's regions with a seasonal naive forecast and a band around it.
fn forecasts() -> (Vec<ForecastMessage>, Histories) {
    let mut histories = Histories::new();
    for record in records().unwrap() {
        let series = SeriesKey::new([("region", record.series.as_str().into())]);
        histories.entry(series.to_string()).or_default().push((record.time, record.value));
    }
    let horizon = 48;
    let messages = histories
        .iter_mut()
        .map(|(name, values)| {
            let origin = values.len() - 60;
            // A gap of nine hours.
            let last_day = values[origin - 47..=origin].to_vec();
            values.drain(origin - 100..origin - 91);
            let at = |shift: f64| -> Vec<f64> {
                let steps = last_day.iter().zip(1..=horizon);
                steps
                    .map(|((_, value), step)| value * (1.0 + shift * f64::from(step).sqrt()))
                    .collect()
            };
            let quantiles = [-0.02, -0.01, 0.0, 0.01, 0.02].map(at);
            let levels = [0.1, 0.25, 0.5, 0.75, 0.9];
            ForecastMessage {
                id: ForecastId([0xf0; 16]),
                pipeline: "p".into(),
                series: serde_json::from_str(name).unwrap(),
                origin: last_day[47].0,
                revision: 0,
                step: Period::Fixed(HOUR),
                times: Vec::new(),
                model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
                status: ForecastStatus::Ok,
                reason: None,
                context: ContextSummary { steps: 1, observed: 1 },
                variates: vec![VariateForecast::new("mw", levels, &at(0.0), quantiles).unwrap()],
                is_backfill: false,
            }
        })
        .collect();
    (messages, histories)
}

fn of_mw(histories: Histories) -> BTreeMap<String, Histories> {
    BTreeMap::from([("mw".to_owned(), histories)])
}

/// The colours of the lines and bands, as `SVG` writes them.
fn count(svg: &str, color: &str) -> usize {
    svg.matches(color).count()
}

#[test]
fn an_svg_has_a_panel_per_series_with_all_its_lines() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.svg");
    let (messages, histories) = forecasts();
    draw_forecasts(&messages, &of_mw(histories), 4, &path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    for shown in ["CAL", "FLA", "NE", "NW", "history", "median", "80 % band", "50 % band"] {
        assert!(svg.contains(shown), "{shown}");
    }
    assert!(!svg.contains("TEX"), "only the first four");
    assert_eq!(count(&svg, "<polygon"), 2 * 4, "two bands a panel");
    let polylines = |color| {
        svg.matches(&format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{color}\"")).count()
    };
    assert_eq!(polylines("#1F6FB4"), 4 + 1, "medians, and the legend");
    assert_eq!(polylines("#D66014"), 4 + 1, "what happened");
    assert_eq!(polylines("#2D343C"), 2 * 4 + 1, "the gap parts each history");
    assert!(svg.contains("Sep 2"), "ticks are dates");
}

#[test]
fn a_png_is_a_picture_of_the_stated_size_with_ink_in_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.png");
    let (messages, histories) = forecasts();
    draw_forecasts(&messages, &of_mw(histories.clone()), 6, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    let series: Vec<PlotSeries> = messages
        .iter()
        .filter_map(|message| {
            PlotSeries::of_message(message, &histories[&message.series.to_string()])
        })
        .collect();
    let (width, height) = size_of(1, 1);
    register_builtin_font().unwrap();
    let pixels = smooth_bitmap(&series[..1], 1, (width, height)).unwrap();
    let blue = pixels.chunks_exact(3).filter(|pixel| pixel[2] > pixel[0].saturating_add(20));
    assert!(blue.count() > 5_000, "the bands fill some of it");
    let dark = pixels.chunks_exact(3).filter(|pixel| pixel.iter().all(|part| *part < 120));
    assert!(dark.count() > 1_000, "lines and letters");
}

#[test]
fn what_cannot_be_drawn_is_said_before_any_work() {
    let error = check_path(Path::new("a.pdf")).unwrap_err().to_string();
    assert_eq!(error, "cannot draw `a.pdf`: expected a name ending in .svg or .png");
    assert!(matches!(draw(&[], Path::new("a.svg")), Err(PlotError::Nothing)));
    let (messages, histories) = forecasts();
    let histories = of_mw(histories);
    for name in ["/nowhere/a.svg", "/nowhere/a.png"] {
        let error = draw_forecasts(&messages, &histories, 1, Path::new(name)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot draw `{name}`")), "{error}");
    }
}

#[test]
fn extremes_are_drawn_too() {
    let folder = TempDir::new().unwrap();
    let origin = EventTime::from_millis(0);
    let steps = |step: i64, count: i64| -> Vec<EventTime> {
        (1..=count).map(|k| origin.plus_micros(k * step)).collect()
    };
    let base = PlotSeries {
        label: "№ 1".to_owned(),
        history: Vec::new(),
        origin,
        times: steps(HOUR, 10),
        mean: vec![1.0],
        quantiles: Vec::new(),
        actuals: Vec::new(),
    };
    let flat = PlotSeries { history: vec![(origin, 5.0)], mean: vec![5.0; 10], ..base.clone() };
    let missing = PlotSeries {
        history: vec![(origin.plus_micros(-HOUR), f64::NAN), (origin, 1e12)],
        ..base.clone()
    };
    let nothing = PlotSeries { mean: Vec::new(), ..base.clone() };
    let monthly = PlotSeries {
        times: steps(30 * 24 * HOUR, 24),
        quantiles: vec![(0.05, vec![-1.0; 24]), (0.95, vec![1e-3; 24])],
        ..base.clone()
    };
    for (name, series) in [("a.svg", vec![base, flat, missing]), ("b.svg", vec![nothing, monthly])]
    {
        draw(&series, &folder.path().join(name)).unwrap();
    }
    let svg = std::fs::read_to_string(folder.path().join("b.svg")).unwrap();
    assert!(svg.contains("90 % band") && svg.contains("mean"), "by what there is");
}

#[test]
fn every_target_of_a_series_has_a_panel() {
    let folder = TempDir::new().unwrap();
    let (mut messages, histories) = forecasts();
    for message in &mut messages {
        let mut second = message.variates[0].clone();
        second.name = "price".into();
        message.variates.push(second);
    }
    let path = folder.path().join("a.svg");
    draw_forecasts(&messages, &of_mw(histories), 2, &path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    for title in ["CAL: mw", "CAL: price", "FLA: mw", "FLA: price"] {
        assert!(svg.contains(title), "{title}");
    }
    assert!(!svg.contains("NE: mw"), "only the first two series");
}
