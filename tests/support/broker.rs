//! A real Apache Kafka for tests.
//!
//! One broker per test binary, shared by its tests, so topics and groups need
//! unique names ([`unique`]). It is, in this order, the one that
//! `TIDECAST_TEST_BOOTSTRAP` names, one in Docker, or one from Maven jars
//! (`tests/kafka/kafka.sh`). Without any of them the tests fail and say how to
//! get one; only a person leaves them out, with `TIDECAST_SKIP_KAFKA_TESTS=1`,
//! and CI (`CI=true`) never does.

#![allow(unreachable_pub, reason = "it is a module of several test binaries")]
#![allow(clippy::expect_used, reason = "without a broker or a clock there is no test")]
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A Kafka that tests may talk to.
pub trait TestBroker: Send + Sync {
    /// Its `bootstrap.servers`.
    fn bootstrap(&self) -> &str;
}

/// Returns the broker of this test binary, starting it at the first call.
///
/// `None` only where the user asked for these tests to be left out.
///
/// # Panics
/// If no broker can be had, with what to do about it.
pub fn shared() -> Option<&'static dyn TestBroker> {
    static BROKER: OnceLock<Option<Box<dyn TestBroker>>> = OnceLock::new();
    BROKER.get_or_init(start).as_deref()
}

/// Returns `prefix` with a suffix that no other test or run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{}-{number}", since_epoch.as_micros(), std::process::id())
}

fn start() -> Option<Box<dyn TestBroker>> {
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(bootstrap) = setting("TIDECAST_TEST_BOOTSTRAP") {
        return Some(Box::new(NamedBroker(bootstrap)));
    }
    let in_ci = setting("CI").is_some_and(|value| value != "false");
    if setting("TIDECAST_SKIP_KAFKA_TESTS").as_deref() == Some("1") && !in_ci {
        eprintln!("left out: TIDECAST_SKIP_KAFKA_TESTS=1");
        return None;
    }
    let mut failures = Vec::new();
    for via in [Via::Docker, Via::Jars] {
        match ScriptBroker::start(via) {
            Ok(broker) => return Some(Box::new(broker)),
            Err(failure) => failures.push(failure),
        }
    }
    panic!(
        "these tests need an Apache Kafka, and none could be had ({}). Name a running one with \
         TIDECAST_TEST_BOOTSTRAP=host:port, or start Docker, or install Java 17 and Maven. To \
         leave these tests out, set TIDECAST_SKIP_KAFKA_TESTS=1",
        failures.join("; "),
    );
}

/// A broker that somebody else runs.
struct NamedBroker(String);

impl TestBroker for NamedBroker {
    fn bootstrap(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy)]
enum Via {
    Docker,
    Jars,
}

impl Via {
    /// Returns why this way is not open here, if it is not.
    fn obstacle(self) -> Option<&'static str> {
        let works = |program: &str, argument: &str| {
            Command::new(program)
                .arg(argument)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        match self {
            Via::Docker => (!works("docker", "info")).then_some("no Docker daemon answers"),
            Via::Jars => (!works("java", "-version")).then_some("there is no Java"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Via::Docker => "docker",
            Via::Jars => "jars",
        }
    }
}

/// A broker that `kafka.sh serve` runs for us. The script stops it when its
/// standard input closes: when this value is dropped, or, as statics are never
/// dropped, when the process ends in whatever way.
struct ScriptBroker {
    bootstrap: String,
    _script: Child,
}

impl TestBroker for ScriptBroker {
    fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl ScriptBroker {
    fn start(via: Via) -> Result<Self, String> {
        if let Some(obstacle) = via.obstacle() {
            return Err(obstacle.to_owned());
        }
        // Not the tests' own standard error: whoever reads that would wait for
        // the script's end, too.
        let log = std::env::temp_dir().join(format!("{}.log", unique("tidecast-kafka")));
        let describe = |error: &dyn std::fmt::Display| format!("kafka.sh: {error}");
        let mut command = Command::new(script().map_err(|error| describe(&error))?);
        command
            .arg("serve")
            .env("KAFKA_VIA", via.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(|error| describe(&error))?);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut script = command.spawn().map_err(|error| describe(&error))?;
        let mut line = String::new();
        if let Some(output) = script.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| describe(&error))?;
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(&log).map_err(|error| describe(&error))?;
        match line.trim().strip_prefix("bootstrap.servers=") {
            Some(bootstrap) => Ok(Self { bootstrap: bootstrap.to_owned(), _script: script }),
            None => Err(format!("kafka.sh via {} failed: {}", via.name(), said.trim())),
        }
    }
}

/// Brokers of one test's own, which it may kill.
pub struct Cluster {
    folder: PathBuf,
    bootstrap: String,
}

impl Cluster {
    /// Starts 1 or 3 nodes.
    ///
    /// # Panics
    /// If they do not start.
    pub fn start(nodes: u64) -> Self {
        let folder = std::env::temp_dir().join(unique("tidecast-cluster"));
        let mut cluster = Self { folder, bootstrap: String::new() };
        let said = cluster.script(&["start", &nodes.to_string()]);
        cluster.bootstrap = said.trim().lines().last().unwrap_or_default().to_owned();
        cluster
    }

    /// Its `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Kills a node without warning; they are numbered from 1.
    pub fn kill(&self, node: u64) {
        self.script(&["kill", &node.to_string()]);
    }

    /// Brings a node back, and waits until it is there.
    pub fn up(&self, node: u64) {
        self.script(&["up", &node.to_string()]);
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = script().expect("tests/kafka/kafka.sh");
        // Into files: whoever reads a pipe would wait for the nodes' end, too.
        let said = std::env::temp_dir().join(unique("tidecast-cluster-said"));
        let complaint = said.with_extension("err");
        let status = Command::new(script)
            .args(arguments)
            .env("KAFKA_RUN", &self.folder)
            .stdin(Stdio::null())
            .stdout(File::create(&said).expect("a file"))
            .stderr(File::create(&complaint).expect("a file"))
            .status()
            .expect("the script runs");
        let [said, complaint] = [said, complaint].map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            drop(fs::remove_file(&path));
            text
        });
        assert!(status.success(), "kafka.sh {arguments:?}: {complaint}");
        said
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script(&["stop"]);
    }
}

/// Finds `tests/kafka/kafka.sh` from whichever package includes this module.
fn script() -> Result<PathBuf, String> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/kafka/kafka.sh"))
        .find(|path| path.is_file())
        .ok_or_else(|| "tests/kafka/kafka.sh is missing".to_owned())
}
