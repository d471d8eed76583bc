//! Logs: to standard error, as text or as JSON, one line an event.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogFormat;

/// Starts logging. `filter` is a level, or levels per module.
///
/// # Errors
/// If the filter cannot be read.
pub(crate) fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("log filter `{filter}`; expected `info` or `info,tidecast_kafka=debug`")
    })?;
    // A source leaves its group as soon as it is dropped; rdkafka then finds the
    // client closed already and reports that as an error of its own.
    let quiet = "rdkafka::consumer::base_consumer=off".parse().context("a built-in log filter")?;
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a second call can fail, and the first one's subscriber serves as well.
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    Ok(())
}
