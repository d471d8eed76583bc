//! What several commands let one choose.

use clap::ValueEnum;
use tidecast_stream::grid::{self, Tz};

/// The rollouts that `tidecast model bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolloutChoice {
    /// The context is encoded once per series.
    Cached,
    /// The reference's loop: everything is encoded again for each patch.
    Exact,
    /// One after the other.
    Both,
}

/// Reads `name=value`.
pub(crate) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Reads the name of a time zone.
pub(crate) fn time_zone(name: &str) -> Result<Tz, String> {
    grid::zone(name).ok_or_else(|| {
        let nearest = grid::zone_names()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let nearest = nearest.map(|zone| format!("; did you mean `{zone}`?")).unwrap_or_default();
        format!("no time zone has that name, expected for instance `Europe/Berlin`{nearest}")
    })
}
