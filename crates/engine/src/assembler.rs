//! The assembler: one per partition, waits for the model's answers and makes messages
//! of them, in the order in which the windower sent them on.
//!
//! Here a partition's forecasts are in, and its order holds: what is to be known of
//! forecasts and what became of them belongs here.

use std::fmt;

use tidecast_actors::{Actor, ActorExit, Context, Failure, Mailbox, Message};
use tidecast_sql::Snapshot;
use tidecast_stream::{BadRecord, LateRecord, PartitionCommit};
use tokio::sync::oneshot;

use crate::due::Answered;
use crate::message::MessageTemplate;
use crate::observe;
use crate::publisher::{Assembled, PublisherMessage};

/// What a windower sends on: a part of what a stretch of a partition triggered.
pub(crate) struct Part {
    /// How far the partition is once this is out.
    pub(crate) commit: PartitionCommit,
    /// What comes of the series that are due.
    pub(crate) answers: Answers,
    /// Bytes that these series hold on to, wherever they are.
    pub(crate) weight: usize,
    /// Rows that came too late.
    pub(crate) late: Vec<LateRecord>,
    /// Records that could not be used.
    pub(crate) bad: Vec<BadRecord>,
    /// Whether the partition was still catching up.
    pub(crate) is_backfill: bool,
    /// The windower's state once this is out.
    pub(crate) snapshot: Option<Snapshot>,
}

/// Series that were due, in order, with what came of them.
pub(crate) enum Answers {
    /// The model was asked.
    Awaited(oneshot::Receiver<Vec<Answered>>),
    /// There was nothing to ask.
    Here(Vec<Answered>),
}

impl Part {
    /// Returns a part that brings nothing but a state.
    pub(crate) fn of_snapshot(commit: PartitionCommit, snapshot: Snapshot) -> Self {
        Self {
            commit,
            answers: Answers::Here(Vec::new()),
            weight: 0,
            late: Vec::new(),
            bad: Vec::new(),
            is_backfill: false,
            snapshot: Some(snapshot),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("partition", &self.commit.partition.to_string())
            .field("offset", &self.commit.offset)
            .field("weight", &self.weight)
            .field("late", &self.late.len())
            .field("bad", &self.bad.len())
            .finish()
    }
}

impl Message for Part {
    fn bytes(&self) -> usize {
        let late: usize = self.late.iter().map(LateRecord::bytes).sum();
        let bad: usize = self.bad.iter().map(BadRecord::bytes).sum();
        self.weight + late + bad
    }
}

/// The shell around [`MessageTemplate`].
pub(crate) struct Assembler {
    pub(crate) pipeline: String,
    pub(crate) template: MessageTemplate,
    pub(crate) publisher: Mailbox<PublisherMessage>,
}

impl Actor for Assembler {
    type Message = Part;

    async fn handle(&mut self, part: Part, context: &Context) -> Result<(), ActorExit> {
        let Part { commit, answers, late, bad, is_backfill, snapshot, .. } = part;
        let answered = match answers {
            Answers::Here(answered) => answered,
            // The time that the model takes is the forecaster's.
            Answers::Awaited(answers) => {
                context.progress().while_waiting(answers).await.map_err(|_| forecaster_gone())?
            }
        };
        let message = |answered: Answered| {
            let message = self.template.message(answered, &commit.partition, is_backfill);
            observe::forecast(&self.pipeline, message.status);
            message
        };
        let forecasts = answered.into_iter().map(message).collect();
        let assembled = Assembled { commit, forecasts, late, bad, snapshot };
        context.send(&self.publisher, PublisherMessage::Assembled(assembled)).await
    }
}

fn forecaster_gone() -> ActorExit {
    Failure::retriable("the forecaster ended with requests under way").into()
}
