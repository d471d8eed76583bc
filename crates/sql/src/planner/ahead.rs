//! Rows ahead of the origin: the condition under which rows move the watermark,
//! and what future covariates need of a source.

use std::time::Duration;

use sqlparser::ast::{Expr, Query, SetExpr};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;

use super::catalog::Catalog;
use crate::dialect::duration::format_duration;
use crate::dialect::{ColumnList, Name, Placed, TidecastDialect};
use crate::error::Problem;
use crate::spec::{ForecastClause, Refresh, SourceConnector, SourceTable};
use crate::window::WatermarkCondition;

/// Returns the condition of a source table's watermark, if it has one.
pub(super) fn watermark_condition(
    catalog: &Catalog<'_>,
    table: &Name,
    columns: &ColumnList,
    problems: &mut Vec<Problem>,
) -> Option<WatermarkCondition> {
    let condition = columns.watermarks.first()?.condition.as_ref()?;
    let compiled = where_query(table, &condition.value)
        .ok_or_else(|| vec![Problem::new(condition.span, "the condition cannot be read")])
        .and_then(|query| catalog.query(&query, condition.span))
        .and_then(|plan| {
            let text = condition.value.to_string();
            WatermarkCondition::compile(&plan, &catalog.session, text)
                .map_err(|error| vec![Problem::new(condition.span, error.message)])
        });
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(found) => {
            // What is said of the query around it has no place in the script.
            let lies_within =
                |span: Span| condition.span.start <= span.start && span.start <= condition.span.end;
            problems.extend(found.into_iter().map(|mut problem| {
                if !lies_within(problem.span) {
                    problem.span = condition.span;
                }
                if let Some(message) = own_words(&problem.message, &condition.value) {
                    problem.message = message;
                }
                problem
            }));
            None
        }
    }
}

/// Says what DataFusion says of a filter as it is meant of a condition.
fn own_words(message: &str, condition: &Expr) -> Option<String> {
    if message.starts_with("cannot create filter with non-boolean") {
        let text = format!(
            "condition `{condition}` is neither true nor false, expected for instance \
             `{condition} IS NOT NULL`"
        );
        return Some(text);
    }
    message.starts_with("aggregate functions are not allowed").then(|| {
        format!("condition `{condition}` is not of one row, expected no aggregate function in it")
    })
}

/// Returns `SELECT * FROM table WHERE condition`, so that a condition is checked,
/// planned and compiled like the filter of a view.
fn where_query(table: &Name, condition: &Expr) -> Option<Query> {
    let text = format!("SELECT * FROM \"{}\"", table.value.replace('"', "\"\""));
    let mut query = Parser::new(&TidecastDialect).try_with_sql(&text).ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.selection = Some(condition.clone());
    Some(*query)
}

/// Checks that rows as far ahead as the horizon can come from `source`, and stay;
/// `covariate` is the first that is to be known there.
pub(super) fn check_ahead(
    covariate: &Placed<String>,
    forecast: &ForecastClause,
    source: &SourceTable,
    problems: &mut Vec<Problem>,
) {
    let step = forecast.step.period().typical_micros().unsigned_abs();
    let step = Duration::from_micros(step);
    let horizon = u32::try_from(forecast.horizon).unwrap_or(u32::MAX);
    let horizon = step.saturating_mul(horizon);
    let (name, table) = (&covariate.value, &source.name);
    if let (SourceConnector::Kafka(_), Some(bound)) = (&source.connector, source.max_future)
        && bound < horizon
    {
        let (bound, horizon) = (format_duration(bound), format_duration(horizon));
        problems.push(Problem::new(
            covariate.span,
            format!(
                "future covariate `{name}` is to be known {horizon} ahead, and `{table}` rejects \
                 records more than {bound} ahead of their timestamp; expected there \
                 'max.future'='{horizon}' or more, or 'none'"
            ),
        ));
    }
    let watermark = &source.watermark;
    let closes_at_once = watermark.condition.is_none() && watermark.delay < step;
    if closes_at_once && forecast.refresh != Refresh::AtEnd {
        let column = &watermark.column;
        problems.push(Problem::new(
            covariate.span,
            format!(
                "future covariate `{name}` is to be known ahead, and every row of `{table}` moves \
                 the watermark, so a row ahead closes the windows before it; expected there for \
                 instance `WATERMARK FOR {column} AS CASE WHEN {} IS NOT NULL THEN {column} - \
                 INTERVAL '10' SECOND END`",
                forecast.targets.first().map_or("target", String::as_str)
            ),
        ));
    }
}
