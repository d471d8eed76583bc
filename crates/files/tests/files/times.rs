//! Times: one rule for a column, whatever its values look like one by one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date64Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, Time64MicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use tidecast_files::infer_schema;

use crate::helpers::{file, parquet, times};

const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;
const MIDNIGHT: i64 = 1_722_470_400 * SECOND;

#[test]
fn a_text_columns_numbers_have_one_unit() {
    let cases: [(&[&str], &[i64]); 11] = [
        (
            &["2024-08-01 23:00", "2024-08-01 24:00"],
            &[MIDNIGHT + DAY - 3600 * SECOND, MIDNIGHT + DAY],
        ),
        (&["76204800000", "136684800000"], &[76_204_800 * SECOND, 136_684_800 * SECOND]),
        (&["0", "86400000000", "136684800000"], &[0, 1000 * DAY, 136_684_800 * SECOND]),
        (&["1722470400.25"], &[MIDNIGHT + 250_000]),
        (&["1722470400000.0"], &[MIDNIGHT]),
        (&["\"1722470400\""], &[MIDNIGHT]),
        (&["\"1722470400,5\""], &[MIDNIGHT + 500_000]),
        (&["1.7224704e9"], &[MIDNIGHT]),
        (&["20240801", "20240802"], &[MIDNIGHT, MIDNIGHT + DAY]),
        (&["1970", "1971"], &[0, 365 * DAY]),
        (&["2024-08", "2024-08-01T00:00:00+02:00"], &[MIDNIGHT, MIDNIGHT - 7200 * SECOND]),
    ];
    let folder = TempDir::new().unwrap();
    for (values, expected) in cases {
        let rows: String = values.iter().map(|value| format!("{value},1\n")).collect();
        let path = file(&folder, "a.csv", format!("ts,kw\n{rows}").as_bytes());
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        assert_eq!(times(&path, "ts").unwrap(), (expected, vec![]), "{values:?}");
    }
}

#[test]
fn times_that_are_none_are_named_and_a_column_of_them_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.csv", b"ts,kw\n2024-08-01,1\n01/08/2024,1\nNA,1\n");
    let (found, errors) = times(&path, "ts").unwrap();
    assert_eq!(found, [Some(MIDNIGHT), None]);
    assert!(
        errors[0]
            .starts_with("line 3: column `ts`: `01/08/2024` has the day or the month in front"),
        "{errors:?}"
    );
    let path = file(&folder, "b.csv", b"ts,kw\n1,1\n2,1\n3,1\n");
    let error = times(&path, "ts").unwrap_err();
    assert!(error.contains("column `ts` holds no times: numbers from `1` to `3` are"), "{error}");
    // A counter that is named like a time is not taken for one.
    let path = file(&folder, "c.csv", b"ts,uptime\n2024-08-01,1700\n2024-08-02,1800\n");
    let inferred = infer_schema(&path).unwrap();
    assert_eq!(inferred.time_columns, ["ts"]);
    assert!(inferred.may_be_numeric("uptime"));
}

#[test]
fn parquet_columns_of_all_kinds_are_times() {
    let folder = TempDir::new().unwrap();
    let decimals = Decimal128Array::from(vec![1_722_470_400_250_i128, 1_722_470_401_250]);
    let columns: [(ArrayRef, [i64; 2]); 9] = [
        (
            Arc::new(Float64Array::from(vec![1_722_470_400.25, 1_722_470_401.5])),
            [MIDNIGHT + 250_000, MIDNIGHT + 1_500_000],
        ),
        (
            Arc::new(Float64Array::from(vec![1_722_470_400_000.0, 1_722_470_401_000.0])),
            [MIDNIGHT, MIDNIGHT + SECOND],
        ),
        (
            Arc::new(decimals.with_precision_and_scale(18, 3).unwrap()),
            [MIDNIGHT + 250_000, MIDNIGHT + 1_250_000],
        ),
        (Arc::new(Int32Array::from(vec![20_240_801, 20_240_802])), [MIDNIGHT, MIDNIGHT + DAY]),
        (
            Arc::new(Int64Array::from(vec![86_400_000, 136_684_800_000])),
            [DAY, 136_684_800 * SECOND],
        ),
        (Arc::new(Date64Array::from(vec![0, 86_400_000])), [0, DAY]),
        (
            Arc::new(TimestampSecondArray::from(vec![0, 253_402_214_400])),
            [0, 253_402_214_400 * SECOND],
        ),
        (Arc::new(TimestampNanosecondArray::from(vec![1_000, i64::MAX])), [1, i64::MAX / 1000]),
        (
            Arc::new(StringArray::from(vec!["2024-08-01 24:00", "2024-08-01"])),
            [MIDNIGHT + DAY, MIDNIGHT],
        ),
    ];
    for (column, expected) in columns {
        let kind = column.data_type().clone();
        let path =
            parquet(&folder, "a.parquet", &RecordBatch::try_from_iter([("date", column)]).unwrap());
        assert_eq!(times(&path, "date").unwrap(), (expected.map(Some).to_vec(), vec![]), "{kind}");
        assert_eq!(infer_schema(&path).unwrap().time_columns, ["date"], "{kind}");
    }
}

#[test]
fn a_zone_is_not_lost_and_what_does_not_fit_is_a_bad_row() {
    let folder = TempDir::new().unwrap();
    let column = TimestampMillisecondArray::from(vec![0, i64::MAX]).with_timezone("Asia/Tokyo");
    let rows = RecordBatch::try_from_iter([("ts", Arc::new(column) as ArrayRef)]).unwrap();
    let (found, errors) = times(&parquet(&folder, "a.parquet", &rows), "ts").unwrap();
    assert_eq!(found, [Some(0)]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("row 1: "), "{errors:?}");
}

#[test]
fn a_time_of_day_is_no_time() {
    let folder = TempDir::new().unwrap();
    let column: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1]));
    let path =
        parquet(&folder, "a.parquet", &RecordBatch::try_from_iter([("ts", column)]).unwrap());
    let error = times(&path, "ts").unwrap_err();
    let expected = "holds times of day without a date, which cannot become TIMESTAMP; write date and time in one column";
    assert!(error.contains(expected), "{error}");
}

/// As 64-bit nanoseconds 9999-12-31 would wrap around to 1816.
#[test]
fn int96_times_do_not_wrap_around() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = Arc::new(parse_message_type("message m { required int96 ts; }").unwrap());
    let out = std::fs::File::create(&path).unwrap();
    let mut writer =
        SerializedFileWriter::new(out, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let days = [2_440_588, 2_460_524, 5_373_484];
    let values: Vec<Int96> = days
        .iter()
        .map(|day| {
            let mut value = Int96::new();
            value.set_data(5_000, 0, *day);
            value
        })
        .collect();
    column.typed::<Int96Type>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let expected = [5, MIDNIGHT + 5, 253_402_214_400 * SECOND + 5];
    assert_eq!(times(&path, "ts").unwrap(), (expected.map(Some).to_vec(), vec![]));
}
