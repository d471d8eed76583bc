//! From statements to pipelines: names get their meaning, options are checked,
//! and DataFusion plans the views.
//!
//! All statements of all scripts are read before any is resolved, so their order
//! and their distribution over files mean nothing. As many errors as possible
//! are reported at once; what follows from an error that is reported is not.

mod ahead;
mod arguments;
mod catalog;
mod checks;
mod circles;
mod columns;
mod forecast;
mod formats;
mod lineage;
mod models;
mod options;
mod pipelines;
mod roles;
mod rules;
mod startup;
mod tables;
mod tumble;
mod types;
mod view;

use std::collections::HashMap;

use tidecast_stream::ModelCatalog;

pub use view::{PlannedView, plan_view};

use self::pipelines::Definitions;
use crate::dialect::{Statement, parse_script};
use crate::error::{Problem, ProblemKind, SqlError, SqlErrors};
use crate::spec::PipelinePlan;

pub(crate) use types::is_nested;

/// Plans every pipeline of a set of scripts, given as `(name, text)`, that may use
/// `models`.
///
/// Reads and starts nothing: this is all that `check` and `explain` need.
///
/// # Errors
/// Everything wrong with the scripts, each with its place.
///
/// ```
/// use tidecast_sql::parse_scripts;
/// use tidecast_stream::{ModelCatalog, ModelFamily};
///
/// let families = &[ModelFamily { name: "drift", options: &[], unsupported: &[] }];
/// let models = ModelCatalog { families, default_model: "usual", default_family: "drift" };
/// let script = "
///     CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
///                            WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
///       WITH ('connector'='kafka', 'topic'='readings');
///     CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts');
///     CREATE VIEW load_1m AS SELECT site, window_end AS t, avg(kw) AS kw
///       FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
///       GROUP BY site, window_start, window_end;
///     CREATE PIPELINE load_forecast AS INSERT INTO forecasts
///       SELECT * FROM forecast(TABLE load_1m, series => 'site', time => 't', target => 'kw',
///                              horizon => INTERVAL '1' HOUR);
/// ";
/// let plans = parse_scripts(&[("load.sql".into(), script.into())], &models).unwrap();
/// assert_eq!(plans[0].name, "load_forecast");
/// assert_eq!((plans[0].forecast.horizon, plans[0].model.family.name), (60, "drift"));
///
/// let script = script.replace("'kw'", "'kwh'");
/// let errors = parse_scripts(&[("load.sql".into(), script)], &models).unwrap_err();
/// assert_eq!(errors.errors[0].message, "unknown column `kwh`, expected one of `site`, `t`, `kw`; did you mean `kw`?");
/// assert_eq!((errors.errors[0].line, errors.errors[0].column), (10, 86));
/// ```
pub fn parse_scripts(
    files: &[(String, String)],
    models: &ModelCatalog,
) -> Result<Vec<PipelinePlan>, SqlErrors> {
    let scripts = Scripts::read(files);
    let mut problems = scripts.problems.clone();
    let definitions = Definitions::of(&scripts.statements, models, &mut problems);
    let plans = definitions.pipelines(&mut problems);
    if problems.is_empty() && plans.is_empty() {
        problems.push((
            Place::File(0),
            Problem::new(
                sqlparser::tokenizer::Span::empty(),
                "nothing to run, expected a CREATE PIPELINE name AS INSERT INTO sink SELECT * \
                 FROM forecast(…)",
            ),
        ));
    }
    scripts.outcome(plans, problems)
}

/// What a problem is part of: it says which file.
#[derive(Debug, Clone, Copy)]
enum Place {
    File(usize),
    Statement(usize),
}

/// The statements of all files.
struct Scripts<'a> {
    files: &'a [(String, String)],
    statements: Vec<Statement>,
    /// The file of each statement.
    file_of: HashMap<usize, usize>,
    problems: Vec<(Place, Problem)>,
}

impl<'a> Scripts<'a> {
    fn read(files: &'a [(String, String)]) -> Self {
        let mut scripts =
            Self { files, statements: Vec::new(), file_of: HashMap::new(), problems: Vec::new() };
        for (file, (_, text)) in files.iter().enumerate() {
            let (statements, problems) = parse_script(text);
            for statement in statements {
                scripts.file_of.insert(scripts.statements.len(), file);
                scripts.statements.push(statement);
            }
            let placed = problems.into_iter().map(|problem| (Place::File(file), problem));
            scripts.problems.extend(placed);
        }
        scripts
    }

    /// Returns `value`, or the errors if there are any, in the order of the text.
    fn outcome<T>(&self, value: T, problems: Vec<(Place, Problem)>) -> Result<T, SqlErrors> {
        let is_dropped = |kind| match kind {
            ProblemKind::Plain => false,
            ProblemKind::UnknownName => !self.problems.is_empty(),
            ProblemKind::Consequence => true,
        };
        let mut errors: Vec<(usize, SqlError)> = problems
            .into_iter()
            .filter(|(_, problem)| !is_dropped(problem.kind))
            .map(|(place, problem)| self.error(place, problem))
            .collect();
        if errors.is_empty() {
            return Ok(value);
        }
        errors.sort_by_key(|(file, error)| (*file, error.line, error.column));
        errors.dedup();
        Err(SqlErrors { errors: errors.into_iter().map(|(_, error)| error).collect() })
    }

    fn error(&self, place: Place, problem: Problem) -> (usize, SqlError) {
        let (file, fallback) = match place {
            Place::File(file) => (file, None),
            Place::Statement(index) => {
                let file = self.file_of.get(&index).copied().unwrap_or_default();
                (file, self.statements.get(index).map(|statement| statement.name().span))
            }
        };
        let problem = match fallback {
            Some(span) => problem.or_at(span),
            None => problem,
        };
        let (name, text) = match self.files.get(file) {
            Some((name, text)) => (name.as_str(), text.as_str()),
            None => ("", ""),
        };
        (file, problem.into_error(name, text))
    }
}
