//! A view, compiled to run on a stream.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::error::DataFusionError;
use datafusion_expr::LogicalPlan;
use datafusion_physical_expr::PhysicalExpr;
use tidecast_stream::{EventTime, TimeGrid};

use super::aggregate::Aggregate;
use super::compile::Compiler;
use super::condition::WatermarkCondition;
use super::stage::Stage;
use crate::session::Session;

/// What a view's source table says about time.
#[derive(Debug, Clone)]
pub struct SourceTableInfo {
    /// The table's columns, as the batches have them.
    pub schema: SchemaRef,
    /// The event-time column.
    pub event_time: String,
    /// How much later than newer records a record may come, in microseconds.
    pub delay_micros: i64,
    /// Which rows move the watermark. `None`: all.
    pub watermark_condition: Option<WatermarkCondition>,
    /// How far event time may lie ahead of the record's timestamp, in
    /// microseconds. `None`: no bound.
    pub max_future_micros: Option<i64>,
    /// How far it may lie behind, likewise.
    pub max_past_micros: Option<i64>,
    /// Whether the source ends, as a file does. Nothing is late then, and windows
    /// close when it has ended, unless forecasts look ahead of the origin.
    pub is_bounded: bool,
}

/// A view over tumbling windows of one source table, ready to run. Clones share
/// what was compiled.
#[derive(Clone)]
pub struct WindowQuery {
    pub(crate) plan: Arc<QueryPlan>,
}

/// What [`WindowQuery`] holds.
pub(crate) struct QueryPlan {
    pub(crate) source: SourceTableInfo,
    /// Index of the event-time column in the source.
    pub(crate) time_index: usize,
    /// Whose cells are the windows.
    pub(crate) grid: TimeGrid,
    /// What happens to rows before they know their window.
    pub(crate) below: Vec<Stage>,
    /// The schema with the window's bounds added, and what happens after.
    pub(crate) windowed: SchemaRef,
    pub(crate) above: Vec<Stage>,
    /// `GROUP BY`, in order.
    pub(crate) keys: Vec<Key>,
    /// Of those keys that are not the window's bounds.
    pub(crate) key_schema: SchemaRef,
    pub(crate) aggregates: Vec<Aggregate>,
    /// Keys and results: what a closed window's groups look like.
    pub(crate) grouped: SchemaRef,
    /// What happens to them then.
    pub(crate) after: Vec<Stage>,
    pub(crate) output: SchemaRef,
    pub(crate) description: Vec<String>,
    /// What state follows from: the canonical form of the view.
    pub(crate) identity: String,
    /// The form that older builds marked state with.
    pub(crate) legacy_identity: String,
}

/// One expression of `GROUP BY`.
#[derive(Clone)]
pub(crate) enum Key {
    /// The window's first instant: one value per window.
    WindowStart,
    /// The first instant after the window.
    WindowEnd,
    /// Anything else.
    Expression(Arc<dyn PhysicalExpr>),
}

impl WindowQuery {
    /// Compiles the analyzed, otherwise unoptimised plan of a view: projections,
    /// filters and aliases over one aggregate, over projections, filters and
    /// aliases around one [`TumbleNode`](super::TumbleNode), over a scan of the
    /// source.
    ///
    /// # Errors
    /// If the plan has another shape, its windows are not those of the source's
    /// event time, its groups mix windows, or it uses what a replay could not
    /// reproduce.
    pub fn compile(
        view_plan: &LogicalPlan,
        session: &Session,
        source: &SourceTableInfo,
    ) -> Result<Self, CompileError> {
        let plan = Compiler::new(session, source)?.compile(view_plan)?;
        Ok(Self { plan: Arc::new(plan) })
    }

    /// Returns the columns of the view.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.output)
    }

    /// Returns the grid whose cells are the windows.
    pub fn grid(&self) -> TimeGrid {
        self.plan.grid
    }

    /// Returns the functions whose state a snapshot cannot hold to the bit: if there are
    /// any, open windows are read again after a restart.
    pub fn without_saved_state(&self) -> Vec<String> {
        let aggregates = self.plan.aggregates.iter().filter(|a| !a.is_restorable());
        let mut names: Vec<String> =
            aggregates.map(|aggregate| aggregate.function.fun().name().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the view's canonical form, which stays the same from build to build.
    pub(crate) fn identity(&self) -> &str {
        &self.plan.identity
    }

    /// Returns the form that older builds marked state with.
    pub(crate) fn legacy_identity(&self) -> &str {
        &self.plan.legacy_identity
    }

    /// Returns what the view does, a line per step, in the order of execution.
    pub fn describe(&self) -> Vec<String> {
        self.plan.description.clone()
    }
}

impl QueryPlan {
    /// Returns the first instant behind the window that starts at `start`, in
    /// microseconds.
    pub(crate) fn end_of(&self, start: i64) -> i64 {
        match self.grid.fixed_micros() {
            Some(size) => start + size,
            None => self.grid.ceil(EventTime::from_micros(start)).as_micros(),
        }
    }
}

impl fmt::Debug for WindowQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WindowQuery").field(&self.plan.description).finish()
    }
}

/// Why a view cannot run on a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What was found, what was expected, and the remedy.
    pub message: String,
    /// The name in the view's text that this is about, if there is one.
    pub subject: Option<String>,
}

impl CompileError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), subject: None }
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

impl From<DataFusionError> for CompileError {
    fn from(error: DataFusionError) -> Self {
        Self::new(super::stage::reason(&error))
    }
}

/// Returns the schema of the columns of `schema` at `indices`.
pub(crate) fn columns_at(schema: &Schema, indices: &[usize]) -> SchemaRef {
    let fields = schema.fields();
    Arc::new(Schema::new(
        indices.iter().filter_map(|index| fields.get(*index).cloned()).collect::<Vec<_>>(),
    ))
}

/// Returns whether values of this type are instants.
pub(crate) fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _))
}
