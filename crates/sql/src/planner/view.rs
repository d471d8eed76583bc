//! One view on its own.

use datafusion_expr::LogicalPlan;
use sqlparser::tokenizer::Span;
use tidecast_stream::ModelCatalog;

use super::lineage::WindowView;
use super::pipelines::{Definitions, source_info};
use super::{Place, Scripts};
use crate::error::{Problem, SqlErrors};
use crate::session::Session;
use crate::window::SourceTableInfo;

/// A view as DataFusion planned it: what [`crate::window::WindowQuery::compile`] takes, and,
/// with [`crate::window::to_batch_plan`], an ordinary batch query of the same
/// meaning to compare with.
#[derive(Debug)]
pub struct PlannedView {
    /// The analysed plan: types coerced, shape as written. Its table scan has a
    /// schema and no rows.
    pub plan: LogicalPlan,
    /// The table it reads, named as in the plan's scan.
    pub table: String,
    /// What that table says about time.
    pub source: SourceTableInfo,
    /// The session it was planned in.
    pub session: Session,
}

/// Plans one window view of a script, without a pipeline around it.
///
/// # Errors
/// Everything wrong with the script.
pub fn plan_view(
    script: &str,
    view: &str,
    models: &ModelCatalog,
) -> Result<PlannedView, SqlErrors> {
    let files = [("script.sql".to_owned(), script.to_owned())];
    let scripts = Scripts::read(&files);
    let mut problems = scripts.problems.clone();
    let definitions = Definitions::of(&scripts.statements, models, &mut problems);
    let outcome = definitions.catalog.view(view).and_then(|plan| {
        let window =
            WindowView::of(&plan).map_err(|message| Problem::new(Span::empty(), message))?;
        let table = window.table.to_owned();
        let source = definitions.sources.get(&table).and_then(Option::as_ref);
        let source = source_info(source.ok_or_else(Problem::consequence)?);
        Ok((plan, table, source))
    });
    let in_views = definitions.catalog.take_problems().into_iter();
    problems.extend(in_views.map(|(index, problem)| (Place::Statement(index), problem)));
    let session = definitions.catalog.session;
    let planned = match outcome {
        Ok((plan, table, source)) => Some(PlannedView { plan, table, source, session }),
        Err(problem) => {
            problems.push((Place::File(0), problem));
            None
        }
    };
    scripts.outcome(planned, problems)?.ok_or_else(|| SqlErrors { errors: Vec::new() })
}
