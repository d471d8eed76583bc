//! The work on one partition, without actors: rebuild what is out already, then
//! hand on what is due.

use std::time::Duration;

use tidecast_actors::Failure;
use tidecast_sql::{PipelinePlan, ReplayPoint, Windower, WindowerOutput};
use tidecast_stream::{Checkpoint, Offset, OffsetRange, Partition, PartitionCommit, SourceBatch};

use crate::commit::{self, Resume, WindowMarks};
use crate::snapshots::SnapshotStore;

/// How long to wait for snapshots: reading the topic again is the other way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partition while it is ours.
#[derive(Debug)]
pub(crate) struct PartitionWork {
    partition: Partition,
    windower: Windower,
    /// Until this offset records only rebuild the state: what they trigger is out
    /// already. `None` from there on.
    replaying_until: Option<Offset>,
    /// How far everything is handed on.
    checkpoint: Checkpoint,
    /// What windows follow from, for the next owner to see.
    windows: WindowMarks,
}

/// What a stretch of a partition led to.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) output: WindowerOutput,
    /// How far the partition is once this is out.
    pub(crate) commit: PartitionCommit,
}

impl PartitionWork {
    /// Takes a partition over from what its last owner committed; returns where to
    /// read from, if that does not depend on the source's startup position.
    ///
    /// # Errors
    /// If the state was built by another query, unless it may be `reset`.
    pub(crate) async fn begin(
        plan: &PipelinePlan,
        partition: Partition,
        commit: Option<&PartitionCommit>,
        store: Option<&SnapshotStore>,
        reset: bool,
    ) -> Result<(Self, Option<Offset>), Failure> {
        let mut resume = commit::resume(commit);
        let windows = WindowMarks::of(plan);
        check_windows(&partition, &mut resume, &windows, reset)?;
        let mut windower = Windower::new(plan).map_err(Failure::fatal)?;
        let restored = match (store, resume.committed) {
            (None, _) => None,
            // Snapshots are of another life of the topic or of the group, and go.
            (Some(store), None) => {
                store.clear(&plan.name, &partition).await;
                None
            }
            (Some(store), Some(committed)) => {
                let point = resume.replay.clone().unwrap_or_default();
                let restored =
                    store.restore(&plan.name, &partition, committed, &point, &mut windower);
                tokio::time::timeout(PATIENCE, restored).await.unwrap_or_else(|_| {
                    tracing::warn!(
                        pipeline = %plan.name, %partition, patience = ?PATIENCE,
                        "the store of snapshots does not answer; the topic is read again instead"
                    );
                    None
                })
            }
        };
        let read_from = restored.or(resume.read_from());
        if let (None, Some(replay)) = (restored, &resume.replay) {
            windower.restore(replay).map_err(Failure::fatal)?;
        }
        tracing::info!(
            pipeline = %plan.name,
            %partition,
            committed = ?resume.committed.map(|offset| offset.0),
            read_from = ?read_from.map(|offset| offset.0),
            "partition assigned"
        );
        let replaying_until = resume.committed;
        let checkpoint = Checkpoint::default();
        let work = Self { partition, windower, replaying_until, checkpoint, windows };
        Ok((work, read_from))
    }

    /// Takes records; `None` while they only rebuild.
    ///
    /// # Errors
    /// If the batch does not follow the one before, or is not of the source's schema.
    pub(crate) fn on_batch(&mut self, batch: SourceBatch) -> Result<Option<Stretch>, Failure> {
        self.checkpoint.extend(&self.partition, batch.range).map_err(Failure::retriable)?;
        let batch = match self.replaying_until {
            None => batch,
            Some(until) if batch.range.end() < until => {
                self.windower.process(&batch).map_err(Failure::retriable)?;
                return Ok(None);
            }
            Some(until) => {
                // The batch reaches the committed offset: what stands before it only
                // rebuilds, what stands behind it counts.
                let (before, after) = split(&batch, until);
                self.windower.process(&before).map_err(Failure::retriable)?;
                self.replaying_until = None;
                after
            }
        };
        let mut output = self.windower.process(&batch).map_err(Failure::retriable)?;
        // What the source could not decode leaves in the same transaction.
        output.bad.extend(batch.bad);
        Ok(Some(self.stretch(output, batch.range.end())))
    }

    /// Closes what has begun, or at the end of a bounded source everything; `None`
    /// if nothing has been read.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub(crate) fn on_close(&mut self, finish: bool) -> Result<Option<Stretch>, Failure> {
        let Some(position) = self.checkpoint.position(&self.partition) else {
            return Ok(None);
        };
        if self.replaying_until.take().is_some() && !finish {
            // Caught up below the committed offset: the topic was truncated or
            // recreated. Its records count from here on.
            tracing::warn!(
                partition = %self.partition,
                position = %position,
                "the partition ends before the committed offset; it was recreated or truncated"
            );
        }
        let output = if finish { self.windower.finish() } else { self.windower.close_idle() };
        let output = output.map_err(Failure::retriable)?;
        Ok(Some(self.stretch(output, position)))
    }

    fn stretch(&self, output: WindowerOutput, offset: Offset) -> Stretch {
        let metadata = commit::metadata(self.windower.replay_point(), &self.windows);
        let partition = self.partition.clone();
        Stretch { output, commit: PartitionCommit { partition, offset, metadata } }
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.partition
    }

    pub(crate) fn windower(&self) -> &Windower {
        &self.windower
    }

    pub(crate) fn windower_mut(&mut self) -> &mut Windower {
        &mut self.windower
    }

    /// Whether records still only rebuild.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replaying_until.is_some()
    }

    /// Forgets what is out already: a fault for the simulation to find.
    #[cfg(test)]
    pub(crate) fn emit_again(&mut self) {
        self.replaying_until = None;
    }
}

/// Sees whether the state was built by the query that is to go on with it; if not and
/// it may be reset, it is left behind.
fn check_windows(
    partition: &Partition,
    resume: &mut Resume,
    windows: &WindowMarks,
    reset: bool,
) -> Result<(), Failure> {
    let (changed, Some(committed)) = (resume.windows.changed(windows), resume.committed) else {
        return Ok(());
    };
    if changed.is_empty() {
        return Ok(());
    }
    let changed = changed.join(" and ");
    if reset {
        tracing::warn!(
            %partition, changed, offset = %committed,
            "contexts and open windows are left behind: they were built by another query"
        );
        // Windows that ended before stay done with: they were forecast.
        let floor = resume.replay.take().map(|replay| replay.floor).unwrap_or_default();
        resume.replay = Some(ReplayPoint { floor, ..ReplayPoint::default() });
        return Ok(());
    }
    Err(Failure::fatal(format!(
        "`{partition}`: {changed} changed since offset {committed} was committed, and the contexts \
         and open windows behind it do not fit any more; give the pipeline another name, or start \
         it once with --reset-state: contexts are then empty and windows begin at that offset, \
         without what came before"
    )))
}

/// Cuts a batch in two at `offset`.
fn split(batch: &SourceBatch, offset: Offset) -> (SourceBatch, SourceBatch) {
    let rows = batch.offsets.values().partition_point(|row| *row < offset.0);
    let part = |from: usize, to: usize, range: Option<OffsetRange>, before: bool| SourceBatch {
        partition: batch.partition.clone(),
        range: range.unwrap_or(batch.range),
        rows: batch.rows.slice(from, to - from),
        offsets: batch.offsets.slice(from, to - from),
        timestamps: batch.timestamps.slice(from, to - from),
        bad: batch
            .bad
            .iter()
            .filter(|bad| (bad.position.offset < offset) == before)
            .cloned()
            .collect(),
        payload_bytes: 0,
    };
    let cut = offset.clamp(batch.range.start(), batch.range.end());
    (
        part(0, rows, OffsetRange::new(batch.range.start(), cut), true),
        part(rows, batch.rows.num_rows(), OffsetRange::new(cut, batch.range.end()), false),
    )
}
