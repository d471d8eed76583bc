//! What all clients of this crate do with librdkafka's own logs and errors.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, info, warn};

/// Passes librdkafka's lines to `tracing`, one level down: what matters to an
/// operator we say ourselves, with what to do about it.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Warning => info!(target: "librdkafka", facility, "{line}"),
        _ => debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// The last error that belongs to no call of ours, such as a refused login: the
/// call it makes fail only times out.
#[derive(Debug, Default)]
pub(crate) struct LastError(Mutex<Option<RDKafkaErrorCode>>);

impl LastError {
    pub(crate) fn keep(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        debug!(target: "librdkafka", ?code, "{reason}");
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" follows the error that brought them down.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) || last.is_none() {
            *last = code;
        }
    }

    pub(crate) fn get(&self) -> Option<RDKafkaErrorCode> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What asking for a topic gave.
pub(crate) enum TopicState {
    /// It has this many partitions.
    Partitions(usize),
    /// Something is wrong with it.
    Failed(RDKafkaErrorCode),
}

/// Asks the brokers for `topic` until they answer or `timeout` has passed. A
/// topic created a moment ago may not be known yet, so "unknown" is asked again.
pub(crate) fn find_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
    mut serve: impl FnMut(),
) -> TopicState {
    let deadline = Instant::now() + timeout;
    // Unknown topics are asked for again, but not for as long as brokers are.
    let mut unknown = None;
    let patience = Instant::now() + timeout.min(Duration::from_secs(5));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let slice = left.min(Duration::from_secs(1));
        let failed = match client.fetch_metadata(Some(topic), slice) {
            Ok(metadata) => match metadata.topics().first() {
                Some(found) => match found.error() {
                    None => return TopicState::Partitions(found.partitions().len()),
                    Some(error) => error.into(),
                },
                None => RDKafkaErrorCode::UnknownTopicOrPartition,
            },
            Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
        };
        serve();
        if is_unknown(failed) {
            unknown = Some(failed);
        }
        let until = match failed {
            code if is_unknown(code) => patience,
            RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve => deadline,
            other => return TopicState::Failed(other),
        };
        let now = Instant::now();
        if now >= until {
            // The last question may have been cut short.
            return TopicState::Failed(unknown.unwrap_or(failed));
        }
        thread::park_timeout(Duration::from_millis(100).min(until - now));
    }
}

fn is_unknown(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable
    )
}
