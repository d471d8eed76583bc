//! What the value of a record is, and where in it columns stand.

use sqlparser::tokenizer::Span;
use tidecast_stream::{
    ApicurioId, AvroFormat, ClientProperties, CsvDialect, FieldColumn, FieldPath, ForecastEncoding,
    ForecastFormat, ForecastFraming, ForecastLayout, ProtobufFormat, SchemaFraming, SchemaText,
    ValueFormat,
};

use super::options::OptionReader;
use crate::dialect::ColumnList;
use crate::error::{Problem, did_you_mean, one_of};

/// How options begin that say where a column stands.
const FIELDS: &str = "fields.";

/// Which of a schema's numbers in Apicurio's registry records have, Apicurio's own option.
const USE_ID: &str = "apicurio.registry.use-id";

/// How options begin that say how the schema registry is reached.
const REGISTRY: &str = "schema.registry.";

/// The formats of a topic by their names, Flink's where it has them.
const FORMATS: [&str; 10] = [
    "json",
    "debezium-json",
    "csv",
    "avro",
    "avro-confluent",
    "avro-apicurio",
    "protobuf",
    "protobuf-confluent",
    "protobuf-apicurio",
    "raw",
];

/// Those that others have.
const LATER: [&str; 6] =
    ["debezium-avro-confluent", "canal-json", "maxwell-json", "ogg-json", "arrow", "arrow-ipc"];

/// Returns the format of a topic's records; `fields` are the columns that a value fills.
pub(super) fn value_format(
    reader: &OptionReader<'_>,
    place: Span,
    fields: usize,
    problems: &mut Vec<Problem>,
) -> ValueFormat {
    let choices = FORMATS.map(|name| (name, name));
    let said = reader.choice("format", &choices, &LATER, problems).unwrap_or("json");
    let mut schema = |name| reader.filled(name, problems).map(SchemaText::of);
    let (avro_schema, protobuf_schema) = (schema("avro.schema"), schema("protobuf.schema"));
    let message = reader.filled("protobuf.message", problems);
    let ids = [("globalId", ApicurioId::Global), ("contentId", ApicurioId::Content)];
    let apicurio_id = reader.choice(USE_ID, &ids, &[], problems);
    let csv = csv_dialect(reader, problems);
    let avro = |framing| ValueFormat::Avro(AvroFormat { framing, schema: avro_schema.clone() });
    let protobuf = |framing| {
        let (schema, message) = (protobuf_schema.clone(), message.clone());
        ValueFormat::Protobuf(ProtobufFormat { framing, schema, message })
    };
    let format = match said {
        "debezium-json" => ValueFormat::DebeziumJson,
        "csv" => ValueFormat::Csv(csv),
        "avro" => avro(SchemaFraming::None),
        "avro-confluent" => avro(SchemaFraming::Confluent),
        "avro-apicurio" => avro(SchemaFraming::Apicurio(apicurio_id)),
        "protobuf" => protobuf(SchemaFraming::None),
        "protobuf-confluent" => protobuf(SchemaFraming::Confluent),
        "protobuf-apicurio" => protobuf(SchemaFraming::Apicurio(apicurio_id)),
        "raw" => ValueFormat::Raw,
        _ => ValueFormat::Json,
    };
    let format_place = reader.span("format").unwrap_or(place);
    if said == "raw" && fields != 1 {
        let message = format!(
            "of format `raw` the value is one column, and this table has {fields} that are not \
             METADATA of the record, expected one"
        );
        problems.push(Problem::new(format_place, message));
    }
    for (format, option, form) in [
        ("avro", "avro.schema", "as JSON or the name of a file"),
        ("protobuf", "protobuf.schema", "as the name of a .proto file or a descriptor set"),
    ] {
        if said == format && reader.text(option).is_none() {
            let message = format!(
                "records of format `{format}` do not say how they were written, expected \
                 '{option}' with their schema, {form}; records that name a schema in a registry \
                 are of format `{format}-confluent`"
            );
            problems.push(Problem::new(format_place, message));
        }
    }
    for (options, formats) in [
        (["csv.field-delimiter", "csv.quote-character"].as_slice(), ["csv"].as_slice()),
        (&["avro.schema"], &["avro", "avro-confluent", "avro-apicurio"]),
        (&[USE_ID], &["avro-apicurio", "protobuf-apicurio"]),
        (&["protobuf.schema", "protobuf.message"], &["protobuf"]),
    ] {
        let others = options.iter().filter(|_| !formats.contains(&said));
        for (name, span) in others.filter_map(|name| Some((name, reader.span(name)?))) {
            let message = format!(
                "option `{name}` is for {}, and the format is `{said}`, expected that format or no \
                 such option",
                one_of(formats.iter().copied())
            );
            problems.push(Problem::new(span, message));
        }
    }
    format
}

fn csv_dialect(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) -> CsvDialect {
    let mut character = |name: &str, default: u8| {
        let Some(text) = reader.text(name) else { return default };
        match text.value.as_str() {
            "\\t" => b'\t',
            one => match one.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => *byte,
                _ => {
                    let message = format!(
                        "option `{name}` is `{one}`, expected one ASCII character such as `;`, or \
                         `\\t`"
                    );
                    problems.push(Problem::new(text.span, message));
                    default
                }
            },
        }
    };
    let default = CsvDialect::default();
    let delimiter = character("csv.field-delimiter", default.delimiter);
    let quote = character("csv.quote-character", default.quote);
    if let Some(text) = reader.text("csv.quote-character").filter(|_| delimiter == quote) {
        problems.push(Problem::new(text.span, "quotes are the delimiter, expected another one"));
    }
    CsvDialect { delimiter, quote }
}

/// Returns how a sink's topic is written.
pub(super) fn forecast_format(
    reader: &OptionReader<'_>,
    problems: &mut Vec<Problem>,
) -> ForecastFormat {
    let encodings = ForecastEncoding::ALL.map(|encoding| (encoding.name(), encoding));
    let later = ["csv", "raw", "debezium-json", "arrow", "arrow-ipc"];
    let encoding = reader.choice("format", &encodings, &later, problems).unwrap_or_default();
    let layouts = ForecastLayout::ALL.map(|layout| (layout.name(), layout));
    let layout = reader.choice("layout", &layouts, &[], problems).unwrap_or_default();
    let known = ["true", "false"].map(|word| (word, ()));
    let _checked: Option<()> =
        reader.choice("schema.registry.auto.register.schemas", &known, &[], problems);
    if encoding.framing() == ForecastFraming::None {
        for (name, (span, _)) in reader.beginning(REGISTRY) {
            let message = format!(
                "option `{REGISTRY}{name}` is for `avro-confluent` or `protobuf-confluent`, and \
                 the format is `{}`, expected one of those or no such option",
                encoding.name()
            );
            problems.push(Problem::new(span, message));
        }
    }
    ForecastFormat { encoding, layout }
}

/// Returns how the registry is reached, as far as the table says it.
pub(super) fn schema_registry(reader: &OptionReader<'_>) -> ClientProperties {
    let said = reader.beginning(REGISTRY);
    said.into_iter().map(|(name, (_, value))| (name, value.value.as_str())).collect()
}

/// Returns the columns that are fields inside of others, by `'fields.<column>'`.
pub(super) fn field_columns(
    reader: &OptionReader<'_>,
    columns: &ColumnList,
    problems: &mut Vec<Problem>,
) -> Vec<FieldColumn> {
    let mut found = Vec::new();
    for (name, (span, value)) in reader.beginning(FIELDS) {
        let column = columns.columns.iter().position(|column| column.name.value == name);
        let path = value.value.parse::<FieldPath>();
        let Some(column) = column else {
            let names = || columns.columns.iter().map(|column| column.name.value.as_str());
            let remedy = did_you_mean(name, names());
            let message = format!(
                "option `{FIELDS}{name}` names no column of the table, expected {}{remedy}",
                one_of(names())
            );
            problems.push(Problem::new(span, message));
            continue;
        };
        if let Some(from) = columns.columns.get(column).and_then(|it| it.metadata.as_ref()) {
            let message = format!(
                "column `{name}` is METADATA FROM '{}', expected that or `{FIELDS}{name}`",
                from.value
            );
            problems.push(Problem::new(span, message));
            continue;
        }
        match path {
            Ok(path) => found.push(FieldColumn { column, path }),
            Err(error) => {
                problems
                    .push(Problem::new(value.span, format!("option `{FIELDS}{name}`: {error}")));
            }
        }
    }
    found.sort_by_key(|field| field.column);
    let mut lists = found.iter().filter(|field| field.path.in_element().is_some());
    if let Some(first) = lists.next()
        && let Some(other) = lists.find(|it| it.path.segments() != first.path.segments())
    {
        let name = columns.columns.get(other.column).map_or("", |it| it.name.value.as_str());
        let option = format!("{FIELDS}{name}");
        let message = format!(
            "option `{option}` leads through another list than `{}`, expected the same, whose \
             elements are the rows",
            first.path
        );
        problems.push(Problem::new(reader.span(&option).unwrap_or_else(Span::empty), message));
    }
    found
}

/// Refuses columns inside of others where a format has none.
pub(super) fn check_paths(
    reader: &OptionReader<'_>,
    format: &str,
    is_nested: bool,
    problems: &mut Vec<Problem>,
) {
    if is_nested {
        return;
    }
    for (name, (span, _)) in reader.beginning(FIELDS) {
        let message = format!(
            "option `{FIELDS}{name}`: of format `{format}` a field has none inside, expected no \
             such option"
        );
        problems.push(Problem::new(span, message));
    }
}
