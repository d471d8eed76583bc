//! What demonstrations, measurements, tests and looks at a topic need besides a source and a
//! sink, so that they need no rdkafka of their own. Nothing of the service's own work uses it.
//!
//! A room of this crate and no crate beside it: these are clients like the source and
//! the sink, with their logs, their errors and, for the yardstick, their batch call;
//! apart, all of that would have to be public, and a second crate would see rdkafka.
//! No feature either: the program has the demonstration and the measurements always.

mod mock;
mod probe;
mod producer;
mod reader;
mod topics;
mod yardstick;

pub use self::mock::MockBroker;
pub use self::probe::{Probe, probe};
pub use self::producer::Producer;
pub use self::reader::{Isolation, ReadFrom, Record, TopicReader};
pub use self::topics::{create_topics, delete_topics};
pub use self::yardstick::consume_bare;
use crate::error::Verdict;

/// Why a tool could not do its work.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct KafkaToolError {
    /// What happened, where, and what to do.
    pub message: String,
}

impl KafkaToolError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<Verdict> for KafkaToolError {
    fn from(verdict: Verdict) -> Self {
        Self { message: verdict.message }
    }
}
