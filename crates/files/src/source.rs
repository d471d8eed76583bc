//! A file as a source.

use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use tidecast_stream::{
    EpochUnit, FieldColumn, FileFormat, Offset, Partition, Source, SourceError, SourceEvent,
};

use crate::conform::{ColumnRule, conform};
use crate::error::FileError;
use crate::read::{self, Reader};
use crate::survey::rules;

/// Rows of one batch.
pub const BATCH_ROWS: usize = 8192;

/// Which file, and the table it is.
#[derive(Clone, Debug)]
pub struct FileSourceConfig {
    /// The file.
    pub path: PathBuf,
    /// Its format; see [`format_of`](crate::format_of).
    pub format: FileFormat,
    /// The table's columns. All must be in the file, under the same names.
    pub schema: SchemaRef,
    /// Of JSON, the columns that are fields inside of others.
    pub fields: Vec<FieldColumn>,
    /// Most rows of one batch; [`BATCH_ROWS`] unless tested.
    pub batch_rows: usize,
    /// What numbers count in columns of times; `None`: told by the largest of each
    /// column.
    pub timestamp_unit: Option<EpochUnit>,
}

/// A bounded source: one file, one partition, read once.
///
/// Events: `Assigned` (its one partition), after [`Source::start`] its `Batch`es,
/// `CaughtUp`, and `Finished` from then on. Offsets are row numbers from 0, so
/// reading may start in the middle. A file keeps no commits: `Assigned` names none.
pub struct FileSource {
    config: FileSourceConfig,
    partition: Partition,
    /// By column of the table, how its values are written.
    rules: Vec<ColumnRule>,
    dialect: Option<String>,
    state: State,
    is_held: bool,
}

enum State {
    New,
    Announced,
    Reading(Box<dyn Reader>),
    Finished,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("config", &self.config).finish_non_exhaustive()
    }
}

impl FileSource {
    /// Returns a source on the file, having looked whether it can be read and
    /// has the columns, and how their values are written in its first rows.
    ///
    /// # Errors
    /// If the file is missing, is not in its format, lacks a column or has it
    /// twice, or if the numbers of a column of times are none.
    pub fn open(config: FileSourceConfig) -> Result<Self, FileError> {
        read::open(&config.path, config.format, &config.schema, &config.fields, 0)?;
        let (rules, dialect) = rules(&config)?;
        let partition = Partition::new(config.path.to_string_lossy().as_ref(), 0);
        Ok(Self { config, partition, rules, dialect, state: State::New, is_held: false })
    }

    /// Returns how the file is written where that is out of the ordinary, as
    /// [`InferredSchema::dialect`](crate::InferredSchema::dialect) does.
    pub fn dialect(&self) -> Option<&str> {
        self.dialect.as_deref()
    }

    /// Returns its one partition: the file's path, number 0.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }
}

impl Source for FileSource {
    fn poll(&mut self, _wait: Duration) -> Result<SourceEvent, SourceError> {
        if self.is_held {
            return Ok(SourceEvent::Idle);
        }
        match &mut self.state {
            State::New => {
                self.state = State::Announced;
                Ok(SourceEvent::Assigned(vec![(self.partition.clone(), None)]))
            }
            State::Announced => Ok(SourceEvent::Idle),
            State::Reading(reader) => match reader.next(self.config.batch_rows.max(1))? {
                Some(raw) => {
                    let schema = &self.config.schema;
                    Ok(SourceEvent::Batch(conform(raw, schema, &self.rules, &self.partition)?))
                }
                None => {
                    self.state = State::Finished;
                    Ok(SourceEvent::CaughtUp(self.partition.clone()))
                }
            },
            State::Finished => Ok(SourceEvent::Finished),
        }
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        if *partition == self.partition {
            let FileSourceConfig { path, format, schema, fields, .. } = &self.config;
            let start = from.map_or(0, |offset| offset.0.max(0));
            self.state = State::Reading(read::open(path, *format, schema, fields, start)?);
        }
        Ok(())
    }

    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        if *partition == self.partition {
            self.is_held = is_held;
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        if partitions.contains(&self.partition) {
            self.state = State::Finished;
        }
        Ok(())
    }
}
