//! The publisher: one per pipeline, owns the sink.
//!
//! Batches arrive in the order their windowers sent them and leave in that
//! order, each when its answers are in. Whatever is ready goes out as one
//! transaction, together with the offsets it completes, a commit interval after
//! the first of it was.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tidecast_actors::{Actor, ActorExit, Context, Failure, spawn_thread};
use tidecast_sql::SeriesContext;
use tidecast_stream::{
    BadRecord, LateRecord, Offset, Partition, PartitionCommit, Sink, SinkError, Transaction,
};
use tokio::sync::oneshot;

use crate::forecaster::Answers;
use crate::message::{MessageTemplate, Outcome};
use crate::observe;
use crate::snapshots::Committed;

/// Messages of one transaction, at most; beyond, it is published before the
/// commit interval is over.
const MAX_TRANSACTION_MESSAGES: usize = 10_000;

/// What a windower sends on: everything one stretch of a partition triggered.
pub(crate) struct ForecastBatch {
    /// How far the partition is once this batch is out.
    pub(crate) commit: PartitionCommit,
    /// The series to be forecast, in order.
    pub(crate) contexts: Vec<SeriesContext>,
    /// Which of them were handed to the forecaster: `answers` has one entry for
    /// each `true`.
    pub(crate) asked: Vec<bool>,
    /// The forecaster's answers; `None` if it was not asked at all.
    pub(crate) answers: Option<oneshot::Receiver<Answers>>,
    /// Rows that came too late.
    pub(crate) late: Vec<LateRecord>,
    /// Records that could not be used.
    pub(crate) bad: Vec<BadRecord>,
    /// Whether the partition was still catching up.
    pub(crate) is_backfill: bool,
}

impl fmt::Debug for ForecastBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForecastBatch")
            .field("partition", &self.commit.partition.to_string())
            .field("offset", &self.commit.offset)
            .field("contexts", &self.contexts.len())
            .field("late", &self.late.len())
            .field("bad", &self.bad.len())
            .finish()
    }
}

/// What a publisher is told.
#[derive(Debug)]
pub(crate) enum PublisherMessage {
    /// Publish this.
    Batch(ForecastBatch),
    /// Publish everything sent before this now, then answer.
    Flush(oneshot::Sender<()>),
}

/// The pipeline's end of the line.
pub(crate) struct Publisher {
    pipeline: String,
    template: MessageTemplate,
    /// Taken out while a blocking thread publishes.
    sink: Option<Box<dyn Sink>>,
    commit_interval: Duration,
    committed: Committed,
    /// When what is ready has to go out; `None` while nothing is.
    due: Option<Instant>,
    ready: Ready,
}

/// What is complete and waits for the next commit.
#[derive(Default)]
struct Ready {
    transaction: Transaction,
    /// Newest commit per partition: a later one contains the earlier.
    commits: BTreeMap<Partition, PartitionCommit>,
}

impl Publisher {
    pub(crate) fn new(
        pipeline: String,
        template: MessageTemplate,
        sink: Box<dyn Sink>,
        commit_interval: Duration,
        committed: Committed,
    ) -> Self {
        let ready = Ready::default();
        Self { pipeline, template, sink: Some(sink), commit_interval, committed, due: None, ready }
    }

    /// Waits for the batch's answers, publishing what is ready when it falls due.
    async fn answers_of(
        &mut self,
        batch: &mut ForecastBatch,
        context: &Context,
    ) -> Result<Answers, ActorExit> {
        let Some(mut receiver) = batch.answers.take() else {
            return Ok(Vec::new());
        };
        while let Some(due) = self.due {
            match tokio::time::timeout_at(due.into(), &mut receiver).await {
                Ok(answers) => return answers.map_err(|_| forecaster_gone()),
                Err(_elapsed) => self.publish(context).await?,
            }
        }
        receiver.await.map_err(|_| forecaster_gone())
    }

    /// Turns a complete batch into messages.
    fn accept(&mut self, batch: ForecastBatch, answers: Answers) {
        let mut answers = answers.into_iter();
        for (context, asked) in batch.contexts.iter().zip(batch.asked) {
            let outcome = match asked.then(|| answers.next()).flatten() {
                Some(Ok(forecast)) => Outcome::Made(forecast),
                Some(Err(error)) => Outcome::Failed(error),
                None => Outcome::TooShort,
            };
            let message =
                self.template.message(context, &batch.commit.partition, outcome, batch.is_backfill);
            observe::forecast(&self.pipeline, message.status);
            self.ready.transaction.forecasts.push(message);
        }
        self.ready.transaction.late.extend(batch.late);
        self.ready.transaction.bad.extend(batch.bad);
        self.ready.commits.insert(batch.commit.partition.clone(), batch.commit);
        self.due.get_or_insert_with(|| Instant::now() + self.commit_interval);
    }

    /// Publishes what is ready, if anything is.
    async fn publish(&mut self, context: &Context) -> Result<(), ActorExit> {
        self.due = None;
        let ready = std::mem::take(&mut self.ready);
        let mut transaction = ready.transaction;
        transaction.commits = ready.commits.into_values().collect();
        if transaction.is_empty() {
            return Ok(());
        }
        let messages = transaction.forecasts.len();
        let commits: Vec<(Partition, Offset)> = transaction
            .commits
            .iter()
            .map(|commit| (commit.partition.clone(), commit.offset))
            .collect();
        let started = Instant::now();
        self.with_sink(context, move |sink| sink.publish(transaction)).await?;
        observe::published(&self.pipeline, messages, started.elapsed());
        for (partition, offset) in commits {
            self.committed.advance(&partition, offset);
        }
        Ok(())
    }

    /// Runs a blocking call of the sink off the runtime's threads. The thread
    /// counts as an actor of this generation: should the publisher be killed
    /// meanwhile, the next generation waits until the sink is at rest.
    async fn with_sink(
        &mut self,
        context: &Context,
        call: impl FnOnce(&mut dyn Sink) -> Result<(), SinkError> + Send + 'static,
    ) -> Result<(), ActorExit> {
        let Some(mut sink) = self.sink.take() else {
            return Err(Failure::retriable("the sink was lost in an earlier failure").into());
        };
        let (done, outcome) = oneshot::channel();
        let thread =
            spawn_thread(format!("sink-{}", self.pipeline), context.kill_switch(), move |_| {
                let result = call(&mut *sink);
                // Nobody waits any more if the publisher was killed.
                let _killed = done.send((sink, result));
                ActorExit::Quit
            });
        let Ok((sink, result)) = outcome.await else {
            return Err(thread.join().await);
        };
        self.sink = Some(sink);
        result.map_err(|error| Failure { reason: error.message, retriable: error.retriable }.into())
    }
}

impl Actor for Publisher {
    type Message = PublisherMessage;

    async fn handle(
        &mut self,
        message: PublisherMessage,
        context: &Context,
    ) -> Result<(), ActorExit> {
        match message {
            PublisherMessage::Batch(mut batch) => {
                let answers = self.answers_of(&mut batch, context).await?;
                self.accept(batch, answers);
                if self.ready.transaction.forecasts.len() >= MAX_TRANSACTION_MESSAGES {
                    self.publish(context).await?;
                }
            }
            PublisherMessage::Flush(done) => {
                self.publish(context).await?;
                // Whoever asked may have given up waiting.
                let _gone = done.send(());
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    async fn on_deadline(&mut self, context: &Context) -> Result<(), ActorExit> {
        self.publish(context).await
    }

    async fn finish(mut self, context: &Context) -> Result<(), ActorExit> {
        self.publish(context).await?;
        self.with_sink(context, |sink| sink.close()).await
    }
}

fn forecaster_gone() -> ActorExit {
    Failure::retriable("the forecaster ended with requests under way").into()
}
