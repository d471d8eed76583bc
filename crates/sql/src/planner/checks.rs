//! What a view may not say, checked on the syntax, where every word has its
//! place. What is refused here would otherwise be refused later without one, or
//! mean something on a batch that it cannot mean on a stream.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_expr::Volatility;
use sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, ObjectName, Query, Select, SelectItem, SetExpr,
    Spanned, TableFactor, Value, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use super::tumble::{SpanOr, WindowCall, argument_parts, table_function};
use crate::dialect::{column_in_quotes, name_of, single_name};
use crate::error::{Problem, did_you_mean};
use crate::session::Session;

/// Window table functions of other products.
const OTHER_WINDOWS: [&str; 3] = ["hop", "session", "cumulate"];

/// Returns what is wrong with a view's query.
pub(super) fn check_query(query: &Query, session: &Session) -> Vec<Problem> {
    let mut checker =
        Checker { session, problems: Vec::new(), refused: Vec::new(), is_argument: HashSet::new() };
    let _always_to_the_end = query.visit(&mut checker);
    let Checker { mut problems, refused, .. } = checker;
    // What stands inside something that is refused as a whole needs no word.
    problems.retain(|problem| {
        let start = problem.span.start;
        !refused.iter().any(|whole| {
            let is_inside = whole.start <= start && start < whole.end;
            is_inside && problem.span != *whole
        })
    });
    problems
}

/// Returns every name and function that a query mentions, with places.
pub(super) fn mentions(query: &Query) -> Vec<(String, Span)> {
    let mut collector = Mentions(Vec::new());
    let _always_to_the_end = query.visit(&mut collector);
    collector.0
}

struct Checker<'a> {
    session: &'a Session,
    problems: Vec<Problem>,
    /// Places of what was refused as a whole.
    refused: Vec<Span>,
    /// Arguments of table functions, by address: subqueries and `DESCRIPTOR` are
    /// allowed there and nowhere else.
    is_argument: HashSet<*const Expr>,
}

impl Checker<'_> {
    fn refuse(&mut self, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(span, message));
    }

    fn argument(&mut self, expression: &Expr) {
        self.is_argument.insert(std::ptr::from_ref(expression));
        if let Expr::Prefixed { value, .. } | Expr::Nested(value) = expression {
            self.argument(value);
        }
    }

    fn group_by(&mut self, group_by: &GroupByExpr) {
        let modifiers = match group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        if !modifiers.is_empty() {
            let span = group_by.span();
            self.refuse(span, "GROUP BY takes expressions only in this version, expected no WITH");
        }
        let GroupByExpr::Expressions(expressions, _) = group_by else {
            self.refuse(
                group_by.span(),
                "GROUP BY ALL is not supported, expected the group keys by name",
            );
            return;
        };
        for expression in expressions {
            if matches!(expression, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)) {
                self.refuse(
                    expression.span(),
                    format!(
                        "`{expression}` is not supported in this version, expected plain group keys"
                    ),
                );
            }
        }
    }

    /// Two columns of one name cannot be told apart by what reads the view.
    fn output_names(&mut self, select: &Select) {
        let mut names = HashSet::new();
        for item in &select.projection {
            let name = match item {
                SelectItem::ExprWithAlias { alias, .. } => name_of(alias),
                SelectItem::UnnamedExpr(Expr::Identifier(identifier)) => name_of(identifier),
                _ => continue,
            };
            if !names.insert(name.value.clone()) {
                self.refuse(
                    name.span,
                    format!(
                        "column `{0}` appears twice, expected another name: … AS {0}_2",
                        name.value
                    ),
                );
            }
        }
    }

    fn function(&mut self, function: &Function) {
        let span = function.name.span();
        let name = match single_name(&function.name) {
            Ok(name) => name.value.to_lowercase(),
            Err(problem) => return self.problems.push(problem.or_at(span)),
        };
        // `user` and `current_date` are functions without parentheses.
        let remedy = match function.args {
            FunctionArguments::None => column_in_quotes(&name),
            _ => String::new(),
        };
        if function.over.is_some() {
            return self.refuse(
                span,
                format!("window function `{name}(…) OVER` is not supported in this version, expected an aggregate and GROUP BY"),
            );
        }
        if let Some(scalar) = self.session.scalar_functions().get(&name) {
            if scalar.signature().volatility != Volatility::Immutable {
                self.refuse(
                    span,
                    format!(
                        "`{name}` gives another value each time, so a replay would not repeat its \
                         forecasts; expected functions of the record alone{remedy}"
                    ),
                );
            }
            return;
        }
        if self.session.aggregate_functions().contains_key(&name)
            || self.session.higher_order_functions().contains_key(&name)
        {
            return;
        }
        if matches!(name.as_str(), "tumble" | "hop" | "session" | "forecast") {
            return self.refuse(span, format!("`{name}` is a table function, expected it in FROM"));
        }
        if self.session.window_functions().contains_key(&name) {
            return self.refuse(
                span,
                format!("`{name}` is a window function, expected a scalar or aggregate function"),
            );
        }
        if !remedy.is_empty() {
            return self.word(&name, span);
        }
        let scalars = self.session.scalar_functions().keys();
        let aggregates = self.session.aggregate_functions().keys();
        let remedy = did_you_mean(&name, scalars.chain(aggregates).map(String::as_str));
        self.refuse(span, format!("unknown function `{name}`, expected a scalar or aggregate function of DataFusion{remedy}"));
    }

    /// Refuses a word of SQL in the place of a column.
    fn word(&mut self, word: &str, span: Span) {
        let word = word.to_lowercase();
        self.refuse(
            span,
            format!(
                "`{word}` is a word of SQL, expected a value, or in quotes, `\"{word}\"`, a column of \
                 that name"
            ),
        );
    }

    /// A value alone is no column, though a column may be meant.
    fn unnamed_value(&mut self, expression: &Expr) {
        if let Expr::Value(value) = expression
            && let Value::Null | Value::Boolean(_) = value.value
        {
            self.word(&value.value.to_string(), value.span);
        }
    }

    fn table_function(&mut self, factor: &TableFactor) {
        let Some((name, arguments)) = table_function(factor) else { return };
        if let TableFactor::TableFunction { expr, .. } = factor {
            self.argument(expr);
        }
        for expression in arguments.iter().filter_map(|argument| argument_parts(argument).1) {
            self.argument(expression);
        }
        if WindowCall::of(factor).is_some() {
            return;
        }
        let found = name.value.as_str();
        let message = if OTHER_WINDOWS.contains(&found) {
            format!("`{found}` windows are not supported in this version, expected TUMBLE")
        } else if matches!(found, "forecast" | "ai_forecast") {
            "a view cannot forecast, expected forecast(…) in CREATE PIPELINE … AS INSERT INTO sink \
             SELECT * FROM forecast(…)"
                .to_owned()
        } else {
            let remedy = did_you_mean(found, ["tumble"]);
            format!("unknown table function `{found}`, expected TUMBLE{remedy}")
        };
        self.refuse(name.span, message);
    }
}

impl Visitor for Checker<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let place = query.span();
        if let Some(order_by) = &query.order_by {
            self.refuse(
                order_by.span().or(place),
                "ORDER BY has no meaning on a stream, expected none: rows come as windows close",
            );
        }
        if let Some(limit) = &query.limit_clause {
            self.refuse(
                limit.span().or(place),
                "LIMIT and OFFSET have no meaning on a stream, expected none",
            );
        }
        if let Some(fetch) = &query.fetch {
            self.refuse(
                fetch.span().or(place),
                "FETCH FIRST has no meaning on a stream, expected none",
            );
        }
        if let Some(with) = &query.with
            && with.recursive
        {
            self.refuse(with.span().or(place), "WITH RECURSIVE is not supported");
        }
        let has_rest = !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if has_rest {
            self.refuse(
                place,
                "this query has clauses after FROM that are not supported, expected SELECT … FROM \
                 … WHERE … GROUP BY … HAVING …",
            );
        }
        match query.body.as_ref() {
            SetExpr::Select(_) | SetExpr::Query(_) => {}
            SetExpr::SetOperation { op, right, .. } => self.refuse(
                right.span().or(place),
                format!("{op} is not supported in this version, expected one SELECT"),
            ),
            other => self.refuse(
                other.span().or(place),
                "this is no SELECT, expected SELECT … FROM … in a view",
            ),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let place = select.select_token.0.span;
        if select.distinct.is_some() {
            self.refuse(place, "SELECT DISTINCT is not supported, expected GROUP BY");
        }
        if select.top.is_some() {
            self.refuse(place, "TOP has no meaning on a stream, expected none");
        }
        match select.from.as_slice() {
            [only] => {
                if let Some(join) = only.joins.first() {
                    self.refuse(
                        join.relation.span().or(place),
                        "joins are not supported in this version, expected one table in FROM",
                    );
                }
            }
            [] => self.refuse(place, "this SELECT has no FROM, expected a table"),
            [_, second, ..] => self.refuse(
                second.span().or(place),
                "joins are not supported in this version, expected one table in FROM",
            ),
        }
        if let Some(qualify) = &select.qualify {
            self.refuse(qualify.span().or(place), "QUALIFY is not supported, expected HAVING");
        }
        if !select.named_window.is_empty() {
            self.refuse(place, "a WINDOW clause is not supported in this version");
        }
        let has_rest = select.into.is_some()
            || select.prewhere.is_some()
            || select.exclude.is_some()
            || select.value_table_mode.is_some()
            || !select.lateral_views.is_empty()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty();
        if has_rest {
            self.refuse(
                place,
                "this SELECT has a clause that is not supported, expected SELECT … FROM … WHERE … \
                 GROUP BY … HAVING …",
            );
        }
        for item in &select.projection {
            if let SelectItem::UnnamedExpr(expression) = item {
                self.unnamed_value(expression);
            }
        }
        self.group_by(&select.group_by);
        self.output_names(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { sample, version, .. } => {
                if sample.is_some() || version.is_some() {
                    self.refuse(
                        factor.span(),
                        "TABLESAMPLE and table versions are not supported, expected a plain name",
                    );
                }
                self.table_function(factor);
            }
            TableFactor::TableFunction { .. } => self.table_function(factor),
            TableFactor::Derived { lateral: false, sample: None, .. } => {}
            TableFactor::NestedJoin { .. } => self.refuse(
                factor.span(),
                "joins are not supported in this version, expected one table in FROM",
            ),
            other => self.refuse(
                other.span(),
                format!("`{other}` is not supported in FROM, expected a table or TUMBLE(…)"),
            ),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if self.is_argument.contains(&std::ptr::from_ref(expression)) {
            return ControlFlow::Continue(());
        }
        match expression {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                self.refused.push(expression.span());
                self.refuse(
                    expression.span(),
                    "subqueries in expressions are not supported in this version",
                );
            }
            Expr::Function(function) => self.function(function),
            Expr::Prefixed { prefix, .. } => self.word(&prefix.value, prefix.span),
            Expr::Interval(interval) if !matches!(*interval.value, Expr::Value(_)) => {
                self.word("interval", interval.value.span());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Mentions(Vec<(String, Span)>);

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        for part in relation.0.iter().filter_map(|part| part.as_ident()) {
            self.0.push((name_of(part).value, part.span));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(identifier) => {
                self.0.push((name_of(identifier).value, identifier.span));
            }
            Expr::CompoundIdentifier(parts) => {
                self.0.extend(parts.iter().map(|part| (name_of(part).value, part.span)));
            }
            Expr::Function(function) => {
                if let Some(name) = function.name.0.last().and_then(|part| part.as_ident()) {
                    self.0.push((name_of(name).value, name.span));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
