//! The decoder as a whole: batches, records that are none, names.

mod apicurio;
mod faults;
mod formats;
mod laws;
mod lists;
mod names;
mod values;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMillisecondType;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
        Field::new("on", DataType::Boolean, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn decoder(schema: SchemaRef) -> Decoder {
    Decoder::new(DecoderConfig { capacity: 16, ..DecoderConfig::new(schema) }, None).unwrap()
}

fn decode(payloads: &[Payload<'_>]) -> Decoded {
    decoder(schema()).decode(payloads).unwrap()
}

/// The error of a batch of this one payload between two good ones.
fn error_of(payload: impl AsRef<[u8]>) -> String {
    let good = Some(br#"{"site":"A","kw":1}"#.as_slice());
    let decoded = decode(&[good, Some(payload.as_ref()), good]);
    assert_eq!(decoded.indices, [0, 2]);
    assert_eq!(decoded.rows.num_rows(), 2);
    let [(1, error)] = decoded.bad.as_slice() else { panic!("{:?}", decoded.bad) };
    error.clone()
}

#[test]
fn objects_become_rows_with_the_tables_columns() {
    let decoded = decode(&[
        Some(br#"{"site":"A","kw":1.5,"count":3,"on":true,"ts":"2026-11-22T10:00:00Z"}"#),
        Some(br#" {"ts":1763805600000, "site":"B", "more":{"x":[1]}, "kw":"2.5"} "#),
    ]);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(decoded.rows.schema(), schema());
    let column = |index: usize| decoded.rows.column(index);
    assert_eq!(column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(column(1).as_primitive::<Float64Type>().values(), &[1.5, 2.5]);
    assert_eq!(column(2).as_primitive::<Int64Type>().value(0), 3);
    assert!(column(2).is_null(1));
    let ts = column(4).as_primitive::<TimestampMillisecondType>();
    assert_eq!(ts.values(), &[1_795_341_600_000, 1_763_805_600_000]);
}

#[test]
fn a_field_given_twice_counts_with_its_last_value() {
    let decoded = decode(&[Some(br#"{"site":"A","kw":"no","kw":2}"#)]);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(decoded.rows.column(1).as_primitive::<Float64Type>().value(0), 2.0);
}

#[test]
fn nothing_at_all_is_no_error() {
    let decoded = decode(&[]);
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (0, 0));
}

#[test]
fn a_table_of_no_columns_still_counts_its_records() {
    let mut decoder = decoder(Arc::new(Schema::empty()));
    let decoded = decoder.decode(&[Some(b"{}"), Some(b"["), Some(br#"{"x":[{}]}"#)]).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (2, 1));
}

#[test]
fn a_decoder_recovers_from_what_it_was_fed() {
    let mut decoder = decoder(schema());
    for _ in 0..3 {
        let bad = decoder.decode(&[Some(br#"{"site":"#)]).unwrap();
        assert_eq!(bad.bad.len(), 1);
        let good = decoder.decode(&[Some(br#"{"site":"A"}"#.as_slice()); 19]).unwrap();
        assert_eq!(good.indices.len(), 19, "more records than the capacity are fine");
    }
}

/// What stands beside records' values fills its columns, by the rules of a quoted text; a
/// field of that name does not.
#[test]
fn columns_from_beside_the_value_are_read_as_texts_are() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("level", DataType::Int64, true),
    ]));
    let config = DecoderConfig { beside: vec![0, 2], ..DecoderConfig::new(schema) };
    let mut decoder = Decoder::new(config, None).unwrap();
    let payloads: Vec<Payload<'_>> = vec![
        Some(br#"{"site":"field","kw":1.5,"LEVEL":9}"#),
        Some(b"{}"),
        Some(br#"{"kw":3}"#),
        Some(br#"{"kw":4}"#),
        Some(b"no JSON"),
    ];
    let sites = [Some("007"), Some(""), None, Some("d"), Some("e")];
    let levels = [Ok(Some("7")), Ok(None), Ok(Some("1")), Err("no text"), Ok(Some("high"))];
    let value = |index: usize, column: usize| match column {
        0 => Ok(sites[index].map(Into::into)),
        _ => levels[index].map(|level| level.map(Into::into)).map_err(str::to_owned),
    };
    let decoded = decoder.decode_beside(&payloads, value).unwrap();
    assert_eq!(decoded.indices, [0, 1]);
    let column = |index: usize| decoded.rows.column(index);
    assert_eq!(column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["007", ""]);
    assert_eq!(column(2).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(7), None]);
    let reasons: Vec<&str> = decoded.bad.iter().map(|(_, reason)| reason.as_str()).collect();
    assert!(reasons[0].contains("`site`"), "{reasons:?}");
    assert_eq!(reasons[1], "no text");
    assert_eq!(decoded.bad.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(decoder.absent_columns(), []);
}

/// A value that is no object is its one column, by the rules of a quoted text.
#[test]
fn a_bare_value_is_read_as_a_text_is() {
    let schema = Arc::new(Schema::new(vec![Field::new("kw", DataType::Float64, true)]));
    let config = DecoderConfig { format: ValueFormat::Raw, ..DecoderConfig::new(schema) };
    let mut decoder = Decoder::new(config, None).unwrap();
    let payloads: Vec<Payload<'_>> =
        vec![Some(b"1.5"), Some(b" -2e3 "), Some(b"NaN"), Some(b"{}"), Some(b"\xff"), None];
    let decoded = decoder.decode(&payloads).unwrap();
    let values: Vec<_> = decoded.rows.column(0).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(values, [Some(1.5), Some(-2000.0), None]);
    assert_eq!(decoded.bad.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [3, 4, 5]);
}
