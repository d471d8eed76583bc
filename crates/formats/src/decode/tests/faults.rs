//! Records that are no JSON object, and what is said of them.

use super::*;

#[test]
fn errors_name_what_was_expected() {
    let cases: &[(&str, &str)] = &[
        (r#"{"kw":1}"#, "column `site` is NOT NULL but missing or null"),
        (r#"{"site":null,"kw":1}"#, "column `site` is NOT NULL but missing or null"),
        (r#"{"site":"A""#, "cut off"),
        (r#"{"site":"A\"#, "cut off"),
        (r#"{"site":"A","kw":"#, "cut off"),
        (r#"{"site":"A","kw":1"#, "cut off"),
        (r#"{"site":"A","x":[1,2"#, "cut off"),
        (r#"{"site":"A"}{"site":"B"}"#, "more than one JSON value"),
        (r#"{"site":"A"} x"#, "malformed JSON: unexpected `x` behind the object (byte 14)"),
        (r#"{"site":Nil}"#, "malformed JSON: unexpected `i` in `NaN`"),
        (r#"{"site":'A'}"#, "malformed JSON: unexpected `'` where a value begins"),
        (r#"{site:"A"}"#, "malformed JSON: unexpected `s` where a field's name begins"),
        (r#"{"site"="A"}"#, "malformed JSON: unexpected `=` behind a field's name"),
        (r#"{"site":"A","x":[1}"#, "malformed JSON: unexpected `}`"),
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
    let zeros = error_of([0_u8; 100]);
    assert!(zeros.contains("not a JSON object") && zeros.contains("`\\x00\\x00"), "{zeros}");
    let avro = error_of(b"\x02\x0aA\xff");
    assert!(avro.contains("got `\\x02\\nA\\xff`"), "{avro}");
    let utf16 = error_of(b"\xff\xfe{\0}\0");
    assert!(utf16.contains("UTF-16"), "{utf16}");
}

/// Producers in .NET put a mark in front, which nobody sees.
#[test]
fn a_byte_order_mark_is_taken_off() {
    let decoded = decode(&[Some(b"\xEF\xBB\xBF{\"site\":\"A\",\"kw\":2}")]);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let error = error_of(b"\xEF\xBB\xBF\xEF\xBB\xBFx");
    assert!(error.contains("`\\u{feff}x`"), "{error}");
}

/// JSON Schema payloads are JSON behind five bytes; Avro is not.
#[test]
fn the_header_of_a_schema_registry_is_taken_off_or_named() {
    for head in [
        b"\0\0\0\0\x07".as_slice(),
        b"\0\0\0\0\0",
        b"\0\xff\xff\xff\xff\xEF\xBB\xBF",
        b"\0\0\0\x01\x2a ",
    ] {
        let payload = [head, br#"{"site":"A","kw":2}"#].concat();
        let decoded = decode(&[Some(&payload)]);
        assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
        assert_eq!(decoded.rows.column(0).as_string::<i32>().value(0), "A");
    }
    for rest in [b"\x02A\x00".as_slice(), b"", b"[1]"] {
        let error = error_of([b"\0\0\0\0\x2a", rest].concat());
        let expected = "a schema registry's header (magic byte 0, schema id 42)";
        assert!(error.contains(expected) && error.contains("Avro"), "{error}");
    }
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
        let deep = format!(r#"{{"site":"A","x":{}1{}}}"#, open.repeat(63), close.repeat(63));
        assert!(decode(&[Some(deep.as_bytes())]).bad.is_empty(), "{open}");
    }
    let brackets = format!(r#"{{"site":"\"{}","kw":1}}"#, "[".repeat(500));
    assert!(decode(&[Some(brackets.as_bytes())]).bad.is_empty());
}

#[test]
fn a_message_never_repeats_a_whole_payload() {
    let long = "x".repeat(100_000);
    for payload in [
        format!(r#"{{"site":"A","kw":"{long}"}}"#),
        format!(r#"{{"site":"A","ts":"{long}"}}"#),
        format!(r#"{{"site":"A","count":{}.5}}"#, "1".repeat(100_000)),
        long,
    ] {
        assert!(error_of(&payload).chars().count() < 300);
    }
}
