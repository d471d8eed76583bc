//! What planning and compiling take from DataFusion, and no more.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::error::Result;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::planner::{ExprPlanner, RelationPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion_optimizer::Analyzer;

/// The release of DataFusion that all its crates here are of: what an accumulator
/// keeps may differ in another one.
pub(crate) const DATAFUSION_VERSION: &str = "55.2.0";

/// DataFusion's functions, its planners of expressions, its analyzer and its options.
///
/// The session of DataFusion itself comes with catalogs, file formats, an optimizer and an
/// executor. A stream runs none of them, and they are a large part of what there is to compile.
#[derive(Debug, Clone)]
pub struct Session {
    options: Arc<ConfigOptions>,
    scalar_functions: HashMap<String, Arc<ScalarUDF>>,
    higher_order_functions: HashMap<String, Arc<HigherOrderUDF>>,
    aggregate_functions: HashMap<String, Arc<AggregateUDF>>,
    window_functions: HashMap<String, Arc<WindowUDF>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    analyzer: Analyzer,
    execution_props: ExecutionProps,
}

impl Default for Session {
    /// Every function of DataFusion; text is `Utf8`, which is what the formats fill, and
    /// plans know where in the SQL their parts stand.
    fn default() -> Self {
        let mut options = ConfigOptions::new();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.collect_spans = true;
        let nested = datafusion_functions_nested::all_default_nested_functions();
        let scalar = datafusion_functions::all_default_functions().into_iter().chain(nested);
        // A function may differ with the options: `now()` has their time zone.
        let scalar = scalar.map(|function| {
            function.inner().with_updated_config(&options).map_or(function, Arc::new)
        });
        Self {
            scalar_functions: by_name(scalar, |function| (function.name(), function.aliases())),
            higher_order_functions: by_name(
                datafusion_functions_nested::all_default_higher_order_functions(),
                |function| (function.name(), function.aliases()),
            ),
            aggregate_functions: by_name(
                datafusion_functions_aggregate::all_default_aggregate_functions(),
                |function| (function.name(), function.aliases()),
            ),
            window_functions: by_name(
                datafusion_functions_window::all_default_window_functions(),
                |function| (function.name(), function.aliases()),
            ),
            // The first that knows a piece of syntax plans it.
            expr_planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
                Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
            ],
            relation_planners: Vec::new(),
            analyzer: Analyzer::new(),
            execution_props: ExecutionProps::new(),
            options: Arc::new(options),
        }
    }
}

impl Session {
    /// Adds a planner of what stands in `FROM`.
    pub(crate) fn with_relation_planner(mut self, planner: Arc<dyn RelationPlanner>) -> Self {
        self.relation_planners.push(planner);
        self
    }

    /// Coerces the types of a plan.
    ///
    /// # Errors
    /// What DataFusion's analyzer finds wrong.
    pub(crate) fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.analyzer.execute_and_check(plan, &self.options, |_, _| {})
    }

    pub(crate) fn options(&self) -> &Arc<ConfigOptions> {
        &self.options
    }

    pub(crate) fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        &self.scalar_functions
    }

    pub(crate) fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        &self.higher_order_functions
    }

    pub(crate) fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        &self.aggregate_functions
    }

    pub(crate) fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        &self.window_functions
    }

    pub(crate) fn expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    pub(crate) fn relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    pub(crate) fn execution_props(&self) -> &ExecutionProps {
        &self.execution_props
    }
}

/// Returns functions under their names and aliases. Of two with one name the later stays, as
/// in DataFusion's own session.
fn by_name<F>(
    functions: impl IntoIterator<Item = Arc<F>>,
    names: impl Fn(&F) -> (&str, &[String]),
) -> HashMap<String, Arc<F>> {
    let mut found = HashMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        for name in aliases.iter().map(String::as_str).chain([name]) {
            found.insert(name.to_owned(), Arc::clone(&function));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateDefaults;
    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;

    fn sorted<F>(functions: &HashMap<String, Arc<F>>) -> Vec<&String> {
        let mut names: Vec<_> = functions.keys().collect();
        names.sort();
        names
    }

    #[test]
    fn has_every_function_and_planner_of_datafusions_own_session() {
        let own = SessionStateBuilder::new().with_default_features().build();
        let session = Session::default();
        assert_eq!(sorted(session.scalar_functions()), sorted(own.scalar_functions()));
        assert_eq!(sorted(session.aggregate_functions()), sorted(own.aggregate_functions()));
        assert_eq!(sorted(session.higher_order_functions()), sorted(own.higher_order_functions()));
        assert_eq!(sorted(session.window_functions()), sorted(own.window_functions()));
        let planners = format!("{:?}", SessionStateDefaults::default_expr_planners());
        assert_eq!(format!("{:?}", session.expr_planners()), planners);
    }

    #[test]
    fn knows_the_release_of_datafusion() {
        assert_eq!(DATAFUSION_VERSION, datafusion::DATAFUSION_VERSION);
    }
}
