//! The state of a windower behind an offset, as two Arrow IPC streams, one after the
//! other.
//!
//! The first is of the series, a row each: its key columns as the view has them, its
//! newest steps, and the sums of what came before. What belongs to the partition as a
//! whole stands in its schema's metadata ([`Head`]). The second is of the windows that
//! were open, a batch each: a row is a group with its keys and the states of its
//! accumulators or, where forecasts look into open windows, a record of the window.
//!
//! Not every function's state can be written down and taken up again to the bit; where
//! one of a view's cannot, there is no second stream. Open windows then begin at
//! [`Head::open_from`], and reading from there with the watermark of the snapshot
//! rebuilds them, for their rows come again in the same order, and all other rows are
//! late or behind the offset.

mod series;

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use tidecast_stream::{Offset, Watermark};

use super::captured::{Captured, CapturedSeries};
use super::identity::{self, StateIdentity};
use super::open::SavedWindow;
use super::windower::ForcedClose;
use crate::session::DATAFUSION_VERSION;

/// Version of the format.
pub(super) const FORMAT: u32 = 3;

/// The key of the head among the schema's metadata.
const HEAD: &str = "tidecast.snapshot";

/// How format 1 began: as an Arrow file.
const FORMAT_1: &[u8] = b"ARROW1";

/// How an Arrow IPC stream ends.
const END: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is damaged, or no snapshot at all.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Another version wrote it.
    #[error("written in format {found}, this version reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// It is that of another query.
    #[error("it belongs to another query or other series columns: {what} has changed")]
    Foreign {
        /// The first thing that differs.
        what: String,
    },
    /// So often was the partition idle since that not every close is known any more.
    #[error(
        "too old: windows were closed for want of records so often since that the commit \
         does not name every time any more (offset {}, say)",
        close.0
    )]
    Outlived {
        /// Where the newest close was that is not named.
        close: Offset,
    },
}

impl From<ArrowError> for SnapshotError {
    fn from(error: ArrowError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// What a snapshot says of the partition as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// Version of the form that `identity` has; older builds wrote none.
    #[serde(default = "legacy_version")]
    pub identity_version: u32,
    /// What the state follows from, name by name.
    pub identity: Vec<(String, String)>,
    /// Records before this offset are in it.
    pub offset: Offset,
    /// How many series there are.
    pub series: u64,
    /// The first record of a window that was open; `None` if none was.
    pub open_from: Option<Offset>,
    /// The windows that were open, if they are in it.
    pub(crate) open: Option<OpenWindows>,
    /// The watermark behind the last record.
    pub watermark: Watermark,
    /// The greatest event time that moved it, in microseconds.
    pub(crate) newest_time: Option<i64>,
    /// Closed windows that contexts reach back to, and the offset of their first
    /// record.
    pub(crate) closed: Vec<(i64, i64)>,
    pub(crate) reach: Option<i64>,
    pub(crate) closes: Vec<ForcedClose>,
    pub(crate) forgotten: Option<Offset>,
    pub(crate) newest_step: Option<i64>,
    pub(crate) swept: i64,
    pub(crate) next_serial: u64,
}

fn legacy_version() -> u32 {
    identity::LEGACY_VERSION
}

/// What a snapshot says of the windows that were open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenWindows {
    /// The version of DataFusion, whose accumulators' states they are.
    pub(crate) datafusion: String,
    pub(crate) windows: Vec<OpenHead>,
}

/// What is known of one of them beside its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenHead {
    start: i64,
    first_offset: Offset,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failure: Option<String>,
    rows: usize,
}

impl OpenWindows {
    pub(crate) fn of(windows: &[SavedWindow]) -> Self {
        let head = |window: &SavedWindow| OpenHead {
            start: window.start,
            first_offset: window.first_offset,
            failure: window.failure.clone(),
            // Without columns there is nothing to count rows of.
            rows: if window.columns.is_empty() { 0 } else { window.rows },
        };
        Self {
            datafusion: DATAFUSION_VERSION.to_owned(),
            windows: windows.iter().map(head).collect(),
        }
    }

    /// Whether this version can go on with the states.
    fn is_ours(&self) -> bool {
        self.datafusion == DATAFUSION_VERSION
    }
}

impl Head {
    /// Returns the offset to read from after a restart.
    pub fn read_from(&self) -> Offset {
        match &self.open {
            Some(open) if open.is_ours() => self.offset,
            _ => self.open_from.unwrap_or(self.offset).min(self.offset),
        }
    }

    /// Returns how many open windows are in it; `None` if they are to be read again.
    pub fn open_windows(&self) -> Option<usize> {
        self.open.as_ref().filter(|open| open.is_ours()).map(|open| open.windows.len())
    }
}

/// What a snapshot holds.
pub(super) struct Restored {
    pub(super) head: Head,
    pub(super) series: CapturedSeries,
    /// `None`: read them again.
    pub(super) windows: Option<Vec<SavedWindow>>,
}

/// Writes a snapshot; `windows` are of the schema `open`.
pub(super) fn write(
    head: &Head,
    rings: &Captured,
    windows: &[SavedWindow],
    open: &SchemaRef,
) -> Result<Vec<u8>, ArrowError> {
    let mut series = series::batches(rings);
    let first = series.next().transpose()?;
    let fields = first.as_ref().map(|batch| batch.schema().fields().clone()).unwrap_or_default();
    let text =
        serde_json::to_string(head).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let metadata = HashMap::from([(HEAD.to_owned(), text)]);
    let schema = Schema::new_with_metadata(fields, metadata);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    for batch in first.map(Ok).into_iter().chain(series) {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    let mut bytes = writer.into_inner()?;
    if head.open.is_some() {
        let mut writer = StreamWriter::try_new(&mut bytes, open)?;
        for window in windows {
            let batch = match window.columns.is_empty() {
                true => RecordBatch::new_empty(Arc::clone(open)),
                false => RecordBatch::try_new(Arc::clone(open), window.columns.clone())?,
            };
            writer.write(&batch)?;
        }
        writer.finish()?;
    }
    Ok(bytes)
}

/// Reads what a snapshot says of itself.
///
/// # Errors
/// If it is damaged or of another format.
pub fn read_head(bytes: &[u8]) -> Result<Head, SnapshotError> {
    let mut cursor = Cursor::new(bytes);
    let reader = open(&mut cursor)?;
    head_of(&reader.schema())
}

/// Opens the stream at the cursor.
fn open<'a, 'b>(
    cursor: &'a mut Cursor<&'b [u8]>,
) -> Result<StreamReader<&'a mut Cursor<&'b [u8]>>, SnapshotError> {
    if cursor.get_ref().starts_with(FORMAT_1) {
        return Err(SnapshotError::Format { found: 1 });
    }
    if !cursor.get_ref().ends_with(END) {
        return Err(damaged("its end is missing"));
    }
    Ok(StreamReader::try_new(cursor, None)?)
}

fn damaged(what: &str) -> SnapshotError {
    SnapshotError::Damaged(what.to_owned())
}

fn head_of(schema: &Schema) -> Result<Head, SnapshotError> {
    let text = schema.metadata().get(HEAD).ok_or_else(|| damaged("it has no head"))?;
    let format = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|head| head.get("format")?.as_u64())
        .ok_or_else(|| damaged("its head names no format"))?;
    if format != u64::from(FORMAT) {
        return Err(SnapshotError::Format { found: format.try_into().unwrap_or(u32::MAX) });
    }
    serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))
}

/// Reads a snapshot of this pipeline's state, whose open windows are of the schema
/// `wanted`.
pub(super) fn read(
    bytes: &[u8],
    identity: &StateIdentity,
    wanted: &SchemaRef,
) -> Result<Restored, SnapshotError> {
    let mut cursor = Cursor::new(bytes);
    let reader = open(&mut cursor)?;
    let head = head_of(&reader.schema())?;
    if let Some(what) = identity.changed(head.identity_version, &head.identity) {
        return Err(SnapshotError::Foreign { what });
    }
    let batches = reader.collect::<Result<Vec<RecordBatch>, ArrowError>>()?;
    let series = series::read(&batches)?;
    if series.rings.len() as u64 != head.series {
        return Err(damaged("series are missing"));
    }
    let windows = match &head.open {
        Some(open) if open.is_ours() => Some(read_windows(&mut cursor, open, wanted)?),
        _ => None,
    };
    Ok(Restored { head, series, windows })
}

fn read_windows(
    cursor: &mut Cursor<&[u8]>,
    open_windows: &OpenWindows,
    wanted: &SchemaRef,
) -> Result<Vec<SavedWindow>, SnapshotError> {
    let reader = open(cursor)?;
    let found = reader.schema();
    let same = found.fields().len() == wanted.fields().len()
        && found.fields().iter().zip(wanted.fields()).all(|(found, wanted)| {
            found.name() == wanted.name() && found.data_type().equals_datatype(wanted.data_type())
        });
    if !same {
        return Err(damaged("its open windows have other columns than the query's"));
    }
    let batches = reader.collect::<Result<Vec<RecordBatch>, ArrowError>>()?;
    let fits = |(batch, head): (&RecordBatch, &OpenHead)| batch.num_rows() == head.rows;
    let heads = &open_windows.windows;
    if batches.len() != heads.len() || !batches.iter().zip(heads).all(fits) {
        return Err(damaged("open windows are missing"));
    }
    let window = |(batch, head): (RecordBatch, &OpenHead)| SavedWindow {
        start: head.start,
        first_offset: head.first_offset,
        failure: head.failure.clone(),
        rows: head.rows,
        columns: batch.columns().to_vec(),
    };
    Ok(batches.into_iter().zip(heads).map(window).collect())
}
