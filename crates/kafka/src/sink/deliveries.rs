//! What became of the messages that were sent.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::client::{self, LastError};

/// A message that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its number in the transaction.
    pub(super) index: usize,
    pub(super) code: RDKafkaErrorCode,
}

impl Refusal {
    /// Whether it was larger than its topic takes, alone or with what was in one
    /// batch with it.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge
        )
    }

    /// Whether the broker does not want such a record, or one of its batch,
    /// whatever its size.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)
    }

    /// Whether another kind of message might be taken.
    pub(super) fn is_about_the_message(&self) -> bool {
        self.is_too_large() || self.is_invalid()
    }

    /// When the first fails in a transaction, the others are purged.
    fn is_consequence(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
    }
}

/// The producer's context: it collects what did not arrive.
#[derive(Default)]
pub(super) struct Deliveries {
    refused: Mutex<Vec<Refusal>>,
    pub(super) last_error: LastError,
}

impl Deliveries {
    pub(super) fn add(&self, refusal: Refusal) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
    }

    pub(super) fn has_any(&self) -> bool {
        !self.refused.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes what did not arrive; of what follows from another failure one at
    /// most, and only where that other is not known.
    pub(super) fn take(&self) -> Vec<Refusal> {
        let mut refused =
            std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        match refused.iter().all(Refusal::is_consequence) {
            true => refused.truncate(1),
            false => refused.retain(|refusal| !refusal.is_consequence()),
        }
        refused
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.keep(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.add(Refusal { index, code });
        }
    }
}
