//! The commit protocol in memory, in interleavings that follow from a seed.
//!
//! Processes of one group read partitions of a log, take snapshots, commit what they
//! triggered with their offsets, are killed before, during and after that, join,
//! leave, and come back when their partitions are another's. What is published has
//! to be what one process would have published that nothing disturbed. The work on
//! a partition, the commit's metadata and the snapshots are the engine's own; the
//! log, the group and the transactions are doubles that keep Kafka's promises: a
//! transaction is all or nothing, and one of a process that does not own its
//! partitions any more is refused.
//!
//! `TIDECAST_SIMULATION_SEEDS` sets how many seeds are tried; with `cargo test --release`
//! a thousand take a few seconds.

mod records;
mod steps;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidecast_sql::{PipelinePlan, Windower, WindowerOutput};
use tidecast_stream::{Offset, PartitionCommit, Watermark};

use self::records::{Published, Random, Row, batch, partition, plan};
use self::steps::{Crash, FLAWS, Flaw, Step, WEIGHTS};
use crate::commit::{self, Resume};
use crate::partition::{PartitionWork, Stretch};
use crate::snapshots::{Committed, SnapshotStore, Snapshots, Snapshotting};

/// Partitions at most.
const PARTITIONS: usize = 3;
const PROCESSES: usize = 3;
const STEPS: usize = 300;
const MINUTE: i64 = 60_000_000;

/// What the wall clock closed: at which offset, and how far.
type Close = (Offset, Watermark);

/// What is complete and waits for a commit.
#[derive(Default)]
struct Ready {
    outputs: BTreeMap<usize, Published>,
    closes: BTreeMap<usize, Vec<Close>>,
    commits: BTreeMap<usize, PartitionCommit>,
}

/// A partition that a process works on.
struct Worker {
    work: PartitionWork,
    next: i64,
    snapshots: Snapshotting,
}

/// A process while it lives.
struct Process {
    /// No two lives are one.
    life: u64,
    workers: BTreeMap<usize, Worker>,
    ready: Ready,
    committed: Committed,
    /// Whether it hangs and does nothing.
    is_stalled: bool,
    /// Whether the group went on without it, which it may not know.
    is_expelled: bool,
}

/// What outlives processes.
struct World {
    plan: Arc<PipelinePlan>,
    flaw: Option<Flaw>,
    random: Random,
    /// How often what happens: each seed has favourites of its own, so that rare
    /// histories are common in some (swarm testing, Groce et al. 2012).
    weights: Vec<(Step, usize)>,
    partitions: usize,
    logs: Vec<Vec<Row>>,
    minutes: Vec<i64>,
    commits: BTreeMap<usize, PartitionCommit>,
    /// The life that owns each partition.
    owners: Vec<Option<u64>>,
    published: Vec<Published>,
    closes: Vec<Vec<Close>>,
    store: SnapshotStore,
    processes: Vec<Option<Process>>,
    lives: u64,
    /// What happened, how often.
    happened: BTreeMap<&'static str, u64>,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    published: Vec<Published>,
    expected: Vec<Published>,
    happened: BTreeMap<&'static str, u64>,
}

impl Ending {
    fn is_right(&self) -> bool {
        self.published == self.expected
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.published.hash(&mut hasher);
        self.happened.hash(&mut hasher);
        hasher.finish()
    }
}

impl World {
    fn new(plan: Arc<PipelinePlan>, seed: u64, flaw: Option<Flaw>) -> Self {
        let mut random = Random(seed);
        let weights = WEIGHTS.map(|(step, weight)| (step, weight * [1, 4, 16][random.below(3)]));
        let partitions = 1 + random.below(PARTITIONS);
        Self {
            plan,
            flaw,
            random,
            weights: weights.to_vec(),
            partitions,
            logs: vec![Vec::new(); partitions],
            minutes: vec![0; partitions],
            commits: BTreeMap::new(),
            owners: vec![None; partitions],
            published: vec![Published::default(); partitions],
            closes: vec![Vec::new(); partitions],
            store: SnapshotStore::in_memory(),
            processes: (0..PROCESSES).map(|_| None).collect(),
            lives: 0,
            happened: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// Runs to the end: one process is left, everything is read and committed.
    async fn run(mut self) -> Ending {
        self.join(0).await;
        for _ in 0..STEPS {
            self.step().await;
        }
        for index in 0..PROCESSES {
            self.processes[index] = None;
        }
        self.join(0).await;
        for number in 0..self.partitions {
            while self.consume(0, number) {}
        }
        self.commit(0, Crash::No);
        let expected = (0..self.partitions).map(|number| self.calm(number)).collect();
        Ending { published: self.published, expected, happened: self.happened }
    }

    async fn step(&mut self) {
        let total: usize = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(total);
        let chosen = self.weights.iter().find(|(_, weight)| {
            let is_here = left < *weight;
            left = left.saturating_sub(*weight);
            is_here
        });
        let Some(&(what, _)) = chosen else { return };
        let (index, number) = (self.random.below(PROCESSES), self.random.below(self.partitions));
        match what {
            Step::Produce => self.produce(number),
            Step::Kill => self.kill(index),
            Step::Join => self.join(index).await,
            Step::Leave => self.leave(index).await,
            Step::Stall => self.stall(index).await,
            Step::Wake => self.wake(index),
            Step::Damage => self.damage_snapshot(number).await,
            _ => {
                // Of those who work on something one, and what it works on.
                let Some((index, number)) = self.any_worker() else { return };
                match what {
                    Step::Consume => drop(self.consume(index, number)),
                    Step::CloseIdle => self.close_idle(index, number),
                    Step::Keep => self.keep_snapshot(index, number).await,
                    Step::Commit(crash) => self.commit(index, crash),
                    _ => {}
                }
            }
        }
    }

    fn any_worker(&mut self) -> Option<(usize, usize)> {
        let workers = self.processes.iter().enumerate().filter_map(|(index, process)| {
            let process = process.as_ref().filter(|process| !process.is_stalled)?;
            Some(process.workers.keys().map(move |number| (index, *number)))
        });
        let workers: Vec<(usize, usize)> = workers.flatten().collect();
        match workers.len() {
            0 => None,
            count => Some(workers[self.random.below(count)]),
        }
    }

    /// Appends records; some of them late, some of them too late.
    fn produce(&mut self, number: usize) {
        for _ in 0..1 + self.random.below(8) {
            if self.random.one_in(3) {
                self.minutes[number] += 1 + self.random.below(2) as i64;
            }
            let late = if self.random.one_in(8) { self.random.below(6) as i64 } else { 0 };
            let micros = (self.minutes[number] - late) * MINUTE + self.random.below(60) as i64;
            let site = format!("{number}{}", ["a", "b"][self.random.below(2)]);
            let kw = self.random.below(1000) as f64 / 7.0;
            self.logs[number].push(Row { site, kw, micros });
        }
    }

    /// Lets a process read on; `false` if there is nothing it could read.
    fn consume(&mut self, index: usize, number: usize) -> bool {
        let most = 1 + self.random.below(12) as i64;
        let is_time = self.random.one_in(3);
        let Some(process) = self.processes[index].as_mut().filter(|process| !process.is_stalled)
        else {
            return false;
        };
        let Some(worker) = process.workers.get_mut(&number) else { return false };
        let log = &self.logs[number];
        let end = (worker.next + most).min(log.len() as i64);
        if end == worker.next {
            return false;
        }
        let batch = batch(&self.plan, number, log, worker.next as usize, end as usize);
        worker.next = end;
        if let Some(stretch) = worker.work.on_batch(batch).expect("records are taken") {
            process.ready.accept(number, stretch, None, self.flaw);
            if is_time {
                let taken = worker.snapshots.after_records(worker.work.windower_mut());
                taken.expect("a state is at hand");
            }
        }
        true
    }

    /// Closes what has begun in a partition that has been read to its end.
    fn close_idle(&mut self, index: usize, number: usize) {
        while self.consume(index, number) {}
        let end = self.logs[number].len() as i64;
        let Some(process) = self.processes[index].as_mut() else { return };
        let Some(worker) = process.workers.get_mut(&number) else { return };
        // The metadata holds 32 of those that a record came too late for.
        let is_enough = worker.work.windower().replay_point().closes.len() >= 30;
        if process.is_stalled || worker.next < end || is_enough {
            return;
        }
        let before = worker.work.windower().watermark();
        if let Some(stretch) = worker.work.on_close(false).expect("windows close") {
            let after = worker.work.windower().watermark();
            let close = (before != after).then_some((stretch.commit.offset, after));
            process.ready.accept(number, stretch, close, self.flaw);
            self.note("closes of idle partitions");
        }
    }

    /// Commits what is ready, in one transaction.
    fn commit(&mut self, index: usize, crash: Crash) {
        let Some(process) = self.processes[index].as_mut() else { return };
        if process.is_stalled || process.ready.commits.is_empty() {
            return;
        }
        let ready = std::mem::take(&mut process.ready);
        let life = process.life;
        let is_owner = ready.commits.keys().all(|number| self.owners[*number] == Some(life));
        if !is_owner && self.flaw != Some(Flaw::FencesNobody) {
            self.note("fenced");
            self.processes[index] = None;
            return;
        }
        let offsets_alone = self.flaw == Some(Flaw::CommitsOffsetsFirst);
        if crash != Crash::Before {
            for (number, published) in ready.outputs {
                self.published[number].append(published);
            }
            for (number, closes) in ready.closes {
                self.closes[number].extend(closes);
            }
        }
        if crash != Crash::Before || offsets_alone {
            for (number, commit) in &ready.commits {
                let before = self.commits.insert(*number, commit.clone());
                let is_behind = before.is_some_and(|before| before.offset > commit.offset);
                assert!(!is_behind || self.flaw.is_some(), "offsets went back");
            }
        }
        if crash == Crash::No {
            for (number, commit) in &ready.commits {
                process.committed.advance(&partition(*number), commit.offset);
            }
            self.note("commits");
            return;
        }
        self.note(if crash == Crash::Before { "killed before" } else { "killed after" });
        self.processes[index] = None;
    }

    /// Writes the snapshot of a partition, if one may be written.
    async fn keep_snapshot(&mut self, index: usize, number: usize) {
        let Some(process) = self.processes[index].as_mut() else { return };
        let (Some(worker), false) = (process.workers.get_mut(&number), process.is_stalled) else {
            return;
        };
        let committed = match self.flaw {
            Some(Flaw::KeepsUncommittedState) => Some(Offset(i64::MAX)),
            _ => process.committed.of(&partition(number)),
        };
        let Some(committed) = committed else { return };
        let Some(snapshot) = worker.snapshots.take_if_committed(committed) else { return };
        let partition = partition(number);
        let kept = self.store.keep("load", &partition, snapshot, committed);
        kept.await.expect("memory takes it");
        self.note("snapshots");
    }

    async fn damage_snapshot(&mut self, number: usize) {
        let files = self.store.list(Some("load"), Some(&partition(number))).await.expect("listed");
        if let Some(file) = files.first() {
            match self.random.one_in(2) {
                true => self.store.delete(file).await.expect("deleted"),
                false => self.store.damage(file).await,
            }
            self.note("snapshots damaged");
        }
    }

    fn kill(&mut self, index: usize) {
        if self.processes[index].take().is_some() {
            self.note("killed");
        }
    }

    async fn join(&mut self, index: usize) {
        // One that was expelled learns of it and begins anew.
        if self.processes[index].as_ref().is_none_or(|process| process.is_expelled) {
            self.lives += 1;
            self.processes[index] = Some(Process {
                life: self.lives,
                workers: BTreeMap::new(),
                ready: Ready::default(),
                committed: Committed::default(),
                is_stalled: false,
                is_expelled: false,
            });
            self.note("joined");
        }
        self.rebalance().await;
    }

    /// Stops a process in order: it hands back what it has.
    async fn leave(&mut self, index: usize) {
        if self.processes[index].as_ref().is_some_and(|process| !process.is_stalled) {
            self.commit(index, Crash::No);
            self.processes[index] = None;
            self.note("left");
            self.rebalance().await;
        }
    }

    /// A process hangs for longer than its session.
    async fn stall(&mut self, index: usize) {
        let Some(process) = self.processes[index].as_mut() else { return };
        (process.is_stalled, process.is_expelled) = (true, true);
        self.note("stalled");
        self.rebalance().await;
    }

    /// A process that hung goes on, and does not know what happened meanwhile.
    fn wake(&mut self, index: usize) {
        if let Some(process) = &mut self.processes[index] {
            process.is_stalled = false;
        }
    }

    /// Deals the partitions out anew among those that answer.
    async fn rebalance(&mut self) {
        let answering: Vec<(usize, u64)> = self
            .processes
            .iter()
            .enumerate()
            .filter_map(|(index, process)| Some((index, process.as_ref()?)))
            .filter(|(_, process)| !process.is_expelled)
            .map(|(index, process)| (index, process.life))
            .collect();
        for number in 0..self.partitions {
            let chosen = match answering.is_empty() {
                true => None,
                false => Some(answering[self.random.below(answering.len())]),
            };
            let owner = self.owners[number];
            let works = |process: &Process| process.workers.contains_key(&number);
            if let Some((index, life)) = chosen
                && owner == Some(life)
                && self.processes[index].as_ref().is_some_and(works)
            {
                continue;
            }
            // Whoever has it and answers gives it up: finishes, commits, forgets.
            let giving = answering.iter().find(|(_, life)| owner == Some(*life));
            if let Some(&(index, _)) = giving {
                if self.flaw == Some(Flaw::DrainsNothing) {
                    if let Some(process) = &mut self.processes[index] {
                        process.ready.commits.remove(&number);
                    }
                } else {
                    self.commit(index, Crash::No);
                }
                if let Some(process) = &mut self.processes[index] {
                    process.workers.remove(&number);
                }
            }
            self.owners[number] = chosen.map(|(_, life)| life);
            if let Some((index, _)) = chosen {
                self.begin(index, number).await;
            }
        }
    }

    /// Lets a process take a partition over.
    async fn begin(&mut self, index: usize, number: usize) {
        let commit = self.commits.get(&number);
        let begun =
            PartitionWork::begin(&self.plan, partition(number), commit, Some(&self.store), false)
                .await;
        let (mut work, from) = begun.expect("a windower");
        if self.flaw == Some(Flaw::EmitsWhileReplaying) {
            work.emit_again();
        }
        let committed = commit.map_or(0, |commit| commit.offset.0);
        if from.is_some_and(|from| from.0 < committed) {
            self.note("replays");
        }
        let Some(process) = &mut self.processes[index] else { return };
        let to = Snapshots {
            store: self.store.clone(),
            interval: Duration::ZERO,
            committed: process.committed.clone(),
        };
        let snapshots = Snapshotting::new(to, "load".to_owned(), partition(number));
        let from = match self.flaw {
            Some(Flaw::ReplaysNothing) => committed,
            _ => from.map_or(0, |from| from.0),
        };
        let worker = Worker { work, next: from, snapshots };
        process.workers.insert(number, worker);
    }

    /// Returns what one process publishes of a partition that nothing disturbs; the
    /// wall clock closes what it closed.
    fn calm(&self, number: usize) -> Published {
        let mut windower = Windower::new(&self.plan).expect("a windower");
        let (log, mut published, mut next) = (&self.logs[number], Published::default(), 0);
        let feed = |windower: &mut Windower, from: usize, to: usize| match from < to {
            true => {
                let batch = batch(&self.plan, number, log, from, to);
                windower.process(&batch).expect("records are taken")
            }
            false => WindowerOutput::default(),
        };
        for (offset, watermark) in &self.closes[number] {
            let until = offset.0 as usize;
            published.add(&feed(&mut windower, next, until));
            published.add(&windower.advance_to(*watermark).expect("windows close"));
            next = until;
        }
        published.add(&feed(&mut windower, next, log.len()));
        published
    }
}

impl Ready {
    fn accept(
        &mut self,
        number: usize,
        stretch: Stretch,
        close: Option<Close>,
        flaw: Option<Flaw>,
    ) {
        let Stretch { output, mut commit } = stretch;
        if flaw == Some(Flaw::ForgetsCloses) {
            let Resume { replay, windows, .. } = commit::resume(Some(&commit));
            let mut point = replay.unwrap_or_default();
            point.closes.clear();
            commit.metadata = commit::metadata(point, &windows);
        }
        self.outputs.entry(number).or_default().add(&output);
        self.closes.entry(number).or_default().extend(close);
        self.commits.insert(number, commit);
    }
}

fn seeds(usual: u64) -> u64 {
    let setting = std::env::var("TIDECAST_SIMULATION_SEEDS").ok();
    setting.map_or(usual, |text| text.parse().expect("a number"))
}

/// Runs a seed to its end.
fn run(plan: &Arc<PipelinePlan>, seed: u64, flaw: Option<Flaw>) -> Ending {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(World::new(Arc::clone(plan), seed, flaw).run())
}

/// Does something for each number below `end`, on all cores; results are in order.
fn for_each<T: Send>(end: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(u64, T)> = std::thread::scope(|scope| {
        let one = || {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            numbers.take_while(|n| *n < end).map(|n| (n, work(n))).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no seed fails")).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn every_interleaving_publishes_what_a_calm_run_does_and_each_seed_twice_the_same() {
    let plan = Arc::new(plan());
    let mut happened: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut forecasts = 0;
    let endings = for_each(seeds(150), |seed| {
        let (ending, again) = (run(&plan, seed, None), run(&plan, seed, None));
        assert_eq!(ending.hash(), again.hash(), "seed {seed} went two ways");
        assert_eq!(ending.published, ending.expected, "seed {seed}");
        (ending.published.iter().map(|p| p.forecasts.len()).sum::<usize>(), ending.happened)
    });
    for (count, what) in endings {
        forecasts += count;
        what.into_iter().for_each(|(what, n)| *happened.entry(what).or_default() += n);
    }
    eprintln!("{forecasts} forecasts, {happened:?}");
    assert!(forecasts > 0);
    for what in [
        "closes of idle partitions",
        "commits",
        "fenced",
        "joined",
        "killed",
        "killed after",
        "killed before",
        "left",
        "replays",
        "snapshots",
        "snapshots damaged",
        "stalled",
    ] {
        assert!(happened.contains_key(what), "`{what}` never happened");
    }
}

#[test]
fn a_fault_in_the_protocol_is_found() {
    let plan = Arc::new(plan());
    let found = for_each(FLAWS.len() as u64, |index| {
        let flaw = FLAWS[index as usize];
        let seed = (0..seeds(1000)).find(|seed| !run(&plan, *seed, Some(flaw)).is_right());
        eprintln!("{flaw:?}: seed {seed:?}");
        (flaw, seed)
    });
    for (flaw, seed) in found {
        assert!(seed.is_some(), "{flaw:?} was not found");
    }
}
