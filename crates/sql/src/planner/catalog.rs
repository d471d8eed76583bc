//! What names mean, and planning of the views by DataFusion.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::error::Result;
use datafusion_common::{DataFusionError, SchemaError, Span as PlanSpan, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use sqlparser::ast::{Query, Statement};
use sqlparser::tokenizer::{Location, Span};

use super::checks::{check_query, mentions};
use super::tumble::{TumblePlanner, external};
use crate::dialect::{ViewStatement, lower_first};
use crate::error::{Problem, ProblemKind, did_you_mean, one_of};
use crate::session::Session;

/// Returns the planner's session: DataFusion's functions and our window function.
pub(super) fn session() -> Session {
    Session::default().with_relation_planner(Arc::new(TumblePlanner))
}

/// A statement's number in the list of all statements.
pub(super) type StatementIndex = usize;

/// Every table and view by name, views planned when first asked for.
#[derive(Debug)]
pub(super) struct Catalog<'a> {
    pub(super) session: Session,
    /// Columns of the sources.
    pub(super) sources: BTreeMap<String, SchemaRef>,
    /// Names of the sinks, which cannot be read.
    pub(super) sinks: BTreeSet<String>,
    /// Tables whose declaration is wrong: nothing more is said about them.
    pub(super) broken: BTreeSet<String>,
    pub(super) views: BTreeMap<String, (StatementIndex, &'a ViewStatement)>,
    planned: RefCell<HashMap<String, Planned>>,
    problems: RefCell<Vec<(StatementIndex, Problem)>>,
}

#[derive(Debug, Clone)]
enum Planned {
    InProgress,
    Failed,
    Done(LogicalPlan),
}

impl<'a> Catalog<'a> {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            sources: BTreeMap::new(),
            sinks: BTreeSet::new(),
            broken: BTreeSet::new(),
            views: BTreeMap::new(),
            planned: RefCell::default(),
            problems: RefCell::default(),
        }
    }

    /// Keeps a problem of the statement with this number.
    pub(super) fn report(&self, statement: StatementIndex, problem: Problem) {
        self.problems.borrow_mut().push((statement, problem));
    }

    /// Returns what went wrong in views so far, by statement.
    pub(super) fn take_problems(&self) -> Vec<(StatementIndex, Problem)> {
        self.problems.take()
    }

    /// Returns the analysed plan of a view.
    ///
    /// # Errors
    /// A consequence if the view is wrong, which is reported once with it; a
    /// problem without place if it leads back to itself.
    pub(super) fn view(&self, name: &str) -> Result<LogicalPlan, Problem> {
        let known = self.planned.borrow().get(name).cloned();
        match known {
            Some(Planned::Done(plan)) => return Ok(plan),
            Some(Planned::Failed) => return Err(Problem::consequence()),
            Some(Planned::InProgress) => {
                return Err(Problem::new(
                    Span::empty(),
                    format!("view `{name}` leads back to itself, expected views without a circle"),
                ));
            }
            None => {}
        }
        let Some((index, view)) = self.views.get(name) else {
            return Err(self.unknown_table(name));
        };
        self.planned.borrow_mut().insert(name.to_owned(), Planned::InProgress);
        let outcome = self.query(&view.query, view.name.span);
        let (planned, outcome) = match outcome {
            Ok(plan) => (Planned::Done(plan.clone()), Ok(plan)),
            Err(problems) => {
                let mut all = self.problems.borrow_mut();
                all.extend(problems.into_iter().map(|problem| (*index, problem)));
                (Planned::Failed, Err(Problem::consequence()))
            }
        };
        self.planned.borrow_mut().insert(name.to_owned(), planned);
        outcome
    }

    /// Returns the analysed plan of a query: types coerced, shape as written.
    ///
    /// # Errors
    /// Everything that is found wrong; what has no better place is at `place`.
    pub(super) fn query(&self, query: &Query, place: Span) -> Result<LogicalPlan, Vec<Problem>> {
        let problems = check_query(query, &self.session);
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|problem| problem.or_at(place)).collect());
        }
        let options = ParserOptions::from(&self.session.options().sql_parser);
        let planner = SqlToRel::new_with_options(self, options);
        planner
            .sql_statement_to_plan(Statement::Query(Box::new(query.clone())))
            .and_then(|plan| self.session.analyze(plan))
            .map_err(|error| self.problems_of(&error, query, place))
    }

    /// Returns the names that can stand in `FROM`.
    fn readable_names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().chain(self.views.keys()).map(String::as_str)
    }

    /// Says that there is no such table to read.
    pub(super) fn unknown_table(&self, name: &str) -> Problem {
        if self.broken.contains(name) {
            return Problem::consequence();
        }
        if self.sinks.contains(name) {
            return Problem::new(
                Span::empty(),
                format!(
                    "table `{name}` is a sink, since it has no columns, and cannot be read; \
                     expected a table with columns or a view"
                ),
            );
        }
        let wanted = match self.readable_names().count() {
            0 => "a CREATE TABLE with columns".to_owned(),
            _ => one_of(self.readable_names()),
        };
        let remedy = did_you_mean(name, self.readable_names());
        Problem::unknown_name(
            Span::empty(),
            format!("unknown table `{name}`, expected {wanted}{remedy}"),
        )
    }

    /// Gives DataFusion's errors a place and our words.
    fn problems_of(&self, error: &DataFusionError, query: &Query, place: Span) -> Vec<Problem> {
        let mut found = Vec::new();
        collect(error, None, &mut found);
        let mentioned = mentions(query);
        found
            .into_iter()
            .map(|problem| {
                if problem.span != Span::empty() || problem.kind == ProblemKind::Consequence {
                    return problem;
                }
                let span = mention_in(&problem.message, &mentioned);
                problem.or_at(span.unwrap_or(place))
            })
            .collect()
    }
}

/// Walks an error to its causes; `span` is the place said on the way.
fn collect(error: &DataFusionError, span: Option<Span>, found: &mut Vec<Problem>) {
    let place = || span.unwrap_or(Span::empty());
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            collect(inner, diagnostic.span.map(parser_span).or(span), found);
        }
        DataFusionError::Context(_, inner) => collect(inner, span, found),
        DataFusionError::Shared(inner) => collect(inner, span, found),
        DataFusionError::Collection(errors) => {
            for error in errors {
                collect(error, span, found);
            }
        }
        DataFusionError::External(inner) => match inner.downcast_ref::<Problem>() {
            Some(problem) => found.push(problem.clone().or_at(place())),
            None => found.push(Problem::new(place(), inner.to_string())),
        },
        DataFusionError::SchemaError(inner, _) => found.push(schema_problem(inner, place())),
        other => {
            found.push(Problem::new(place(), own_words(&other.strip_backtrace())));
        }
    }
}

/// Says one of DataFusion's messages our way, where it is a frequent one.
fn own_words(text: &str) -> String {
    let text = match text.split_once(": ") {
        Some(("Error during planning" | "This feature is not implemented", rest)) => rest,
        _ => text,
    };
    let quoted_after = |marker: &str, quote: char| {
        let (_, rest) = text.split_once(marker)?;
        let (_, rest) = rest.split_once(quote)?;
        Some(rest.split_once(quote)?.0)
    };
    if let Some(call) = quoted_after("No function matches the given name and argument types", '\'')
        && let Some((_, candidates)) = text.split_once("Candidate functions:")
    {
        let candidates = one_of(candidates.lines().map(str::trim).filter(|line| !line.is_empty()));
        return format!("no function `{call}`, expected {candidates}");
    }
    if text.starts_with("Column in SELECT must be in GROUP BY")
        && let Some(column) = quoted_after("column", '"')
    {
        return format!(
            "`{column}` is neither a group key nor inside an aggregate, expected it in GROUP BY or \
             in a function such as avg(…)"
        );
    }
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    lower_first(one_line.trim_end_matches('.'))
}

fn schema_problem(error: &SchemaError, place: Span) -> Problem {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let own = field.spans().first().map(parser_span).unwrap_or(place);
            let tables: BTreeSet<_> = valid_fields
                .iter()
                .filter_map(|field| Some(field.relation.as_ref()?.table()))
                .collect();
            if let Some(table) = field.relation.as_ref().map(TableReference::table)
                && !tables.contains(table)
            {
                let message = format!(
                    "unknown table `{table}` in `{field}`, expected {}{}",
                    one_of(tables.iter().copied()),
                    did_you_mean(table, tables.iter().copied())
                );
                return Problem::new(own, message);
            }
            let mut names: Vec<_> = valid_fields.iter().map(|field| field.name()).collect();
            names.dedup();
            Problem::new(
                own,
                format!(
                    "unknown column `{}`, expected {}{}",
                    field.name(),
                    one_of(names.iter().copied()),
                    did_you_mean(field.name(), names.iter().copied())
                ),
            )
        }
        SchemaError::AmbiguousReference { field } => {
            let own = field.spans().first().map(parser_span).unwrap_or(place);
            Problem::new(
                own,
                format!("column `{}` is ambiguous, expected table.column", field.name()),
            )
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Problem::new(
            place,
            format!("column `{name}` appears twice, expected another name for one: … AS name"),
        ),
    }
}

/// Returns where the statement mentions a word that an error message quotes.
pub(super) fn mention_in(message: &str, mentioned: &[(String, Span)]) -> Option<Span> {
    message
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .find_map(|word| mentioned.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)))
        .map(|(_, span)| *span)
}

fn parser_span(span: PlanSpan) -> Span {
    let location =
        |place: datafusion_common::Location| Location { line: place.line, column: place.column };
    Span::new(location(span.start), location(span.end))
}

/// A table as a plan sees it: columns, and for a view its plan.
#[derive(Debug)]
struct CatalogTable {
    schema: SchemaRef,
    plan: Option<LogicalPlan>,
}

impl TableSource for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.plan.as_ref().map(Cow::Borrowed)
    }
}

impl ContextProvider for Catalog<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name.schema().is_some() {
            return Err(external(Problem::new(
                Span::empty(),
                format!("`{name}` has several parts, expected one name: there are no schemas"),
            )));
        }
        let table = name.table();
        if let Some(schema) = self.sources.get(table) {
            let schema = Arc::clone(schema);
            return Ok(Arc::new(CatalogTable { schema, plan: None }));
        }
        let plan = self.view(table).map_err(external)?;
        let schema = Arc::clone(plan.schema().inner());
        Ok(Arc::new(CatalogTable { schema, plan: Some(plan) }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.session.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.session.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        None
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.session.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.session.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.session.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.session.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.session.options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.session.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.session.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.session.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.session.window_functions().keys().cloned().collect()
    }
}
