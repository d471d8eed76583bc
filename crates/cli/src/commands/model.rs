//! `model info` and `model verify`; `model bench` is beside this.

use std::path::Path;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidecast_forecast::{DownloadProgress, Provider};
use tidecast_moirai::verify::{Check, On, Status, verify};
use tidecast_moirai::{Moirai, load_with, spec};

use crate::arguments::{ModelCommand, UsageArguments};
use crate::commands::{model_bench, model_usage};
use crate::print::line;

/// Runs `tidecast model`.
///
/// # Errors
/// If the checkpoint cannot be loaded, or a check exceeds its tolerance; of
/// `bench`, see [`model_bench::run`].
pub fn run(command: &ModelCommand) -> anyhow::Result<()> {
    match command {
        ModelCommand::Info { model, accept_license, data, json } => {
            info(model, accept_license.as_deref(), data, *json)
        }
        ModelCommand::Bench(arguments) => model_bench::run(arguments),
        ModelCommand::Verify { model, golden, device, dtype, json } => {
            let on = On { device, dtype: *dtype };
            verify_model(model, golden, on, *json)
        }
    }
}

fn info(
    model: &str,
    accepted: Option<&str>,
    data: &UsageArguments,
    as_json: bool,
) -> anyhow::Result<()> {
    let spec = spec().with("path", model).with_some("license.accept", accepted);
    let mut loaded = load_with(&spec, &mut DownloadBar::default())?;
    let usage = model_usage::layers(&mut loaded, data)?;
    let info = loaded.info();
    if as_json {
        let mut info = info_json(&loaded);
        if let Some(layers) = usage {
            info["expert_usage"] = json!(layers);
        }
        line(format_args!("{info}"));
        return Ok(());
    }
    let patches: Vec<String> = loaded.patch_sizes().iter().map(usize::to_string).collect();
    let rows = [
        ("model", model.to_owned()),
        ("provider", info.provider.clone()),
        ("version", info.version.clone()),
        ("revision", info.revision.clone().unwrap_or_else(|| "none".to_owned())),
        ("architecture", info.architecture.clone()),
        ("parameters", with_thousands(info.parameters)),
        ("for one token", with_thousands(info.active_parameters)),
        ("weights", megabytes(info.weights_bytes)),
        ("in memory", megabytes(info.memory_bytes)),
        ("patch sizes", patches.join(", ")),
        (
            "context",
            info.recommended_context
                .map_or("not stated".to_owned(), |steps| format!("{steps} steps recommended")),
        ),
        ("licence", info.licence.clone().unwrap_or_else(|| "not stated".to_owned())),
        ("device", info.device.clone()),
        ("rollout", loaded.rollout().to_string()),
    ];
    for (name, value) in rows {
        line(format_args!("{name:<14} {value}"));
    }
    if let Some(layers) = usage {
        line(format_args!("\n{}", model_usage::table(&layers)));
    }
    Ok(())
}

fn info_json(model: &Moirai) -> serde_json::Value {
    let info = model.info();
    json!({
        "provider": info.provider,
        "path": info.path,
        "version": info.version,
        "revision": info.revision,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "active_parameters": info.active_parameters,
        "weights_bytes": info.weights_bytes,
        "memory_bytes": info.memory_bytes,
        "patch_sizes": model.patch_sizes(),
        "recommended_context": info.recommended_context,
        "licence": info.licence,
        "device": info.device,
        "rollout": model.rollout().to_string(),
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A bar on the terminal for a download from the hub.
#[derive(Default)]
pub(super) struct DownloadBar(Option<ProgressBar>);

impl DownloadProgress for DownloadBar {
    fn begin(&mut self, file: &str, bytes: u64) {
        let style = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} ({eta})";
        let bar = ProgressBar::new(bytes).with_message(file.to_owned());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        self.0 = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        self.0.iter().for_each(|bar| bar.inc(bytes));
    }

    fn finish(&mut self) {
        self.0.take().iter().for_each(ProgressBar::finish);
    }
}

fn with_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn verify_model(model: &Path, golden: &Path, on: On<'_>, as_json: bool) -> anyhow::Result<()> {
    let report = verify(model, golden, on, &mut |check| {
        if !as_json {
            line(format_args!("{}", check_line(check)));
        }
    })?;
    let (failed, unsupported) = (report.failed(), report.unsupported());
    let passed = report.checks.len() - failed - unsupported;
    if as_json {
        let checks: Vec<_> = report.checks.iter().map(check_json).collect();
        line(format_args!(
            "{}",
            json!({
                "passed": passed,
                "failed": failed,
                "unsupported": unsupported,
                "checks": checks,
            })
        ));
    } else {
        line(format_args!("{passed} passed, {failed} failed, {unsupported} unsupported"));
    }
    if !report.passed() {
        bail!("{failed} of {} checks exceed their tolerance", report.checks.len());
    }
    Ok(())
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Passed => "ok",
        Status::Failed => "FAILED",
        Status::Unsupported => "unsupported",
    }
}

fn check_line(check: &Check) -> String {
    let head =
        format!("{:<11} {:<38} {:<28}", status_word(check.status), check.file, check.quantity);
    match check.status {
        Status::Unsupported => format!("{head} {}", check.note),
        _ => format!(
            "{head} error {:>8.1e}  tolerance {:>8.1e}  {}",
            check.error, check.tolerance, check.note
        ),
    }
}

fn check_json(check: &Check) -> serde_json::Value {
    json!({
        "file": check.file,
        "quantity": check.quantity,
        "status": status_word(check.status).to_lowercase(),
        "error": check.error,
        "tolerance": check.tolerance,
        "note": check.note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(with_thousands(8_778_736), "8,778,736");
        assert_eq!(with_thousands(999), "999");
        assert_eq!(with_thousands(0), "0");
    }
}
