//! The recorded series, sent again: a burst of history, then at a pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tidecast_kafka::tools::Producer;
use tidecast_stream::EventTime;

use super::{Event, HOUR_MICROS};
use crate::demo::DemoRecord;

/// How far records may run ahead of their forecasts. On a slow machine the
/// replay slows down rather than letting the mock broker, which keeps 5 MiB a
/// partition, drop what was not read yet.
const LEAD_MICROS: i64 = 24 * HOUR_MICROS;
/// How often a waiting replay looks up.
const LOOK: Duration = Duration::from_millis(20);

/// How far the forecasts are.
#[derive(Debug)]
pub(super) struct Progress(AtomicI64);

impl Default for Progress {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Progress {
    /// Notes a forecast from `origin`.
    pub(super) fn forecast(&self, origin: EventTime) {
        self.0.fetch_max(origin.as_micros(), Ordering::Relaxed);
    }

    /// Returns whether a record at `time` would run too far ahead.
    fn is_far_behind(&self, time: EventTime) -> bool {
        self.0.load(Ordering::Relaxed) < time.as_micros().saturating_sub(LEAD_MICROS)
    }
}

/// What is sent, where to and how fast.
pub(super) struct Replay {
    pub(super) records: Vec<DemoRecord>,
    pub(super) producer: Producer,
    pub(super) topic: String,
    /// Hours sent at once at the start.
    pub(super) at_once: usize,
    pub(super) hours_per_second: f64,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) progress: Arc<Progress>,
}

impl Replay {
    /// Sends on a thread of its own.
    pub(super) fn spawn(self, events: SyncSender<Event>) -> anyhow::Result<thread::JoinHandle<()>> {
        let send = move || {
            let event = match self.send_all(&events) {
                Ok(()) => Event::SentAll,
                Err(error) => Event::Failed(error),
            };
            // Whoever shows it may have ended already.
            let _unread = events.send(event);
        };
        thread::Builder::new()
            .name("demo-replay".to_owned())
            .spawn(send)
            .context("cannot start a thread")
    }

    fn send_all(&self, events: &SyncSender<Event>) -> anyhow::Result<()> {
        let hour = Duration::from_secs_f64(1.0 / self.hours_per_second);
        let mut due = Instant::now();
        for (index, of_one_hour) in
            self.records.chunk_by(|one, other| one.time == other.time).enumerate()
        {
            if index >= self.at_once {
                due = due.max(Instant::now() - hour) + hour;
                self.wait(due, of_one_hour);
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            for record in of_one_hour {
                let payload = json!({
                    "region": record.series,
                    "demand_mw": record.value,
                    "ts": record.time.to_string(),
                });
                self.producer.send(
                    &self.topic,
                    Some(record.series.as_bytes()),
                    Some(payload.to_string().as_bytes()),
                    None,
                )?;
                if events.send(Event::Sent(record.clone())).is_err() {
                    return Ok(());
                }
            }
        }
        self.producer.flush(Duration::from_secs(5))?;
        Ok(())
    }

    /// Waits until the hour is due and forecasts are not too far behind.
    fn wait(&self, due: Instant, of_one_hour: &[DemoRecord]) {
        let Some(time) = of_one_hour.first().map(|record| record.time) else { return };
        while !self.stop.load(Ordering::Relaxed) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() && !self.progress.is_far_behind(time) {
                return;
            }
            thread::park_timeout(if left.is_zero() { LOOK } else { left.min(LOOK) });
        }
    }
}
