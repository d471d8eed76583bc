//! What a value written by others means, and how forecasts are written: one rule for
//! files and topics.
//!
//! - [`time`]: texts and numbers that are times, and their unit.
//! - [`json`]: JSON objects as rows of a table, and forecasts as JSON objects.
//!
//! Architecture invariant: this crate knows bytes, Arrow and forecasts, not where they
//! come from or go: no file, no broker, no SQL.

pub mod json;
pub mod time;

/// Returns whether `text`, without blanks around it, says that a value is missing
/// from a column that is not text: nothing at all, `NA`, `N/A`, `NaN`, `null`,
/// `None`, in the cases in which programs write them.
pub fn is_missing(text: &str) -> bool {
    matches!(text, "" | "NA" | "N/A" | "null" | "NULL" | "None") || text.eq_ignore_ascii_case("nan")
}
