//! What the tests share: the command, the service as a child process, a broker,
//! topics with names of their own, and the records that go in and come out.

pub(crate) mod broker;
pub(crate) mod command;
pub(crate) mod messages;
pub(crate) mod pipeline;
pub(crate) mod random;
pub(crate) mod service;
pub(crate) mod topics;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that passes never waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);
/// How often something is looked at that does not report itself.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the path of a file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Returns the text of a file of the repository.
pub(crate) fn repository_text(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Looks until `look` finds something.
///
/// # Panics
/// If it finds nothing within [`LIMIT`], with what `describe` says.
pub(crate) fn eventually<T>(
    mut look: impl FnMut() -> Option<T>,
    describe: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {}", describe());
        std::thread::park_timeout(LOOK);
    }
}
