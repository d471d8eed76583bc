//! What a pipeline has found out about its data that nobody may have meant.
//!
//! None of it stops a pipeline, and all of it makes forecasts that a user would read
//! wrong; so it is said in the log once, counted as a metric, and shown in the
//! pipeline's status.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::gauge;
use tidecast_sql::WindowerOutput;
use tidecast_stream::{Partition, SeriesKey};

/// One thing found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `series_in_two_partitions`, `mostly_empty_sums`, `late_rows`,
    /// `unusable_rows` or `source`.
    pub kind: &'static str,
    /// How often, in whatever the text counts.
    pub count: u64,
    /// What was found, with an example, and the remedy.
    pub text: String,
}

/// The findings of one pipeline, over all of its generations. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pipeline: String,
    found: Arc<Mutex<BTreeMap<&'static str, Finding>>>,
}

impl Findings {
    pub(crate) fn new(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), ..Self::default() }
    }

    /// Takes down that something was found, for the `count`-th time.
    pub(crate) fn note(&self, kind: &'static str, count: u64, text: String) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.contains_key(kind) {
            tracing::warn!(pipeline = %self.pipeline, kind, "{text}");
        }
        self.show(kind, count);
        found.insert(kind, Finding { kind, count, text });
    }

    /// Takes over what the source has to say of its records, as it is now; the log has
    /// it from the source.
    pub(crate) fn of_source(&self, warnings: &[String]) {
        const KIND: &str = "source";
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let count = warnings.len() as u64;
        match (warnings.is_empty(), found.contains_key(KIND)) {
            (true, false) => return,
            (true, true) => drop(found.remove(KIND)),
            (false, _) => {
                let text = warnings.join("; ");
                found.insert(KIND, Finding { kind: KIND, count, text });
            }
        }
        self.show(KIND, count);
    }

    fn show(&self, kind: &'static str, count: u64) {
        let labels = [("pipeline", self.pipeline.clone()), ("kind", kind.to_owned())];
        gauge!("tidecast_pipeline_findings", &labels).set(count as f64);
    }

    /// Returns what was found so far, a kind once.
    pub(crate) fn all(&self) -> Vec<Finding> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.values().cloned().collect()
    }
}

/// In which partition each series of a pipeline is, as far as this process sees.
///
/// A series is known by a hash of 64 bits: of a million series two would be taken for
/// one once in tens of millions of services.
#[derive(Debug, Clone)]
pub(crate) struct SeriesHomes {
    findings: Findings,
    homes: Arc<Mutex<Homes>>,
}

#[derive(Debug, Default)]
struct Homes {
    partitions: HashMap<u64, i32>,
    doubled: HashSet<u64>,
}

impl SeriesHomes {
    pub(crate) fn new(findings: Findings) -> Self {
        Self { findings, homes: Arc::default() }
    }

    /// Takes in series that have appeared in a partition.
    pub(crate) fn appeared(&self, partition: &Partition, series: &[SeriesKey]) {
        if series.is_empty() {
            return;
        }
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut example = None;
        for key in series {
            let mut hasher = DefaultHasher::new();
            key.to_string().hash(&mut hasher);
            let hash = hasher.finish();
            let home = *homes.partitions.entry(hash).or_insert(partition.number);
            if home != partition.number && homes.doubled.insert(hash) {
                example = Some((key, home));
            }
        }
        if let Some((key, home)) = example {
            let count = homes.doubled.len();
            let (one, other) = (home.min(partition.number), home.max(partition.number));
            let text = format!(
                "series {} comes in partitions {one} and {other} of `{}` ({count} series come in \
                 more than one): each partition forecasts its own part of it; key the records by \
                 series",
                key.label(),
                partition.topic
            );
            self.findings.note("series_in_two_partitions", count as u64, text);
        }
    }

    /// Forgets the series of partitions that go to others.
    pub(crate) fn leave(&self, partitions: &[Partition]) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.partitions.retain(|_, home| !partitions.iter().any(|p| p.number == *home));
    }
}

/// Counts steps with and without rows, where a sum may mean 0 where there is none.
#[derive(Debug)]
pub(crate) struct EmptySums {
    findings: Findings,
    sums: Vec<String>,
    steps: u64,
    empty: u64,
}

/// Steps before a share of them says anything.
const ENOUGH_STEPS: u64 = 1_000;

impl EmptySums {
    /// Returns a count of the steps of these targets, which are sums.
    pub(crate) fn new(findings: Findings, sums: Vec<String>) -> Self {
        Self { findings, sums, steps: 0, empty: 0 }
    }

    pub(crate) fn count(&mut self, steps: usize, empty: usize) {
        if self.sums.is_empty() {
            return;
        }
        self.steps += (steps + empty) as u64;
        self.empty += empty as u64;
        if self.steps >= ENOUGH_STEPS && self.empty * 2 > self.steps {
            let share = self.empty * 100 / self.steps;
            let text = format!(
                "{share} % of the steps of {} have no row, and the model takes them for missing, \
                 not for 0: where no row means that nothing happened, say fill => 'zero'",
                self.sums.join(", ")
            );
            self.findings.note("mostly_empty_sums", self.empty, text);
            self.sums.clear();
        }
    }
}

/// What is counted of a bounded source, and said.
#[derive(Debug)]
pub(crate) struct FileRows {
    findings: Findings,
    file: String,
    /// All rows, whether they could be decoded or not.
    all: u64,
    /// Rows that could not be used.
    bad: u64,
    first_bad: Option<String>,
    /// Rows that were late.
    late: u64,
}

impl FileRows {
    pub(crate) fn new(findings: Findings, file: &str) -> Self {
        Self { findings, file: file.to_owned(), all: 0, bad: 0, first_bad: None, late: 0 }
    }

    /// Counts rows that the file has brought.
    pub(crate) fn came(&mut self, rows: usize) {
        self.all += rows as u64;
    }

    /// Counts what became of them.
    pub(crate) fn judged(&mut self, output: &WindowerOutput) {
        self.bad += output.bad.len() as u64;
        if let (None, Some(bad)) = (&self.first_bad, output.bad.first()) {
            self.first_bad = Some(bad.error.clone());
        }
        if output.late.is_empty() {
            return;
        }
        self.late += output.late.len() as u64;
        let text = format!(
            "{} rows of the file came too late for what is known ahead of an origin and are left \
             out; sort the file by time, or allow more delay in WATERMARK FOR",
            self.late
        );
        self.findings.note("late_rows", self.late, text);
    }

    /// Says at the end of a file how many of its rows are in no forecast.
    pub(crate) fn say_unusable(&self) {
        let Self { all, bad, first_bad: Some(first), file, .. } = self else { return };
        let text = format!(
            "{bad} of {all} rows of `{file}` ({:.1} %) could not be used; the first: {first}",
            *bad as f64 * 100.0 / (*all).max(1) as f64
        );
        self.findings.note("unusable_rows", *bad, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(site: &str) -> SeriesKey {
        SeriesKey::new([("site", site.into())])
    }

    #[test]
    fn a_series_in_two_partitions_is_found_once_and_counted() {
        let findings = Findings::new("p");
        let homes = SeriesHomes::new(findings.clone());
        let partition = |number| Partition::new("readings", number);
        homes.appeared(&partition(0), &[key("a"), key("b")]);
        homes.appeared(&partition(0), &[key("a")]);
        assert!(findings.all().is_empty());
        homes.appeared(&partition(3), &[key("a"), key("c")]);
        homes.appeared(&partition(3), &[key("b")]);
        let [found] = &findings.all()[..] else { panic!("one finding") };
        assert_eq!((found.kind, found.count), ("series_in_two_partitions", 2));
        assert!(found.text.starts_with("series b comes in partitions 0 and 3 of `readings` (2 "));
        // A partition that went to another process takes its series along.
        homes.leave(&[partition(3)]);
        homes.appeared(&partition(5), &[key("c")]);
        assert_eq!(findings.all()[0].count, 2);
    }

    #[test]
    fn sums_are_found_mostly_empty_when_enough_was_seen() {
        let findings = Findings::new("p");
        let mut sums = EmptySums::new(findings.clone(), vec!["errors".to_owned()]);
        sums.count(100, 300);
        assert!(findings.all().is_empty(), "too few to tell");
        sums.count(200, 500);
        assert!(findings.all()[0].text.starts_with("72 % of the steps of errors have no row"));
    }
}
