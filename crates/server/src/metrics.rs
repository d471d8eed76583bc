//! The metrics' registry: one recorder, its buckets, and what each metric means.

use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// The list of all metrics, which is also what people read.
const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// From a millisecond (a commit, a small batch) to a minute (a stall).
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From one short context to twice a card's largest forward batch, which the
/// configuration may raise.
const TOKENS: &[f64] = &[
    64.0,
    256.0,
    1024.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
];
/// Series in a forward batch, up to twice a card's largest, likewise.
const TASKS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// How long samples of a histogram may lie before they are put into its buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process's metrics, to be shown.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Returns all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// The recorder cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// Something else records this process's metrics already.
    #[error("cannot record metrics: {0}; install the recorder once per process")]
    Install(String),
    /// No thread can be had for its upkeep.
    #[error("cannot start the thread that tends the metrics: {0}; raise the limit of threads")]
    Thread(#[from] std::io::Error),
}

impl From<BuildError> for RecorderError {
    fn from(error: BuildError) -> Self {
        Self::Install(error.to_string())
    }
}

/// Makes this process record its metrics; returns what shows them.
///
/// To be called once and early: what was measured before is lost.
///
/// # Errors
/// If a recorder is installed already, or no thread can be started.
pub fn install_recorder() -> Result<Metrics, RecorderError> {
    let recorder = build_recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|error| RecorderError::Install(error.to_string()))?;
    describe_to_recorder();
    let tended = handle.clone();
    // Without it a histogram that nobody scrapes grows for ever.
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            thread::park_timeout(UPKEEP_INTERVAL);
            tended.run_upkeep();
        }
    })?;
    Ok(Metrics(handle))
}

/// Returns a recorder with this project's buckets.
fn build_recorder() -> Result<PrometheusRecorder, RecorderError> {
    let of_unit = |unit: &str| Matcher::Suffix(format!("_{unit}"));
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(of_unit("seconds"), SECONDS)?
        .set_buckets_for_metric(of_unit("tokens"), TOKENS)?
        .set_buckets_for_metric(of_unit("tasks"), TASKS)?
        .build_recorder();
    Ok(recorder)
}

/// What a metric is, as `docs/metrics.md` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, `tidecast_<stage>_<noun>_<unit>[_total]`.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// Its labels, comma-separated.
    pub labels: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values by size.
    Histogram,
}

/// Returns all metrics of the project, read off the table in `docs/metrics.md`.
///
/// ```
/// use tidecast_server::{MetricKind, describe_metrics};
/// let depth = describe_metrics()
///     .into_iter()
///     .find(|metric| metric.name == "tidecast_mailbox_depth_messages")
///     .unwrap();
/// assert_eq!(depth.kind, MetricKind::Gauge);
/// ```
pub fn describe_metrics() -> Vec<Metric> {
    DOCUMENT.lines().filter_map(metric_of_row).collect()
}

/// Returns the metric of a row `| name | kind | labels | help |`.
fn metric_of_row(line: &'static str) -> Option<Metric> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, name, kind, labels, help, _] = cells.as_slice() else { return None };
    let kind = match *kind {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        _ => return None,
    };
    Some(Metric { name: name.trim_matches('`'), kind, labels, help })
}

/// Gives the installed recorder its help texts.
fn describe_to_recorder() {
    for Metric { name, kind, help, .. } in describe_metrics() {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(name, help),
            MetricKind::Gauge => metrics::describe_gauge!(name, help),
            MetricKind::Histogram => metrics::describe_histogram!(name, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card's full batches were all in the bucket without an end.
    #[test]
    fn a_full_batch_of_a_card_has_a_bucket() {
        let recorder = build_recorder().unwrap_or_else(|error| panic!("{error}"));
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("tidecast_forecaster_batch_tasks").record(1024.0);
            metrics::histogram!("tidecast_forecaster_batch_tokens").record(524_288.0);
        });
        let shown = recorder.handle().render();
        for bucket in ["tasks_bucket{le=\"1024\"} 1", "tokens_bucket{le=\"524288\"} 1"] {
            assert!(shown.contains(bucket), "{shown}");
        }
    }
}
