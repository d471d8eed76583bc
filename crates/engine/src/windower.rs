//! The windower: one per partition, turns rows into series that want a forecast.

use std::sync::Arc;
use std::time::Instant;

use tidecast_actors::{Actor, ActorExit, Context as ActorContext, Failure, Mailbox};
use tidecast_forecast::{Context, ForecastTask, PriorHistory, seed_for};
use tidecast_sql::{PipelinePlan, SeriesContext, Windower, WindowerOutput};
use tidecast_stream::{Checkpoint, Offset, OffsetRange, Partition, PartitionCommit, SourceBatch};

use crate::commit;
use crate::forecaster::ModelHandle;
use crate::observe;
use crate::publisher::{ForecastBatch, PublisherMessage};
use crate::snapshots::{Snapshots, Snapshotting};

/// What a windower is told.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one message carries thousands of rows; a box around its head saves nothing"
)]
pub(crate) enum WindowerMessage {
    /// Rows of its partition.
    Batch {
        /// The rows.
        batch: SourceBatch,
        /// Whether the partition is still catching up.
        is_backfill: bool,
    },
    /// Nothing has come for the idle timeout: close what has begun.
    CloseIdle,
    /// The bounded source has ended: close what is open and forecast what asks
    /// for it at the end.
    Finish,
}

/// The shell around [`Windower`].
pub(crate) struct WindowerActor {
    plan: Arc<PipelinePlan>,
    partition: Partition,
    windower: Windower,
    /// Until this offset records only rebuild the state: what they trigger is out
    /// already. `None` from there on.
    replaying_until: Option<Offset>,
    /// How far everything is handed on.
    checkpoint: Checkpoint,
    model: ModelHandle,
    publisher: Mailbox<PublisherMessage>,
    snapshots: Option<Snapshotting>,
}

impl WindowerActor {
    /// Returns an actor around a windower, which has the state to start from;
    /// records before `committed` only rebuild.
    pub(crate) fn new(
        plan: Arc<PipelinePlan>,
        partition: Partition,
        windower: Windower,
        committed: Option<Offset>,
        model: ModelHandle,
        publisher: Mailbox<PublisherMessage>,
        snapshots: Option<Snapshots>,
    ) -> Self {
        let snapshots =
            snapshots.map(|to| Snapshotting::new(to, plan.name.clone(), partition.clone()));
        Self {
            plan,
            partition,
            windower,
            replaying_until: committed,
            checkpoint: Checkpoint::default(),
            model,
            publisher,
            snapshots,
        }
    }

    async fn on_batch(&mut self, batch: SourceBatch, is_backfill: bool) -> Result<(), ActorExit> {
        self.checkpoint.extend(&self.partition, batch.range).map_err(internal)?;
        let Some(until) = self.replaying_until else {
            return self.process(batch, is_backfill).await;
        };
        if batch.range.end() < until {
            self.windower.process(&batch).map_err(internal)?;
            return Ok(());
        }
        // The batch reaches the committed offset: what stands before it only
        // rebuilds, what stands behind it counts.
        let (before, after) = split(&batch, until);
        self.windower.process(&before).map_err(internal)?;
        self.replaying_until = None;
        tracing::info!(
            pipeline = %self.plan.name,
            partition = %self.partition,
            offset = %until,
            series = self.windower.series(),
            "contexts are rebuilt"
        );
        self.process(after, is_backfill).await
    }

    async fn process(&mut self, batch: SourceBatch, is_backfill: bool) -> Result<(), ActorExit> {
        let mut output = self.windower.process(&batch).map_err(internal)?;
        let end = batch.range.end();
        // What the source could not decode leaves in the same transaction.
        output.bad.extend(batch.bad);
        self.hand_on(output, end, is_backfill).await?;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.after_records(&self.windower).map_err(internal)?;
            snapshots.look();
        }
        Ok(())
    }

    async fn on_close(&mut self, finish: bool) -> Result<(), ActorExit> {
        let Some(position) = self.checkpoint.position(&self.partition) else {
            return Ok(()); // nothing has been read
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
        self.hand_on(output.map_err(internal)?, position, finish).await
    }

    /// Sends what is due to the forecaster, and everything to the publisher.
    async fn hand_on(
        &mut self,
        output: WindowerOutput,
        position: Offset,
        is_backfill: bool,
    ) -> Result<(), ActorExit> {
        observe::windowed(&self.plan.name, &self.partition, &output, &self.windower);
        let min_context = self.plan.forecast.min_context;
        let asked: Vec<bool> =
            output.contexts.iter().map(|context| context.observed >= min_context).collect();
        let tasks: Vec<ForecastTask> = output
            .contexts
            .iter()
            .zip(&asked)
            .filter(|(_, asked)| **asked)
            .map(|(context, _)| self.task(context))
            .collect();
        let answers = if tasks.is_empty() { None } else { Some(self.model.submit(tasks).await?) };
        let commit = PartitionCommit {
            partition: self.partition.clone(),
            offset: position,
            metadata: commit::metadata(self.windower.replay_point()),
        };
        let batch = ForecastBatch {
            commit,
            contexts: output.contexts,
            asked,
            answers,
            late: output.late,
            bad: output.bad,
            is_backfill,
        };
        self.publisher.send(PublisherMessage::Batch(batch)).await?;
        Ok(())
    }

    fn task(&self, context: &SeriesContext) -> ForecastTask {
        let clause = &self.plan.forecast;
        let prior = context
            .prior
            .iter()
            .map(|prior| PriorHistory { sum: prior.sum, count: prior.count, last: prior.last })
            .collect();
        ForecastTask {
            context: Context {
                variates: context.values.clone(),
                prior: Some(prior),
                past_covariates: context.past_covariates.clone(),
                future_covariates: context.future_covariates.clone(),
            },
            horizon: clause.horizon,
            samples: clause.samples,
            quantiles: clause.quantiles.clone(),
            seed: seed_for(
                &self.plan.name,
                &context.key.to_string(),
                context.origin.as_micros(),
                &self.model.info().version,
            ),
            keep_samples: false,
        }
    }
}

impl Actor for WindowerActor {
    type Message = WindowerMessage;

    async fn handle(
        &mut self,
        message: WindowerMessage,
        _: &ActorContext,
    ) -> Result<(), ActorExit> {
        match message {
            WindowerMessage::Batch { batch, is_backfill } => {
                self.on_batch(batch, is_backfill).await
            }
            WindowerMessage::CloseIdle => self.on_close(false).await,
            WindowerMessage::Finish => self.on_close(true).await,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.snapshots.as_ref()?.deadline()
    }

    async fn on_deadline(&mut self, _: &ActorContext) -> Result<(), ActorExit> {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.look();
        }
        Ok(())
    }
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

/// A failure that is ours: starting again from the last commit would meet it
/// again, but the budget of restarts ends that.
fn internal(error: impl std::fmt::Display) -> ActorExit {
    Failure::retriable(error).into()
}
