//! How a long download is going.

use std::time::{Duration, Instant};

/// Hears of downloads. The library writes to no terminal; who has one can draw
/// a bar. `()` hears nothing.
pub trait DownloadProgress {
    /// A download of a file of `bytes` bytes begins, or goes on after an
    /// interruption.
    fn begin(&mut self, file: &str, bytes: u64);
    /// So many bytes more are here.
    fn advance(&mut self, bytes: u64);
    /// The file is here.
    fn finish(&mut self);
}

impl DownloadProgress for () {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
}

/// Time between two lines about one download.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Writes a line to the log now and then: what a service does.
#[derive(Debug)]
pub struct Logged {
    file: String,
    total: u64,
    done: u64,
    last: Instant,
}

impl Default for Logged {
    fn default() -> Self {
        Self { file: String::new(), total: 0, done: 0, last: Instant::now() }
    }
}

impl DownloadProgress for Logged {
    fn begin(&mut self, file: &str, bytes: u64) {
        *self = Self { file: file.to_owned(), total: bytes, ..Self::default() };
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if self.last.elapsed() >= BETWEEN_LINES {
            self.last = Instant::now();
            tracing::info!(file = self.file, bytes = self.done, of = self.total, "downloading");
        }
    }

    fn finish(&mut self) {
        tracing::info!(file = self.file, bytes = self.total, "downloaded");
    }
}
