//! Columns that no record has: a misspelling, which would be null for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::Gauge;
use tidecast_formats::Decoder;
use tracing::{info, warn};

use crate::observe;

/// How many records without a column are enough to say so.
const ENOUGH_RECORDS: u64 = 1_000;

/// Watches for columns of the table that no record has.
pub(super) struct AbsentColumns {
    pipeline: String,
    topic: Arc<str>,
    has_looked: bool,
    /// What was said, by column, while it is so.
    told: BTreeMap<String, (Gauge, String)>,
}

impl AbsentColumns {
    pub(super) fn new(pipeline: &str, topic: Arc<str>) -> Self {
        Self { pipeline: pipeline.to_owned(), topic, has_looked: false, told: BTreeMap::new() }
    }

    /// Looks at what `decoder` has seen: once, when there were enough records, and
    /// from then on as long as a column is absent.
    pub(super) fn look(&mut self, decoder: &Decoder) {
        if decoder.records() < ENOUGH_RECORDS || (self.has_looked && self.told.is_empty()) {
            return;
        }
        let absent = decoder.absent_columns();
        self.told.retain(|column, (gauge, _)| {
            let is_absent = absent.iter().any(|absent| absent.column == *column);
            if !is_absent {
                info!(topic = %self.topic, column, "a column came that no record had");
                gauge.set(0.0);
            }
            is_absent
        });
        if self.has_looked {
            return;
        }
        self.has_looked = true;
        for absent in absent {
            let said = format!("topic `{}`: {absent}", self.topic);
            warn!(topic = %self.topic, column = absent.column, records = decoder.records(), "{said}");
            let gauge = observe::absent_column(&self.pipeline, &self.topic, &absent.column);
            gauge.set(1.0);
            self.told.insert(absent.column, (gauge, said));
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.told.values().map(|(_, said)| said.clone()).collect()
    }
}

impl Drop for AbsentColumns {
    /// What is not read here is not missed here.
    fn drop(&mut self) {
        for (gauge, _) in self.told.values() {
            gauge.set(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use tidecast_formats::DecoderConfig;

    use super::*;

    /// `activePowr` was null for ever, and nobody was told.
    #[test]
    fn a_column_that_no_record_has_is_told_after_a_thousand_until_it_comes() {
        let fields = vec![Field::new("activepowr", DataType::Float64, true)];
        let schema = Arc::new(Schema::new(fields));
        let mut decoder = Decoder::new(DecoderConfig::new(schema), None).unwrap();
        let mut watch = AbsentColumns::new("load", Arc::from("power"));
        let mut feed = |watch: &mut AbsentColumns, payload: &str, count: usize| {
            decoder.decode(&vec![Some(payload.as_bytes()); count]).unwrap();
            watch.look(&decoder);
            watch.warnings()
        };
        let record = r#"{"activePower":1}"#;
        assert!(feed(&mut watch, record, 999).is_empty());
        let warnings = feed(&mut watch, record, 1);
        assert_eq!(warnings.len(), 1);
        let expected = "no record had a column `activepowr`; they have `activePower`; did you mean";
        assert!(warnings[0].contains(expected), "{warnings:?}");
        assert_eq!(feed(&mut watch, record, 10).len(), 1);
        assert!(feed(&mut watch, r#"{"activepowr":null}"#, 1).is_empty(), "it came");
        assert!(feed(&mut watch, record, 2_000).is_empty());
    }
}
