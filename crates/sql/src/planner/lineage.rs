//! Where a column of a view comes from.

use datafusion_common::Column;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};

use crate::window::{TumbleNode, WINDOW_END, WINDOW_START};

/// The parts that a window view is made of.
#[derive(Debug)]
pub(super) struct WindowView<'a> {
    /// The only aggregation.
    pub(super) aggregate: &'a Aggregate,
    /// The only window function.
    pub(super) tumble: &'a TumbleNode,
    /// The table read.
    pub(super) table: &'a str,
}

/// What a group key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupKey {
    /// `window_start` or `window_end`.
    Window,
    /// Anything else.
    Series,
}

impl<'a> WindowView<'a> {
    /// Returns the parts of a plan.
    ///
    /// # Errors
    /// In words, if the plan has not this shape: filters and projections over
    /// one aggregation over filters and projections over one `TUMBLE` of a table.
    pub(super) fn of(plan: &'a LogicalPlan) -> Result<Self, String> {
        let mut aggregate = None;
        let mut tumble = None;
        let mut node = plan;
        loop {
            node = match node {
                LogicalPlan::Projection(projection) => &projection.input,
                LogicalPlan::Filter(filter) => &filter.input,
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Aggregate(found) if tumble.is_some() => {
                    let keys = found.group_expr.len();
                    return Err(format!(
                        "a table is aggregated below TUMBLE ({keys} group keys), expected the only \
                         GROUP BY above it"
                    ));
                }
                LogicalPlan::Aggregate(found) => {
                    if aggregate.replace(found).is_some() {
                        return Err("it aggregates twice, expected one GROUP BY".to_owned());
                    }
                    &found.input
                }
                LogicalPlan::Extension(extension) => {
                    let found = extension.node.as_any().downcast_ref::<TumbleNode>();
                    let Some(found) = found else {
                        return Err(format!("it contains `{}`", extension.node.name()));
                    };
                    if tumble.replace(found).is_some() {
                        return Err("it has two windows, expected one TUMBLE".to_owned());
                    }
                    &found.input
                }
                LogicalPlan::TableScan(scan) => {
                    let Some(tumble) = tumble else {
                        return Err("it has no window, expected FROM TUMBLE(TABLE name, \
                                    DESCRIPTOR(time_column), INTERVAL '1' MINUTE)"
                            .to_owned());
                    };
                    let Some(aggregate) = aggregate else {
                        return Err("it does not aggregate, expected GROUP BY with window_start \
                                    or window_end"
                            .to_owned());
                    };
                    return Ok(Self { aggregate, tumble, table: scan.table_name.table() });
                }
                other => {
                    let text = other.display().to_string();
                    let kind = text.split([':', ' ']).next().unwrap_or("something");
                    return Err(format!("it contains {kind}, which is not supported on a stream"));
                }
            };
        }
    }

    /// Returns what each group key is, in order.
    pub(super) fn group_keys(&self) -> Vec<GroupKey> {
        self.aggregate.group_expr.iter().map(|key| self.group_key(key)).collect()
    }

    fn group_key(&self, expression: &Expr) -> GroupKey {
        let mut column = match unaliased(expression) {
            Expr::Column(column) => column.clone(),
            _ => return GroupKey::Series,
        };
        let mut node: &LogicalPlan = &self.aggregate.input;
        loop {
            if let LogicalPlan::Extension(_) = node {
                let is_window = matches!(column.name(), WINDOW_START | WINDOW_END);
                return if is_window { GroupKey::Window } else { GroupKey::Series };
            }
            match below(node, &column) {
                Some((input, inner)) => (node, column) = (input, inner),
                None => return GroupKey::Series,
            }
        }
    }

    /// Returns the number of the group key that the view's column `name` is, if
    /// it is one unchanged.
    pub(super) fn group_of(&self, plan: &LogicalPlan, name: &str) -> Option<usize> {
        let mut column = column_named(plan, name)?;
        let mut node = plan;
        loop {
            if let LogicalPlan::Aggregate(aggregate) = node {
                let index = aggregate.schema.index_of_column(&column).ok()?;
                return (index < aggregate.group_expr.len()).then_some(index);
            }
            (node, column) = below(node, &column)?;
        }
    }
}

impl WindowView<'_> {
    /// Returns the aggregate function whose result the view's column `name` is,
    /// unchanged.
    pub(super) fn aggregate_of(&self, plan: &LogicalPlan, name: &str) -> Option<&str> {
        let mut column = column_named(plan, name)?;
        let mut node = plan;
        while !matches!(node, LogicalPlan::Aggregate(_)) {
            (node, column) = below(node, &column)?;
        }
        let index = self.aggregate.schema.index_of_column(&column).ok()?;
        let index = index.checked_sub(self.aggregate.group_expr.len())?;
        match unaliased(self.aggregate.aggr_expr.get(index)?) {
            Expr::AggregateFunction(function) => Some(function.func.name()),
            _ => None,
        }
    }
}

/// Returns the column of a plan's output by its name.
fn column_named(plan: &LogicalPlan, name: &str) -> Option<Column> {
    let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(name).ok()?;
    Some(Column::new(qualifier.cloned(), field.name()))
}

/// Returns a node's input and what `column` is called there, if the node hands
/// it on unchanged.
fn below<'a>(node: &'a LogicalPlan, column: &Column) -> Option<(&'a LogicalPlan, Column)> {
    match node {
        LogicalPlan::Filter(filter) => Some((&filter.input, column.clone())),
        LogicalPlan::SubqueryAlias(alias) => {
            let index = alias.schema.index_of_column(column).ok()?;
            Some((&alias.input, Column::from(alias.input.schema().qualified_field(index))))
        }
        LogicalPlan::Projection(projection) => {
            let index = projection.schema.index_of_column(column).ok()?;
            match unaliased(projection.expr.get(index)?) {
                Expr::Column(inner) => Some((&projection.input, inner.clone())),
                _ => None,
            }
        }
        _ => None,
    }
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
