//! Which columns of a view are the series, the time, the targets and the covariates.

use datafusion_expr::LogicalPlan;
use sqlparser::tokenizer::Span;
use tidecast_stream::column_type::sql_name;

use super::arguments::Arguments;
use super::lineage::{GroupKey, WindowView};
use super::types::is_numeric;
use crate::dialect::Placed;
use crate::error::{Problem, did_you_mean, one_of, quoted_list};

/// The view's columns, as the arguments name them.
pub(super) struct Columns<'a> {
    pub(super) plan: &'a LogicalPlan,
    pub(super) view: &'a WindowView<'a>,
    /// Where `forecast` stands.
    pub(super) call: Span,
}

impl Columns<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.plan.schema().fields().iter().map(|field| field.name().as_str())
    }

    /// Whether the view has this column; if not, says so.
    fn exists(&self, name: &Placed<String>, problems: &mut Vec<Problem>) -> bool {
        let exists = self.names().any(|known| known == name.value);
        if !exists {
            problems.push(Problem::new(
                name.span,
                format!(
                    "unknown column `{}`, expected {}{}",
                    name.value,
                    one_of(self.names()),
                    did_you_mean(&name.value, self.names())
                ),
            ));
        }
        exists
    }

    /// The series columns: group keys, and all of them, since otherwise a
    /// series would have several rows for a step.
    pub(super) fn series(
        &self,
        arguments: &Arguments<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Placed<String>> {
        let before = problems.len();
        let mut series: Vec<Placed<String>> = Vec::new();
        let keys = self.view.group_keys();
        let mut used = vec![false; keys.len()];
        for name in arguments.texts("series", problems).unwrap_or_default() {
            if series.iter().any(|other| other.value == name.value) {
                problems.push(Problem::new(
                    name.span,
                    format!("series column `{}` is named twice", name.value),
                ));
                continue;
            }
            if !self.exists(&name, problems) {
                continue;
            }
            let index = self.view.group_of(self.plan, &name.value);
            let key = index.and_then(|index| Some((index, *keys.get(index)?)));
            match key {
                Some((index, GroupKey::Series)) => {
                    if let Some(used) = used.get_mut(index) {
                        *used = true;
                    }
                    series.push(name);
                }
                Some((_, GroupKey::Window)) => problems.push(Problem::new(
                    name.span,
                    format!(
                        "`{}` is the window's time, expected a column that names a series",
                        name.value
                    ),
                )),
                None => {
                    let wanted =
                        quoted_list(self.names().filter(|column| self.is_series_key(column)));
                    problems.push(Problem::new(
                        name.span,
                        format!(
                            "`{}` is not a group key of the view, expected {}",
                            name.value,
                            if wanted.is_empty() {
                                "no series: the view has one series".to_owned()
                            } else {
                                format!("one of {wanted}")
                            }
                        ),
                    ));
                }
            }
        }
        if problems.len() > before || series.is_empty() && !arguments.lacks("series") {
            return series;
        }
        let missing = keys
            .iter()
            .zip(&used)
            .zip(&self.view.aggregate.group_expr)
            .find(|((key, used), _)| **key == GroupKey::Series && !**used);
        if let Some((_, expression)) = missing {
            let place = series.last().map_or(self.call, |name| name.span);
            let wanted = quoted_list(self.names().filter(|column| self.is_series_key(column)));
            problems.push(Problem::new(
                place,
                format!(
                    "the view is grouped by `{}` too, so a series would have several rows for a \
                     step; expected every group key in series: {wanted}",
                    expression.human_display()
                ),
            ));
        }
        series
    }

    fn is_series_key(&self, column: &str) -> bool {
        let keys = self.view.group_keys();
        let index = self.view.group_of(self.plan, column);
        index.and_then(|index| keys.get(index).copied()) == Some(GroupKey::Series)
    }

    fn is_window_time(&self, column: &str) -> bool {
        let keys = self.view.group_keys();
        let index = self.view.group_of(self.plan, column);
        index.and_then(|index| keys.get(index).copied()) == Some(GroupKey::Window)
    }

    /// The time of a step: `window_start` or `window_end`, whatever it is called.
    pub(super) fn time(
        &self,
        arguments: &Arguments<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Placed<String>> {
        let wanted = || match quoted_list(self.names().filter(|name| self.is_window_time(name))) {
            names if names.is_empty() => {
                "window_start or window_end among the view's columns".to_owned()
            }
            names => format!("one of {names}"),
        };
        let Some(name) = arguments.text("time", problems) else {
            if arguments.lacks("time") {
                problems.push(Problem::new(
                    self.call,
                    format!(
                        "argument `time` of forecast is missing, expected the column of a step's \
                         time: {}",
                        wanted()
                    ),
                ));
            }
            return None;
        };
        if !self.exists(&name, problems) {
            return None;
        }
        if !self.is_window_time(&name.value) {
            problems.push(Problem::new(
                name.span,
                format!(
                    "`{}` is not window_start or window_end of the view, expected {}",
                    name.value,
                    wanted()
                ),
            ));
            return None;
        }
        Some(name)
    }

    /// The columns to forecast and those that help to.
    pub(super) fn variates(
        &self,
        arguments: &Arguments<'_>,
        series: &[Placed<String>],
        time: Option<&Placed<String>>,
        problems: &mut Vec<Problem>,
    ) -> Variates {
        let mut taken: Vec<(String, &str)> =
            series.iter().map(|name| (name.value.clone(), "series")).collect();
        taken.extend(time.map(|name| (name.value.clone(), "time")));
        let mut of = |role: &'static str| {
            let named = arguments.texts(role, problems);
            let is_missing = match &named {
                Some(names) => names.is_empty(),
                None => arguments.lacks(role),
            };
            if role == TARGET && is_missing {
                problems.push(Problem::new(
                    self.call,
                    "argument `target` of forecast is missing, expected the column to forecast, or \
                     a list of them: target => 'column'",
                ));
            }
            let mut names = named.unwrap_or_default();
            names.retain(|name| self.is_variate(name, role, &mut taken, problems));
            names
        };
        Variates {
            targets: of(TARGET),
            past_covariates: of("past_covariates"),
            future_covariates: of("future_covariates"),
        }
    }

    /// Whether a column can be a target or a covariate, which a column is once;
    /// if not, says so.
    fn is_variate(
        &self,
        name: &Placed<String>,
        role: &'static str,
        taken: &mut Vec<(String, &'static str)>,
        problems: &mut Vec<Problem>,
    ) -> bool {
        if !self.exists(name, problems) {
            return false;
        }
        let Ok(field) = self.plan.schema().field_with_unqualified_name(&name.value) else {
            return false;
        };
        let column = &name.value;
        let before = taken.iter().find(|(known, _)| known == column);
        let message = match before.map(|(_, before)| *before) {
            Some("series") => {
                Some(format!("`{column}` names the series, expected another column in `{role}`"))
            }
            Some("time") => Some(format!(
                "`{column}` is the time of a step, expected another column in `{role}`"
            )),
            Some(before) if before == role => {
                Some(format!("column `{column}` is named twice in `{role}`, expected it once"))
            }
            Some(before) => Some(format!(
                "column `{column}` is in `{before}` already, expected another one in `{role}`"
            )),
            None if !is_numeric(field.data_type()) => {
                let (word, found) = (word_for(role), sql_name(field.data_type()));
                Some(format!("{word} `{column}` is of type {found}, expected a number"))
            }
            None => None,
        };
        match message {
            Some(message) => {
                problems.push(Problem::new(name.span, message));
                false
            }
            None => {
                taken.push((column.clone(), role));
                true
            }
        }
    }
}

const TARGET: &str = "target";

/// What one column of a role is called.
fn word_for(role: &str) -> &str {
    match role {
        "past_covariates" => "past covariate",
        "future_covariates" => "future covariate",
        other => other,
    }
}

/// Columns of numbers, by the part they play.
#[derive(Debug)]
pub(super) struct Variates {
    pub(super) targets: Vec<Placed<String>>,
    pub(super) past_covariates: Vec<Placed<String>>,
    pub(super) future_covariates: Vec<Placed<String>>,
}
