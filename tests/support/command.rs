//! The command `tidecast` as a child process that never outlives its test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::eventually;

/// A running `tidecast`; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    /// Output goes to files: a pipe that nobody reads would stop the child.
    folder: TempDir,
    arguments: Vec<String>,
}

/// How a `tidecast` ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the command without settings of whoever runs the tests.
pub(crate) fn tidecast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidecast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDECAST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `tidecast` with `arguments` to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    let mut command = tidecast();
    command.args(arguments);
    run_command(command)
}

/// Runs a prepared command to its end.
pub(crate) fn run_command(command: Command) -> Ended {
    Running::start(command).wait()
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| File::create(folder.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let arguments = command.get_args().map(|word| word.to_string_lossy().into()).collect();
        let child = command.spawn().unwrap();
        Self { child, folder, arguments }
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// Returns how it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().unwrap()?;
        Some(Ended { status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let arguments = self.arguments.join(" ");
        let log = self.folder.path().join("stderr");
        eventually(
            || self.ended(),
            || {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                format!("the end of `tidecast {arguments}`\n{log}")
            },
        )
    }

    /// Looks until `look` finds something; fails at once if the child ends.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let log = self.folder.path().join("stderr");
        eventually(
            || {
                if let Some(ended) = self.ended() {
                    panic!("ended before {what}: {ended:#?}");
                }
                look(self)
            },
            || format!("{what}\n{}", std::fs::read_to_string(&log).unwrap_or_default()),
        )
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success(), "no signal could be sent to {id}");
    }

    /// Ends it without warning, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and been waited for, already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// Returns standard output of a command that has to succeed.
    pub(crate) fn succeeded(&self) -> &str {
        assert!(self.status.success(), "{self:#?}");
        &self.stdout
    }

    /// Returns standard error of a command that has to be refused: status 1, and
    /// an `error:` rather than a panic.
    pub(crate) fn refused(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        assert!(self.stderr.contains("error: "), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        &self.stderr
    }
}
