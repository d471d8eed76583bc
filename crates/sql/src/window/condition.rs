//! Which rows move the watermark.

use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::error::Result;
use datafusion_expr::LogicalPlan;
use datafusion_physical_expr::PhysicalExpr;

use super::expression;
use super::identity::Columns;
use super::query::CompileError;
use super::stage::{self, Selection};
use crate::session::Session;

/// The condition of `WATERMARK FOR ts AS CASE WHEN condition THEN … END`.
///
/// Rows on which it is not true, false or null, are rows as any other: they have
/// a window and can be late. They only say nothing about how far time has come,
/// so that a forecast of tomorrow's weather does not close today.
#[derive(Clone)]
pub struct WatermarkCondition {
    text: String,
    /// Its canonical form.
    identity: String,
    predicate: Arc<dyn PhysicalExpr>,
}

impl WatermarkCondition {
    /// Compiles the condition of `SELECT * FROM source WHERE condition`; `text` is
    /// the condition as written.
    ///
    /// # Errors
    /// If the plan has another shape, or the condition is no truth value or not
    /// a function of the row alone.
    pub fn compile(
        plan: &LogicalPlan,
        session: &Session,
        text: impl Into<String>,
    ) -> Result<Self, CompileError> {
        let filter = match plan {
            LogicalPlan::Projection(projection) => projection.input.as_ref(),
            other => other,
        };
        let LogicalPlan::Filter(filter) = filter else {
            return Err(CompileError::new("the condition is not one of a row"));
        };
        let input = filter.input.schema();
        let found = expression::data_type(&filter.predicate, input);
        if found != Some(DataType::Boolean) {
            return Err(CompileError::new("the condition is neither true nor false, expected one"));
        }
        let predicate = expression::compile(&filter.predicate, input, session)?;
        let identity = Columns::text_over_source(&filter.predicate, input);
        Ok(Self { text: text.into(), identity, predicate })
    }

    /// Returns its canonical form, whatever way it was written.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Says for each of the rows whether it moves the watermark.
    pub(crate) fn evaluate(&self, selection: &Selection) -> Result<BooleanArray> {
        let mask = stage::evaluate(&self.predicate, &selection.rows)?;
        Ok(as_boolean_array(&mask)?.iter().map(|is_true| Some(is_true == Some(true))).collect())
    }
}

impl fmt::Display for WatermarkCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WatermarkCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatermarkCondition").field(&self.text).finish()
    }
}
