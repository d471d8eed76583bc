//! From a plan's tables to the ports behind which they sit.

use std::path::PathBuf;

use tidecast_files::{FileSink, FileSource, FileSourceConfig, StdoutSink};
use tidecast_kafka::{
    GroupCommitter, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, OpenKafkaSink, SchemaCache,
    WarmStart,
};
use tidecast_sql::{
    Delivery, FileFormat, FileOptions, KafkaSinkOptions, KafkaSourceOptions, LostRecords,
    PipelinePlan, SinkConnector, SourceConnector, StartupMode,
};
use tidecast_stream::{Blame, Sink, SinkError, Source, SourceError, Transaction};

use crate::config::EngineConfig;

/// A pipeline's two ends.
pub struct Connection {
    /// Where records come in.
    pub source: Box<dyn Source>,
    /// Where forecasts go out and offsets are committed.
    pub sink: Box<dyn Sink>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Why a pipeline's ends cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The source cannot be opened.
    #[error("source: {0}")]
    Source(#[from] SourceError),
    /// The sink cannot be opened.
    #[error("sink: {0}")]
    Sink(#[from] SinkError),
}

impl ConnectError {
    /// Returns whether trying again may succeed without anybody acting.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Source(error) => error.retriable,
            Self::Sink(error) => error.retriable,
        }
    }
}

/// Opens the ends of a pipeline, anew for every generation. May block.
pub trait Connectors: Send + Sync {
    /// Returns the source and sink of `plan`. A sink with columns lays them out by the
    /// plan's [`forecast_schema`](PipelinePlan::forecast_schema), before any forecast is
    /// made.
    ///
    /// # Errors
    /// If either cannot be opened.
    fn connect(
        &self,
        plan: &PipelinePlan,
        config: &EngineConfig,
    ) -> Result<Connection, ConnectError>;
}

/// The connectors that the SQL names: Kafka, files, the terminal.
///
/// Schemas that records name are kept from one generation of a pipeline to the next, and shared
/// by all of them.
#[derive(Debug, Clone, Default)]
pub struct SqlConnectors {
    schemas: SchemaCache,
}

impl Connectors for SqlConnectors {
    fn connect(
        &self,
        plan: &PipelinePlan,
        config: &EngineConfig,
    ) -> Result<Connection, ConnectError> {
        // Before the source joins its group: without a sink it would leave it again.
        let kafka_sink = sink_config(plan, config).map(OpenKafkaSink::open).transpose()?;
        let (source, committer): (Box<dyn Source>, _) = match &plan.source.connector {
            SourceConnector::Kafka(options) => {
                let source = KafkaSourceConfig {
                    schemas: self.schemas.clone(),
                    ..kafka_source(plan, options, config)
                };
                let source = KafkaSource::connect(source)?;
                let committer = source.committer();
                (Box::new(source), Some(committer))
            }
            SourceConnector::Filesystem(options) => {
                let config = FileSourceConfig {
                    path: PathBuf::from(&options.path),
                    format: options.format,
                    schema: plan.source.schema.clone(),
                    fields: plan.source.fields.clone(),
                    batch_rows: config.pipeline.max_batch_records,
                    timestamp_unit: plan.source.timestamp_unit,
                };
                (Box::new(FileSource::open(config).map_err(SourceError::from)?), None)
            }
        };
        let sink: Box<dyn Sink> = match (kafka_sink, &plan.sink.connector) {
            (Some(sink), _) => Box::new(sink.start(committer)?),
            (None, SinkConnector::Filesystem(options)) => file_sink(plan, options, committer)?,
            (None, _) => match committer {
                Some(committer) => {
                    Box::new(CommittingSink { sink: StdoutSink::stdout(), committer })
                }
                None => Box::new(StdoutSink::stdout()),
            },
        };
        Ok(Connection { source, sink })
    }
}

/// Returns what a pipeline's source is told of Kafka; `None` if it reads a file.
pub fn source_config(plan: &PipelinePlan, config: &EngineConfig) -> Option<KafkaSourceConfig> {
    match &plan.source.connector {
        SourceConnector::Kafka(options) => Some(kafka_source(plan, options, config)),
        SourceConnector::Filesystem(_) => None,
    }
}

/// Returns what a pipeline's sink is told of Kafka; `None` if it writes elsewhere.
pub fn sink_config(plan: &PipelinePlan, config: &EngineConfig) -> Option<KafkaSinkConfig> {
    match &plan.sink.connector {
        SinkConnector::Kafka(options) => Some(kafka_sink(plan, options, config)),
        SinkConnector::Filesystem(_) | SinkConnector::Stdout => None,
    }
}

/// Opens a file for forecasts.
///
/// Behind a source that keeps offsets it is continued rather than replaced, for
/// what is committed is not read again; only JSON lines can be continued.
fn file_sink(
    plan: &PipelinePlan,
    options: &FileOptions,
    committer: Option<GroupCommitter>,
) -> Result<Box<dyn Sink>, SinkError> {
    let path = PathBuf::from(&options.path);
    let Some(committer) = committer else {
        return Ok(Box::new(FileSink::create(&path, options.format, &plan.forecast_schema())?));
    };
    if options.format != FileFormat::JsonLines {
        return Err(SinkError {
            message: format!(
                "`{}`: a file of this format is complete only when the stream ends, which a topic never does; expected JSON lines (`'format'='json'`)",
                options.path
            ),
            blame: Blame::User,
            retriable: false,
        });
    }
    Ok(Box::new(CommittingSink { sink: FileSink::append(&path)?, committer }))
}

fn kafka_source(
    plan: &PipelinePlan,
    options: &KafkaSourceOptions,
    config: &EngineConfig,
) -> KafkaSourceConfig {
    let mut properties = config.kafka.properties.overlaid(&options.properties);
    if config.pipeline.static_membership && properties.get("group.instance.id").is_none() {
        properties.insert("group.instance.id", &config.pipeline.instance);
    }
    KafkaSourceConfig {
        pipeline: plan.name.clone(),
        startup: match options.startup {
            StartupMode::Earliest => tidecast_kafka::StartupMode::Earliest,
            StartupMode::Latest => tidecast_kafka::StartupMode::Latest,
            StartupMode::Timestamp(time) => {
                tidecast_kafka::StartupMode::Timestamp(time.as_micros().div_euclid(1_000))
            }
            StartupMode::GroupOffsets => tidecast_kafka::StartupMode::GroupOffsets,
            StartupMode::Warm => tidecast_kafka::StartupMode::Warm(WarmStart {
                history: plan.history(),
                time: plan.source.time_column(),
            }),
        },
        lost_records: match options.lost_records {
            LostRecords::Skip => tidecast_kafka::LostRecords::Skip,
            LostRecords::Fail => tidecast_kafka::LostRecords::Fail,
        },
        properties,
        timestamp_unit: plan.source.timestamp_unit,
        format: options.format.clone(),
        schema_registry: config.kafka.schema_registry.overlaid(&options.schema_registry),
        fields: plan.source.fields.clone(),
        tombstones: options.tombstones,
        metadata: plan.source.metadata.clone(),
        max_batch_records: config.pipeline.max_batch_records,
        ..KafkaSourceConfig::new(
            bootstrap(options.bootstrap_servers.as_ref(), config),
            config.group_id(plan),
            &options.topic,
            plan.source.schema.clone(),
        )
    }
}

fn kafka_sink(
    plan: &PipelinePlan,
    options: &KafkaSinkOptions,
    config: &EngineConfig,
) -> KafkaSinkConfig {
    // Side topics belong to the source table, yet they are written in the same
    // transaction as the forecasts.
    let (late_topic, bad_topic) = match &plan.source.connector {
        SourceConnector::Kafka(source) => (source.late_topic.clone(), source.bad_topic.clone()),
        SourceConnector::Filesystem(_) => (None, None),
    };
    KafkaSinkConfig {
        pipeline: plan.name.clone(),
        format: options.format,
        forecasts: plan.forecast_schema(),
        schema_registry: config.kafka.schema_registry.overlaid(&options.schema_registry),
        late_topic,
        bad_topic,
        delivery: match options.delivery {
            Delivery::ExactlyOnce => tidecast_kafka::Delivery::ExactlyOnce {
                transactional_id: transactional_id_prefix(plan) + &config.pipeline.instance,
            },
            Delivery::AtLeastOnce => tidecast_kafka::Delivery::AtLeastOnce,
        },
        properties: config.kafka.properties.overlaid(&options.properties),
        ..KafkaSinkConfig::new(
            bootstrap(options.bootstrap_servers.as_ref(), config),
            &options.topic,
        )
    }
}

/// Returns what the transactional ids of all instances of a pipeline begin with.
pub(crate) fn transactional_id_prefix(plan: &PipelinePlan) -> String {
    format!("tidecast-{}-", plan.name)
}

pub(crate) fn bootstrap(table: Option<&String>, config: &EngineConfig) -> String {
    table.unwrap_or(&config.kafka.bootstrap_servers).clone()
}

/// A sink that knows nothing of Kafka in front of a source that keeps offsets.
struct CommittingSink<S> {
    sink: S,
    committer: GroupCommitter,
}

impl<S: Sink> Sink for CommittingSink<S> {
    fn publish(&mut self, mut transaction: Transaction) -> Result<(), SinkError> {
        let commits = std::mem::take(&mut transaction.commits);
        self.sink.publish(transaction)?;
        self.committer.commit(&commits)
    }

    fn close(&mut self) -> Result<(), SinkError> {
        self.sink.close()
    }
}
