//! Ingest: polls a pipeline's source and deals its events out.
//!
//! It hands batches to the windower of their partition, starts and drains
//! windowers as partitions come and go, and owns the one thing the wall clock
//! decides: that a caught-up partition has been idle for too long.
//!
//! It never waits for anything but the source. A windower whose mailbox is full has its
//! batches kept here, and the source is asked for no more of that partition; the others,
//! rebalances, stops and idle timeouts go on meanwhile. So a model that is slower than
//! the stream costs waiting, and never the group's patience.

mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use tidecast_actors::{
    ActorExit, Bounds, Call, Clock, Context, DrainSignal, Failure, Host, Mailbox, Scope, join_all,
    spawn_task,
};
use tidecast_sql::{PartLimit, PipelinePlan};
use tidecast_stream::{
    Offset, Partition, PartitionCommit, Source, SourceBatch, SourceError, SourceEvent,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::partition::{Assigned, Left, Sent};
use crate::fault::{Fault, is_injected};
use crate::findings::{Findings, SeriesHomes};
use crate::forecaster::ModelHandle;
use crate::message::MessageTemplate;
use crate::observe;
use crate::partition::PartitionWork;
use crate::publisher::PublisherMessage;
use crate::snapshots::Snapshots;
use crate::windower::WindowerMessage;

/// How long one poll of the source waits: the grain of the idle timeout.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// The same while something waits for the next poll.
const SHORT_POLL_WAIT: Duration = Duration::from_millis(5);
/// How often the source is asked what it thinks of its records.
const WARNINGS_INTERVAL: Duration = Duration::from_secs(1);

/// Everything ingest needs to know.
pub(crate) struct Ingest {
    pub(crate) plan: Arc<PipelinePlan>,
    pub(crate) source: Host<Box<dyn Source>>,
    pub(crate) model: ModelHandle,
    pub(crate) template: MessageTemplate,
    pub(crate) publisher: Mailbox<PublisherMessage>,
    pub(crate) snapshots: Option<Snapshots>,
    pub(crate) homes: SeriesHomes,
    pub(crate) findings: Findings,
    /// Whether state that another query built is left behind.
    pub(crate) reset_state: bool,
    pub(crate) mailbox: Bounds,
    /// How much of a close is under way together.
    pub(crate) part: PartLimit,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    /// Set when the pipeline is to stop: what is under way is finished.
    pub(crate) drain: DrainSignal,
    /// What partitions' actors run under.
    pub(crate) scope: Scope,
    /// Where windowers run; `None` is where ingest does.
    pub(crate) workers: Option<Handle>,
}

/// What a poll of the source came to.
struct Polled {
    event: SourceEvent,
    /// What the source thinks of its records, if it was asked.
    warnings: Option<Vec<String>>,
}

type Poll = Call<Result<Polled, SourceError>>;

/// Waits for what a poll comes to; for ever if there is none.
async fn answer(poll: &mut Option<Poll>) -> Result<Result<Polled, SourceError>, ActorExit> {
    match poll {
        Some(poll) => poll.await,
        None => std::future::pending().await,
    }
}

/// What the source is told before it is polled.
enum Command {
    Start(Partition, Option<Offset>),
    Release(Vec<Partition>),
    Hold(Partition, bool),
}

/// How a partition's state was built up.
type Begun = (Partition, u64, Result<(PartitionWork, Option<Offset>), ActorExit>);

type Waiting<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Ingest while it runs.
struct Running {
    ingest: Ingest,
    context: Context,
    partitions: BTreeMap<Partition, Assigned>,
    /// Partitions whose state is being built up; the number tells one time from
    /// another.
    beginning: BTreeMap<Partition, u64>,
    begun: Waiting<Begun>,
    next_beginning: u64,
    /// Batches for which there is no room.
    sending: Waiting<Sent>,
    /// Partitions that go, and those of them that are not gone yet.
    leaving: Waiting<Result<Left, ActorExit>>,
    going: BTreeSet<Partition>,
    /// Partitions that the group wants back, by the time it said so.
    to_release: Vec<Vec<Partition>>,
    commands: Vec<Command>,
    asked_for_warnings: Instant,
    /// Whether the source has ended.
    is_finished: bool,
    /// Whether nothing is taken in any more.
    is_ending: bool,
}

impl Ingest {
    /// Polls until the source ends, the pipeline is drained or something fails.
    pub(crate) async fn run(self, context: Context) -> ActorExit {
        let asked_for_warnings = context.clock().now();
        let mut running = Running {
            ingest: self,
            context,
            partitions: BTreeMap::new(),
            beginning: BTreeMap::new(),
            begun: FuturesUnordered::new(),
            next_beginning: 0,
            sending: FuturesUnordered::new(),
            leaving: FuturesUnordered::new(),
            going: BTreeSet::new(),
            to_release: Vec::new(),
            commands: Vec::new(),
            asked_for_warnings,
            is_finished: false,
            is_ending: false,
        };
        match running.poll_until_end().await {
            Ok(()) => ActorExit::Drained,
            // A windower that is gone tells more than the fact that it is.
            Err(ActorExit::DownstreamGone) => running.endings().await,
            Err(exit) => exit,
        }
    }
}

impl Running {
    async fn poll_until_end(&mut self) -> Result<(), ActorExit> {
        let drain = self.ingest.drain.clone();
        let clock = self.context.clock().clone();
        let (mut poll, mut next_poll) = (None, clock.now());
        loop {
            self.context.progress().made();
            if self.is_ending && self.leaving.is_empty() {
                return Ok(());
            }
            if self.is_finished && !self.is_ending && self.has_handed_on() {
                // However long the model takes: only a stop has a deadline.
                self.end(None);
                continue;
            }
            // A quiet partition is sent nothing, so nobody would notice otherwise.
            if self.partitions.values().any(Assigned::is_gone) {
                return Err(ActorExit::DownstreamGone);
            }
            if poll.is_none()
                && !self.is_finished
                && (!self.commands.is_empty() || next_poll <= clock.now())
            {
                let (again, call) = self.poll();
                poll = Some(call);
                next_poll = again;
            }
            let is_resting = poll.is_none() && !self.is_finished;
            tokio::select! {
                biased;
                () = drain.started(), if !self.is_ending => self.end(Some(self.stop_deadline())),
                Some(left) = self.leaving.next() => self.on_left(left?),
                Some(begun) = self.begun.next() => self.on_begun(begun)?,
                Some(sent) = self.sending.next() => self.on_sent(sent)?,
                polled = answer(&mut poll) => {
                    poll = None;
                    let Polled { event, warnings } = polled?.map_err(source_failed)?;
                    if !matches!(event, SourceEvent::Idle) {
                        next_poll = clock.now();
                    }
                    if let Some(warnings) = warnings {
                        self.ingest.findings.of_source(&warnings);
                    }
                    self.on_event(event).await?;
                    self.close_idle()?;
                }
                () = clock.sleep_until(next_poll), if is_resting => {}
            }
        }
    }

    /// Tells the source what there is to tell, and polls it; returns when to do so again
    /// if nothing comes.
    fn poll(&mut self) -> (Instant, Poll) {
        let commands = std::mem::take(&mut self.commands);
        let now = self.context.clock().now();
        let asks = now.duration_since(self.asked_for_warnings) >= WARNINGS_INTERVAL;
        if asks {
            self.asked_for_warnings = now;
        }
        let is_waited_for = !self.beginning.is_empty()
            || !self.leaving.is_empty()
            || self.partitions.values().any(|assigned| assigned.is_held);
        let wait = if is_waited_for { SHORT_POLL_WAIT } else { POLL_WAIT };
        let call = self.ingest.source.call(move |source| {
            for command in commands {
                match command {
                    Command::Start(partition, from) => source.start(&partition, from)?,
                    Command::Release(partitions) => source.release(&partitions)?,
                    Command::Hold(partition, is_held) => source.hold(&partition, is_held)?,
                }
            }
            let event = source.poll(wait)?;
            Ok(Polled { event, warnings: asks.then(|| source.warnings()) })
        });
        (now + wait, call)
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<(), ActorExit> {
        match event {
            SourceEvent::Batch(batch) => self.on_batch(batch).await?,
            SourceEvent::Assigned(assigned) => {
                for (partition, commit) in assigned {
                    self.begin(partition, commit);
                }
            }
            SourceEvent::Revoked(revoked) => {
                let deadline = self.context.clock().now() + self.ingest.drain_timeout;
                self.leave(&revoked, Some(deadline));
                if is_injected(Fault::DrainsNothing) {
                    self.going.clear();
                }
                self.to_release.push(revoked);
                self.release();
            }
            SourceEvent::Lost(lost) => return Err(partitions_lost(&lost)),
            SourceEvent::CaughtUp(partition) => {
                if let Some(assigned) = self.partitions.get_mut(&partition) {
                    assigned.is_caught_up = true;
                    assigned.is_live = true;
                }
            }
            SourceEvent::Idle => {}
            SourceEvent::Finished => {
                self.is_finished = true;
                for assigned in self.partitions.values_mut() {
                    self.sending.extend(assigned.send(WindowerMessage::Finish)?);
                }
            }
        }
        Ok(())
    }

    async fn on_batch(&mut self, batch: SourceBatch) -> Result<(), ActorExit> {
        let Some(assigned) = self.partitions.get_mut(&batch.partition) else {
            if self.beginning.contains_key(&batch.partition) {
                // Passed over it would be lost.
                let what =
                    format_args!("the source brought records of {} unasked", batch.partition);
                return Err(Failure::fatal(what).into());
            }
            // Of one that goes: its next owner reads it.
            return Ok(());
        };
        observe::received(&self.ingest.plan.name, &batch);
        let partition = batch.partition.clone();
        let message = assigned.on_batch(batch, self.context.clock().now());
        if is_injected(Fault::StopsPolling) {
            return assigned.send_and_wait(message).await;
        }
        self.sending.extend(assigned.send(message)?);
        if let Some(is_held) = assigned.change_hold() {
            self.commands.push(Command::Hold(partition, is_held));
        }
        Ok(())
    }

    /// Sees that there was room for a batch, and sends the next.
    fn on_sent(&mut self, (partition, serial, sent): Sent) -> Result<(), ActorExit> {
        let assigned = self.partitions.get_mut(&partition);
        let Some(assigned) = assigned.filter(|assigned| assigned.serial == serial) else {
            return Ok(());
        };
        sent?;
        self.sending.extend(assigned.send_next());
        if let Some(is_held) = assigned.change_hold() {
            self.commands.push(Command::Hold(partition, is_held));
        }
        Ok(())
    }

    /// Builds a partition's state up, beside everything else: a store of snapshots may
    /// take its time.
    fn begin(&mut self, partition: Partition, commit: Option<PartitionCommit>) {
        if self.is_ending {
            return;
        }
        self.next_beginning += 1;
        let number = self.next_beginning;
        self.beginning.insert(partition.clone(), number);
        let (begun, result) = oneshot::channel();
        let plan = Arc::clone(&self.ingest.plan);
        let (snapshots, reset) = (self.ingest.snapshots.clone(), self.ingest.reset_state);
        let name = format!("start-{}-{partition}", plan.name);
        let (scope, of) = (self.partition_scope(), partition.clone());
        drop(spawn_task(name, &scope.clone(), |_| async move {
            let work =
                PartitionWork::begin(&plan, of, commit.as_ref(), snapshots.as_ref(), reset, &scope);
            let work = work.await;
            // Whoever asked may have been killed.
            begun.send(work.map_err(ActorExit::from)).ok();
            ActorExit::Quit
        }));
        self.begun.push(Box::pin(async move {
            let gone = Failure::retriable("the state of a partition was not built up");
            (partition, number, result.await.unwrap_or(Err(gone.into())))
        }));
    }

    fn partition_scope(&self) -> Scope {
        let scope = self.ingest.scope.child();
        match &self.ingest.workers {
            Some(workers) => scope.on(workers.clone()),
            None => scope,
        }
    }

    fn on_begun(&mut self, (partition, number, begun): Begun) -> Result<(), ActorExit> {
        if self.beginning.get(&partition) != Some(&number) {
            return Ok(()); // given up again meanwhile
        }
        self.beginning.remove(&partition);
        let (work, read_from) = begun?;
        let now = self.context.clock().now();
        let assigned = Assigned::start(&self.ingest, number, work, self.partition_scope(), now);
        self.partitions.insert(partition.clone(), assigned);
        self.commands.push(Command::Start(partition, read_from));
        Ok(())
    }

    /// Whether everything that the source brought is with the windowers.
    fn has_handed_on(&self) -> bool {
        self.beginning.is_empty() && !self.partitions.values().any(Assigned::is_sending)
    }

    /// Takes nothing in any more, and lets all partitions go.
    fn end(&mut self, deadline: Option<Instant>) {
        self.is_ending = true;
        let all: Vec<Partition> =
            self.partitions.keys().chain(self.beginning.keys()).cloned().collect();
        self.leave(&all, deadline);
    }

    /// When a stop gives up what is not out: early enough to end in order.
    fn stop_deadline(&self) -> Instant {
        stop_deadline(self.context.clock(), self.ingest.drain_timeout)
    }

    /// Finishes what is under way of these partitions and commits it; what is not out by
    /// the deadline is repeated by their next owner. Without one the next stop sets it.
    fn leave(&mut self, leaving: &[Partition], deadline: Option<Instant>) {
        self.ingest.homes.leave(leaving);
        let mut assigned = Vec::new();
        for partition in leaving {
            self.beginning.remove(partition);
            let Some(one) = self.partitions.remove(partition) else { continue };
            self.commands.push(Command::Hold(partition.clone(), true));
            self.going.insert(partition.clone());
            assigned.push((partition.clone(), one));
        }
        let (clock, publisher) = (self.context.clock().clone(), self.ingest.publisher.clone());
        let (drain, timeout) = (self.ingest.drain.clone(), self.ingest.drain_timeout);
        self.leaving.push(Box::pin(async move {
            let overdue = async |patience: Duration| {
                let deadline = match deadline {
                    Some(deadline) => deadline,
                    None => {
                        drain.started().await;
                        stop_deadline(&clock, timeout)
                    }
                };
                clock.sleep_until(deadline + patience).await;
            };
            // All at once: each has its own windows to finish, and one deadline is for all.
            let drained = assigned.into_iter().map(async |(partition, one)| {
                one.drain(overdue(Duration::ZERO)).await?;
                Ok::<_, ActorExit>(partition)
            });
            let partitions = try_join_all(drained).await?;
            let (done, flushed) = oneshot::channel();
            let flush = async {
                publisher.send(PublisherMessage::Flush(done)).await?;
                flushed.await.map_err(|_| ActorExit::DownstreamGone)
            };
            tokio::select! {
                biased;
                flushed = flush => flushed?,
                () = overdue(flush_patience(timeout)) => return Err(flush_timed_out()),
            }
            Ok(Left { partitions })
        }));
    }

    fn on_left(&mut self, Left { partitions }: Left) {
        for partition in partitions {
            self.going.remove(&partition);
        }
        self.release();
    }

    /// Gives up what the group wants back, as soon as nothing of it is under way: what
    /// is committed later the next owner does not see.
    fn release(&mut self) {
        let going = &self.going;
        let is_gone = |group: &mut Vec<Partition>| !group.iter().any(|one| going.contains(one));
        let gone = self.to_release.extract_if(.., is_gone);
        self.commands.extend(gone.map(Command::Release));
    }

    /// Closes the open windows of partitions that have been quiet for too long,
    /// counted from their last record.
    fn close_idle(&mut self) -> Result<(), ActorExit> {
        let Some(timeout) = self.ingest.idle_timeout else { return Ok(()) };
        let now = self.context.clock().now();
        for assigned in self.partitions.values_mut() {
            if assigned.is_idle(now, timeout) {
                assigned.is_closed = true;
                self.sending.extend(assigned.send(WindowerMessage::CloseIdle)?);
            }
        }
        Ok(())
    }

    /// Ends all windowers and returns the ending that tells most.
    async fn endings(self) -> ActorExit {
        let Self { ingest, partitions, .. } = self;
        let actors = partitions.into_values().flat_map(Assigned::into_actors);
        match join_all(actors, &ingest.scope).await {
            ActorExit::Drained => ActorExit::DownstreamGone,
            exit => exit,
        }
    }
}

/// When a stop gives up what is not out: early enough to end in order.
fn stop_deadline(clock: &Clock, timeout: Duration) -> Instant {
    clock.now() + timeout.saturating_sub(flush_patience(timeout))
}

/// How long the publisher has to publish what is left of partitions that go.
fn flush_patience(timeout: Duration) -> Duration {
    (timeout / 4).max(Duration::from_millis(10))
}

fn source_failed(error: SourceError) -> ActorExit {
    Failure { reason: error.message, retriable: error.retriable }.into()
}

/// Partitions that are somebody else's already end the generation: what they
/// have under way must not be published any more, nor their offsets committed,
/// and it is bound up with that of the others in one transaction.
fn partitions_lost(lost: &[Partition]) -> ActorExit {
    let names: Vec<String> = lost.iter().map(Partition::to_string).collect();
    Failure::retriable(format_args!(
        "lost `{}`: the group went on without this process, which did not answer within the session timeout; what was not committed is dropped",
        names.join("`, `")
    ))
    .into()
}

fn flush_timed_out() -> ActorExit {
    Failure::retriable(
        "the publisher did not publish in time what was left of partitions that go (`pipeline.drain_timeout`); what is not committed will be repeated",
    )
    .into()
}
