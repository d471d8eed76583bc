//! `CREATE TABLE`: sources, which have columns and a watermark, and sinks,
//! which have neither.

use std::time::Duration;

use sqlparser::tokenizer::Span;
use tidecast_stream::{ClientProperties, EpochUnit, Tombstones, secret};

use super::columns::{metadata, schema, watermark};
use super::formats;
use super::options::OptionReader;
use super::rules::{FILE_SINK, FILE_SOURCE, KAFKA_SINK, KAFKA_SOURCE, STDOUT_SINK};
use super::startup::startup;
use crate::dialect::{ColumnList, OptionList, TableStatement};
use crate::error::{Problem, did_you_mean, one_of};
use crate::spec::{
    Delivery, FileFormat, FileOptions, KafkaSinkOptions, KafkaSourceOptions, LostRecords,
    SinkConnector, SinkTable, SourceConnector, SourceTable, StartupMode,
};

/// `'idle.timeout'` when the table does not say: a stream that stops shows its
/// last window half a minute later.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// `'max.future'` when the table does not say: more than clocks drift, less
/// than a wrong year.
const DEFAULT_MAX_FUTURE: Duration = Duration::from_secs(3_600);

/// `'max.past'` when the table does not say: longer than what is replayed, less than
/// what lies between today and 1970, where empty times and wrong units end.
const DEFAULT_MAX_PAST: Duration = Duration::from_secs(50 * 365 * 86_400);

/// librdkafka settings that Tidecast sets itself, and what to say instead.
const OWN_PROPERTIES: [(&str, &str); 7] = [
    ("auto.offset.reset", "use 'scan.startup.mode'"),
    ("enable.auto.commit", "offsets are committed with the forecasts"),
    ("enable.auto.offset.store", "offsets are committed with the forecasts"),
    ("enable.idempotence", "use 'delivery'"),
    ("transactional.id", "use 'delivery'; the id follows from the pipeline"),
    ("enable.partition.eof", "the source needs it"),
    ("isolation.level", "the source reads committed records"),
];

/// A sink and what it left open.
#[derive(Debug, Clone)]
pub(super) struct PlannedSink {
    pub(super) table: SinkTable,
    /// Where `'delivery'` is said, if it is.
    pub(super) delivery_span: Option<Span>,
}

/// Returns the source that `CREATE TABLE` with columns declares.
pub(super) fn source_table(
    statement: &TableStatement,
    columns: &ColumnList,
    problems: &mut Vec<Problem>,
) -> Option<SourceTable> {
    let schema = schema(columns, problems);
    let metadata = metadata(columns, problems);
    let fields = columns.columns.iter().filter(|column| column.metadata.is_none()).count();
    let watermark = watermark(&statement.name, columns, &schema, problems);
    let place = statement.name.span;
    let options = &statement.options;
    let (mut max_future, mut max_past) = (None, None);
    let (timestamp_unit, paths);
    let connector = match connector(options, place, &["kafka", "filesystem"], problems)? {
        "kafka" => {
            let reader = OptionReader::new(options, KAFKA_SOURCE, problems);
            max_future =
                reader.duration("max.future", true, problems).unwrap_or(Some(DEFAULT_MAX_FUTURE));
            max_past =
                reader.duration("max.past", true, problems).unwrap_or(Some(DEFAULT_MAX_PAST));
            timestamp_unit = epoch_unit(&reader, problems);
            paths = formats::field_columns(&reader, columns, problems);
            let options = kafka_source(&reader, place, fields, problems);
            if let Some(options) = &options {
                let format = &options.format;
                formats::check_paths(&reader, format.name(), format.is_nested(), problems);
            }
            options.map(|options| SourceConnector::Kafka(Box::new(options)))
        }
        _ => {
            let reader = OptionReader::new(options, FILE_SOURCE, problems);
            timestamp_unit = epoch_unit(&reader, problems);
            paths = formats::field_columns(&reader, columns, problems);
            let said = columns.columns.iter().find_map(|column| column.metadata.as_ref());
            if let Some(said) = said {
                let message = "a row of a file has no key, headers or timestamp beside its columns, \
                               expected no METADATA in a filesystem table";
                problems.push(Problem::new(said.span, message));
            }
            let options = file_options(&reader, place, problems);
            if let Some(FileOptions { format, .. }) = &options {
                let is_nested = *format == FileFormat::JsonLines;
                formats::check_paths(&reader, format.name(), is_nested, problems);
            }
            options.map(SourceConnector::Filesystem)
        }
    };
    let (watermark, connector) = (watermark?, connector?);
    let name = statement.name.value.clone();
    Some(SourceTable {
        name,
        schema,
        metadata,
        fields: paths,
        watermark,
        connector,
        max_future,
        max_past,
        timestamp_unit,
    })
}

/// Returns what numbers count in columns of times, if `'timestamp.unit'` says so.
fn epoch_unit(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) -> Option<EpochUnit> {
    let choices = [
        ("auto", None),
        ("s", Some(EpochUnit::Seconds)),
        ("ms", Some(EpochUnit::Milliseconds)),
        ("us", Some(EpochUnit::Microseconds)),
        ("ns", Some(EpochUnit::Nanoseconds)),
    ];
    reader.choice("timestamp.unit", &choices, &[], problems).flatten()
}

/// Returns the sink that `CREATE TABLE` without columns declares.
pub(super) fn sink_table(
    statement: &TableStatement,
    problems: &mut Vec<Problem>,
) -> Option<PlannedSink> {
    let place = statement.name.span;
    let options = &statement.options;
    let mut delivery_span = None;
    let connectors = ["kafka", "filesystem", "stdout"];
    let connector = match connector(options, place, &connectors, problems)? {
        "kafka" => {
            let reader = OptionReader::new(options, KAFKA_SINK, problems);
            delivery_span = reader.span("delivery");
            kafka_sink(&reader, place, problems).map(SinkConnector::Kafka)
        }
        "filesystem" => {
            let reader = OptionReader::new(options, FILE_SINK, problems);
            layout(&reader, problems);
            let options = file_options(&reader, place, problems);
            if let Some(FileOptions { path, .. }) = &options
                && path.to_lowercase().ends_with(".gz")
            {
                problems.push(Problem::new(
                    reader.span("path").unwrap_or(place),
                    format!("`{path}`: forecasts are written as they are, not packed; expected a name without `.gz`"),
                ));
            }
            options.map(SinkConnector::Filesystem)
        }
        _ => {
            let reader = OptionReader::new(options, STDOUT_SINK, problems);
            layout(&reader, problems);
            json_format(&reader, problems);
            Some(SinkConnector::Stdout)
        }
    };
    let table = SinkTable { name: statement.name.value.clone(), connector: connector? };
    Some(PlannedSink { table, delivery_span })
}

/// Returns the value of `'connector'`, one of `known`.
fn connector<'a>(
    options: &'a OptionList,
    place: Span,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<&'a str> {
    let Some((_, value)) = options.pairs.iter().find(|(key, _)| key.value == "connector") else {
        problems.push(Problem::new(
            place,
            format!("option `connector` is missing, expected {}", one_of(known.iter().copied())),
        ));
        return None;
    };
    if known.contains(&value.value.as_str()) {
        return Some(&value.value);
    }
    let remedy = did_you_mean(&value.value, known.iter().copied());
    let wanted = one_of(known.iter().copied());
    let message = if value.value == "stdout" {
        format!("a source cannot read from `stdout`, expected {wanted}")
    } else {
        format!("unknown connector `{}`, expected {wanted}{remedy}", value.value)
    };
    problems.push(Problem::new(value.span, message));
    None
}

/// `fields` are the columns that a record's value has to fill.
fn kafka_source(
    reader: &OptionReader<'_>,
    place: Span,
    fields: usize,
    problems: &mut Vec<Problem>,
) -> Option<KafkaSourceOptions> {
    let format = formats::value_format(reader, place, fields, problems);
    let startup = startup(reader, problems);
    let lost_records = reader.choice(
        "lost.records",
        &[("skip", LostRecords::Skip), ("fail", LostRecords::Fail)],
        &[],
        problems,
    );
    let tombstones = reader.choice(
        "tombstones",
        &[("bad", Tombstones::Bad), ("skip", Tombstones::Skip)],
        &[],
        problems,
    );
    let mut properties = own_properties(reader, problems);
    let bootstrap_servers = either("bootstrap.servers", reader, &mut properties, problems);
    let group_id = either("group.id", reader, &mut properties, problems);
    let idle_timeout =
        reader.duration("idle.timeout", true, problems).unwrap_or(Some(DEFAULT_IDLE_TIMEOUT));
    let late_topic = reader.filled("late.topic", problems);
    let bad_topic = reader.filled("bad.topic", problems);
    let topic = reader.required("topic", place, problems)?;
    for (option, other) in [("late.topic", &late_topic), ("bad.topic", &bad_topic)] {
        if other.as_deref() == Some(topic.as_str()) {
            problems.push(Problem::new(
                reader.span(option).unwrap_or(place),
                format!(
                    "option `{option}` is `{topic}`, the topic that is read, expected another one"
                ),
            ));
        }
    }
    Some(KafkaSourceOptions {
        topic,
        format,
        schema_registry: formats::schema_registry(reader),
        tombstones: tombstones.unwrap_or_default(),
        bootstrap_servers,
        group_id,
        startup: startup.unwrap_or(StartupMode::Earliest),
        lost_records: lost_records.unwrap_or(LostRecords::Skip),
        idle_timeout,
        late_topic,
        bad_topic,
        properties,
    })
}

fn kafka_sink(
    reader: &OptionReader<'_>,
    place: Span,
    problems: &mut Vec<Problem>,
) -> Option<KafkaSinkOptions> {
    let format = formats::forecast_format(reader, problems);
    let delivery = reader.choice(
        "delivery",
        &[("exactly-once", Delivery::ExactlyOnce), ("at-least-once", Delivery::AtLeastOnce)],
        &["at-most-once", "none"],
        problems,
    );
    let mut properties = own_properties(reader, problems);
    let bootstrap_servers = either("bootstrap.servers", reader, &mut properties, problems);
    Some(KafkaSinkOptions {
        topic: reader.required("topic", place, problems)?,
        format,
        schema_registry: formats::schema_registry(reader),
        bootstrap_servers,
        delivery: delivery.unwrap_or(Delivery::ExactlyOnce),
        properties,
    })
}

fn own_properties(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) -> ClientProperties {
    let mut properties = ClientProperties::default();
    for (name, (span, value)) in reader.properties() {
        if let Some((_, instead)) = OWN_PROPERTIES.iter().find(|(own, _)| *own == name) {
            problems.push(Problem::new(
                span,
                format!(
                    "librdkafka's `{name}` is set by Tidecast, expected no such property: {instead}"
                ),
            ));
            continue;
        }
        let other = secret::other_name(name);
        if properties.get(&other).is_some() {
            let message = format!("`properties.{name}` says again what `properties.{other}` says");
            problems.push(Problem::new(span, format!("{message}, expected one")));
        }
        properties.insert(name, value.value.clone());
    }
    properties
}

/// Returns option `name`, or the property of that name, which is Flink's way
/// to say it.
fn either(
    name: &str,
    reader: &OptionReader<'_>,
    properties: &mut ClientProperties,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let property = properties.remove(name);
    let option = reader.filled(name, problems);
    if let (Some(_), Some(_), Some(span)) = (&option, &property, reader.span(name)) {
        problems.push(Problem::new(
            span,
            format!("`{name}` is given twice, expected it without `properties.{name}`"),
        ));
    }
    option.or(property)
}

fn json_format(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    let later = ["avro", "avro-confluent", "arrow", "arrow-ipc", "protobuf", "csv", "raw"];
    let _json_is_the_only_one: Option<()> =
        reader.choice("format", &[("json", ())], &later, problems);
}

fn layout(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    let _nested_is_the_only_one: Option<()> =
        reader.choice("layout", &[("nested", ())], &["long"], problems);
}

fn file_options(
    reader: &OptionReader<'_>,
    place: Span,
    problems: &mut Vec<Problem>,
) -> Option<FileOptions> {
    let format = reader.choice(
        "format",
        &[
            ("csv", FileFormat::Csv),
            ("json", FileFormat::JsonLines),
            ("jsonl", FileFormat::JsonLines),
            ("parquet", FileFormat::Parquet),
        ],
        &["avro", "arrow", "orc"],
        problems,
    );
    let path = reader.required("path", place, problems)?;
    if let Some(format) = format {
        return Some(FileOptions { path, format });
    }
    if reader.text("format").is_some() {
        return None;
    }
    let Some(format) = FileFormat::of_path(path.as_ref()) else {
        problems.push(Problem::new(
            reader.span("path").unwrap_or(place),
            format!(
                "the name of `{path}` does not tell its format, expected .csv, .tsv, .txt, .jsonl, \
                 .ndjson or .json, each also with .gz, or .parquet, or option `format`"
            ),
        ));
        return None;
    };
    Some(FileOptions { path, format })
}

/// Whether two lists of brokers may be of one cluster: equal, or one left to the
/// configuration.
pub(super) fn same_cluster(left: Option<&str>, right: Option<&str>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => {
            let brokers = |text: &str| {
                let mut names: Vec<_> = text.split(',').map(|b| b.trim().to_owned()).collect();
                names.sort();
                names
            };
            brokers(left) == brokers(right)
        }
        _ => true,
    }
}
