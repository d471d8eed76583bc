//! `TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE [, offset])` in `FROM`:
//! a relation planner that makes a [`TumbleNode`] of it.
//!
//! Also taken: Flink's `TABLE(TUMBLE(…))` and its named arguments `DATA`,
//! `TIMECOL`, `SIZE`, `OFFSET`; `TIMEZONE => 'Europe/Berlin'` for days, weeks and months of
//! a zone's clocks and `CALENDAR => 'business'` for days of Monday to Friday; RisingWave's `tumble(t, ts, INTERVAL …)`; and
//! `(SELECT …)` in the table's place.

mod grid;

use arrow::datatypes::DataType;
use datafusion_common::error::Result;
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::LogicalPlan;
use datafusion_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned,
    TableFactor,
};
use sqlparser::tokenizer::Span;
use tidecast_stream::column_type::sql_name;

use crate::dialect::{Name, TABLE_ARGUMENT, name_of};
use crate::error::{Problem, did_you_mean, one_of};
use crate::window::TumbleNode;

const USAGE: &str = "expected TUMBLE(TABLE name, DESCRIPTOR(time_column), INTERVAL '1' MINUTE)";

/// Plans the window table function.
#[derive(Debug)]
pub(super) struct TumblePlanner;

impl RelationPlanner for TumblePlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(call) = WindowCall::of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = plan_tumble(&call, context)?;
        let alias = match relation {
            TableFactor::Table { alias, .. } | TableFactor::TableFunction { alias, .. } => alias,
            _ => None,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// A call of `TUMBLE` in `FROM`.
#[derive(Debug)]
pub(super) struct WindowCall<'a> {
    span: Span,
    arguments: &'a [FunctionArg],
}

impl<'a> WindowCall<'a> {
    /// Returns the call that `relation` is, if it is one.
    pub(super) fn of(relation: &'a TableFactor) -> Option<Self> {
        let (name, arguments) = table_function(relation)?;
        (name.value == "tumble").then_some(Self { span: name.span, arguments })
    }

    /// Returns table, time column, size and, where given, offset, time zone and calendar.
    fn parts(&self) -> Result<[Option<&'a Expr>; 6], Problem> {
        const NAMES: [&str; 6] = ["data", "timecol", "size", "offset", "timezone", "calendar"];
        let mut parts = [None; 6];
        // Time zone and calendar are said by name alone.
        const POSITIONAL: usize = 4;
        for (index, argument) in self.arguments.iter().enumerate() {
            let (name, expression) = argument_parts(argument);
            let (place, span) = match name {
                Some(name) => (
                    NAMES.iter().position(|known| *known == name.value).ok_or_else(|| {
                        let remedy = did_you_mean(&name.value, NAMES);
                        Problem::new(
                            name.span,
                            format!("TUMBLE has no argument `{}`, {USAGE}{remedy}", name.value),
                        )
                    })?,
                    name.span,
                ),
                None if index >= POSITIONAL => {
                    let span = expression.map_or(self.span, Spanned::span);
                    return Err(self.too_many(span));
                }
                None => (index, expression.map_or(self.span, Spanned::span)),
            };
            let Some(slot) = parts.get_mut(place) else {
                return Err(self.too_many(span));
            };
            *slot = expression;
        }
        Ok(parts)
    }

    fn too_many(&self, span: Span) -> Problem {
        let message = format!("TUMBLE has too many arguments, {USAGE} and an offset");
        Problem::new(span.or(self.span), message)
    }
}

/// Returns the function's name and arguments where a relation is a call.
pub(super) fn table_function(relation: &TableFactor) -> Option<(Name, &[FunctionArg])> {
    let (name, arguments) = match relation {
        TableFactor::Table { name, args: Some(arguments), .. } => (name, arguments.args.as_slice()),
        TableFactor::TableFunction { expr: Expr::Function(function), .. } => {
            (&function.name, function_arguments(function))
        }
        _ => return None,
    };
    // `AI.FORECAST` is known by its last part.
    let last = name.0.last()?.as_ident()?;
    let mut found = name_of(last);
    found.value = found.value.to_lowercase();
    Some((found, arguments))
}

/// Returns the argument's name, if it has one, and its expression.
pub(super) fn argument_parts(argument: &FunctionArg) -> (Option<Name>, Option<&Expr>) {
    match argument {
        FunctionArg::Named { name, arg, .. } => {
            let mut found = name_of(name);
            found.value = found.value.to_lowercase();
            (Some(found), as_expression(arg))
        }
        FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg) => {
            (None, as_expression(arg))
        }
    }
}

fn as_expression(argument: &FunctionArgExpr) -> Option<&Expr> {
    match argument {
        FunctionArgExpr::Expr(expression) => Some(expression),
        _ => None,
    }
}

fn function_arguments(function: &Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

/// A table given as an argument.
#[derive(Debug)]
pub(super) enum TableArgument<'a> {
    /// `TABLE name` or `name`.
    Named(ObjectName),
    /// `(SELECT …)` or `TABLE (SELECT …)`.
    Query(&'a sqlparser::ast::Query),
}

/// Returns the table that an argument is, if it is one.
pub(super) fn table_argument(expression: &Expr) -> Option<TableArgument<'_>> {
    match expression {
        Expr::Prefixed { prefix, value } if prefix.value == TABLE_ARGUMENT => table_argument(value),
        Expr::Nested(inner) => table_argument(inner),
        Expr::Identifier(identifier) => Some(TableArgument::Named(vec![identifier.clone()].into())),
        Expr::CompoundIdentifier(parts) => Some(TableArgument::Named(parts.clone().into())),
        Expr::Subquery(query) => Some(TableArgument::Query(query)),
        _ => None,
    }
}

fn plan_tumble(
    call: &WindowCall<'_>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let [table, time, size, offset, zone, calendar] = call.parts().map_err(external)?;
    let (Some(table), Some(time), Some(size)) = (table, time, size) else {
        return Err(external(Problem::new(
            call.span,
            format!("TUMBLE has too few arguments, {USAGE}"),
        )));
    };
    let input = plan_input(table, call.span, context)?;
    let time = time_column(time, input.schema(), call.span).map_err(external)?;
    let windows = grid::Windows { size, offset, zone, calendar, place: call.span };
    let grid = windows.grid().map_err(external)?;
    Ok(TumbleNode::try_new(input, &time.value, grid)?.into_plan())
}

fn plan_input(
    table: &Expr,
    place: Span,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    match table_argument(table) {
        Some(TableArgument::Named(name)) => context.plan(TableFactor::Table {
            name,
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        }),
        Some(TableArgument::Query(query)) => context.plan(TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query.clone()),
            alias: None,
            sample: None,
        }),
        None => Err(external(Problem::new(
            table.span().or(place),
            format!("`{table}` is no table, {USAGE}"),
        ))),
    }
}

/// Returns the time column, which `DESCRIPTOR(ts)` or `ts` names.
fn time_column(expression: &Expr, input: &DFSchema, place: Span) -> Result<Name, Problem> {
    let name = descriptor(expression).map(name_of).ok_or_else(|| {
        Problem::new(
            expression.span().or(place),
            format!("`{expression}` does not name a time column, {USAGE}"),
        )
    })?;
    let Ok(field) = input.field_with_unqualified_name(&name.value) else {
        let names = || input.fields().iter().map(|field| field.name().as_str());
        return Err(Problem::new(
            name.span,
            format!(
                "unknown column `{}`, expected {}{}",
                name.value,
                one_of(names()),
                did_you_mean(&name.value, names())
            ),
        ));
    };
    match field.data_type() {
        DataType::Timestamp(_, _) => Ok(name),
        other => Err(Problem::new(
            name.span,
            format!(
                "time column `{}` is of type {}, expected a TIMESTAMP",
                name.value,
                sql_name(other)
            ),
        )),
    }
}

fn descriptor(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Identifier(identifier) => Some(identifier),
        Expr::Function(function)
            if function.name.to_string().eq_ignore_ascii_case("descriptor") =>
        {
            match function_arguments(function) {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(identifier)))] => {
                    Some(identifier)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Where an interval stands; sqlparser knows only of its number.
fn interval_span(expression: &Expr, place: Span) -> Span {
    match expression {
        Expr::Interval(interval) => interval.value.span().or(place),
        other => other.span().or(place),
    }
}

/// A problem on its way through DataFusion.
pub(super) fn external(problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(problem))
}

/// A second choice for an empty span.
pub(super) trait SpanOr {
    /// Returns the span, or `other` if it is empty.
    fn or(self, other: Span) -> Span;
}

impl SpanOr for Span {
    fn or(self, other: Span) -> Span {
        if self == Span::empty() { other } else { self }
    }
}
