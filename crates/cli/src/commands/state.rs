//! `tidecast state`: the snapshots that exist.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;
use tidecast_engine::{SnapshotFile, SnapshotStore};
use tidecast_sql::window::read_head;
use tokio::runtime::Runtime;

use crate::arguments::{ConfigArguments, StateCommand};
use crate::commands::{configuration, counted};
use crate::print::{line, note};

/// Runs `tidecast state`.
///
/// # Errors
/// If there is no store, or it refuses.
pub fn run(command: &StateCommand) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        StateCommand::Ls { pipeline, json, config } => {
            let (store, _) = store(config)?;
            let files = runtime.block_on(store.list(pipeline.as_deref(), None))?;
            list(&files, *json);
            Ok(())
        }
        StateCommand::Inspect { snapshot, config } => inspect(&runtime, snapshot, config),
        StateCommand::Gc { pipeline, keep, dry_run, config } => {
            let keep = usize::from(*keep);
            collect(&runtime, pipeline.as_deref(), keep, *dry_run, config)
        }
    }
}

fn store(config: &ConfigArguments) -> anyhow::Result<(SnapshotStore, String)> {
    let config = configuration(config)?;
    let Some(url) = config.state.url.url() else {
        bail!("`state.url` is `off`: there are no snapshots");
    };
    Ok((SnapshotStore::open(url)?, url.to_owned()))
}

fn list(files: &[SnapshotFile], as_json: bool) {
    let now = SystemTime::now();
    if as_json {
        let files: Vec<_> = files
            .iter()
            .map(|file| {
                json!({
                    "name": file.name(),
                    "pipeline": file.pipeline,
                    "topic": &*file.partition.topic,
                    "partition": file.partition.number,
                    "offset": file.offset.0,
                    "bytes": file.bytes,
                    "age_s": age(file, now).as_secs(),
                })
            })
            .collect();
        line(format_args!("{}", json!(files)));
        return;
    }
    if files.is_empty() {
        note(format_args!("no snapshots"));
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["pipeline", "partition", "offset", "KiB", "age", "name"]);
    for file in files {
        let age = Duration::from_secs(age(file, now).as_secs());
        table.add_row([
            file.pipeline.clone(),
            file.partition.to_string(),
            file.offset.0.to_string(),
            file.bytes.div_ceil(1024).to_string(),
            humantime::format_duration(age).to_string(),
            file.name().to_owned(),
        ]);
    }
    for number in [2, 3] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(format_args!("{table}"));
}

fn age(file: &SnapshotFile, now: SystemTime) -> Duration {
    now.duration_since(file.written).unwrap_or_default()
}

fn inspect(runtime: &Runtime, name: &str, config: &ConfigArguments) -> anyhow::Result<()> {
    let (store, url) = store(config)?;
    let files = runtime.block_on(store.list(None, None))?;
    let file = files.iter().find(|file| file.name() == name).with_context(|| {
        format!("no snapshot `{name}` in `{url}`; `tidecast state ls` lists their names")
    })?;
    let content = runtime.block_on(store.read(file))?;
    let content = content.with_context(|| {
        format!(
            "`{name}` is damaged: its content is not what was written; a restart passes it over"
        )
    })?;
    let head = read_head(&content).with_context(|| format!("`{name}`"))?;
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("offset", head.offset.to_string()),
        ("read from", head.read_from().to_string()),
        ("open windows", text(head.open_windows().map(|windows| windows.to_string()))),
        ("watermark", text(head.watermark.event_time().map(|time| time.to_string()))),
        ("series", head.series.to_string()),
        ("bytes", file.bytes.to_string()),
        ("format", head.format.to_string()),
    ];
    for (name, value) in rows {
        line(format_args!("{name:<22} {value}"));
    }
    for (name, value) in &head.identity {
        let mut lines = value.lines();
        line(format_args!("{name:<22} {}", lines.next().unwrap_or_default()));
        lines.for_each(|more| line(format_args!("{:<22} {more}", "")));
    }
    Ok(())
}

fn collect(
    runtime: &Runtime,
    pipeline: Option<&str>,
    keep: usize,
    is_dry: bool,
    config: &ConfigArguments,
) -> anyhow::Result<()> {
    let (store, _) = store(config)?;
    let files = runtime.block_on(store.list(pipeline, None))?;
    let (mut kept, mut bytes, mut deleted) = (0, 0, 0);
    let mut last = None;
    for file in &files {
        let place = (&file.pipeline, &file.partition);
        kept = if last == Some(place) { kept + 1 } else { 1 };
        last = Some(place);
        if kept <= keep {
            continue;
        }
        if !is_dry {
            runtime.block_on(store.delete(file))?;
        }
        line(format_args!("{}", file.name()));
        (bytes, deleted) = (bytes + file.bytes, deleted + 1);
    }
    let what = counted(deleted, "snapshot", "snapshots");
    let done = if is_dry { "would be deleted" } else { "deleted" };
    note(format_args!("{what} of {} KiB {done}", bytes.div_ceil(1024)));
    Ok(())
}
