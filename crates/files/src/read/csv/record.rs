//! One record: its text into fields.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// Whether a text is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// It is.
    Whole,
    /// A quote is open at its end: more lines may belong to it.
    Open,
    /// Something stands between a closing quote and the next delimiter, and the
    /// record runs over several lines.
    Torn,
}

/// The fields of a record, of which the memory is used again.
///
/// Quotes count where a field starts; two of them in a quoted field are one.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The text in which the fields stand, if it is not the record as written:
    /// the one without quotes.
    unquoted: Option<Vec<u8>>,
    spare: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Fields {
    /// Splits `record`, which may end in a line end.
    pub(super) fn split(&mut self, record: &[u8], delimiter: u8) -> Split {
        if memchr(b'"', record).is_none() {
            self.split_plain(record, delimiter);
            return Split::Whole;
        }
        self.split_quoted(without_line_end(record), delimiter)
    }

    /// Splits `record` with quotes as letters.
    pub(super) fn split_plain(&mut self, record: &[u8], delimiter: u8) {
        if let Some(unquoted) = self.unquoted.take() {
            self.spare = unquoted;
        }
        self.ranges.clear();
        let record = without_line_end(record);
        let mut start = 0;
        for end in memchr_iter(delimiter, record) {
            self.ranges.push(start..end);
            start = end + 1;
        }
        self.ranges.push(start..record.len());
    }

    fn split_quoted(&mut self, record: &[u8], delimiter: u8) -> Split {
        let mut text = self.unquoted.take().unwrap_or_else(|| std::mem::take(&mut self.spare));
        text.clear();
        self.ranges.clear();
        let is_long = memchr(b'\n', record).is_some() || memchr(b'\r', record).is_some();
        let mut rest = record;
        let mut outcome = Split::Whole;
        loop {
            let start = text.len();
            if let Some(quoted) = rest.strip_prefix(b"\"") {
                let Some(behind) = unquote(quoted, &mut text) else {
                    outcome = Split::Open;
                    break;
                };
                rest = behind;
                if is_long && rest.first().is_some_and(|byte| *byte != delimiter) {
                    outcome = Split::Torn;
                    break;
                }
            }
            let end = memchr(delimiter, rest);
            text.extend_from_slice(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
            self.ranges.push(start..text.len());
            match end {
                Some(end) => rest = rest.get(end + 1..).unwrap_or_default(),
                None => break,
            }
        }
        self.unquoted = Some(text);
        outcome
    }

    /// Returns how many fields there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the text that [`Fields::range`] is of, `record` being what was
    /// split.
    pub(super) fn text<'a>(&'a self, record: &'a [u8]) -> &'a [u8] {
        self.unquoted.as_deref().unwrap_or(record)
    }

    pub(super) fn range(&self, field: usize) -> Range<usize> {
        self.ranges.get(field).cloned().unwrap_or(0..0)
    }

    /// Returns whether all fields are empty.
    pub(super) fn is_blank(&self) -> bool {
        self.ranges.iter().all(Range::is_empty)
    }

    /// Returns whether these are the fields of a record under a header of
    /// `expected` ones: as many, or more that are all empty, as of a delimiter at
    /// the lines' ends.
    pub(super) fn fits(&self, expected: usize) -> bool {
        self.ranges.len() >= expected && self.ranges.iter().skip(expected).all(Range::is_empty)
    }
}

/// Adds a quoted text to `text` and returns what stands behind its closing
/// quote; `None` if there is none.
fn unquote<'a>(mut quoted: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let quote = memchr(b'"', quoted)?;
        text.extend_from_slice(quoted.get(..quote)?);
        quoted = quoted.get(quote + 1..)?;
        match quoted.strip_prefix(b"\"") {
            Some(more) => {
                text.push(b'"');
                quoted = more;
            }
            None => return Some(quoted),
        }
    }
}

fn without_line_end(mut record: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = record {
        record = rest;
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(record: &str) -> (Split, Vec<String>) {
        let mut fields = Fields::default();
        let outcome = fields.split(record.as_bytes(), b',');
        let text = fields.text(record.as_bytes());
        let texts = (0..fields.len())
            .map(|field| String::from_utf8_lossy(&text[fields.range(field)]).into_owned());
        (outcome, texts.collect())
    }

    #[test]
    fn quotes_count_where_a_field_starts() {
        for (record, expected) in [
            ("a,b\r\n", &["a", "b"][..]),
            ("", &[""]),
            (",\n", &["", ""]),
            ("\"a,b\",c\n", &["a,b", "c"]),
            ("\"a \"\"b\"\"\",\"\"\n", &["a \"b\"", ""]),
            ("a \"b\",c\n", &["a \"b\"", "c"]),
            ("\"a\"b,c\n", &["ab", "c"]),
            ("\"a\nb\",c\n", &["a\nb", "c"]),
        ] {
            let (outcome, fields) = split(record);
            assert_eq!(
                (outcome, fields.as_slice()),
                (
                    Split::Whole,
                    &expected.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{record:?}"
            );
        }
    }

    #[test]
    fn an_open_quote_is_open_and_one_closed_by_chance_is_torn() {
        assert_eq!(split("a,\"b\n").0, Split::Open);
        assert_eq!(split("a,\"b\"\"\n").0, Split::Open);
        assert_eq!(split("1,\"b\n2,\"c\",3\n").0, Split::Torn);
    }
}
