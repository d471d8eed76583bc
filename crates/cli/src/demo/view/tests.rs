use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use tidecast_stream::{
    ContextSummary, ForecastId, ForecastMessage, ForecastStatus, ModelRef, Period, SeriesKey,
    VariateForecast,
};

use super::*;
use crate::demo::{plain_block, records, summary_json, summary_table};

const HOUR: i64 = 3_600_000_000;

/// The state after a week of replay, with forecasts that repeat the last value.
fn a_week_in() -> DemoState {
    let records = records().unwrap();
    let mut state = DemoState::new(
        ["CAL", "FLA", "NE", "NW", "NY", "TEX"],
        HOUR,
        24,
        "kcat -b 127.0.0.1:9 -t f",
    );
    for record in records.iter().take(6 * 24 * 7) {
        state.record(record);
        let steps = |shift: f64| -> Vec<f64> {
            (1..=24).map(|step| record.value + shift * f64::from(step)).collect()
        };
        let quantiles = [-150.0, 0.0, 150.0].map(steps);
        let mean = vec![record.value; 24];
        state.forecast(&ForecastMessage {
            id: ForecastId([0xf0; 16]),
            pipeline: "demo".into(),
            series: SeriesKey::new([("region", record.series.as_str().into())]),
            origin: record.time,
            revision: 0,
            step: Period::Fixed(HOUR),
            times: Vec::new(),
            model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
            status: ForecastStatus::Ok,
            reason: None,
            context: ContextSummary { steps: 1, observed: 1 },
            variates: vec![VariateForecast::new("mw", [0.1, 0.5, 0.9], &mean, quantiles).unwrap()],
            is_backfill: false,
        });
    }
    state.elapsed = Duration::from_secs(14);
    state
}

fn picture(state: &DemoState, width: u16, height: u16) -> (String, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    (terminal.backend().to_string(), terminal.backend().buffer().clone())
}

#[test]
fn every_series_shows_history_median_band_and_scores() {
    let (text, buffer) = picture(&a_week_in(), 120, 36);
    for name in ["California", "Florida", "New England", "Northwest", "New York", "Texas"] {
        assert!(text.contains(name), "{name}\n{text}");
    }
    assert_eq!(text.matches(" MW  MASE ").count(), 6, "{text}");
    assert!(text.contains("1008 (72/s)"), "{text}");
    assert!(text.contains("kcat -b 127.0.0.1:9"), "{text}");
    assert!(text.contains("Aug 08 23:00"), "the horizon ends a day after the data\n{text}");
    for colour in [PAST, MEDIAN, BAND] {
        let dots = buffer.content.iter().filter(|cell| {
            cell.fg == colour
                && cell.symbol().chars().all(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
        });
        assert!(dots.count() > 6 * 10, "{colour:?} is hardly there\n{text}");
    }
}

#[test]
fn any_size_of_terminal_is_fine() {
    let (full, empty) = (a_week_in(), DemoState::new(["CAL"], HOUR, 24, ""));
    for (width, height) in [(1, 1), (20, 3), (40, 12), (80, 24), (300, 100)] {
        picture(&full, width, height);
        picture(&empty, width, height);
    }
    let (small, _) = picture(&full, 60, 10);
    assert!(small.contains("TEX") && small.contains("MASE"), "figures instead of charts\n{small}");
    assert!(picture(&empty, 80, 24).0.contains("waiting for records"));
}

#[test]
fn the_summary_says_the_same_to_people_and_programs() {
    let state = a_week_in();
    let summary = summary_json(&state);
    assert_eq!(summary["records"], 1008);
    assert_eq!(summary["forecasts"], 1008);
    assert_eq!(summary["seconds"], 14.0);
    let series = summary["series"].as_array().unwrap();
    assert_eq!(series.len(), 6);
    let (table, plain) = (summary_table(&state), plain_block(&state));
    for entry in series {
        assert_eq!(entry["forecasts"], 168);
        let mase = format!("{:.2}", entry["mase"].as_f64().unwrap());
        assert!(table.contains(&mase) && plain.contains(&mase), "{mase}\n{table}\n{plain}");
        assert!((0.0..=1.0).contains(&entry["coverage80"].as_f64().unwrap()));
    }
    let nothing = summary_json(&DemoState::new(["CAL"], HOUR, 24, ""));
    assert_eq!(nothing["series"][0]["mase"], serde_json::Value::Null);
}
