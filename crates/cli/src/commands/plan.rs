//! `check` and `explain`: pipelines without starting anything.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tidecast_engine::{EngineConfig, MODELS, acls, model_info, sink_config};
use tidecast_sql::{PipelinePlan, explain, parse_scripts};
use tidecast_stream::{ForecastFormat, ForecastLayout};

use crate::arguments::{ExplainArguments, PlanArguments};
use crate::commands::{configuration, live};
use crate::print::line;

/// What a message is in JSON.
const JSON_SCHEMA: &str = include_str!("../../../../docs/forecast-message.schema.json");

/// Runs `tidecast check`: configuration, scripts, and whether the models load.
///
/// # Errors
/// If a file cannot be read or anything in it is wrong.
pub fn check(arguments: &PlanArguments) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?.engine();
    let plans = load_plans(&arguments.files)?;
    for plan in &plans {
        model_info(&plan.model, config.model.threads)
            .with_context(|| format!("pipeline `{}`, model `{}`", plan.name, plan.model.name))?;
        if let Some(sink) = sink_config(plan, &config) {
            sink.encoder().with_context(|| format!("pipeline `{}`", plan.name))?;
        }
        line(format_args!("pipeline `{}` is fine", plan.name));
        if arguments.live {
            live::check(plan, &config).with_context(|| format!("pipeline `{}`", plan.name))?;
        }
    }
    Ok(())
}

/// Runs `tidecast explain`.
///
/// # Errors
/// If a file cannot be read or anything in it is wrong.
pub fn explain_plans(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?.engine();
    for plan in load_plans(&arguments.files)? {
        if arguments.acls {
            print_acls(&plan, &config, &arguments.principal);
            continue;
        }
        if arguments.schema {
            line(format_args!("{}", schema(&plan, &config)?.trim_end()));
            continue;
        }
        line(format_args!("{}", explain(&plan)));
        line(format_args!("{}", in_force(&plan, &config)));
    }
    Ok(())
}

/// Returns the schema of a pipeline's messages, for whoever reads them.
fn schema(plan: &PipelinePlan, config: &EngineConfig) -> anyhow::Result<String> {
    let place = || format!("pipeline `{}`", plan.name);
    let (format, schema) = match sink_config(plan, config) {
        Some(sink) => (sink.format, sink.encoder().with_context(place)?.schema()),
        None => (ForecastFormat::default(), None),
    };
    match (schema, format.layout) {
        (Some(schema), _) => Ok(schema.text),
        (None, ForecastLayout::Nested) => Ok(JSON_SCHEMA.to_owned()),
        (None, ForecastLayout::Long) => bail!(
            "pipeline `{}`: JSON in rows has no schema, expected 'layout'='nested', or Avro or \
             Protobuf",
            plan.name
        ),
    }
}

/// Prints what a pipeline needs to be allowed to, in lines for a shell.
fn print_acls(plan: &PipelinePlan, config: &EngineConfig, principal: &str) {
    let clusters = acls(plan, config);
    if clusters.is_empty() {
        line(format_args!("# pipeline `{}` has no Kafka and needs no ACLs", plan.name));
    }
    for cluster in clusters {
        line(format_args!("# pipeline `{}` on {}", plan.name, cluster.bootstrap_servers));
        line(format_args!(
            "# (with `--command-config FILE` where the administrator has to log in)"
        ));
        for command in cluster.commands(principal) {
            line(format_args!("{command}"));
        }
        line(format_args!(""));
    }
}

fn limit(set: Option<usize>) -> String {
    set.map_or("the device's".to_owned(), |limit| limit.to_string())
}

/// What the script leaves to the configuration and to the checkpoint.
fn in_force(plan: &PipelinePlan, config: &EngineConfig) -> String {
    let commit = plan.options.commit_interval.unwrap_or(config.pipeline.commit_interval);
    let limits = &config.model;
    let mut settings = vec![
        ("bootstrap.servers", config.kafka.bootstrap_servers.clone()),
        ("group.id", config.group_id(plan)),
        ("commit.interval", humantime::format_duration(commit).to_string()),
        (
            "model batches",
            format!(
                "at most {} tokens, {} series, {} of waiting",
                limit(limits.max_batch_tokens),
                limit(limits.max_batch_tasks),
                humantime::format_duration(limits.max_wait)
            ),
        ),
        ("drain timeout", humantime::format_duration(config.pipeline.drain_timeout).to_string()),
    ];
    match model_info(&plan.model, limits.threads) {
        Ok(info) => {
            settings.push(("model version", info.version));
            settings.push(("model", info.architecture));
            settings.push(("device", format!("{}, {} threads", info.device, info.threads)));
            settings.extend(info.settings);
            settings.extend(
                info.recommended_context
                    .map(|steps| ("best context", format!("{steps} steps, by the model card"))),
            );
        }
        // The rest of the explanation stands all the same.
        Err(error) => settings.push(("model", format!("cannot be loaded: {error}"))),
    }
    settings.into_iter().fold("in force\n".to_owned(), |text, (name, value)| {
        text + &format!("  {name:<18} {value}\n")
    })
}

/// Reads and plans pipeline files and folders of them.
///
/// # Errors
/// If a file cannot be read, none is found, or anything in them is wrong.
pub fn load_plans(paths: &[PathBuf]) -> anyhow::Result<Vec<PipelinePlan>> {
    let mut scripts = Vec::new();
    for file in sql_files(paths)? {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        scripts.push((file.display().to_string(), text));
    }
    let plans = parse_scripts(&scripts, &MODELS).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    if plans.is_empty() {
        bail!("no `CREATE PIPELINE` in {} file(s); there is nothing to run", scripts.len());
    }
    Ok(plans)
}

fn sql_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = sql_files_of(path)?;
            if found.is_empty() {
                bail!("no `.sql` file in `{}`", path.display());
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn sql_files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
