//! What the window operator says.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_common::error::DataFusionError;
use tidecast_stream::{EventTime, Offset, Watermark};

use super::ahead::AheadWindow;
use super::stage;

/// What came of some rows.
#[derive(Debug, Default)]
pub struct WindowOutput {
    /// Windows that closed, in the order of their ends.
    pub closed: Vec<ClosedWindow>,
    /// Groups of these windows for which there is no result.
    pub failed: Vec<FailedGroup>,
    /// Rows that came too late, in order.
    pub late: Vec<LateRow>,
    /// Rows that cannot be used, in order.
    pub rejected: Vec<RejectedRow>,
}

/// A window that is complete.
#[derive(Debug, Clone)]
pub struct ClosedWindow {
    /// Its first instant.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
    /// The offset of its first row.
    pub first_offset: Offset,
    /// The view's rows, groups in order of first appearance.
    pub rows: RecordBatch,
    /// What was known then of the windows behind it, in their order; see
    /// [`WindowOperator::looking_ahead`](super::WindowOperator::looking_ahead).
    pub ahead: Vec<Arc<AheadWindow>>,
}

/// A group of a closed window whose result could not be computed.
#[derive(Debug, Clone)]
pub struct FailedGroup {
    /// The first instant after its window.
    pub window_end: EventTime,
    /// The offset of the window's first row.
    pub first_offset: Offset,
    /// Keys and aggregates of the group, one row; `None` if an aggregate itself
    /// failed, which concerns all groups of the window.
    pub group: Option<RecordBatch>,
    /// What failed.
    pub reason: String,
}

/// A row that came after its window had closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    /// Index of the row in the batch.
    pub row: usize,
    /// The first instant after its window.
    pub window_end: EventTime,
    /// The watermark before the row.
    pub watermark: Watermark,
}

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Index of the row in the batch.
    pub row: usize,
    /// What is wrong with it, and what was expected.
    pub reason: String,
}

/// A failure that no row is to blame for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WindowError {
    /// What happened.
    pub message: String,
}

impl WindowError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<DataFusionError> for WindowError {
    fn from(error: DataFusionError) -> Self {
        Self::new(stage::reason(&error))
    }
}
