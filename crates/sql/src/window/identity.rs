//! What a pipeline's state follows from, as data.
//!
//! State outlives the build that wrote it. Before another build goes on with it, it has
//! to see that its own query is the one the state was built by, or records that were
//! read once would be in one query's windows and those to come in another's. So a
//! pipeline is put down in a canonical form, a few named parts, which snapshots hold
//! whole and commits as digests.
//!
//! The form has a version, [`IDENTITY_VERSION`], and is written by code of its own: no
//! prose of `explain`, no `Debug`, and of DataFusion neither what it shows nor what it
//! calls things, only what its expressions *are*. `tests/identity.rs` pins it. Where a pin
//! breaks, a user's pipeline would be refused: what is written has to become what it was
//! again, or the version goes up and the form before goes on being understood, as
//! [`legacy`] is.

mod expression;
mod legacy;
mod query;
mod types;

use tidecast_stream::{
    EpochUnit, FieldColumn, MetadataColumn, MonthDay, Period, RecordMetadata, TimeGrid, ValueFormat,
};

pub(super) use self::expression::Columns;
pub use self::legacy::window_identity as legacy_window_identity;
pub(super) use self::legacy::{VERSION as LEGACY_VERSION, query as legacy_query};
pub(super) use self::query::query;
use self::types::{call, data_type, quoted};
use super::condition::WatermarkCondition;
use crate::spec::{ForecastClause, PipelinePlan, SourceConnector, WatermarkClause};

/// Version of the canonical form.
pub const IDENTITY_VERSION: u32 = 2;

/// What a windower's state follows from, in all forms that its snapshots may have.
#[derive(Debug, Clone)]
pub(super) struct StateIdentity {
    current: Vec<(String, String)>,
    legacy: Vec<(String, String)>,
}

impl StateIdentity {
    pub(super) fn of(plan: &PipelinePlan) -> Self {
        Self { current: state_identity(plan), legacy: legacy::state_identity(plan) }
    }

    /// Returns what is written down.
    pub(super) fn current(&self) -> &[(String, String)] {
        &self.current
    }

    /// Returns the first part that is another in state of this version of the form.
    pub(super) fn changed(&self, version: u32, found: &[(String, String)]) -> Option<String> {
        let ours = match version {
            IDENTITY_VERSION => &self.current,
            LEGACY_VERSION => &self.legacy,
            _ => return Some("the version".to_owned()),
        };
        let differs = ours.iter().zip(found).find(|(ours, theirs)| ours != theirs);
        let other_parts = || (ours.len() != found.len()).then(|| "the version".to_owned());
        differs.map(|(ours, _)| ours.0.clone()).or_else(other_parts)
    }
}

/// Returns what a pipeline's state follows from, part by part. Horizon, quantiles, samples,
/// model and sink are not among it: they may change and the state stays.
pub fn state_identity(plan: &PipelinePlan) -> Vec<(String, String)> {
    let clause = &plan.forecast;
    let columns = plan.source.schema.fields().iter().enumerate().map(|(index, field)| {
        let null = if field.is_nullable() { "" } else { ", required" };
        let from = plan.source.metadata.iter().find(|it| it.column == index);
        let from = from.map_or_else(String::new, |it| format!(", {}", metadata(&it.from)));
        let path = plan.source.fields.iter().find(|it| it.column == index);
        let from =
            path.map_or(from, |it| format!(", {}", call("field", [quoted(&it.path.to_string())])));
        format!("column({}, {}{null}{from})", quoted(field.name()), data_type(field.data_type()))
    });
    [
        ("the source's columns", columns.collect::<Vec<_>>().join("\n")),
        ("the watermark", watermark(plan)),
        ("max.future", bound(plan.source.max_future)),
        ("max.past", bound(plan.source.max_past)),
        ("timestamp.unit", timestamp_unit(plan)),
        ("the window query", window_query(plan)),
        ("the series", names(&clause.series)),
        ("the time", quoted(&clause.time)),
        ("the step", grid(&clause.step)),
        ("the targets", names(&clause.targets)),
        ("what a step without a row is", zero_filled(clause)),
        ("the past covariates", names(&clause.past_covariates)),
        ("the future covariates", names(&clause.future_covariates)),
        ("the context", clause.context.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Returns what windows follow from: what a pipeline cannot change and go on with the
/// windows it has.
///
/// Targets, covariates and the context's length are not in it: what contexts hold of them
/// is built from the windows that are read again. Nor are the bounds that turn records
/// away (`max.future`, `max.past`, `NOT NULL`): who has to move one, because a clock is
/// off, has mended the source and not asked for other windows. Nor is
/// the reader's schema of a format: it follows a topic's, which goes on. Options that make other values of the same bytes, as `timestamp.unit` does, belong here.
pub fn window_identity(plan: &PipelinePlan) -> [(&'static str, String); 5] {
    [
        ("the watermark", watermark(plan)),
        ("timestamp.unit", timestamp_unit(plan)),
        ("the window query", window_query(plan)),
        ("the series", names(&plan.forecast.series)),
        ("the time", quoted(&plan.forecast.time)),
    ]
}

/// Returns the view's form, and where columns come from that are not fields of the value:
/// under the same name they would be other values.
fn window_query(plan: &PipelinePlan) -> String {
    let mut form = plan.window.identity().to_owned();
    if let SourceConnector::Kafka(options) = &plan.source.connector
        && options.format != ValueFormat::Json
    {
        form.push_str(&format!("\nformat: {}", options.format.name()));
    }
    for MetadataColumn { column, from } in &plan.source.metadata {
        let field = plan.source.schema.fields().get(*column);
        let name = field.map_or_else(String::new, |field| quoted(field.name()));
        form.push_str(&format!("\nmetadata: {}", call(&name, [metadata(from)])));
    }
    for FieldColumn { column, path } in &plan.source.fields {
        let field = plan.source.schema.fields().get(*column);
        let name = field.map_or_else(String::new, |field| quoted(field.name()));
        form.push_str(&format!("\nfield: {}", call(&name, [quoted(&path.to_string())])));
    }
    form
}

fn metadata(from: &RecordMetadata) -> String {
    match from {
        RecordMetadata::Header(name) => call("header", [quoted(name)]),
        other => other.to_string(),
    }
}

fn watermark(plan: &PipelinePlan) -> String {
    let WatermarkClause { column, delay, condition } = &plan.source.watermark;
    let found = plan.source.schema.field_with_name(column);
    let time = found.map_or_else(
        |_| quoted(column),
        |field| source_column(field.name(), &data_type(field.data_type())),
    );
    let moved_by = condition.as_ref().map_or("every_row", WatermarkCondition::identity);
    format!("watermark({time}, delay({}us), moved_by({moved_by}))", delay.as_micros())
}

fn bound(length: Option<std::time::Duration>) -> String {
    length.map_or("none".to_owned(), |length| format!("{}us", length.as_micros()))
}

fn timestamp_unit(plan: &PipelinePlan) -> String {
    let unit = match plan.source.timestamp_unit {
        None => "auto",
        Some(EpochUnit::Seconds) => "s",
        Some(EpochUnit::Milliseconds) => "ms",
        Some(EpochUnit::Microseconds) => "us",
        Some(EpochUnit::Nanoseconds) => "ns",
    };
    unit.to_owned()
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn zero_filled(clause: &ForecastClause) -> String {
    let zero = clause.targets.iter().zip(&clause.zero_filled).filter(|(_, zero)| **zero);
    zero.map(|(target, _)| call("zero", [quoted(target)])).collect::<Vec<_>>().join(", ")
}

fn source_column(name: &str, data_type: &str) -> String {
    format!("column({}, {data_type})", quoted(name))
}

/// Returns a grid: the same text for the same cells.
fn grid(grid: &TimeGrid) -> String {
    let (offset, zone) = (grid.offset_micros(), quoted(grid.zone().name()));
    match grid.period() {
        Period::Fixed(size) => {
            let offset = offset.rem_euclid(size.max(1));
            format!("fixed({size}us, offset({offset}us))")
        }
        Period::Days(count) => format!("days({count}, offset({offset}us), {zone})"),
        Period::BusinessDays => format!("business_days(offset({offset}us), {zone})"),
        Period::Months(count) => {
            let (phase, day) = grid.month_anchor();
            let day = match day {
                MonthDay::FromFirst(day) => format!("from_first({day})"),
                MonthDay::FromLast(days) => format!("from_last({days})"),
            };
            format!("months({count}, phase({phase}), {day}, offset({offset}us), {zone})")
        }
    }
}
