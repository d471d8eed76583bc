//! The publisher: one per pipeline, owns the sink.
//!
//! What the assemblers of its partitions send goes out as one transaction, together
//! with the offsets it completes, a commit interval after the first of it came.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tidecast_actors::{Actor, ActorExit, Context, Failure, Host, Mailbox, Message};
use tidecast_sql::Snapshot;
use tidecast_stream::{
    BadRecord, ForecastMessage, LateRecord, Offset, Partition, PartitionCommit, Sink, SinkError,
    Transaction,
};
use tokio::sync::oneshot;

use crate::fault::{Fault, is_injected};
use crate::observe;
use crate::snapshots::CommittedSnapshot;

/// Messages of one transaction, at most, unless one part has more; beyond, it is
/// published before the commit interval is over.
const MAX_TRANSACTION_MESSAGES: usize = 10_000;
/// Bytes of them.
const MAX_TRANSACTION_BYTES: usize = 64 << 20;

/// What an assembler sends on: complete up to its commit.
pub(crate) struct Assembled {
    /// How far the partition is once this is out.
    pub(crate) commit: PartitionCommit,
    pub(crate) forecasts: Vec<ForecastMessage>,
    /// Rows that came too late.
    pub(crate) late: Vec<LateRecord>,
    /// Records that could not be used.
    pub(crate) bad: Vec<BadRecord>,
    /// The partition's state once this is out.
    pub(crate) snapshot: Option<Snapshot>,
}

impl Assembled {
    fn messages(&self) -> usize {
        self.forecasts.len() + self.late.len() + self.bad.len()
    }

    fn bytes(&self) -> usize {
        let forecasts = self.forecasts.iter().map(ForecastMessage::memory_bytes);
        let letters = self.late.iter().map(LateRecord::bytes);
        forecasts.chain(letters).chain(self.bad.iter().map(BadRecord::bytes)).sum()
    }
}

impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembled")
            .field("partition", &self.commit.partition.to_string())
            .field("offset", &self.commit.offset)
            .field("forecasts", &self.forecasts.len())
            .field("late", &self.late.len())
            .field("bad", &self.bad.len())
            .finish()
    }
}

/// What a publisher is told.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one message carries hundreds of forecasts; a box around its head saves nothing"
)]
pub(crate) enum PublisherMessage {
    /// Publish this.
    Assembled(Assembled),
    /// Publish everything sent before this now, then answer.
    Flush(oneshot::Sender<()>),
}

impl Message for PublisherMessage {
    fn bytes(&self) -> usize {
        match self {
            Self::Assembled(assembled) => assembled.bytes(),
            Self::Flush(_) => 0,
        }
    }
}

/// The pipeline's end of the line.
pub(crate) struct Publisher {
    pipeline: String,
    sink: Host<Box<dyn Sink>>,
    commit_interval: Duration,
    /// Where snapshots go once what is in them is committed.
    snapshots: Option<Mailbox<CommittedSnapshot>>,
    /// When what is ready has to go out; `None` while nothing is.
    due: Option<Instant>,
    ready: Ready,
}

/// What is complete and waits for the next commit.
#[derive(Default)]
struct Ready {
    transaction: Transaction,
    messages: usize,
    bytes: usize,
    /// Newest commit per partition: a later one contains the earlier.
    commits: BTreeMap<Partition, PartitionCommit>,
    /// Newest state per partition.
    snapshots: BTreeMap<Partition, Snapshot>,
}

impl Publisher {
    pub(crate) fn new(
        pipeline: String,
        sink: Host<Box<dyn Sink>>,
        commit_interval: Duration,
        snapshots: Option<Mailbox<CommittedSnapshot>>,
    ) -> Self {
        let ready = Ready::default();
        Self { pipeline, sink, commit_interval, snapshots, due: None, ready }
    }

    /// Takes in what is complete; publishes what there is before, if together they
    /// would be too much.
    async fn accept(&mut self, assembled: Assembled, context: &Context) -> Result<(), ActorExit> {
        let (messages, bytes) = (assembled.messages(), assembled.bytes());
        if self.ready.messages + messages > MAX_TRANSACTION_MESSAGES
            || self.ready.bytes + bytes > MAX_TRANSACTION_BYTES
        {
            self.publish(context).await?;
        }
        let Assembled { commit, forecasts, late, bad, snapshot } = assembled;
        let ready = &mut self.ready;
        ready.messages += messages;
        ready.bytes += bytes;
        ready.transaction.forecasts.extend(forecasts);
        ready.transaction.late.extend(late);
        ready.transaction.bad.extend(bad);
        if let Some(snapshot) = snapshot {
            ready.snapshots.insert(commit.partition.clone(), snapshot);
        }
        ready.commits.insert(commit.partition.clone(), commit);
        self.due.get_or_insert_with(|| context.clock().now() + self.commit_interval);
        Ok(())
    }

    /// Publishes what is ready, if anything is.
    async fn publish(&mut self, context: &Context) -> Result<(), ActorExit> {
        self.due = None;
        let Ready { mut transaction, commits, snapshots, .. } = std::mem::take(&mut self.ready);
        if is_injected(Fault::KeepsUncommittedState) {
            self.keep(snapshots, &BTreeMap::new());
            transaction.commits = commits.into_values().collect();
            return self.with_sink(|sink| sink.publish(transaction)).await;
        }
        let offsets: BTreeMap<Partition, Offset> =
            commits.iter().map(|(partition, commit)| (partition.clone(), commit.offset)).collect();
        transaction.commits = commits.into_values().collect();
        if transaction.is_empty() {
            return Ok(());
        }
        let messages = transaction.forecasts.len();
        let started = context.clock().now();
        self.with_sink(move |sink| sink.publish(transaction)).await?;
        context.progress().made();
        observe::published(&self.pipeline, messages, context.clock().since(started));
        self.keep(snapshots, &offsets);
        Ok(())
    }

    /// Hands states to the writer whose records are committed. It does not wait for
    /// the writer: the next state is taken soon enough.
    fn keep(
        &mut self,
        snapshots: BTreeMap<Partition, Snapshot>,
        committed: &BTreeMap<Partition, Offset>,
    ) {
        let Some(writer) = &self.snapshots else { return };
        for (partition, snapshot) in snapshots {
            let committed = committed.get(&partition).copied().unwrap_or(snapshot.offset());
            if is_injected(Fault::WritesSnapshotsTwice) {
                self.ready.snapshots.insert(partition.clone(), snapshot.clone());
            }
            let name = partition.clone();
            if writer.try_send(CommittedSnapshot { partition, snapshot, committed }).is_err() {
                observe::snapshot(&self.pipeline, &name, None);
                tracing::warn!(
                    pipeline = %self.pipeline, partition = %name,
                    "no snapshot: the store is busy with earlier ones"
                );
            }
        }
    }

    /// Has the sink do something, on its own thread.
    async fn with_sink(
        &mut self,
        call: impl FnOnce(&mut dyn Sink) -> Result<(), SinkError> + Send + 'static,
    ) -> Result<(), ActorExit> {
        let outcome = self.sink.call(move |sink| call(sink.as_mut())).await?;
        outcome
            .map_err(|error| Failure { reason: error.message, retriable: error.retriable }.into())
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
            PublisherMessage::Assembled(assembled) => self.accept(assembled, context).await,
            PublisherMessage::Flush(done) => {
                self.publish(context).await?;
                // Whoever asked may have given up waiting.
                let _gone = done.send(());
                Ok(())
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    async fn on_deadline(&mut self, context: &Context) -> Result<(), ActorExit> {
        self.publish(context).await
    }

    async fn finish(mut self, context: &Context) -> Result<(), ActorExit> {
        self.publish(context).await?;
        self.with_sink(|sink| sink.close()).await
    }
}
