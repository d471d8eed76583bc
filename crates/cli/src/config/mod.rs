//! The configuration: `config/tidecast.toml` is built in and holds every
//! default; a file, the environment and `--set` go over it, in this order.
//!
//! Two stages: `layers` gathers what was said, and by whom; [`Config`] is what
//! it means, checked once. Whatever is wrong is named with its place: file and
//! line, variable, or flag.

mod engine;
mod error;
mod layers;
mod written;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tidecast_stream::ClientProperties;

pub use self::error::ConfigError;
use self::layers::Layers;
use self::written::Written;

/// The defaults, as people read them.
pub const DEFAULTS: &str = include_str!("../../../../config/tidecast.toml");

/// The configuration in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// How pipelines run.
    pub pipeline: PipelineConfig,
    /// Limits of the forecasters.
    pub model: ModelConfig,
    /// Snapshots of state.
    pub state: StateConfig,
    /// The HTTP endpoint.
    pub server: ServerConfig,
    /// Logging.
    pub log: LogConfig,
    in_force: Vec<Setting>,
}

/// One setting in force, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The section: `kafka`, `kafka.properties`.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value as TOML, `"***"` for a secret.
    pub value: String,
    /// Who said so; `None` for a default.
    pub origin: Option<String>,
}

/// `[kafka]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Brokers, where a table does not say.
    pub bootstrap_servers: String,
    /// Consumer groups are `<group_prefix>-<pipeline>`, where a table does not say.
    pub group_prefix: String,
    /// Further librdkafka settings.
    pub properties: ClientProperties,
}

/// `[pipeline]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Names this process among those that run the same pipelines.
    pub instance: String,
    /// Whether it joins consumer groups under that name.
    pub static_membership: bool,
    /// How often forecasts and offsets are committed.
    pub commit_interval: Duration,
    /// Most records of one partition handed on at once.
    pub max_batch_records: usize,
    /// Messages a mailbox holds.
    pub mailbox_capacity: usize,
    /// MiB of messages that a mailbox holds.
    pub mailbox_mib: usize,
    /// Series of a close that go to the model together.
    pub part_series: usize,
    /// How long a pipeline may take to finish what is under way.
    pub drain_timeout: Duration,
    /// How long an actor may be at one message.
    pub stall_timeout: Duration,
    /// Restarts allowed within [`restart_window`](Self::restart_window).
    pub restart_max: u32,
    /// The stretch of time restarts are counted over.
    pub restart_window: Duration,
    /// Wait before the first restart.
    pub restart_backoff: Duration,
    /// The longest wait.
    pub restart_backoff_max: Duration,
}

/// `[state]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// A folder or `file://`; `None`: no snapshots.
    pub url: Option<String>,
    /// Whether nobody asked for that folder: it may not be there.
    pub is_auto: bool,
    /// The time between two snapshots of a partition.
    pub interval: Duration,
}

/// `[model]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelConfig {
    /// Threads of a model on the CPU; `None`: all cores.
    pub threads: Option<usize>,
    /// Tokens of one forward batch; `None`: what suits the device.
    pub max_batch_tokens: Option<usize>,
    /// Series of one forward batch; `None`: what suits the device.
    pub max_batch_tasks: Option<usize>,
    /// How long a batch waits to fill.
    pub max_wait: Duration,
}

/// `[server]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens.
    pub listen: SocketAddr,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The filter: a level, or levels per module.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Gathers the configuration: the defaults, over them `file`, over it the
    /// variables of `environment` (those that are not `TIDECAST_<SECTION>__<KEY>`
    /// are left alone), over them the assignments `section.key=value` of `set`.
    ///
    /// # Errors
    /// If the file cannot be read, or a key or value is not understood.
    pub fn load<Name: Into<OsString>, Value: Into<OsString>>(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (Name, Value)>,
        set: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults()?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            layers.add_file(&path.display().to_string(), &text)?;
        }
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let environment: Vec<(String, String)> = environment
            .into_iter()
            .map(|(name, value)| (text(name.into()), text(value.into())))
            .collect();
        layers.add_environment(&environment)?;
        for assignment in set {
            layers.add_assignment(assignment)?;
        }
        Self::from_layers(&layers, data_folder(&environment).as_deref())
    }

    /// Returns every setting in force, in the order of the defaults.
    pub fn in_force(&self) -> &[Setting] {
        &self.in_force
    }

    /// Returns the configuration in force as TOML; who said what stands behind
    /// each value that is no default.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in &self.in_force {
            if setting.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{}]\n", setting.section);
                section = &setting.section;
            }
            let key = if setting.key.contains('.') {
                format!("\"{}\"", setting.key)
            } else {
                setting.key.clone()
            };
            let origin = setting.origin.as_ref().map(|origin| format!("  # {origin}"));
            text += &format!("{key} = {}{}\n", setting.value, origin.unwrap_or_default());
        }
        text
    }

    /// `data` is the folder of the user's data, if there is one.
    fn from_layers(layers: &Layers, data: Option<&str>) -> Result<Self, ConfigError> {
        let written: Written = layers.written()?;
        let Written { kafka, pipeline, model, state, server, log } = written;
        let wrong = |key: &str, value: String, expected: &str| ConfigError::Value {
            place: layers.place_of(key),
            message: format!("`{key}` is `{value}`; expected {expected}"),
        };
        let at_least_one = |key: &str, value: usize| match value {
            0 => Err(wrong(key, value.to_string(), "at least 1")),
            value => Ok(value),
        };
        let above_zero = |key: &str, value: written::Span| match value.0 {
            Duration::ZERO => Err(wrong(key, "0s".to_owned(), "a duration above zero")),
            value => Ok(value),
        };
        if kafka.bootstrap_servers.trim().is_empty() {
            return Err(wrong("kafka.bootstrap_servers", String::new(), "host:port"));
        }
        if pipeline.restart_backoff.0 > pipeline.restart_backoff_max.0 {
            return Err(wrong(
                "pipeline.restart_backoff",
                humantime::format_duration(pipeline.restart_backoff.0).to_string(),
                &format!(
                    "at most `pipeline.restart_backoff_max`, {}",
                    humantime::format_duration(pipeline.restart_backoff_max.0)
                ),
            ));
        }
        let listen = server.listen.parse().map_err(|_| {
            wrong("server.listen", server.listen.clone(), "address:port, such as 127.0.0.1:9464")
        })?;
        let format = match log.format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(wrong("log.format", other.to_owned(), "`text` or `json`")),
        };
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.level) {
            let expected = format!("a level such as `info` ({error})");
            return Err(wrong("log.level", log.level, &expected));
        }
        Ok(Self {
            kafka: KafkaConfig {
                bootstrap_servers: kafka.bootstrap_servers,
                group_prefix: kafka.group_prefix,
                properties: kafka.properties.into_iter().map(|(key, v)| (key, v.0)).collect(),
            },
            pipeline: PipelineConfig {
                instance: pipeline.instance,
                static_membership: pipeline.static_membership,
                commit_interval: above_zero("pipeline.commit_interval", pipeline.commit_interval)?,
                max_batch_records: at_least_one(
                    "pipeline.max_batch_records",
                    pipeline.max_batch_records,
                )?,
                mailbox_capacity: at_least_one(
                    "pipeline.mailbox_capacity",
                    pipeline.mailbox_capacity,
                )?,
                mailbox_mib: at_least_one("pipeline.mailbox_mib", pipeline.mailbox_mib)?,
                part_series: at_least_one("pipeline.part_series", pipeline.part_series)?,
                drain_timeout: above_zero("pipeline.drain_timeout", pipeline.drain_timeout)?,
                stall_timeout: above_zero("pipeline.stall_timeout", pipeline.stall_timeout)?,
                restart_max: pipeline.restart_max,
                restart_window: above_zero("pipeline.restart_window", pipeline.restart_window)?,
                restart_backoff: pipeline.restart_backoff.0,
                restart_backoff_max: pipeline.restart_backoff_max.0,
            },
            model: ModelConfig {
                threads: Some(model.threads).filter(|threads| *threads > 0),
                max_batch_tokens: Some(model.max_batch_tokens).filter(|tokens| *tokens > 0),
                max_batch_tasks: Some(model.max_batch_tasks).filter(|tasks| *tasks > 0),
                max_wait: model.max_wait.0,
            },
            state: StateConfig {
                url: state_url(&state.url, data),
                is_auto: state.url == "auto",
                interval: above_zero("state.interval", state.interval)?,
            },
            server: ServerConfig { enabled: server.enabled, listen },
            log: LogConfig { level: log.level, format },
            in_force: layers.in_force(),
        })
    }
}

/// Returns where programs keep the user's data, if `environment` names a place.
fn data_folder(environment: &[(String, String)]) -> Option<String> {
    let folder = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, folder)| folder.clone()).filter(|folder| !folder.is_empty())
    };
    folder("XDG_DATA_HOME").or_else(|| Some(format!("{}/.local/share", folder("HOME")?)))
}

/// Returns where snapshots go: `auto` is a folder of the user's data.
fn state_url(setting: &str, data: Option<&str>) -> Option<String> {
    match setting {
        "off" => None,
        "auto" => data.map(|data| format!("{data}/tidecast/state")),
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests;
