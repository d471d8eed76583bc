//! What a series is called is text, as written, wherever it comes from.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray, TimestampSecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use tidecast_files::infer_schema;

use crate::helpers::{file, parquet, texts};

/// Names that something takes for numbers, truth values or times.
const NAMES: [&str; 24] = [
    "007",
    "7",
    "3.1",
    "3.10",
    "12e4",
    "120000",
    "+4930123",
    "4930123",
    "-0",
    "0",
    "true",
    "TRUE",
    "2024-08",
    "2024-08-01",
    "89014103211118510720",
    "89014103211118510721",
    "1,000",
    "0x10",
    "1_000",
    " x ",
    "inf",
    "1.",
    "NA",
    "null",
];

#[test]
fn of_text_formats_an_id_is_its_text() {
    let folder = TempDir::new().unwrap();
    let expected: Vec<Option<String>> = NAMES.iter().map(|name| Some((*name).to_owned())).collect();
    let rows = |separator: &str, quote: &str| {
        let rows = NAMES.iter().map(|name| format!("1{separator}{quote}{name}{quote}\n"));
        format!("kw{separator}id\n{}", rows.collect::<String>())
    };
    for (ending, content) in [
        ("csv", rows(",", "\"")),
        ("csv", rows(";", "")),
        ("tsv", rows("\t", "")),
        ("jsonl", NAMES.iter().map(|name| format!("{{\"kw\":1,\"id\":\"{name}\"}}\n")).collect()),
    ] {
        let path = file(&folder, &format!("a.{ending}"), content.as_bytes());
        let field = infer_schema(&path).unwrap().as_text(&path, "id").unwrap();
        assert_eq!(field.data_type(), &DataType::Utf8);
        assert_eq!(texts(&path, "id").unwrap(), (expected.clone(), vec![]), "{content}");
    }
}

#[test]
fn an_empty_id_is_none() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.csv", b"id,kw\n,1\n\"\",2\na,3\n");
    assert_eq!(texts(&path, "id").unwrap().0, [None, None, Some("a".to_owned())]);
}

/// The case of an X12 behind ten thousand numbers.
#[test]
fn what_stands_behind_the_sample_is_read_like_what_is_in_it() {
    let folder = TempDir::new().unwrap();
    let mut csv = "site,kw\n".to_owned();
    (0..10_100).for_each(|row| csv += &format!("1001,{row}\n"));
    csv += "X12,5\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let path = file(&folder, "a.csv.gz", &gzip.finish().unwrap());
    let (ids, errors) = texts(&path, "site").unwrap();
    assert_eq!((ids.len(), errors.len()), (10_101, 0));
    assert_eq!(ids.last().unwrap().as_deref(), Some("X12"));
}

#[test]
fn of_a_typed_column_an_id_is_its_exact_decimal_text() {
    let folder = TempDir::new().unwrap();
    let decimals = |scale, values: Vec<i128>| {
        Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()
    };
    let dictionary: DictionaryArray<Int32Type> = ["007", "7"].into_iter().collect();
    let uuid = [vec![0x12_u8; 16], (0..16).collect()];
    let columns: [(ArrayRef, [&str; 2]); 17] = [
        (
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
            ["-9223372036854775808", "9223372036854775807"],
        ),
        (Arc::new(Int8Array::from(vec![-7, 7])), ["-7", "7"]),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1])),
            ["18446744073709551615", "18446744073709551614"],
        ),
        (Arc::new(decimals(2, vec![710, -5])), ["7.10", "-0.05"]),
        (
            Arc::new(decimals(0, vec![89_014_103_211_118_510_720, 89_014_103_211_118_510_721])),
            ["89014103211118510720", "89014103211118510721"],
        ),
        (
            Arc::new(Float64Array::from(vec![0.1, 9_007_199_254_740_993.0])),
            ["0.1", "9007199254740992.0"],
        ),
        (Arc::new(Float32Array::from(vec![0.1, 16_777_216.0])), ["0.1", "16777216.0"]),
        (Arc::new(BooleanArray::from(vec![true, false])), ["true", "false"]),
        (Arc::new(Date32Array::from(vec![0, 19_936])), ["1970-01-01", "2024-08-01"]),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1])),
            ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000001"],
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![0, 1]).with_timezone("UTC")),
            ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"],
        ),
        (Arc::new(BinaryArray::from(vec![&b"007"[..], b"7"])), ["007", "7"]),
        (Arc::new(dictionary), ["007", "7"]),
        (Arc::new(StringArray::from(vec!["3.10", "3.1"])), ["3.10", "3.1"]),
        (Arc::new(LargeStringArray::from(vec!["3.10", "3.1"])), ["3.10", "3.1"]),
        (Arc::new(StringViewArray::from(vec!["3.10", "3.1"])), ["3.10", "3.1"]),
        (
            Arc::new(FixedSizeBinaryArray::try_from_iter(uuid.into_iter()).unwrap()),
            ["12121212-1212-1212-1212-121212121212", "00010203-0405-0607-0809-0a0b0c0d0e0f"],
        ),
    ];
    for (column, expected) in columns {
        let kind = column.data_type().clone();
        let rows = RecordBatch::try_from_iter([("id", column)]).unwrap();
        let path = parquet(&folder, "a.parquet", &rows);
        let inferred = infer_schema(&path).unwrap();
        assert!(inferred.as_text(&path, "id").is_ok(), "{kind}");
        let (ids, errors) = texts(&path, "id").unwrap();
        let ids: Vec<&str> = ids.iter().flatten().map(String::as_str).collect();
        assert_eq!((ids, errors), (expected.to_vec(), vec![]), "{kind}");
    }
}

#[test]
fn bytes_that_are_no_text_are_no_id() {
    let folder = TempDir::new().unwrap();
    let column: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a"[..], b"\xFF"]));
    let rows = RecordBatch::try_from_iter([("id", column)]).unwrap();
    let (ids, errors) = texts(&parquet(&folder, "a.parquet", &rows), "id").unwrap();
    assert_eq!(ids, [Some("a".to_owned())]);
    assert_eq!(errors, ["row 1: `value` in column `id` is no VARCHAR"]);
}
