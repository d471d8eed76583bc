//! `tidecast run` as a child process, and its HTTP side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Ended, Running, tidecast};
use super::eventually;

/// A running service.
pub(crate) struct Service {
    process: Running,
    _folder: TempDir,
    address: SocketAddr,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

impl Service {
    /// Starts a service and waits until it is ready.
    pub(crate) fn start(script: &str, bootstrap: &str, settings: &[&str]) -> Self {
        let mut service = Self::launch(script, bootstrap, settings);
        let address = service.address;
        service.process.until("the service is ready", |_| {
            (get(address, "/readyz")?.code == 200).then_some(())
        });
        service
    }

    /// Starts a service and waits until it answers, ready or not.
    pub(crate) fn launch(script: &str, bootstrap: &str, settings: &[&str]) -> Self {
        let (mut process, folder) = spawn(script, bootstrap, settings);
        let address = process.until("the service listens", |process| {
            log_lines(process).find_map(|line| {
                let serves = line["message"].as_str()?.starts_with("serving ");
                serves.then(|| line["address"].as_str()?.parse().ok()).flatten()
            })
        });
        Self { process, _folder: folder, address }
    }

    /// Asks for a path over HTTP.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address, path).unwrap_or_else(|| panic!("no answer\n{}", self.process.stderr()))
    }

    /// Returns the sum of a metric's series whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let metrics = self.get("/metrics").body;
        let samples = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (found, value) = rest.rsplit_once(' ')?;
            let whole = found.is_empty() || found.starts_with('{');
            (whole && found.contains(labels)).then(|| value.parse::<f64>().unwrap())
        });
        samples.sum()
    }

    /// Waits until [`metric`](Self::metric) is `expected`: a reader may be quicker
    /// than the service, which counts what has been published.
    pub(crate) fn assert_metric(&self, name: &str, labels: &str, expected: f64) {
        eventually(
            || (self.metric(name, labels) == expected).then_some(()),
            || format!("{name}{{{labels}}} is {expected}\n{}", self.get("/metrics").body),
        );
    }

    /// Looks until `look` finds something; fails at once if the service ends.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        self.process.until(what, |process| look(&process.stderr()))
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }

    /// Stops it with SIGTERM; it has to drain and exit with status 0.
    pub(crate) fn stop(self) -> Ended {
        let ended = self.terminate();
        ended.succeeded();
        ended
    }

    /// Stops it with SIGTERM.
    pub(crate) fn terminate(self) -> Ended {
        self.process.terminate();
        self.process.wait()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends it without warning.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }
}

/// Runs a service that is to end by itself.
pub(crate) fn run_to_end(script: &str, bootstrap: &str, settings: &[&str]) -> Ended {
    let (process, _folder) = spawn(script, bootstrap, settings);
    process.wait()
}

fn spawn(script: &str, bootstrap: &str, settings: &[&str]) -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.sql");
    std::fs::write(&path, script).unwrap();
    let mut command = tidecast();
    command.arg("run").arg(&path);
    let bootstrap = format!("kafka.bootstrap_servers={bootstrap}");
    let always =
        [bootstrap.as_str(), "server.listen=127.0.0.1:0", "log.format=json", "state.url=off"];
    for setting in always.iter().chain(settings) {
        match setting.starts_with("--") {
            true => command.arg(setting),
            false => command.args(["--set", setting]),
        };
    }
    (Running::start(command), folder)
}

fn log_lines(process: &Running) -> impl Iterator<Item = Value> + use<> {
    let lines: Vec<Value> =
        process.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.into_iter()
}

fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { code, body: body.to_owned() })
}
