//! What is said of a file that was read: on standard error, before any forecast.

use anyhow::bail;
use tidecast_stream::grid::Tz;
use tidecast_stream::printable;

use super::plan::{SaidSteps, SeriesPlan};
use super::rows::FileRows;
use crate::commands::counted;
use crate::print::note;

/// Series that are named where more have the same to be said of them.
pub(in crate::commands) const NAMED: usize = 5;

/// More of the rows than this could not be used: the forecasts are of something else
/// than the file.
const FEW: f64 = 0.02;

/// Says how many series and rows there are, and which steps they have.
pub(super) fn what_was_read(rows: &FileRows, plan: &SeriesPlan, said: SaidSteps) {
    if let Some(dialect) = &rows.dialect {
        note(format_args!("read as {dialect}"));
    }
    let observed = (0..rows.len()).filter(|row| rows.is_observed(*row)).count();
    let series = counted(rows.keys.len(), "series", "series");
    let observed = counted(observed, "row", "rows");
    match plan.groups.as_slice() {
        [only] => note(format_args!("{series}, {observed}, step {}", only.steps.grid)),
        groups => {
            let step = |group: &super::plan::Group| {
                let count = counted(group.series.len(), "series", "series");
                format!("{} ({count})", group.steps.grid)
            };
            let shown: Vec<String> = groups.iter().take(NAMED).map(step).collect();
            let more = match groups.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            note(format_args!("{series}, {observed}, steps {}{more}", shown.join(", ")));
        }
    }
    let found = plan.groups.iter().find(|group| group.steps.grid.zone() != Tz::UTC);
    if let (Some(found), None) = (found, said.zone) {
        note(format_args!(
            "the rows come at one time of day in {}, so its days are meant; --time-zone says another",
            found.steps.grid.zone().name()
        ));
    }
}

/// Says which rows are in no forecast.
///
/// # Errors
/// If `strict` and there are any.
pub(super) fn what_was_not(
    rows: &FileRows,
    plan: &SeriesPlan,
    names: &[String],
    strict: bool,
) -> anyhow::Result<()> {
    let mut unusable = Vec::new();
    if rows.bad.count > 0 {
        unusable.push(printable(&rows.bad.to_string()));
    }
    if let Some(row) = plan.set_aside.first() {
        let count = plan.set_aside.len();
        let series = series_of(rows, *row, names);
        unusable.push(format!(
            "{} so far from all others of the series that the time stands for none; the first at \
             {}{series}",
            match count {
                1 => "1 row lies".to_owned(),
                _ => format!("{count} rows lie"),
            },
            rows.time(*row)
        ));
    }
    for text in &unusable {
        note(format_args!("warning: {text}"));
    }
    if strict && !unusable.is_empty() {
        bail!("--strict: not every row of the file can be used");
    }
    Ok(())
}

fn series_of(rows: &FileRows, row: usize, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let series = rows.series.get(row).copied().unwrap_or(0);
    format!(" in series {}", rows.key_of(series as usize, names).label())
}

/// Returns what the last line says where more than a few rows could not be used.
pub(in crate::commands) fn share_left_out(rows: &FileRows) -> Option<String> {
    (rows.bad.share() > FEW).then(|| {
        format!(
            "warning: these forecasts are made without {} of {} rows ({:.0} %), which could not be \
             used (see above; --strict makes that an error)",
            rows.bad.count,
            rows.bad.total,
            rows.bad.share() * 100.0
        )
    })
}
