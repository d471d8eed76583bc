//! What the engine needs to know beside the SQL: defaults and limits.

use std::time::Duration;

use tidecast_sql::{KafkaSourceOptions, PipelinePlan, SourceConnector};
use tidecast_stream::ClientProperties;

/// Settings shared by all pipelines of a process; the command line fills them
/// from `config/tidecast.toml`, files, environment and flags.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How Kafka is reached, where a table does not say.
    pub kafka: KafkaDefaults,
    /// Names this process among those that share its pipelines: the stable part
    /// of transactional ids. Two living processes must not share it.
    pub instance: String,
    /// Whether it joins consumer groups under that name (`group.instance.id`), so that
    /// it gets its partitions again when it comes back soon.
    pub static_membership: bool,
    /// How often forecasts and offsets are committed, where a pipeline does not say.
    pub commit_interval: Duration,
    /// Most records of one partition handed on at once.
    pub max_batch_records: usize,
    /// Messages a mailbox holds before its sender waits.
    pub mailbox_capacity: usize,
    /// Bytes of messages that a mailbox holds before its sender waits; one that is
    /// larger goes alone.
    pub mailbox_bytes: usize,
    /// Series of a close that go to the model together, and are committed together.
    pub part_series: usize,
    /// How long an actor may be at one message before its pipeline is started again.
    pub stall_timeout: Duration,
    /// How long a pipeline may take to finish what is under way when it is
    /// stopped or loses partitions; below the group's session timeout.
    pub drain_timeout: Duration,
    /// When a failed pipeline is started again.
    pub restart: RestartConfig,
    /// Limits of the forecasters.
    pub model: ModelLimits,
    /// Where snapshots of state go.
    pub state: StateConfig,
}

/// Where snapshots of state go, and how often.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// A folder, or `file:///folder`; `None` is nowhere.
    pub url: Option<String>,
    /// The time between two snapshots of a partition.
    pub interval: Duration,
    /// Whether a pipeline whose windows changed leaves its state behind; it is refused
    /// otherwise.
    pub reset: bool,
}

/// How Kafka is reached.
#[derive(Debug, Clone)]
pub struct KafkaDefaults {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// Consumer groups are `<group_prefix>-<pipeline>`, where a table does not say.
    pub group_prefix: String,
    /// Further librdkafka settings, for sources and sinks alike.
    pub properties: ClientProperties,
}

/// When a failed pipeline is started again.
#[derive(Debug, Clone, Copy)]
pub struct RestartConfig {
    /// Restarts allowed within [`window`](Self::window) before it is `failed`.
    pub max_restarts: usize,
    /// The stretch of time restarts are counted over.
    pub window: Duration,
    /// Wait before the first restart; doubles with each that follows.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

/// Limits of the forecasters.
#[derive(Debug, Clone, Copy)]
pub struct ModelLimits {
    /// Threads of a model on the CPU; `None`: all cores.
    pub threads: Option<usize>,
    /// Tokens of one forward batch; `None`: what suits the device.
    pub max_batch_tokens: Option<usize>,
    /// Series of one forward batch; `None`: what suits the device.
    pub max_batch_tasks: Option<usize>,
    /// How long a batch waits to fill.
    pub max_wait: Duration,
}

impl EngineConfig {
    /// Returns the consumer group of a pipeline that reads Kafka.
    pub fn group_id(&self, plan: &PipelinePlan) -> String {
        match &plan.source.connector {
            SourceConnector::Kafka(KafkaSourceOptions { group_id: Some(group_id), .. }) => {
                group_id.clone()
            }
            _ => format!("{}-{}", self.kafka.group_prefix, plan.name),
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            kafka: KafkaDefaults {
                bootstrap_servers: "localhost:9092".to_owned(),
                group_prefix: "tidecast".to_owned(),
                properties: ClientProperties::default(),
            },
            instance: "0".to_owned(),
            static_membership: false,
            commit_interval: Duration::from_millis(200),
            max_batch_records: 8192,
            mailbox_capacity: 4,
            mailbox_bytes: 32 << 20,
            part_series: 256,
            stall_timeout: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
            restart: RestartConfig {
                max_restarts: 5,
                window: Duration::from_secs(600),
                backoff: Duration::from_secs(1),
                max_backoff: Duration::from_secs(60),
            },
            model: ModelLimits {
                threads: None,
                max_batch_tokens: None,
                max_batch_tasks: None,
                max_wait: Duration::from_millis(5),
            },
            state: StateConfig { url: None, interval: Duration::from_secs(60), reset: false },
        }
    }
}
