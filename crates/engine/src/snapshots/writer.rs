//! Writing snapshots, once what is in them is committed.

use std::time::{Duration, Instant};

use tidecast_actors::{Actor, ActorExit, Context, DrainSignal, Message, Scope};
use tidecast_sql::{ReplayPoint, Snapshot, Windower};
use tidecast_stream::{Offset, Partition};

use super::{SnapshotStore, StateError, StorePlace};
use crate::observe;

/// How long a snapshot may take to be written.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a stop waits for those that are not.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The snapshots of one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    pub(crate) pipeline: String,
    pub(crate) place: StorePlace,
    /// The time between two of a partition.
    pub(crate) interval: Duration,
}

impl Snapshots {
    /// Opens the store, which may work the next time if it does not now; says so.
    async fn store(&self, partition: &Partition) -> Option<SnapshotStore> {
        match self.place.open().await {
            Ok(store) => Some(store),
            Err(error) => {
                observe::snapshot(&self.pipeline, partition, None);
                tracing::warn!(
                    pipeline = %self.pipeline, %partition, %error,
                    "the store of snapshots cannot be opened; it is tried again with the next one"
                );
                None
            }
        }
    }

    /// Deletes what a partition without a committed offset has: its topic or its
    /// group was deleted since, and the offsets in the names are those of other records.
    pub(crate) async fn clear(&self, partition: &Partition) {
        if let Some(store) = self.store(partition).await {
            store.clear(&self.pipeline, partition).await;
        }
    }

    /// Gives a windower the state of the newest snapshot that is of use to it, and
    /// returns the offset to read from; `None` if there is none.
    pub(crate) async fn restore(
        &self,
        partition: &Partition,
        committed: Offset,
        point: &ReplayPoint,
        windower: &mut Windower,
    ) -> Option<Offset> {
        let store = self.store(partition).await?;
        store.restore(&self.pipeline, partition, committed, point, windower).await
    }

    async fn keep(&self, committed: CommittedSnapshot, scope: &Scope) -> Result<usize, StateError> {
        let CommittedSnapshot { partition, snapshot, committed } = committed;
        let offset = snapshot.offset();
        // Elsewhere: others go on meanwhile.
        let encoded = scope.compute(move || snapshot.encode()).await;
        let content = encoded
            .map_err(|panic| StateError::Encode { reason: panic.to_string() })?
            .map_err(|error| StateError::Encode { reason: error.to_string() })?;
        let size = content.len();
        let store = self.place.open().await?;
        store.write(&self.pipeline, &partition, offset, content).await?;
        store.prune(&self.pipeline, &partition, committed).await?;
        Ok(size)
    }
}

/// A state whose records are committed.
#[derive(Debug)]
pub(crate) struct CommittedSnapshot {
    pub(crate) partition: Partition,
    pub(crate) snapshot: Snapshot,
    /// How far the partition is committed.
    pub(crate) committed: Offset,
}

impl Message for CommittedSnapshot {
    /// What it holds on to it shares with the windower until that goes on.
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Writes the snapshots of one pipeline, one after the other. Nothing depends on it: a
/// store that fails or hangs costs the snapshots alone.
pub(crate) struct SnapshotWriter {
    pub(crate) snapshots: Snapshots,
    pub(crate) drain: DrainSignal,
    /// When a stop waits no longer; set when it begins.
    pub(crate) last_call: Option<Instant>,
}

impl Actor for SnapshotWriter {
    type Message = CommittedSnapshot;

    async fn handle(
        &mut self,
        committed: CommittedSnapshot,
        context: &Context,
    ) -> Result<(), ActorExit> {
        let clock = context.clock();
        let partition = committed.partition.clone();
        let offset = committed.snapshot.offset();
        let deadline = clock.now() + PATIENCE;
        let kept = clock.until(deadline, self.snapshots.keep(committed, context.scope()));
        let (drain, last_call) = (&self.drain, &mut self.last_call);
        let stopped = async {
            drain.started().await;
            let last_call = *last_call.get_or_insert_with(|| clock.now() + STOP_PATIENCE);
            clock.sleep_until(last_call).await;
        };
        let outcome = context
            .progress()
            .while_waiting(async {
                tokio::select! {
                    biased;
                    kept = kept => kept,
                    () = stopped => None,
                }
            })
            .await;
        let written = outcome.as_ref().and_then(|kept| kept.as_ref().ok()).copied();
        observe::snapshot(&self.snapshots.pipeline, &partition, written);
        let reason = match outcome {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => "the store does not answer".to_owned(),
        };
        tracing::warn!(
            pipeline = %self.snapshots.pipeline, %partition, offset = offset.0, %reason,
            "no snapshot; a restart reads more of the topic"
        );
        Ok(())
    }
}
