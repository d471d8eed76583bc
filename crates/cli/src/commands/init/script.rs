//! The pipeline as text, with its reasons.

use arrow::datatypes::DataType;
use tidecast_formats::outline::Outline;
use tidecast_sql::quote_identifier;
use tidecast_stream::column_type::sql_name;
use tidecast_stream::{SchemaFraming, SchemaText, ValueFormat};

use super::choice::{Choice, SeriesFrom, TimeFrom};
use super::columns::{Column, Sample};

/// The column that a record's key fills.
const KEY: &str = "record_key";

/// The column that Kafka's time fills.
const TIME: &str = "record_time";

/// What the script is about, and what it calls things.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) topic: &'a str,
    /// The brokers, where the configuration has others.
    pub(super) kafka: Option<&'a str>,
    /// The registry, where it was named.
    pub(super) registry: Option<&'a str>,
    /// The pipeline's name, if it was given one.
    pub(super) name: Option<&'a str>,
    pub(super) partitions: usize,
}

/// A text between SQL's quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name for what is made of the topic.
fn plain(topic: &str) -> String {
    let name: String = topic
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name,
        _ => format!("t_{name}"),
    }
}

/// Writes the pipeline.
pub(super) fn write(
    names: &Names<'_>,
    outline: &Outline,
    sample: &Sample,
    choice: &Choice,
) -> String {
    let table = plain(names.topic);
    let pipeline = names.name.map_or_else(|| format!("{table}_forecast"), plain);
    let series: Vec<String> = match &choice.series {
        SeriesFrom::Columns(places) => {
            places.iter().filter_map(|place| named(sample, *place)).collect()
        }
        SeriesFrom::Key => vec![KEY.to_owned()],
        SeriesFrom::Nothing => vec!["series".to_owned()],
    };
    let time = match choice.time {
        TimeFrom::Column(place) => named(sample, place).unwrap_or_default(),
        TimeFrom::Record => TIME.to_owned(),
    };
    let target = named(sample, choice.target).unwrap_or_default();
    let mut text = String::new();
    head(&mut text, names, sample, choice);
    source(&mut text, names, outline, sample, choice, &table, &time);
    let topic = names.topic;
    let brokers = names
        .kafka
        .map_or_else(String::new, |kafka| format!(",\n  'bootstrap.servers' = {}", quoted(kafka)));
    let forecasts = quoted(&format!("{topic}.forecasts"));
    text.push_str(&format!("-- Where forecasts go: one message for each series and step.\n\
         CREATE TABLE {table}_forecasts WITH (\n  'connector' = 'kafka',\n  'topic' = {forecasts}{brokers}\n);\n\n\
         -- The model that comes with the program, on the GPU if there is one.\n\
         CREATE MODEL {table}_model WITH ('provider' = 'moirai-moe', 'path' = 'builtin:tiny', 'device' = 'auto');\n\n"));
    view(&mut text, choice, &table, &series, &time, &target);
    let series: Vec<String> = series.iter().map(|name| quoted(&bare(name))).collect();
    let series = match series.as_slice() {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    text.push_str(&format!(
        "-- Whenever a step of a series closes, its next {horizon} steps.\n\
         CREATE PIPELINE {pipeline} AS\nINSERT INTO {table}_forecasts\nSELECT * FROM forecast(\n  \
           TABLE {table}_steps,\n  model => '{table}_model',\n  series => {series},\n  time => 'step',\n  \
           target => {target},\n  horizon => {horizon},\n  context => 512,\n  \
           quantiles => [0.1, 0.5, 0.9]\n);\n",
        horizon = choice.step.horizon,
        target = quoted(&bare(&target)),
    ));
    text
}

/// A name without the quotes of SQL.
fn bare(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    inner.map_or_else(|| name.to_owned(), |inner| inner.replace("\"\"", "\""))
}

fn named(sample: &Sample, place: usize) -> Option<String> {
    sample.columns.get(place).map(|column| quote_identifier(&column.name))
}

fn head(text: &mut String, names: &Names<'_>, sample: &Sample, choice: &Choice) {
    let topic = names.topic;
    text.push_str(&format!(
        "-- Forecasts of topic {topic}: proposed from its {} newest records in {} partition{},\n\
         -- which hold {} series. What was guessed:\n",
        sample.rows(),
        names.partitions,
        if names.partitions == 1 { "" } else { "s" },
        choice.count,
    ));
    for doubt in &choice.doubts {
        text.push_str(&format!("--   {}\n", doubt.replace('\n', " ")));
    }
    text.push('\n');
}

/// The source: the columns that are needed, and others that could be in comments.
fn source(
    text: &mut String,
    names: &Names<'_>,
    outline: &Outline,
    sample: &Sample,
    choice: &Choice,
    table: &str,
    time: &str,
) {
    let is_needed = |place: usize| {
        place == choice.target
            || choice.time == TimeFrom::Column(place)
            || matches!(&choice.series, SeriesFrom::Columns(places) if places.contains(&place))
    };
    let is_positional = Sample::is_positional(&outline.format);
    text.push_str(&format!("-- Where records come from.\nCREATE TABLE {table} (\n"));
    let mut paths = Vec::new();
    let mut left_out = Vec::new();
    for (place, column) in sample.columns.iter().enumerate() {
        if !is_needed(place) && !is_positional {
            left_out.push(column);
            continue;
        }
        let is_time = choice.time == TimeFrom::Column(place);
        let is_series =
            matches!(&choice.series, SeriesFrom::Columns(places) if places.contains(&place));
        let data_type = match (is_time, is_series) {
            (true, _) => "TIMESTAMP".to_owned(),
            // What names a series is its text, with every zero.
            (_, true) => "VARCHAR".to_owned(),
            _ => match column.data_type {
                DataType::Int64 if place == choice.target => "DOUBLE".to_owned(),
                ref other => sql_name(other),
            },
        };
        let not_null = if is_time || is_series { " NOT NULL" } else { "" };
        text.push_str(&format!("  {} {data_type}{not_null},\n", quote_identifier(&column.name)));
        if let Some(path) = &column.path {
            paths.push(format!(
                "  {} = {}",
                quoted(&format!("fields.{}", column.name)),
                quoted(&path.to_string())
            ));
        }
    }
    if choice.series == SeriesFrom::Key {
        text.push_str(&format!("  {KEY} VARCHAR NOT NULL METADATA FROM 'key',\n"));
    }
    if choice.time == TimeFrom::Record {
        text.push_str(&format!("  {TIME} TIMESTAMP NOT NULL METADATA FROM 'timestamp',\n"));
    }
    text.push_str(&format!("  WATERMARK FOR {time} AS {time} - INTERVAL {}\n", choice.delay));
    text.push_str(&format!(
        ") WITH (\n  'connector' = 'kafka',\n  'topic' = {},\n",
        quoted(names.topic)
    ));
    if let Some(kafka) = names.kafka {
        text.push_str(&format!("  'bootstrap.servers' = {},\n", quoted(kafka)));
    }
    text.push_str(&format!("  'format' = {},\n", quoted(outline.format.name())));
    if let ValueFormat::Csv(dialect) = &outline.format
        && dialect.delimiter != b','
    {
        let delimiter = match dialect.delimiter {
            b'\t' => "\\t".to_owned(),
            other => char::from(other).to_string(),
        };
        text.push_str(&format!("  'csv.field-delimiter' = {},\n", quoted(&delimiter)));
    }
    if let Some(registry) = names.registry
        && outline.format.framing() != SchemaFraming::None
    {
        text.push_str(&format!("  'schema.registry.url' = {},\n", quoted(registry)));
    }
    if let Some(SchemaText::Inline(schema)) = outline.format.schema() {
        text.push_str(&format!("  -- The newest schema, to which records of older ones are resolved.\n  'avro.schema' = {},\n",
            quoted(schema)));
    }
    for path in &paths {
        text.push_str(&format!("{path},\n"));
    }
    if sample.tombstones > 0 {
        text.push_str("  'tombstones' = 'skip',\n");
    }
    let topic = names.topic;
    text.push_str(&format!(
        "  -- Enough of what is there fills the contexts; nothing of it is forecast.\n  \
           'scan.startup.mode' = 'warm',\n  \
           -- Records that cannot be read, and rows that come too late: add topics for them.\n  \
           -- 'bad.topic' = {},\n  -- 'late.topic' = {},\n  'idle.timeout' = '30s'\n);\n",
        quoted(&format!("{topic}.bad")),
        quoted(&format!("{topic}.late")),
    ));
    if !left_out.is_empty() {
        let more: Vec<String> = left_out.iter().take(40).map(|column| described(column)).collect();
        text.push_str(&format!("-- Fields that are not in it: {}\n", more.join(", ")));
    }
    text.push('\n');
}

fn described(column: &Column) -> String {
    let at = column.path.as_ref().map_or_else(String::new, |path| format!(" at {path}"));
    format!("{} {}{at}", quote_identifier(&column.name), sql_name(&column.data_type))
        .replace('\n', " ")
}

/// The view: one row for each series and step.
fn view(
    text: &mut String,
    choice: &Choice,
    table: &str,
    series: &[String],
    time: &str,
    target: &str,
) {
    let list = series.join(", ");
    let (select, group) = match choice.series {
        SeriesFrom::Nothing => ("'all' AS series".to_owned(), "window_start".to_owned()),
        _ => (list.clone(), format!("{list}, window_start")),
    };
    let aggregate = choice.of_step.function();
    text.push_str(&format!("-- One row for each series and step. Any expression, WHERE and aggregate of SQL may stand here.\n\
         CREATE VIEW {table}_steps AS\n\
         SELECT {select}, window_start AS step, {aggregate}({target}) AS {target}\n\
         FROM TUMBLE(TABLE {table}, DESCRIPTOR({time}), INTERVAL {})\nGROUP BY {group};\n\n",
        choice.step.text));
}
