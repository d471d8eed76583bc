//! A partition that is ours: its actors, and what waits for them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidecast_actors::{
    ActorExit, ActorHandle, Bounds, Mailbox, Message, Scope, TrySendError, mailbox, spawn,
};
use tidecast_stream::{Partition, SourceBatch};

use super::Ingest;
use crate::assembler::Assembler;
use crate::partition::PartitionWork;
use crate::snapshots::SnapshotTimer;
use crate::windower::{WindowerActor, WindowerMessage};

/// Batches of a partition that are kept for its windower before the source is asked for
/// no more, and when it is asked again: enough to go on with until a poll has ended.
const HOLD_ABOVE: usize = 8;
const RESUME_BELOW: usize = 4;
/// Bytes of them.
const HOLD_ABOVE_BYTES: usize = 16 << 20;
/// Parts of closes that wait for the model's answers; bytes are the tighter bound
/// unless contexts are short.
const AWAITED_PARTS: usize = 64;

/// Partitions that are gone.
pub(super) struct Left {
    pub(super) partitions: Vec<Partition>,
}

/// A message went to the windower of this partition, in its serial-th life.
pub(super) type Sent = (Partition, u64, Result<(), ActorExit>);

pub(super) type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// A partition that is ours.
pub(super) struct Assigned {
    partition: Partition,
    /// Which of the partition's lives this is.
    pub(super) serial: u64,
    mailbox: Mailbox<WindowerMessage>,
    windower: ActorHandle,
    assembler: ActorHandle,
    scope: Scope,
    /// What there was no room for, in order, behind the one that is being sent.
    waiting: VecDeque<WindowerMessage>,
    waiting_bytes: usize,
    is_sending: bool,
    /// Whether the source was told to bring no more.
    pub(super) is_held: bool,
    /// When its last record came.
    last_record: Instant,
    /// Whether its end has been reached since then.
    pub(super) is_caught_up: bool,
    /// Whether its end has been reached since it was assigned.
    pub(super) is_live: bool,
    /// Whether it was closed for idleness since its last record.
    pub(super) is_closed: bool,
}

impl Assigned {
    /// Starts the partition's actors.
    pub(super) fn start(
        ingest: &Ingest,
        serial: u64,
        work: PartitionWork,
        scope: Scope,
        now: Instant,
    ) -> Self {
        let partition = work.partition().clone();
        let plan = &ingest.plan;
        let bounds = Bounds { messages: AWAITED_PARTS, ..ingest.mailbox };
        let (to_assembler, receiver) =
            mailbox(format!("assembler-{}-{partition}", plan.name), bounds);
        let assembler = Assembler {
            pipeline: plan.name.clone(),
            template: ingest.template.clone(),
            publisher: ingest.publisher.clone(),
        };
        let assembler = spawn(assembler, receiver, &scope);
        let timer = ingest.snapshots.as_ref();
        let timer = timer.map(|to| SnapshotTimer::new(to.interval, scope.clock()));
        let windower = WindowerActor::new(
            Arc::clone(plan),
            work,
            ingest.part,
            ingest.model.clone(),
            to_assembler,
            timer,
            ingest.homes.clone(),
            ingest.findings.clone(),
        );
        let (mailbox, receiver) =
            mailbox(format!("windower-{}-{partition}", plan.name), ingest.mailbox);
        let windower = spawn(windower, receiver, &scope);
        Self {
            partition,
            serial,
            mailbox,
            windower,
            assembler,
            scope,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_sending: false,
            is_held: false,
            last_record: now,
            is_caught_up: false,
            is_live: false,
            is_closed: false,
        }
    }

    /// Sees a batch come, and makes a message of it.
    pub(super) fn on_batch(&mut self, batch: SourceBatch, now: Instant) -> WindowerMessage {
        self.last_record = now;
        self.is_caught_up = false;
        self.is_closed = false;
        WindowerMessage::Batch { batch, is_backfill: !self.is_live }
    }

    /// Sends a message behind those that wait; returns what to wait for if there is no
    /// room.
    pub(super) fn send(&mut self, message: WindowerMessage) -> Result<Option<Sending>, ActorExit> {
        if self.is_sending {
            self.waiting_bytes += message.bytes();
            self.waiting.push_back(message);
            return Ok(None);
        }
        match self.mailbox.try_send(message) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(message)) => Ok(Some(self.wait_for_room(message))),
            Err(TrySendError::Closed(_)) => Err(ActorExit::DownstreamGone),
        }
    }

    /// Sends the next message that waits, the one before having gone.
    pub(super) fn send_next(&mut self) -> Option<Sending> {
        self.is_sending = false;
        let message = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(message.bytes());
        Some(self.wait_for_room(message))
    }

    fn wait_for_room(&mut self, message: WindowerMessage) -> Sending {
        self.is_sending = true;
        let (mailbox, partition, serial) =
            (self.mailbox.clone(), self.partition.clone(), self.serial);
        Box::pin(async move {
            let sent = mailbox.send(message).await;
            (partition, serial, sent.map_err(ActorExit::from))
        })
    }

    /// Waits for room as no thread that polls may: a fault for the simulation to find.
    pub(super) async fn send_and_wait(
        &mut self,
        message: WindowerMessage,
    ) -> Result<(), ActorExit> {
        Ok(self.mailbox.send(message).await?)
    }

    /// Returns whether the source is to bring more or not, if that changes.
    pub(super) fn change_hold(&mut self) -> Option<bool> {
        let is_full = self.waiting.len() >= HOLD_ABOVE || self.waiting_bytes >= HOLD_ABOVE_BYTES;
        let has_room = self.waiting.len() <= RESUME_BELOW && !is_full;
        let is_held = if self.is_held { !has_room } else { is_full };
        (is_held != self.is_held).then(|| {
            self.is_held = is_held;
            is_held
        })
    }

    pub(super) fn is_idle(&self, now: Instant, timeout: Duration) -> bool {
        let is_quiet = now.saturating_duration_since(self.last_record) >= timeout;
        self.is_caught_up && is_quiet && !self.is_closed
    }

    /// Whether something waits for room.
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending
    }

    pub(super) fn is_gone(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Lets the actors finish what they have, and kills them when it is overdue. What
    /// waits here for room is not theirs yet.
    pub(super) async fn drain(self, overdue: impl Future<Output = ()>) -> Result<(), ActorExit> {
        let Self { partition, mailbox, windower, assembler, scope, .. } = self;
        // The windower sees the rest of its messages, then the end; and so on.
        drop(mailbox);
        let ended = async { (windower.join().await, assembler.join().await) };
        let ended = tokio::select! {
            biased;
            ended = ended => Some(ended),
            () = overdue => None,
        };
        match ended {
            Some((ActorExit::Drained, ActorExit::Drained)) => Ok(()),
            // What ended the one that the other sends to tells more.
            Some((ActorExit::Drained | ActorExit::DownstreamGone, exit)) => Err(exit),
            Some((exit, _)) => Err(exit),
            None => {
                tracing::warn!(
                    %partition,
                    "what was under way did not finish in time (`pipeline.drain_timeout`); what is \
                     not committed is repeated by the next owner"
                );
                scope.kill();
                scope.kill_switch().gone().await;
                Ok(())
            }
        }
    }

    pub(super) fn into_actors(self) -> [ActorHandle; 2] {
        [self.windower, self.assembler]
    }
}
