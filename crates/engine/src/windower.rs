//! The windower: one per partition, turns rows into series that want a forecast.

use std::sync::Arc;
use std::time::Instant;

use tidecast_actors::{Actor, ActorExit, Context as ActorContext, Failure, Mailbox};
use tidecast_forecast::{Context, ForecastTask, PriorHistory, seed_for};
use tidecast_sql::{PipelinePlan, SeriesContext};
use tidecast_stream::SourceBatch;

use crate::findings::{EmptySums, Findings, SeriesHomes};
use crate::forecaster::ModelHandle;
use crate::observe;
use crate::partition::{PartitionWork, Stretch};
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

/// The shell around [`PartitionWork`].
pub(crate) struct WindowerActor {
    plan: Arc<PipelinePlan>,
    work: PartitionWork,
    model: ModelHandle,
    publisher: Mailbox<PublisherMessage>,
    snapshots: Option<Snapshotting>,
    homes: SeriesHomes,
    empty_sums: EmptySums,
    findings: Findings,
    /// Rows of a file that were late.
    late_rows: u64,
    of_file: FileRows,
}

/// What is counted of a bounded source.
#[derive(Debug, Default)]
struct FileRows {
    /// All rows, whether they could be decoded or not.
    all: u64,
    /// Rows that could not be used.
    bad: u64,
    first_bad: Option<String>,
}

impl WindowerActor {
    pub(crate) fn new(
        plan: Arc<PipelinePlan>,
        work: PartitionWork,
        model: ModelHandle,
        publisher: Mailbox<PublisherMessage>,
        snapshots: Option<Snapshots>,
        homes: SeriesHomes,
        findings: Findings,
    ) -> Self {
        let snapshots =
            snapshots.map(|to| Snapshotting::new(to, plan.name.clone(), work.partition().clone()));
        let empty_sums = EmptySums::new(findings.clone(), plan.forecast.unfilled_sums.clone());
        Self {
            plan,
            work,
            model,
            publisher,
            snapshots,
            homes,
            empty_sums,
            findings,
            late_rows: 0,
            of_file: FileRows::default(),
        }
    }

    async fn on_batch(&mut self, batch: SourceBatch, is_backfill: bool) -> Result<(), ActorExit> {
        let was_replaying = self.work.is_replaying();
        self.of_file.all += (batch.rows.num_rows() + batch.bad.len()) as u64;
        let Some(stretch) = self.work.on_batch(batch)? else {
            return Ok(());
        };
        if was_replaying {
            tracing::info!(
                pipeline = %self.plan.name,
                partition = %self.work.partition(),
                offset = %stretch.commit.offset,
                series = self.work.windower().series(),
                "contexts are rebuilt"
            );
        }
        self.hand_on(stretch, is_backfill).await?;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.after_records(self.work.windower_mut()).map_err(Failure::retriable)?;
            snapshots.look();
        }
        Ok(())
    }

    /// Says at the end of a file how many of its rows are in no forecast.
    fn say_unusable(&self) {
        let FileRows { all, bad, first_bad: Some(first) } = &self.of_file else { return };
        let text = format!(
            "{bad} of {all} rows of `{}` ({:.1} %) could not be used; the first: {first}",
            self.work.partition().topic,
            *bad as f64 * 100.0 / (*all).max(1) as f64
        );
        self.findings.note("unusable_rows", *bad, text);
    }

    async fn on_close(&mut self, finish: bool) -> Result<(), ActorExit> {
        if finish && self.plan.is_bounded() {
            self.say_unusable();
        }
        match self.work.on_close(finish)? {
            Some(stretch) => self.hand_on(stretch, finish).await?,
            None => return Ok(()),
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.after_close();
        }
        Ok(())
    }

    /// Sends what is due to the forecaster, and everything to the publisher.
    async fn hand_on(&mut self, stretch: Stretch, is_backfill: bool) -> Result<(), ActorExit> {
        let Stretch { output, commit } = stretch;
        self.homes.appeared(&commit.partition, &self.work.windower_mut().take_appeared());
        self.empty_sums.count(output.steps, output.gap_steps);
        if self.plan.is_bounded() {
            self.of_file.bad += output.bad.len() as u64;
            if let (None, Some(bad)) = (&self.of_file.first_bad, output.bad.first()) {
                self.of_file.first_bad = Some(bad.error.clone());
            }
        }
        if self.plan.is_bounded() && !output.late.is_empty() {
            self.late_rows += output.late.len() as u64;
            let text = format!(
                "{} rows of the file came too late for what is known ahead of an origin and are \
                 left out; sort the file by time, or allow more delay in WATERMARK FOR",
                self.late_rows
            );
            self.findings.note("late_rows", self.late_rows, text);
        }
        let (partition, windower) = (self.work.partition(), self.work.windower());
        observe::windowed(&self.plan.name, partition, &output, windower);
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
            snapshots.take_if_due(self.work.windower_mut()).map_err(Failure::retriable)?;
            snapshots.look();
        }
        Ok(())
    }
}
