use arrow::datatypes::Int64Type;
use proptest::prelude::*;

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

fn decode(payloads: &[Payload<'_>]) -> Decoded {
    JsonDecoder::new(schema(), 16).unwrap().decode(payloads).unwrap()
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
fn whole_numbers_keep_all_their_digits() {
    let decoded = decode(&[Some(br#"{"site":"A","count":9007199254740993}"#)]);
    assert_eq!(decoded.rows.column(2).as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
    let decoded = decode(&[Some(br#"{"site":"A","count":2.0}"#), Some(br#"{"site":"A"}"#)]);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
}

#[test]
fn nothing_at_all_is_no_error() {
    let decoded = decode(&[]);
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (0, 0));
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    let cases: &[(&str, &str)] = &[
        (r#"{"site":"A","kw":{"a":1}}"#, "column `kw`: expected a number, got `{\"a\": 1}`"),
        (r#"{"site":"A","kw":true}"#, "column `kw`: expected a number, got `true`"),
        (r#"{"site":"A","kw":"high"}"#, "column `kw`: expected a number, got `\"high\"`"),
        (r#"{"site":7}"#, "column `site`: expected a string, got `7`"),
        (r#"{"site":"A","count":"1.x"}"#, "column `count`: expected a whole number (Int64)"),
        (r#"{"site":"A","count":1.5}"#, "column `count`: expected a whole number, got `1.5`"),
        (r#"{"site":"A","count":1e30}"#, "column `count`: expected a whole number (Int64)"),
        (r#"{"site":"A","on":1}"#, "column `on`: expected true or false, got `1`"),
        (r#"{"site":"A","ts":"today"}"#, "column `ts`: expected a timestamp such as"),
        (r#"{"site":"A","ts":1e999}"#, "column `ts`: out of the range of timestamps"),
        (r#"{"site":"A","kw":1e999}"#, "column `kw`: not a finite number"),
        (r#"{"site":"A","kw":"NaN"}"#, "column `kw`: not a finite number"),
        (r#"{"site":"A","kw":"-inf"}"#, "column `kw`: not a finite number"),
        (r#"{"kw":1}"#, "column `site` is NOT NULL but missing or null"),
        (r#"{"site":null,"kw":1}"#, "column `site` is NOT NULL but missing or null"),
        (r#"{"site":"A""#, "cut off"),
        (r#"{"site":"A"}{"site":"B"}"#, "more than one JSON value"),
        (r#"{"site":"A"} x"#, "malformed JSON: encountered unexpected 'x'"),
        (r#"{"site":NaN}"#, "malformed JSON: encountered unexpected 'N'"),
        (r#"[{"site":"A"}]"#, "a JSON array"),
        ("null", "expected `{`, got `null`"),
        ("", "an empty value"),
        (" \n", "an empty value"),
    ];
    for (payload, expected) in cases {
        let error = error_of(payload);
        assert!(error.contains(expected), "{payload}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_bad_records() {
    assert_eq!(error_of(b"{\"site\":\"\xff\xfe\"}"), "not UTF-8");
    // The halves of a character, in two neighbouring records.
    let decoded = decode(&[Some(b"{\"site\":\"\xc3\"}"), Some(b"{\"site\":\"\xa9\"}")]);
    assert_eq!(decoded.bad.len(), 2, "{:?}", decoded.bad);
    assert!(error_of([0_u8; 100]).contains("not a JSON object"));
}

#[test]
fn a_tombstone_is_a_bad_record() {
    let decoded = decode(&[None]);
    assert!(decoded.bad[0].1.contains("tombstone"), "{:?}", decoded.bad);
}

#[test]
fn nesting_bombs_are_refused_and_deep_strings_are_not() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let bomb =
            format!(r#"{{"site":"A","kw":{}1{}}}"#, open.repeat(200_000), close.repeat(200_000));
        assert!(error_of(&bomb).contains("nested deeper"), "{open}");
        let unclosed = format!(r#"{{"site":"A","x":{}"#, open.repeat(200_000));
        assert!(error_of(&unclosed).contains("nested deeper"), "{open}");
    }
    let brackets = format!(r#"{{"site":"\"{}","kw":1}}"#, "[".repeat(500));
    assert!(decode(&[Some(brackets.as_bytes())]).bad.is_empty());
}

#[test]
fn a_message_never_repeats_a_whole_payload() {
    let long = format!(r#"{{"site":"A","kw":"{}"}}"#, "x".repeat(100_000));
    assert!(error_of(&long).chars().count() < 200);
}

#[test]
fn a_decoder_recovers_from_what_it_was_fed() {
    let mut decoder = JsonDecoder::new(schema(), 4).unwrap();
    for _ in 0..3 {
        let bad = decoder.decode(&[Some(br#"{"site":"#)]).unwrap();
        assert_eq!(bad.bad.len(), 1);
        let good = decoder.decode(&[Some(br#"{"site":"A"}"#.as_slice()); 9]).unwrap();
        assert_eq!(good.indices.len(), 9, "more records than the capacity are fine");
    }
}

fn payload() -> impl Strategy<Value = Option<Vec<u8>>> {
    let text = |text: &'static str| Just(Some(text.as_bytes().to_vec()));
    prop_oneof![
        8 => (0..5_u8, -1e9..1e9_f64).prop_map(|(site, kw)| {
            Some(format!(r#"{{"site":"{site}","kw":{kw},"count":{site}}}"#).into_bytes())
        }),
        1 => text(r#"{"site":"A","ts":"2026-11-22 10:00:00.125"}"#),
        1 => text(r#"{"site":"é","on":false}"#),
        1 => text(r#"{"site":"A","count":9007199254740993}"#),
        1 => text(r#"{"site":"A","count":1.25,"kw":1e999}"#),
        1 => text(r#"{"site":1}"#),
        1 => text(r#"{"kw":1}"#),
        1 => text(r#"{"site":"A","kw":1e999}"#),
        1 => text(r#"{"site":"A"}{"site":"B"}"#),
        1 => text(r#"{"site":"#),
        1 => text("{\"site\":\"A\",\"kw\":[1}"),
        1 => Just(None),
        1 => proptest::collection::vec(any::<u8>(), 0..12).prop_map(Some),
        1 => proptest::collection::vec(any::<u8>(), 0..12)
            .prop_map(|bytes| Some([b"{\"site\":\"".as_slice(), &bytes, b"\"}"].concat())),
    ]
}

proptest! {
    /// Rows and bad records partition the input, in order, and a batch says of
    /// each record what a batch of it alone would say.
    #[test]
    fn a_batch_decodes_as_its_records_do(
        payloads in proptest::collection::vec(payload(), 0..60)
    ) {
        let payloads: Vec<Payload<'_>> = payloads.iter().map(Option::as_deref).collect();
        let together = decode(&payloads);

        let mut indices: Vec<usize> = together.indices.clone();
        indices.extend(together.bad.iter().map(|(index, _)| *index));
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..payloads.len()).collect::<Vec<_>>());
        prop_assert!(together.indices.is_sorted());
        prop_assert!(together.bad.is_sorted_by_key(|(index, _)| *index));
        prop_assert_eq!(together.rows.num_rows(), together.indices.len());

        let mut rows = Vec::new();
        let mut bad = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let alone = decode(&[*payload]);
            bad.extend(alone.bad.into_iter().map(|(_, error)| (index, error)));
            rows.push(alone.rows);
        }
        prop_assert_eq!(&together.bad, &bad);
        prop_assert_eq!(together.rows, concat_batches(&schema(), &rows).unwrap());
    }
}
