//! What state was marked with before [`IDENTITY_VERSION`](super::IDENTITY_VERSION) 2: the
//! lines of `explain` as they were at the time, and `Debug` texts.
//!
//! These are read and never written. They are here so that what was committed and kept by
//! builds from f978822 to 2114f7d is gone on with: `crates/engine/tests/state` holds some.
//! Everything is a copy of what those builds did, bound to nothing that may be reworded,
//! but for the text of expressions and types, which is DataFusion's and Arrow's own. After
//! an upgrade that changes these texts the state of builds so old is taken for another
//! query's: such a pipeline has to run once on a build between.
//!
//! Its time is over, and the module can go with all that calls it, when no build without
//! version 2 is in use any more: the first commit after an upgrade writes the new form.

use std::collections::HashMap;

use datafusion_common::Column;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{Expr, LogicalPlan};
use tidecast_stream::grid::Tz;
use tidecast_stream::{MonthDay, Period, TimeGrid};

use super::timestamp_unit;
use crate::spec::PipelinePlan;
use crate::window::query::CompileError;
use crate::window::shape::{as_aggregate, as_scan, as_tumble, descend};

/// The version that nothing says of itself.
pub(in crate::window) const VERSION: u32 = 1;

/// Returns what commits were marked with.
pub fn window_identity(plan: &PipelinePlan) -> [(&'static str, String); 4] {
    [
        ("the watermark", watermark(plan)),
        ("the window query", plan.window.legacy_identity().to_owned()),
        ("the series", plan.forecast.series.join(", ")),
        ("the time", plan.forecast.time.clone()),
    ]
}

/// Returns what snapshots of format 3 were marked with.
pub(super) fn state_identity(plan: &PipelinePlan) -> Vec<(String, String)> {
    let clause = &plan.forecast;
    let columns = plan.source.schema.fields();
    let columns: Vec<String> =
        columns.iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    let zero = clause.targets.iter().zip(&clause.zero_filled).filter(|(_, zero)| **zero);
    let zero: Vec<String> = zero.map(|(target, _)| format!("{target} 0")).collect();
    [
        ("the source's columns", columns.join(", ")),
        ("the watermark", watermark(plan)),
        ("max.future", format!("{:?}", plan.source.max_future)),
        ("max.past", format!("{:?}", plan.source.max_past)),
        ("timestamp.unit", timestamp_unit(plan)),
        ("the window query", plan.window.legacy_identity().to_owned()),
        ("the series", clause.series.join(", ")),
        ("the time", clause.time.clone()),
        ("the step", grid(&clause.step)),
        ("the targets", clause.targets.join(", ")),
        ("what a step without a row is", zero.join(", ")),
        ("the past covariates", clause.past_covariates.join(", ")),
        ("the future covariates", clause.future_covariates.join(", ")),
        ("the context", clause.context.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn watermark(plan: &PipelinePlan) -> String {
    let watermark = &plan.source.watermark;
    let condition = watermark.condition.as_ref().map_or("None".to_owned(), |condition| {
        format!("Some(WatermarkCondition({:?}))", condition.to_string())
    });
    let (column, delay) = (&watermark.column, watermark.delay);
    format!("WatermarkClause {{ column: {column:?}, delay: {delay:?}, condition: {condition} }}")
}

/// Returns the lines that stood for a view.
pub(in crate::window) fn query(view: &LogicalPlan) -> Result<String, CompileError> {
    let (after, aggregate) = descend(view, as_aggregate)?;
    let (above, tumble) = descend(&aggregate.input, as_tumble)?;
    let (below, _) = descend(&tumble.input, as_scan)?;
    let mut lines = Vec::new();
    let mut names = HashMap::new();
    stages(&below, &names, &mut lines);
    lines.push(window(&tumble.grid, &tumble.time_column));
    stages(&above, &names, &mut lines);
    let keys: Vec<_> = aggregate.group_expr.iter().map(|key| text(key, &names)).collect();
    lines.push(format!("group by: {}", keys.join(", ")));
    for function in &aggregate.aggr_expr {
        let text = text(function, &names);
        lines.push(format!("aggregate: {text}"));
        names.insert(function.schema_name().to_string(), text);
    }
    stages(&after, &names, &mut lines);
    Ok(lines.join("\n"))
}

fn stages(nodes: &[&LogicalPlan], names: &HashMap<String, String>, lines: &mut Vec<String>) {
    for node in nodes.iter().rev() {
        match node {
            LogicalPlan::Filter(node) => {
                lines.push(format!("filter: {}", text(&node.predicate, names)));
            }
            LogicalPlan::Projection(node) => {
                let columns: Vec<_> = node.expr.iter().map(|e| text(e, names)).collect();
                lines.push(format!("select: {}", columns.join(", ")));
            }
            _ => {}
        }
    }
}

fn text(expression: &Expr, names: &HashMap<String, String>) -> String {
    let plain = expression.clone().transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => {
                let name = names.get(&column.name).unwrap_or(&column.name);
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

fn window(windows: &TimeGrid, time: &str) -> String {
    let micros = |length: i64| {
        let length = std::time::Duration::from_micros(length.unsigned_abs());
        humantime::format_duration(length).to_string()
    };
    match (windows.fixed_micros(), windows.offset_micros()) {
        (None, _) => format!("window: tumbling, {} by `{time}`", grid(windows)),
        (Some(size), 0) => format!("window: tumbling, {} by `{time}`", micros(size)),
        (Some(size), offset) => {
            format!("window: tumbling, {} by `{time}`, offset {}", micros(size), micros(offset))
        }
    }
}

fn grid(grid: &TimeGrid) -> String {
    let mut text = period(grid.period());
    if let Period::Months(count) = grid.period() {
        let (phase, day) = grid.month_anchor();
        match day {
            MonthDay::FromFirst(1) => {}
            MonthDay::FromFirst(day) => text.push_str(&format!(" from day {day}")),
            MonthDay::FromLast(0) => text.push_str(" from the last day"),
            MonthDay::FromLast(days) => {
                text.push_str(&format!(" from {days} days before the last"))
            }
        }
        if count > 1 && phase > 0 {
            text.push_str(&format!(" from month {}", phase + 1));
        }
    }
    if grid.offset_micros() != 0 {
        text.push_str(&format!(", offset {}", length(grid.offset_micros())));
    }
    if grid.zone() != Tz::UTC {
        text.push_str(&format!(", {}", grid.zone().name()));
    }
    text
}

fn period(period: Period) -> String {
    let (count, one, many) = match period {
        Period::Fixed(micros) => return length(micros),
        Period::Days(count) if count % 7 == 0 => (count / 7, "week", "weeks"),
        Period::Days(count) => (count, "day", "days"),
        Period::BusinessDays => (1, "business day", "business days"),
        Period::Months(count) if count % 12 == 0 => (count / 12, "year", "years"),
        Period::Months(count) if count % 3 == 0 => (count / 3, "quarter", "quarters"),
        Period::Months(count) => (count, "month", "months"),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

fn length(micros: i64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    let mut rest = micros.unsigned_abs();
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    let sign = if micros < 0 { "-" } else { "" };
    let text = if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") };
    format!("{sign}{text}")
}
