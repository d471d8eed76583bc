//! What outlives processes: a log, a group and its coordinator, committed offsets and
//! published forecasts. The doubles keep Kafka's promises: a transaction is all or
//! nothing, one of a process that the group went on without is refused, and a partition
//! has one owner who gives it up in its own time, up to the patience of the group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidecast_actors::Clock;
use tidecast_stream::{Offset, Partition, PartitionCommit, SourceEvent, Transaction, Watermark};

use super::records::{Published, Random, Row, partition};
use super::steps::Flaw;
use crate::commit;

/// How long a member may go without a poll, or sit on a revoked partition.
pub(super) const MAX_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// After how long the group notices that a member is dead.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// What the wall clock closed: at which offset, and how far.
pub(super) type Close = (Offset, Watermark);

/// When a process is killed, of a commit's two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    Before,
    /// It is through, and the process does not learn of it.
    After,
}

/// A member of the group: one generation of a process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) process: usize,
    pub(super) events: VecDeque<SourceEvent>,
    last_poll: Instant,
    /// Whether the process is dead, which the group does not know.
    pub(super) is_dead: bool,
    /// Whether it does not reach the group.
    pub(super) is_stalled: bool,
    /// Whether the group went on without it.
    pub(super) is_expelled: bool,
}

#[derive(Debug, Default)]
struct Ownership {
    owner: Option<u64>,
    /// Since when the owner is to give it up.
    revoked_since: Option<Instant>,
}

/// Everything that is shared; see [`Shared`].
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) flaw: Option<Flaw>,
    pub(super) random: Random,
    pub(super) logs: Vec<Vec<Row>>,
    pub(super) minutes: Vec<i64>,
    commits: BTreeMap<usize, PartitionCommit>,
    pub(super) published: Vec<Published>,
    pub(super) closes: Vec<BTreeSet<Close>>,
    members: BTreeMap<u64, Member>,
    next_member: u64,
    owners: Vec<Ownership>,
    /// What happens to the next transaction.
    pub(super) crash: Option<Crash>,
    /// Whether the model leaves an answer out of its next batch.
    pub(super) miscounts: bool,
    /// Whether the store does not answer.
    pub(super) store_hangs: bool,
    /// How often each process wrote a snapshot.
    written: BTreeMap<(usize, String), u64>,
    /// How often each process was given a partition: each time it finds none it builds the
    /// same state again, and writes it, the earlier ones perhaps only now that the
    /// store answers again.
    given: BTreeMap<(usize, usize), u64>,
    /// What happened, how often.
    pub(super) happened: BTreeMap<&'static str, u64>,
    /// What must not happen.
    pub(super) violations: Vec<String>,
}

/// A handle on the world.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(seed: u64, flaw: Option<Flaw>, most: usize, clock: Clock) -> Self {
        let mut random = Random(seed);
        let partitions = 1 + random.below(most);
        Self(Arc::new(Mutex::new(World {
            clock,
            flaw,
            random,
            logs: vec![Vec::new(); partitions],
            minutes: vec![0; partitions],
            commits: BTreeMap::new(),
            published: vec![Published::default(); partitions],
            closes: vec![BTreeSet::new(); partitions],
            members: BTreeMap::new(),
            next_member: 0,
            owners: (0..partitions).map(|_| Ownership::default()).collect(),
            crash: None,
            miscounts: false,
            store_hangs: false,
            written: BTreeMap::new(),
            given: BTreeMap::new(),
            happened: BTreeMap::new(),
            violations: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    pub(super) fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A snapshot is written.
    pub(super) fn write(&mut self, process: usize, name: String) {
        self.note("snapshots");
        let partition = name.split('/').nth(2).and_then(|number| number.parse().ok());
        let given = partition.and_then(|number: usize| self.given.get(&(process, number)));
        let written = self.written.entry((process, name.clone())).or_default();
        *written += 1;
        if *written > given.copied().unwrap_or(0) {
            self.violations.push(format!("{name} was written twice"));
        }
    }

    pub(super) fn partitions(&self) -> usize {
        self.logs.len()
    }

    /// Whether everything that was written is read and committed.
    pub(super) fn is_committed(&self) -> bool {
        (0..self.partitions()).all(|number| {
            let end = self.logs[number].len() as i64;
            let commit = self.commits.get(&number);
            let is_whole = |commit: &PartitionCommit| {
                commit.offset.0 == end && commit::resume(Some(commit)).part.is_none()
            };
            end == 0 || commit.is_some_and(is_whole)
        })
    }

    pub(super) fn join(&mut self, process: usize) -> u64 {
        self.next_member += 1;
        let member = Member {
            process,
            events: VecDeque::new(),
            last_poll: self.clock.now(),
            is_dead: false,
            is_stalled: false,
            is_expelled: false,
        };
        self.members.insert(self.next_member, member);
        self.rebalance();
        self.next_member
    }

    /// A member goes in order: what it had is free.
    pub(super) fn leave(&mut self, id: u64) {
        if self.members.get(&id).is_some_and(|member| !member.is_dead) {
            self.members.remove(&id);
            self.free(id);
            self.rebalance();
        }
    }

    /// The process of these members is dead.
    pub(super) fn die(&mut self, process: usize) {
        for member in self.members.values_mut().filter(|member| member.process == process) {
            member.is_dead = true;
        }
    }

    /// The process does not reach the group, or reaches it again.
    pub(super) fn stall(&mut self, process: usize, is_stalled: bool) {
        let now = self.clock.now();
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            if member.process != process || member.is_dead || member.is_stalled == is_stalled {
                continue;
            }
            member.is_stalled = is_stalled;
            member.last_poll = now;
            if is_stalled {
                self.note("stalled");
                self.expel(id);
            }
        }
    }

    fn free(&mut self, id: u64) {
        for ownership in &mut self.owners {
            if ownership.owner == Some(id) {
                *ownership = Ownership::default();
            }
        }
    }

    fn expel(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.is_expelled {
            return;
        }
        member.is_expelled = true;
        member.events.clear();
        let owned = self.owned(id);
        if let Some(member) = self.members.get_mut(&id).filter(|_| !owned.is_empty()) {
            member.events.push_back(SourceEvent::Lost(owned));
        }
        self.free(id);
        self.rebalance();
    }

    fn owned(&self, id: u64) -> Vec<Partition> {
        let mine = |(_, ownership): &(usize, &Ownership)| ownership.owner == Some(id);
        self.owners.iter().enumerate().filter(mine).map(|(number, _)| partition(number)).collect()
    }

    /// Lets the group see who does not answer any more.
    pub(super) fn look_after_the_group(&mut self) {
        let now = self.clock.now();
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            let Some(member) = self.members.get(&id) else { continue };
            let quiet = now.saturating_duration_since(member.last_poll);
            let is_late = self.owners.iter().any(|ownership| {
                ownership.owner == Some(id)
                    && ownership.revoked_since.is_some_and(|since| now - since > MAX_POLL_INTERVAL)
            });
            if member.is_dead && quiet > SESSION_TIMEOUT {
                self.members.remove(&id);
                self.free(id);
                self.rebalance();
            } else if !member.is_expelled
                && !member.is_dead
                && (quiet > MAX_POLL_INTERVAL || is_late)
            {
                let what = if is_late { "kept a revoked partition" } else { "did not poll" };
                self.violations.push(format!("a member {what} for {MAX_POLL_INTERVAL:?}"));
                self.expel(id);
            }
        }
    }

    /// Deals the partitions out anew among those that answer.
    fn rebalance(&mut self) {
        let answering: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_expelled && !member.is_dead)
            .map(|(id, _)| *id)
            .collect();
        let now = self.clock.now();
        for number in 0..self.owners.len() {
            let Some(target) =
                (!answering.is_empty()).then(|| answering[self.random.below(answering.len())])
            else {
                continue;
            };
            match self.owners[number].owner {
                Some(owner) if owner == target => {}
                // It has to give up first; by then others may be there.
                Some(owner) if self.owners[number].revoked_since.is_none() => {
                    if let Some(member) = self.members.get_mut(&owner).filter(|it| !it.is_dead) {
                        member.events.push_back(SourceEvent::Revoked(vec![partition(number)]));
                        self.owners[number].revoked_since = Some(now);
                    }
                }
                Some(_) => {}
                None => self.give(number, target),
            }
        }
    }

    fn give(&mut self, number: usize, to: u64) {
        self.owners[number] = Ownership { owner: Some(to), revoked_since: None };
        if let Some(member) = self.members.get_mut(&to) {
            *self.given.entry((member.process, number)).or_default() += 1;
            // What is committed is looked up when the member hears of it.
            member.events.push_back(SourceEvent::Assigned(vec![(partition(number), None)]));
        }
    }

    /// A member hands partitions back.
    pub(super) fn release(&mut self, id: u64, partitions: &[Partition]) {
        for partition in partitions {
            let ownership = &mut self.owners[partition.number as usize];
            if ownership.owner == Some(id) {
                *ownership = Ownership::default();
            }
        }
        self.rebalance();
    }

    /// Returns what the group has to say to a member that polls.
    pub(super) fn poll(&mut self, id: u64) -> Option<SourceEvent> {
        let now = self.clock.now();
        let commits = &self.commits;
        let member = self.members.get_mut(&id)?;
        if member.is_stalled || member.is_dead {
            return None;
        }
        member.last_poll = now;
        let mut event = member.events.pop_front();
        if event.is_none() && member.is_expelled {
            // It had nothing to lose, and joins again.
            member.is_expelled = false;
            self.rebalance();
            return None;
        }
        if let Some(SourceEvent::Assigned(assigned)) = &mut event {
            for (partition, commit) in assigned {
                *commit = commits.get(&(partition.number as usize)).cloned();
            }
        }
        event
    }

    /// Publishes a transaction, all of it or nothing; says why it is refused.
    pub(super) fn publish(&mut self, id: u64, transaction: Transaction) -> Result<(), String> {
        let is_member = self.members.get(&id).is_some_and(|it| !it.is_expelled && !it.is_dead);
        if !is_member && self.flaw != Some(Flaw::FencesNobody) {
            self.note("fenced");
            return Err("fenced".to_owned());
        }
        let crash = self.crash.take();
        let offsets_alone = self.flaw == Some(Flaw::CommitsOffsetsFirst);
        if crash != Some(Crash::Before) || offsets_alone {
            for commit in &transaction.commits {
                let number = commit.partition.number as usize;
                let before = self.commits.insert(number, commit.clone());
                let is_behind = before.is_some_and(|before| before.offset > commit.offset);
                if is_behind && self.flaw.is_none() {
                    self.violations.push("offsets went back".to_owned());
                }
                let resume = commit::resume(Some(commit));
                let closes = resume.replay.map(|replay| replay.closes).unwrap_or_default();
                let closes = closes.into_iter().map(|close| (close.offset, close.watermark));
                self.closes[number].extend(closes);
                if let Some(part) = resume.part {
                    self.closes[number].extend(part.close.map(|close| (commit.offset, close)));
                    self.note("commits of parts");
                }
            }
        }
        if crash != Some(Crash::Before) {
            for message in &transaction.forecasts {
                let number = super::records::number_of(&message.series);
                self.published[number].add_message(message);
            }
            for late in &transaction.late {
                self.published[late.position.partition.number as usize].add_late(late);
            }
        }
        match crash {
            None => {
                self.note("commits");
                Ok(())
            }
            Some(Crash::Before) => {
                self.note("killed before");
                Err("killed before the commit".to_owned())
            }
            Some(Crash::After) => {
                self.note("killed after");
                Err("killed after the commit".to_owned())
            }
        }
    }
}
