//! What a pipeline file says, checked: the result of planning.

use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
pub use tidecast_stream::FileFormat;
use tidecast_stream::{
    ClientProperties, DomainRule, EpochUnit, EventTime, FieldColumn, ForecastFormat,
    ForecastSchema, HorizonAggregate, MetadataColumn, ModelFamily, ModelOptions, TimeGrid,
    Tombstones, ValueFormat,
};

use crate::window::{WatermarkCondition, WindowQuery};

/// One `CREATE PIPELINE`, with everything it refers to.
#[derive(Debug, Clone)]
pub struct PipelinePlan {
    /// The pipeline's name.
    pub name: String,
    /// The table the windows read.
    pub source: SourceTable,
    /// The window view, ready to run.
    pub window: WindowQuery,
    /// The arguments of `forecast(…)`.
    pub forecast: ForecastClause,
    /// The model it names.
    pub model: ModelDefinition,
    /// The table the forecasts go to.
    pub sink: SinkTable,
    /// `CREATE PIPELINE … WITH (…)`.
    pub options: PipelineOptions,
}

impl PipelinePlan {
    /// Whether the source ends, as a file does.
    pub fn is_bounded(&self) -> bool {
        matches!(self.source.connector, SourceConnector::Filesystem(_))
    }

    /// Whether what lies behind the start only fills contexts.
    pub fn warms_up(&self) -> bool {
        let SourceConnector::Kafka(options) = &self.source.connector else { return false };
        options.startup == StartupMode::Warm
    }

    /// Returns how far back records have to be read to fill the contexts, by the length of
    /// their steps, the window that is open and the watermark's delay, and a tenth more.
    pub fn history(&self) -> Duration {
        let steps = u64::try_from(self.forecast.context.saturating_add(2)).unwrap_or(u64::MAX);
        let step = self.forecast.step.period().typical_micros().unsigned_abs();
        let micros = steps.saturating_mul(step);
        let length = Duration::from_micros(micros).saturating_add(self.source.watermark.delay);
        length.saturating_add(length / 10)
    }

    /// Returns what its forecasts look like.
    pub fn forecast_schema(&self) -> ForecastSchema {
        let view = self.window.output_schema();
        let column = |name: &String| {
            let field = view.field_with_name(name);
            let data_type = field.map_or(DataType::Utf8, |field| key_type(field.data_type()));
            (name.clone(), data_type)
        };
        ForecastSchema {
            series: self.forecast.series.iter().map(column).collect(),
            targets: self.forecast.targets.clone(),
            levels: self.forecast.quantiles.clone(),
            horizon: self.forecast.horizon,
            aggregates: self.forecast.aggregates.clone(),
        }
    }
}

/// Returns the type that a series column's values have in a series key, which is JSON:
/// what JSON has no form of (decimals, times, bytes) is text there, which is exact.
fn key_type(column: &DataType) -> DataType {
    match column {
        DataType::Boolean => DataType::Boolean,
        DataType::UInt64 => DataType::UInt64,
        integer if integer.is_integer() => DataType::Int64,
        float if float.is_floating() => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// A `CREATE TABLE` with columns: records come from it.
#[derive(Debug, Clone)]
pub struct SourceTable {
    /// The table's name.
    pub name: String,
    /// Its columns as declared; event time is a microsecond or millisecond
    /// timestamp without zone, meant as UTC.
    pub schema: SchemaRef,
    /// Columns that are a part of the record beside its value (`METADATA FROM`).
    pub metadata: Vec<MetadataColumn>,
    /// Columns that are fields inside of others (`'fields.<column>'`).
    pub fields: Vec<FieldColumn>,
    /// `WATERMARK FOR column AS …`.
    pub watermark: WatermarkClause,
    /// Where records come from.
    pub connector: SourceConnector,
    /// How far a record's event time may lie ahead of its record timestamp
    /// (`'max.future'`); beyond, it is a bad record. `None`: no bound (`'none'`,
    /// and every file, whose records have no timestamp). 1 hour unless said.
    pub max_future: Option<Duration>,
    /// How far it may lie behind (`'max.past'`), likewise. 50 years unless said: what
    /// comes from 1970 is an empty time or one in another unit.
    pub max_past: Option<Duration>,
    /// What numbers count in the columns of times (`'timestamp.unit'`): this since
    /// 1970. `None` (`'auto'`, unless said): told by their size, of a file by the
    /// largest of the column, of a topic one by one.
    pub timestamp_unit: Option<EpochUnit>,
}

impl SourceTable {
    /// Returns the position of the event time's column; the planner has seen that there is
    /// one.
    pub fn time_column(&self) -> usize {
        self.schema.index_of(&self.watermark.column).unwrap_or_default()
    }
}

/// `WATERMARK FOR column AS column - INTERVAL delay`, or the same behind
/// `CASE WHEN condition THEN`.
#[derive(Debug, Clone)]
pub struct WatermarkClause {
    /// The event-time column.
    pub column: String,
    /// How much later than newer records a record may come.
    pub delay: Duration,
    /// Which rows move the watermark. `None`: all.
    pub condition: Option<WatermarkCondition>,
}

/// The connector of a source table.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceConnector {
    /// `'connector'='kafka'`.
    Kafka(Box<KafkaSourceOptions>),
    /// `'connector'='filesystem'`.
    Filesystem(FileOptions),
}

/// Options of a Kafka source table.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSourceOptions {
    /// `'topic'`.
    pub topic: String,
    /// `'format'`.
    pub format: ValueFormat,
    /// `'schema.registry.*'`: how the registry is reached of which records name schemas, the
    /// prefix taken off; the configuration's where it does not say.
    pub schema_registry: ClientProperties,
    /// `'tombstones'`: what a record without a value is; a bad one unless said.
    pub tombstones: Tombstones,
    /// `'bootstrap.servers'`, or Flink's `'properties.bootstrap.servers'`; the
    /// configuration's when absent.
    pub bootstrap_servers: Option<String>,
    /// `'group.id'`; the configuration's, else `tidecast-<pipeline>`, when absent.
    pub group_id: Option<String>,
    /// `'scan.startup.mode'`: where to begin without a committed offset; the
    /// earliest unless said.
    pub startup: StartupMode,
    /// `'lost.records'`: what to do where retention took records before they were
    /// read, or before a restart read them again; skip them unless said.
    pub lost_records: LostRecords,
    /// `'idle.timeout'`: after this long without a record a caught-up
    /// partition's open windows are closed. `None`: never (`'none'`). 30 seconds
    /// unless said.
    pub idle_timeout: Option<Duration>,
    /// `'late.topic'`; late rows are only counted when absent.
    pub late_topic: Option<String>,
    /// `'bad.topic'`; bad records are only counted when absent.
    pub bad_topic: Option<String>,
    /// `'properties.*'`: librdkafka settings, the prefix taken off.
    pub properties: ClientProperties,
}

/// Where to begin reading without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupMode {
    /// `'earliest-offset'`.
    Earliest,
    /// `'latest-offset'`.
    Latest,
    /// `'timestamp'`: at the first record whose own timestamp is no less than this, by
    /// `'scan.startup.timestamp-millis'` or `'scan.startup.timestamp'`.
    Timestamp(EventTime),
    /// `'group-offsets'`: the group has to have committed.
    GroupOffsets,
    /// `'warm'`: as far back as fills the contexts, of which nothing is forecast.
    Warm,
}

/// What to do where records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostRecords {
    /// `'skip'`: say so, count them and go on.
    Skip,
    /// `'fail'`: stop the pipeline.
    Fail,
}

/// A `CREATE TABLE` without columns: forecasts go to it.
#[derive(Debug, Clone)]
pub struct SinkTable {
    /// The table's name.
    pub name: String,
    /// Where forecasts go.
    pub connector: SinkConnector,
}

/// The connector of a sink table.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkConnector {
    /// `'connector'='kafka'`.
    Kafka(KafkaSinkOptions),
    /// `'connector'='filesystem'`.
    Filesystem(FileOptions),
    /// `'connector'='stdout'`: JSON lines.
    Stdout,
}

/// Options of a Kafka sink table.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSinkOptions {
    /// `'topic'`.
    pub topic: String,
    /// `'format'` and `'layout'`.
    pub format: ForecastFormat,
    /// `'schema.registry.*'`: how the registry is reached that gets the forecasts' schema, the
    /// prefix taken off; the configuration's where it does not say.
    pub schema_registry: ClientProperties,
    /// `'bootstrap.servers'`; the configuration's when absent.
    pub bootstrap_servers: Option<String>,
    /// `'delivery'`: exactly once unless said, and at least once where the
    /// source is a file, which has no offsets to commit.
    pub delivery: Delivery,
    /// `'properties.*'`: librdkafka settings, the prefix taken off.
    pub properties: ClientProperties,
}

/// What a sink promises about messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Forecasts and source offsets in one Kafka transaction.
    ExactlyOnce,
    /// Messages first, offsets after: a crash may repeat messages.
    AtLeastOnce,
}

/// Options of a filesystem table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// `'path'`: a file.
    pub path: String,
    /// `'format'`; by the file's extension when absent.
    pub format: FileFormat,
}

/// `CREATE MODEL name WITH (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDefinition {
    /// The model's name.
    pub name: String,
    /// What `'provider'` names.
    pub family: ModelFamily,
    /// The family's options, as they are said or as what holds otherwise says it.
    pub options: ModelOptions,
}

/// The arguments of `forecast(TABLE view, …)`, in steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastClause {
    /// Columns of the view that name the series, in order.
    pub series: Vec<String>,
    /// Column of the view that is the time of a step.
    pub time: String,
    /// Columns of the view to forecast, at least one.
    pub targets: Vec<String>,
    /// Columns known for the past only.
    pub past_covariates: Vec<String>,
    /// Columns known ahead of the origin, too, from rows of windows that are
    /// still open.
    pub future_covariates: Vec<String>,
    /// The steps: the cells of the windows' grid.
    pub step: TimeGrid,
    /// Steps to forecast.
    pub horizon: usize,
    /// Newest steps handed to the model; 1,024 unless said, what the built-in
    /// checkpoint does best with.
    pub context: usize,
    /// Observed steps a series needs before it is forecast; 16 unless said, or
    /// the context where that is shorter.
    pub min_context: usize,
    /// Sample paths; as many as suit the model unless said.
    pub samples: Option<usize>,
    /// Quantile levels, ascending, each in (0, 1); 0.1, 0.2, … 0.9 unless said.
    pub quantiles: Vec<f64>,
    /// The values that the targets can have; what is not said is found in each series'
    /// own context.
    pub domain: DomainRule,
    /// What several steps come to, told beside single ones.
    pub aggregates: Vec<HorizonAggregate>,
    /// Whether the sample paths are told.
    pub tells_samples: bool,
    /// When a forecast is made.
    pub refresh: Refresh,
    /// By target, whether a step without a row is 0 rather than missing: what `count`
    /// is, and all targets with `fill => 'zero'`.
    pub zero_filled: Vec<bool>,
    /// Targets that are a sum of rows and not said to be 0 without one.
    pub unfilled_sums: Vec<String>,
}

impl ForecastClause {
    /// Whether sample paths are needed, not only what they come to step by step.
    pub fn needs_samples(&self) -> bool {
        self.tells_samples || !self.aggregates.is_empty()
    }

    /// Whether forecasts look into windows that are still open. At the end of a source
    /// all are closed, and none is ahead.
    pub fn looks_ahead(&self) -> bool {
        !self.future_covariates.is_empty() && self.refresh != Refresh::AtEnd
    }
}

/// When a forecast is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// `'on_close'`: whenever a window of the series closes (the default).
    OnClose,
    /// `'every N steps'`: when the step's index since the epoch is divisible by N.
    Every(u64),
    /// `'at_end'`: once per series, when a bounded source ends.
    AtEnd,
}

/// `CREATE PIPELINE name WITH (…)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineOptions {
    /// `'commit.interval'`; the configuration's when absent.
    pub commit_interval: Option<Duration>,
}
