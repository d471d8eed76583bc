//! What is wrong with a script, and where.

use std::fmt;

use sqlparser::tokenizer::{Location, Span};
use tidecast_stream::secret::is_secret;

/// Everything wrong with a set of scripts, in the order of their text.
///
/// Printed, it is one block per error: place and message, the line, and a
/// caret below what the message is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SqlErrors {
    /// The errors; at least one.
    pub errors: Vec<SqlError>,
}

impl fmt::Display for SqlErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SqlError {
    /// Name of the script, as given to [`crate::parse_scripts`].
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it is about; at least 1.
    pub width: usize,
    /// What was found, what was expected, and the remedy.
    pub message: String,
    /// The line of the script, secrets starred out.
    pub source_line: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret stands below its character in any
        // terminal.
        let indent: String = self
            .source_line
            .chars()
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, " {margin} |")?;
        writeln!(f, " {number} | {}", self.source_line)?;
        write!(f, " {margin} | {indent}{}", "^".repeat(self.width.max(1)))
    }
}

/// Something wrong at a place of the script at hand, before the script is named.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    /// Where; empty when only the caller knows.
    pub(crate) span: Span,
    /// What; see [`SqlError::message`].
    pub(crate) message: String,
    /// What is to be done with it.
    pub(crate) kind: ProblemKind,
}

/// What is to be done with a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// It is reported.
    Plain,
    /// It is that a name is not known: reported unless some statement could not
    /// be read, which may be the one that gives the name.
    UnknownName,
    /// It follows from a problem that is reported where it arose.
    Consequence,
}

impl Problem {
    /// Returns the problem `message` at `span`.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), kind: ProblemKind::Plain }
    }

    /// Returns the problem that a name is not known.
    pub(crate) fn unknown_name(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), kind: ProblemKind::UnknownName }
    }

    /// Returns a problem of which nothing needs to be said.
    pub(crate) fn consequence() -> Self {
        Self { span: Span::empty(), message: String::new(), kind: ProblemKind::Consequence }
    }

    /// Returns the problem with `more` at the end of its message.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.message += more;
        self
    }

    /// Returns the problem, placed at `span` if it had no place.
    pub(crate) fn or_at(mut self, span: Span) -> Self {
        if self.span == Span::empty() {
            self.span = span;
        }
        self
    }

    /// Returns the problem as an error in the script `file` with text `text`.
    pub(crate) fn into_error(self, file: &str, text: &str) -> SqlError {
        let Span { start, end } = self.span;
        let start = if start.line == 0 { Location { line: 1, column: 1 } } else { start };
        let line = as_index(start.line);
        let column = as_index(start.column);
        let source_line =
            text.lines().nth(line - 1).unwrap_or_default().trim_end_matches('\r').to_owned();
        let rest_of_line = (source_line.chars().count() + 1).saturating_sub(column);
        let width = if end.line == start.line {
            as_index(end.column).saturating_sub(column)
        } else if end.line > start.line {
            rest_of_line
        } else {
            1
        };
        SqlError {
            file: file.to_owned(),
            line,
            column,
            width: width.clamp(1, rest_of_line.max(1)),
            message: self.message,
            source_line: without_secrets(&source_line),
        }
    }
}

/// Returns a line of a script with the values of options that are secret starred
/// out: each character by one, or the caret would stand below another.
fn without_secrets(line: &str) -> String {
    /// What the quoted text before was.
    enum Before {
        Name,
        Value,
        Other,
    }
    let mut shown = String::with_capacity(line.len());
    let mut before = Before::Other;
    let (mut is_quoted, mut is_hidden) = (false, false);
    for piece in line.split_inclusive('\'') {
        let text = piece.strip_suffix('\'').unwrap_or(piece);
        if is_hidden {
            shown.extend(text.chars().map(|_| '*'));
        } else {
            shown.push_str(text);
        }
        shown.push_str(piece.get(text.len()..).unwrap_or_default());
        if is_quoted {
            before = match () {
                () if is_hidden => Before::Value,
                () if is_secret(text) => Before::Name,
                () => Before::Other,
            };
            is_hidden = false;
        } else {
            is_hidden = match before {
                Before::Name => matches!(text.trim(), "" | "="),
                // Two quotes in a row are one inside of the value.
                Before::Value => text.is_empty(),
                Before::Other => false,
            };
        }
        is_quoted = !is_quoted;
    }
    shown
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

/// Returns `; did you mean …?` with the candidate nearest to `found`, or
/// nothing when none is near.
pub(crate) fn did_you_mean<'a>(
    found: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    match nearest(found, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// Returns the candidate whose spelling is nearest to `found`, if any is near.
pub(crate) fn nearest<'a>(
    found: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Below three letters in five a suggestion is noise; a beginning that
    // somebody did not finish is a good guess whatever its length.
    const NEAR: f64 = 0.6;
    const BEGINNING: f64 = 0.7;
    let found = found.to_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let likeness = strsim::normalized_damerau_levenshtein(&found, &candidate);
        let is_beginning = found.len() >= 3 && candidate.starts_with(&found);
        if is_beginning { likeness.max(BEGINNING) } else { likeness }
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then_with(|| right.cmp(left)))
        .map(|(_, candidate)| candidate)
}

/// Returns what is expected where these are the choices: `one of …`, or the only
/// one.
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let list = quoted_list(names.iter().copied());
    if names.len() == 1 { list } else { format!("one of {list}") }
}

/// Returns the names in backticks, with commas between.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_what_is_meant() {
        let span = Span::new(Location { line: 2, column: 9 }, Location { line: 2, column: 12 });
        let error = Problem::new(span, "unknown column `kwh`")
            .into_error("a.sql", "CREATE VIEW v AS\n\tSELECT kwh FROM t");
        assert_eq!(
            error.to_string(),
            "a.sql:2:9: unknown column `kwh`\n   |\n 2 | \tSELECT kwh FROM t\n   | \t       ^^^"
        );
    }

    /// The line that an error shows had the password in it.
    #[test]
    fn the_line_is_shown_without_secrets_and_the_caret_stays() {
        let cases = [
            ("'sasl.password'='hunter2', 'tpic'='x'", "'sasl.password'='*******', 'tpic'='x'"),
            ("'sasl.password' = 'it''s', 'a'='b'", "'sasl.password' = '**''*', 'a'='b'"),
            ("'ssl.key.pem'='-----BEGIN", "'ssl.key.pem'='**********"),
            ("WHERE kind = 'key' AND name = 'x'", "WHERE kind = 'key' AND name = 'x'"),
            ("no quotes", "no quotes"),
        ];
        for (line, expected) in cases {
            assert_eq!(without_secrets(line), expected);
            assert_eq!(line.chars().count(), expected.chars().count());
        }
    }

    #[test]
    fn a_place_past_the_text_is_still_printed() {
        let span = Span::new(Location { line: 9, column: 9 }, Location { line: 9, column: 12 });
        let error = Problem::new(span, "m").into_error("a.sql", "SELECT 1");
        assert!(error.to_string().starts_with("a.sql:9:9: m"));
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(nearest("kwh", ["site", "kw", "ts"]), Some("kw"));
        assert_eq!(nearest("Topic", ["topic", "format"]), Some("topic"));
        assert_eq!(
            nearest("earliest", ["latest-offset", "earliest-offset"]),
            Some("earliest-offset")
        );
        assert_eq!(nearest("colour", ["topic", "format"]), None);
        assert_eq!(nearest("averge", ["reverse"]), None);
    }
}
