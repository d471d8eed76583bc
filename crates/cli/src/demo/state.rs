//! What has happened in the demo so far.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidecast_stream::{EventTime, ForecastMessage, ForecastStatus};

use super::data::DemoRecord;
use super::score::SeriesScore;
use crate::screen::Fan;

/// Values kept per series for the charts: four days of hours.
const HISTORY: usize = 96;

/// Everything the demo shows.
#[derive(Debug, Clone)]
pub struct DemoState {
    /// Time since the start.
    pub elapsed: Duration,
    /// Records sent to the broker.
    pub records: u64,
    /// Forecasts read from the forecast topic.
    pub forecasts: u64,
    /// Messages among them whose status is not `ok`.
    pub without_forecast: u64,
    /// How to read the forecasts with an ordinary client.
    pub subscribe: String,
    /// The series by name.
    pub series: BTreeMap<String, SeriesState>,
    season: i64,
}

/// One series.
#[derive(Debug, Clone)]
pub struct SeriesState {
    /// The newest values, oldest first.
    pub history: VecDeque<(EventTime, f64)>,
    /// The newest forecast.
    pub latest: Option<Fan>,
    /// How well its forecasts did; none before the first forecast.
    pub score: SeriesScore,
}

impl DemoState {
    /// Returns the state before anything has happened. Steps lie `step_micros`
    /// apart; `season` of them are what MASE compares with.
    pub fn new<'a>(
        series: impl IntoIterator<Item = &'a str>,
        step_micros: i64,
        season: i64,
        subscribe: impl Into<String>,
    ) -> Self {
        let series_state = |name: &str| {
            let score = SeriesScore::new(step_micros, season);
            (name.to_owned(), SeriesState { history: VecDeque::new(), latest: None, score })
        };
        Self {
            elapsed: Duration::ZERO,
            records: 0,
            forecasts: 0,
            without_forecast: 0,
            subscribe: subscribe.into(),
            series: series.into_iter().map(series_state).collect(),
            season,
        }
    }

    /// Takes in a record that was sent. Series it was not told of are counted,
    /// not shown.
    pub fn record(&mut self, record: &DemoRecord) {
        self.records += 1;
        let Some(series) = self.series.get_mut(&record.series) else { return };
        if series.history.len() == HISTORY {
            series.history.pop_front();
        }
        series.history.push_back((record.time, record.value));
        series.score.observe(record.time, record.value);
    }

    /// Takes in a message of the forecast topic.
    pub fn forecast(&mut self, message: &ForecastMessage) {
        if message.status != ForecastStatus::Ok {
            self.without_forecast += 1;
            return;
        }
        let label = message.series.label();
        let name = label.rsplit('/').next().unwrap_or(&label);
        let Some(series) = self.series.get_mut(name) else { return };
        // The score is about this band alone.
        let fan = message.variates.first().and_then(|variate| Fan::of(message, variate));
        let Some(latest) = fan.filter(|fan| fan.share == Some(0.8)) else { return };
        if series.score.forecast(latest.origin, &latest.steps) {
            self.forecasts += 1;
            series.latest = Some(latest);
        }
    }

    /// Returns records sent per second, over the whole run.
    pub fn records_per_second(&self) -> f64 {
        per_second(self.records, self.elapsed)
    }

    /// Returns forecasts per second, over the whole run.
    pub fn forecasts_per_second(&self) -> f64 {
        per_second(self.forecasts, self.elapsed)
    }

    /// Returns the steps of a season.
    pub fn season(&self) -> i64 {
        self.season
    }

    /// Returns the time of the newest record.
    pub fn now(&self) -> Option<EventTime> {
        self.series.values().filter_map(|series| Some(series.history.back()?.0)).max()
    }
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}
