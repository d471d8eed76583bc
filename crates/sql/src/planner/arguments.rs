//! Named arguments of `forecast(…)`, taken one by one.

use std::collections::BTreeMap;

use sqlparser::ast::{Expr, FunctionArg, Spanned, UnaryOperator, Value};
use sqlparser::tokenizer::Span;
use tidecast_stream::{DomainRule, Period};

use super::tumble::{SpanOr, argument_parts};
use crate::dialect::Placed;
use crate::dialect::duration::interval_length;
use crate::error::{Problem, did_you_mean, one_of};

const KNOWN: [&str; 19] = [
    "model",
    "series",
    "time",
    "target",
    "past_covariates",
    "future_covariates",
    "horizon",
    "context",
    "quantiles",
    "samples",
    "output",
    "aggregate",
    "min_context",
    "refresh",
    "fill",
    "non_negative",
    "integer",
    "lower",
    "upper",
];

const UNSUPPORTED: [&str; 6] =
    ["max_gap", "lead", "overload", "deadline", "confidence_level", "anomaly"];

/// The named arguments of one call, being read.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    values: BTreeMap<String, (Span, &'a Expr)>,
    /// Some name was not understood: what seems to be missing may be meant by it.
    has_unknown: bool,
}

impl<'a> Arguments<'a> {
    /// Returns the arguments after the first; what is unknown, unsupported,
    /// unnamed or given twice is reported at once.
    pub(super) fn new(
        arguments: &'a [FunctionArg],
        call: Span,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = BTreeMap::new();
        let mut has_unknown = false;
        for argument in arguments {
            let (name, expression) = argument_parts(argument);
            let (Some(name), Some(expression)) = (name, expression) else {
                problems.push(Problem::new(
                    argument.span().or(call),
                    format!("`{argument}` has no name, expected name => value"),
                ));
                has_unknown = true;
                continue;
            };
            let found = name.value.as_str();
            if UNSUPPORTED.contains(&found) {
                problems.push(Problem::new(
                    name.span,
                    format!("argument `{found}` of forecast is not supported in this version"),
                ));
            } else if !KNOWN.contains(&found) {
                has_unknown = true;
                problems.push(Problem::new(
                    name.span,
                    format!(
                        "unknown argument `{found}` of forecast, expected {}{}",
                        one_of(KNOWN),
                        did_you_mean(found, KNOWN)
                    ),
                ));
            } else if values.contains_key(found) {
                problems
                    .push(Problem::new(name.span, format!("argument `{found}` is given twice")));
            } else {
                values.insert(name.value, (name.span, expression));
            }
        }
        Self { values, has_unknown }
    }

    /// Whether an argument is certain to be missing.
    pub(super) fn lacks(&self, name: &str) -> bool {
        !self.has_unknown && !self.values.contains_key(name)
    }

    /// Returns where a value stands, or its name where sqlparser does not know.
    fn span(&self, name: &str) -> Span {
        self.values.get(name).map_or(Span::empty(), |(name, value)| value.span().or(*name))
    }

    fn wrong(&self, name: &str, expected: &str, problems: &mut Vec<Problem>) {
        if let Some((_, value)) = self.values.get(name) {
            problems.push(Problem::new(
                self.span(name),
                format!("argument `{name}` is `{value}`, expected {expected}"),
            ));
        }
    }

    /// Returns a text argument.
    pub(super) fn text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Placed<String>> {
        let (_, value) = self.values.get(name)?;
        let text = text_of(value);
        if text.is_none() {
            self.wrong(name, &format!("text in single quotes: {name} => '…'"), problems);
        }
        Some(Placed { value: text?, span: self.span(name) })
    }

    /// Returns an argument that is one text or a list of texts.
    pub(super) fn texts(
        &self,
        name: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<Placed<String>>> {
        let (_, value) = self.values.get(name)?;
        let items = match value {
            Expr::Array(array) => array.elem.as_slice(),
            single => std::slice::from_ref(*single),
        };
        let texts: Option<Vec<_>> = items
            .iter()
            .map(|item| {
                let span = item.span().or(self.span(name));
                text_of(item).map(|value| Placed { value, span })
            })
            .collect();
        if texts.is_none() {
            let what = match name {
                "aggregate" => "an aggregate in single quotes such as 'sum', or a list of them",
                "output" => "`quantiles`, `samples` or a list of them, in single quotes",
                _ => "a column's name in single quotes, or a list of them",
            };
            self.wrong(name, what, problems);
        }
        texts
    }

    /// Returns a whole number from 1 to `most`.
    pub(super) fn count(
        &self,
        name: &str,
        most: usize,
        problems: &mut Vec<Problem>,
    ) -> Option<usize> {
        let (_, value) = self.values.get(name)?;
        let count = number_text(value).and_then(|text| text.parse::<usize>().ok());
        match count {
            Some(count) if (1..=most).contains(&count) => Some(count),
            _ => {
                self.wrong(name, &format!("a whole number from 1 to {most}"), problems);
                None
            }
        }
    }

    /// Returns `true` or `false`.
    fn truth(&self, name: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        let (_, value) = self.values.get(name)?;
        let truth = match value {
            Expr::Value(value) => match value.value {
                Value::Boolean(truth) => Some(truth),
                _ => None,
            },
            _ => None,
        };
        if truth.is_none() {
            self.wrong(name, "true or false", problems);
        }
        truth
    }

    /// Returns a number, whole or not.
    fn number(&self, name: &str, problems: &mut Vec<Problem>) -> Option<f64> {
        let (_, value) = self.values.get(name)?;
        let number = number_text(value).and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|number| number.is_finite());
        if number.is_none() {
            self.wrong(name, "a number", problems);
        }
        number
    }

    /// Returns what is said of the values that the targets can have.
    pub(super) fn domain(&self, problems: &mut Vec<Problem>) -> DomainRule {
        let rule = DomainRule {
            lower: self.number("lower", problems),
            upper: self.number("upper", problems),
            integer: self.truth("integer", problems),
            non_negative: self.truth("non_negative", problems),
        };
        if let Some(least) = rule.contradiction() {
            let are_whole = rule.integer == Some(true);
            let what = if are_whole { "a whole number at or above" } else { "at least" };
            self.wrong("upper", &format!("{what} the least value, {least}"), problems);
        }
        rule
    }

    /// Returns a number of steps from 1 to `most`, said as such or as an
    /// interval, which must be a whole multiple of the step.
    pub(super) fn steps(
        &self,
        name: &str,
        step: Period,
        most: usize,
        problems: &mut Vec<Problem>,
    ) -> Option<usize> {
        let (_, value) = self.values.get(name)?;
        if !matches!(value, Expr::Interval(_)) {
            let count = number_text(value).and_then(|text| text.parse::<usize>().ok());
            if let Some(count) = count
                && (1..=most).contains(&count)
            {
                return Some(count);
            }
            let expected =
                format!("a number of steps from 1 to {most}, or an INTERVAL: the step is {step}");
            self.wrong(name, &expected, problems);
            return None;
        }
        let span = match value {
            Expr::Interval(interval) => interval.value.span().or(self.span(name)),
            _ => self.span(name),
        };
        let length = match interval_length(value) {
            Ok(length) => length,
            Err(error) => {
                problems.push(Problem::new(span, format!("argument `{name}`: {error}")));
                return None;
            }
        };
        let Some(steps) = length.steps_of(step) else {
            problems.push(Problem::new(
                span,
                format!(
                    "argument `{name}` is {length}, expected a whole multiple of the step of {step}"
                ),
            ));
            return None;
        };
        let count = usize::try_from(steps).ok().filter(|count| (1..=most).contains(count));
        if count.is_none() {
            problems.push(Problem::new(
                span,
                format!("argument `{name}` is {steps} steps, expected from 1 to {most}"),
            ));
        }
        count
    }

    /// Returns quantile levels, ascending and inside (0, 1).
    pub(super) fn quantiles(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Vec<f64>> {
        let (_, value) = self.values.get(name)?;
        let expected = "a list of levels such as [0.1, 0.5, 0.9]";
        let Expr::Array(array) = value else {
            self.wrong(name, expected, problems);
            return None;
        };
        let mut levels = Vec::with_capacity(array.elem.len());
        for item in &array.elem {
            let span = item.span().or(self.span(name));
            match number_text(item).and_then(|text| text.parse::<f64>().ok()) {
                Some(level) if level > 0.0 && level < 1.0 => levels.push(level),
                _ => {
                    problems.push(Problem::new(
                        span,
                        format!("quantile level `{item}` is not possible, expected one above 0 and below 1"),
                    ));
                    return None;
                }
            }
        }
        if levels.is_empty() {
            self.wrong(name, expected, problems);
            return None;
        }
        let is_ascending = levels.iter().zip(levels.iter().skip(1)).all(|(low, high)| low < high);
        if !is_ascending {
            let mut sorted = levels.clone();
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            self.wrong(name, &format!("ascending levels, each once: {sorted:?}"), problems);
            return None;
        }
        Some(levels)
    }
}

/// Returns the text of a string literal.
fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        Expr::Nested(inner) => text_of(inner),
        _ => None,
    }
}

/// Returns the digits of a number literal, with its sign.
fn number_text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            number_text(expr).map(|text| format!("-{text}"))
        }
        Expr::Nested(inner) => number_text(inner),
        _ => None,
    }
}
