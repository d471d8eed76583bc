//! When the snapshots of a partition are taken.

use std::time::{Duration, Instant};

use tidecast_actors::Clock;
use tidecast_sql::{Snapshot, WindowError, Windower};

/// When the state of one partition is taken: an interval after the last time, behind
/// records and not behind a close that the wall clock brought about. Another process may
/// have the partition by the time it is written, and what this one closed alone never
/// was.
#[derive(Debug)]
pub(crate) struct SnapshotTimer {
    interval: Duration,
    clock: Clock,
    /// When the last state was taken.
    last: Instant,
    /// Whether records have come since, and behind them no close.
    is_behind_records: bool,
}

impl SnapshotTimer {
    pub(crate) fn new(interval: Duration, clock: &Clock) -> Self {
        Self { interval, clock: clock.clone(), last: clock.now(), is_behind_records: false }
    }

    /// Sees that records have come, and all they triggered was handed on.
    pub(crate) fn after_records(&mut self) {
        self.is_behind_records = true;
    }

    /// Sees that the wall clock has closed windows.
    pub(crate) fn after_close(&mut self) {
        self.is_behind_records = false;
    }

    /// Returns when the next state is to be taken, if there is one to take.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.is_behind_records.then(|| self.last + self.interval)
    }

    /// Takes the state if it is time. Taking costs a counter per series, since contexts
    /// are shared with it and copied when they change.
    ///
    /// # Errors
    /// If the windower cannot say what its state is, which is a bug.
    pub(crate) fn take_if_due(
        &mut self,
        windower: &mut Windower,
    ) -> Result<Option<Snapshot>, WindowError> {
        let start = self.clock.now();
        if self.deadline().is_none_or(|deadline| start < deadline) {
            return Ok(None);
        }
        self.is_behind_records = false;
        let taken = windower.snapshot()?;
        self.last = self.clock.now();
        let took = self.last.duration_since(start);
        let (series, open_windows) = (windower.series(), windower.open_windows());
        tracing::debug!(?took, series, open_windows, "state taken");
        Ok(taken)
    }
}
