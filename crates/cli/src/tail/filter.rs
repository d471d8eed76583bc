//! Which series are shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidecast_stream::SeriesKey;

/// The series that somebody asked for, by the values of their columns; all where nothing was
/// asked.
#[derive(Debug, Clone, Default)]
pub struct SeriesFilter(BTreeMap<String, BTreeSet<String>>);

/// A column that no series has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--series `{column}=…`: the pipeline's series have no such column, expected {expected}")]
pub struct FilterError {
    /// The column.
    pub column: String,
    /// Those there are.
    pub expected: String,
}

impl SeriesFilter {
    /// Returns the filter that lets series pass with one of the values of each column named;
    /// series have the columns `columns`.
    ///
    /// # Errors
    /// If another column is named.
    pub fn new(wanted: &[(String, String)], columns: &[String]) -> Result<Self, FilterError> {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (column, value) in wanted {
            let known = columns.iter().find(|known| known.eq_ignore_ascii_case(column));
            let Some(known) = known else {
                let quoted = columns.iter().map(|column| format!("`{column}`"));
                let expected = match columns {
                    [] => "no --series, for there is one series only".to_owned(),
                    _ => quoted.collect::<Vec<_>>().join(" or "),
                };
                return Err(FilterError { column: column.clone(), expected });
            };
            values.entry(known.clone()).or_default().insert(value.clone());
        }
        Ok(Self(values))
    }

    /// Whether a series is one of them.
    pub fn passes(&self, series: &SeriesKey) -> bool {
        self.0.iter().all(|(column, wanted)| match series.0.get(column) {
            Some(Value::String(text)) => wanted.contains(text),
            Some(other) => wanted.contains(&other.to_string()),
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_passes_by_every_column_that_was_named() {
        let columns = ["site".to_owned(), "meter".to_owned()];
        let filter = |wanted: &[(&str, &str)]| {
            let wanted: Vec<_> =
                wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            SeriesFilter::new(&wanted, &columns)
        };
        let key = |site: &str, meter: i64| {
            SeriesKey::new([("site", site.into()), ("meter", meter.into())])
        };
        let of = filter(&[("site", "A"), ("SITE", "B"), ("meter", "7")]).unwrap();
        assert!(of.passes(&key("A", 7)) && of.passes(&key("B", 7)));
        assert!(!of.passes(&key("C", 7)) && !of.passes(&key("A", 8)));
        assert!(!of.passes(&SeriesKey::default()), "of another pipeline");
        assert!(filter(&[]).unwrap().passes(&key("C", 7)));
        let error = filter(&[("region", "A")]).unwrap_err().to_string();
        assert!(error.contains("`region=…`") && error.contains("`site` or `meter`"), "{error}");
    }
}
