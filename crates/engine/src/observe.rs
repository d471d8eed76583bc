//! The engine's metrics, in one place. Names follow `docs/metrics.md`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidecast_forecast::ExpertUsage;
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

pub(crate) fn batch(model: &str, tokens: usize, tasks: usize, took: Duration) {
    let labels = [("model", model.to_owned())];
    histogram!("tidecast_forecaster_batch_tokens", &labels).record(tokens as f64);
    histogram!("tidecast_forecaster_batch_tasks", &labels).record(tasks as f64);
    histogram!("tidecast_forecaster_batch_seconds", &labels).record(took.as_secs_f64());
}

/// Counts the tokens of a batch at each expert; nothing for those that got none.
pub(crate) fn experts(model: &str, usage: &ExpertUsage) {
    for (layer, experts) in usage.layers.iter().enumerate() {
        for (expert, &tokens) in experts.iter().enumerate().filter(|(_, tokens)| **tokens > 0) {
            let labels = [
                ("model", model.to_owned()),
                ("layer", layer.to_string()),
                ("expert", expert.to_string()),
            ];
            counter!("tidecast_forecaster_expert_tokens_total", &labels).increment(tokens);
        }
    }
}
