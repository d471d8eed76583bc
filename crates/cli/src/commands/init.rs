//! `init`: a pipeline for a topic, proposed from what is in it.

mod choice;
mod columns;
mod script;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tidecast_engine::MODELS;
use tidecast_formats::outline::{OutlineError, outline};
use tidecast_formats::schemas::SchemaSource;
use tidecast_kafka::tools::{Isolation, ReadFrom, Record, TopicReader};
use tidecast_kafka::{SchemaCache, SchemaRegistry};
use tidecast_sql::parse_scripts;
use tidecast_stream::ClientProperties;

use self::choice::Choice;
use self::columns::Sample;
use self::script::Names;
use crate::arguments::InitArguments;
use crate::commands::configuration;
use crate::print::{line, note};

/// How long records are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the schema registry is.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(15);

/// Runs `tidecast init`.
///
/// # Errors
/// If the topic or a schema cannot be read, nothing in it can be forecast, or the file is there
/// already.
pub fn run(arguments: &InitArguments) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?;
    let kafka = arguments.kafka.clone().unwrap_or_else(|| config.kafka.bootstrap_servers.clone());
    if let Some(path) = &arguments.output
        && path.exists()
        && !arguments.force
    {
        bail!("`{}` is there already; expected another --output, or --force", path.display());
    }
    let topic = &arguments.topic;
    let (records, partitions) = newest(&kafka, topic, arguments.records, &config.kafka.properties)?;
    if records.is_empty() {
        bail!(
            "topic `{topic}` has no records to look at; send some, or write the pipeline by hand \
             (`pipelines/demo.sql` is an example)"
        );
    }
    let mut settings = config.kafka.schema_registry.clone();
    if let Some(url) = &arguments.registry {
        settings.insert("url", url);
    }
    let mut registry = match settings.get("url") {
        Some(_) => {
            Some(SchemaRegistry::new(&settings, REGISTRY_PATIENCE, &SchemaCache::default())?)
        }
        None => None,
    };
    let payloads: Vec<Option<&[u8]>> =
        records.iter().map(|record| record.payload.as_deref()).collect();
    let source = registry.as_mut().map(|registry| registry as &mut dyn SchemaSource);
    let header = |index: usize, name: &str| records.get(index).and_then(|it| it.header_bytes(name));
    let outline = outline(&payloads, header, source).map_err(|error| match error {
        OutlineError::NoRegistry(number) => anyhow::anyhow!(
            "records of topic `{topic}` name schema {number}; say where the registry is: \
             --registry http://host:8081"
        ),
        other => anyhow::anyhow!("topic `{topic}`: {other}"),
    })?;
    let schemas = registry.map(|registry| Box::new(registry) as Box<dyn SchemaSource>);
    let sample =
        Sample::decode(&records, &outline, schemas).with_context(|| format!("topic `{topic}`"))?;
    let choice =
        Choice::of(&sample).map_err(|reason| anyhow::anyhow!("topic `{topic}`: {reason}"))?;
    let names = Names {
        topic,
        kafka: (kafka != config.kafka.bootstrap_servers).then_some(kafka.as_str()),
        registry: arguments.registry.as_deref(),
        name: arguments.name.as_deref(),
        partitions,
    };
    let script = script::write(&names, &outline, &sample, &choice);
    // What is proposed has to be right.
    let plans = parse_scripts(&[("proposed".to_owned(), script.clone())], &MODELS);
    plans.map_err(|errors| {
        anyhow::anyhow!("the proposed pipeline is wrong, which is a bug:\n{errors}")
    })?;
    write(arguments.output.as_deref(), &script, topic)?;
    for doubt in choice.doubts.iter().chain(&outline.remarks).chain(&sample.remarks) {
        note(format_args!("not sure: {doubt}"));
    }
    Ok(())
}

/// Returns the newest records of a topic, of each partition alike, and how many it has.
fn newest(
    kafka: &str,
    topic: &str,
    count: usize,
    properties: &ClientProperties,
) -> anyhow::Result<(Vec<Record>, usize)> {
    let open = |count| {
        let from = ReadFrom::Newest(count);
        TopicReader::open_with(kafka, topic, from, Isolation::ReadCommitted, properties)
    };
    let each = i64::try_from(count).unwrap_or(i64::MAX);
    let mut reader = open(each)?;
    let partitions = reader.partitions();
    if partitions > 1 {
        let share = each / i64::try_from(partitions).unwrap_or(i64::MAX);
        reader = open(share.max(20))?;
    }
    let mut records = reader.sample(count.max(20 * partitions), PATIENCE)?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok((records, partitions))
}

fn write(output: Option<&Path>, script: &str, topic: &str) -> anyhow::Result<()> {
    let Some(path) = output else {
        line(format_args!("{}", script.trim_end()));
        return Ok(());
    };
    std::fs::write(path, script).with_context(|| format!("cannot write `{}`", path.display()))?;
    note(format_args!("wrote a pipeline for topic `{topic}` to {}", path.display()));
    if std::io::stderr().is_terminal() {
        note(format_args!("read it, then: tidecast check {0} && tidecast run {0}", path.display()));
    }
    Ok(())
}
