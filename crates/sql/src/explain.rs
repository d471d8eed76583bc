//! A plan in words, with every setting that has an effect.

use std::fmt::Write as _;
use std::time::Duration;

use arrow::datatypes::Schema;
use tidecast_stream::column_type::sql_name;
use tidecast_stream::{
    ApicurioId, ClientProperties, DomainRule, EpochUnit, FieldColumn, ForecastFormat,
    ForecastFraming, ForecastLayout, HorizonAggregate, MetadataColumn, OptionKind, OptionValue,
    SchemaFraming, SchemaText, TimeGrid, Tombstones, Unset, ValueFormat,
};

use crate::dialect::duration::{format_duration, format_micros};
use crate::spec::{
    Delivery, FileFormat, ForecastClause, KafkaSinkOptions, KafkaSourceOptions, LostRecords,
    ModelDefinition, PipelinePlan, Refresh, SinkConnector, SinkTable, SourceConnector, SourceTable,
    StartupMode,
};

const FROM_CONFIGURATION: &str = "from the configuration";

/// Returns the plan as text for people: what is read, how windows are made, what
/// is forecast with which settings, and where it goes. Defaults are shown like
/// what was asked for; what only the configuration decides says so.
pub fn explain(plan: &PipelinePlan) -> String {
    let mut page = Page(String::new());
    page.line(0, &format!("pipeline `{}`", plan.name));
    source(&mut page, plan);
    page.line(1, "windows, one set per partition");
    for step in plan.window.describe() {
        page.line(2, &step);
    }
    let output = columns(&plan.window.output_schema());
    page.setting("columns", &output);
    if matches!(plan.source.connector, SourceConnector::Kafka(_)) {
        page.setting("after a restart", &restart(plan));
    }
    forecast(&mut page, &plan.forecast);
    model(&mut page, &plan.model);
    sink(&mut page, &plan.sink);
    let commit = plan.options.commit_interval.map(format_duration);
    match &plan.source.connector {
        SourceConnector::Kafka(_) => {
            page.setting("commit interval", commit.as_deref().unwrap_or(FROM_CONFIGURATION));
        }
        SourceConnector::Filesystem(_) => page.setting("commits", "none: a file has no offsets"),
    }
    page.0
}

/// Returns how open windows come back after a restart.
fn restart(plan: &PipelinePlan) -> String {
    let functions = plan.window.without_saved_state();
    if functions.is_empty() || plan.forecast.looks_ahead() {
        return "open windows are in the snapshot".to_owned();
    }
    let named: Vec<String> = functions.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "open windows are read again from their first record: the state of {} cannot be \
         taken up to the bit",
        named.join(", ")
    )
}

/// Indented lines.
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        let indent = "  ".repeat(depth);
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.0, "{indent}{text}");
    }

    fn setting(&mut self, name: &str, value: &str) {
        self.line(2, &format!("{name}: {value}"));
    }

    fn properties(&mut self, properties: &ClientProperties) {
        for (name, value) in properties.shown() {
            self.setting(&format!("librdkafka {name}"), value);
        }
    }
}

fn source(page: &mut Page, plan: &PipelinePlan) {
    let SourceTable {
        name,
        schema,
        metadata,
        fields,
        watermark,
        connector,
        max_future,
        max_past,
        timestamp_unit,
    } = &plan.source;
    page.line(1, &format!("source `{name}`"));
    match connector {
        SourceConnector::Kafka(options) => kafka_source(page, options, plan),
        SourceConnector::Filesystem(options) => {
            page.setting("connector", "filesystem");
            page.setting("path", &options.path);
            page.setting("format", format_name(options.format));
        }
    }
    page.setting("columns", &columns(schema));
    if !metadata.is_empty() {
        let one = |it: &MetadataColumn| {
            let name = schema.fields().get(it.column).map_or("", |field| field.name());
            format!("{name} from {}", it.from)
        };
        page.setting("of the record", &metadata.iter().map(one).collect::<Vec<_>>().join(", "));
    }
    if !fields.is_empty() {
        let one = |it: &FieldColumn| {
            let name = schema.fields().get(it.column).map_or("", |field| field.name());
            format!("{name} at {}", it.path)
        };
        page.setting("inside of others", &fields.iter().map(one).collect::<Vec<_>>().join(", "));
    }
    page.setting("numbers as times", &epoch_numbers(*timestamp_unit, connector));
    let delay = match watermark.delay {
        Duration::ZERO => String::new(),
        delay => format!(", less {}", format_duration(delay)),
    };
    let condition = watermark.condition.as_ref();
    let rows = condition.map(|condition| format!(", of rows for which {condition}"));
    let rows = rows.unwrap_or_default();
    let column = &watermark.column;
    if plan.is_bounded() && !plan.forecast.looks_ahead() {
        page.setting("watermark", "at the end of the file: no row of it is late");
        return;
    }
    page.setting(
        "watermark",
        &format!("the greatest {column} of the partition so far{rows}{delay}"),
    );
    if plan.is_bounded() {
        page.setting(
            "rows too late for it",
            "left out and counted: what is known ahead is that of the rows before",
        );
        return;
    }
    let bound = |bound: &Option<Duration>, direction| match bound {
        Some(bound) => format!("{} {direction} the record's timestamp", format_duration(*bound)),
        None => "no bound".to_owned(),
    };
    page.setting("event time at most", &bound(max_future, "ahead of"));
    page.setting("event time at least", &bound(max_past, "behind"));
}

/// Returns what numbers mean in columns of times.
fn epoch_numbers(unit: Option<EpochUnit>, connector: &SourceConnector) -> String {
    match (unit, connector) {
        (Some(unit), _) => format!("{} since 1970, as said", unit.name()),
        (None, SourceConnector::Kafka(_)) => {
            "since 1970, in s, ms, us or ns by the size of each; below 100000000 refused".to_owned()
        }
        (None, SourceConnector::Filesystem(_)) => {
            "since 1970, in s, ms, us or ns by the size of the column's largest".to_owned()
        }
    }
}

fn value_format(format: &ValueFormat) -> String {
    let character = |byte: u8| match byte {
        b'\t' => "\\t".to_owned(),
        byte => char::from(byte).to_string(),
    };
    let name = format.name();
    let schema = |schema: &Option<SchemaText>| match schema {
        None => "each by the schema it was written with".to_owned(),
        Some(SchemaText::Inline(_)) => "by the schema of the table".to_owned(),
        Some(SchemaText::File(path)) => format!("by the schema in {path}"),
    };
    let number = |framing: SchemaFraming| match framing {
        SchemaFraming::Apicurio(Some(ApicurioId::Global)) => ", by its globalId",
        SchemaFraming::Apicurio(Some(ApicurioId::Content)) => ", by its contentId",
        _ => "",
    };
    match format {
        ValueFormat::Json => name.to_owned(),
        ValueFormat::Raw => format!("{name}: a record's value is a column by itself"),
        ValueFormat::DebeziumJson => {
            format!("{name}: the row behind the change; a delete has none")
        }
        ValueFormat::Csv(dialect) => format!(
            "{name}: columns in their order, `{}` between them, `{}` around",
            character(dialect.delimiter),
            character(dialect.quote)
        ),
        ValueFormat::Avro(avro) => {
            format!("{name}: records are read {}{}", schema(&avro.schema), number(avro.framing))
        }
        ValueFormat::Protobuf(protobuf) => {
            let message = protobuf.message.as_ref();
            let message = message.map_or_else(String::new, |name| format!(", message {name}"));
            let number = number(protobuf.framing);
            format!("{name}: records are read {}{message}{number}", schema(&protobuf.schema))
        }
    }
}

fn kafka_source(page: &mut Page, options: &KafkaSourceOptions, plan: &PipelinePlan) {
    let pipeline = &plan.name;
    page.setting("connector", "kafka");
    page.setting("topic", &options.topic);
    let servers = options.bootstrap_servers.as_deref();
    page.setting("bootstrap servers", servers.unwrap_or(FROM_CONFIGURATION));
    let group = options
        .group_id
        .clone()
        .unwrap_or_else(|| format!("tidecast-{pipeline}, unless the configuration names another"));
    page.setting("consumer group", &group);
    page.setting("format", &value_format(&options.format));
    if options.format.framing() != SchemaFraming::None {
        registry(page, &options.schema_registry);
    }
    let startup = match options.startup {
        StartupMode::Earliest => "from the earliest".to_owned(),
        StartupMode::Latest => "from the latest".to_owned(),
        StartupMode::Timestamp(time) => {
            format!("from the first record whose timestamp is {time} or later")
        }
        StartupMode::GroupOffsets => "the pipeline stops".to_owned(),
        StartupMode::Warm => format!(
            "from {} before now by the records' timestamps; what is there fills the contexts, and \
             nothing of it is forecast",
            format_duration(plan.history())
        ),
    };
    page.setting("without a committed offset", &startup);
    let lost = match options.lost_records {
        LostRecords::Skip => "passed over, with a warning and a count",
        LostRecords::Fail => "the pipeline stops",
    };
    page.setting("records that retention took first", lost);
    let tombstones = match options.tombstones {
        Tombstones::Bad => "bad ones",
        Tombstones::Skip => "counted and passed over",
    };
    page.setting("records without a value", tombstones);
    let idle = options.idle_timeout.map(format_duration);
    let idle = match idle {
        Some(idle) => {
            format!("a caught-up partition's windows close after {idle} without a record")
        }
        None => "windows close by event time only".to_owned(),
    };
    page.setting("idle timeout", &idle);
    let topic_or = |topic: &Option<String>| match topic {
        Some(topic) => format!("to topic {topic}"),
        None => "counted only".to_owned(),
    };
    page.setting("late rows", &topic_or(&options.late_topic));
    page.setting("bad records", &topic_or(&options.bad_topic));
    page.properties(&options.properties);
}

fn forecast(page: &mut Page, clause: &ForecastClause) {
    page.line(1, "forecast");
    let series = match clause.series.as_slice() {
        [] => "one, of all rows".to_owned(),
        names => names.join(", "),
    };
    page.setting("series", &series);
    page.setting("time", &clause.time);
    page.setting("target", &clause.targets.join(", "));
    if !clause.past_covariates.is_empty() {
        page.setting("past covariates", &clause.past_covariates.join(", "));
    }
    if !clause.future_covariates.is_empty() {
        page.setting("future covariates", &clause.future_covariates.join(", "));
        let ahead = match clause.refresh {
            Refresh::AtEnd => "from steps behind the last with a target",
            _ => "from windows that are still open, as they are when the forecast is made",
        };
        page.setting("their values ahead", ahead);
    }
    page.setting("step", &clause.step.describe());
    page.setting("context", &steps(clause.context, clause.step));
    page.setting("horizon", &steps(clause.horizon, clause.step));
    page.setting("least observed steps", &clause.min_context.to_string());
    page.setting("missing steps", &missing_steps(clause));
    let samples = clause.samples.map(|samples| samples.to_string());
    page.setting("samples", &samples.unwrap_or_else(|| "as many as suit the model".to_owned()));
    if clause.tells_samples {
        page.setting("output", "the sample paths, too");
    }
    if !clause.aggregates.is_empty() {
        page.setting("aggregates", &aggregates(clause));
    }
    page.setting("values", &domain(&clause.domain));
    let levels: Vec<_> = clause.quantiles.iter().map(f64::to_string).collect();
    page.setting("quantiles", &levels.join(", "));
    let refresh = match clause.refresh {
        Refresh::OnClose => "on_close: whenever a window of the series closes".to_owned(),
        Refresh::Every(count) => {
            format!("every {count} steps: when the step's index since the epoch is divisible by it")
        }
        Refresh::AtEnd => "at_end: once per series, when a bounded source ends".to_owned(),
    };
    page.setting("refresh", &refresh);
    page.setting("seed", "of pipeline, series, origin and model, whatever else is in the batch");
}

fn steps(count: usize, step: TimeGrid) -> String {
    let number = i64::try_from(count).unwrap_or(i64::MAX);
    let length = step.fixed_micros().and_then(|micros| micros.checked_mul(number));
    let unit = if count == 1 { "step" } else { "steps" };
    match length {
        Some(length) => format!("{count} {unit} ({})", format_micros(length)),
        None => format!("{count} {unit}"),
    }
}

/// What several steps come to, and of how many there are how many numbers.
fn aggregates(clause: &ForecastClause) -> String {
    let one = |aggregate: &HorizonAggregate| {
        let (name, steps) = (aggregate.function.name(), aggregate.steps_of(clause.horizon));
        match clause.horizon / steps {
            1 => format!("{name} of {steps} steps"),
            count => format!("{name} of each {steps} steps, {count} of them"),
        }
    };
    clause.aggregates.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What values are said to be possible, and what is left to the context.
fn domain(rule: &DomainRule) -> String {
    const COUNTS: &str = "where a long context holds only whole numbers, none of them negative, \
                          forecasts do, too";
    let DomainRule { lower, upper, integer, non_negative } = rule;
    let said = [
        non_negative.map(|said| if said { "not negative" } else { "negative, too" }.to_owned()),
        integer.map(|said| if said { "whole" } else { "whole or not" }.to_owned()),
        lower.map(|bound| format!("at least {bound}")),
        upper.map(|bound| format!("at most {bound}")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let nothing_is_left = integer.is_some() && (non_negative.is_some() || lower.is_some());
    match (said.is_empty(), nothing_is_left) {
        (true, _) => format!("any; {COUNTS}"),
        (false, true) => said.join(", "),
        (false, false) => format!("{}; {COUNTS}", said.join(", ")),
    }
}

fn missing_steps(clause: &ForecastClause) -> String {
    let zero = clause.targets.iter().zip(&clause.zero_filled).filter(|(_, zero)| **zero);
    let zero: Vec<&str> = zero.map(|(target, _)| target.as_str()).collect();
    let mut text = match zero.len() {
        0 => "masked: the model is told that they are missing".to_owned(),
        count if count == clause.targets.len() => "0: nothing happened".to_owned(),
        _ => format!("0 of {} (nothing happened), else masked", zero.join(", ")),
    };
    if !clause.unfilled_sums.is_empty() {
        let sums = clause.unfilled_sums.join(", ");
        text.push_str(&format!("; where no row means a sum of 0 ({sums}), say fill => 'zero'"));
    }
    text
}

fn model(page: &mut Page, model: &ModelDefinition) {
    page.line(1, &format!("model `{}`", model.name));
    page.setting("provider", model.family.name);
    for option in model.family.options {
        let Some(title) = option.title else { continue };
        match (model.options.get(option.name), option.unset) {
            (Some(OptionValue::Secret(secret)), _) => page.setting(title, &secret.to_string()),
            (Some(OptionValue::Text(value)), _) => match option.kind {
                OptionKind::Count { unit } => page.setting(title, &format!("{value} {unit}")),
                _ => page.setting(title, value),
            },
            (None, Unset::Value(words) | Unset::Decided(words)) => page.setting(title, words),
            (None, Unset::Silent) => {}
        }
    }
}

fn sink(page: &mut Page, table: &SinkTable) {
    page.line(1, &format!("sink `{}`", table.name));
    match &table.connector {
        SinkConnector::Kafka(options) => {
            page.setting("connector", "kafka");
            page.setting("topic", &options.topic);
            let servers = options.bootstrap_servers.as_deref();
            page.setting("bootstrap servers", servers.unwrap_or(FROM_CONFIGURATION));
            let ForecastFormat { encoding, layout } = options.format;
            let what = match layout {
                ForecastLayout::Nested => "one per series and origin, keyed by series",
                ForecastLayout::Long => "one per step and target, keyed by series",
            };
            page.setting("message", &format!("{}, {}: {what}", encoding.name(), layout.name()));
            if encoding.framing() != ForecastFraming::None {
                registration(page, options);
            }
            let delivery = match options.delivery {
                Delivery::ExactlyOnce => "exactly-once: forecasts and offsets in one transaction",
                Delivery::AtLeastOnce => "at-least-once: forecasts first, offsets after",
            };
            page.setting("delivery", delivery);
            page.properties(&options.properties);
        }
        SinkConnector::Filesystem(options) => {
            page.setting("connector", "filesystem");
            page.setting("path", &options.path);
            page.setting("format", format_name(options.format));
        }
        SinkConnector::Stdout => {
            page.setting("connector", "stdout");
            page.setting("message", "json lines, nested: one per series and origin");
        }
    }
}

/// Says where the schema of the forecasts is registered, and by whom.
fn registration(page: &mut Page, options: &KafkaSinkOptions) {
    let registers = match options.schema_registry.get("auto.register.schemas") {
        Some("false") => "has to be registered",
        _ => "registered when it starts",
    };
    page.setting("schema", &format!("subject {}-value, {registers}", options.topic));
    registry(page, &options.schema_registry);
}

fn registry(page: &mut Page, properties: &ClientProperties) {
    if properties.get("url").is_none() {
        page.setting("schema registry", FROM_CONFIGURATION);
    }
    for (name, value) in properties.shown() {
        page.setting(&format!("schema registry, {name}"), value);
    }
}

fn columns(schema: &Schema) -> String {
    let column = |field: &arrow::datatypes::FieldRef| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", field.name(), sql_name(field.data_type()))
    };
    schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

fn format_name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Csv => "csv",
        FileFormat::JsonLines => "json lines",
        FileFormat::Parquet => "parquet",
    }
}
