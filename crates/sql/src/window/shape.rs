//! The shape a view's plan must have, and what is said where it has another.

use datafusion_expr::{Aggregate, LogicalPlan, TableScan};

use super::query::CompileError;
use super::tumble::{TumbleNode, WINDOW_END, WINDOW_START};

/// Walks down through projections, filters and aliases to the node wanted;
/// returns those walked through, from the top down.
pub(super) fn descend<'p, T: 'p>(
    mut plan: &'p LogicalPlan,
    wanted: impl Fn(&'p LogicalPlan) -> Option<T>,
) -> Result<(Vec<&'p LogicalPlan>, T), CompileError> {
    let mut passed = Vec::new();
    loop {
        if let Some(found) = wanted(plan) {
            return Ok((passed, found));
        }
        passed.push(plan);
        plan = match plan {
            LogicalPlan::Projection(node) => &node.input,
            LogicalPlan::Filter(node) => &node.input,
            LogicalPlan::SubqueryAlias(node) => &node.input,
            other => return Err(CompileError::new(unexpected(other))),
        };
    }
}

pub(super) fn as_aggregate(node: &LogicalPlan) -> Option<&Aggregate> {
    match node {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate),
        _ => None,
    }
}

pub(super) fn as_scan(node: &LogicalPlan) -> Option<&TableScan> {
    match node {
        LogicalPlan::TableScan(scan) => Some(scan),
        _ => None,
    }
}

pub(super) fn as_tumble(node: &LogicalPlan) -> Option<&TumbleNode> {
    match node {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Says what a node that does not belong there is, in the words of SQL.
fn unexpected(node: &LogicalPlan) -> String {
    let found = match node {
        LogicalPlan::TableScan(scan) => {
            return format!(
                "`{}` is read without a window; a view must read FROM TUMBLE(TABLE {}, \
                 DESCRIPTOR(…), INTERVAL …) and GROUP BY {WINDOW_START}, {WINDOW_END}",
                scan.table_name, scan.table_name
            );
        }
        LogicalPlan::Extension(_) => {
            return format!(
                "the view does not aggregate; it needs GROUP BY {WINDOW_START}, {WINDOW_END} \
                 and aggregates such as avg(…)"
            );
        }
        LogicalPlan::Aggregate(_) => "a second GROUP BY",
        LogicalPlan::Distinct(_) => "SELECT DISTINCT",
        LogicalPlan::Join(_) => "JOIN",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Window(_) => "a window function with OVER",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "a query without a table",
        LogicalPlan::Subquery(_) => "a subquery",
        LogicalPlan::Unnest(_) => "UNNEST",
        other => return format!("`{}` is not supported on a stream", other.display()),
    };
    format!(
        "{found} is not supported on a stream; a view is one SELECT with one GROUP BY over one TUMBLE"
    )
}
