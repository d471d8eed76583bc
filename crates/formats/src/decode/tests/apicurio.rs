//! Records of Apicurio's serializers: framed as those of 2.6.13 write them.

use std::collections::HashMap;

use tidecast_stream::{ApicurioId, AvroFormat, ProtobufFormat};

use super::*;
use crate::schemas::{RegisteredSchema, SchemaError, SchemaId, SchemaKind};

const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"kw","type":"double"}]}"#;

const PROTO: &str = "syntax = \"proto3\"; package m; message Other { string kw = 1; } \
                     message Reading { double kw = 1; }";

#[derive(Clone)]
struct Registry(HashMap<SchemaId, RegisteredSchema>);

impl SchemaSource for Registry {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        Ok(self.0.get(&id).cloned())
    }
}

fn registry(ids: &[(SchemaId, SchemaKind)]) -> Registry {
    let schemas = ids.iter().map(|(id, kind)| {
        let text = if *kind == SchemaKind::Avro { AVRO } else { PROTO };
        let (kind, text) = (*kind, text.to_owned());
        (*id, RegisteredSchema { kind, text, references: Vec::new() })
    });
    Registry(schemas.collect())
}

fn avro(framing: SchemaFraming) -> ValueFormat {
    ValueFormat::Avro(AvroFormat { framing, schema: None })
}

fn protobuf(framing: SchemaFraming) -> ValueFormat {
    ValueFormat::Protobuf(ProtobufFormat { framing, schema: None, message: None })
}

type Headers = &'static [(&'static str, &'static [u8])];

/// What becomes of records, each with its headers.
fn outcomes(
    format: ValueFormat,
    registry: &Registry,
    records: &[(Headers, Vec<u8>)],
) -> Vec<Result<f64, String>> {
    let schema = Schema::new(vec![Field::new("kw", DataType::Float64, true)]);
    let config = DecoderConfig { format, ..DecoderConfig::new(Arc::new(schema)) };
    let mut decoder = Decoder::new(config, Some(Box::new(registry.clone()))).unwrap();
    let payloads: Vec<Payload<'_>> =
        records.iter().map(|(_, record)| Some(record.as_slice())).collect();
    let header = |index: usize, name: &str| {
        let headers = records.get(index).map(|(headers, _)| headers.iter());
        headers.into_iter().flatten().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    let decoded = decoder.decode_records(&payloads, |_, _| Ok(None), header).unwrap();
    let kw = decoded.rows.column(0).as_primitive::<Float64Type>();
    let rows = decoded.indices.iter().zip(kw.values());
    let mut outcomes: Vec<(usize, Result<f64, String>)> =
        rows.map(|(index, kw)| (*index, Ok(*kw))).collect();
    outcomes.extend(decoded.bad.into_iter().map(|(index, error)| (index, Err(error))));
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn record(head: &[u8], kw: f64) -> Vec<u8> {
    [head, &kw.to_le_bytes()].concat()
}

#[test]
fn a_schema_is_named_by_a_header_or_by_eight_bytes_or_four() {
    let ids = [SchemaId::Global(7), SchemaId::Content(3)].map(|id| (id, SchemaKind::Avro));
    let eight = [0, 0, 0, 0, 0, 0, 0, 0, 7];
    let four = [0, 0, 0, 0, 3];
    let records: Vec<(Headers, Vec<u8>)> = vec![
        (&[], record(&eight, 1.0)),
        (&[], record(&four, 2.0)),
        (&[("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 0, 7])], record(&[], 3.0)),
        (
            &[
                ("apicurio.value.contentId", &[0, 0, 0, 0, 0, 0, 0, 3]),
                ("apicurio.value.encoding", b"BINARY"),
            ],
            record(&[], 4.0),
        ),
        // Of the key, which says nothing of the value.
        (&[("apicurio.key.globalId", &[0, 0, 0, 0, 0, 0, 0, 9])], record(&eight, 5.0)),
        (&[("apicurio.value.globalId", &[7])], record(&[], 0.0)),
        (
            &[
                ("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 0, 7]),
                ("apicurio.value.encoding", b"JSON"),
            ],
            b"{}".to_vec(),
        ),
        (&[], record(&[0, 0, 0, 0, 0, 0, 0, 0, 3], 0.0)),
        (&[], record(&[0, 0, 0, 0, 7], 0.0)),
        (&[], b"{}".to_vec()),
        (&[], Vec::new()),
    ];
    let outcomes = outcomes(avro(SchemaFraming::Apicurio(None)), &registry(&ids), &records);
    let rows: Vec<f64> = outcomes.iter().map_while(|outcome| outcome.clone().ok()).collect();
    assert_eq!(rows, [1.0, 2.0, 3.0, 4.0, 5.0], "{outcomes:?}");
    let reasons = [
        r"`apicurio.value.globalId` is `\x07`: expected a number of eight bytes",
        "`apicurio.value.encoding` is `JSON`: expected `BINARY`",
        "globalId 3, which the schema registry does not have",
        "contentId 7, which the schema registry does not have",
        "'format'='json'",
        "an empty value",
    ];
    for (outcome, reason) in outcomes[5..].iter().zip(reasons) {
        assert!(outcome.as_ref().unwrap_err().contains(reason), "{reason}: {outcome:?}");
    }
    assert!(outcomes[7].as_ref().unwrap_err().contains("'apicurio.registry.use-id'='contentId'"));
}

#[test]
fn which_number_it_is_may_be_said() {
    let of = |id, head: &[u8]| {
        let framing = SchemaFraming::Apicurio(Some(id));
        let known = match id {
            ApicurioId::Global => SchemaId::Global(7),
            ApicurioId::Content => SchemaId::Content(7),
        };
        let registry = registry(&[(known, SchemaKind::Avro)]);
        outcomes(avro(framing), &registry, &[(&[], record(head, 0.5))]).remove(0)
    };
    for id in [ApicurioId::Global, ApicurioId::Content] {
        assert_eq!(of(id, &[0, 0, 0, 0, 7]), Ok(0.5));
        assert_eq!(of(id, &[0, 0, 0, 0, 0, 0, 0, 0, 7]), Ok(0.5));
    }
}

#[test]
fn a_messages_type_is_named_in_front_of_it_or_by_a_header() {
    let registry = registry(&[(SchemaId::Global(7), SchemaKind::Protobuf)]);
    let eight = [0, 0, 0, 0, 0, 0, 0, 0, 7].as_slice();
    let reference = [&[9, 0x0A, 7], b"Reading".as_slice()].concat();
    let message = record(&[9], 0.5);
    let by_header: Headers = &[
        ("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 0, 7]),
        ("apicurio.protobuf.type", b"Reading"),
    ];
    let records: Vec<(Headers, Vec<u8>)> = vec![
        (&[], [eight, &reference, &message].concat()),
        (by_header, message.clone()),
        (by_header, [reference.as_slice(), &message].concat()),
        // Without either it is the first of the schema, which has a text there.
        (&[], [eight, &message].concat()),
    ];
    let found = outcomes(protobuf(SchemaFraming::Apicurio(None)), &registry, &records);
    assert_eq!(found[..3], [Ok(0.5), Ok(0.5), Ok(0.5)], "{found:?}");
    assert!(found[3].as_ref().unwrap_err().contains("`m.Other`"), "{found:?}");
}

/// So 2.x writes a message with `apicurio.registry.as-confluent`, which Confluent's do not.
#[test]
fn a_messages_type_is_named_in_front_of_it_behind_four_bytes_as_well() {
    let registry = registry(&[(SchemaId::Global(4), SchemaKind::Protobuf)]);
    let record = record(b"\0\0\0\0\x04\x09\x0a\x07Reading\x09", 0.5);
    let framing = SchemaFraming::Apicurio(Some(ApicurioId::Global));
    assert_eq!(outcomes(protobuf(framing), &registry, &[(&[], record)]), [Ok(0.5)]);
}

/// Read by the other format, either says which it is.
#[test]
fn confluents_format_tells_apicurios_records() {
    let registry = registry(&[]);
    let records: Vec<(Headers, Vec<u8>)> = vec![
        (&[], record(&[0, 0, 0, 0, 0, 0, 0, 0, 7], 1.0)),
        (&[("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 0, 7])], record(&[2], 1.0)),
    ];
    for outcome in outcomes(avro(SchemaFraming::Confluent), &registry, &records) {
        let error = outcome.unwrap_err();
        assert!(error.contains("'format'='avro-apicurio'"), "{error}");
    }
}
