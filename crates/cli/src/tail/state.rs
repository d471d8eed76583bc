//! What was received so far, and what of it is looked at.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent};
use tidecast_stream::{EventTime, ForecastMessage, ForecastStatus};

use super::received::Received;
use super::view::Shown;
use crate::screen::Fan;

/// Values kept per series for what lies behind a forecast.
const PAST: usize = 96;
/// Series that are kept; those beyond are counted.
const MAX_SERIES: usize = 10_000;
/// Other pipelines whose names are kept.
const OTHERS: usize = 4;

/// Everything the screen shows.
#[derive(Debug, Clone, Default)]
pub struct TailState {
    /// Whose forecasts these are, for the head.
    pub place: String,
    /// What came.
    pub counts: Counts,
    /// The series by label.
    pub series: BTreeMap<String, SeriesState>,
    /// The label of the one that is chosen.
    pub chosen: Option<String>,
    /// Whether that one has the screen to itself.
    pub is_enlarged: bool,
    /// Which of the targets is shown.
    target: usize,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Forecasts that were asked for.
    pub forecasts: u64,
    /// Those of them that say why there is none.
    pub without_forecast: u64,
    /// Forecasts of other pipelines.
    pub of_others: u64,
    /// The names of some of those.
    pub others: BTreeSet<String>,
    /// Records that are no forecasts.
    pub no_forecasts: u64,
    /// Where the newest of them is, and why.
    pub why: Option<String>,
    /// Forecasts of series that there was no room for.
    pub not_kept: u64,
    /// The newest origin.
    pub origin: Option<EventTime>,
}

/// One series.
#[derive(Debug, Clone)]
pub struct SeriesState {
    /// The newest origin of its forecasts.
    pub origin: EventTime,
    /// Why it has no forecast from there, if it has none.
    pub reason: Option<String>,
    /// Its targets.
    pub targets: Vec<TargetState>,
}

/// One target of a series.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// The target column.
    pub name: String,
    /// What forecasts before the newest one said of the steps up to it, oldest first: messages
    /// carry no values that were measured.
    pub past: VecDeque<(EventTime, f64)>,
    /// The newest forecast.
    pub fan: Option<Fan>,
    /// Why the target has none, if it has none.
    pub reason: Option<String>,
}

impl Counts {
    /// Takes in what a record was; returns whether this is the first that is no forecast.
    pub fn take(&mut self, received: &Received) -> bool {
        match received {
            Received::Forecast(message, _) => {
                self.forecasts += 1;
                self.without_forecast += u64::from(message.status != ForecastStatus::Ok);
                self.origin = self.origin.max(Some(message.origin));
            }
            Received::OtherSeries => {}
            Received::OtherPipeline(name) => {
                self.of_others += 1;
                if self.others.len() < OTHERS {
                    self.others.insert(name.clone());
                }
            }
            Received::NoForecast(why) => {
                self.no_forecasts += 1;
                self.why = Some(why.clone());
                return self.no_forecasts == 1;
            }
        }
        false
    }
}

impl TailState {
    /// Returns the state before anything has come.
    pub fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), ..Self::default() }
    }

    /// Takes in what a record was.
    pub fn take(&mut self, received: &Received) {
        self.counts.take(received);
        let Received::Forecast(message, _) = received else { return };
        let label = match message.series.0.is_empty() {
            true => message.pipeline.to_string(),
            false => message.series.label(),
        };
        let is_full = self.series.len() >= MAX_SERIES;
        let series = match self.series.entry(label) {
            Entry::Occupied(series) => series.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.counts.not_kept += 1;
                return;
            }
            Entry::Vacant(place) => {
                self.chosen.get_or_insert_with(|| place.key().clone());
                place.insert(SeriesState {
                    origin: message.origin,
                    reason: None,
                    targets: Vec::new(),
                })
            }
        };
        series.take(message);
    }

    /// Returns the position of the chosen series among all of them.
    pub fn position(&self) -> usize {
        let chosen = self.chosen.as_deref().unwrap_or_default();
        self.series.keys().take_while(|label| label.as_str() < chosen).count()
    }

    /// Returns the target of a series that is shown.
    pub fn target_of<'a>(&self, series: &'a SeriesState) -> Option<&'a TargetState> {
        let count = series.targets.len().max(1);
        series.targets.get(self.target % count)
    }

    /// Does what a key asks for, on a screen that shows so much.
    pub fn press(&mut self, key: &KeyEvent, shown: Shown) {
        match key.code {
            KeyCode::Left => self.choose(-1),
            KeyCode::Right | KeyCode::Tab => self.choose(1),
            KeyCode::Up => self.choose(-signed(shown.columns)),
            KeyCode::Down => self.choose(signed(shown.columns)),
            KeyCode::PageUp => self.choose(-signed(shown.series)),
            KeyCode::PageDown => self.choose(signed(shown.series)),
            KeyCode::Home => self.choose(isize::MIN),
            KeyCode::End => self.choose(isize::MAX),
            KeyCode::Enter => self.is_enlarged = !self.is_enlarged && self.chosen.is_some(),
            KeyCode::Esc => self.is_enlarged = false,
            KeyCode::Char('t') => self.target = self.target.wrapping_add(1),
            _ => {}
        }
    }

    fn choose(&mut self, by: isize) {
        let Some(last) = self.series.len().checked_sub(1) else { return };
        let position = self.position().saturating_add_signed(by).min(last);
        self.chosen = self.series.keys().nth(position).cloned();
    }
}

fn signed(count: usize) -> isize {
    isize::try_from(count.max(1)).unwrap_or(isize::MAX)
}

impl SeriesState {
    /// Takes in a forecast; one from before the newest is passed over.
    fn take(&mut self, message: &ForecastMessage) {
        if message.origin < self.origin {
            return;
        }
        self.origin = message.origin;
        if message.status != ForecastStatus::Ok {
            let reason = message.reason.as_deref().unwrap_or("no forecast");
            self.reason = Some(format!("{}: {reason}", message.status.as_str()));
            return;
        }
        self.reason = None;
        for variate in &message.variates {
            let known = self.targets.iter().position(|target| target.name == *variate.name);
            let position = known.unwrap_or_else(|| {
                let name = variate.name.to_string();
                self.targets.push(TargetState {
                    name,
                    past: VecDeque::new(),
                    fan: None,
                    reason: None,
                });
                self.targets.len() - 1
            });
            let Some(target) = self.targets.get_mut(position) else { continue };
            let fan = Fan::of(message, variate);
            target.reason = match fan {
                Some(_) => None,
                None => Some(variate.reason.clone().unwrap_or("a value is out of range".into())),
            };
            target.take(fan, message.origin);
        }
    }
}

impl TargetState {
    /// Puts the steps that lie behind the new forecast to the past.
    fn take(&mut self, fan: Option<Fan>, origin: EventTime) {
        let before = std::mem::replace(&mut self.fan, fan);
        let behind = before.iter().flat_map(Fan::timed).take_while(|(time, _)| *time <= origin);
        for (time, step) in behind {
            if self.past.len() == PAST {
                self.past.pop_front();
            }
            self.past.push_back((time, step.median));
        }
    }
}
