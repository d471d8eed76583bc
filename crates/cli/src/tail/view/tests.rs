use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tidecast_stream::{
    ContextSummary, EventTime, ForecastId, ForecastMessage, ForecastStatus, ModelRef, Period,
    SeriesKey, VariateForecast,
};

use super::*;
use crate::tail::Received;

const HOUR: i64 = 3_600_000_000;

fn forecast(site: &str, origin: i64) -> ForecastMessage {
    let steps =
        |shift: f64| -> Vec<f64> { (1..=24).map(|step| shift * f64::from(step) + 40.0).collect() };
    let levels = [0.1, 0.5, 0.9];
    let variate = |name: &str, factor: f64| {
        let quantiles = [-1.0, 0.5, 1.0].map(|shift| steps(shift * factor));
        VariateForecast::new(name, levels, &steps(0.0), quantiles).unwrap()
    };
    ForecastMessage {
        id: ForecastId([0xf0; 16]),
        pipeline: "load".into(),
        series: SeriesKey::new([("site", site.into())]),
        origin: EventTime::from_micros(1_722_470_400_000_000 + origin * HOUR),
        revision: 0,
        step: Period::Fixed(HOUR),
        times: Vec::new(),
        model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
        status: ForecastStatus::Ok,
        reason: None,
        context: ContextSummary { steps: 1, observed: 1 },
        variates: vec![variate("kw", 1.0), variate("kvar", 10.0)],
        is_backfill: false,
    }
}

fn take(state: &mut TailState, message: ForecastMessage) {
    state.take(&Received::Forecast(Box::new(message), String::new()));
}

/// A state after a day of forecasts of these series.
fn a_day_in(series: usize) -> TailState {
    let mut state = TailState::new("load → forecasts");
    for origin in 0..24 {
        for number in 0..series {
            take(&mut state, forecast(&format!("site {number:03}"), origin));
        }
    }
    state
}

fn picture(state: &TailState, width: u16, height: u16) -> (String, Buffer, Shown) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut shown = None;
    terminal.draw(|frame| shown = Some(draw(frame, state))).unwrap();
    let backend = terminal.backend();
    (backend.to_string(), backend.buffer().clone(), shown.unwrap())
}

fn press(state: &mut TailState, code: KeyCode, size: (u16, u16)) -> String {
    let (_, _, shown) = picture(state, size.0, size.1);
    state.press(&KeyEvent::new(code, KeyModifiers::NONE), shown);
    picture(state, size.0, size.1).0
}

#[test]
fn every_series_shows_what_is_forecast_and_what_was_before() {
    let (text, buffer, shown) = picture(&a_day_in(4), 120, 36);
    for part in ["load → forecasts", "forecasts 96", "2024-08-01T23:00:00Z", "80 % band"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for number in 0..4 {
        assert!(text.contains(&format!("site 00{number} kw next 40.5 (39..41)")), "{text}");
    }
    assert!(text.contains("Aug 01 01:00"), "the first step ever forecast\n{text}");
    assert!(text.contains("Aug 02 23:00"), "the end of the horizon\n{text}");
    assert_eq!(shown, Shown { series: 12, columns: 1 });
    for colour in [PAST, MEDIAN, BAND] {
        let dots = buffer.content.iter().filter(|cell| {
            cell.fg == colour
                && cell.symbol().chars().all(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
        });
        assert!(dots.count() > 4 * 10, "{colour:?} is hardly there\n{text}");
    }
}

#[test]
fn keys_go_through_series_pages_and_targets() {
    let size = (80, 24); // two columns of three
    let mut state = a_day_in(20);
    let (text, _, shown) = picture(&state, size.0, size.1);
    assert_eq!(shown, Shown { series: 6, columns: 2 });
    assert!(text.contains("site 005") && !text.contains("site 006"), "{text}");
    press(&mut state, KeyCode::Down, size);
    assert_eq!(state.chosen.as_deref(), Some("site 002"), "below the first of two columns");
    let text = press(&mut state, KeyCode::PageDown, size);
    assert!(text.contains("site 006") && text.contains("site 011"), "{text}");
    assert_eq!(state.chosen.as_deref(), Some("site 008"));
    let text = press(&mut state, KeyCode::Enter, size);
    assert!(text.contains("site 008") && !text.contains("site 007"), "alone\n{text}");
    let text = press(&mut state, KeyCode::Right, size);
    assert!(text.contains("site 009") && !text.contains("site 008"), "the next alone\n{text}");
    let text = press(&mut state, KeyCode::Char('t'), size);
    assert!(text.contains("site 009 kvar next 45 (30..50)"), "{text}");
    press(&mut state, KeyCode::Esc, size);
    let text = press(&mut state, KeyCode::End, size);
    assert!(text.contains("site 018") && text.contains("site 019"), "{text}");
    // A series that comes later does not move the choice.
    take(&mut state, forecast("a new one", 0));
    assert_eq!(state.chosen.as_deref(), Some("site 019"));
    press(&mut state, KeyCode::Home, size);
    assert_eq!(state.chosen.as_deref(), Some("a new one"));
}

#[test]
fn any_size_of_terminal_and_any_values_are_fine() {
    let (full, empty) = (a_day_in(20), TailState::new("load → forecasts"));
    let mut extreme = TailState::new("load");
    for (site, value) in [("a", f64::MAX), ("b", f64::MIN_POSITIVE), ("c", f64::NAN)] {
        let mut message = forecast(site, 0);
        let quantiles = [[-value], [value], [value]];
        let variate = VariateForecast::new("kw", [0.1, 0.5, 0.9], &[value], quantiles).unwrap();
        message.variates = vec![variate];
        message.step = Period::Fixed(1);
        take(&mut extreme, message);
    }
    let mut quick = forecast("microseconds", 0);
    quick.step = Period::Fixed(1);
    take(&mut extreme, quick);
    for (width, height) in [(1, 1), (3, 40), (20, 3), (40, 12), (80, 24), (300, 100)] {
        for state in [&full, &empty, &extreme] {
            picture(state, width, height);
        }
    }
    let (small, ..) = picture(&full, 60, 9);
    assert!(small.contains("site 005 kw next 40.5"), "lines where charts have no room\n{small}");
    assert!(picture(&empty, 80, 24).0.contains("waiting for forecasts"));
    let (text, ..) = picture(&extreme, 120, 40);
    assert!(text.contains("a value is out of range"), "{text}");
}

#[test]
fn what_is_passed_over_or_not_forecast_is_said() {
    let mut state = a_day_in(1);
    let mut message = forecast("site 000", 24);
    message.status = ForecastStatus::TooShort;
    message.reason = Some("`3` observed\u{1b}[2J steps".to_owned());
    message.variates.clear();
    take(&mut state, message);
    state.take(&Received::NoForecast("partition 0, offset 7: it has no value".to_owned()));
    state.take(&Received::OtherPipeline("other".to_owned()));
    // One from before is counted, and moves nothing.
    take(&mut state, forecast("site 000", 3));
    let (text, ..) = picture(&state, 200, 30);
    for part in [
        "forecasts 26",
        "1 without a forecast",
        "1 of other pipelines",
        "1 that are no forecasts",
        "partition 0, offset 7: it has no value",
        "too_short: `3` observed\\u{1b}[2J steps",
        "next 40.5",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
