//! Avro against Apache's own implementation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use apache_avro::error::Details;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema as Written};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef,
    TimeUnit, TimestampMicrosecondType,
};
use proptest::prelude::*;
use tidecast_stream::{AvroFormat, FieldColumn, ValueFormat};

use super::*;
use crate::decode::{Decoded, Decoder};
use crate::schemas::{RegisteredSchema, SchemaKind};

/// Schemas by number, and what was asked for.
#[derive(Clone, Default)]
struct Registry {
    schemas: HashMap<u32, RegisteredSchema>,
    asked: Arc<Mutex<Vec<u32>>>,
}

impl Registry {
    fn with(mut self, number: u32, text: &str) -> Self {
        let schema = RegisteredSchema {
            kind: SchemaKind::Avro,
            text: text.to_owned(),
            references: Vec::new(),
        };
        self.schemas.insert(number, schema);
        self
    }
}

impl SchemaSource for Registry {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        let SchemaId::Registered(id) = id else { return Ok(None) };
        self.asked.lock().unwrap().push(id);
        match id {
            999 => Err(SchemaError::transient("the registry does not answer")),
            id => Ok(self.schemas.get(&id).cloned()),
        }
    }
}

const FIRST: &str = r#"{"type":"record","name":"Reading","namespace":"meters","fields":[
    {"name":"site","type":"string"},
    {"name":"tags","type":{"type":"map","values":["null","string"]}},
    {"name":"kw","type":["null","double"],"default":null},
    {"name":"count","type":"int"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;

fn table() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

fn avro(framing: SchemaFraming) -> ValueFormat {
    ValueFormat::Avro(AvroFormat { framing, schema: None })
}

fn decoder(table: SchemaRef, reader: Option<&str>, registry: &Registry) -> Decoder {
    let config = DecoderConfig {
        format: avro(SchemaFraming::Confluent),
        own_schema: reader.map(|text| text.as_bytes().to_vec()),
        capacity: 4,
        ..DecoderConfig::new(table)
    };
    Decoder::new(config, Some(Box::new(registry.clone()))).unwrap()
}

fn framed(number: u32, schema: &str, datum: Datum) -> Vec<u8> {
    let schema = Written::parse_str(schema).unwrap();
    let mut bytes = vec![0];
    bytes.extend(number.to_be_bytes());
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    bytes.extend(writer.write_value_to_vec(datum).unwrap());
    bytes
}

fn reading(site: &str, kw: Option<f64>, count: i32, at: i64) -> Datum {
    let kw = match kw {
        None => Datum::Union(0, Box::new(Datum::Null)),
        Some(kw) => Datum::Union(1, Box::new(Datum::Double(kw))),
    };
    let tag = Datum::Union(1, Box::new(Datum::String("b".into())));
    Datum::Record(vec![
        ("site".into(), Datum::String(site.into())),
        ("tags".into(), Datum::Map([("a".to_owned(), tag)].into())),
        ("kw".into(), kw),
        ("count".into(), Datum::Int(count)),
        ("at".into(), Datum::TimestampMillis(at)),
    ])
}

fn decode(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Decoded {
    let payloads: Vec<Payload<'_>> = payloads.iter().map(|bytes| Some(bytes.as_slice())).collect();
    decoder.decode(&payloads).unwrap()
}

fn floats(decoded: &Decoded, column: usize) -> Vec<Option<f64>> {
    decoded.rows.column(column).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn records_are_rows_whatever_else_they_hold() {
    let registry = Registry::default().with(7, FIRST);
    let mut decoder = decoder(table(), None, &registry);
    // More than the decoder takes at once.
    let records: Vec<Vec<u8>> = (0..11)
        .map(|n| framed(7, FIRST, reading("é", (n != 3).then_some(f64::from(n)), n, 1_000)))
        .collect();
    let decoded = decode(&mut decoder, &records);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let expected: Vec<_> = (0..11).map(|n| (n != 3).then_some(f64::from(n))).collect();
    assert_eq!(floats(&decoded, 1), expected);
    assert_eq!(decoded.rows.column(0).as_string::<i32>().value(10), "é");
    let at = decoded.rows.column(3).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.value(0), 1_000_000);
    decode(&mut decoder, &records);
    assert_eq!(*registry.asked.lock().unwrap(), [7], "asked once");
}

#[test]
fn a_bad_record_costs_itself_alone() {
    let registry = Registry::default().with(7, FIRST).with(8, "\"double\"");
    let mut decoder = decoder(table(), None, &registry);
    let good = framed(7, FIRST, reading("a", Some(1.5), 2, 3));
    let cut = good[..good.len() - 1].to_vec();
    let long = [good.as_slice(), &[0]].concat();
    let twice = [good.as_slice(), &good].concat();
    let with_a_frame = [good.as_slice(), &good[..5]].concat();
    let unknown = [&[0, 0, 0, 0, 9], &good[5..]].concat();
    let mut garbled = good.clone();
    garbled[6] = 0xFF; // the first letter of its site
    let double = [&[0, 0, 0, 0, 8][..], &1.5_f64.to_le_bytes()].concat();
    let all = [
        good.clone(),
        cut,
        good.clone(),
        long,
        twice,
        with_a_frame,
        good.clone(),
        garbled,
        unknown.clone(),
        double,
        br#"{"site":"a"}"#.to_vec(),
        b"Obj\x01".to_vec(),
        Vec::new(),
        vec![0, 0, 0, 0, 7],
        vec![0, 0, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        good,
    ];
    let decoded = decode(&mut decoder, &all);
    assert_eq!(decoded.indices, [0, 2, 6, 15]);
    assert_eq!(floats(&decoded, 1), [Some(1.5); 4]);
    let reasons = [
        "no Avro record of schema 7",
        "bytes behind",
        "bytes behind",
        "bytes behind",
        "non UTF-8",
        "schema 9, which the schema registry does not have",
        "schema 8: it is of type `\"double\"`, expected a record",
        "'format'='json'",
        "an Avro file",
        "an empty value",
        "cut off",
        "no Avro record of schema 7",
    ];
    assert_eq!(decoded.bad.len(), reasons.len());
    for ((index, error), reason) in decoded.bad.iter().zip(reasons) {
        assert!(error.contains(reason), "record {index}: {reason}: {error}");
    }
    // What was missing may be there the next time.
    decode(&mut decoder, &[unknown.clone(), unknown]);
    assert_eq!(*registry.asked.lock().unwrap(), [7, 8, 9, 9]);
}

/// The last bytes of this number are those of the frame.
#[test]
fn a_record_may_end_as_a_frame_does() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"kw","type":"double"}]}"#;
    let registry = Registry::default().with(0x740, schema);
    let table = Schema::new(vec![Field::new("kw", DataType::Float64, true)]);
    let mut decoder = decoder(Arc::new(table), None, &registry);
    let record = framed(0x740, schema, Datum::Record(vec![("kw".into(), Datum::Double(2.875))]));
    assert!(record.ends_with(&record[..5]));
    let decoded = decode(&mut decoder, &[record.clone(), record.clone(), record]);
    assert_eq!(floats(&decoded, 0), [Some(2.875); 3], "{:?}", decoded.bad);
}

#[test]
fn a_registry_that_does_not_answer_makes_no_record_bad() {
    let mut decoder = decoder(table(), None, &Registry::default());
    let error = decoder.decode(&[Some(&[0, 0, 0, 3, 231, 1])]).unwrap_err();
    let crate::DecodeError::Schema(error) = error else { panic!("{error}") };
    assert!(error.is_transient);
}

const RENAMED: &str = r#"{"type":"record","name":"Reading","namespace":"meters","fields":[
    {"name":"power","type":"float","aliases":["kw"]},
    {"name":"Site","type":"string"},
    {"name":"added","type":"bytes"},
    {"name":"count","type":["string","long","null"]}]}"#;

fn renamed(power: f32, count: Datum) -> Datum {
    let branch = match count {
        Datum::String(_) => 0,
        Datum::Long(_) => 1,
        _ => 2,
    };
    Datum::Record(vec![
        ("power".into(), Datum::Float(power)),
        ("Site".into(), Datum::String("b".into())),
        ("added".into(), Datum::Bytes(vec![1, 2, 3])),
        ("count".into(), Datum::Union(branch, Box::new(count))),
    ])
}

#[test]
fn records_of_several_schemas_are_each_read_by_their_own() {
    let registry = Registry::default().with(1, FIRST).with(2, RENAMED);
    let mut decoder = decoder(table(), None, &registry);
    let records = [
        framed(1, FIRST, reading("a", Some(0.1), 1, 3)),
        framed(2, RENAMED, renamed(0.5, Datum::Long(7))),
        framed(1, FIRST, reading("a", Some(0.2), 2, 3)),
        framed(2, RENAMED, renamed(1.5, Datum::String("8".into()))),
        framed(2, RENAMED, renamed(2.5, Datum::Null)),
        framed(2, RENAMED, renamed(2.5, Datum::String("many".into()))),
    ];
    let decoded = decode(&mut decoder, &records);
    assert_eq!(floats(&decoded, 1), [Some(0.1), Some(0.5), Some(0.2), Some(1.5), Some(2.5)]);
    let counts: Vec<_> = decoded.rows.column(2).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(counts, [Some(1), Some(7), Some(2), Some(8), None]);
    let sites: Vec<_> = decoded.rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(sites, ["a", "b", "a", "b", "b"]);
    let [(5, error)] = decoded.bad.as_slice() else { panic!("{:?}", decoded.bad) };
    assert!(error.contains("`count`") && error.contains("many"), "{error}");
}

#[test]
fn a_readers_schema_resolves_all_others_with_its_defaults_and_aliases() {
    let reader = r#"{"type":"record","name":"Reading","namespace":"meters","fields":[
        {"name":"site","type":"string","aliases":["Site"]},
        {"name":"kw","type":"double","aliases":["power"],"default":-1.0},
        {"name":"count","type":"long","default":42}]}"#;
    let third = r#"{"type":"record","name":"Reading","namespace":"meters","fields":[
        {"name":"site","type":"string"}]}"#;
    let registry = Registry::default().with(1, FIRST).with(2, third).with(3, "\"int\"");
    let mut decoder = decoder(table(), Some(reader), &registry);
    let records = [
        framed(1, FIRST, reading("a", Some(0.5), 1, 3)),
        framed(2, third, Datum::Record(vec![("site".into(), Datum::String("c".into()))])),
        framed(1, FIRST, reading("a", None, 1, 3)),
        vec![0, 0, 0, 0, 3, 2],
    ];
    let decoded = decode(&mut decoder, &records);
    assert_eq!(floats(&decoded, 1), [Some(0.5), Some(-1.0)], "{:?}", decoded.bad);
    let counts: Vec<_> = decoded.rows.column(2).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(counts, [Some(1), Some(42)]);
    // A null where the reader has none, and a schema that does not fit, are bad records.
    assert_eq!(decoded.bad.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn without_a_registry_the_table_says_the_schema() {
    let config = |schema: Option<&str>| DecoderConfig {
        format: avro(SchemaFraming::None),
        own_schema: schema.map(|text| text.as_bytes().to_vec()),
        ..DecoderConfig::new(table())
    };
    let mut decoder = Decoder::new(config(Some(FIRST)), None).unwrap();
    let record = framed(1, FIRST, reading("a", Some(0.5), 1, 3)).split_off(5);
    // Neither a record that is cut off nor what would be a frame behind one harms the next.
    let framed = |number: u8| [record.as_slice(), &[0, number, number, number, number]].concat();
    let records = [record.clone(), b"\x01".to_vec(), framed(0), framed(0xFF), record.clone()];
    let decoded = decode(&mut decoder, &records);
    assert_eq!(floats(&decoded, 1), [Some(0.5), Some(0.5)]);
    assert_eq!(decoded.bad.len(), 3, "{:?}", decoded.bad);
    for (schema, reason) in
        [(None, "there is none"), (Some("{"), "no JSON"), (Some("\"int\""), "expected a record")]
    {
        let error = Decoder::new(config(schema), None).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// A field of each type that a column takes, and one of a type that none does.
const TYPES: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"state","type":{"type":"enum","name":"S","symbols":["on","off"]}},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"micros","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"inner","type":["null",{"type":"record","name":"I","fields":[
        {"name":"deep","type":{"type":"record","name":"D","fields":[
            {"name":"kw","type":"float"}]}}]}]},
    {"name":"either","type":["string","long","double"]},
    {"name":"on","type":"boolean"},
    {"name":"four","type":{"type":"fixed","name":"F","size":4}},
    {"name":"list","type":{"type":"array","items":"int"}}]}"#;

/// A decoder of them to a column each, the list's left out unless `has_list`.
fn of_types(has_list: bool) -> Decoder {
    let mut fields = vec![
        Field::new("price", DataType::Decimal128(9, 2), true),
        Field::new("state", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("micros", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("kw", DataType::Float64, true),
        Field::new("either", DataType::Utf8, true),
        Field::new("on", DataType::Boolean, true),
        Field::new("four", DataType::Utf8, true),
    ];
    if has_list {
        fields.push(Field::new("list", DataType::Float64, true));
    }
    let config = DecoderConfig {
        format: avro(SchemaFraming::Confluent),
        fields: vec![FieldColumn { column: 4, path: "$.inner.deep.kw".parse().unwrap() }],
        ..DecoderConfig::new(Arc::new(Schema::new(fields)))
    };
    Decoder::new(config, Some(Box::new(Registry::default().with(1, TYPES)))).unwrap()
}

fn typed(inner: Option<f32>, list: Vec<Datum>) -> Vec<u8> {
    let inner = match inner {
        None => Datum::Union(0, Box::new(Datum::Null)),
        Some(kw) => {
            let deep = Datum::Record(vec![("kw".into(), Datum::Float(kw))]);
            Datum::Union(1, Box::new(Datum::Record(vec![("deep".into(), deep)])))
        }
    };
    let fields = vec![
        ("price".into(), Datum::Decimal(Decimal::from(vec![4, 210]))),
        ("state".into(), Datum::Enum(1, "off".into())),
        ("day".into(), Datum::Date(20_000)),
        ("micros".into(), Datum::TimestampMicros(5)),
        ("inner".into(), inner),
        ("either".into(), Datum::Union(2, Box::new(Datum::Double(0.5)))),
        ("on".into(), Datum::Boolean(true)),
        ("four".into(), Datum::Fixed(4, b"four".to_vec())),
        ("list".into(), Datum::Array(list)),
    ];
    framed(1, TYPES, Datum::Record(fields))
}

#[test]
fn types_that_only_avro_has_are_what_they_say() {
    let decoded = decode(&mut of_types(true), &[typed(Some(1.5), vec![Datum::Int(1)])]);
    let [(0, error)] = decoded.bad.as_slice() else { panic!("{decoded:?}") };
    assert!(error.contains("`list`: expected a number, got `a list`"), "{error}");

    let records = [typed(Some(1.5), vec![Datum::Int(1)]), typed(None, Vec::new())];
    let decoded = decode(&mut of_types(false), &records);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let column = |index: usize| decoded.rows.column(index);
    assert_eq!(column(0).as_primitive::<Decimal128Type>().value(0), 1234);
    assert_eq!(column(1).as_string::<i32>().value(0), "off");
    assert_eq!(column(2).as_primitive::<Date32Type>().value(0), 20_000);
    assert_eq!(column(3).as_primitive::<TimestampMicrosecondType>().value(0), 5);
    assert_eq!(floats(&decoded, 4), [Some(1.5), None]);
    assert_eq!(column(5).as_string::<i32>().value(0), "0.5");
    assert!(column(6).as_boolean().value(0));
    assert_eq!(column(7).as_string::<i32>().value(0), "four");
}

#[test]
fn a_union_is_read_in_each_batch() {
    let mut decoder = of_types(false);
    for _ in 0..3 {
        let decoded = decode(&mut decoder, &[typed(Some(1.5), Vec::new())]);
        assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
        assert_eq!(decoded.rows.column(5).as_string::<i32>().value(0), "0.5");
    }
}

/// Whether the block of `tags` behind `site` says how many bytes it has. A field that no
/// column wants is then passed over unread, as Avro means it.
fn has_sized_block(record: &[u8]) -> bool {
    let long = |bytes: &[u8]| -> Option<(i64, usize)> {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let number = bytes.iter().take(length.min(9)).enumerate();
        let number = number.fold(0, |sum, (at, byte)| sum | u64::from(byte & 0x7F) << (7 * at));
        Some(((number >> 1) as i64 ^ -((number & 1) as i64), length))
    };
    let count = long(record).and_then(|(length, head)| {
        long(record.get(head + usize::try_from(length).ok()?..)?).map(|(count, _)| count)
    });
    count.is_some_and(|count| count < 0)
}

proptest! {
    /// What Apache's implementation reads of any bytes is a row here, value by value, and
    /// what it refuses is none; whatever stands beside it.
    #[test]
    fn any_bytes_are_what_apaches_implementation_makes_of_them(
        records in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), 0_usize..60, any::<f64>(), any::<i32>()),
            1..12,
        )
    ) {
        let registry = Registry::default().with(7, FIRST);
        let mut decoder = decoder(table(), None, &registry);
        let schema = Written::parse_str(FIRST).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let payloads: Vec<Vec<u8>> = records.iter().map(|(is_random, bytes, cut, kw, count)| {
            if *is_random {
                [&[0, 0, 0, 0, 7], bytes.as_slice()].concat()
            } else {
                let mut record = framed(7, FIRST, reading("site", Some(*kw), *count, 86_400_000));
                record.truncate(record.len().max(5) - cut.saturating_sub(50));
                record
            }
        }).collect();
        let decoded = decode(&mut decoder, &payloads);
        let kw = decoded.rows.column(1).as_primitive::<Float64Type>();
        let counts = decoded.rows.column(2).as_primitive::<Int64Type>();
        for (index, payload) in payloads.iter().enumerate() {
            let mut rest = &payload[5..];
            let read = reader.read_value(&mut rest);
            // arrow-avro takes every branch but the first of a union with null for the other.
            let is_of_no_branch = read.as_ref().is_err_and(|error| {
                let error = error.details();
                matches!(error, Details::GetUnionVariant { .. } | Details::ConvertI64ToUsize(..))
            });
            let expected = read.ok().filter(|_| rest.is_empty());
            let row = decoded.indices.iter().position(|known| *known == index);
            match (expected, row) {
                (Some(Datum::Record(fields)), Some(row)) => {
                    let value = |name: &str| &fields.iter().find(|field| field.0 == name).unwrap().1;
                    let expected = match value("kw") {
                        Datum::Union(_, inner) => match inner.as_ref() {
                            Datum::Double(kw) => Some(*kw).filter(|kw| !kw.is_nan()),
                            _ => None,
                        },
                        other => panic!("{other:?}"),
                    };
                    prop_assert_eq!(kw.is_valid(row).then(|| kw.value(row)), expected);
                    prop_assert_eq!(&Datum::Int(counts.value(row) as i32), value("count"));
                }
                // Infinities and times beyond what a column has are refused behind Avro.
                (Some(_), None) => {
                    let (_, error) = decoded.bad.iter().find(|bad| bad.0 == index).unwrap();
                    prop_assert!(error.starts_with("column `"), "{}", error);
                }
                (None, Some(row)) => {
                    let is_as_avro_has_it = is_of_no_branch || has_sized_block(&payload[5..]);
                    prop_assert!(is_as_avro_has_it, "row {row} of {payload:?}");
                }
                (None, None) => {}
                (Some(other), _) => panic!("{other:?}"),
            }
        }
    }

    /// Nor do any bytes harm the records beside them, whatever types the schema has.
    #[test]
    fn no_bytes_harm_another_record_of_any_types(
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..60), 0_usize..60, any::<u8>()), 1..8)
    ) {
        let good = typed(Some(1.5), vec![Datum::Int(1)]);
        let mut all = Vec::new();
        for (index, (bytes, place, byte)) in records.iter().enumerate() {
            let mut record = [&[0, 0, 0, 0, 1], bytes.as_slice()].concat();
            if index % 2 == 1 {
                // Nearly right: one byte is another.
                record.clone_from(&good);
                let place = 5 + place % (record.len() - 5);
                record[place] = *byte;
            }
            all.extend([record, good.clone()]);
        }
        let decoded = decode(&mut of_types(false), &all);
        prop_assert_eq!(decoded.indices.len() + decoded.bad.len(), all.len());
        let kw = floats(&decoded, 4);
        let good = decoded.indices.iter().zip(kw).filter(|(index, _)| **index % 2 == 1);
        let good: Vec<_> = good.map(|(_, kw)| kw).collect();
        prop_assert_eq!(good, vec![Some(1.5); records.len()], "{:?}", decoded.bad);
    }
}
