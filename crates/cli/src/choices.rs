//! What several commands let one choose.

use clap::{Args, ValueEnum};
use tidecast_stream::DomainRule;
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

/// The values that series can have. Unsaid, a long context of whole numbers, none of them
/// negative, is taken to be one of counts.
#[derive(Debug, Clone, Copy, Args)]
pub struct DomainArguments {
    /// No value is negative; `=false`: some may be, whatever the past says.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub non_negative: Option<bool>,
    /// Values are whole numbers; `=false`: they need not be.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub integer: Option<bool>,
    /// No value is below this.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub lower: Option<f64>,
    /// No value is above this.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub upper: Option<f64>,
}

impl DomainArguments {
    pub(crate) fn rule(self) -> DomainRule {
        let Self { non_negative, integer, lower, upper } = self;
        DomainRule { lower, upper, integer, non_negative }
    }
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
