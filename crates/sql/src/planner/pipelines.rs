//! All definitions of all scripts, and the pipelines they make.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_expr::LogicalPlan;
use sqlparser::ast::Query;
use sqlparser::tokenizer::Span;
use tidecast_stream::{ForecastLayout, ModelCatalog};

use super::Place;
use super::ahead::{check_ahead, watermark_condition};
use super::catalog::{Catalog, mention_in, session};
use super::checks::mentions;
use super::circles::{Tables, check_circles};
use super::forecast::{ForecastCall, ForecastInput, ResolvedCall};
use super::lineage::WindowView;
use super::models::{default_model, model};
use super::options::{OptionReader, OptionRules};
use super::tables::{PlannedSink, same_cluster, sink_table, source_table};
use crate::dialect::{Name, PipelineStatement, Placed, Statement, TableStatement};
use crate::error::{Problem, did_you_mean, one_of};
use crate::spec::{
    Delivery, FileFormat, ModelDefinition, PipelineOptions, PipelinePlan, SinkConnector, SinkTable,
    SourceConnector, SourceTable,
};
use crate::window::{SourceTableInfo, WindowQuery};

const PIPELINE: OptionRules<'_> = OptionRules {
    owner: "a pipeline",
    known: &["commit.interval"],
    unsupported: &["snapshot.interval", "checkpoint.interval", "max.lateness", "overload"],
    elsewhere: &|_| None,
    prefixes: &[],
};

/// What a pipeline reads.
struct Input<'a> {
    plan: LogicalPlan,
    /// Where the pipeline names it.
    place: Span,
    text: ViewText<'a>,
}

/// The text of a view, for errors that are found in its plan.
struct ViewText<'a> {
    statement: usize,
    query: &'a Query,
    /// Where to point when nothing better is known.
    place: Span,
}

/// Everything that is declared, by name. A name whose declaration is wrong maps
/// to `None`.
pub(super) struct Definitions<'a> {
    pub(super) catalog: Catalog<'a>,
    pub(super) sources: BTreeMap<String, Option<SourceTable>>,
    sinks: BTreeMap<String, Option<(PlannedSink, &'a TableStatement)>>,
    models: BTreeMap<String, Option<ModelDefinition>>,
    families: &'a ModelCatalog,
    pipelines: Vec<(usize, &'a PipelineStatement)>,
    tables: Tables<'a>,
}

impl<'a> Definitions<'a> {
    /// Sorts the statements by what they declare.
    pub(super) fn of(
        statements: &'a [Statement],
        families: &'a ModelCatalog,
        problems: &mut Vec<(Place, Problem)>,
    ) -> Self {
        let mut definitions = Self {
            catalog: Catalog::new(session()),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            models: BTreeMap::new(),
            families,
            pipelines: Vec::new(),
            tables: Tables::new(),
        };
        let mut names = BTreeSet::new();
        for (index, statement) in statements.iter().enumerate() {
            let name = statement.name();
            let (kind, space) = match statement {
                // Tables and views are read by the same syntax.
                Statement::Table(_) | Statement::View(_) => ("table or view", 0),
                Statement::Model(_) => ("model", 1),
                Statement::Pipeline(_) => ("pipeline", 2),
            };
            if !names.insert((space, name.value.as_str())) {
                let message =
                    format!("{kind} `{}` is created twice, expected another name", name.value);
                problems.push((Place::Statement(index), Problem::new(name.span, message)));
                continue;
            }
            let mut found = Vec::new();
            definitions.add(index, statement, &mut found);
            problems.extend(found.into_iter().map(|problem| (Place::Statement(index), problem)));
        }
        definitions
    }

    fn add(&mut self, index: usize, statement: &'a Statement, problems: &mut Vec<Problem>) {
        let name = statement.name().value.clone();
        let before = problems.len();
        if let Statement::Table(table) = statement {
            self.tables.insert(name.clone(), (index, table));
        }
        match statement {
            Statement::Table(table) => match &table.columns {
                Some(columns) => {
                    let source = source_table(table, columns, problems);
                    let mut source = source.filter(|_| problems.len() == before);
                    match &mut source {
                        Some(source) => {
                            self.catalog.sources.insert(name.clone(), source.schema.clone());
                            // What is wrong with it leaves the columns as they are.
                            source.watermark.condition =
                                watermark_condition(&self.catalog, &table.name, columns, problems);
                        }
                        None => {
                            self.catalog.broken.insert(name.clone());
                        }
                    }
                    self.sources.insert(name, source);
                }
                None => {
                    let sink = sink_table(table, problems);
                    let sink = sink.filter(|_| problems.len() == before);
                    self.catalog.sinks.insert(name.clone());
                    self.sinks.insert(name, sink.map(|sink| (sink, table)));
                }
            },
            Statement::Model(statement) => {
                self.models.insert(name, model(statement, self.families, problems));
            }
            Statement::View(view) => {
                self.catalog.views.insert(name, (index, view));
            }
            Statement::Pipeline(pipeline) => self.pipelines.push((index, pipeline)),
        }
    }

    /// Returns the plan of every pipeline that is right. Views that no pipeline
    /// uses are planned too, for their errors.
    pub(super) fn pipelines(&self, problems: &mut Vec<(Place, Problem)>) -> Vec<PipelinePlan> {
        for name in self.catalog.views.keys() {
            // What is wrong is kept by the catalog, with the view's place.
            let _planned_or_reported = self.catalog.view(name);
        }
        let mut plans = Vec::new();
        for (index, statement) in &self.pipelines {
            let mut found = Vec::new();
            let plan = self.pipeline(*index, statement, &mut found);
            if found.is_empty() {
                plans.extend(plan);
            }
            problems.extend(found.into_iter().map(|problem| (Place::Statement(*index), problem)));
        }
        let in_circles = check_circles(&plans, &self.tables).into_iter();
        problems.extend(in_circles.map(|(index, problem)| (Place::Statement(index), problem)));
        let in_views = self.catalog.take_problems().into_iter();
        problems.extend(in_views.map(|(index, problem)| (Place::Statement(index), problem)));
        plans
    }

    fn pipeline(
        &self,
        index: usize,
        statement: &PipelineStatement,
        problems: &mut Vec<Problem>,
    ) -> Option<PipelinePlan> {
        let options = pipeline_options(statement, problems);
        let sink = self.sink(&statement.sink, problems);
        let call = match ForecastCall::of(&statement.query, statement.name.span) {
            Ok(call) => call,
            Err(problem) => {
                problems.push(problem);
                return None;
            }
        };
        let Input { plan, place, text } = self.input(index, &call, problems)?;
        let view = match WindowView::of(&plan) {
            Ok(view) => view,
            Err(message) => {
                problems.push(Problem::new(
                    place,
                    format!("this is not a view that forecast can read: {message}"),
                ));
                return None;
            }
        };
        let resolved = call.resolve(&plan, &view, problems);
        let source = self.sources.get(view.table)?.as_ref()?;
        let window = self.window(&plan, source, &text, problems);
        let ResolvedCall { clause: forecast, model, known_ahead, tells_samples } = resolved?;
        if let Some(covariate) = known_ahead {
            check_ahead(&covariate, &forecast, source, problems);
        }
        let model = self.model(model.as_ref(), problems);
        let sink = self.check_delivery(sink?, source, &statement.sink, problems)?;
        if let Some(span) = tells_samples
            && is_table(&sink.connector)
        {
            let message = "a table has no room for sample paths, expected a sink of JSON: \
                           'format'='json', or a topic with 'layout'='nested'";
            problems.push(Problem::new(span, message));
        }
        Some(PipelinePlan {
            name: statement.name.value.clone(),
            source: source.clone(),
            window: window?,
            forecast,
            model: model?,
            sink,
            options,
        })
    }

    /// Returns what the pipeline with number `index` reads.
    fn input<'b>(
        &'b self,
        index: usize,
        call: &ForecastCall<'b>,
        problems: &mut Vec<Problem>,
    ) -> Option<Input<'b>> {
        match &call.input {
            ForecastInput::View(name) => {
                if self.sources.contains_key(&name.value) {
                    problems.push(Problem::new(
                        name.span,
                        format!(
                            "`{}` is a table, expected a view with regular steps: CREATE VIEW name \
                             AS SELECT … FROM TUMBLE(TABLE {}, …) … GROUP BY …",
                            name.value, name.value
                        ),
                    ));
                    return None;
                }
                let plan = match self.catalog.view(&name.value) {
                    Ok(plan) => plan,
                    Err(problem) => {
                        problems.push(problem.or_at(name.span));
                        return None;
                    }
                };
                let (statement, view) = self.catalog.views.get(&name.value)?;
                let text =
                    ViewText { statement: *statement, query: &view.query, place: view.name.span };
                Some(Input { plan, place: name.span, text })
            }
            ForecastInput::Query(query) => match self.catalog.query(query, call.span) {
                Ok(plan) => {
                    let text = ViewText { statement: index, query, place: call.span };
                    Some(Input { plan, place: call.span, text })
                }
                Err(found) => {
                    problems.extend(found);
                    None
                }
            },
        }
    }

    fn window(
        &self,
        plan: &LogicalPlan,
        source: &SourceTable,
        text: &ViewText<'_>,
        problems: &[Problem],
    ) -> Option<WindowQuery> {
        let info = source_info(source);
        match WindowQuery::compile(plan, &self.catalog.session, &info) {
            Ok(window) => Some(window),
            // The checks before say the same with a better place.
            Err(_) if !problems.is_empty() => None,
            Err(error) => {
                let words = error.subject.as_deref().unwrap_or(&error.message);
                let span = mention_in(words, &mentions(text.query)).unwrap_or(text.place);
                self.catalog.report(text.statement, Problem::new(span, error.message));
                None
            }
        }
    }

    fn sink(
        &self,
        name: &Name,
        problems: &mut Vec<Problem>,
    ) -> Option<&(PlannedSink, &'a TableStatement)> {
        if let Some(sink) = self.sinks.get(&name.value) {
            return sink.as_ref();
        }
        let is_source = self.sources.contains_key(&name.value);
        if is_source || self.catalog.views.contains_key(&name.value) {
            let kind = if is_source { "a source, since it has columns" } else { "a view" };
            problems.push(Problem::new(
                name.span,
                format!(
                    "`{}` is {kind}, and cannot be written; expected a table without columns",
                    name.value
                ),
            ));
            return None;
        }
        let names = || self.sinks.keys().map(String::as_str);
        let wanted = match self.sinks.len() {
            0 => format!("CREATE TABLE {} WITH (…) without columns", name.value),
            _ => one_of(names()),
        };
        let remedy = did_you_mean(&name.value, names());
        problems.push(Problem::unknown_name(
            name.span,
            format!("unknown table `{}`, expected {wanted}{remedy}", name.value),
        ));
        None
    }

    fn model(
        &self,
        name: Option<&Placed<String>>,
        problems: &mut Vec<Problem>,
    ) -> Option<ModelDefinition> {
        let usual = self.families.default_model;
        let wanted = name.map_or(usual, |name| name.value.as_str());
        if let Some(model) = self.models.get(wanted) {
            return model.clone();
        }
        if wanted == usual
            && let Some(model) = default_model(self.families)
        {
            return Some(model);
        }
        let names = || self.models.keys().map(String::as_str).chain([usual]);
        let remedy = did_you_mean(wanted, names());
        problems.push(Problem::unknown_name(
            name.map_or(Span::empty(), |name| name.span),
            format!("unknown model `{wanted}`, expected {}{remedy}", one_of(names())),
        ));
        None
    }

    /// Exactly once needs offsets to commit with the forecasts, on one cluster.
    fn check_delivery(
        &self,
        (sink, statement): &(PlannedSink, &'a TableStatement),
        source: &SourceTable,
        place: &Name,
        problems: &mut Vec<Problem>,
    ) -> Option<SinkTable> {
        let mut table = sink.table.clone();
        let SinkConnector::Kafka(options) = &mut table.connector else { return Some(table) };
        if options.delivery == Delivery::AtLeastOnce {
            return Some(table);
        }
        match &source.connector {
            SourceConnector::Filesystem(_) if sink.delivery_span.is_some() => {
                problems.push(Problem::new(
                    place.span,
                    format!(
                        "`{}` asks for exactly-once, and `{}` is a file, which has no offsets to \
                         commit; expected 'delivery'='at-least-once'",
                        statement.name.value, source.name
                    ),
                ));
                None
            }
            SourceConnector::Filesystem(_) => {
                options.delivery = Delivery::AtLeastOnce;
                Some(table)
            }
            SourceConnector::Kafka(source_options) => {
                let one_cluster = same_cluster(
                    source_options.bootstrap_servers.as_deref(),
                    options.bootstrap_servers.as_deref(),
                );
                if !one_cluster {
                    problems.push(Problem::new(
                        place.span,
                        format!(
                            "`{}` and `{}` are on different clusters, and a transaction cannot \
                             span them; expected equal `bootstrap.servers`, or \
                             'delivery'='at-least-once'",
                            source.name, statement.name.value
                        ),
                    ));
                    return None;
                }
                Some(table)
            }
        }
    }
}

/// Whether a row of the sink is a step rather than a forecast.
fn is_table(sink: &SinkConnector) -> bool {
    match sink {
        SinkConnector::Filesystem(options) => options.format != FileFormat::JsonLines,
        SinkConnector::Kafka(options) => options.format.layout == ForecastLayout::Long,
        SinkConnector::Stdout => false,
    }
}

fn pipeline_options(statement: &PipelineStatement, problems: &mut Vec<Problem>) -> PipelineOptions {
    let reader = OptionReader::new(&statement.options, PIPELINE, problems);
    let commit_interval = reader.duration("commit.interval", false, problems).flatten();
    PipelineOptions { commit_interval }
}

pub(super) fn source_info(source: &SourceTable) -> SourceTableInfo {
    let micros =
        |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    SourceTableInfo {
        schema: source.schema.clone(),
        event_time: source.watermark.column.clone(),
        delay_micros: micros(source.watermark.delay),
        watermark_condition: source.watermark.condition.clone(),
        max_future_micros: source.max_future.map(micros),
        max_past_micros: source.max_past.map(micros),
        is_bounded: matches!(source.connector, SourceConnector::Filesystem(_)),
    }
}
