//! `SELECT * FROM forecast(TABLE view, name => value, …)`: the top of a pipeline.

use datafusion_expr::LogicalPlan;
use sqlparser::ast::{
    FunctionArg, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, TableFactor,
};
use sqlparser::tokenizer::Span;
use tidecast_stream::HorizonAggregate;

use super::arguments::Arguments;
use super::lineage::WindowView;
use super::roles::Columns;
use super::tumble::{SpanOr, TableArgument, argument_parts, table_argument, table_function};
use crate::dialect::{Name, Placed, single_name};
use crate::error::{Problem, did_you_mean};
use crate::spec::{ForecastClause, Refresh};

/// Steps of context when the call does not say: what the built-in checkpoint
/// was measured to do best with.
pub(super) const DEFAULT_CONTEXT: usize = 1_024;
/// Observed steps that a series needs when the call does not say.
pub(super) const DEFAULT_MIN_CONTEXT: usize = 16;
/// Quantile levels when the call does not say.
pub(super) const DEFAULT_QUANTILES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Bounds against slips of the keyboard: beyond them a series would take
/// memory or time by the gigabyte or the hour.
const MOST_STEPS: usize = 100_000;
const MOST_SAMPLES: usize = 10_000;

/// What a pipeline's query says: the call, taken apart.
#[derive(Debug)]
pub(super) struct ForecastCall<'a> {
    /// Where `forecast` stands.
    pub(super) span: Span,
    /// The view or query it reads.
    pub(super) input: ForecastInput<'a>,
    arguments: &'a [FunctionArg],
}

/// What the arguments of a call mean.
#[derive(Debug)]
pub(super) struct ResolvedCall {
    pub(super) clause: ForecastClause,
    /// The model that is named.
    pub(super) model: Option<Placed<String>>,
    /// The first future covariate.
    pub(super) known_ahead: Option<Placed<String>>,
    /// Where it says that sample paths are told.
    pub(super) tells_samples: Option<Span>,
}

/// The first argument of `forecast`.
#[derive(Debug)]
pub(super) enum ForecastInput<'a> {
    /// `TABLE view`.
    View(Name),
    /// `(SELECT …)`.
    Query(&'a Query),
}

impl<'a> ForecastCall<'a> {
    /// Returns the call that a pipeline's query is.
    ///
    /// # Errors
    /// If it says anything else; `place` is where the pipeline is named.
    pub(super) fn of(query: &'a Query, place: Span) -> Result<Self, Problem> {
        const ONLY: &str = "expected SELECT * FROM forecast(TABLE view, …) and nothing else in this \
                            version: filters and expressions go into the view";
        let refuse = |span: Span| {
            Problem::new(span.or(place), format!("a pipeline cannot say this, {ONLY}"))
        };
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(refuse(query.span()));
        };
        let has_more = query.with.is_some()
            || query.order_by.is_some()
            || query.limit_clause.is_some()
            || query.fetch.is_some()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
            || !query.locks.is_empty();
        if has_more {
            let span = query
                .order_by
                .as_ref()
                .map(Spanned::span)
                .or(query.limit_clause.as_ref().map(Spanned::span))
                .unwrap_or_else(Span::empty);
            return Err(refuse(span.or(query.span())));
        }
        let factor = only_table(select).map_err(refuse)?;
        let Some((name, arguments)) = table_function(factor) else {
            let found = factor.to_string();
            return Err(Problem::new(
                factor.span().or(place),
                format!("a pipeline reads from `{found}`, {ONLY}"),
            ));
        };
        match name.value.as_str() {
            "forecast" => {}
            "ai_forecast" => {
                return Err(Problem::new(
                    name.span,
                    "`ai_forecast` is not supported in this version, expected `forecast`",
                ));
            }
            other => {
                return Err(Problem::new(
                    name.span,
                    format!(
                        "unknown table function `{other}` in a pipeline, expected `forecast`{}",
                        did_you_mean(other, ["forecast"])
                    ),
                ));
            }
        }
        if let TableFactor::Table { name, .. } = factor
            && name.0.len() > 1
        {
            return Err(Problem::new(
                name.span(),
                format!("`{name}` is not supported in this version, expected `forecast`"),
            ));
        }
        let no_table = || {
            Problem::new(
                name.span,
                "forecast needs a table first, expected forecast(TABLE view, …)",
            )
        };
        let (first, rest) = arguments.split_first().ok_or_else(no_table)?;
        let (None, Some(expression)) = argument_parts(first) else { return Err(no_table()) };
        let input = match table_argument(expression).ok_or_else(no_table)? {
            TableArgument::Named(name) => ForecastInput::View(single_name(&name)?),
            TableArgument::Query(query) => ForecastInput::Query(query),
        };
        Ok(Self { span: name.span, input, arguments: rest })
    }

    /// Returns what the arguments mean for the view with plan `plan`.
    pub(super) fn resolve(
        &self,
        plan: &LogicalPlan,
        view: &WindowView<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<ResolvedCall> {
        let arguments = Arguments::new(self.arguments, self.span, problems);
        let before = problems.len();
        let columns = Columns { plan, view, call: self.span };
        let step = view.tumble.grid;

        let model = arguments.text("model", problems);
        let series = columns.series(&arguments, problems);
        let time = columns.time(&arguments, problems);
        let variates = columns.variates(&arguments, &series, time.as_ref(), problems);
        let horizon = arguments.steps("horizon", step.period(), MOST_STEPS, problems);
        if arguments.lacks("horizon") {
            problems.push(self.missing("horizon", "horizon => 96"));
        }
        let context = arguments
            .steps("context", step.period(), MOST_STEPS, problems)
            .unwrap_or(DEFAULT_CONTEXT);
        let min_context = arguments
            .count("min_context", context, problems)
            .unwrap_or(DEFAULT_MIN_CONTEXT.min(context));
        let samples = arguments.count("samples", MOST_SAMPLES, problems);
        let quantiles = arguments
            .quantiles("quantiles", problems)
            .unwrap_or_else(|| DEFAULT_QUANTILES.to_vec());
        let refresh = arguments
            .text("refresh", problems)
            .and_then(|text| refresh(&text, problems))
            .unwrap_or(Refresh::OnClose);
        let horizon_steps = horizon.unwrap_or(MOST_STEPS);
        let aggregates = aggregates(&arguments, horizon_steps, problems);
        let tells_samples = output(&arguments, problems);
        let domain = arguments.domain(problems);
        let fill = arguments.text("fill", problems).and_then(|text| fill(&text, problems));
        if problems.len() > before {
            return None;
        }
        let names = |names: Vec<Placed<String>>| -> Vec<String> {
            names.into_iter().map(|name| name.value).collect()
        };
        let known_ahead = variates.future_covariates.first().cloned();
        let targets = names(variates.targets);
        let is_zero = fill.unwrap_or_default() == Fill::Zero;
        let functions: Vec<Option<&str>> =
            targets.iter().map(|name| view.aggregate_of(plan, name)).collect();
        let unfilled = targets.iter().zip(&functions).filter(|(_, name)| **name == Some("sum"));
        let unfilled_sums = match fill {
            None => unfilled.map(|(target, _)| target.clone()).collect(),
            Some(_) => Vec::new(),
        };
        let clause = ForecastClause {
            series: names(series),
            time: time?.value,
            zero_filled: functions.iter().map(|name| is_zero || *name == Some("count")).collect(),
            unfilled_sums,
            targets,
            past_covariates: names(variates.past_covariates),
            future_covariates: names(variates.future_covariates),
            step,
            horizon: horizon?,
            context,
            min_context,
            samples,
            quantiles,
            domain,
            aggregates,
            tells_samples: tells_samples.is_some(),
            refresh,
        };
        Some(ResolvedCall { clause, model, known_ahead, tells_samples })
    }

    fn missing(&self, name: &str, example: &str) -> Problem {
        Problem::new(
            self.span,
            format!("argument `{name}` of forecast is missing, expected for instance {example}"),
        )
    }
}

/// Returns the only relation of `SELECT * FROM relation`, or where there is more.
fn only_table(select: &Select) -> Result<&TableFactor, Span> {
    let place = select.select_token.0.span;
    let [SelectItem::Wildcard(options)] = select.projection.as_slice() else {
        let spans = select.projection.iter().map(Spanned::span);
        return Err(Span::union_iter(spans).or(place));
    };
    let plain_star = options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_ilike.is_none();
    if !plain_star || select.distinct.is_some() || select.top.is_some() {
        return Err(place);
    }
    let ungrouped = match &select.group_by {
        GroupByExpr::Expressions(keys, modifiers) => keys.is_empty() && modifiers.is_empty(),
        GroupByExpr::All(_) => false,
    };
    if !ungrouped {
        return Err(select.group_by.span().or(place));
    }
    let clauses = [&select.selection, &select.having, &select.qualify, &select.prewhere];
    if let Some(expression) = clauses.into_iter().flatten().next() {
        return Err(expression.span().or(place));
    }
    match select.from.as_slice() {
        [only] if only.joins.is_empty() => Ok(&only.relation),
        [first, ..] => Err(first.joins.first().map_or(place, Spanned::span).or(place)),
        [] => Err(place),
    }
}

/// Reads what several steps come to: `'sum'`, `['sum', 'max:24']`.
fn aggregates(
    arguments: &Arguments<'_>,
    horizon: usize,
    problems: &mut Vec<Problem>,
) -> Vec<HorizonAggregate> {
    let mut aggregates: Vec<HorizonAggregate> = Vec::new();
    for text in arguments.texts("aggregate", problems).unwrap_or_default() {
        let problem = match text.value.trim().to_lowercase().parse::<HorizonAggregate>() {
            Ok(aggregate) if aggregate.steps_of(1) > horizon => format!(
                "aggregate => '{aggregate}' is of more steps than the horizon has, {horizon}"
            ),
            Ok(aggregate) if aggregates.contains(&aggregate) => {
                format!("aggregate => '{aggregate}' is given twice")
            }
            Ok(aggregate) => {
                aggregates.push(aggregate);
                continue;
            }
            Err(error) => error.to_string(),
        };
        problems.push(Problem::new(text.span, problem));
    }
    aggregates
}

/// Reads whether sample paths are told, and returns where it says so: `'quantiles'`, which
/// always are, or `'samples'`.
fn output(arguments: &Arguments<'_>, problems: &mut Vec<Problem>) -> Option<Span> {
    const KNOWN: [&str; 2] = ["quantiles", "samples"];
    let mut tells_samples = None;
    for text in arguments.texts("output", problems).unwrap_or_default() {
        let said = text.value.trim().to_lowercase();
        match said.as_str() {
            "quantiles" => {}
            "samples" => tells_samples = Some(text.span),
            _ => problems.push(Problem::new(
                text.span,
                format!(
                    "unknown output `{}`, expected `quantiles` (mean and quantiles, which always \
                     are) or `samples` (the sample paths with them){}",
                    text.value,
                    did_you_mean(&said, KNOWN)
                ),
            )),
        }
    }
    tells_samples
}

/// What a step without a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fill {
    /// Missing; of a count 0, as SQL counts.
    #[default]
    Null,
    /// 0: nothing happened.
    Zero,
}

/// Reads `'null'` or `'zero'`.
fn fill(text: &Placed<String>, problems: &mut Vec<Problem>) -> Option<Fill> {
    const WANTED: &str = "`null` (a step without a row is missing) or `zero` (it is 0)";
    let said = text.value.trim().to_lowercase();
    let message = match said.as_str() {
        "null" => return Some(Fill::Null),
        "zero" => return Some(Fill::Zero),
        "locf" | "linear" => {
            format!("fill => '{said}' is not supported in this version, expected {WANTED}")
        }
        _ => {
            let remedy = did_you_mean(&said, ["null", "zero"]);
            format!("unknown fill `{}`, expected {WANTED}{remedy}", text.value)
        }
    };
    problems.push(Problem::new(text.span, message));
    None
}

/// Reads `'on_close'`, `'every N steps'` or `'at_end'`.
fn refresh(text: &Placed<String>, problems: &mut Vec<Problem>) -> Option<Refresh> {
    const WANTED: &str = "`on_close`, `every N steps` or `at_end`";
    let said = text.value.trim().to_lowercase();
    let words: Vec<_> = said.split_whitespace().collect();
    let message = match words.as_slice() {
        ["on_close"] => return Some(Refresh::OnClose),
        ["at_end"] => return Some(Refresh::AtEnd),
        ["every", "step"] => return Some(Refresh::Every(1)),
        ["every", count, "step" | "steps"] => match count.parse::<u64>() {
            Ok(count) if count > 0 => return Some(Refresh::Every(count)),
            _ => format!("`{count}` is no number of steps, expected a whole number above zero"),
        },
        ["on_late"] => {
            format!("refresh => 'on_late' is not supported in this version, expected {WANTED}")
        }
        _ => format!(
            "unknown refresh `{}`, expected {WANTED}{}",
            text.value,
            did_you_mean(&said, ["on_close", "every 1 steps", "at_end"])
        ),
    };
    problems.push(Problem::new(text.span, message));
    None
}
