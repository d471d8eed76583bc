//! When the snapshots of a partition are taken and written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidecast_sql::{Snapshot, WindowError, Windower};
use tidecast_stream::{Offset, Partition};
use tokio::task::JoinHandle;

use super::SnapshotStore;
use crate::observe;

/// How far each partition of a pipeline is committed, as its publisher has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed(Arc<Mutex<BTreeMap<Partition, Offset>>>);

impl Committed {
    pub(crate) fn advance(&self, partition: &Partition, offset: Offset) {
        if let Ok(mut all) = self.0.lock() {
            all.insert(partition.clone(), offset);
        }
    }

    pub(crate) fn of(&self, partition: &Partition) -> Option<Offset> {
        self.0.lock().ok()?.get(partition).copied()
    }
}

/// Where a pipeline's snapshots go, and when.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    pub(crate) store: SnapshotStore,
    pub(crate) interval: Duration,
    pub(crate) committed: Committed,
}

/// The snapshots of one partition while it is ours.
///
/// A state is taken behind records, not behind a close that the wall clock brought
/// about, and written when this process has committed as far: another one may have
/// the partition by then, and what this one closed alone never was.
#[derive(Debug)]
pub(crate) struct Snapshotting {
    to: Snapshots,
    pipeline: String,
    partition: Partition,
    /// When the last state was taken.
    last: Instant,
    /// Whether records have come since, and behind them no close.
    is_behind_records: bool,
    /// Taken, and not committed yet.
    taken: Option<Snapshot>,
    writing: Option<JoinHandle<()>>,
}

/// How often to look whether what was taken is committed.
const LOOK: Duration = Duration::from_millis(100);

impl Snapshotting {
    pub(crate) fn new(to: Snapshots, pipeline: String, partition: Partition) -> Self {
        Self {
            to,
            pipeline,
            partition,
            last: Instant::now(),
            is_behind_records: false,
            taken: None,
            writing: None,
        }
    }

    /// Sees that records have come, and takes a snapshot if it is time for one.
    ///
    /// # Errors
    /// If the windower cannot say what its state is, which is a bug.
    pub(crate) fn after_records(&mut self, windower: &mut Windower) -> Result<(), WindowError> {
        self.is_behind_records = true;
        self.take_if_due(windower)
    }

    /// Sees that the wall clock has closed windows.
    pub(crate) fn after_close(&mut self) {
        self.is_behind_records = false;
    }

    /// Takes a snapshot if it is time for one.
    ///
    /// # Errors
    /// If the windower cannot say what its state is, which is a bug.
    pub(crate) fn take_if_due(&mut self, windower: &mut Windower) -> Result<(), WindowError> {
        let start = Instant::now();
        let is_due = start.duration_since(self.last) >= self.to.interval;
        if !self.is_behind_records || self.taken.is_some() || !is_due {
            return Ok(());
        }
        self.is_behind_records = false;
        self.taken = windower.snapshot()?;
        self.last = Instant::now();
        let took = self.last.duration_since(start);
        tracing::debug!(
            pipeline = %self.pipeline, partition = %self.partition, ?took,
            series = windower.series(), open_windows = windower.open_windows(),
            "state taken"
        );
        Ok(())
    }

    /// Returns when to call [`take_if_due`](Self::take_if_due) and
    /// [`look`](Self::look), if something waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.taken {
            Some(_) => Some(Instant::now() + LOOK),
            None => self.is_behind_records.then(|| self.last + self.to.interval),
        }
    }

    /// Writes what was taken, once it is committed, without waiting for it.
    pub(crate) fn look(&mut self) {
        let is_writing = self.writing.as_ref().is_some_and(|task| !task.is_finished());
        let Some(committed) = self.to.committed.of(&self.partition).filter(|_| !is_writing) else {
            return;
        };
        let Some(snapshot) = self.take_if_committed(committed) else { return };
        let (store, pipeline) = (self.to.store.clone(), self.pipeline.clone());
        let partition = self.partition.clone();
        self.writing = Some(tokio::spawn(async move {
            let offset = snapshot.offset();
            let outcome = store.keep(&pipeline, &partition, snapshot, committed).await;
            observe::snapshot(&pipeline, &partition, outcome.as_ref().ok().copied());
            if let Err(error) = outcome {
                tracing::warn!(
                    pipeline, %partition, offset = offset.0, %error,
                    "no snapshot; a restart reads more of the topic"
                );
            }
        }));
    }

    /// Returns what was taken and may be written now.
    pub(crate) fn take_if_committed(&mut self, committed: Offset) -> Option<Snapshot> {
        self.taken.take_if(|snapshot| snapshot.offset() <= committed)
    }
}
