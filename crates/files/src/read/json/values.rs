//! Where one value of a file ends and the next begins.
//!
//! Most files have one object a line, some with brackets around all and commas
//! between: there a line is a value, whatever is wrong in it. In the others (a
//! pretty-printed array, an array on one line, objects one behind the other)
//! brackets are counted. A string ends with its line there, as JSON demands, so a
//! quote that is missing costs its value alone; where a bracket is missing, the
//! next thing that looks like an object's beginning is one.

use std::io::{self, BufRead, Read};

/// Bytes looked at to tell how the file is laid out.
const HEAD_BYTES: usize = 64 * 1024;

/// Lines of them that are judged.
const HEAD_LINES: usize = 16;

/// A value that is longer lacks a bracket.
const MAX_VALUE_BYTES: usize = 1 << 20;

const CHUNK_BYTES: usize = 64 * 1024;

/// A value, and the line it starts on.
type Value = (u64, Vec<u8>);

/// The values of a file.
pub(super) struct Values {
    reader: Box<dyn BufRead + Send>,
    layout: Layout,
    line: u64,
}

enum Layout {
    /// A value a line.
    Lines {
        /// Whether brackets stand around all of them.
        has_brackets: bool,
    },
    /// Brackets tell.
    Brackets(Buffer),
}

impl Values {
    pub(super) fn new(mut reader: impl BufRead + Send + 'static) -> io::Result<Self> {
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let is_all = head.len() < HEAD_BYTES;
        let layout = layout(&head, is_all);
        let reader = Box::new(io::Cursor::new(head).chain(reader));
        Ok(Self { reader, layout, line: 0 })
    }

    /// Returns the number of the line that was read last.
    pub(super) fn line(&self) -> u64 {
        match &self.layout {
            Layout::Lines { .. } => self.line,
            Layout::Brackets(buffer) => buffer.line,
        }
    }

    /// Returns the next value.
    pub(super) fn next(&mut self) -> io::Result<Option<Value>> {
        let has_brackets = match &mut self.layout {
            Layout::Brackets(buffer) => return buffer.next(&mut self.reader),
            Layout::Lines { has_brackets } => *has_brackets,
        };
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let value = bare(&line, has_brackets);
            if value.is_empty() {
                continue;
            }
            if value.len() < line.len() {
                let (start, end) = (offset(&line, value), value.len());
                line.truncate(start + end);
                line.drain(..start);
            }
            return Ok(Some((self.line, line)));
        }
    }
}

/// Where `part` begins in `whole`, whose part it is.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// A line without blanks and commas around and, where the file has them, the
/// array's brackets.
fn bare(line: &[u8], has_brackets: bool) -> &[u8] {
    let line = line.trim_ascii();
    let line = line.strip_suffix(b",").unwrap_or(line).trim_ascii_end();
    if !has_brackets {
        return line;
    }
    let mut line = line;
    while let [b'[' | b',', rest @ ..] = line {
        line = rest.trim_ascii_start();
    }
    // Of a value's own brackets the outermost is a brace.
    while let [rest @ .., b']' | b','] = line {
        line = rest.trim_ascii_end();
    }
    line
}

/// Tells the layout by the first lines: most of them are objects, or not.
fn layout(head: &[u8], is_all: bool) -> Layout {
    let first = head.trim_ascii_start().first().copied();
    let has_brackets = first == Some(b'[');
    let mut lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    if !is_all && lines.len() > 1 {
        lines.pop();
    }
    let contents =
        lines.iter().map(|line| bare(line, has_brackets)).filter(|line| !line.is_empty());
    let contents: Vec<&[u8]> = contents.take(HEAD_LINES).collect();
    let whole = contents.iter().filter(|line| is_one_object(line)).count();
    let is_json = matches!(first, Some(b'[' | b'{'));
    if whole * 2 > contents.len() || !is_json {
        Layout::Lines { has_brackets }
    } else {
        Layout::Brackets(Buffer::new())
    }
}

/// Whether a line is an object from its first byte to its last.
fn is_one_object(line: &[u8]) -> bool {
    let mut scan = Scan::default();
    let end = line.iter().position(|byte| scan.pass(*byte) != Passed::Inside);
    line.first() == Some(&b'{') && end.map(|end| end + 1) == Some(line.len()) && scan.depth == 0
}

/// What a byte of a value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    Inside,
    /// The value ends with it.
    End,
    /// It closes what is not open: a bracket is missing, or one too many.
    Damage,
}

/// How deep one is in a value.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    depth: u32,
    /// Which of the open brackets are those of lists, the innermost the lowest bit;
    /// what is nested deeper than there are bits is a bad record in any case.
    lists: u128,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    #[inline]
    fn pass(&mut self, byte: u8) -> Passed {
        if self.in_string {
            match byte {
                // JSON has no line's end in a string: its quote is missing.
                b'\n' => (self.in_string, self.is_escaped) = (false, false),
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Passed::Inside;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.lists = self.lists << 1 | u128::from(byte == b'[');
            }
            b'}' | b']' => {
                let is_deep = self.depth > u128::BITS;
                if !is_deep && (self.lists & 1 == 1) != (byte == b']') {
                    return Passed::Damage;
                }
                self.depth = self.depth.saturating_sub(1);
                self.lists >>= 1;
                return if self.depth == 0 { Passed::End } else { Passed::Inside };
            }
            _ => {}
        }
        Passed::Inside
    }
}

/// What is read of a file and not handed out.
struct Buffer {
    bytes: Vec<u8>,
    /// Where the rest begins in `bytes`.
    start: usize,
    /// The line on which it begins.
    line: u64,
    /// Whether an array is open around the values.
    is_open: bool,
    is_done: bool,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, line: 1, is_open: false, is_done: false }
    }

    fn next(&mut self, reader: &mut dyn BufRead) -> io::Result<Option<Value>> {
        let Some(first) = self.skip_between(reader)? else { return Ok(None) };
        let length = match first {
            b'{' | b'[' => self.find_end(reader)?,
            _ => self.find_separator(reader)?,
        };
        Ok(Some(self.take(length)))
    }

    /// Passes what stands between values; returns the first byte of the next one.
    fn skip_between(&mut self, reader: &mut dyn BufRead) -> io::Result<Option<u8>> {
        loop {
            match self.bytes.get(self.start).copied() {
                Some(b'\n') => self.line += 1,
                Some(b' ' | b'\t' | b'\r' | b',') => {}
                Some(b'[') if !self.is_open => self.is_open = true,
                Some(b']') if self.is_open => self.is_open = false,
                Some(byte) => return Ok(Some(byte)),
                None if self.fill(reader)? => continue,
                None => return Ok(None),
            }
            self.start += 1;
        }
    }

    /// Returns the length of the value that begins here with a bracket.
    fn find_end(&mut self, reader: &mut dyn BufRead) -> io::Result<usize> {
        let mut scan = Scan::default();
        let mut length = 0;
        loop {
            let rest = self.bytes.get(self.start + length..).unwrap_or_default();
            let mut passed = Passed::Inside;
            let end = rest.iter().position(|byte| {
                passed = scan.pass(*byte);
                passed != Passed::Inside
            });
            length += end.map_or(rest.len(), |end| end + 1);
            match passed {
                Passed::End => return Ok(length),
                Passed::Damage => return self.find_beginning(reader, length),
                Passed::Inside if length > MAX_VALUE_BYTES || !self.fill(reader)? => {
                    return self.find_beginning(reader, length);
                }
                Passed::Inside => {}
            }
        }
    }

    /// Returns the length of a damaged value: to where the next one seems to begin,
    /// or as far as it was looked at.
    fn find_beginning(&mut self, reader: &mut dyn BufRead, length: usize) -> io::Result<usize> {
        loop {
            if let Some(begin) = self.next_beginning() {
                return Ok(begin);
            }
            let is_enough = self.bytes.len() - self.start > MAX_VALUE_BYTES;
            if is_enough || !self.fill(reader)? {
                return Ok(length);
            }
        }
    }

    /// Returns the length of a value without brackets: to the next comma, bracket
    /// or line.
    fn find_separator(&mut self, reader: &mut dyn BufRead) -> io::Result<usize> {
        let mut length = 1;
        loop {
            let rest = self.bytes.get(self.start + length..).unwrap_or_default();
            let is_separator = |byte: &u8| matches!(byte, b',' | b'\n' | b'{' | b'[' | b']');
            if let Some(end) = rest.iter().position(is_separator) {
                return Ok(length + end);
            }
            length += rest.len();
            if length > MAX_VALUE_BYTES || !self.fill(reader)? {
                return Ok(length);
            }
        }
    }

    /// Where, behind a damaged value's first byte, an object seems to begin: a brace
    /// at the start of a line, as far in as the value's own, or one behind a comma
    /// behind a brace.
    fn next_beginning(&self) -> Option<usize> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let before = self.bytes.get(..self.start).unwrap_or_default();
        let indent = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let lines = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let at_line = lines.map(|(end, _)| end + 1).find(|begin| {
            let line = rest.get(*begin..).unwrap_or_default();
            let is_as_deep = line.iter().take(indent).all(is_blank);
            is_as_deep && line.get(indent) == Some(&b'{')
        });
        let behind_comma = || {
            let mut braces = rest.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'{');
            braces.find_map(|(begin, _)| {
                let before = rest.get(..begin)?.trim_ascii_end();
                let before = before.strip_suffix(b",")?.trim_ascii_end();
                before.ends_with(b"}").then_some(begin)
            })
        };
        at_line.or_else(behind_comma)
    }

    fn take(&mut self, length: usize) -> Value {
        let end = self.start + length;
        let value = self.bytes.get(self.start..end).unwrap_or_default();
        let line = self.line;
        self.line += value.iter().filter(|byte| **byte == b'\n').count() as u64;
        let value = value.trim_ascii_end().to_vec();
        self.start = end;
        (line, value)
    }

    /// Reads on; returns whether there was something.
    fn fill(&mut self, reader: &mut dyn BufRead) -> io::Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        // What was handed out goes once it is the larger part, the line of the
        // rest aside, whose indent is asked for.
        if self.start > self.bytes.len() / 2 {
            let before = self.bytes.get(..self.start).unwrap_or_default();
            let kept = before.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
            let kept = kept.max(self.start.saturating_sub(CHUNK_BYTES));
            self.bytes.drain(..kept);
            self.start -= kept;
        }
        let read = reader.take(CHUNK_BYTES as u64).read_to_end(&mut self.bytes)?;
        self.is_done = read == 0;
        Ok(read > 0)
    }
}
