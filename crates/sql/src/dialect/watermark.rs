//! What stands behind `WATERMARK FOR column AS`.

use std::time::Duration;

use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, FunctionArguments, Spanned, Value};
use sqlparser::tokenizer::Span;

use super::duration::interval_micros;
use super::message::column_in_quotes;
use super::parser::name_of;
use super::statement::{Name, Placed};
use crate::error::Problem;

/// `column [- INTERVAL …]`, or `CASE WHEN condition THEN column [- INTERVAL …] END`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct WatermarkExpression {
    /// The delay; zero when not said.
    pub(super) delay: Duration,
    /// Which rows move the watermark; all when not said.
    pub(super) condition: Option<Placed<Expr>>,
}

impl WatermarkExpression {
    /// Reads the expression, which stands at `place`.
    ///
    /// # Errors
    /// If it is neither of the two.
    pub(super) fn of(column: &Name, expression: &Expr, place: Span) -> Result<Self, Problem> {
        match expression {
            Expr::Nested(inner) => Self::of(column, inner, place),
            Expr::Case { operand: None, conditions, else_result, .. } => {
                let is_null = |expression: &Expr| match expression {
                    Expr::Value(value) => value.value == Value::Null,
                    _ => false,
                };
                match conditions.as_slice() {
                    [CaseWhen { condition, result }]
                        if else_result.as_deref().is_none_or(is_null) =>
                    {
                        let span = condition.span();
                        let span = if span == Span::empty() { place } else { span };
                        let condition = Some(Placed { value: condition.clone(), span });
                        Ok(Self { delay: delay(column, result, place)?, condition })
                    }
                    _ => Err(unexpected(column, expression, place)),
                }
            }
            plain => Ok(Self { delay: delay(column, plain, place)?, condition: None }),
        }
    }
}

/// Returns the delay of `column [- INTERVAL …]`.
fn delay(column: &Name, expression: &Expr, place: Span) -> Result<Duration, Problem> {
    let is_column = |expression: &Expr| match expression {
        Expr::Identifier(identifier) => name_of(identifier).value == column.value,
        _ => false,
    };
    match expression {
        Expr::Nested(inner) => delay(column, inner, place),
        expression if is_column(expression) => Ok(Duration::ZERO),
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            let micros =
                interval_micros(right).map_err(|error| Problem::new(place, error.to_string()))?;
            u64::try_from(micros).map(Duration::from_micros).map_err(|_| {
                let message = format!("the watermark would run ahead of `{}`", column.value);
                Problem::new(place, message)
            })
        }
        other => Err(unexpected(column, other, place)),
    }
}

fn unexpected(column: &Name, found: &Expr, place: Span) -> Problem {
    // Read as a column, the word would stand alone.
    let is_word = match found {
        Expr::BinaryOp { left, op: BinaryOperator::Minus, .. } => reads_word(column, left),
        other => reads_word(column, other),
    };
    let remedy = if is_word { column_in_quotes(&column.value) } else { String::new() };
    let problem = Problem::new(
        place,
        format!(
            "found `{found}`, expected `{0}`, `{0} - INTERVAL '…' SECOND` or `CASE WHEN condition \
             THEN {0} - INTERVAL '…' SECOND END` as its watermark",
            column.value
        ),
    );
    problem.and(&remedy)
}

/// Whether `found` is the column's name, read as a word of SQL.
fn reads_word(column: &Name, found: &Expr) -> bool {
    let is_word = match found {
        Expr::Function(function) => matches!(function.args, FunctionArguments::None),
        Expr::Prefixed { .. } | Expr::Interval(_) | Expr::Value(_) | Expr::UnaryOp { .. } => true,
        _ => false,
    };
    let said = found.to_string().to_lowercase();
    is_word && said.split_whitespace().next() == Some(column.value.as_str())
}
