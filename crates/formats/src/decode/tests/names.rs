//! Which field is which column.

use super::*;

fn table(names: &[&str]) -> Decoder {
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(*name, DataType::Float64, true)).collect();
    decoder(Arc::new(Schema::new(fields)))
}

/// The first column's values of records decoded alone and together, which agree.
fn first_column(names: &[&str], payloads: &[&str]) -> Vec<Option<f64>> {
    let values = |decoder: &mut Decoder, payloads: &[&str]| -> Vec<Option<f64>> {
        let payloads: Vec<Payload<'_>> =
            payloads.iter().map(|text| Some(text.as_bytes())).collect();
        let decoded = decoder.decode(&payloads).unwrap();
        decoded.rows.column(0).as_primitive::<Float64Type>().iter().collect()
    };
    let together = values(&mut table(names), payloads);
    let alone: Vec<_> =
        payloads.iter().flat_map(|payload| values(&mut table(names), &[payload])).collect();
    assert_eq!(together, alone, "a record's fields must not depend on the others");
    together
}

/// SQL lower-cases what nobody quotes; producers write camelCase.
#[test]
fn a_field_is_found_whatever_its_case_where_that_is_unambiguous() {
    let records = [
        r#"{"activePower":1}"#,
        r#"{"ACTIVEPOWER":2}"#,
        r#"{"activepower":3}"#,
        // The exact name wins, before or behind.
        r#"{"activepower":4,"activePower":9}"#,
        r#"{"activePower":9,"activepower":5}"#,
        // Two others: neither.
        r#"{"activePower":9,"ActivePower":9}"#,
        // One of them twice is one field, which counts with its last value.
        r#"{"activePower":9,"activePower":6}"#,
        r#"{"other":9}"#,
        r#"{"active\u0050ower":7}"#,
    ];
    let expected =
        [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0), None, Some(6.0), None, Some(7.0)];
    assert_eq!(first_column(&["activepower"], &records), expected);
    assert_eq!(first_column(&["größe"], &[r#"{"GRÖSSE":1}"#, r#"{"Größe":2}"#]), [None, Some(2.0)]);
}

#[test]
fn a_field_that_is_a_column_exactly_is_no_other_column() {
    assert_eq!(first_column(&["kw", "KW"], &[r#"{"KW":1}"#, r#"{"Kw":2}"#]), [None, Some(2.0)]);
}

#[test]
fn fields_are_found_in_any_order_and_number() {
    let wide = |shift: usize| {
        let fields: Vec<String> =
            (0..300).map(|index| format!(r#""f{}":{index}"#, (index + shift) % 300)).collect();
        format!("{{{}}}", fields.join(","))
    };
    let records: Vec<String> = (0..40).map(|record| wide(record * 7)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let expected: Vec<Option<f64>> =
        (0..40).map(|record| Some(((17 + 300 - (record * 7) % 300) % 300) as f64)).collect();
    assert_eq!(first_column(&["f17"], &records), expected);
}

/// A topic whose fields are data must neither fill the memory nor be misread.
#[test]
fn more_names_than_are_remembered_are_read_alike() {
    let mut decoder = table(&["activepower"]);
    for index in 0..6_000 {
        let payload = format!(r#"{{"reading{index}":1,"activePower":{index}}}"#);
        let decoded = decoder.decode(&[Some(payload.as_bytes())]).unwrap();
        let value = decoded.rows.column(0).as_primitive::<Float64Type>().value(0);
        assert_eq!(value, f64::from(index));
    }
    assert!(decoder.absent_columns().is_empty());
}

#[test]
fn a_column_that_no_record_has_is_told_with_its_nearest_field() {
    let mut decoder = table(&["activepowr", "kw", "zz"]);
    assert!(decoder.absent_columns().is_empty(), "nothing is known of no records");
    let records = [r#"{"activePower":1,"kw":null,"ts":1}"#, "[]", r#"{"ts":2}"#];
    let payloads: Vec<Payload<'_>> = records.iter().map(|text| Some(text.as_bytes())).collect();
    decoder.decode(&payloads).unwrap();
    assert_eq!(decoder.records(), 2, "what is no object has no fields");
    let absent = decoder.absent_columns();
    let said: Vec<String> = absent.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "no record had a column `activepowr`; they have `activePower`, `kw`, `ts`; \
             did you mean `activePower`?",
            "no record had a column `zz`; they have `activePower`, `kw`, `ts`",
        ]
    );
    decoder.decode(&[Some(br#"{"zz":1}"#)]).unwrap();
    assert_eq!(decoder.absent_columns().len(), 1, "a column may come later");
}
