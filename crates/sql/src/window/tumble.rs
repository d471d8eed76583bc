//! The tumbling window as a node of a logical plan.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::error::Result;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, TableReference, plan_err};
use datafusion_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast, lit,
};
use tidecast_stream::TimeGrid;

/// Name of the column that holds a window's first instant.
pub const WINDOW_START: &str = "window_start";
/// Name of the column that holds the first instant after a window.
pub const WINDOW_END: &str = "window_end";

/// Adds to each row the tumbling window that its time lies in.
///
/// The schema is the input's plus [`WINDOW_START`] and [`WINDOW_END`]: timestamps
/// in microseconds without zone, never null, with the time column's qualifier.
/// Windows are the cells of the grid; a time finer than a microsecond is rounded down
/// first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TumbleNode {
    /// Where the rows come from.
    pub input: Arc<LogicalPlan>,
    /// The column of the input that is the time.
    pub time_column: String,
    /// The grid whose cells are the windows.
    pub grid: TimeGrid,
    schema: DFSchemaRef,
}

impl TumbleNode {
    /// Returns the node over `input`.
    ///
    /// # Errors
    /// If there is no such column, it is no timestamp, or the input has a column named
    /// like those that are added.
    pub fn try_new(input: LogicalPlan, time_column: &str, grid: TimeGrid) -> Result<Self> {
        let (qualifier, time) = time_field(&input, time_column)?;
        if !matches!(time, DataType::Timestamp(_, _)) {
            return plan_err!(
                "the window's time column `{time_column}` is {time}; it must be a TIMESTAMP"
            );
        }
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut fields: Vec<_> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        for name in [WINDOW_START, WINDOW_END] {
            if fields.iter().any(|(_, field)| field.name() == name) {
                return plan_err!("the window's input already has a column `{name}`; rename it");
            }
            let field = Arc::new(Field::new(name, instant.clone(), false));
            fields.push((qualifier.clone(), field));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(Self { input: Arc::new(input), time_column: time_column.to_owned(), grid, schema })
    }

    /// Returns the node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// Returns a plan of the same meaning made of plain expressions, so that
    /// DataFusion can run it over a bounded table.
    ///
    /// # Errors
    /// If DataFusion refuses the expressions, or windows are a calendar's, which plain
    /// expressions cannot say.
    pub fn to_projection(&self) -> Result<LogicalPlan> {
        let Some(size) = self.grid.fixed_micros() else {
            return plan_err!("windows of a {} are no plain expression", self.grid);
        };
        let (qualifier, time) = time_field(&self.input, &self.time_column)?;
        let micros = self.micros(time)?;
        let floored = floor_to(micros, size, self.grid.offset_micros());
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let start = cast(floored.clone(), instant.clone());
        let end = cast(floored + lit(size), instant);
        let columns = self.input.schema().columns().into_iter().map(Expr::Column);
        let bounds = [(start, WINDOW_START), (end, WINDOW_END)]
            .map(|(bound, name)| bound.alias_qualified(qualifier.clone(), name));
        LogicalPlanBuilder::from(self.input.as_ref().clone())
            .project(columns.chain(bounds))?
            .build()
    }

    /// The time column as microseconds, an integer.
    fn micros(&self, time: DataType) -> Result<Expr> {
        let column = Expr::Column(time_column(&self.input, &self.time_column)?);
        let raw = cast(column, DataType::Int64);
        Ok(match time {
            DataType::Timestamp(TimeUnit::Second, _) => raw * lit(1_000_000_i64),
            DataType::Timestamp(TimeUnit::Millisecond, _) => raw * lit(1_000_i64),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                floor_to(raw, 1_000, 0) / lit(1_000_i64)
            }
            _ => raw,
        })
    }
}

/// The largest `offset + k·size` that is not above `value`. SQL's `%` has the
/// sign of its left side, hence the two of them.
fn floor_to(value: Expr, size: i64, offset: i64) -> Expr {
    let remainder = (value.clone() - lit(offset)) % lit(size);
    value - (remainder + lit(size)) % lit(size)
}

fn time_column(input: &LogicalPlan, name: &str) -> Result<Column> {
    let (qualifier, field) = input.schema().qualified_field_with_unqualified_name(name)?;
    Ok(Column::new(qualifier.cloned(), field.name()))
}

fn time_field(input: &LogicalPlan, name: &str) -> Result<(Option<TableReference>, DataType)> {
    let (qualifier, field) = input.schema().qualified_field_with_unqualified_name(name)?;
    Ok((qualifier.cloned(), field.data_type().clone()))
}

/// Returns `plan` with every [`TumbleNode`] spelled with plain expressions: the
/// view as an ordinary batch query.
///
/// # Errors
/// If DataFusion refuses the rewritten plan.
pub fn to_batch_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up(|node| {
        let rewritten = match &node {
            LogicalPlan::Extension(extension) => extension
                .node
                .as_any()
                .downcast_ref::<TumbleNode>()
                .map(TumbleNode::to_projection)
                .transpose()?,
            _ => None,
        };
        Ok(match rewritten {
            Some(rewritten) => Transformed::yes(rewritten),
            None => Transformed::yes(node.recompute_schema()?),
        })
    })?;
    Ok(plan.data)
}

impl PartialOrd for TumbleNode {
    /// Orders by what tells two nodes apart beside their inputs' schemas.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.grid.describe(), node.time_column.clone());
        match key(self).cmp(&key(other)) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl UserDefinedLogicalNodeCore for TumbleNode {
    fn name(&self) -> &str {
        "Tumble"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        time_column(&self.input, &self.time_column).map(Expr::Column).into_iter().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time_column, grid, .. } = self;
        write!(f, "Tumble: time={time_column}, windows={grid}")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let time_column = match exprs.as_slice() {
            [Expr::Column(column)] => column.name.clone(),
            _ => return plan_err!("a window's time must stay a column, found {exprs:?}"),
        };
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return plan_err!("a window has exactly one input");
        };
        Self::try_new(input, &time_column, self.grid)
    }
}
