//! Formats other than JSON objects, and fields inside of others.

use arrow::array::Array as _;
use tidecast_stream::{CsvDialect, FieldColumn};

use super::*;

fn decoder(format: ValueFormat, paths: &[(usize, &str)]) -> Decoder {
    let fields = paths
        .iter()
        .map(|(column, path)| FieldColumn { column: *column, path: path.parse().unwrap() });
    let fields = fields.collect();
    Decoder::new(DecoderConfig { format, fields, ..DecoderConfig::new(schema()) }, None).unwrap()
}

/// What becomes of records: of each the `site` and `kw`, or why it is none.
fn outcomes(decoder: &mut Decoder, records: &[&str]) -> Vec<Result<(String, Option<f64>), String>> {
    let payloads: Vec<Payload<'_>> = records.iter().map(|record| Some(record.as_bytes())).collect();
    let decoded = decoder.decode(&payloads).unwrap();
    let site = decoded.rows.column(0).as_string::<i32>();
    let kw = decoded.rows.column(1).as_primitive::<Float64Type>();
    let mut outcomes = vec![Err("passed over".to_owned()); records.len()];
    for (row, index) in decoded.indices.iter().enumerate() {
        let kw = kw.is_valid(row).then(|| kw.value(row));
        outcomes[*index] = Ok((site.value(row).to_owned(), kw));
    }
    for (index, error) in decoded.bad {
        outcomes[index] = Err(error);
    }
    outcomes
}

fn row(site: &str, kw: impl Into<Option<f64>>) -> Result<(String, Option<f64>), String> {
    Ok((site.to_owned(), kw.into()))
}

#[test]
fn a_column_may_be_a_field_inside_of_others() {
    let mut decoder =
        decoder(ValueFormat::Json, &[(0, "$.device.id"), (1, "$.payload.values['kW net']")]);
    let outcomes = outcomes(
        &mut decoder,
        &[
            r#"{"device":{"id":"007"},"payload":{"q":1,"values":{"kW net":1.5}}}"#,
            r#"{"payload":{"values":{"kW net":"2.5"},"values2":{}},"device":{"id":8,"kw":9}}"#,
            // Names of the table count for nothing outside of their path.
            r#"{"device":{"id":"a"},"kw":7,"site":"b"}"#,
            // As written, escapes and all; the last of two counts, whole.
            r#"{"d\u0065vice":{"id":"c"},"payload":{"values":{"kW net":1}},"payload":{"values":{}}}"#,
            r#"{"device":"x","payload":{"values":{"kW net":1}}}"#,
            r#"{"device":{"id":"x"},"payload":{"values":{"kW net":{}}}}"#,
        ],
    );
    assert_eq!(outcomes[0], row("007", 1.5));
    assert_eq!(outcomes[1], row("8", 2.5));
    assert_eq!(outcomes[2], row("a", None));
    assert_eq!(outcomes[3], row("c", None));
    assert!(outcomes[4].as_ref().unwrap_err().contains("`site` is NOT NULL"));
    assert!(outcomes[5].as_ref().unwrap_err().contains("`kw`: expected a number"));
}

#[test]
fn a_path_that_no_record_has_is_told_with_what_is_there() {
    let mut decoder = decoder(ValueFormat::Json, &[(1, "$.payload.activePowr")]);
    outcomes(&mut decoder, &[r#"{"site":"a","payload":{"activePower":1}}"#]);
    let absent = decoder.absent_columns().remove(0).to_string();
    let expected = "no record had a column `kw` at `$.payload.activePowr`; they have \
                    `activePower`; did you mean `activePower`?";
    assert_eq!(absent, expected);
}

#[test]
fn of_a_change_event_the_row_behind_the_change_counts() {
    let mut decoder = decoder(ValueFormat::DebeziumJson, &[]);
    let outcomes = outcomes(
        &mut decoder,
        &[
            r#"{"before":null,"after":{"site":"a","kw":1},"source":{"site":"x"},"op":"c"}"#,
            r#"{"before":{"site":"b","kw":1},"after":{"site":"b","kw":2.5},"op":"u","ts_ms":1}"#,
            r#"{"schema":{"type":"struct"},"payload":{"after":{"site":"c"},"op":"r"}}"#,
            r#"{"before":{"site":"a"},"after":null,"op":"d"}"#,
            r#"{"op":"t","source":{}}"#,
            r#"{"site":"a","kw":1}"#,
            r#"{"after":"a","op":"c"}"#,
            r#"{"after":null,"op":"u"}"#,
            r#"{"after":{"kw":1},"op":"c"}"#,
        ],
    );
    assert_eq!(outcomes[0], row("a", 1.0));
    assert_eq!(outcomes[1], row("b", 2.5));
    assert_eq!(outcomes[2], row("c", None));
    let reasons =
        ["is gone", "is gone", "'format'='json'", "`after` `\"a\"`", "`op` `\"u\"`", "NOT NULL"];
    for (outcome, reason) in outcomes[3..].iter().zip(reasons) {
        assert!(outcome.as_ref().unwrap_err().contains(reason), "{reason}: {outcome:?}");
    }
}

#[test]
fn a_delete_is_a_tombstone_and_passed_over_like_one() {
    let config = DecoderConfig {
        format: ValueFormat::DebeziumJson,
        tombstones: Tombstones::Skip,
        ..DecoderConfig::new(schema())
    };
    let mut decoder = Decoder::new(config, None).unwrap();
    let delete = br#"{"before":{"site":"a"},"after":null,"op":"d"}"#.as_slice();
    let empty = br#"{"schema":{},"payload":null}"#.as_slice();
    let decoded = decoder.decode(&[Some(delete), None, Some(empty), Some(b"{}")]).unwrap();
    assert_eq!((decoded.tombstones, decoded.bad.len()), (3, 1));
}

#[test]
fn csv_fields_are_the_tables_columns_in_their_order() {
    let mut decoder = decoder(ValueFormat::Csv(CsvDialect::default()), &[]);
    let time = "2026-11-22T10:00:00Z";
    let outcomes = outcomes(
        &mut decoder,
        &[
            &format!("a,1.5,3,true,{time}"),
            &format!("\"b, \"\"c\"\"\",2.5,,false,{time}\r\n"),
            "\u{feff}d,NaN,#N/A,n/a,none",
            ",1,,,",
            "e,1,,",
            "e,1,,,,",
            "e,1,,,,,",
            "e,1,,,\nf,2,,,",
            "e,high,,,",
            "",
            "\"e,1,,,",
        ],
    );
    assert_eq!(outcomes[0], row("a", 1.5));
    assert_eq!(outcomes[1], row("b, \"c\"", 2.5));
    assert_eq!(outcomes[2], row("d", None));
    assert_eq!(outcomes[3], row("", 1.0));
    let reasons = [
        "of 4 fields",
        "of 6 fields",
        "more fields than 5",
        "more than one",
        "expected a number",
        "an empty value",
        "of 1 field:",
    ];
    for (outcome, reason) in outcomes[4..].iter().zip(reasons) {
        assert!(outcome.as_ref().unwrap_err().contains(reason), "{reason}: {outcome:?}");
    }
}

#[test]
fn csv_may_have_another_delimiter_and_a_column_from_beside() {
    let config = DecoderConfig {
        format: ValueFormat::Csv(CsvDialect { delimiter: b';', quote: b'\'' }),
        beside: vec![0],
        ..DecoderConfig::new(schema())
    };
    let mut decoder = Decoder::new(config, None).unwrap();
    let beside = |_, _| Ok(Some("key".into()));
    let decoded = decoder.decode_beside(&[Some(b"1;'2';;")], beside).unwrap();
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(decoded.rows.column(0).as_string::<i32>().value(0), "key");
    assert_eq!(decoded.rows.column(2).as_primitive::<Int64Type>().value(0), 2);
}

#[test]
fn each_element_of_a_list_is_a_row() {
    let paths = [(0, "$.device.id"), (1, "$.data.readings[*].kw"), (2, "$.data.readings[*].n")];
    let mut decoder = decoder(ValueFormat::Json, &paths);
    let payloads: Vec<Payload<'_>> = [
        r#"{"device":{"id":"a"},"on":true,"data":{"readings":[{"kw":1,"n":1},{"kw":"2.5"},{}]}}"#,
        r#"{"device":{"id":"b"},"data":{"readings":[]}}"#,
        r#"{"data":{"readings":[{"kw":3,"on":false}]},"device":{"id":"c"},"kw":9}"#,
        r#"{"device":{"id":"d"},"data":{"readings":[{"kw":4},{"kw":"high"}]}}"#,
        r#"{"device":{"id":"e"},"data":{"readings":[{"kw":4},5]}}"#,
        r#"{"device":{"id":"f"},"data":{"readings":{"kw":4}}}"#,
        r#"{"device":{"id":"g"}}"#,
        r#"{"data":{"readings":[{"kw":4}]}}"#,
        r#"{"device":{"id":"h"},"data":{"readings":[{"kw":6}]}}"#,
    ]
    .map(|record| Some(record.as_bytes()))
    .to_vec();
    let decoded = decoder.decode(&payloads).unwrap();
    assert_eq!(decoded.indices, [0, 0, 0, 2, 8]);
    let sites: Vec<_> = decoded.rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(sites, ["a", "a", "a", "c", "h"]);
    let kw: Vec<_> = decoded.rows.column(1).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(kw, [Some(1.0), Some(2.5), None, Some(3.0), Some(6.0)]);
    let on: Vec<_> = decoded.rows.column(3).as_boolean().iter().collect();
    assert_eq!(on, [Some(true), Some(true), Some(true), None, None], "of the record alone");
    let reasons = [
        (3, "element 2 of `data.readings`: column `kw`: expected a number"),
        (4, "element 2 of `data.readings`: it is no object"),
        (5, "`data.readings` is `{\"kw\":4}`: expected a list"),
        (6, "`data.readings` is missing: expected a list"),
        (7, "element 1 of `data.readings`: column `site` is NOT NULL"),
    ];
    assert_eq!(decoded.bad.len(), reasons.len(), "{:?}", decoded.bad);
    for ((index, error), (expected, reason)) in decoded.bad.iter().zip(reasons) {
        assert_eq!(*index, expected);
        assert!(error.starts_with(reason), "{reason}: {error}");
    }
}

#[test]
fn an_element_may_be_the_value_itself() {
    let mut decoder = decoder(ValueFormat::Json, &[(1, "$.values[*]")]);
    let record = br#"{"site":"a","values":[1,null,"3",[4]]}"#.as_slice();
    let good = br#"{"site":"b","values":[1,null,"3"]}"#.as_slice();
    let decoded = decoder.decode(&[Some(record), Some(good)]).unwrap();
    let kw: Vec<_> = decoded.rows.column(1).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(kw, [Some(1.0), None, Some(3.0)]);
    assert!(decoded.bad[0].1.starts_with("element 4 of `values`"), "{:?}", decoded.bad);
}
