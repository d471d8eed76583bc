//! Protobuf records, written byte by byte after its encoding's description.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema as ArrowSchema, TimeUnit,
    TimestampMicrosecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use tidecast_stream::{FieldColumn, ProtobufFormat, ValueFormat};

use super::*;
use crate::decode::{Decoded, Decoder};
use crate::schemas::{RegisteredSchema, SchemaKind};

struct Registry(HashMap<u32, RegisteredSchema>);

impl SchemaSource for Registry {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        let SchemaId::Registered(id) = id else { return Ok(None) };
        Ok(self.0.get(&id).cloned())
    }
}

const READINGS: &str = r#"
    syntax = "proto3";
    package meters;
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "units.proto";
    message Other { int32 x = 1; }
    message Reading {
      string site = 1;
      double kw = 2;
      optional sint64 count = 3;
      google.protobuf.Timestamp taken_at = 4;
      google.protobuf.DoubleValue level = 5;
      units.Unit unit = 6;
      Inner inner = 7;
      repeated float values = 8;
      uint64 total = 9;
      message Inner { float deep = 1; }
    }"#;

const UNITS: &str = "syntax = \"proto3\"; package units; enum Unit { UNKNOWN = 0; KILOWATT = 1; }";

fn table() -> Arc<ArrowSchema> {
    Arc::new(ArrowSchema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
        Field::new("takenat", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("level", DataType::Float64, true),
        Field::new("unit", DataType::Utf8, true),
        Field::new("deep", DataType::Float64, true),
        Field::new("total", DataType::Float64, true),
    ]))
}

fn format(framing: SchemaFraming, message: Option<&str>) -> ValueFormat {
    let message = message.map(str::to_owned);
    ValueFormat::Protobuf(ProtobufFormat { framing, schema: None, message })
}

fn decoder() -> Decoder {
    let schema = |kind, text: &str| RegisteredSchema {
        kind,
        text: text.to_owned(),
        references: vec![("units.proto".to_owned(), UNITS.to_owned())],
    };
    let registry = Registry(HashMap::from([
        (7, schema(SchemaKind::Protobuf, READINGS)),
        (8, schema(SchemaKind::Avro, "\"int\"")),
        (9, schema(SchemaKind::Protobuf, "message {")),
    ]));
    let config = DecoderConfig {
        format: format(SchemaFraming::Confluent, None),
        fields: vec![FieldColumn { column: 6, path: "$.inner.deep".parse().unwrap() }],
        ..DecoderConfig::new(table())
    };
    Decoder::new(config, Some(Box::new(registry))).unwrap()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7F) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn whole(field: u8, number: u64) -> Vec<u8> {
    [vec![field << 3], varint(number)].concat()
}

fn double(field: u8, number: f64) -> Vec<u8> {
    [vec![field << 3 | 1], number.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A record of the second message of schema 7.
fn framed(fields: &[Vec<u8>]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7, 2, 2][..], &fields.concat()].concat()
}

fn decode(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Decoded {
    let payloads: Vec<Payload<'_>> = payloads.iter().map(|bytes| Some(bytes.as_slice())).collect();
    decoder.decode(&payloads).unwrap()
}

fn floats(decoded: &Decoded, column: usize) -> Vec<Option<f64>> {
    decoded.rows.column(column).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn fields_are_columns_and_absent_ones_are_what_protobuf_says() {
    let time = [whole(1, 1_000), whole(2, 500_000_000)].concat();
    let deep = [vec![1 << 3 | 5], 0.5_f32.to_le_bytes().to_vec()].concat();
    let full = framed(&[
        bytes(1, "é".as_bytes()),
        double(2, 1.5),
        whole(3, 13), // -7, its sign the lowest bit
        bytes(4, &time),
        bytes(5, &double(1, 2.5)),
        whole(6, 1),
        bytes(7, &deep),
        bytes(8, &[0; 8]),
        whole(9, u64::MAX),
        bytes(15, b"of a later schema"),
    ]);
    let decoded = decode(&mut decoder(), &[full, framed(&[whole(6, 42), bytes(5, &[])])]);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let column = |index: usize| decoded.rows.column(index);
    assert_eq!(column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["é", ""]);
    assert_eq!(floats(&decoded, 1), [Some(1.5), Some(0.0)]);
    let counts: Vec<_> = column(2).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(counts, [Some(-7), None]);
    let times = column(3).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(1_000_500_000), None]);
    assert_eq!(floats(&decoded, 4), [Some(2.5), Some(0.0)]);
    let units: Vec<_> = column(5).as_string::<i32>().iter().flatten().collect();
    assert_eq!(units, ["KILOWATT", "42"]);
    assert_eq!(floats(&decoded, 6), [Some(0.5), None]);
    assert_eq!(floats(&decoded, 7), [Some(u64::MAX as f64), Some(0.0)]);
}

#[test]
fn a_bad_record_costs_itself_alone() {
    let good = framed(&[bytes(1, b"a"), double(2, 1.5)]);
    let all = [
        good.clone(),
        good[..good.len() - 1].to_vec(),
        vec![0, 0, 0, 0, 7],
        vec![0, 0, 0, 0, 7, 2, 8],
        vec![0, 0, 0, 0, 7, 2, 1],
        vec![0, 0, 0, 0, 8, 0],
        vec![0, 0, 0, 0, 9, 0],
        vec![0, 0, 0, 0, 10, 0],
        b"{}".to_vec(),
        good.clone(),
        // The first message of the file, which has none of the columns.
        vec![0, 0, 0, 0, 7, 0],
        framed(&[bytes(1, &[0xFF])]),
    ];
    let decoded = decode(&mut decoder(), &all);
    assert_eq!(decoded.indices, [0, 9], "{:?}", decoded.bad);
    assert_eq!(floats(&decoded, 1), [Some(1.5), Some(1.5)]);
    let reasons = [
        "no Protobuf message of type `meters.Reading`",
        "cut off in its message indexes",
        "[4] name no message",
        "below zero",
        "schema 8: it is Avro, expected Protobuf",
        "schema 9: it does not compile",
        "schema 10, which the schema registry does not have",
        "'format'='json'",
        "`site` is NOT NULL",
        "no Protobuf message",
    ];
    for ((index, error), reason) in decoded.bad.iter().zip(reasons) {
        assert!(error.contains(reason), "record {index}: {reason}: {error}");
    }
    assert_eq!(decoded.bad.len(), reasons.len());
}

#[test]
fn without_a_registry_the_table_says_schema_and_message() {
    let text = "syntax = \"proto3\"; package m; message A { double kw = 1; string site = 2; } \
                message B { string site = 1; }";
    let new = |schema: Option<&[u8]>, message: Option<&str>| {
        let config = DecoderConfig {
            format: format(SchemaFraming::None, message),
            own_schema: schema.map(<[u8]>::to_vec),
            ..DecoderConfig::new(table())
        };
        Decoder::new(config, None)
    };
    let mut compiler = protox::Compiler::with_file_resolver(Text(text));
    let set = compiler.open_file("a.proto").unwrap().encode_file_descriptor_set();
    for (schema, message) in [(text.as_bytes(), "A"), (&set, "m.A")] {
        let mut decoder = new(Some(schema), Some(message)).unwrap();
        let decoded = decode(&mut decoder, &[[double(1, 0.5), bytes(2, b"x")].concat()]);
        assert_eq!(floats(&decoded, 1), [Some(0.5)], "{:?}", decoded.bad);
    }
    for (schema, message, reason) in [
        (None, None, "there is none"),
        (Some(text.as_bytes()), None, "expected 'protobuf.message' to name one of `m.A`, `m.B`"),
        (Some(text.as_bytes()), Some("C"), "no message `C`"),
        (Some(b"message {".as_slice()), None, "does not compile"),
        (Some(&[0xFF, 0xFE]), None, "neither the text of a .proto file"),
        (Some(b"".as_slice()), None, "no message"),
    ] {
        let error = new(schema, message).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

/// Confluent's serializers for Python register descriptors rather than their text.
#[test]
fn a_registry_may_hand_out_descriptors_in_base64() {
    let encoded = |compiler: &mut protox::Compiler, name: &str| {
        let set = compiler.open_file(name).unwrap().file_descriptor_set();
        STANDARD.encode(set.file.last().unwrap().encode_to_vec())
    };
    let mut compiler = protox::Compiler::with_file_resolver(Text(UNITS));
    let units = encoded(&mut compiler, "units.proto");
    let messages = Messages::of_text(READINGS, &[("units.proto".to_owned(), units)]).unwrap();
    assert_eq!(messages.at(&[1, 0]).unwrap().full_name(), "meters.Reading.Inner");
    let error = Messages::of_text("AAAA", &[]).err().unwrap();
    assert!(error.contains("does not compile"), "{error}");
}

struct Text(&'static str);

impl protox::file::FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        protox::file::File::from_source(name, self.0)
    }
}

proptest! {
    /// Any bytes are a row or a bad record, and the records beside them what they are.
    #[test]
    fn no_bytes_harm_another_record(records in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..60), 1..8)
    ) {
        let good = framed(&[bytes(1, b"a"), double(2, 1.5)]);
        let mut all = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let head: &[u8] = match index % 3 {
                0 => &[0, 0, 0, 0, 7, 2, 2],
                1 => &[0, 0, 0, 0, 7],
                _ => &[],
            };
            all.push([head, record.as_slice()].concat());
            all.push(good.clone());
        }
        let decoded = decode(&mut decoder(), &all);
        let kw = floats(&decoded, 1);
        let mut good = 0;
        for (row, index) in decoded.indices.iter().enumerate() {
            if index % 2 == 1 {
                prop_assert_eq!(kw[row], Some(1.5));
                good += 1;
            }
        }
        prop_assert_eq!(good, records.len());
        prop_assert_eq!(decoded.indices.len() + decoded.bad.len(), all.len());
    }
}
