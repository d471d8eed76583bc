//! This crate's metrics, in one place. Names follow `docs/metrics.md`.
//!
//! Each has the pipeline among its labels: several pipelines may read, or write, one
//! topic, and each is somewhere else in it.

use metrics::{Counter, Gauge, counter, gauge};

/// Returns the gauge of how far a pipeline is behind the end of a partition.
pub(crate) fn lag(pipeline: &str, topic: &str, partition: i32) -> Gauge {
    let labels = of_partition(pipeline, topic, partition);
    gauge!("tidecast_source_lag_records", &labels)
}

/// Counts records that were gone before a pipeline had read them; with none the
/// counter is there, at zero.
pub(crate) fn lost_records(pipeline: &str, topic: &str, partition: i32, count: u64) {
    let labels = of_partition(pipeline, topic, partition);
    counter!("tidecast_source_lost_records_total", &labels).increment(count);
}

/// Returns the counter of records without a value that a pipeline passed over.
pub(crate) fn tombstones(pipeline: &str, topic: &str, partition: i32) -> Counter {
    let labels = of_partition(pipeline, topic, partition);
    counter!("tidecast_source_tombstones_total", &labels)
}

/// Returns the gauge of whether a column of a pipeline's table never comes.
pub(crate) fn absent_column(pipeline: &str, topic: &str, column: &str) -> Gauge {
    let labels = [
        ("pipeline", pipeline.to_owned()),
        ("topic", topic.to_owned()),
        ("column", column.to_owned()),
    ];
    gauge!("tidecast_source_absent_columns", &labels)
}

/// Counts letters of a pipeline that their topic took in no form.
pub(crate) fn lost_letters(pipeline: &str, topic: &str, count: u64) {
    let labels = [("pipeline", pipeline.to_owned()), ("topic", topic.to_owned())];
    counter!("tidecast_publisher_lost_letters_total", &labels).increment(count);
}

fn of_partition(pipeline: &str, topic: &str, partition: i32) -> [(&'static str, String); 3] {
    [
        ("pipeline", pipeline.to_owned()),
        ("topic", topic.to_owned()),
        ("partition", partition.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// The lag of the one pipeline was the lag of the other, whoever spoke last.
    #[test]
    fn two_pipelines_on_one_topic_are_measured_apart() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for (pipeline, records) in [("load", 3_u32), ("wind", 70)] {
                lag(pipeline, "readings", 0).set(records);
                lost_records(pipeline, "readings", 0, records.into());
                tombstones(pipeline, "readings", 0).increment(records.into());
                absent_column(pipeline, "readings", "kw").set(records);
                lost_letters(pipeline, "late", records.into());
            }
        });
        let shown = recorder.handle().render();
        for name in [
            "tidecast_source_lag_records",
            "tidecast_source_lost_records_total",
            "tidecast_source_tombstones_total",
            "tidecast_source_absent_columns",
            "tidecast_publisher_lost_letters_total",
        ] {
            for (pipeline, records) in [("load", 3), ("wind", 70)] {
                let label = format!("pipeline=\"{pipeline}\"");
                let is_of = |line: &&str| line.starts_with(name) && line.contains(&label);
                let line = shown.lines().find(is_of).unwrap();
                assert!(line.ends_with(&format!(" {records}")), "{line}");
            }
        }
    }
}
