//! Which columns of a view are the series, the time and the target.

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::arguments::Arguments;
use super::lineage::{GroupKey, WindowView};
use super::types::{is_numeric, sql_name};
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

    /// The column to forecast: a number, and one in this version.
    pub(super) fn target(
        &self,
        arguments: &Arguments<'_>,
        series: &[Placed<String>],
        problems: &mut Vec<Problem>,
    ) -> Option<Placed<String>> {
        let named = arguments.texts("target", problems);
        let target = match named.as_deref() {
            Some([target]) => target.clone(),
            Some([_, second, ..]) => {
                problems.push(Problem::new(
                    second.span,
                    "one target column in this version, found a second",
                ));
                return None;
            }
            Some([]) | None => {
                if named.is_some() || arguments.lacks("target") {
                    problems.push(Problem::new(
                        self.call,
                        "argument `target` of forecast is missing, expected the column to \
                         forecast: target => 'column'",
                    ));
                }
                return None;
            }
        };
        if !self.exists(&target, problems) {
            return None;
        }
        let field = self.plan.schema().field_with_unqualified_name(&target.value).ok()?;
        if !is_numeric(field.data_type()) {
            problems.push(Problem::new(
                target.span,
                format!(
                    "target `{}` is of type {}, expected a number",
                    target.value,
                    sql_name(field.data_type())
                ),
            ));
            return None;
        }
        if series.iter().any(|name| name.value == target.value) {
            problems.push(Problem::new(
                target.span,
                format!("`{}` names the series, expected another column as target", target.value),
            ));
            return None;
        }
        Some(target)
    }
}
