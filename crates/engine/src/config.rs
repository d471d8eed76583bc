//! What the engine needs to know beside the SQL: defaults and limits.
//!
//! Each type is a section of `config/tidecast.toml` as it is written there: a setting
//! stands in that file, in its section here, and in the section's `Default` for those
//! who use the engine without the file. What a value must be is checked as it is read.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use tidecast_actors::{Bounds, RestartPolicy};
use tidecast_sql::{PipelinePlan, SourceConnector};
use tidecast_stream::ClientProperties;

/// Settings shared by all pipelines of a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineConfig {
    /// How Kafka is reached, where a table does not say.
    pub kafka: KafkaConfig,
    /// How pipelines run.
    pub pipeline: PipelineConfig,
    /// Limits of the models.
    pub model: ModelConfig,
    /// Where snapshots of state go.
    pub state: StateConfig,
}

/// `[kafka]`: how Kafka is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `bootstrap.servers`.
    #[serde(deserialize_with = "brokers")]
    pub bootstrap_servers: String,
    /// Consumer groups are `<group_prefix>-<pipeline>`, where a table does not say.
    pub group_prefix: String,
    /// Further librdkafka settings, for sources and sinks alike.
    pub properties: ClientProperties,
    /// How the schema registry is reached; see [`tidecast_kafka::SchemaRegistry`].
    pub schema_registry: ClientProperties,
}

/// `[pipeline]`: how pipelines run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Names this process among those that share its pipelines: the stable part
    /// of transactional ids. Two living processes must not share it.
    pub instance: String,
    /// Whether it joins consumer groups under that name (`group.instance.id`), so that
    /// it gets its partitions again when it comes back soon.
    pub static_membership: bool,
    /// How often forecasts and offsets are committed, where a pipeline does not say.
    #[serde(deserialize_with = "above_zero")]
    pub commit_interval: Duration,
    /// Most records of one partition handed on at once.
    #[serde(deserialize_with = "at_least_one")]
    pub max_batch_records: usize,
    /// Messages a mailbox holds before its sender waits.
    #[serde(deserialize_with = "at_least_one")]
    pub mailbox_capacity: usize,
    /// MiB of messages that a mailbox holds before its sender waits; one that is
    /// larger goes alone.
    #[serde(deserialize_with = "at_least_one")]
    pub mailbox_mib: usize,
    /// Series of a close that go to the model together, and are committed together.
    #[serde(deserialize_with = "at_least_one")]
    pub part_series: usize,
    /// How long a pipeline may take to finish what is under way when it is
    /// stopped or loses partitions; below the group's session timeout.
    #[serde(deserialize_with = "above_zero")]
    pub drain_timeout: Duration,
    /// How long an actor may be at one message before its pipeline is started again.
    #[serde(deserialize_with = "above_zero")]
    pub stall_timeout: Duration,
    /// Restarts allowed within [`restart_window`](Self::restart_window) before a
    /// pipeline is `failed`.
    #[serde(deserialize_with = "none_or_more")]
    pub restart_max: usize,
    /// The stretch of time restarts are counted over.
    #[serde(deserialize_with = "above_zero")]
    pub restart_window: Duration,
    /// Wait before the first restart; doubles with each that follows.
    #[serde(deserialize_with = "duration")]
    pub restart_backoff: Duration,
    /// The longest wait; not below the first.
    #[serde(deserialize_with = "duration")]
    pub restart_backoff_max: Duration,
}

/// `[model]`: limits of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Threads of a model on the CPU; `None`, written 0: all cores.
    #[serde(deserialize_with = "above_zero_or_none")]
    pub threads: Option<usize>,
    /// Tokens of one forward batch; `None`, written 0: what suits the device.
    #[serde(deserialize_with = "above_zero_or_none")]
    pub max_batch_tokens: Option<usize>,
    /// Series of one forward batch; `None`, written 0: what suits the device.
    #[serde(deserialize_with = "above_zero_or_none")]
    pub max_batch_tasks: Option<usize>,
    /// How long a batch waits to fill.
    #[serde(deserialize_with = "duration")]
    pub max_wait: Duration,
}

/// `[state]`: where snapshots of state go, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// Where they go.
    pub url: StatePlace,
    /// The time between two snapshots of a partition.
    #[serde(deserialize_with = "above_zero")]
    pub interval: Duration,
    /// Whether a pipeline whose windows changed leaves its state behind; it is refused
    /// otherwise. Asked for at one start, so no setting.
    #[serde(skip)]
    pub reset: bool,
}

/// Where snapshots of state go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum StatePlace {
    /// Nowhere, written `off`.
    Nowhere,
    /// To the user's data folder, written `auto`: nobody asked for it, so it may not be
    /// there. Which one it is, is for the program to say; the engine alone has none.
    Auto(Option<String>),
    /// To a folder, `file:///folder`, or a cloud.
    Url(String),
}

impl EngineConfig {
    /// Returns the consumer group of a pipeline that reads Kafka.
    pub fn group_id(&self, plan: &PipelinePlan) -> String {
        let said = match &plan.source.connector {
            SourceConnector::Kafka(options) => options.group_id.clone(),
            SourceConnector::Filesystem(_) => None,
        };
        said.unwrap_or_else(|| format!("{}-{}", self.kafka.group_prefix, plan.name))
    }
}

impl PipelineConfig {
    /// Returns what a mailbox between two actors holds.
    pub(crate) fn mailbox(&self) -> Bounds {
        let bytes = self.mailbox_mib.saturating_mul(1 << 20);
        Bounds { messages: self.mailbox_capacity, bytes }
    }

    /// Returns when a failed pipeline is started again.
    pub(crate) fn restarts(&self) -> RestartPolicy {
        RestartPolicy {
            initial_backoff: self.restart_backoff,
            max_backoff: self.restart_backoff_max,
            max_restarts: self.restart_max,
            window: self.restart_window,
        }
    }
}

impl StatePlace {
    /// Returns the folder or URL, if there is one.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Nowhere => None,
            Self::Auto(url) => url.as_deref(),
            Self::Url(url) => Some(url),
        }
    }
}

impl From<String> for StatePlace {
    fn from(text: String) -> Self {
        match text.as_str() {
            "off" => Self::Nowhere,
            "auto" => Self::Auto(None),
            _ => Self::Url(text),
        }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            group_prefix: "tidecast".to_owned(),
            properties: ClientProperties::default(),
            schema_registry: ClientProperties::default(),
        }
    }
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            instance: "0".to_owned(),
            static_membership: false,
            commit_interval: Duration::from_millis(200),
            max_batch_records: 8192,
            mailbox_capacity: 4,
            mailbox_mib: 32,
            part_series: 256,
            drain_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(600),
            restart_max: 5,
            restart_window: Duration::from_secs(600),
            restart_backoff: Duration::from_secs(1),
            restart_backoff_max: Duration::from_secs(60),
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            threads: None,
            max_batch_tokens: None,
            max_batch_tasks: None,
            max_wait: Duration::from_millis(5),
        }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { url: StatePlace::Auto(None), interval: Duration::from_secs(60), reset: false }
    }
}

fn brokers<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.trim() {
        "" => Err(D::Error::invalid_value(Unexpected::Str(&text), &"host:port")),
        _ => Ok(text),
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    above_zero_or_none(from)?
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Unsigned(0), &"at least 1"))
}

fn above_zero_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    Ok(Some(none_or_more(from)?).filter(|number| *number > 0))
}

fn none_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    // Signed, as TOML's numbers are: "expected usize" would tell a user nothing.
    let number = i64::deserialize(from)?;
    usize::try_from(number)
        .map_err(|_| D::Error::invalid_value(Unexpected::Signed(number), &"0 or more"))
}

fn above_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    match duration(from)? {
        Duration::ZERO => {
            Err(D::Error::invalid_value(Unexpected::Str("0s"), &"a duration above zero"))
        }
        duration => Ok(duration),
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    struct Written;
    impl Visitor<'_> for Written {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"200ms\" or \"1h 30m\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
    from.deserialize_str(Written)
}
