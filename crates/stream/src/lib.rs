//! The vocabulary the other crates share: event time, watermarks, partitions,
//! offsets, checkpoints, the batches that travel, families of models as data, what is
//! secret, and the two ports ([`Source`], [`Sink`]) behind which Kafka, files and the
//! in-memory doubles sit.
//!
//! This crate does no I/O, knows no runtime and holds nouns only. If something
//! here loses its second user, it moves out.
//!
//! # The commit contract
//!
//! A [`Source`] hands out [`SourceBatch`]es whose [`OffsetRange`]s are
//! contiguous per partition. Whatever a batch triggers travels on with the end
//! of that range. A [`Sink`] publishes a [`Transaction`]: the messages, and per
//! partition the offset *through which everything triggered is inside*. So a
//! committed offset never runs ahead of its forecasts, and never leaves one out.

pub mod aggregate;
pub mod batch;
pub mod checkpoint;
pub mod column_type;
pub mod domain;
pub mod file_format;
pub mod forecast;
pub mod forecast_format;
pub mod grid;
pub mod memory;
pub mod metadata;
pub mod model;
pub mod partition;
pub mod schema;
pub mod secret;
pub mod series;
pub mod sink;
pub mod source;
pub mod time;
pub mod value_format;

pub use aggregate::{AggregateFunction, HorizonAggregate, HorizonAggregateError};
pub use batch::{BadRecord, RecordPosition, SourceBatch};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use domain::{Domain, DomainRule};
pub use file_format::FileFormat;
pub use forecast::{
    AggregateValues, ContextSummary, ForecastId, ForecastIdError, ForecastMessage,
    ForecastShapeError, ForecastStatus, ForecastStatusError, ModelRef, VariateForecast,
};
pub use forecast_format::{ForecastEncoding, ForecastFormat, ForecastFraming, ForecastLayout};
pub use grid::{MonthDay, Period, PeriodError, TimeGrid};
pub use metadata::{MetadataColumn, RecordMetadata, RecordMetadataError, Tombstones};
pub use model::{
    ModelCatalog, ModelFamily, ModelOption, ModelOptions, OptionKind, OptionValue, Requirement,
    Unset,
};
pub use partition::{Offset, OffsetRange, Partition};
pub use schema::ForecastSchema;
pub use secret::{ClientProperties, Secret};
pub use series::{SeriesKey, printable};
pub use sink::{LateRecord, PartitionCommit, Sink, SinkError, Transaction};
pub use source::{Blame, Source, SourceError, SourceEvent};
pub use time::{EpochUnit, EventTime, UnknownEpochUnit, Watermark};
pub use value_format::{
    ApicurioId, AvroFormat, CsvDialect, FieldColumn, FieldPath, FieldPathError, ProtobufFormat,
    SchemaFraming, SchemaText, ValueFormat,
};
