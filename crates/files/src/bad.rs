//! What could not be used of a source, in a few lines.

use std::fmt;

use tidecast_stream::BadRecord;

/// Kinds that are told apart; more are counted together.
const MOST_KINDS: usize = 64;
/// Kinds that are shown.
const SHOWN: usize = 3;

/// How many rows of a source are no rows of its table, and why.
///
/// ```
/// use tidecast_files::BadSummary;
/// let mut summary = BadSummary::default();
/// summary.add_rows(3);
/// summary.add("line 4: `lots` in column `kw` is no DOUBLE");
/// summary.add("line 9: `more` in column `kw` is no DOUBLE");
/// assert_eq!(
///     summary.to_string(),
///     "2 of 5 rows (40 %) could not be used: \
///      2 × `…` in column `kw` is no DOUBLE (line 4: `lots`)"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadSummary {
    /// Rows that could not be used.
    pub count: usize,
    /// All rows, those among them.
    pub total: usize,
    kinds: Vec<BadReason>,
    /// Those of further kinds.
    others: usize,
}

/// A kind of reason: one with the value taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadReason {
    /// The reason, the value in it shown as `…`.
    pub kind: String,
    /// How many rows have it.
    pub count: usize,
    /// Where the first of them stands: `line 4`; empty if the reason names no place.
    pub first: String,
    /// Its value, if the reason has one.
    pub value: Option<String>,
}

impl BadSummary {
    /// Counts rows that could be used.
    pub fn add_rows(&mut self, rows: usize) {
        self.total += rows;
    }

    /// Counts a row that could not be used, by its reason as
    /// [`BadRecord::error`] has it.
    pub fn add(&mut self, reason: &str) {
        self.count += 1;
        self.total += 1;
        let (place, reason) = split_place(reason);
        let (kind, value) = without_value(reason);
        if let Some(known) = self.kinds.iter_mut().find(|known| known.kind == kind) {
            known.count += 1;
        } else if self.kinds.len() < MOST_KINDS {
            let first = place.to_owned();
            self.kinds.push(BadReason { kind, count: 1, first, value });
        } else {
            self.others += 1;
        }
    }

    /// Counts a batch: the rows that could be used, and the others.
    pub fn add_batch(&mut self, rows: usize, bad: &[BadRecord]) {
        self.add_rows(rows);
        bad.iter().for_each(|bad| self.add(&bad.error));
    }

    /// Returns the share of rows that could not be used, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.count as f64 / self.total as f64 }
    }

    /// Returns the most frequent kinds of reasons, at most three; of equally
    /// frequent ones that first which was met first.
    pub fn reasons(&self) -> Vec<&BadReason> {
        let mut kinds: Vec<&BadReason> = self.kinds.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        kinds.truncate(SHOWN);
        kinds
    }
}

impl fmt::Display for BadSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, total, .. } = self;
        let rows = if *total == 1 { "row" } else { "rows" };
        write!(f, "{count} of {total} {rows} ({}) could not be used", percent(self.share()))?;
        let mut rest = *count;
        for (number, reason) in self.reasons().into_iter().enumerate() {
            rest -= reason.count;
            let separator = if number == 0 { ": " } else { "; " };
            write!(f, "{separator}{} × {}", reason.count, reason.kind)?;
            match (reason.first.as_str(), &reason.value) {
                ("", None) => {}
                ("", Some(value)) => write!(f, " (`{value}`)")?,
                (place, None) => write!(f, " ({place})")?,
                (place, Some(value)) => write!(f, " ({place}: `{value}`)")?,
            }
        }
        if rest > 0 {
            write!(f, "; {rest} × other reasons")?;
        }
        Ok(())
    }
}

/// A share in per cent: never 0 where there is something, nor 100 where something
/// is left.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "less than 0.1 %".to_owned()
    } else if percent > 99.9 && percent < 100.0 {
        "more than 99.9 %".to_owned()
    } else if percent < 10.0 && percent.fract() > 0.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// Takes `line 4: ` or `row 7: ` off.
fn split_place(reason: &str) -> (&str, &str) {
    let is_place = |place: &&str| {
        let number = place.strip_prefix("line ").or_else(|| place.strip_prefix("row "));
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    match reason.split_once(": ") {
        Some((place, reason)) if is_place(&place) => (place, reason),
        _ => ("", reason),
    }
}

/// Replaces the value by `…`: what stands in backticks at the beginning, or
/// behind the column's name.
fn without_value(reason: &str) -> (String, Option<String>) {
    let (column, rest) =
        match reason.strip_prefix("column `").and_then(|rest| rest.split_once("`: ")) {
            Some((name, rest)) => (format!("column `{name}`: "), rest),
            None => (String::new(), reason),
        };
    let value = rest.strip_prefix('`').and_then(|rest| {
        // A value may have backticks of its own.
        let in_column = rest.split_once("` in column `").map(|(value, _)| value);
        in_column.or_else(|| rest.split_once('`').map(|(value, _)| value))
    });
    match value {
        Some(value) => {
            let rest = rest.get(value.len() + 2..).unwrap_or_default();
            (format!("{column}`…`{rest}"), Some(value.to_owned()))
        }
        None => (reason.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_one_kind_are_one_whatever_the_value() {
        let mut summary = BadSummary::default();
        summary.add_rows(90);
        for number in 0..6 {
            summary.add(&format!("line {number}: `{number},000` in column `kw` is no DOUBLE"));
        }
        summary.add("line 7: has 3 fields, the header has 2");
        summary.add("line 8: column `ts`: `noon` is no time; expected e.g. `2024-08-01`");
        summary.add("line 9: column `ts`: `now` is no time; expected e.g. `2024-08-01`");
        summary.add("line 9: `a` in column ` ` is no DOUBLE");
        let reasons: Vec<_> = summary
            .reasons()
            .into_iter()
            .map(|reason| (reason.count, reason.first.as_str(), reason.kind.as_str()))
            .collect();
        assert_eq!(
            reasons,
            [
                (6, "line 0", "`…` in column `kw` is no DOUBLE"),
                (2, "line 8", "column `ts`: `…` is no time; expected e.g. `2024-08-01`"),
                (1, "line 7", "has 3 fields, the header has 2"),
            ]
        );
        assert!(summary.to_string().starts_with("10 of 100 rows (10 %) could not be used: 6 × "));
        assert!(summary.to_string().ends_with("; 1 × other reasons"), "{summary}");
    }

    #[test]
    fn shares_are_neither_nothing_nor_all_by_rounding() {
        assert_eq!(percent(0.000_01), "less than 0.1 %");
        assert_eq!(percent(0.999_99), "more than 99.9 %");
        assert_eq!(percent(0.0417), "4.2 %");
        assert_eq!(percent(0.75), "75 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn a_topics_reasons_have_no_line() {
        let mut summary = BadSummary::default();
        summary.add("expected `{`, got `x`");
        assert_eq!(summary.reasons()[0].first, "");
    }

    #[test]
    fn countless_kinds_do_not_fill_the_memory() {
        let mut summary = BadSummary::default();
        (0..1000).for_each(|number| summary.add(&format!("line 1: reason {number}")));
        assert_eq!((summary.count, summary.kinds.len()), (1000, MOST_KINDS));
    }
}
