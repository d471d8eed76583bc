//! The commands, a file each.

pub mod backtest;
pub mod bench;
pub mod demo;
pub mod forecast;
pub mod init;
pub mod live;
pub mod model;
pub mod model_bench;
mod model_usage;
pub mod plan;
pub mod run;
pub mod series;
pub mod state;
pub mod tail;

use crate::arguments::ConfigArguments;
use crate::config::Config;
use crate::logging;
use crate::print::line;

/// Gathers the configuration: defaults, file, environment, flags.
///
/// # Errors
/// If any of them cannot be read or says something unknown.
pub fn configuration(arguments: &ConfigArguments) -> anyhow::Result<Config> {
    Ok(Config::load(arguments.config.as_deref(), std::env::vars_os(), &arguments.set)?)
}

/// Starts logging as configured; `level` is the command line's word.
///
/// # Errors
/// If the level cannot be read.
pub fn start_logging(config: &Config, level: Option<&str>) -> anyhow::Result<()> {
    logging::start(level.unwrap_or(&config.log.level), config.log.format)
}

/// Runs `tidecast config`.
///
/// # Errors
/// As [`configuration`].
pub fn print_configuration(arguments: &ConfigArguments) -> anyhow::Result<()> {
    line(format_args!("{}", configuration(arguments)?.to_toml()));
    Ok(())
}

/// Returns a number with its noun.
fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
