//! The whole engine in memory, on a simulated clock, in interleavings that follow from
//! a seed.
//!
//! Processes of one group, each the engine's own supervisor and actors, read partitions
//! of a log, take snapshots, forecast with a model that is slower than the stream at
//! times, commit what they triggered with their offsets, are killed before, during and
//! after that, join, leave, and come back when their partitions are another's, while the
//! store of snapshots hangs now and then. What is published has to be what one process
//! would have published that nothing disturbed, nobody may be put out of the group who
//! did not deserve it, and nothing may be written or computed in vain. The log, the
//! group, the model and the store are doubles (`doubles`, `world`).
//!
//! One thread runs it all, and the clock stands still until everybody waits; so a seed
//! goes the same way each time. `TIDECAST_SIMULATION_SEEDS` sets how many are tried; with
//! `cargo test --release` two thousand take less than a minute.

mod doubles;
mod records;
mod steps;
mod world;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use tidecast_actors::{Clock, RestartPolicy, SimulatedTime, Supervisor, SupervisorHandle};
use tidecast_sql::{PipelinePlan, Windower, WindowerOutput};

use self::doubles::{SimulatedEnds, SimulatedModels, SimulatedStore};
use self::records::{Published, Row, batch, partition, plan};
use self::steps::{FLAWS, Flaw, Step, WEIGHTS, first_seed};
use self::world::{Crash, Shared};
use crate::config::{EngineConfig, PipelineConfig, StateConfig};
use crate::fault;
use crate::findings::Findings;
use crate::models::ModelPool;
use crate::pipeline::Pipeline;
use crate::snapshots::{SnapshotStore, StorePlace};

/// Partitions at most.
const PARTITIONS: usize = 3;
const PROCESSES: usize = 3;
const STEPS: usize = 200;
const MINUTE: i64 = 60_000_000;
/// How long a poll of the source takes: the grain of the simulation.
const POLL: Duration = Duration::from_millis(250);
/// How long a run may take to end once nothing disturbs it.
const PATIENCE: Duration = Duration::from_secs(600);

/// A process while it lives.
struct Process {
    /// No two lives are one.
    life: usize,
    supervisor: SupervisorHandle,
    models: Arc<ModelPool>,
}

struct Simulation {
    plan: Arc<PipelinePlan>,
    world: Shared,
    clock: Clock,
    time: SimulatedTime,
    store: Arc<InMemory>,
    /// How often what happens: each seed has favourites of its own, so that rare
    /// histories are common in some (swarm testing, Groce et al. 2012).
    weights: Vec<(Step, usize)>,
    processes: Vec<Option<Process>>,
    /// Tells lives apart.
    lives: usize,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    published: Vec<Published>,
    expected: Vec<Published>,
    violations: Vec<String>,
    happened: BTreeMap<&'static str, u64>,
}

impl Ending {
    fn is_right(&self) -> bool {
        self.published == self.expected && self.violations.is_empty()
    }

    /// Returns the first line by which what was published differs from what should be.
    fn difference(&self) -> Option<String> {
        let lines = |all: &[Published]| -> Vec<String> {
            all.iter().flat_map(|one| one.forecasts.iter().chain(&one.late)).cloned().collect()
        };
        let (published, expected) = (lines(&self.published), lines(&self.expected));
        let same = published.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let of = |lines: &[String]| lines.get(same).cloned();
        (published != expected).then(|| {
            let (published, expected) = (of(&published), of(&expected));
            format!("line {same}: {published:?} instead of {expected:?}")
        })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.published, &self.violations, &self.happened).hash(&mut hasher);
        hasher.finish()
    }
}

impl Simulation {
    fn new(plan: Arc<PipelinePlan>, seed: u64, flaw: Option<Flaw>) -> Self {
        fault::inject(match flaw {
            Some(Flaw::Engine(fault)) => Some(fault),
            _ => None,
        });
        let (clock, time) = Clock::simulated();
        time.set_latency("source-", POLL);
        time.set_latency("sink-", Duration::from_millis(20));
        let world = Shared::new(seed, flaw, PARTITIONS, clock.clone());
        let scale = || [1, 4, 16][world.lock().random.below(3)];
        let weights = WEIGHTS.map(|(step, weight)| (step, weight * scale()));
        Self {
            plan,
            world: world.clone(),
            clock,
            time,
            store: Arc::default(),
            weights: weights.to_vec(),
            processes: (0..PROCESSES).map(|_| None).collect(),
            lives: 0,
        }
    }

    /// Runs to the end: one process is left, everything is read and committed.
    async fn run(mut self) -> Ending {
        self.start(0);
        for _ in 0..STEPS {
            self.step().await;
        }
        (0..PROCESSES).for_each(|index| self.kill(index));
        self.time.set_latency("model-", Duration::ZERO);
        {
            let mut world = self.world.lock();
            (world.crash, world.store_hangs) = (None, false);
        }
        self.start(0);
        let mut waited = Duration::ZERO;
        // A while longer than until all is committed: what is done twice shows then.
        let mut calm = 0;
        while calm < 30 && waited < PATIENCE {
            self.pass(Duration::from_secs(1)).await;
            waited += Duration::from_secs(1);
            calm = if self.world.lock().is_committed() { calm + 1 } else { 0 };
        }
        self.kill(0);
        self.pass(Duration::from_secs(1)).await;
        let mut world = self.world.lock();
        if calm < 30 {
            world.violations.push(format!("not everything is committed after {PATIENCE:?}"));
        }
        if fault::computed_for_nobody() > 0 {
            world.violations.push("the model computed what nobody waited for".to_owned());
        }
        let numbers = 0..world.partitions();
        drop(world);
        let expected = numbers.map(|number| self.calm(number)).collect();
        let world = self.world.lock();
        Ending {
            published: world.published.clone(),
            expected,
            violations: world.violations.clone(),
            happened: world.happened.clone(),
        }
    }

    fn below(&self, end: usize) -> usize {
        self.world.lock().random.below(end)
    }

    async fn step(&mut self) {
        let total: usize = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(total);
        let chosen = self.weights.iter().find(|(_, weight)| {
            let is_here = left < *weight;
            left = left.saturating_sub(*weight);
            is_here
        });
        let Some(&(what, _)) = chosen else { return };
        let index = self.below(PROCESSES);
        match what {
            Step::Produce => self.produce(),
            Step::Wait => {
                let millis = 1 + self.below(500) as u64;
                self.pass(Duration::from_millis(millis)).await;
            }
            Step::WaitLonger => {
                let seconds = 1 + self.below(10) as u64;
                self.pass(Duration::from_secs(seconds)).await;
            }
            Step::WaitLong => self.pass(Duration::from_secs(90)).await,
            Step::CrashBefore => self.world.lock().crash = Some(Crash::Before),
            Step::CrashAfter => self.world.lock().crash = Some(Crash::After),
            Step::Kill => self.kill(index),
            Step::Start => self.start(index),
            Step::Stop => self.stop(index),
            Step::Stall => self.stall(index, true),
            Step::Wake => self.stall(index, false),
            Step::Damage => self.damage_snapshot().await,
            Step::ChangeModel => {
                let seconds = [0, 0, 1, 5, 20, 45][self.below(6)];
                self.time.set_latency("model-", Duration::from_secs(seconds));
            }
            Step::HangStore => {
                let mut world = self.world.lock();
                world.store_hangs = !world.store_hangs;
                world.note("the store hangs or not");
            }
            Step::Miscount => self.world.lock().miscounts = true,
        }
        // Whoever was woken has a turn or several, or none before the next thing happens.
        for _ in 0..self.below(4) {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass, from one who waits to the next.
    async fn pass(&self, duration: Duration) {
        let end = self.clock.now() + duration;
        loop {
            for _ in 0..6 {
                tokio::task::yield_now().await;
            }
            let left = end.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                return;
            }
            self.time.advance_to_next(left);
        }
    }

    /// Appends records; some of them late, some of them too late.
    fn produce(&self) {
        let mut world = self.world.lock();
        let partitions = world.partitions();
        let number = world.random.below(partitions);
        for _ in 0..1 + world.random.below(12) {
            if world.random.one_in(4) {
                world.minutes[number] += 1 + world.random.below(2) as i64;
            }
            let late = if world.random.one_in(8) { world.random.below(6) as i64 } else { 0 };
            let micros = (world.minutes[number] - late) * MINUTE + world.random.below(60) as i64;
            let letter = ["a", "b", "c", "d", "e"][world.random.below(5)];
            let kw = world.random.below(1000) as f64 / 7.0;
            world.logs[number].push(Row { site: format!("{number}{letter}"), kw, micros });
        }
    }

    fn start(&mut self, index: usize) {
        let ended = |process: &Process| process.supervisor.status().borrow().is_final();
        if !self.processes[index].as_ref().is_none_or(ended) {
            return;
        }
        self.lives += 1;
        let life = self.lives;
        self.world.lock().note("started");
        let store = SimulatedStore {
            world: self.world.clone(),
            process: life,
            clock: self.clock.clone(),
            inner: Arc::clone(&self.store),
        };
        let config = Arc::new(config());
        let models = Arc::new(ModelPool::new(
            Arc::new(SimulatedModels { world: self.world.clone() }),
            config.model,
            config.pipeline.mailbox().bytes,
            config.pipeline.stall_timeout,
            self.clock.clone(),
        ));
        let ends = SimulatedEnds {
            world: self.world.clone(),
            process: life,
            plan: Arc::clone(&self.plan),
        };
        let pipeline = Arc::new(Pipeline {
            plan: Arc::clone(&self.plan),
            config: Arc::clone(&config),
            connectors: Arc::new(ends),
            models: Arc::clone(&models),
            model: tokio::sync::Mutex::default(),
            findings: Findings::new("load"),
            workers: None,
            snapshots: Some(StorePlace::of(SnapshotStore::on(Arc::new(store)))),
        });
        let policy = RestartPolicy {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(1),
            max_restarts: usize::MAX,
            ..RestartPolicy::default()
        };
        let supervisor = Supervisor::new("load")
            .policy(policy)
            .drain_timeout(config.pipeline.drain_timeout)
            .stall_timeout(config.pipeline.stall_timeout)
            .clock(self.clock.clone())
            .spawn(move |generation| Arc::clone(&pipeline).run_generation(generation));
        self.processes[index] = Some(Process { life, supervisor, models });
    }

    /// Kills a process; the group does not know at once.
    fn kill(&mut self, index: usize) {
        let Some(process) = self.processes[index].take() else { return };
        {
            let mut world = self.world.lock();
            world.die(process.life);
            world.note("killed");
        }
        process.supervisor.kill();
        // Its model dies with it, whatever it is at.
        tokio::spawn(async move { process.models.close().await });
    }

    /// A process does not reach the group any more, or reaches it again.
    fn stall(&self, index: usize, is_stalled: bool) {
        if let Some(process) = &self.processes[index] {
            self.world.lock().stall(process.life, is_stalled);
        }
    }

    /// Asks a process to stop in order.
    fn stop(&mut self, index: usize) {
        if let Some(process) = &self.processes[index] {
            process.supervisor.stop();
            self.world.lock().note("stopped");
        }
    }

    async fn damage_snapshot(&self) {
        let store = SnapshotStore::on(Arc::clone(&self.store) as _);
        let partitions = self.world.lock().partitions();
        let number = self.below(partitions);
        let files = store.list(Some("load"), Some(&partition(number))).await.expect("listed");
        if let Some(file) = files.first() {
            match self.below(2) {
                0 => store.delete(file).await.expect("deleted"),
                _ => store.damage(file).await,
            }
            self.world.lock().note("snapshots damaged");
        }
    }

    /// Returns what one process publishes of a partition that nothing disturbs; the
    /// wall clock closes what it closed.
    fn calm(&self, number: usize) -> Published {
        let world = self.world.lock();
        let mut windower = Windower::new(&self.plan).expect("a windower");
        let (log, mut published, mut next) = (&world.logs[number], Published::default(), 0);
        let feed = |windower: &mut Windower, from: usize, to: usize| match from < to {
            true => {
                let batch = batch(&self.plan, number, log, from, to);
                windower.process(&batch).expect("records are taken")
            }
            false => WindowerOutput::default(),
        };
        for (offset, watermark) in &world.closes[number] {
            let until = offset.0 as usize;
            published.add(&feed(&mut windower, next, until));
            published.add(&windower.advance_to(*watermark).expect("windows close"));
            next = until.max(next);
        }
        published.add(&feed(&mut windower, next, log.len()));
        published
    }
}

fn config() -> EngineConfig {
    EngineConfig {
        pipeline: PipelineConfig {
            mailbox_capacity: 2,
            part_series: 2,
            stall_timeout: Duration::from_secs(300),
            ..PipelineConfig::default()
        },
        state: StateConfig { interval: Duration::from_secs(3), ..StateConfig::default() },
        ..EngineConfig::default()
    }
}

fn seeds(usual: u64) -> u64 {
    let setting = std::env::var("TIDECAST_SIMULATION_SEEDS").ok();
    setting.map_or(usual, |text| text.parse().expect("a number"))
}

/// Runs a seed to its end.
fn run(plan: &Arc<PipelinePlan>, seed: u64, flaw: Option<Flaw>) -> Ending {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(Simulation::new(Arc::clone(plan), seed, flaw).run())
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
    let endings = for_each(seeds(60), |seed| {
        let (ending, again) = (run(&plan, seed, None), run(&plan, seed, None));
        assert_eq!(ending.hash(), again.hash(), "seed {seed} went two ways");
        assert_eq!(ending.violations, [""; 0], "seed {seed}");
        assert_eq!(ending.difference(), None, "seed {seed}");
        (ending.published.iter().map(|p| p.forecasts.len()).sum::<usize>(), ending.happened)
    });
    for (count, what) in endings {
        forecasts += count;
        what.into_iter().for_each(|(what, n)| *happened.entry(what).or_default() += n);
    }
    eprintln!("{forecasts} forecasts, {happened:?}");
    assert!(forecasts > 0);
    for what in [
        "an answer too few",
        "commits",
        "commits of parts",
        "fenced",
        "held back",
        "killed",
        "killed after",
        "killed before",
        "snapshots",
        "snapshots damaged",
        "stalled",
        "started",
        "stopped",
        "the store hangs or not",
    ] {
        assert!(happened.contains_key(what), "`{what}` never happened");
    }
}

#[test]
fn a_fault_in_the_protocol_is_found() {
    let plan = Arc::new(plan());
    let found = for_each(FLAWS.len() as u64, |index| {
        let flaw = FLAWS[index as usize];
        let wrong = |seed: &u64| !run(&plan, *seed, Some(flaw)).is_right();
        let end = seeds(1000);
        let seed = (0..end).map(|number| (first_seed(flaw) + number) % end).find(wrong);
        eprintln!("{flaw:?}: seed {seed:?}");
        (flaw, seed)
    });
    for (flaw, seed) in found {
        assert!(seed.is_some(), "{flaw:?} was not found");
    }
}

/// Runs a process on some records, with a model that takes so long for a batch.
async fn with_model(simulation: &mut Simulation, latency: Duration) {
    simulation.time.set_latency("model-", latency);
    for _ in 0..20 {
        simulation.produce();
    }
    simulation.start(0);
    simulation.pass(Duration::from_secs(10)).await;
}

fn status(simulation: &Simulation) -> tidecast_actors::Status {
    let process = simulation.processes[0].as_ref().expect("a process");
    process.supervisor.status().borrow().clone()
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(test);
}

#[test]
fn a_model_that_hangs_is_said_given_up_and_loaded_again() {
    on_a_runtime(async {
        let mut simulation = Simulation::new(Arc::new(plan()), 1, None);
        with_model(&mut simulation, Duration::from_secs(1_000_000)).await;
        assert_eq!(status(&simulation).name(), "running");
        simulation.pass(config().pipeline.stall_timeout).await;
        let mut said = None;
        for _ in 0..100 {
            if let tidecast_actors::Status::Backoff { reason, .. } = status(&simulation) {
                said = Some(reason);
                break;
            }
            simulation.pass(Duration::from_secs(1)).await;
        }
        let said = said.expect("the generation ended");
        assert!(said.starts_with("forecaster-naive-0 has been at one message for "), "{said}");
        // The next generation loads a model that works.
        simulation.time.set_latency("model-", Duration::ZERO);
        simulation.pass(Duration::from_secs(60)).await;
        assert_eq!(status(&simulation).name(), "running");
        assert!(simulation.world.lock().is_committed());
    });
}

#[test]
fn a_store_that_hangs_stops_neither_the_stream_nor_a_start_nor_a_stop() {
    on_a_runtime(async {
        let mut simulation = Simulation::new(Arc::new(plan()), 1, None);
        with_model(&mut simulation, Duration::ZERO).await;
        simulation.world.lock().store_hangs = true;
        for _ in 0..20 {
            simulation.produce();
            simulation.pass(Duration::from_secs(5)).await;
        }
        assert!(simulation.world.lock().is_committed(), "the stream went on");
        simulation.stop(0);
        simulation.pass(Duration::from_secs(20)).await;
        assert_eq!(status(&simulation), tidecast_actors::Status::Stopped);
        // Snapshots are there, and cannot be had.
        assert!(simulation.world.lock().happened["snapshots"] > 0);
        simulation.start(0);
        simulation.produce();
        simulation.pass(Duration::from_secs(60)).await;
        assert!(simulation.world.lock().is_committed(), "it read again instead");
    });
}

#[test]
fn what_is_open_at_the_end_of_the_log_closes_after_a_restart_though_nothing_comes() {
    on_a_runtime(async {
        let mut simulation = Simulation::new(Arc::new(plan()), 1, None);
        simulation.start(0);
        simulation.pass(Duration::from_secs(4)).await;
        for _ in 0..5 {
            simulation.produce();
        }
        // Long enough for a snapshot behind the last record, and for no idle timeout.
        simulation.pass(Duration::from_millis(3_500)).await;
        simulation.kill(0);
        simulation.pass(Duration::from_secs(1)).await;
        let store = SnapshotStore::on(Arc::clone(&simulation.store) as _);
        let ends: Vec<i64> =
            simulation.world.lock().logs.iter().map(|log| log.len() as i64).collect();
        let mut whole = Vec::new();
        for (number, end) in ends.into_iter().enumerate() {
            let files = store.list(Some("load"), Some(&partition(number))).await.expect("listed");
            if files.first().is_some_and(|file| file.offset.0 == end) {
                whole.push(number);
            }
        }
        assert!(!whole.is_empty(), "a snapshot behind the last record");
        let forecasts = |simulation: &Simulation| -> Vec<usize> {
            let world = simulation.world.lock();
            whole.iter().map(|number| world.published[*number].forecasts.len()).collect()
        };
        let before = forecasts(&simulation);
        simulation.start(0);
        simulation.pass(Duration::from_secs(30)).await;
        let after = forecasts(&simulation);
        assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{after:?}");
        simulation.kill(0);
        let numbers = 0..simulation.world.lock().partitions();
        let expected: Vec<_> = numbers.map(|number| simulation.calm(number)).collect();
        assert_eq!(simulation.world.lock().published, expected);
    });
}
