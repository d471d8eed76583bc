//! Kafka behind the two ports of `tidecast-stream`. This is the only crate that
//! sees rdkafka; the others exchange Arrow batches and forecast messages with it.
//!
//! - [`KafkaSource`] reads a topic as a member of a consumer group, in batches,
//!   and decodes them (`tidecast_formats::decode`) to the table's columns.
//! - [`KafkaSink`] publishes forecasts together with the source's offsets, in one
//!   transaction or at least once. [`GroupCommitter`] is the source's half of
//!   that; it also works alone, for sinks that are not Kafka.
//! - [`SchemaRegistry`] has the schemas that records name, and gets those of forecasts; a
//!   [`SchemaCache`] keeps them.
//! - [`tools`] is what a demonstration or a test needs besides: a broker, a producer,
//!   a reader.
//!
//! There is no async runtime here: a source is polled, and a sink called, by a
//! thread that may block.

mod admin;
mod certificate;
mod client;
mod committer;
mod config;
mod encode;
mod error;
mod native;
mod observe;
mod rebalance;
mod registry;
mod sink;
mod source;
pub mod tools;

pub use committer::GroupCommitter;
pub use config::{
    ConfigError, Delivery, KafkaSinkConfig, KafkaSourceConfig, LostRecords, StartupMode, WarmStart,
};
pub use registry::{SchemaCache, SchemaRegistry, SubjectState};
pub use sink::{KafkaSink, OpenKafkaSink};
pub use source::KafkaSource;
