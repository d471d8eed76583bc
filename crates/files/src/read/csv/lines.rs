//! A text as lines, in blocks, without a copy per line.

use std::io::Read;
use std::path::{Path, PathBuf};

use memchr::memchr;

use crate::error::FileError;
use crate::text::open_text;

const BLOCK_BYTES: usize = 256 * 1024;
/// A line is a record, as a rule; what has no line end for so long is no text.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// The lines of a text. Line ends are `\n` or `\r\n`, or `\r` where the first
/// block has no other.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    block: Vec<u8>,
    /// Where the next line starts.
    position: usize,
    /// Where what has been read ends.
    filled: usize,
    is_done: bool,
    line_end: u8,
    /// The number of the next line, from 1.
    line: u64,
    /// Whether the block may hold NUL bytes.
    may_hold_nul: bool,
    /// Bytes in front of the next line.
    passed: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let mut lines = Self {
            path: path.to_owned(),
            reader: Box::new(open_text(path)?),
            block: Vec::new(),
            position: 0,
            filled: 0,
            is_done: false,
            line_end: b'\n',
            line: 1,
            may_hold_nul: false,
            passed: 0,
        };
        lines.fill(BLOCK_BYTES)?;
        let head = lines.ahead();
        if memchr(b'\n', head).is_none() && memchr(b'\r', head).is_some() {
            lines.line_end = b'\r';
        }
        Ok(lines)
    }

    /// What has been read and not been advanced over; after [`Lines::open`] the
    /// first block.
    pub(super) fn ahead(&self) -> &[u8] {
        self.block.get(self.position..self.filled).unwrap_or_default()
    }

    /// Returns whether [`Lines::ahead`] is all there is.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn line_end(&self) -> u8 {
        self.line_end
    }

    /// Returns how many bytes lie in front of the next line.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    pub(super) fn may_hold_nul(&self) -> bool {
        self.may_hold_nul
    }

    /// Returns the length of the text from the next line's start to the end of
    /// the line that is `skip` bytes behind it, line end included; `None` if
    /// there is no further line.
    pub(super) fn find_end(&mut self, skip: usize) -> Result<Option<usize>, FileError> {
        let mut searched = skip;
        loop {
            let ahead = self.ahead();
            let rest = ahead.get(searched..).unwrap_or_default();
            if let Some(found) = memchr(self.line_end, rest) {
                return Ok(Some(searched + found + 1));
            }
            searched = ahead.len();
            if self.is_done {
                return Ok((searched > skip).then_some(searched));
            }
            if searched > MAX_LINE_BYTES {
                let reason = format!(
                    "line {}: has no end within {} MiB; expected one record a line",
                    self.line,
                    MAX_LINE_BYTES / 1024 / 1024
                );
                return Err(unreadable(&self.path, reason));
            }
            // Twice as much each time, or a long line would be moved many times.
            self.fill(searched.max(BLOCK_BYTES))?;
        }
    }

    /// Returns the `length` bytes from the next line's start.
    pub(super) fn text(&self, length: usize) -> &[u8] {
        self.block.get(self.position..self.position + length).unwrap_or_default()
    }

    /// Goes on behind `length` bytes in which `lines` lines end.
    pub(super) fn advance(&mut self, length: usize, lines: u64) {
        self.position = (self.position + length).min(self.filled);
        self.passed += length as u64;
        self.line += lines;
    }

    /// Returns how many lines end in `text`.
    pub(super) fn count(&self, text: &[u8]) -> u64 {
        memchr::memchr_iter(self.line_end, text).count() as u64
    }

    /// Reads `bytes` more, or to the end.
    fn fill(&mut self, bytes: usize) -> Result<(), FileError> {
        self.block.copy_within(self.position..self.filled, 0);
        self.filled -= self.position;
        self.position = 0;
        if self.block.len() < self.filled + bytes {
            self.block.resize(self.filled + bytes, 0);
        }
        let end = self.filled + bytes;
        let start = self.filled;
        while self.filled < end {
            let Some(room) = self.block.get_mut(self.filled..end) else { break };
            match self.reader.read(room) {
                Ok(0) => {
                    self.is_done = true;
                    break;
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let lines = self.line + self.count(self.ahead()) - 1;
                    let reason = format!("after line {lines}: {error}");
                    return Err(unreadable(&self.path, reason));
                }
            }
        }
        let read = self.block.get(start..self.filled).unwrap_or_default();
        let kept_nul =
            self.may_hold_nul && memchr(0, self.block.get(..start).unwrap_or_default()).is_some();
        self.may_hold_nul = kept_nul || memchr(0, read).is_some();
        Ok(())
    }
}

pub(super) fn unreadable(path: &Path, reason: String) -> FileError {
    FileError::Unreadable { path: path.to_owned(), format: "CSV", reason }
}
