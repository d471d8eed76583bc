//! Ingest: the thread that polls a pipeline's source.
//!
//! It hands batches to the windower of their partition, starts and drains
//! windowers as partitions come and go, and owns the one thing the wall clock
//! decides: that a caught-up partition has been idle for too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidecast_actors::{
    ActorExit, ActorHandle, DrainSignal, Failure, KillSwitch, Mailbox, join_all, mailbox, spawn,
};
use tidecast_sql::PipelinePlan;
use tidecast_stream::{Partition, PartitionCommit, Source, SourceBatch, SourceError, SourceEvent};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::findings::{Findings, SeriesHomes};
use crate::forecaster::ModelHandle;
use crate::observe;
use crate::partition::PartitionWork;
use crate::publisher::PublisherMessage;
use crate::snapshots::Snapshots;
use crate::windower::{WindowerActor, WindowerMessage};

/// How long one poll of the source waits: the reaction time to a stop and the
/// grain of the idle timeout.
const POLL: Duration = Duration::from_millis(50);
/// How often the source is asked what it thinks of its records.
const LOOK: Duration = Duration::from_secs(1);

/// Everything ingest needs to know.
pub(crate) struct Ingest {
    pub(crate) plan: Arc<PipelinePlan>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) model: ModelHandle,
    pub(crate) publisher: Mailbox<PublisherMessage>,
    pub(crate) snapshots: Option<Snapshots>,
    /// Whether state that another query built is left behind.
    pub(crate) homes: SeriesHomes,
    pub(crate) findings: Findings,
    pub(crate) reset_state: bool,
    pub(crate) mailbox_capacity: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    /// Set when the pipeline is to stop: what is under way is finished.
    pub(crate) drain: DrainSignal,
    pub(crate) kill_switch: KillSwitch,
    pub(crate) runtime: Handle,
}

/// A partition that is ours.
struct Assigned {
    mailbox: Mailbox<WindowerMessage>,
    actor: ActorHandle,
    /// When its last record came.
    last_record: Instant,
    /// Whether its end has been reached since then.
    caught_up: bool,
    /// Whether its end has been reached since it was assigned.
    live: bool,
    /// Whether it was closed for idleness since its last record.
    closed: bool,
}

impl Ingest {
    /// Polls until the source ends, the pipeline is drained or something fails.
    /// Runs on a thread of its own.
    pub(crate) fn run(mut self) -> ActorExit {
        let mut partitions = BTreeMap::new();
        let outcome = self.poll_until_end(&mut partitions).and_then(|()| {
            let all: Vec<Partition> = partitions.keys().cloned().collect();
            self.drain(&mut partitions, &all)
        });
        match outcome {
            Ok(()) => ActorExit::Drained,
            // A windower that is gone tells more than the fact that it is.
            Err(ActorExit::DownstreamGone) => self.endings_of(partitions),
            Err(exit) => exit,
        }
    }

    fn poll_until_end(
        &mut self,
        partitions: &mut BTreeMap<Partition, Assigned>,
    ) -> Result<(), ActorExit> {
        let mut looked = Instant::now();
        while !self.drain.is_draining() {
            if self.kill_switch.is_killed() {
                return Err(ActorExit::Killed);
            }
            match self.source.poll(POLL).map_err(source_failed)? {
                SourceEvent::Batch(batch) => self.on_batch(partitions, batch)?,
                SourceEvent::Assigned(assigned) => {
                    for (partition, commit) in assigned {
                        self.on_assigned(partitions, partition, commit.as_ref())?;
                    }
                }
                SourceEvent::Revoked(revoked) => {
                    self.drain(partitions, &revoked)?;
                    self.source.release(&revoked).map_err(source_failed)?;
                }
                SourceEvent::Lost(lost) => return Err(partitions_lost(&lost)),
                SourceEvent::CaughtUp(partition) => {
                    if let Some(assigned) = partitions.get_mut(&partition) {
                        assigned.caught_up = true;
                        assigned.live = true;
                    }
                }
                SourceEvent::Idle => {}
                SourceEvent::Finished => {
                    for assigned in partitions.values() {
                        send(&assigned.mailbox, WindowerMessage::Finish)?;
                    }
                    return Ok(());
                }
            }
            // A quiet partition is sent nothing, so nobody would notice otherwise.
            if partitions.values().any(|assigned| assigned.mailbox.is_closed()) {
                return Err(ActorExit::DownstreamGone);
            }
            self.close_idle(partitions)?;
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.findings.of_source(&self.source.warnings());
            }
        }
        Ok(())
    }

    fn on_batch(
        &self,
        partitions: &mut BTreeMap<Partition, Assigned>,
        batch: SourceBatch,
    ) -> Result<(), ActorExit> {
        observe::received(&self.plan.name, &batch);
        let Some(assigned) = partitions.get_mut(&batch.partition) else {
            let reason = format!("a batch of `{}`, which is not assigned", batch.partition);
            return Err(Failure::retriable(reason).into());
        };
        assigned.last_record = Instant::now();
        assigned.caught_up = false;
        assigned.closed = false;
        let is_backfill = !assigned.live;
        send(&assigned.mailbox, WindowerMessage::Batch { batch, is_backfill })
    }

    fn on_assigned(
        &mut self,
        partitions: &mut BTreeMap<Partition, Assigned>,
        partition: Partition,
        commit: Option<&PartitionCommit>,
    ) -> Result<(), ActorExit> {
        let store = self.snapshots.as_ref().map(|snapshots| &snapshots.store);
        let begin =
            PartitionWork::begin(&self.plan, partition.clone(), commit, store, self.reset_state);
        let (work, read_from) = self.runtime.block_on(begin)?;
        let windower = WindowerActor::new(
            Arc::clone(&self.plan),
            work,
            self.model.clone(),
            self.publisher.clone(),
            self.snapshots.clone(),
            self.homes.clone(),
            self.findings.clone(),
        );
        let name = format!("windower-{}-{partition}", self.plan.name);
        let (mailbox, receiver) = mailbox(name, self.mailbox_capacity);
        let actor = {
            let _runtime = self.runtime.enter();
            spawn(windower, receiver, &self.kill_switch)
        };
        self.source.start(&partition, read_from).map_err(source_failed)?;
        let assigned = Assigned {
            mailbox,
            actor,
            last_record: Instant::now(),
            caught_up: false,
            live: false,
            closed: false,
        };
        partitions.insert(partition, assigned);
        Ok(())
    }

    /// Finishes what is under way of these partitions and commits it.
    fn drain(
        &self,
        partitions: &mut BTreeMap<Partition, Assigned>,
        leaving: &[Partition],
    ) -> Result<(), ActorExit> {
        let deadline = Instant::now() + self.drain_timeout;
        self.homes.leave(leaving);
        let leaving: Vec<Assigned> =
            leaving.iter().filter_map(|partition| partitions.remove(partition)).collect();
        for Assigned { mailbox, actor, .. } in leaving {
            drop(mailbox); // the windower sees the rest of its messages, then the end
            let exit = self
                .within(deadline, actor.join())
                .ok_or_else(|| drain_timed_out("windower", self.drain_timeout))?;
            if !matches!(exit, ActorExit::Drained) {
                return Err(exit);
            }
        }
        let (done, flushed) = oneshot::channel();
        self.publisher.blocking_send(PublisherMessage::Flush(done))?;
        match self.within(deadline, flushed) {
            Some(Ok(())) => Ok(()),
            Some(Err(_gone)) => Err(ActorExit::DownstreamGone),
            None => Err(drain_timed_out("publisher", self.drain_timeout)),
        }
    }

    /// Closes the open windows of partitions that have been quiet for too long,
    /// counted from their last record.
    fn close_idle(&self, partitions: &mut BTreeMap<Partition, Assigned>) -> Result<(), ActorExit> {
        let Some(timeout) = self.idle_timeout else { return Ok(()) };
        for assigned in partitions.values_mut() {
            let idle = assigned.caught_up && assigned.last_record.elapsed() >= timeout;
            if idle && !assigned.closed {
                assigned.closed = true;
                send(&assigned.mailbox, WindowerMessage::CloseIdle)?;
            }
        }
        Ok(())
    }

    /// Ends all windowers and returns the ending that tells most.
    fn endings_of(&self, partitions: BTreeMap<Partition, Assigned>) -> ActorExit {
        let actors: Vec<ActorHandle> =
            partitions.into_values().map(|assigned| assigned.actor).collect();
        match self.runtime.block_on(join_all(actors, &self.kill_switch)) {
            ActorExit::Drained => ActorExit::DownstreamGone,
            exit => exit,
        }
    }

    /// Waits for a future until `deadline`.
    fn within<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        self.runtime.block_on(async { tokio::time::timeout_at(deadline.into(), future).await.ok() })
    }
}

fn send(mailbox: &Mailbox<WindowerMessage>, message: WindowerMessage) -> Result<(), ActorExit> {
    Ok(mailbox.blocking_send(message)?)
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

fn drain_timed_out(actor: &str, timeout: Duration) -> ActorExit {
    Failure::retriable(format_args!(
        "the {actor} did not finish within {timeout:?} (`pipeline.drain_timeout`); what is not committed will be repeated"
    ))
    .into()
}
