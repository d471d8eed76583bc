//! The engine's metrics, in one place. Names follow `docs/metrics.md`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidecast_forecast::Counter;
use tidecast_sql::{Windower, WindowerOutput};
use tidecast_stream::{ForecastStatus, Partition, SourceBatch};

pub(crate) fn received(pipeline: &str, batch: &SourceBatch) {
    let labels = [("pipeline", pipeline.to_owned())];
    counter!("tidecast_source_records_total", &labels)
        .increment((batch.rows.num_rows() + batch.bad.len()) as u64);
    counter!("tidecast_source_bytes_total", &labels).increment(batch.payload_bytes as u64);
}

pub(crate) fn windowed(
    pipeline: &str,
    partition: &Partition,
    output: &WindowerOutput,
    windower: &Windower,
) {
    let labels = [("pipeline", pipeline.to_owned())];
    counter!("tidecast_source_bad_records_total", &labels).increment(output.bad.len() as u64);
    counter!("tidecast_windower_late_rows_total", &labels).increment(output.late.len() as u64);
    counter!("tidecast_windower_windows_closed_total", &labels)
        .increment(output.windows_closed as u64);
    let labels = [
        ("pipeline", pipeline.to_owned()),
        ("topic", partition.topic.to_string()),
        ("partition", partition.number.to_string()),
    ];
    gauge!("tidecast_windower_series", &labels).set(windower.series() as f64);
    gauge!("tidecast_windower_open_windows", &labels).set(windower.open_windows() as f64);
    if let Some(time) = windower.watermark().event_time() {
        gauge!("tidecast_windower_watermark_seconds", &labels).set(time.as_micros() as f64 / 1e6);
    }
}

/// Counts a snapshot of so many bytes, or one that was not written.
pub(crate) fn snapshot(pipeline: &str, partition: &Partition, written: Option<usize>) {
    let labels = [("pipeline", pipeline.to_owned())];
    let Some(bytes) = written else {
        counter!("tidecast_windower_snapshot_failures_total", &labels).increment(1);
        return;
    };
    counter!("tidecast_windower_snapshots_total", &labels).increment(1);
    let labels = [
        ("pipeline", pipeline.to_owned()),
        ("topic", partition.topic.to_string()),
        ("partition", partition.number.to_string()),
    ];
    gauge!("tidecast_windower_snapshot_bytes", &labels).set(bytes as f64);
}

pub(crate) fn forecast(pipeline: &str, status: ForecastStatus) {
    let status = match status {
        ForecastStatus::Ok => "ok",
        ForecastStatus::TooShort => "too_short",
        ForecastStatus::Failed => "failed",
    };
    let labels = [("pipeline", pipeline.to_owned()), ("status", status.to_owned())];
    counter!("tidecast_forecaster_forecasts_total", &labels).increment(1);
}

pub(crate) fn published(pipeline: &str, messages: usize, took: Duration) {
    let labels = [("pipeline", pipeline.to_owned())];
    counter!("tidecast_publisher_transactions_total", &labels).increment(1);
    counter!("tidecast_publisher_messages_total", &labels).increment(messages as u64);
    histogram!("tidecast_publisher_commit_seconds", &labels).record(took.as_secs_f64());
}

pub(crate) fn queued(model: &str, waited: Duration) {
    let labels = [("model", model.to_owned())];
    histogram!("tidecast_forecaster_queue_seconds", &labels).record(waited.as_secs_f64());
}

/// Counts series that were not forecast, as nobody waited for them any more.
pub(crate) fn skipped(model: &str, series: usize) {
    let labels = [("model", model.to_owned())];
    counter!("tidecast_forecaster_skipped_series_total", &labels).increment(series as u64);
}

pub(crate) fn batch(model: &str, device: &str, tokens: usize, tasks: usize, took: Duration) {
    let labels = [("model", model.to_owned())];
    histogram!("tidecast_forecaster_batch_tokens", &labels).record(tokens as f64);
    histogram!("tidecast_forecaster_batch_tasks", &labels).record(tasks as f64);
    let labels = [("model", model.to_owned()), ("device", device.to_owned())];
    histogram!("tidecast_forecaster_batch_seconds", &labels).record(took.as_secs_f64());
}

/// Shows how much of a card's memory is in use, by whoever.
pub(crate) fn device_memory(device: &str, (used, all): (u64, u64)) {
    let labels = [("device", device.to_owned())];
    gauge!("tidecast_forecaster_device_memory_used_bytes", &labels).set(used as f64);
    gauge!("tidecast_forecaster_device_memory_bytes", &labels).set(all as f64);
}

/// Counts what a model has counted since it had counted `before`; counters that stood
/// still are left alone.
pub(crate) fn counted(model: &str, before: &[Counter], now: &[Counter]) {
    let before = before.iter().map(|counter| counter.value).chain(std::iter::repeat(0));
    for (counter, before) in now.iter().zip(before) {
        let added = counter.value.saturating_sub(before);
        if added > 0 {
            let mut labels = vec![("model", model.to_owned())];
            labels.extend(counter.labels.iter().cloned());
            counter!(counter.name, &labels).increment(added);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        with_local_recorder,
    };

    use super::*;

    /// Counters by their labels' values.
    #[derive(Default)]
    struct Counters(Mutex<BTreeMap<Vec<String>, Arc<AtomicU64>>>);

    impl Recorder for Counters {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels = key.labels().map(|label| label.value().to_owned()).collect();
            let mut counters = self.0.lock().expect("not poisoned");
            Counter::from_arc(Arc::clone(counters.entry(labels).or_default()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_models_counters_are_counted_on_from_where_they_were() {
        let reading = |values: [u64; 3]| {
            let labels =
                |index: usize| vec![("layer", "0".to_owned()), ("expert", index.to_string())];
            let counter = |(index, value)| tidecast_forecast::Counter {
                name: "tokens",
                labels: labels(index),
                value,
            };
            values.into_iter().enumerate().map(counter).collect::<Vec<_>>()
        };
        let counters = Counters::default();
        with_local_recorder(&counters, || {
            counted("tiny", &[], &reading([3, 0, 0]));
            counted("tiny", &reading([3, 0, 0]), &reading([4, 5, 0]));
        });
        let counters = counters.0.into_inner().expect("not poisoned");
        let counted: Vec<(String, u64)> = counters
            .iter()
            .map(|(labels, count)| (labels.join("/"), count.load(Ordering::Relaxed)))
            .collect();
        assert_eq!(counted, [("tiny/0/0".to_owned(), 4), ("tiny/0/1".to_owned(), 5)]);
    }
}
