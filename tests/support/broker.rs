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

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

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

/// Returns the broker with TLS, SASL and an authorizer, starting it at the first call.
///
/// It comes from jars alone, for it is made of certificates that are made with it. `None`
/// where the user asked for these tests to be left out, or runs another broker for them
/// and has no Java.
///
/// # Panics
/// If it cannot be had, with what to do about it.
pub fn secure() -> Option<&'static SecureBroker> {
    static BROKER: OnceLock<Option<SecureBroker>> = OnceLock::new();
    let start = || {
        if is_left_out() {
            return None;
        }
        if setting("TIDECAST_TEST_BOOTSTRAP").is_some() && Via::Jars.obstacle().is_some() {
            eprintln!("left out: without Java there is no broker with TLS");
            return None;
        }
        match SecureBroker::start() {
            Ok(broker) => Some(broker),
            Err(failure) => panic!(
                "these tests need an Apache Kafka of their own ({failure}). Install a JDK of Java \
                 17 or newer, Maven and openssl. To leave these tests out, set \
                 TIDECAST_SKIP_KAFKA_TESTS=1"
            ),
        }
    };
    BROKER.get_or_init(start).as_ref()
}

/// Returns `prefix` with a suffix that no other test or run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{}-{number}", since_epoch.as_micros(), std::process::id())
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the user does without a broker, which CI never does.
fn is_left_out() -> bool {
    let in_ci = setting("CI").is_some_and(|value| value != "false");
    let is_left_out = setting("TIDECAST_SKIP_KAFKA_TESTS").as_deref() == Some("1") && !in_ci;
    if is_left_out {
        eprintln!("left out: TIDECAST_SKIP_KAFKA_TESTS=1");
    }
    is_left_out
}

fn start() -> Option<Box<dyn TestBroker>> {
    if let Some(bootstrap) = setting("TIDECAST_TEST_BOOTSTRAP") {
        return Some(Box::new(NamedBroker(bootstrap)));
    }
    if is_left_out() {
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
        let (script, _output, line) = serve(&["serve"], via)?;
        match line.strip_prefix("bootstrap.servers=") {
            Some(bootstrap) => Ok(Self { bootstrap: bootstrap.to_owned(), _script: script }),
            None => Err(line),
        }
    }
}

/// Starts the script; returns it, its output and the first line of that.
fn serve(arguments: &[&str], via: Via) -> Result<(Child, BufReader<ChildStdout>, String), String> {
    // Not the tests' own standard error: whoever reads that would wait for
    // the script's end, too.
    let log = std::env::temp_dir().join(format!("{}.log", unique("tidecast-kafka")));
    let describe = |error: &dyn std::fmt::Display| format!("kafka.sh: {error}");
    let mut command = Command::new(script().map_err(|error| describe(&error))?);
    command
        .args(arguments)
        .env("KAFKA_VIA", via.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).map_err(|error| describe(&error))?);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut script = command.spawn().map_err(|error| describe(&error))?;
    let mut line = String::new();
    let output = script.stdout.take().ok_or("kafka.sh: no output")?;
    let mut output = BufReader::new(output);
    output.read_line(&mut line).map_err(|error| describe(&error))?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    fs::remove_file(&log).map_err(|error| describe(&error))?;
    match line.trim() {
        "" => Err(format!("kafka.sh via {} failed: {}", via.name(), said.trim())),
        line => Ok((script, output, line.to_owned())),
    }
}

/// A broker with an authorizer and listeners with TLS; see `kafka.sh serve secure`.
pub struct SecureBroker {
    /// By what `kafka.sh` calls it: addresses, and the folder of the certificates.
    places: BTreeMap<String, String>,
    /// Takes calls of `kafka-acls.sh` and answers them.
    acls: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _script: Child,
}

impl SecureBroker {
    fn start() -> Result<Self, String> {
        if let Some(obstacle) = Via::Jars.obstacle() {
            return Err(obstacle.to_owned());
        }
        let (mut script, output, line) = serve(&["serve", "secure"], Via::Jars)?;
        let input = script.stdin.take().ok_or("kafka.sh: no input")?;
        let place = |word: &str| word.split_once('=').map(|(name, it)| (name.into(), it.into()));
        let places = line.split(' ').filter_map(place).collect();
        Ok(Self { places, acls: Mutex::new((input, output)), _script: script })
    }

    /// The address of a listener: `bootstrap.servers` (without TLS; a super user), `ssl`,
    /// `mtls`, `sasl`, `expired` or `elsewhere`.
    pub fn address(&self, listener: &str) -> &str {
        &self.places[listener]
    }

    /// The path of a file that `certificates.sh` has made.
    pub fn certificate(&self, name: &str) -> String {
        format!("{}/{name}", self.places["certificates"])
    }

    /// Does what `kafka-acls.sh` does with these arguments; returns when it holds.
    pub fn acl(&self, arguments: &str) {
        let mut acls = self.acls.lock().expect("no test failed meanwhile");
        let (input, output) = &mut *acls;
        writeln!(input, "{arguments}").expect("kafka.sh takes a line");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("kafka.sh answers");
        assert_eq!(answer.trim(), "ok", "{arguments}");
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
