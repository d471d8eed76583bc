//! What each value means in each column: one table for topics and files.

use arrow::array::Array;
use arrow::util::display::array_value_to_string;

use super::*;
use crate::time::TimeRule;

/// A column's type and what JSON may hold for it: `Ok` is the value as Arrow
/// prints it (`∅` for missing), `Err` a piece of the reason.
type Cases<'a> = (DataType, &'a [(&'a str, Result<&'a str, &'a str>)]);

const MISSING: &str = "∅";

fn table() -> Vec<Cases<'static>> {
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
    vec![
        (
            DataType::Utf8,
            &[
                (r#""007""#, Ok("007")),
                (r#""""#, Ok("")),
                (r#"" a ""#, Ok(" a ")),
                (r#""NaN""#, Ok("NaN")),
                (r#""null""#, Ok("null")),
                (r#""a\"b\\c\/\u00e9\ud83d\ude00\n""#, Ok("a\"b\\c/é😀\n")),
                ("7", Ok("7")),
                ("7.10", Ok("7.10")),
                ("-0", Ok("-0")),
                ("12e4", Ok("12e4")),
                ("12345678901234567890", Ok("12345678901234567890")),
                ("true", Ok("true")),
                ("null", Ok(MISSING)),
                ("NaN", Ok(MISSING)),
                (r#"{"a":1}"#, Err(r#"expected a string, got `{"a":1}`"#)),
                ("[1]", Err("expected a string, got `[1]`")),
                (r#""\ud800""#, Err("no character")),
                (r#""\u+123""#, Err("no character")),
                (r#""\x41""#, Err("`\\x` is no escape")),
            ],
        ),
        (
            DataType::Float64,
            &[
                ("1.5", Ok("1.5")),
                (r#""1.5""#, Ok("1.5")),
                (r#"" 1.5 ""#, Ok("1.5")),
                ("-2e-3", Ok("-0.002")),
                ("123456789012345680", Ok("1.2345678901234568e17")),
                ("null", Ok(MISSING)),
                ("NaN", Ok(MISSING)),
                (r#""NaN""#, Ok(MISSING)),
                (r#""nan""#, Ok(MISSING)),
                (r#""NA""#, Ok(MISSING)),
                (r#""N/A""#, Ok(MISSING)),
                (r#""null""#, Ok(MISSING)),
                (r#""None""#, Ok(MISSING)),
                (r#""""#, Ok(MISSING)),
                (r#""\u0031""#, Ok("1.0")),
                ("Infinity", Err("`Infinity` is not a finite number")),
                ("-Infinity", Err("`-Infinity` is not a finite number")),
                (r#""-inf""#, Err("not a finite number")),
                ("1e999", Err("`1e999` is not a finite number")),
                ("true", Err("expected a number, got `true`")),
                (r#""high""#, Err("expected a number, got `\"high\"`")),
                (r#""1,5""#, Err("expected a number")),
                (r#"{"a":1}"#, Err(r#"expected a number, got `{"a":1}`"#)),
                ("1-2", Err("expected a number, got `1-2`")),
            ],
        ),
        (DataType::Float32, &[("1.5", Ok("1.5")), ("1e39", Err("not a finite number"))]),
        (
            DataType::Int64,
            &[
                ("7", Ok("7")),
                (r#""7""#, Ok("7")),
                ("7.0", Ok("7")),
                ("7e0", Ok("7")),
                ("-1.2e1", Ok("-12")),
                ("9007199254740993", Ok("9007199254740993")),
                ("9007199254740993.0", Ok("9007199254740993")),
                ("9223372036854775807", Ok("9223372036854775807")),
                ("NaN", Ok(MISSING)),
                (r#""NA""#, Ok(MISSING)),
                ("7.5", Err("expected a whole number, got `7.5`")),
                ("7.00000000000000000000000000000001", Err("expected a whole number, got `7.0")),
                ("1e-400", Err("expected a whole number, got `1e-400`")),
                ("9223372036854775808", Err("expected a whole number (Int64)")),
                ("1e30", Err("expected a whole number (Int64), got `1e30`")),
                (r#""1.x""#, Err("expected a whole number (Int64)")),
                ("true", Err("got `true`")),
            ],
        ),
        (DataType::Int8, &[("127", Ok("127")), ("128", Err("whole number (Int8), got `128`"))]),
        (
            DataType::UInt64,
            &[("18446744073709551615", Ok("18446744073709551615")), ("-1", Err("got `-1`"))],
        ),
        (
            DataType::Decimal128(10, 2),
            &[
                ("7.10", Ok("7.10")),
                (r#""7.1""#, Ok("7.10")),
                ("NaN", Ok(MISSING)),
                ("1e99", Err("a number")),
            ],
        ),
        (
            DataType::Boolean,
            &[
                ("true", Ok("true")),
                (r#""False""#, Ok("false")),
                (r#""NA""#, Ok(MISSING)),
                ("NaN", Ok(MISSING)),
                ("1", Err("expected true or false, got `1`")),
                (r#""yes""#, Err("expected true or false")),
            ],
        ),
        (
            microseconds,
            &[
                (r#""2024-08-01T00:00:00Z""#, Ok("2024-08-01T00:00:00")),
                (r#""2024-08-01 02:00+02:00""#, Ok("2024-08-01T00:00:00")),
                (r#""2024-07-31 24:00""#, Ok("2024-08-01T00:00:00")),
                (r#""2024-08-01\u005400:00:00Z""#, Ok("2024-08-01T00:00:00")),
                ("1722470400", Ok("2024-08-01T00:00:00")),
                ("1722470400.25", Ok("2024-08-01T00:00:00.250")),
                ("1722470400000", Ok("2024-08-01T00:00:00")),
                ("1722470400000.0", Ok("2024-08-01T00:00:00")),
                ("1722470400000000", Ok("2024-08-01T00:00:00")),
                ("1722470400000000000", Ok("2024-08-01T00:00:00")),
                ("1.7224704e12", Ok("2024-08-01T00:00:00")),
                (r#""1722470400000""#, Ok("2024-08-01T00:00:00")),
                ("null", Ok(MISSING)),
                ("NaN", Ok(MISSING)),
                (r#""""#, Ok(MISSING)),
                (r#""NaT?""#, Err("`NaT?` is no time")),
                (r#""today""#, Err("`today` is no time; expected e.g. `2024-08-01T10:00:00Z`")),
                (r#""01/08/2024""#, Err("cannot be told apart")),
                ("7", Err("say the unit")),
                ("20240801", Err("too small a number to tell its unit")),
                ("1e999", Err("lies outside the years")),
                ("Infinity", Err("expected a timestamp such as")),
                ("true", Err("expected a timestamp such as")),
            ],
        ),
        // The type is how much of a time is kept, not what a number counts.
        (
            DataType::Timestamp(TimeUnit::Second, None),
            &[
                ("1722470400999", Ok("2024-08-01T00:00:00")),
                ("-999999999.5", Ok("1938-04-24T22:13:20")),
            ],
        ),
        (
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            &[("1722470400", Ok("2024-08-01T00:00:00")), (r#""2999-12-31""#, Err("1677 to 2262"))],
        ),
        (
            DataType::Date32,
            &[
                (r#""2024-08-01""#, Ok("2024-08-01")),
                (r#""2024/08/01""#, Ok("2024-08-01")),
                (r#""2024-08-01T10:00:00Z""#, Ok("2024-08-01")),
                ("19936", Ok("2024-08-01")),
                (r#""NA""#, Ok(MISSING)),
                ("true", Err("expected a date such as")),
            ],
        ),
    ]
}

/// Decodes `{"x":<token>,"after":1}` and returns `x`, or why it is none.
fn value(data_type: &DataType, token: &str) -> Result<String, String> {
    let fields =
        vec![Field::new("x", data_type.clone(), true), Field::new("after", DataType::Int64, false)];
    let payload = format!(r#"{{"x":{token},"after":1}}"#);
    let mut decoder = decoder(Arc::new(Schema::new(fields)));
    let mut decoded = decoder.decode(&[Some(payload.as_bytes())]).unwrap();
    match decoded.bad.pop() {
        Some((_, error)) => Err(error),
        None if decoded.rows.column(0).is_null(0) => Ok(MISSING.to_owned()),
        None => Ok(array_value_to_string(decoded.rows.column(0), 0).unwrap()),
    }
}

#[test]
fn a_value_means_what_its_column_makes_of_it() {
    for (data_type, cases) in table() {
        for (token, expected) in cases {
            match (value(&data_type, token), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, *expected, "{data_type} {token}"),
                (Err(error), Err(reason)) => {
                    assert!(error.contains(reason), "{data_type} {token}: {error}");
                    let is_named = error.contains("column `x`");
                    assert!(is_named || error.contains("malformed"), "{token}: {error}");
                }
                (found, _) => panic!("{data_type} {token}: {found:?}, expected {expected:?}"),
            }
        }
    }
}

/// The same in the other kinds of text, and where nothing may be missing.
#[test]
fn not_null_columns_refuse_all_that_is_missing() {
    for (data_type, cases) in table() {
        let fields = vec![Field::new("x", data_type.clone(), false)];
        let mut decoder = decoder(Arc::new(Schema::new(fields)));
        let missing = cases.iter().filter(|(_, expected)| *expected == Ok(MISSING));
        let payloads = missing.map(|(token, _)| format!(r#"{{"x":{token}}}"#));
        for payload in payloads.chain(["{}".to_owned()]) {
            let decoded = decoder.decode(&[Some(payload.as_bytes())]).unwrap();
            assert_eq!(decoded.bad[0].1, "column `x` is NOT NULL but missing or null", "{payload}");
        }
    }
}

#[test]
fn all_kinds_of_text_columns_hold_the_same() {
    for data_type in [DataType::LargeUtf8, DataType::Utf8View] {
        for (token, expected) in table()[0].1 {
            let found = value(&data_type, token);
            assert_eq!(found.as_deref().ok(), expected.ok(), "{token}");
        }
    }
}

#[test]
fn a_unit_that_was_said_goes_for_numbers_quoted_or_not() {
    let fields = vec![Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false)];
    let rule = TimeRule::in_unit(tidecast_stream::EpochUnit::Milliseconds);
    let mut decoder = Decoder::new(
        DecoderConfig { rule, ..DecoderConfig::new(Arc::new(Schema::new(fields))) },
        None,
    )
    .unwrap();
    for payload in [r#"{"ts":86400000}"#, r#"{"ts":"86400000"}"#, r#"{"ts":"1970-01-02"}"#] {
        let decoded = decoder.decode(&[Some(payload.as_bytes())]).unwrap();
        let shown = array_value_to_string(decoded.rows.column(0), 0).unwrap();
        assert_eq!(shown, "1970-01-02T00:00:00", "{payload}");
    }
}

/// What a field holds that no column wants costs the record nothing.
#[test]
fn values_of_other_fields_are_passed_over() {
    for token in
        ["NaN", "-Infinity", r#"[1,{"a":[NaN,"]}"]}]"#, r#"{"kw":"no","kw":{}}"#, r#""\"}""#]
    {
        let payload = format!(r#"{{"other":{token},"site":"A","kw":2}}"#);
        let decoded = decode(&[Some(payload.as_bytes())]);
        assert!(decoded.bad.is_empty(), "{payload}: {:?}", decoded.bad);
        assert_eq!(decoded.rows.column(1).as_primitive::<Float64Type>().value(0), 2.0);
    }
}

#[test]
fn a_type_that_json_cannot_give_is_refused_by_column() {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let schema = Arc::new(Schema::new(vec![Field::new("x", list, true)]));
    let error = Decoder::new(DecoderConfig::new(schema), None).unwrap_err();
    assert!(error.to_string().contains("column `x`"), "{error}");
}
