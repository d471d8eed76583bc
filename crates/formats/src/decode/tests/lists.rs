//! Lists in Avro, Protobuf and JSON: the same readings are the same rows.

mod gateway;

use apache_avro::Schema as Written;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use tidecast_stream::{AvroFormat, EpochUnit, FieldColumn, ProtobufFormat};

use self::gateway::{AVRO, Gateway, PROTO, Reading};
use super::*;
use crate::schemas::{RegisteredSchema, SchemaError, SchemaId, SchemaKind};
use crate::time::TimeRule;

const JSON: ValueFormat = ValueFormat::Json;
const FRAMING: SchemaFraming = SchemaFraming::None;
const OF_AVRO: ValueFormat = ValueFormat::Avro(AvroFormat { framing: FRAMING, schema: None });

fn protobuf() -> ValueFormat {
    let message = Some("Gateway".to_owned());
    ValueFormat::Protobuf(ProtobufFormat { framing: FRAMING, schema: None, message })
}

fn config(format: ValueFormat, columns: Vec<(Field, &str)>) -> DecoderConfig {
    let own_schema = match &format {
        ValueFormat::Avro(_) => Some(AVRO.into()),
        ValueFormat::Protobuf(_) => Some(PROTO.into()),
        _ => None,
    };
    let paths = columns.iter().enumerate();
    let paths = paths
        .map(|(column, (_, path))| FieldColumn { column, path: path.parse().unwrap() })
        .collect();
    let fields: Vec<Field> = columns.into_iter().map(|(field, _)| field).collect();
    DecoderConfig {
        format,
        fields: paths,
        own_schema,
        capacity: 5,
        rule: TimeRule::in_unit(EpochUnit::Milliseconds),
        ..DecoderConfig::new(Arc::new(Schema::new(fields)))
    }
}

fn decoder_of(format: ValueFormat, columns: Vec<(Field, &str)>) -> Decoder {
    Decoder::new(config(format, columns), None).unwrap()
}

/// Rows of readings.
fn readings(format: ValueFormat) -> Decoder {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let columns = vec![
        (Field::new("site", DataType::Utf8, false), "$.site"),
        (Field::new("kw", DataType::Float64, true), "$.data.readings[*].kw"),
        (Field::new("n", DataType::Int64, false), "$.data.readings[*].N"),
        (Field::new("at", time, true), "$.data.readings[*].at"),
        (Field::new("level", DataType::Float64, true), "$.data.readings[*].deep.level"),
        (Field::new("unit", DataType::Utf8, true), "$.data.readings[*].unit"),
        (Field::new("whole", DataType::Utf8, true), "$.data.readings.kw"),
    ];
    decoder_of(format, columns)
}

/// Rows of values.
fn values(format: ValueFormat) -> Decoder {
    let columns = vec![
        (Field::new("kw", DataType::Float64, true), "$.data.values[*]"),
        (Field::new("site", DataType::Utf8, true), "$.site"),
    ];
    decoder_of(format, columns)
}

fn decode(decoder: &mut Decoder, records: &[Vec<u8>]) -> Decoded {
    let payloads: Vec<Payload<'_>> = records.iter().map(|record| Some(record.as_slice())).collect();
    decoder.decode(&payloads).unwrap()
}

fn assert_same(found: &Decoded, expected: &Decoded) -> Result<(), TestCaseError> {
    prop_assert_eq!(&found.bad, &expected.bad);
    prop_assert_eq!(&found.indices, &expected.indices);
    prop_assert_eq!(&found.rows, &expected.rows);
    Ok(())
}

/// What a list may be instead is told as of JSON.
#[test]
fn what_is_no_list_of_rows_is_a_bad_record_with_the_reason() {
    let avro = |schema: &str, path: &str, datum: Datum| {
        let columns = vec![(Field::new("kw", DataType::Float64, true), path)];
        let mut config = config(OF_AVRO, columns);
        config.own_schema = Some(schema.into());
        let mut decoder = Decoder::new(config, None).unwrap();
        let schema = Written::parse_str(schema).unwrap();
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let record = Datum::Record(vec![("a".into(), datum)]);
        decode(&mut decoder, &[writer.write_value_to_vec(record).unwrap()])
    };
    let schema = |of: &str| {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{of}}}]}}"#)
    };
    let either = schema(
        r#"["null","double",{"type":"array","items":["null","double",
            {"type":"record","name":"E","fields":[{"name":"kw","type":"double"}]}]}]"#,
    );
    let branch = |branch, datum| Datum::Union(branch, Box::new(datum));
    let element = || branch(2, Datum::Record(vec![("kw".into(), Datum::Double(0.5))]));
    let list = |elements| branch(2, Datum::Array(elements));
    for (path, datum, expected) in [
        ("$.a[*].kw", list(vec![element(), element()]), Ok(vec![Some(0.5), Some(0.5)])),
        ("$.a[*].kw", list(vec![]), Ok(vec![])),
        ("$.a[*].kw", branch(0, Datum::Null), Err("`a` is `null`: expected a list")),
        ("$.a[*].kw", branch(1, Datum::Double(7.5)), Err("`a` is `7.5`: expected a list")),
        (
            "$.a[*].kw",
            list(vec![element(), branch(0, Datum::Null)]),
            Err("element 2 of `a`: it is no object"),
        ),
        ("$.a[*].kw", list(vec![branch(1, Datum::Double(1.0))]), Err("it is no object")),
        (
            "$.a[*]",
            list(vec![branch(1, Datum::Double(1.0)), branch(0, Datum::Null)]),
            Ok(vec![Some(1.0), None]),
        ),
        ("$.a[*]", list(vec![element()]), Err("element 1 of `a`: column `kw`: expected a number")),
        ("$.b[*]", list(vec![element()]), Err("`b` is missing: expected a list")),
    ] {
        let decoded = avro(&either, path, datum);
        match expected {
            Ok(rows) => {
                assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
                let kw = decoded.rows.column(0).as_primitive::<Float64Type>();
                assert_eq!(kw.iter().collect::<Vec<_>>(), rows, "{path}");
            }
            Err(reason) => {
                let [(0, error)] = decoded.bad.as_slice() else { panic!("{path}: {reason}") };
                assert!(error.contains(reason), "{reason}: {error}");
            }
        }
    }
    let map = schema(r#"{"type":"map","values":"double"}"#);
    let decoded = avro(&map, "$.a[*]", Datum::Map([("x".to_owned(), Datum::Double(1.0))].into()));
    assert_eq!(decoded.bad[0].1, "`a` is `a map`: expected a list");
    // A few bytes would be two thousand million rows.
    let mut config = config(OF_AVRO, vec![(Field::new("kw", DataType::Float64, true), "$.a[*]")]);
    config.own_schema = Some(schema(r#"{"type":"array","items":"null"}"#).into());
    let error = Decoder::new(config, None).unwrap_err().to_string();
    assert!(error.contains("whose elements take no bytes"), "{error}");
}

#[test]
fn of_protobuf_an_absent_message_has_no_list_and_an_absent_list_is_empty() {
    let of = |path: &str, record: &[u8]| {
        let columns = vec![(Field::new("kw", DataType::Float64, true), path)];
        decode(&mut decoder_of(protobuf(), columns), &[record.to_vec()]).bad
    };
    // A message `data` without fields, and none.
    assert_eq!(of("$.data.values[*]", &[0x0A, 0]), []);
    for (path, record, reason) in [
        ("$.data.values[*]", &[][..], "`data.values` is missing: expected a list"),
        ("$.data[*]", &[0x0A, 0], "`data` is `a message`: expected a list"),
        ("$.site[*]", &[0x12, 1, b'a'], "`site` is `\"a\"`: expected a list"),
        ("$.unknown[*]", &[], "`unknown` is missing"),
        ("$.data.values[*].kw", &[0x0A, 9, 17, 0, 0, 0, 0, 0, 0, 0, 0], "it is no object"),
    ] {
        let bad = of(path, record);
        assert!(bad[0].1.contains(reason), "{reason}: {bad:?}");
    }
}

/// A path that leads nowhere is told with what there is.
#[test]
fn names_of_elements_are_told() {
    for format in [OF_AVRO, protobuf()] {
        let columns = vec![(Field::new("kw", DataType::Float64, true), "$.data.readings[*].kv")];
        let mut config = config(format.clone(), columns);
        let framing = SchemaFraming::Confluent;
        config.format = match format {
            ValueFormat::Avro(avro) => ValueFormat::Avro(AvroFormat { framing, ..avro }),
            _ => ValueFormat::Protobuf(ProtobufFormat { framing, schema: None, message: None }),
        };
        config.own_schema = None;
        let mut decoder = Decoder::new(config, Some(Box::new(Both))).unwrap();
        let is_avro = matches!(decoder.config.format, ValueFormat::Avro(_));
        let gateway = Gateway { site: None, data: Some((vec![Reading::default()], Vec::new())) };
        let record = match is_avro {
            true => [vec![0, 0, 0, 0, 1], gateway.avro()].concat(),
            false => [vec![0, 0, 0, 0, 2, 0], gateway.protobuf()].concat(),
        };
        let decoded = decode(&mut decoder, &[record]);
        assert_eq!(decoded.indices, [0], "{:?}", decoded.bad);
        let absent = decoder.absent_columns().remove(0).to_string();
        let expected = "no record had a column `kw` at `$.data.readings[*].kv`; they have `at`, \
                        `deep`, `kw`, `n`, `unit`";
        assert_eq!(absent, expected);
    }
}

/// A registry with both schemas.
struct Both;

impl SchemaSource for Both {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        let SchemaId::Registered(id) = id else { return Ok(None) };
        let (kind, text) = match id {
            1 => (SchemaKind::Avro, AVRO),
            _ => (SchemaKind::Protobuf, PROTO),
        };
        Ok(Some(RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() }))
    }
}

fn finite_or_not() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => any::<f64>(),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0]),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let n = prop::option::weighted(0.95, any::<i64>());
    let kw = prop::option::weighted(0.9, finite_or_not());
    let at = prop_oneof![20 => 0..4_000_000_000_000_i64, 1 => any::<i64>()];
    let level = prop::option::of(-1e9..1e9);
    (kw, n, at, level, 0..2_u8).prop_map(|(kw, n, at, level, unit)| Reading {
        kw,
        n,
        at,
        level,
        unit,
    })
}

fn gateway() -> impl Strategy<Value = Gateway> {
    let site = prop::option::weighted(0.9, any::<String>());
    let elements =
        (prop::collection::vec(reading(), 0..6), prop::collection::vec(finite_or_not(), 0..6));
    (site, prop::option::weighted(0.9, elements)).prop_map(|(site, data)| Gateway { site, data })
}

proptest! {
    /// The same messages are the same rows to the bit and the same bad records, with the same
    /// reasons, in any format and however they are cut to batches.
    #[test]
    fn the_same_lists_are_the_same_rows_in_any_format(
        gateways in prop::collection::vec(gateway(), 0..14),
        cut in any::<prop::sample::Index>(),
    ) {
        let json: Vec<Vec<u8>> = gateways.iter().map(Gateway::json).collect();
        let avro: Vec<Vec<u8>> = gateways.iter().map(Gateway::avro).collect();
        let of_protobuf: Vec<Vec<u8>> = gateways.iter().map(Gateway::protobuf).collect();
        for of in [readings, values] {
            let expected = decode(&mut of(JSON), &json);
            for (format, records) in [(OF_AVRO, &avro), (protobuf(), &of_protobuf)] {
                let mut decoder = of(format);
                assert_same(&decode(&mut decoder, records), &expected)?;
                let (first, second) = records.split_at(cut.index(records.len() + 1));
                let (first, second) = (decode(&mut decoder, first), decode(&mut decoder, second));
                let rows = [first.rows, second.rows];
                let rows = arrow::compute::concat_batches(&expected.rows.schema(), &rows).unwrap();
                prop_assert_eq!(&rows, &expected.rows);
                prop_assert_eq!(first.bad.len() + second.bad.len(), expected.bad.len());
            }
        }
    }

    /// Any bytes are the rows that others read in them, and harm nothing beside them.
    #[test]
    fn any_bytes_are_the_rows_that_others_read_in_them(
        records in prop::collection::vec(
            (gateway(), any::<bool>(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)),
            1..8,
        ),
    ) {
        let good = Gateway {
            site: Some("good".into()),
            data: Some((vec![Reading { kw: Some(1.5), n: Some(2), ..Reading::default() }; 2], vec![1.5])),
        };
        type Write = fn(&Gateway) -> Vec<u8>;
        type Read = fn(&[u8]) -> Result<Gateway, bool>;
        let formats: [(ValueFormat, Write, Read); 2] = [
            (OF_AVRO, Gateway::avro, Gateway::of_avro),
            (protobuf(), Gateway::protobuf, Gateway::of_protobuf),
        ];
        for (format, write, read) in formats {
            let mut all = Vec::new();
            for (gateway, is_cut, changes) in &records {
                let mut bytes = write(gateway);
                for (place, byte) in changes {
                    if let Some(changed) = (!bytes.is_empty()).then(|| place.index(bytes.len())) {
                        bytes[changed] = *byte;
                        if *is_cut {
                            bytes.truncate(changed);
                        }
                    }
                }
                all.extend([bytes, write(&good)]);
            }
            let read: Vec<Result<Gateway, bool>> = all.iter().map(|bytes| read(bytes)).collect();
            let as_json: Vec<Vec<u8>> = read
                .iter()
                .map(|gateway| gateway.as_ref().map_or(Vec::new(), Gateway::json))
                .collect();
            for of in [readings, values] {
                let found = decode(&mut of(format.clone()), &all);
                let expected = decode(&mut of(JSON), &as_json);
                for (index, bytes) in all.iter().enumerate() {
                    let (found, found_bad) = of_record(&found, index);
                    let (expected, expected_bad) = of_record(&expected, index);
                    if let (None, Some(_)) | (Some(_), None) = (found_bad, expected_bad) {
                        let is_lenient = match (found_bad, &read[index]) {
                            // Apache's implementation takes numbers that are too long, too.
                            (Some(bad), Ok(_)) => {
                                ["Block size cannot be negative", "bad varint"]
                                    .iter()
                                    .any(|reason| bad.contains(reason))
                            }
                            (_, read) => *read == Err(true),
                        };
                        prop_assert!(is_lenient, "{bytes:?}: {found_bad:?} {expected_bad:?}");
                        continue;
                    }
                    prop_assert_eq!(found, expected, "{:?}", bytes);
                }
            }
        }
    }
}

/// The rows of one record, or why it is none.
fn of_record(decoded: &Decoded, index: usize) -> (RecordBatch, Option<&str>) {
    let begin = decoded.indices.partition_point(|known| *known < index);
    let end = decoded.indices.partition_point(|known| *known <= index);
    let bad = decoded.bad.iter().find(|bad| bad.0 == index).map(|bad| bad.1.as_str());
    (decoded.rows.slice(begin, end - begin), bad)
}
