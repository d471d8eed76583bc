//! `check --live`: whether what pipelines read and write is there.

use std::collections::BTreeMap;

use anyhow::bail;
use tidecast_engine::{EngineConfig, sink_config, source_config};
use tidecast_kafka::tools::{Isolation, Probe, ReadFrom, TopicReader, probe};
use tidecast_kafka::{KafkaSinkConfig, SchemaCache, SchemaRegistry, SubjectState};
use tidecast_sql::PipelinePlan;

use super::counted;
use crate::print::line;

/// Records of each partition that are looked at.
const EACH: i64 = 100;

/// Reasons that are shown of records that cannot be used.
const SHOWN: usize = 3;

/// Looks at the topics of a pipeline and at the newest records of its source, and says what
/// it found.
///
/// # Errors
/// If a topic or schema cannot be read, no record is a row, or the registry would not take the
/// schema of the forecasts.
pub fn check(plan: &PipelinePlan, config: &EngineConfig) -> anyhow::Result<()> {
    if let Some(source) = source_config(plan, config) {
        let probe = probe(&source, EACH)?;
        say(&source.topic, &probe);
        if probe.usable == 0 && !probe.bad.is_empty() {
            bail!("none of the newest records of topic `{}` is a row of the table", source.topic);
        }
    }
    let Some(sink) = sink_config(plan, config) else { return Ok(()) };
    let topics = [Some(&sink.topic), sink.late_topic.as_ref(), sink.bad_topic.as_ref()];
    for topic in topics.into_iter().flatten() {
        let reader = TopicReader::open_with(
            &sink.bootstrap_servers,
            topic,
            ReadFrom::End,
            Isolation::ReadCommitted,
            &sink.properties,
        )?;
        let partitions = counted(reader.partitions(), "partition", "partitions");
        line(format_args!("  topic `{topic}` is there, {partitions}"));
    }
    subject(&sink)
}

/// Asks the registry for the schema of the forecasts, if their format needs it.
fn subject(sink: &KafkaSinkConfig) -> anyhow::Result<()> {
    let encoder = sink.encoder()?;
    let Some(schema) = encoder.schema().filter(|_| encoder.needs_schema_number()) else {
        return Ok(());
    };
    let subject = sink.subject();
    let registry =
        SchemaRegistry::new(&sink.schema_registry, sink.timeout, &SchemaCache::default())?;
    let state = match registry.state(&subject, &schema)? {
        SubjectState::Registered(number) => format!("has the forecasts' schema, number {number}"),
        SubjectState::Next => "has others, and takes the forecasts' schema at the start".to_owned(),
        SubjectState::First => "gets the forecasts' schema at the start".to_owned(),
    };
    line(format_args!("  subject `{subject}` {state}"));
    Ok(())
}

fn say(topic: &str, probe: &Probe) {
    let partitions = counted(probe.partitions, "partition", "partitions");
    if probe.records == 0 {
        line(format_args!("  topic `{topic}` is there, {partitions}, and has no records yet"));
        return;
    }
    line(format_args!(
        "  topic `{topic}` is there, {partitions}: of its {} {} can be used",
        counted(probe.records, "newest record", "newest records"),
        probe.usable
    ));
    if probe.tombstones > 0 {
        line(format_args!("    {} without a value are passed over", probe.tombstones));
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in &probe.bad {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in reasons.iter().take(SHOWN) {
        line(format_args!("    {count} cannot: {reason}"));
    }
    if reasons.len() > SHOWN {
        line(format_args!("    and others for {} more reasons", reasons.len() - SHOWN));
    }
    for absent in &probe.absent {
        line(format_args!("    {absent}"));
    }
}
