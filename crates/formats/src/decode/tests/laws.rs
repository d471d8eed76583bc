//! What holds for any records.

use arrow::compute::concat_batches;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A table with a column of each kind.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, true),
        Field::new("kw", DataType::Float64, true),
        Field::new("count", DataType::Int64, false),
        Field::new("on", DataType::Boolean, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

fn decode(payloads: &[Payload<'_>]) -> Decoded {
    decoder(schema()).decode(payloads).unwrap()
}

fn token() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "NaN",
        "-Infinity",
        "1e999",
        "7.0",
        "7.5",
        "-0",
        "01",
        "1e5",
        "9223372036854775808",
        "12345678901234567890123",
        "\"\"",
        "\"NA\"",
        "\" 7 \"",
        "\"7.10\"",
        "\"2024-08-01T00:00:00Z\"",
        "\"2024-08-01 24:00\"",
        "1722470400",
        "1722470400000",
        "\"1722470400.5\"",
        "\"\\u00e9\\n\\\"\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\q\"",
        "[1,[2,{\"kw\":3}]]",
        "{\"a\":{\"count\":[]}}",
        "[",
        "\"",
        "nul",
        "}",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        6 => any::<f64>().prop_map(|number| if number.is_finite() { number.to_string() } else { "0".into() }),
        4 => any::<i64>().prop_map(|number| number.to_string()),
        4 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        8 => odd,
    ]
}

fn object() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "site",
        "kw",
        "count",
        "on",
        "ts",
        "KW",
        "Kw",
        "Count",
        "Ts",
        "x",
        "\\u0073ite",
        "é",
    ]);
    let field = (names, token()).prop_map(|(name, token)| format!("\"{name}\": {token}"));
    let count = any::<i32>().prop_map(|count| format!("\"count\":{count}"));
    let fields = proptest::collection::vec(field, 0..6);
    (fields, count, any::<bool>()).prop_map(|(mut fields, count, has_count)| {
        if has_count {
            fields.push(count);
        }
        format!("{{{}}}", fields.join(", ")).into_bytes()
    })
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => object(),
        1 => (object(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
            bytes.truncate(at.index(bytes.len()));
            bytes
        }),
        1 => (object(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn payloads() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    proptest::collection::vec(proptest::option::weighted(0.95, record()), 0..40)
}

proptest! {
    /// Rows and bad records partition the input, in order, and whole batches, one
    /// record at a time and batches cut anywhere say the same of each.
    #[test]
    fn what_becomes_of_a_record_depends_on_no_other(
        payloads in payloads(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let payloads: Vec<Payload<'_>> = payloads.iter().map(Option::as_deref).collect();
        let together = decode(&payloads);

        let mut indices: Vec<usize> = together.indices.clone();
        indices.extend(together.bad.iter().map(|(index, _)| *index));
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..payloads.len()).collect::<Vec<_>>());
        prop_assert!(together.indices.is_sorted());
        prop_assert!(together.bad.is_sorted_by_key(|(index, _)| *index));

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payloads.len() + 1)).collect();
        cuts.extend([0, payloads.len()]);
        cuts.sort_unstable();
        let singles: Vec<usize> = (0..=payloads.len()).collect();
        for cuts in [cuts, singles] {
            // One decoder for all pieces: nothing of the one may stay for the next.
            let mut decoder = decoder(schema());
            let (mut rows, mut bad) = (Vec::new(), Vec::new());
            for piece in cuts.windows(2) {
                let decoded = decoder.decode(&payloads[piece[0]..piece[1]]).unwrap();
                bad.extend(decoded.bad.into_iter().map(|(index, error)| (piece[0] + index, error)));
                rows.push(decoded.rows);
            }
            prop_assert_eq!(&together.bad, &bad);
            prop_assert_eq!(&together.rows, &concat_batches(&schema(), &rows).unwrap());
        }
    }

    /// What serde_json takes as an object is one here, with the same values.
    #[test]
    fn another_parser_reads_the_same(payload in record()) {
        let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(&payload) else {
            return Ok(());
        };
        let fields = vec![Field::new("site", DataType::Utf8, true), Field::new("kw", DataType::Float64, true)];
        let mut decoder = decoder(Arc::new(Schema::new(fields)));
        let decoded = decoder.decode(&[Some(&payload)]).unwrap();
        if let Some((_, error)) = decoded.bad.first() {
            // Only for a value's sake.
            prop_assert!(error.starts_with("column `"), "{}", error);
            return Ok(());
        }
        match object.get("site") {
            Some(Value::String(text)) => {
                prop_assert_eq!(decoded.rows.column(0).as_string::<i32>().value(0), text);
            }
            None | Some(Value::Null) => prop_assert!(decoded.rows.column(0).is_null(0)),
            _ => {}
        }
        if let Some(Value::Number(number)) = object.get("kw") {
            let found = decoded.rows.column(1).as_primitive::<Float64Type>().value(0);
            // The other one rounds its last digit wrongly at times.
            let expected = number.as_f64().unwrap_or(f64::NAN);
            prop_assert!((found - expected).abs() <= 1e-14 * expected.abs(), "{found} {expected}");
        }
    }
}
