//! Scalar expressions: compiled as DataFusion would, and refused where a replay
//! could not reproduce them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, ExprSchemable, Volatility};
use datafusion_optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::query::CompileError;
use crate::session::Session;

/// Compiles a scalar expression over the columns of `input`.
pub(super) fn compile(
    expression: &Expr,
    input: &DFSchemaRef,
    session: &Session,
) -> Result<Arc<dyn PhysicalExpr>, CompileError> {
    refuse_volatile(expression)?;
    let expression = simplify(expression, input, session)?;
    let context = PhysicalPlanningContext::default();
    Ok(create_physical_expr(&expression, input, session.execution_props(), &context)?)
}

/// Evaluates constants, as DataFusion's optimizer would: some functions take
/// literals only.
pub(super) fn simplify(
    expression: &Expr,
    input: &DFSchemaRef,
    session: &Session,
) -> Result<Expr, CompileError> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(input))
        .with_config_options(Arc::clone(session.options()))
        .build();
    let simplified = ExprSimplifier::new(context).simplify(expression.clone())?;
    let same = data_type(&simplified, input) == data_type(expression, input);
    Ok(if same { simplified } else { expression.clone() })
}

/// Refuses what is not a function of the row alone.
pub(super) fn refuse_volatile(expression: &Expr) -> Result<(), CompileError> {
    let mut found = None;
    expression.apply(|node| {
        found = match node {
            Expr::ScalarFunction(call)
                if call.func.signature().volatility != Volatility::Immutable =>
            {
                let name = call.func.name();
                let message = format!(
                    "`{name}` gives another result each time it is asked; a replay could not \
                     reproduce the windows, so only functions of the row are allowed here"
                );
                Some(CompileError::new(message).about(name))
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Some(
                CompileError::new("subqueries inside expressions are not supported on a stream"),
            ),
            Expr::WindowFunction(call) => {
                let name = call.fun.name().to_owned();
                let message = format!(
                    "the window function `{name}` … OVER is not supported on a stream; \
                     aggregate over TUMBLE instead"
                );
                Some(CompileError::new(message).about(name))
            }
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    found.map_or(Ok(()), Err)
}

pub(super) fn data_type(expression: &Expr, input: &DFSchema) -> Option<DataType> {
    expression.get_type(input).ok()
}
