//! JSON files: one meaning with topics, however the objects are laid out.

use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use tempfile::TempDir;
use tidecast_files::{FileError, FileSource, FileSourceConfig, format_of, infer_schema};
use tidecast_stream::{EpochUnit, Source, SourceEvent};

use crate::helpers::{TIME, file, numbers, open, read, schema, texts, times};

fn only(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// `json.dump(rows)` and `indent=2` gave "no column `ts`", a line of an array a
/// table of no rows.
#[test]
fn rows_are_read_however_the_objects_are_laid_out() {
    let folder = TempDir::new().unwrap();
    let rows: Vec<String> = (0..300)
        .map(|row| {
            format!("{{\"id\": \"00{row}\", \"kw\": {row}, \"ts\": {}}}", 1_722_470_400 + row)
        })
        .collect();
    let pretty: Vec<String> =
        rows.iter().map(|row| row.replace('{', "  {\n    ").replace(", ", ",\n    ")).collect();
    let layouts = [
        rows.join("\n"),
        format!("[{}]", rows.join(",")),
        format!("[\n{}\n]\n", rows.join(",\n")),
        format!("[\n{}\n]\n", pretty.join(",\n")),
        pretty.join("\n"),
        rows.concat(),
        format!("\u{feff}[{}]", rows.join(", ")),
    ];
    let expected: Vec<f64> = (0..300).map(f64::from).collect();
    for (number, text) in layouts.iter().enumerate() {
        let path = file(&folder, &format!("{number}.json"), text.as_bytes());
        assert_eq!(numbers(&path, "kw"), Ok((only(&expected), Vec::new())), "{text:.80}");
        let (ids, _) = texts(&path, "id").unwrap();
        assert_eq!(ids[7].as_deref(), Some("007"), "an id is its text");
        assert_eq!(times(&path, "ts").unwrap().0[1], Some(1_722_470_401_000_000));
        let inferred = infer_schema(&path).unwrap();
        assert_eq!(inferred.time_columns, ["ts"], "{text:.80}");
    }
}

/// Python writes `NaN`; the other fields of the line were lost with it.
#[test]
fn nan_is_missing_and_costs_nothing_else() {
    let folder = TempDir::new().unwrap();
    let text = b"{\"ts\": \"2024-08-01\", \"kw\": NaN, \"b\": 1}\n\
        {\"ts\": \"2024-08-02\", \"kw\": 7, \"b\": 2}\n{\"ts\": \"2024-08-03\", \"kw\": \"NA\", \"b\": NaN}\n";
    let path = file(&folder, "a.jsonl", text);
    assert_eq!(numbers(&path, "b"), Ok((vec![Some(1.0), Some(2.0), None], Vec::new())));
    assert_eq!(numbers(&path, "kw"), Ok((vec![None, Some(7.0), None], Vec::new())));
    assert_eq!(infer_schema(&path).unwrap().number_columns, ["kw", "b"]);
}

/// Numbers as names of series, to the digit.
#[test]
fn text_is_what_is_written() {
    let folder = TempDir::new().unwrap();
    let text = b"{\"id\": \"007\"}\n{\"id\": 7}\n{\"id\": 3.10}\n{\"id\": 12345678901234567890}\n\
        {\"id\": true}\n{\"id\": \"\"}\n{\"id\": null}\n";
    let (ids, errors) = texts(&file(&folder, "a.jsonl", text), "id").unwrap();
    let ids: Vec<Option<&str>> = ids.iter().map(Option::as_deref).collect();
    let expected = [
        Some("007"),
        Some("7"),
        Some("3.10"),
        Some("12345678901234567890"),
        Some("true"),
        Some(""),
    ];
    assert_eq!(ids[..6], expected);
    assert_eq!((ids[6], errors.len()), (None, 0));
}

#[test]
fn a_bad_value_costs_its_row_and_is_told_with_its_line() {
    let folder = TempDir::new().unwrap();
    let text = b"[\n  {\n    \"kw\": 1\n  },\n  {\n    \"kw\": \"high\"\n  },\n  7,\n  {\n    \"kw: 3\n  },\n  {\n    \"kw\": 4\n  }\n]\n";
    let (values, errors) = numbers(&file(&folder, "a.json", text), "kw").unwrap();
    assert_eq!(values, only(&[1.0, 4.0]));
    assert_eq!(errors[0], "line 5: column `kw`: expected a number, got `\"high\"`");
    assert!(errors[1].starts_with("line 8: not a JSON object"), "{errors:?}");
    assert!(errors[2].starts_with("line 9: the JSON object is cut off"), "{errors:?}");
}

/// A file that is one object of lists was a table of one odd row.
#[test]
fn an_object_that_is_no_row_is_an_error_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let kw = schema(&[("kw", DataType::Float64)]);
    for (name, text, expected) in [
        ("a.json", r#"{"data": [{"kw": 1}, {"kw": 2}]}"#, "a list of 2 objects under `data`"),
        ("b.json", "{\n  \"ts\": [1, 2],\n  \"kw\": [3, 4]\n}", "one object of columns"),
    ] {
        let path = file(&folder, name, text.as_bytes());
        let error = open(&path, &kw).err().unwrap();
        assert!(error.contains(expected) && error.contains("an object a row"), "{error}");
        assert!(infer_schema(&path).is_err(), "{name}");
    }
    // Several of the kind are rows with something nested.
    let text = r#"{"kw": 1, "phases": [{}, {}]}
{"kw": 2, "phases": [{}, {}]}"#;
    assert_eq!(
        numbers(&file(&folder, "c.json", text.as_bytes()), "kw").unwrap().0,
        only(&[1.0, 2.0])
    );
}

/// The names of columns are found as on a topic, and refused as ever.
#[test]
fn a_column_is_found_whatever_its_case_and_a_misspelt_one_refused() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.jsonl", b"{\"activePower\": 1}\n{\"activePower\": 2}\n");
    assert_eq!(numbers(&path, "activepower").unwrap().0, only(&[1.0, 2.0]));
    let error = read(&path, &schema(&[("activepowr", DataType::Float64)])).unwrap_err();
    assert!(error.contains("has no column `activepowr`; did you mean `activePower`?"), "{error}");
}

/// Milliseconds of January 1970 are told from other numbers only by saying so; what
/// was said wrongly is an error where another unit makes sense.
#[test]
fn a_unit_that_was_said_goes_for_the_files_numbers() {
    let folder = TempDir::new().unwrap();
    let small = [
        file(&folder, "a.jsonl", b"{\"ts\": 0}\n{\"ts\": \"86400000\"}\n"),
        file(&folder, "a.csv", b"ts,x\n0,1\n86400000,1\n"),
    ];
    let read = |path: &Path, unit| {
        let mut source = FileSource::open(FileSourceConfig {
            path: path.to_owned(),
            format: format_of(path).unwrap(),
            schema: schema(&[("ts", TIME)]),
            fields: Vec::new(),
            batch_rows: 10,
            timestamp_unit: Some(unit),
        })?;
        let partition = source.partition().clone();
        source.start(&partition, None).unwrap();
        let SourceEvent::Batch(batch) = source.poll(Duration::ZERO).unwrap() else {
            panic!("no batch");
        };
        let column = batch.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        Ok::<_, FileError>(column.values().to_vec())
    };
    for path in &small {
        let day = 86_400_000_000;
        assert_eq!(read(path, EpochUnit::Milliseconds).unwrap(), [0, day], "{path:?}");
    }
    let today = file(&folder, "b.jsonl", b"{\"ts\": 1722470400000}\n{\"ts\": 1722474000000}\n");
    let error = read(&today, EpochUnit::Microseconds).unwrap_err().to_string();
    assert!(error.contains("say so with `'timestamp.unit' = 'ms'`"), "{error}");
}
