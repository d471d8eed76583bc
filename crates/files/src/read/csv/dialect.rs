//! What separates the fields of a file.

use std::fmt;

use super::record::{Fields, Split};

/// What may separate fields; the first is what nothing needs to be said of.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records looked at.
const SAMPLE_RECORDS: usize = 200;
/// The share of records that must have as many fields as the header for a
/// delimiter to be one.
const CLEARLY: f64 = 0.1;

/// How a file separates its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delimiter {
    pub(crate) byte: u8,
    /// Whether the first line says so (`sep=;`) and is no header.
    pub(crate) is_said: bool,
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.byte {
            b'\t' => write!(f, "separated by tabs"),
            byte => write!(f, "separated by `{}`", char::from(byte)),
        }
    }
}

impl Delimiter {
    /// Tells the delimiter from the beginning of a file; of a `head` that is not
    /// all of it the last line is left out.
    pub(crate) fn sniff(head: &[u8], is_whole: bool) -> Self {
        let first = head.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        if let Some(byte) = said(first) {
            return Self { byte, is_said: true };
        }
        let mut best = Score { delimiter: b',', share: 0.0, fields: 1 };
        for delimiter in DELIMITERS {
            if let Some(score) = Score::of(delimiter, head, is_whole) {
                best = if score.is_better_than(&best) { score } else { best };
            }
        }
        Self { byte: best.delimiter, is_said: false }
    }
}

/// Spreadsheets take the delimiter from a first line `sep=;`.
fn said(line: &[u8]) -> Option<u8> {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let prefix = line.get(..4)?;
    match line.get(4..)? {
        [byte] if prefix.eq_ignore_ascii_case(b"sep=") => Some(*byte),
        // A tab at the line's end was trimmed with the blanks.
        [] if prefix.eq_ignore_ascii_case(b"sep=") => Some(b'\t'),
        _ => None,
    }
}

/// How well a delimiter explains the first records.
struct Score {
    delimiter: u8,
    /// The share of records with as many fields as the header.
    share: f64,
    /// Fields of the header.
    fields: usize,
}

impl Score {
    /// `None` if the header has one field.
    fn of(delimiter: u8, head: &[u8], is_whole: bool) -> Option<Self> {
        let mut fields = Fields::default();
        let mut rest = head;
        let (mut header, mut records, mut fitting) = (0, 0, 0);
        while records <= SAMPLE_RECORDS && !rest.is_empty() {
            let Some(length) = record_length(rest, delimiter, &mut fields) else { break };
            let is_last = length == rest.len();
            rest = rest.get(length..).unwrap_or_default();
            if is_last && !is_whole && records > 0 {
                break;
            }
            if fields.is_blank() {
                continue;
            }
            if records == 0 {
                header = fields.len();
                if header < 2 {
                    return None;
                }
            } else if fields.fits(header) {
                fitting += 1;
            }
            records += 1;
        }
        let share = if records > 1 { f64::from(fitting) / (records - 1) as f64 } else { 1.0 };
        (header > 1).then_some(Self { delimiter, share, fields: header })
    }

    fn is_better_than(&self, other: &Self) -> bool {
        if (self.share - other.share).abs() > CLEARLY {
            return self.share > other.share;
        }
        self.fields > other.fields
    }
}

/// Splits the first record of `text` and returns its length; a quote that is
/// left open counts as a letter.
fn record_length(text: &[u8], delimiter: u8, fields: &mut Fields) -> Option<usize> {
    let line_ends = |text: &[u8]| {
        let end = memchr::memchr(b'\n', text).or_else(|| memchr::memchr(b'\r', text));
        end.map_or(text.len(), |end| end + 1)
    };
    let first = line_ends(text);
    let mut length = first;
    for _ in 0..8 {
        match fields.split(text.get(..length)?, delimiter) {
            Split::Whole => return Some(length),
            Split::Open if length < text.len() => length += line_ends(text.get(length..)?),
            _ => break,
        }
    }
    fields.split_plain(text.get(..first)?, delimiter);
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniffed(head: &str) -> char {
        char::from(Delimiter::sniff(head.as_bytes(), true).byte)
    }

    #[test]
    fn the_delimiter_is_what_explains_header_and_rows() {
        for (head, expected) in [
            ("ts,kw\n2024,1\n", ','),
            ("ts;site;kw\n2024;A;100,5\n2024;B;99,5\n", ';'),
            ("ts\tsite\tkw\n2024\tA, B\t1\n", '\t'),
            ("ts|kw\n2024|1\n", '|'),
            ("sep=;\nts;kw\n2024;1\n", ';'),
            ("\"sep=|\"\r\nts|kw\r\n", '|'),
            ("SEP=\t\nts\tkw\n", '\t'),
            // One decimal comma a row looks like two fields, of the header one.
            ("ts;\"load, kW\";kw\n2024;1,5;3\n2024;1,5;3\n", ';'),
            // A list in a cell.
            ("ts,tags,kw\n2024,a;b;c,1\n2024,a;b,2\n", ','),
            ("ts,\"a;b;c\"\n2024,1\n", ','),
            // Text over several lines.
            ("ts;note\n2024;\"one, two,\nthree, four\"\n2024;x\n", ';'),
            ("one\n1\n2\n", ','),
            ("ts;kw\n", ';'),
            ("", ','),
            // A comma more at the lines' ends.
            ("ts,kw\n2024,1,\n2024,2,\n", ','),
            ("ts;kw\r2024;1\r2024;2\r", ';'),
        ] {
            assert_eq!(sniffed(head), expected, "{head:?}");
        }
    }
}
