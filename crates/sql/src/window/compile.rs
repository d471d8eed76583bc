//! From a view's logical plan to what runs on a stream.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{
    Aggregate as AggregateNode, Expr, ExprSchemable, LogicalPlan, TableScan, cast,
};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion_physical_expr::expressions::Column as PhysicalColumn;
use datafusion_physical_plan::aggregates::group_values::new_group_values;
use datafusion_physical_plan::aggregates::order::GroupOrdering;

use super::aggregate::Aggregate;
use super::expression;
use super::identity;
use super::query::{CompileError, Key, QueryPlan, SourceTableInfo, columns_at, is_instant};
use super::shape::{as_aggregate, as_scan, as_tumble, descend};
use super::stage::Stage;
use super::tumble::{TumbleNode, WINDOW_END, WINDOW_START};
use crate::session::Session;

/// What a column is known to be, however it is renamed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    EventTime,
    WindowStart,
    WindowEnd,
    Other,
}

pub(super) struct Compiler<'a> {
    session: &'a Session,
    source: &'a SourceTableInfo,
    time_index: usize,
    description: Vec<String>,
    /// How the columns that hold aggregates read in the view.
    aggregate_texts: HashMap<String, String>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        session: &'a Session,
        source: &'a SourceTableInfo,
    ) -> Result<Self, CompileError> {
        let event_time = &source.event_time;
        let (time_index, field) = source.schema.column_with_name(event_time).ok_or_else(|| {
            CompileError::new(format!("the source table has no column `{event_time}`"))
                .about(event_time)
        })?;
        if !is_instant(field.data_type()) {
            let found = field.data_type();
            let message = format!("event time `{event_time}` is {found}; it must be a TIMESTAMP");
            return Err(CompileError::new(message).about(event_time));
        }
        Ok(Self {
            session,
            source,
            time_index,
            description: Vec::new(),
            aggregate_texts: HashMap::new(),
        })
    }

    pub(super) fn compile(mut self, view: &LogicalPlan) -> Result<QueryPlan, CompileError> {
        // From the top down to the scan; what runs first is found last.
        let (after_nodes, aggregate) = descend(view, as_aggregate)?;
        let (above_nodes, tumble) = descend(&aggregate.input, as_tumble)?;
        let (below_nodes, scan) = descend(&tumble.input, as_scan)?;

        let mut below: Vec<Stage> = self.scan(scan)?.into_iter().collect();
        let mut origins = self.scan_origins(scan);
        below.extend(self.stages(&below_nodes, &mut origins)?);

        let time = &tumble.time_column;
        let position = tumble
            .input
            .schema()
            .iter()
            .position(|(_, field)| field.name() == time)
            .and_then(|index| origins.get(index));
        if position != Some(&Origin::EventTime) {
            let event_time = &self.source.event_time;
            let message = format!(
                "windows are cut by `{time}`, but the source's event time is `{event_time}`; \
                 windows must be cut by the column that WATERMARK FOR names, unchanged"
            );
            return Err(CompileError::new(message).about(time));
        }
        origins.extend([Origin::WindowStart, Origin::WindowEnd]);
        self.description.push(format!("window: tumbling, {} by `{time}`", tumble.grid));
        let above = self.stages(&above_nodes, &mut origins)?;

        let input = aggregate.input.schema();
        let keys = self.keys(aggregate, &origins)?;
        let aggregates = aggregate
            .aggr_expr
            .iter()
            .map(|expression| self.aggregate(expression, input))
            .collect::<Result<Vec<_>, _>>()?;
        let own_keys: Vec<usize> = (0..keys.len())
            .filter(|index| matches!(keys.get(*index), Some(Key::Expression(_))))
            .collect();
        let grouped = Arc::clone(aggregate.schema.inner());
        let key_schema = columns_at(&grouped, &own_keys);
        if !own_keys.is_empty() {
            new_group_values(Arc::clone(&key_schema), &GroupOrdering::None)?;
        }
        let mut origins = vec![Origin::Other; grouped.fields().len()];
        let after = self.stages(&after_nodes, &mut origins)?;

        Ok(QueryPlan {
            source: self.source.clone(),
            time_index: self.time_index,
            grid: tumble.grid,
            below,
            windowed: windowed_schema(tumble),
            above,
            keys,
            key_schema,
            aggregates,
            grouped,
            after,
            output: Arc::clone(view.schema().inner()),
            description: self.description,
            identity: identity::query(view)?,
            legacy_identity: identity::legacy_query(view)?,
        })
    }

    /// The scan's columns out of the source's, where they are not the same.
    fn scan(&self, scan: &TableScan) -> Result<Option<Stage>, CompileError> {
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(CompileError::new(
                "the plan was optimised: filters or limits have moved into the scan",
            ));
        }
        let wanted = scan.projected_schema.inner();
        if wanted.fields() == self.source.schema.fields() {
            return Ok(None);
        }
        let expressions = wanted
            .fields()
            .iter()
            .map(|field| {
                let index = self.source.schema.index_of(field.name()).map_err(|_| {
                    CompileError::new(format!("the source has no column `{}`", field.name()))
                        .about(field.name())
                })?;
                Ok(Arc::new(PhysicalColumn::new(field.name(), index)) as Arc<dyn PhysicalExpr>)
            })
            .collect::<Result<Vec<_>, CompileError>>()?;
        Ok(Some(Stage::Project { expressions, schema: Arc::clone(wanted) }))
    }

    fn scan_origins(&self, scan: &TableScan) -> Vec<Origin> {
        let is_time = |name: &str| name == self.source.event_time;
        let fields = scan.projected_schema.fields().iter();
        fields
            .map(|field| if is_time(field.name()) { Origin::EventTime } else { Origin::Other })
            .collect()
    }

    /// Compiles projections and filters, given from the top down.
    fn stages(
        &mut self,
        nodes: &[&LogicalPlan],
        origins: &mut Vec<Origin>,
    ) -> Result<Vec<Stage>, CompileError> {
        let mut stages = Vec::new();
        for node in nodes.iter().rev() {
            match node {
                LogicalPlan::Filter(node) => {
                    let text = self.text(&node.predicate);
                    self.description.push(format!("filter: {text}"));
                    stages.push(Stage::Filter(expression::compile(
                        &node.predicate,
                        node.input.schema(),
                        self.session,
                    )?));
                }
                LogicalPlan::Projection(node) => {
                    let input = node.input.schema();
                    let expressions = node
                        .expr
                        .iter()
                        .map(|e| expression::compile(e, input, self.session))
                        .collect::<Result<Vec<_>, _>>()?;
                    *origins = node.expr.iter().map(|e| origin_of(e, input, origins)).collect();
                    let texts: Vec<_> = node.expr.iter().map(|e| self.text(e)).collect();
                    self.description.push(format!("select: {}", texts.join(", ")));
                    let schema = Arc::clone(node.schema.inner());
                    stages.push(Stage::Project { expressions, schema });
                }
                // An alias changes names only; columns are known by position.
                _ => {}
            }
        }
        Ok(stages)
    }

    fn keys(
        &mut self,
        aggregate: &AggregateNode,
        origins: &[Origin],
    ) -> Result<Vec<Key>, CompileError> {
        let input = aggregate.input.schema();
        let mut keys = Vec::with_capacity(aggregate.group_expr.len());
        for expression in &aggregate.group_expr {
            if matches!(expression, Expr::GroupingSet(_)) {
                return Err(CompileError::new(
                    "GROUPING SETS, ROLLUP and CUBE are not supported on a stream; \
                     list the keys in GROUP BY",
                ));
            }
            keys.push(match origin_of(expression, input, origins) {
                Origin::WindowStart => Key::WindowStart,
                Origin::WindowEnd => Key::WindowEnd,
                _ => Key::Expression(expression::compile(expression, input, self.session)?),
            });
        }
        if keys.iter().all(|key| matches!(key, Key::Expression(_))) {
            return Err(CompileError::new(format!(
                "the view's groups span windows; GROUP BY must contain `{WINDOW_START}` or \
                 `{WINDOW_END}`"
            )));
        }
        let texts: Vec<_> = aggregate.group_expr.iter().map(|e| self.text(e)).collect();
        self.description.push(format!("group by: {}", texts.join(", ")));
        Ok(keys)
    }

    fn aggregate(
        &mut self,
        expression: &Expr,
        input: &DFSchemaRef,
    ) -> Result<Aggregate, CompileError> {
        expression::refuse_volatile(expression)?;
        let name = expression.schema_name().to_string();
        let text = self.text(expression);
        self.description.push(format!("aggregate: {text}"));
        self.aggregate_texts.insert(name.clone(), text);
        let simplified =
            expression::simplify(expression, input, self.session)?.unalias_nested().data;
        let plain = match simplified {
            Expr::AggregateFunction(function) => function,
            // A rewrite to something that is no aggregate, or not only one.
            _ => match expression.clone().unalias_nested().data {
                Expr::AggregateFunction(function) => function,
                other => {
                    let message = format!("`{other}` is not an aggregate");
                    return Err(CompileError::new(message));
                }
            },
        };
        let distinct = plain.params.distinct;
        let plain = without_distinct(without_overflow(plain, input)?);
        let context = PhysicalPlanningContext::default();
        let lowered = LoweredAggregateBuilder::new(
            &plain,
            input,
            input.as_arrow(),
            self.session.execution_props(),
            &context,
        )
        .with_name(name)
        .build()?;
        let function = lowered.aggregate;
        let own_name = function.fun().name();
        let sorts_itself = function.fun().supports_within_group_clause()
            || own_name == "string_agg"
            || function.order_sensitivity() != AggregateOrderSensitivity::HardRequirement;
        if !function.order_bys().is_empty() && !sorts_itself {
            let message = format!(
                "ORDER BY inside `{own_name}` is not supported on a stream; `first_value`, \
                 `last_value`, `array_agg` and `string_agg` can sort, otherwise leave it out: \
                 rows come in the order of their offsets"
            );
            return Err(CompileError::new(message).about(own_name));
        }
        let mut inputs = function.expressions();
        let arguments = inputs.len();
        inputs.extend(function.order_bys().iter().map(|key| Arc::clone(&key.expr)));
        let input_types = inputs
            .iter()
            .map(|input_of| input_of.data_type(input.as_arrow()))
            .collect::<Result<Vec<_>, _>>()?;
        let distinct_schema =
            Aggregate::distinct_schema(input_types.iter().take(arguments).cloned());
        let aggregate = Aggregate {
            function: Arc::clone(&function),
            distinct,
            filter: lowered.filter,
            inputs,
            input_types,
            arguments,
            distinct_schema,
        };
        // What cannot start fails here, where the text of the view is at hand.
        aggregate.start()?;
        function.create_accumulator()?;
        Ok(aggregate)
    }

    /// Returns an expression as one would write it: without the qualifiers and
    /// internal names that planning gave it.
    fn text(&self, expression: &Expr) -> String {
        let plain = expression.clone().transform_up(|node| {
            Ok(match node {
                Expr::Column(column) => {
                    let name = self.aggregate_texts.get(&column.name).unwrap_or(&column.name);
                    Transformed::yes(Expr::Column(Column::new_unqualified(name)))
                }
                other => Transformed::no(other),
            })
        });
        let plain = plain.map_or_else(|_| expression.clone(), |plain| plain.data);
        let text = match &plain {
            Expr::Alias(alias) if alias.expr.human_display().to_string() != alias.name => {
                format!("{} AS {}", alias.expr.human_display(), alias.name)
            }
            other => other.human_display().to_string(),
        };
        text.replace("count(1)", "count(*)")
    }
}

fn origin_of(expression: &Expr, input: &DFSchema, origins: &[Origin]) -> Origin {
    match expression {
        Expr::Alias(alias) => origin_of(&alias.expr, input, origins),
        Expr::Column(column) => origin_of_column(column, input, origins),
        _ => Origin::Other,
    }
}

fn origin_of_column(column: &Column, input: &DFSchema, origins: &[Origin]) -> Origin {
    let index = input.maybe_index_of_column(column);
    index.and_then(|index| origins.get(index)).copied().unwrap_or(Origin::Other)
}

fn without_distinct(mut function: AggregateFunction) -> Expr {
    function.params.distinct = false;
    Expr::AggregateFunction(function)
}

/// Adds whole numbers up in 38 digits: in 64 bits DataFusion's `sum` wraps around
/// unsaid. The result becomes a BIGINT again, or the group fails.
fn without_overflow(
    mut function: AggregateFunction,
    input: &DFSchema,
) -> Result<AggregateFunction, CompileError> {
    if function.func.name() == "sum"
        && let [argument] = function.params.args.as_slice()
        && argument.get_type(input)?.is_integer()
    {
        let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
        function.params.args = vec![cast(argument.clone(), wide)];
    }
    Ok(function)
}

fn windowed_schema(tumble: &TumbleNode) -> SchemaRef {
    use datafusion_expr::UserDefinedLogicalNodeCore;
    Arc::clone(tumble.schema().inner())
}
