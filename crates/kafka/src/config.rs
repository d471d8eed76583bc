//! What a source or a sink needs to know, and librdkafka's settings made of it.

use std::fs::File;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tidecast_formats::forecast::ForecastEncoder;
use tidecast_stream::secret::{self, HIDDEN, PropertyFileError};
use tidecast_stream::{
    ClientProperties, EpochUnit, FieldColumn, ForecastFormat, ForecastSchema, MetadataColumn,
    Tombstones, ValueFormat,
};

use crate::registry::SchemaCache;

/// Where a [`KafkaSource`](crate::KafkaSource) reads, and how.
#[derive(Clone, Debug)]
pub struct KafkaSourceConfig {
    /// The pipeline that reads: its metrics say so.
    pub pipeline: String,
    /// The brokers to ask first, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group that shares the topic's partitions.
    pub group_id: String,
    /// The topic.
    pub topic: String,
    /// The table's columns.
    pub schema: SchemaRef,
    /// What a record's value is; of raw ones it is the first column that is no metadata.
    pub format: ValueFormat,
    /// What a record without a value is.
    pub tombstones: Tombstones,
    /// Columns that are a part of the record beside its value.
    pub metadata: Vec<MetadataColumn>,
    /// Columns that are fields inside of others.
    pub fields: Vec<FieldColumn>,
    /// Where the schemas are that records name; see [`SchemaRegistry`](crate::SchemaRegistry).
    pub schema_registry: ClientProperties,
    /// Schemas that were asked for before, by a source of the same registry.
    pub schemas: SchemaCache,
    /// What numbers count in columns of times; `None`: told by their size.
    pub timestamp_unit: Option<EpochUnit>,
    /// Where to begin in a partition without a committed offset.
    pub startup: StartupMode,
    /// What to do where records are gone before they were read, or read again.
    pub lost_records: LostRecords,
    /// librdkafka's settings, over our own.
    pub properties: ClientProperties,
    /// The most records of a [`SourceBatch`](tidecast_stream::SourceBatch).
    pub max_batch_records: usize,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// How long the broker and the topic may be missing at the start, and how
    /// long a request may take.
    pub timeout: Duration,
}

impl KafkaSourceConfig {
    /// Returns the defaults: no pipeline's name, earliest offset, batches of 8,192 records, 5 ms of
    /// linger, 15 s of patience.
    pub fn new(
        bootstrap_servers: impl Into<String>,
        group_id: impl Into<String>,
        topic: impl Into<String>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            pipeline: String::new(),
            bootstrap_servers: bootstrap_servers.into(),
            group_id: group_id.into(),
            topic: topic.into(),
            schema,
            format: ValueFormat::Json,
            tombstones: Tombstones::Bad,
            metadata: Vec::new(),
            fields: Vec::new(),
            schema_registry: ClientProperties::default(),
            schemas: SchemaCache::default(),
            timestamp_unit: None,
            startup: StartupMode::Earliest,
            lost_records: LostRecords::Skip,
            properties: ClientProperties::default(),
            max_batch_records: 8_192,
            linger: Duration::from_millis(5),
            timeout: Duration::from_secs(15),
        }
    }

    /// Returns librdkafka's settings for this source.
    ///
    /// # Errors
    /// If a property is unknown, ill-formed or one that we have to set ourselves.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        check_topic(&self.topic)?;
        let mut config = ClientConfig::new();
        // Measured (docs/performance.md): with librdkafka's own defaults a consumer reads at
        // half the rate. Where so much is fetched ahead as the last two say, a partition is
        // left alone for the back-off, a second unless said, in which the queue runs dry; so it
        // is short, and little has to be fetched ahead, of which each message takes some 500
        // bytes beside its own.
        config
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "65536");
        let new_protocol = self.properties.get("group.protocol") == Some("consumer");
        if !new_protocol {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        apply(&mut config, &self.properties, SOURCE_RESERVED)?;
        let strategy = self.properties.get("partition.assignment.strategy");
        if let Some(strategy) = strategy.filter(|strategy| *strategy != "cooperative-sticky") {
            return Err(ConfigError::Eager { strategy: strategy.to_owned() });
        }
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Ends are found by comparing positions. The events for them make
            // librdkafka's batch call count one record too many, and the next
            // rebalance skip one (librdkafka issue 4844).
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false");
        check(&config)?;
        Ok(config)
    }
}

/// Where to begin reading without a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartupMode {
    /// At the oldest record that is still there.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record whose timestamp is no less than this, in milliseconds since
    /// 1970; behind the newest where none is.
    Timestamp(i64),
    /// Nowhere: the group has to have a committed offset.
    GroupOffsets,
    /// So far back that contexts are full, by the records' event times.
    Warm(WarmStart),
}

/// How far back contexts reach, and by which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmStart {
    /// How far, from the partition's newest event time or, where that is later, from now.
    pub history: Duration,
    /// The position of the event time's column in the table.
    pub time: usize,
}

/// What to do where retention took records before they were read, or before a
/// restart read them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LostRecords {
    /// Say so, count them and go on at the first that is left.
    #[default]
    Skip,
    /// Refuse to go on.
    Fail,
}

/// Where a [`KafkaSink`](crate::KafkaSink) writes, and what it promises.
#[derive(Clone, Debug)]
pub struct KafkaSinkConfig {
    /// The pipeline that writes: its metrics say so.
    pub pipeline: String,
    /// The brokers to ask first, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// The topic of the forecasts.
    pub topic: String,
    /// How they are written.
    pub format: ForecastFormat,
    /// What they look like; nested JSON does not ask.
    pub forecasts: ForecastSchema,
    /// Where their schema is registered, if the format has one in front of each record; see
    /// [`SchemaRegistry`](crate::SchemaRegistry).
    pub schema_registry: ClientProperties,
    /// The topic of late rows; they are only counted when absent.
    pub late_topic: Option<String>,
    /// The topic of records that could not be used; they are only counted when
    /// absent.
    pub bad_topic: Option<String>,
    /// What is promised about the messages.
    pub delivery: Delivery,
    /// librdkafka's settings, over our own.
    pub properties: ClientProperties,
    /// How long the brokers and the topics may be missing at the start.
    pub timeout: Duration,
}

impl KafkaSinkConfig {
    /// Returns the defaults: no pipeline's name, nested JSON, at least once, no side topics,
    /// 15 s of patience.
    pub fn new(bootstrap_servers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            pipeline: String::new(),
            bootstrap_servers: bootstrap_servers.into(),
            topic: topic.into(),
            format: ForecastFormat::default(),
            forecasts: ForecastSchema::default(),
            schema_registry: ClientProperties::default(),
            late_topic: None,
            bad_topic: None,
            delivery: Delivery::AtLeastOnce,
            properties: ClientProperties::default(),
            timeout: Duration::from_secs(15),
        }
    }

    /// Returns librdkafka's settings for this sink.
    ///
    /// # Errors
    /// If a property is unknown, ill-formed or one that we have to set ourselves.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        self.topics().try_for_each(check_topic)?;
        let mut config = ClientConfig::new();
        config.set("compression.type", "zstd").set("linger.ms", "2");
        match self.delivery {
            // Until a dead process's open transaction times out, readers of the
            // topic wait at its first record. librdkafka's default is a minute.
            Delivery::ExactlyOnce { .. } => config.set("transaction.timeout.ms", "30000"),
            // For so long an outage is waited out. librdkafka's five minutes would
            // hold up a shutdown, too.
            Delivery::AtLeastOnce => config.set("message.timeout.ms", "60000"),
        };
        apply(&mut config, &self.properties, SINK_RESERVED)?;
        config.set("bootstrap.servers", &self.bootstrap_servers).set("enable.idempotence", "true");
        if let Delivery::ExactlyOnce { transactional_id } = &self.delivery {
            config.set("transactional.id", transactional_id);
        }
        check(&config)?;
        Ok(config)
    }

    /// Returns what writes the forecasts; a registry has not numbered its schema yet.
    ///
    /// # Errors
    /// If the format has no schema for them.
    pub fn encoder(&self) -> Result<ForecastEncoder, ConfigError> {
        let encoder = ForecastEncoder::new(&self.pipeline, &self.forecasts, self.format);
        encoder.map_err(|error| ConfigError::Format {
            format: self.format.encoding.name(),
            reason: error.to_string(),
        })
    }

    /// Returns the registry's name for the schemas of the topic's values: that of Confluent's
    /// `TopicNameStrategy`.
    pub fn subject(&self) -> String {
        format!("{}-value", self.topic)
    }

    /// Returns all topics the sink writes to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        [Some(&self.topic), self.late_topic.as_ref(), self.bad_topic.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// What a sink promises about messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Messages and source offsets in one Kafka transaction.
    ExactlyOnce {
        /// Names this writer across restarts. A new writer with the same name
        /// fences the old one off and ends its open transaction. Two living
        /// writers must not share it: one per pipeline *and* instance.
        transactional_id: String,
    },
    /// Messages first, offsets after: a crash may repeat messages.
    AtLeastOnce,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// librdkafka does not know the property or refuses its value.
    #[error(
        "property `{name}` = `{value}`: {reason}; see librdkafka's CONFIGURATION.md for names and values"
    )]
    Property {
        /// The property.
        name: String,
        /// Its value, unless that is secret.
        value: String,
        /// What librdkafka says.
        reason: String,
    },
    /// A setting of the schema registry.
    #[error("schema registry, `{name}`: {reason}")]
    SchemaRegistry {
        /// The setting.
        name: String,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// A format that the forecasts cannot be written in.
    #[error("'format'='{format}': {reason}")]
    Format {
        /// Its name.
        format: &'static str,
        /// Why, and what was expected.
        reason: String,
    },
    /// A property names a file that cannot be read.
    #[error(
        "property `{name}`: cannot read `{path}`: {reason}; expected a file that this process may read"
    )]
    Unreadable {
        /// The property.
        name: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Kafka would not accept the name.
    #[error("topic `{name}`: expected 1 to 249 letters, digits, `.`, `_` or `-`")]
    Topic {
        /// The name.
        name: String,
    },
    /// The file with the value of a property gives none.
    #[error(transparent)]
    File(#[from] PropertyFileError),
    /// The property would break what the source or sink promises.
    #[error("property `{name}` cannot be set: {reason}; remove it")]
    Reserved {
        /// The property.
        name: String,
        /// Who sets it, and why.
        reason: &'static str,
    },
    /// An assignment strategy that stops all partitions at each rebalance.
    #[error(
        "partition.assignment.strategy `{strategy}` is not supported; expected `cooperative-sticky`, or `group.protocol` = `consumer` without a strategy"
    )]
    Eager {
        /// The strategy asked for.
        strategy: String,
    },
}

/// Checks that Kafka would accept `name` for a topic.
pub(crate) fn check_topic(name: &str) -> Result<(), ConfigError> {
    let fits = (1..=249).contains(&name.len()) && name != "." && name != "..";
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    match fits && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(ConfigError::Topic { name: name.to_owned() }),
    }
}

const CONNECTION: &str = "the connection's own option sets it";
const OFFSETS: &str = "offsets are committed together with the forecasts they led to";

const SOURCE_RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", CONNECTION),
    ("metadata.broker.list", CONNECTION),
    ("group.id", CONNECTION),
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", "the startup mode says where to begin"),
    ("enable.partition.eof", "it makes librdkafka skip records when taken in batches"),
    ("allow.auto.create.topics", "a misspelt topic must not spring into being"),
];

const SINK_RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", CONNECTION),
    ("metadata.broker.list", CONNECTION),
    ("transactional.id", "the delivery option sets it"),
    ("enable.idempotence", "without it retries would double or reorder messages"),
];

fn apply(
    config: &mut ClientConfig,
    properties: &ClientProperties,
    reserved: &[(&'static str, &'static str)],
) -> Result<(), ConfigError> {
    // Now and not when the settings were read: a secret that was changed holds from the
    // next generation on.
    let properties = properties.with_files_read()?;
    if cfg!(feature = "openssl-vendored") {
        find_authorities(config, &properties);
    }
    for (name, value) in properties.iter() {
        if let Some((_, reason)) = reserved.iter().find(|(taken, _)| *taken == name) {
            return Err(ConfigError::Reserved { name: name.to_owned(), reason });
        }
        config.set(name, value);
    }
    Ok(())
}

/// Lets the requests for tokens look for the system's authorities, as librdkafka's own
/// connections do: an OpenSSL that came with the program knows no place of this system.
fn find_authorities(config: &mut ClientConfig, properties: &ClientProperties) {
    let is_oidc = properties.get("sasl.oauthbearer.method") == Some("oidc");
    if is_oidc && properties.get("https.ca.pem").is_none() {
        config.set("https.ca.location", "probe");
    }
}

/// Properties that name files, of which librdkafka says "system lib" where they are missing.
const FILES: [&str; 7] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "https.ca.location",
    "sasl.oauthbearer.assertion.private.key.file",
];

/// Asks librdkafka whether it accepts every setting.
fn check(config: &ClientConfig) -> Result<(), ConfigError> {
    for name in FILES {
        // Of authorities it may also be told to look for them where systems have them.
        let path = config.get(name).filter(|path| !["", "probe"].contains(path));
        if let Some(path) = path
            && let Err(error) = File::open(path)
        {
            let reason = error.to_string();
            return Err(ConfigError::Unreadable { name, path: path.to_owned(), reason });
        }
    }
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, name, value)) => {
            // It may be in the words about it, too.
            let reason = match secret::is_secret(&name) && !value.is_empty() {
                true => reason.replace(&value, HIDDEN),
                false => reason,
            };
            let value = secret::shown(&name, &value).to_owned();
            Err(ConfigError::Property { name, value, reason: tidy(&reason) })
        }
        Err(other) => Err(ConfigError::Property {
            name: "?".to_owned(),
            value: String::new(),
            reason: other.to_string(),
        }),
    }
}

/// librdkafka's sentences in the form of ours.
fn tidy(reason: &str) -> String {
    let reason = reason.trim().trim_end_matches('.');
    let mut characters = reason.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "not accepted".to_owned(),
    }
}

#[cfg(test)]
mod tests;
