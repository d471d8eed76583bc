//! A view, in the order in which records go through it.

use datafusion_expr::{Expr, LogicalPlan};

use super::expression::Columns;
use super::types::{call, quoted};
use crate::window::query::CompileError;
use crate::window::shape::{as_aggregate, as_scan, as_tumble, descend};

/// Returns the canonical form of a view whose plan has the shape that compiles, a line for
/// what is done.
///
/// A column stands for what it holds and not for a name: one of the source is
/// `column("kw", float64)`; what a `SELECT` computes has a line of its own, since it can
/// fail for a row whether it is asked for or not, and is `computed(0)` from there on; groups
/// have `key(0)` and `aggregate(0)`. Aliases, qualifiers and layers that only hand on leave
/// nothing behind, so a table may be read directly or through a `SELECT *`. The names that
/// the view gives its columns stand in the last line.
pub(in crate::window) fn query(view: &LogicalPlan) -> Result<String, CompileError> {
    let (after, aggregate) = descend(view, as_aggregate)?;
    let (above, tumble) = descend(&aggregate.input, as_tumble)?;
    let (below, scan) = descend(&tumble.input, as_scan)?;

    let mut form = Form::default();
    let columns = Columns::of_source(&scan.projected_schema);
    let mut columns = form.stages(&below, columns);
    let fields = tumble.input.schema().fields().iter();
    let time = fields.zip(&columns).find(|(field, _)| *field.name() == tumble.time_column);
    let time = time.map_or_else(|| quoted(&tumble.time_column), |(_, name)| name.clone());
    form.line("window", call("tumble", [super::grid(&tumble.grid), time]));
    columns.extend(["window_start", "window_end"].map(str::to_owned));
    let columns = form.stages(&above, columns);

    let input = Columns::new(aggregate.input.schema(), &columns);
    let mut grouped = Vec::new();
    for (number, key) in aggregate.group_expr.iter().enumerate() {
        form.line(&format!("key({number})"), input.text(key));
        grouped.push(format!("key({number})"));
    }
    for (number, function) in aggregate.aggr_expr.iter().enumerate() {
        form.line(&format!("aggregate({number})"), input.text(function));
        grouped.push(format!("aggregate({number})"));
    }
    let columns = form.stages(&after, grouped);
    for (field, column) in view.schema().fields().iter().zip(columns) {
        form.line("output", call(&quoted(field.name()), [column]));
    }
    Ok(form.lines.join("\n"))
}

/// What is written so far.
#[derive(Default)]
struct Form {
    lines: Vec<String>,
    computed: usize,
}

impl Form {
    fn line(&mut self, what: &str, text: String) {
        self.lines.push(format!("{what}: {text}"));
    }

    /// Writes projections and filters, given from the top down; returns what the columns
    /// behind them hold.
    fn stages(&mut self, nodes: &[&LogicalPlan], mut columns: Vec<String>) -> Vec<String> {
        for node in nodes.iter().rev() {
            match node {
                LogicalPlan::Filter(node) => {
                    let input = Columns::new(node.input.schema(), &columns);
                    let predicate = input.text(&node.predicate);
                    self.line("filter", predicate);
                }
                LogicalPlan::Projection(node) => {
                    let input = Columns::new(node.input.schema(), &columns);
                    let held = node.expr.iter().map(|expression| self.held(expression, input));
                    columns = held.collect();
                }
                // An alias changes names only.
                _ => {}
            }
        }
        columns
    }

    fn held(&mut self, expression: &Expr, input: Columns<'_>) -> String {
        let text = input.text(expression);
        let is_plain =
            |expression: &Expr| matches!(expression, Expr::Column(_) | Expr::Literal(..));
        if is_plain(&expression.clone().unalias_nested().data) {
            return text;
        }
        let held = format!("computed({})", self.computed);
        self.computed += 1;
        self.line(&held, text);
        held
    }
}
