//! What is told of samples.

use arrow::datatypes::DataType;
use tidecast_stream::CsvDialect;

use super::*;
use crate::schemas::RegisteredSchema;

fn told(records: &[&str]) -> Result<Outline, OutlineError> {
    let payloads: Vec<Payload<'_>> = records.iter().map(|record| Some(record.as_bytes())).collect();
    outline(&payloads, |_, _| None, None)
}

fn fields(outline: &Outline) -> Vec<(String, DataType)> {
    let fields = outline.fields.iter();
    fields.map(|field| (field.path.to_string(), field.data_type.clone())).collect()
}

fn expected(fields: &[(&str, DataType)]) -> Vec<(String, DataType)> {
    fields.iter().map(|(path, data_type)| ((*path).to_owned(), data_type.clone())).collect()
}

#[test]
fn fields_of_objects_are_told_with_their_types_and_where_they_are() {
    let outline = told(&[
        r#"{"id":"007","at":"2026-11-22T10:00:00Z","v":{"kW net":1,"on":true,"n":3},"x":null}"#,
        r#"{"id":"8","at":"2026-11-22 10:01","v":{"kW net":"2.5","n":4,"list":[1]},"note":7}"#,
        r#"{"note":"seven"}"#,
    ]);
    let outline = outline.unwrap();
    assert_eq!(outline.format, ValueFormat::Json);
    let expected = expected(&[
        ("$.id", DataType::Utf8),
        ("$.at", time()),
        ("$.v['kW net']", DataType::Float64),
        ("$.v.on", DataType::Boolean),
        ("$.v.n", DataType::Int64),
        ("$.note", DataType::Utf8),
    ]);
    assert_eq!(fields(&outline), expected);
    assert_eq!(outline.remarks, ["`$.v.list` is a list, which no column can be"]);
}

#[test]
fn a_list_of_readings_makes_the_rows() {
    let outline = told(&[
        r#"{"gateway":"g","tags":["a"],"data":{"readings":[{"id":"a","v":{"kw":1.5}},{"id":"b"}]}}"#,
        r#"{"gateway":"g","data":{"readings":[{"v":{"kw":2},"at":"2026-11-22T10:00:00Z"}]}}"#,
    ]);
    let outline = outline.unwrap();
    let expected = expected(&[
        ("$.gateway", DataType::Utf8),
        ("$.data.readings[*].id", DataType::Utf8),
        ("$.data.readings[*].v.kw", DataType::Float64),
        ("$.data.readings[*].at", time()),
    ]);
    assert_eq!(fields(&outline), expected);
    let remarks = [
        "`$.tags` is a list, which no column can be",
        "each element of `$.data.readings` is a row",
    ];
    assert_eq!(outline.remarks, remarks);
}

#[test]
fn change_events_numbers_and_lines_are_told_from_objects() {
    let change = r#"{"before":null,"after":{"id":"a","kw":1.5},"source":{"db":"x"},"op":"c"}"#;
    let deleted = r#"{"before":{"id":"a"},"after":null,"op":"d"}"#;
    let outline = told(&[change, deleted]).unwrap();
    assert_eq!(outline.format, ValueFormat::DebeziumJson);
    let kinds = [("$.id", DataType::Utf8), ("$.kw", DataType::Float64)];
    assert_eq!(fields(&outline), expected(&kinds));

    let outline = told(&["1.5", " 2 ", "-3e2"]).unwrap();
    assert_eq!(outline.format, ValueFormat::Raw);

    let outline = told(&["a;1,5;2026-11-22", "\"b;c\";2;2026-11-23", "d;;"]).unwrap();
    let dialect = CsvDialect { delimiter: b';', ..CsvDialect::default() };
    assert_eq!(outline.format, ValueFormat::Csv(dialect));
    let kinds =
        [("$.field_1", DataType::Utf8), ("$.field_2", DataType::Utf8), ("$.field_3", time())];
    assert_eq!(fields(&outline), expected(&kinds));
}

#[test]
fn what_cannot_be_told_is_said() {
    for (records, reason) in [
        (vec![], "expected some to look at"),
        (vec!["{\"a\":1}", "7"], "several formats, such as"),
        (vec!["hello"], "no format that is known: `hello`"),
        (vec!["\0\0\0\0\u{7}abc"], "name schema 7"),
        (vec!["[1,2"], "look like CSV"),
    ] {
        let outcome = told(&records);
        let error = match outcome {
            Err(error) => error.to_string(),
            // A line with a comma is CSV whatever is in it.
            Ok(outline) => format!("look like CSV: {outline:?}"),
        };
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert_eq!(outline(&[None, None], |_, _| None, None), Err(OutlineError::Empty));
}

struct Registry(RegisteredSchema);

impl SchemaSource for Registry {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        let SchemaId::Registered(id) = id else { return Ok(None) };
        Ok((id < 10).then(|| self.0.clone()))
    }
}

#[test]
fn fields_of_a_schema_are_those_that_it_names() {
    let avro = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":{"type":"enum","name":"E","symbols":["a"]}},
        {"name":"kw","type":["null","float"]},
        {"name":"n","type":"int"},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"v","type":{"type":"record","name":"V","fields":[{"name":"x","type":"double"}]}},
        {"name":"all","type":{"type":"array","items":{"type":"record","name":"L","fields":[
            {"name":"volts","type":"double"}]}}},
        {"name":"more","type":{"type":"array","items":"double"}},
        {"name":"tags","type":{"type":"map","values":"string"}}]}"#;
    let proto = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; \
                 import \"google/protobuf/wrappers.proto\"; message A {} message R { \
                 enum E { a = 0; } E id = 1; google.protobuf.FloatValue kw = 2; sint64 n = 3; \
                 google.protobuf.Timestamp at = 4; V v = 5; message V { double x = 1; } \
                 message L { double volts = 1; } repeated L all = 7; repeated double more = 8; \
                 map<string, string> tags = 6; }";
    let of = |kind, text: &str, record: &[u8]| {
        let text = text.to_owned();
        let mut registry = Registry(RegisteredSchema { kind, text, references: Vec::new() });
        outline(&[Some(record), Some(record)], |_, _| None, Some(&mut registry))
    };
    let kinds = expected(&[
        ("$.id", DataType::Utf8),
        ("$.kw", DataType::Float64),
        ("$.n", DataType::Int64),
        ("$.at", time()),
        ("$.v.x", DataType::Float64),
        ("$.all[*].volts", DataType::Float64),
    ]);
    for (kind, text, record, name) in [
        (SchemaKind::Avro, avro, &[0, 0, 0, 0, 7, 1][..], "avro-confluent"),
        // The second message of the file.
        (SchemaKind::Protobuf, proto, &[0, 0, 0, 0, 7, 2, 2], "protobuf-confluent"),
    ] {
        let outline = of(kind, text, record).unwrap();
        assert_eq!(outline.format.name(), name);
        assert_eq!(fields(&outline), kinds, "{name}");
        let [map, list, other] = outline.remarks.as_slice() else { panic!("{outline:?}") };
        assert!(map.starts_with("`$.tags` is "), "{map}");
        assert_eq!(list, "each element of `$.all` is a row");
        assert_eq!(other, "`$.more` is a list, which no column can be");
    }
    let error = of(SchemaKind::Avro, avro, &[0, 0, 0, 0, 11, 1]).unwrap_err();
    assert!(error.to_string().contains("schema 11: the schema registry does not have it"));
    let error = of(SchemaKind::Avro, "\"int\"", &[0, 0, 0, 0, 7, 1]).unwrap_err();
    assert!(error.to_string().contains("expected a record"), "{error}");
}
