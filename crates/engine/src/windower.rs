//! The windower: one per partition, turns rows into series that want a forecast.

use std::sync::Arc;
use std::time::Instant;

use tidecast_actors::{Actor, ActorExit, Context as ActorContext, Failure, Mailbox, Message};
use tidecast_sql::{PartLimit, PipelinePlan};
use tidecast_stream::{BadRecord, SourceBatch};

use crate::assembler::{Answers, Part};
use crate::due::{Answered, Due, Outcome};
use crate::findings::{EmptySums, FileRows, Findings, SeriesHomes};
use crate::forecaster::ModelHandle;
use crate::observe;
use crate::partition::{PartitionWork, Triggered};
use crate::snapshots::SnapshotTimer;

/// Bytes of contexts that go to the model together, at most, unless one has more.
pub(crate) const PART_BYTES: usize = 8 << 20;

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

impl Message for WindowerMessage {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => {
                let bad: usize = batch.bad.iter().map(BadRecord::bytes).sum();
                batch.rows.get_array_memory_size() + 16 * batch.rows.num_rows() + bad
            }
            Self::CloseIdle | Self::Finish => 0,
        }
    }
}

/// The shell around [`PartitionWork`].
pub(crate) struct WindowerActor {
    plan: Arc<PipelinePlan>,
    work: PartitionWork,
    part: PartLimit,
    model: ModelHandle,
    assembler: Mailbox<Part>,
    snapshots: Option<SnapshotTimer>,
    homes: SeriesHomes,
    empty_sums: EmptySums,
    /// What is counted of a bounded source; `None` for one that goes on.
    of_file: Option<FileRows>,
}

impl WindowerActor {
    #[expect(clippy::too_many_arguments, reason = "each is one thing it is wired to")]
    pub(crate) fn new(
        plan: Arc<PipelinePlan>,
        work: PartitionWork,
        part: PartLimit,
        model: ModelHandle,
        assembler: Mailbox<Part>,
        snapshots: Option<SnapshotTimer>,
        homes: SeriesHomes,
        findings: Findings,
    ) -> Self {
        let empty_sums = EmptySums::new(findings.clone(), plan.forecast.unfilled_sums.clone());
        let topic = &work.partition().topic;
        let of_file = plan.is_bounded().then(|| FileRows::new(findings, topic));
        Self { plan, work, part, model, assembler, snapshots, homes, empty_sums, of_file }
    }

    async fn on_batch(
        &mut self,
        batch: SourceBatch,
        is_backfill: bool,
        context: &ActorContext,
    ) -> Result<(), ActorExit> {
        let was_replaying = self.work.is_replaying();
        if let Some(rows) = &mut self.of_file {
            rows.came(batch.rows.num_rows() + batch.bad.len());
        }
        if !self.work.on_batch(batch, is_backfill)? {
            return Ok(());
        }
        if was_replaying {
            tracing::info!(
                pipeline = %self.plan.name,
                partition = %self.work.partition(),
                series = self.work.windower().series(),
                "contexts are rebuilt"
            );
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.after_records();
        }
        self.hand_on(is_backfill, context).await
    }

    async fn on_close(&mut self, finish: bool, context: &ActorContext) -> Result<(), ActorExit> {
        if let Some(rows) = self.of_file.as_ref().filter(|_| finish) {
            rows.say_unusable();
        }
        if !self.work.on_close(finish)? {
            return Ok(());
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.after_close();
        }
        self.hand_on(finish, context).await
    }

    /// Sends what is due to the forecaster, and on to the assembler, a part after the
    /// other.
    async fn hand_on(
        &mut self,
        is_backfill: bool,
        context: &ActorContext,
    ) -> Result<(), ActorExit> {
        loop {
            let Triggered { output, commit, is_last } = self.work.take_part(self.part)?;
            self.homes.appeared(&commit.partition, &self.work.windower_mut().take_appeared());
            self.empty_sums.count(output.steps, output.gap_steps);
            if let Some(rows) = &mut self.of_file {
                rows.judged(&output);
            }
            let (partition, windower) = (self.work.partition(), self.work.windower());
            observe::windowed(&self.plan.name, partition, &output, windower);
            let version = &self.model.info().version;
            let contexts = output.contexts.into_iter();
            let due: Vec<Due> =
                contexts.map(|context| Due::new(context, &self.plan, version)).collect();
            let weight = due.iter().map(Message::bytes).sum();
            let answers = ask(&self.model, due, context).await?;
            let snapshot = match &mut self.snapshots {
                Some(snapshots) if is_last => {
                    snapshots.take_if_due(self.work.windower_mut()).map_err(Failure::retriable)?
                }
                _ => None,
            };
            let (late, bad) = (output.late, output.bad);
            let part = Part { commit, answers, weight, late, bad, is_backfill, snapshot };
            context.send(&self.assembler, part).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Asks the model for what is due; nothing if no series has enough of a context.
async fn ask(
    model: &ModelHandle,
    due: Vec<Due>,
    context: &ActorContext,
) -> Result<Answers, ActorExit> {
    if due.iter().any(|due| due.task.is_some()) {
        let answers = context.progress().while_waiting(model.submit(due)).await?;
        return Ok(Answers::Awaited(answers));
    }
    let too_short = |due: Due| Answered { head: due.head, outcome: Outcome::TooShort };
    Ok(Answers::Here(due.into_iter().map(too_short).collect()))
}

impl Actor for WindowerActor {
    type Message = WindowerMessage;

    async fn handle(
        &mut self,
        message: WindowerMessage,
        context: &ActorContext,
    ) -> Result<(), ActorExit> {
        match message {
            WindowerMessage::Batch { batch, is_backfill } => {
                self.on_batch(batch, is_backfill, context).await
            }
            WindowerMessage::CloseIdle => self.on_close(false, context).await,
            WindowerMessage::Finish => self.on_close(true, context).await,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.snapshots.as_ref()?.deadline()
    }

    /// Takes the state behind a burst that nothing follows. It goes on with the commit
    /// that is out already.
    async fn on_deadline(&mut self, context: &ActorContext) -> Result<(), ActorExit> {
        let Some(snapshots) = &mut self.snapshots else { return Ok(()) };
        let snapshot =
            snapshots.take_if_due(self.work.windower_mut()).map_err(Failure::retriable)?;
        let Some(snapshot) = snapshot else { return Ok(()) };
        let part = Part::of_snapshot(self.work.commit(), snapshot);
        context.send(&self.assembler, part).await
    }
}
