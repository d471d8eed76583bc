//! A service that is disturbed at random while it works, compared with one that
//! is not, message for message.
//!
//! `tests/faults.sh` runs many of these; the test here two, one of them with MOIRAI-MoE,
//! so that the ways they go stay open. Each run follows from its seed, but for what the
//! machine's speed decides. Settings (environment): `TIDECAST_FAULTS_RUNS`, `TIDECAST_FAULTS_SEED`, and
//! `TIDECAST_FAULTS_BROKERS`: 1 or 3 brokers of its own, of which one is killed now and
//! then; without it they are the other tests' and left alone.

#![allow(clippy::disallowed_methods, reason = "time passing is what is disturbed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::broker::{self, Cluster, TestBroker, unique};
use crate::support::eventually;
use crate::support::messages::{Message, Subscriber};
use crate::support::pipeline::Pipeline;
use crate::support::random::Random;
use crate::support::service::Service;
use crate::support::topics::{Series, Topics};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// Minutes of data, fed in bursts over some seconds.
const MINUTES: i64 = 240;
/// Services of the group at once.
const MOST: usize = 3;

#[test]
fn whatever_happens_to_the_service_the_forecasts_are_those_of_a_calm_run() {
    let setting = |name: &str, usual: u64| {
        std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"))
    };
    let (runs, seed) = (setting("TIDECAST_FAULTS_RUNS", 2), setting("TIDECAST_FAULTS_SEED", 12));
    let nodes = setting("TIDECAST_FAULTS_BROKERS", 0);
    let brokers = match nodes {
        0 => match broker::shared() {
            Some(shared) => Brokers::Shared(shared),
            None => return,
        },
        nodes => Brokers::Own { cluster: Cluster::start(nodes), nodes },
    };
    let mut all = Outcome::default();
    for run in seed..seed + runs {
        let outcome = Run::new(&brokers, run).go();
        eprintln!("{}", outcome.line(run));
        all.add(&outcome);
    }
    // What the script shows, and what has to hold.
    eprintln!(
        "{}",
        json!({
            "runs": runs, "survived": all.survived, "messages": all.messages,
            "duplicates": all.duplicates, "losses": all.losses, "different": all.different,
            "restored": all.restored, "moirai": all.moirai, "slow": all.slow, "disturbances": all.disturbances,
        })
    );
    assert_eq!((all.survived, all.duplicates, all.losses, all.different), (runs, 0, 0, 0));
    assert!(all.disturbances.values().sum::<u64>() >= runs, "nothing was disturbed");
}

/// What a run talks to.
enum Brokers {
    Shared(&'static dyn TestBroker),
    Own { cluster: Cluster, nodes: u64 },
}

impl Brokers {
    fn bootstrap(&self) -> &str {
        match self {
            Self::Shared(broker) => broker.bootstrap(),
            Self::Own { cluster, .. } => cluster.bootstrap(),
        }
    }
}

/// How runs went.
#[derive(Debug, Default)]
struct Outcome {
    survived: u64,
    messages: u64,
    duplicates: u64,
    losses: u64,
    different: u64,
    /// Partitions that went on from a snapshot.
    restored: u64,
    /// Runs with MOIRAI-MoE instead of the seasonal naive forecast.
    moirai: u64,
    /// Those of them in which it is slower than the stream.
    slow: u64,
    disturbances: BTreeMap<&'static str, u64>,
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.survived += other.survived;
        self.messages += other.messages;
        self.duplicates += other.duplicates;
        self.losses += other.losses;
        self.different += other.different;
        self.restored += other.restored;
        self.moirai += other.moirai;
        self.slow += other.slow;
        for (what, count) in &other.disturbances {
            *self.disturbances.entry(what).or_default() += count;
        }
    }

    fn line(&self, seed: u64) -> Value {
        json!({
            "seed": seed, "messages": self.messages, "duplicates": self.duplicates,
            "losses": self.losses, "different": self.different, "restored": self.restored,
            "moirai": self.moirai, "slow": self.slow, "disturbances": self.disturbances,
        })
    }
}

struct Run<'a> {
    brokers: &'a Brokers,
    bootstrap: String,
    random: Random,
    topics: Topics,
    pipeline: Pipeline,
    series: Vec<Series>,
    services: Vec<(usize, Service)>,
    started: usize,
    /// Where most runs keep snapshots, of a few milliseconds' age.
    state: Option<TempDir>,
    outcome: Outcome,
}

/// Some runs forecast with the model that the others would have to wait for: it is as
/// exact, a forecast's bits do not depend on what else is in its batch.
const MOIRAI: (&str, &str) = (
    "'provider' = 'moirai-moe', 'path' = 'builtin:tiny', 'device' = 'cpu'",
    "horizon => 5, context => 24, min_context => 3, samples => 20, quantiles => [0.1, 0.5, 0.9]",
);

/// Others with a model that is slower than the stream: each close takes seconds, and the
/// group waits for no poll longer than it must.
const SLOW: &str = "horizon => 64, context => 24, min_context => 3, samples => 40, \
                    quantiles => [0.1, 0.5, 0.9]";

impl<'a> Run<'a> {
    fn new(brokers: &'a Brokers, seed: u64) -> Self {
        let bootstrap = brokers.bootstrap();
        let mut random = Random(seed);
        let partitions = 1 + random.below(4) as i32;
        let series = NAMES.iter().enumerate().map(|(index, &name)| Series {
            name,
            partition: index as i32 % partitions,
            level: index as f64,
        });
        let state = (random.below(4) > 0).then(|| tempfile::tempdir().unwrap());
        let mut pipeline = Pipeline::new("exactly-once");
        let mut outcome = Outcome::default();
        if random.below(4) == 0 {
            (pipeline.model, pipeline.arguments) = MOIRAI;
            outcome.moirai = 1;
            if random.below(2) == 0 {
                pipeline.arguments = SLOW;
                outcome.slow = 1;
            }
        }
        Self {
            brokers,
            bootstrap: bootstrap.to_owned(),
            topics: Topics::create(bootstrap, partitions),
            pipeline,
            series: series.collect(),
            services: Vec::new(),
            started: 0,
            state,
            outcome,
            random,
        }
    }

    fn go(mut self) -> Outcome {
        let (topics, series) = (self.topics.clone(), self.series.clone());
        let mut pace = Random(self.random.next());
        let is_fed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut minute = 0;
                while minute < MINUTES {
                    let end = (minute + 1 + pace.below(12) as i64).min(MINUTES);
                    topics.send_minutes(&series, minute..end);
                    minute = end;
                    sleep(pace.milliseconds(20, 400));
                }
                is_fed.store(true, Ordering::Relaxed);
            });
            self.start();
            while !is_fed.load(Ordering::Relaxed) {
                sleep(self.random.milliseconds(100, 1500));
                self.disturb();
            }
        });
        if self.services.is_empty() {
            self.start();
        }
        let (topics, group) = (&self.topics, &self.pipeline.group);
        let ends = topics.ends();
        eventually(
            || (topics.committed(group) == ends).then_some(()),
            || {
                let logs: Vec<String> =
                    self.services.iter().map(|(_, service)| service.log()).collect();
                format!("{:?} to be {ends:?}\n{}", topics.committed(group), logs.join("\n\n"))
            },
        );
        while !self.services.is_empty() {
            self.take(0).terminate();
        }
        self.compare();
        self.outcome
    }

    /// Starts another service of the group, in a slot of its own.
    fn start(&mut self) {
        let taken = |slot: usize| self.services.iter().any(|(other, _)| *other == slot);
        let slot = (0..).find(|&slot| !taken(slot)).unwrap_or_default();
        self.started += 1;
        let instance = format!("pipeline.instance=slot-{slot}");
        let records = format!("pipeline.max_batch_records={}", 1 + self.random.below(40));
        let commit = format!("pipeline.commit_interval={}ms", 5 + self.random.below(200));
        let state = match &self.state {
            Some(folder) => format!("state.url={}", folder.path().display()),
            None => "state.url=off".to_owned(),
        };
        let age = format!("state.interval={}ms", 1 + self.random.below(500));
        // So that closes of eight series have several.
        let part = format!("pipeline.part_series={}", 1 + self.random.below(6));
        let threads = if self.outcome.slow > 0 { "model.threads=1" } else { "model.threads=0" };
        let settings = [instance.as_str(), &records, &commit, &state, &age, &part, threads];
        let script = self.pipeline.script(&self.topics).replace(
            "'properties.session.timeout.ms' = '6000'",
            "'properties.session.timeout.ms' = '6000', 'properties.max.poll.interval.ms' = '6000'",
        );
        // Not until it is ready: what comes next may meet it while it starts.
        self.services.push((slot, Service::launch(&script, &self.bootstrap, &settings)));
    }

    /// Takes a service out of the group's, and notes what it started from.
    fn take(&mut self, index: usize) -> Service {
        let (_, service) = self.services.remove(index);
        self.outcome.restored += service.log().matches("state restored").count() as u64;
        service
    }

    fn any(&mut self) -> Option<usize> {
        let count = self.services.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn disturb(&mut self) {
        let what = match self.random.below(24) {
            0..=5 => "killed",
            6..=8 => "stopped",
            9..=11 if self.services.len() < MOST => "joined",
            12..=13 if self.services.len() > 1 => "left",
            14 => "stalled",
            15..=17 => "snapshots damaged",
            18..=19 => "store failing",
            20..=22 => "broker killed",
            _ => return,
        };
        match what {
            "snapshots damaged" => return self.damage_snapshots(),
            "store failing" => return self.fail_store(),
            "broker killed" => return self.kill_broker(),
            _ => {}
        }
        let Some(index) = self.any() else { return self.start() };
        self.note(what);
        match what {
            "killed" => {
                self.take(index).kill();
                sleep(self.random.milliseconds(0, 500));
                self.start();
            }
            "stopped" => {
                self.take(index).terminate();
                self.start();
            }
            "joined" => self.start(),
            "left" => match self.random.below(2) {
                0 => self.take(index).kill(),
                _ => drop(self.take(index).terminate()),
            },
            _ => {
                // Longer than the session: when it comes back its partitions are
                // another's, or would have been.
                self.services[index].1.signal("STOP");
                sleep(self.random.milliseconds(6500, 9000));
                self.services[index].1.signal("CONT");
            }
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.outcome.disturbances.entry(what).or_default() += 1;
    }

    /// Cuts or changes the newest snapshot of some partitions, and starts everybody
    /// again.
    fn damage_snapshots(&mut self) {
        let Some(state) = &self.state else { return };
        let Ok(topics) = std::fs::read_dir(state.path().join(&self.pipeline.name)) else { return };
        let partitions = topics.flatten().flat_map(|topic| std::fs::read_dir(topic.path()));
        let partitions: Vec<_> = partitions.flatten().flatten().collect();
        let mut damaged = 0;
        for partition in partitions {
            let files = std::fs::read_dir(partition.path()).into_iter().flatten().flatten();
            let Some(newest) = files.map(|file| file.path()).max() else { continue };
            // A service may have replaced it meanwhile.
            let Ok(mut content) = std::fs::read(&newest) else { continue };
            match self.random.below(3) {
                0 => content.truncate(content.len() / 2),
                1 => content.iter_mut().skip(100).step_by(97).for_each(|byte| *byte ^= 1),
                _ => continue,
            }
            damaged += u64::from(std::fs::write(&newest, content).is_ok());
        }
        if damaged > 0 {
            self.note("snapshots damaged");
            while !self.services.is_empty() {
                self.take(0).kill();
            }
            self.start();
        }
    }

    /// Takes the store away for a while: snapshots cannot be written nor read.
    fn fail_store(&mut self) {
        let Some(state) = &self.state else { return };
        let (folder, aside) = (state.path().join(&self.pipeline.name), state.path().join("aside"));
        if std::fs::rename(&folder, &aside).is_err() {
            return; // nothing has been written yet
        }
        let is_taken = std::fs::write(&folder, "no folder").is_ok();
        self.note("store failing");
        if let Some(index) = self.any() {
            self.take(index).kill();
            self.start();
        }
        sleep(self.random.milliseconds(200, 2000));
        if is_taken {
            std::fs::remove_file(&folder).unwrap();
            std::fs::rename(&aside, &folder).unwrap();
        }
    }

    /// Kills a broker and brings it back.
    fn kill_broker(&mut self) {
        let Brokers::Own { cluster, nodes } = self.brokers else { return };
        let node = 1 + self.random.below(*nodes);
        self.note("broker killed");
        cluster.kill(node);
        sleep(self.random.milliseconds(0, 3000));
        cluster.up(node);
    }

    /// Compares what was published with a run that nothing disturbed.
    fn compare(&mut self) {
        let mut found = Subscriber::new(&self.bootstrap, &self.topics.forecasts);
        found.read_to_end();
        let calm_topics = self.topics.with_other_forecasts();
        let group = unique("calm");
        let calm = Pipeline {
            group: group.clone(),
            name: self.pipeline.name.clone(),
            model: self.pipeline.model,
            arguments: self.pipeline.arguments,
            ..Pipeline::new("exactly-once")
        };
        let service = Service::start(&calm.script(&calm_topics), &self.bootstrap, &[]);
        let ends = self.topics.ends();
        eventually(
            || (calm_topics.committed(&group) == ends).then_some(()),
            || format!("the calm run to end\n{}", service.log()),
        );
        service.stop();
        let mut expected = Subscriber::new(&self.bootstrap, &calm_topics.forecasts);
        expected.read_to_end();
        let (found, expected) = (by_series(&found.messages), by_series(&expected.messages));
        let outcome = &mut self.outcome;
        assert!(!expected.is_empty(), "the calm run forecast nothing");
        for (site, expected) in &expected {
            let found = found.get(site).map_or(&[][..], Vec::as_slice);
            outcome.messages += found.len() as u64;
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            found.iter().for_each(|message| *counts.entry(message.id()).or_default() += 1);
            outcome.duplicates += counts.values().map(|count| count - 1).sum::<u64>();
            outcome.losses +=
                expected.iter().filter(|message| !counts.contains_key(message.id())).count() as u64;
            // In their order, each with its content.
            let differs = expected
                .iter()
                .zip(found)
                .filter(|(expected, found)| expected.content() != found.content())
                .count();
            outcome.different += differs as u64;
        }
        outcome.different +=
            found.keys().filter(|site| !expected.contains_key(*site)).count() as u64;
        outcome.survived = 1;
    }
}

fn by_series(messages: &[Message]) -> BTreeMap<String, Vec<Message>> {
    let mut all: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for message in messages {
        all.entry(message.site().to_owned()).or_default().push(message.clone());
    }
    all
}
