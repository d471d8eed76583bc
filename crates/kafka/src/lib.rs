//! Kafka behind the two ports of `tidecast-stream`. This is the only crate that
//! sees rdkafka; the others exchange Arrow batches and forecast messages with it.
//!
//! - [`KafkaSource`] reads a topic as a member of a consumer group, in batches,
//!   and decodes them (`tidecast_formats::json`) to the table's columns.
//! - [`KafkaSink`] publishes forecasts together with the source's offsets, in one
//!   transaction or at least once. [`GroupCommitter`] is the source's half of
//!   that; it also works alone, for sinks that are not Kafka.
//! - [`MockBroker`], [`Producer`], [`TopicReader`] and [`create_topics`] are what
//!   a demonstration or a test needs besides.
//!
//! There is no async runtime here: a source is polled, and a sink called, by a
//! thread that may block.

mod admin;
mod client;
mod committer;
mod config;
mod encode;
mod error;
mod mock;
mod native;
mod observe;
mod rebalance;
mod sink;
mod source;
mod tools;
mod yardstick;

pub use admin::{create_topics, delete_topics};
pub use committer::GroupCommitter;
pub use config::{
    ConfigError, Delivery, KafkaSinkConfig, KafkaSourceConfig, LostRecords, StartupMode,
};
pub use error::KafkaToolError;
pub use mock::MockBroker;
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use tools::{Isolation, Producer, ReadFrom, Record, TopicReader};
pub use yardstick::consume_bare;
