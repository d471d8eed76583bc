//! The steps around the aggregation: filters and projections over batches.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::error::{DataFusionError, Result};
use datafusion_physical_expr::PhysicalExpr;

/// One step.
#[derive(Clone)]
pub(crate) enum Stage {
    /// Keeps the rows for which the predicate is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes each column anew.
    Project { expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(predicate) => write!(f, "filter {predicate}"),
            Self::Project { expressions, .. } => {
                write!(f, "project ")?;
                f.debug_list().entries(expressions.iter().map(|e| e.to_string())).finish()
            }
        }
    }
}

/// Rows on their way through the stages, and which rows of the batch they were.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) rows: RecordBatch,
    /// For each row its index in the batch it came from.
    pub(crate) origin: UInt32Array,
}

impl Selection {
    /// Returns the rows `start..start + rows.num_rows()` of a batch.
    pub(crate) fn contiguous(rows: RecordBatch, start: usize) -> Self {
        let end = start + rows.num_rows();
        Self { rows, origin: UInt32Array::from_iter_values(start as u32..end as u32) }
    }

    fn slice(&self, from: usize, rows: usize) -> Self {
        Self { rows: self.rows.slice(from, rows), origin: self.origin.slice(from, rows) }
    }

    /// Keeps the rows for which `mask` is true.
    pub(crate) fn filter(self, mask: &BooleanArray) -> Result<Self> {
        let mask = match mask.null_count() {
            0 => mask,
            _ => &prep_null_mask_filter(mask),
        };
        if mask.true_count() == mask.len() {
            return Ok(self);
        }
        let origin = filter(&self.origin, mask)?;
        let origin = datafusion_common::cast::as_uint32_array(&origin)?.clone();
        Ok(Self { rows: filter_record_batch(&self.rows, mask)?, origin })
    }
}

/// Runs `selection` through `stages`, in order.
pub(crate) fn run(stages: &[Stage], mut selection: Selection) -> Result<Selection> {
    for stage in stages {
        selection = match stage {
            Stage::Filter(predicate) => {
                let mask = evaluate(predicate, &selection.rows)?;
                selection.filter(as_boolean_array(&mask)?)?
            }
            Stage::Project { expressions, schema } => {
                let columns = expressions
                    .iter()
                    .map(|expression| evaluate(expression, &selection.rows))
                    .collect::<Result<Vec<_>>>()?;
                let rows = batch(schema, columns, selection.rows.num_rows())?;
                Selection { rows, origin: selection.origin }
            }
        };
    }
    Ok(selection)
}

/// Evaluates an expression for all rows.
pub(crate) fn evaluate(expression: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef> {
    expression.evaluate(rows)?.into_array(rows.num_rows())
}

/// Builds a batch, which may have no columns at all.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Says what went wrong, without the wrapping that names our own code.
pub(crate) fn reason(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = ["Arrow error: ", "Execution error: ", "Compute error: ", "Cast error: "]
        .iter()
        .fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// Does `work` for all rows at once or, where that fails, for ever smaller
/// parts, until the rows that fail stand alone. Parts come to `done` in order.
///
/// One bad row costs a logarithm of evaluations, and what becomes of a row does
/// not depend on its neighbours.
pub(crate) fn run_apart<T>(
    selection: Selection,
    work: &mut impl FnMut(Selection) -> Result<T>,
    done: &mut impl FnMut(T),
    failed: &mut impl FnMut(Selection, DataFusionError),
) {
    let rows = selection.rows.num_rows();
    if rows == 0 {
        return;
    }
    match work(selection.clone()) {
        Ok(result) => done(result),
        Err(error) if rows == 1 => failed(selection, error),
        Err(_) => {
            let half = rows / 2;
            run_apart(selection.slice(0, half), work, done, failed);
            run_apart(selection.slice(half, rows - half), work, done, failed);
        }
    }
}
