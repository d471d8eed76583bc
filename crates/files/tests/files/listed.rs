use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use tidecast_files::{ListedSeries, read_listed_series};
use tidecast_stream::EventTime;

const START_MS: i64 = 1_722_470_400_000;

fn write(folder: &Path, columns: &[(&str, ArrayRef)]) -> PathBuf {
    let batch = RecordBatch::try_from_iter(columns.iter().cloned()).unwrap();
    let path = folder.join("set.parquet");
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let targets: [Option<Vec<Option<f64>>>; 2] =
        [Some(vec![Some(1.5), None, Some(f64::NAN)]), Some(Vec::new())];
    vec![
        // Another order, another unit and another width than the product's own files.
        ("target", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(targets))),
        ("series_id", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("freq", Arc::new(StringArray::from(vec!["h", "MS"]))),
        ("start", Arc::new(TimestampMillisecondArray::from(vec![START_MS, 0]))),
        ("else", Arc::new(Int64Array::from(vec![1, 2]))),
    ]
}

#[test]
fn a_row_is_a_series_and_what_is_null_is_missing() {
    let folder = TempDir::new().unwrap();
    let found = read_listed_series(&write(folder.path(), &columns())).unwrap();
    let [first, second] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((first.id.as_str(), first.freq.as_str()), ("a", "h"));
    assert_eq!(first.start, EventTime::from_millis(START_MS));
    assert_eq!(first.values[0], 1.5);
    assert!(first.values[1..].iter().all(|value| value.is_nan()) && first.values.len() == 3);
    let empty = ListedSeries {
        id: "b".to_owned(),
        freq: "MS".to_owned(),
        start: EventTime::from_millis(0),
        values: Vec::new(),
    };
    assert_eq!(*second, empty);
}

#[test]
fn what_is_no_such_file_says_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let with = |name: &str, column: Option<ArrayRef>| {
        let mut columns = columns();
        let index = columns.iter().position(|(found, _)| *found == name).unwrap();
        match column {
            Some(column) => columns[index].1 = column,
            None => drop(columns.remove(index)),
        }
        read_listed_series(&write(folder.path(), &columns)).unwrap_err().to_string()
    };
    let missing = with("freq", None);
    assert!(missing.contains("has no column `freq`") && missing.contains("series_id"), "{missing}");
    let number = with("target", Some(Arc::new(Float64Array::from(vec![1.0, 2.0]))));
    assert!(number.contains("`target` holds Float64: expected lists of numbers"), "{number}");
    let number = with("series_id", Some(Arc::new(Int64Array::from(vec![1, 2]))));
    assert!(number.contains("`series_id` holds Int64: expected text"), "{number}");
    let number = with("start", Some(Arc::new(Int64Array::from(vec![1, 2]))));
    assert!(number.contains("`start` holds Int64: expected timestamps"), "{number}");
    let targets: [Option<Vec<Option<i32>>>; 2] = [Some(vec![Some(1)]), None];
    let targets = ListArray::from_iter_primitive::<Int32Type, _, _>(targets);
    let null = with("target", Some(Arc::new(targets)));
    assert!(null.contains("row 1 has no `target`"), "{null}");
    let nowhere = read_listed_series(&folder.path().join("no.parquet")).unwrap_err().to_string();
    assert!(nowhere.contains("cannot be opened"), "{nowhere}");
}
