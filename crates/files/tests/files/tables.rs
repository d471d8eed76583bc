//! Parquet files of all types, and damaged ones.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Decimal256Array, DictionaryArray, DurationSecondArray,
    Float16Array, Float64Array, Int16Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampSecondArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float16Type, Int32Type, i256};
use tempfile::TempDir;

use tidecast_files::infer_schema;

use crate::helpers::{numbers, open, parquet, read, schema, times};

fn one(folder: &TempDir, column: ArrayRef) -> std::path::PathBuf {
    parquet(folder, "a.parquet", &RecordBatch::try_from_iter([("y", column)]).unwrap())
}

#[test]
fn numbers_of_all_types_are_read_as_what_they_are() {
    type Half = <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native;
    let decimals = Decimal128Array::from(vec![710, -5]).with_precision_and_scale(38, 2).unwrap();
    let wide = Decimal256Array::from(vec![i256::from(710), i256::from(-5)]);
    let dictionary: DictionaryArray<Int32Type> = ["1.5", "-2"].into_iter().collect();
    let half = [1.5, -2.0].map(Half::from_f64);
    let columns: [(ArrayRef, [f64; 2]); 9] = [
        (Arc::new(UInt8Array::from(vec![255, 0])), [255.0, 0.0]),
        (Arc::new(Int16Array::from(vec![-32_768, 1])), [-32_768.0, 1.0]),
        (Arc::new(UInt64Array::from(vec![1 << 63, 1])), [9_223_372_036_854_775_808.0, 1.0]),
        (Arc::new(Int64Array::from(vec![1 << 53, -1])), [9_007_199_254_740_992.0, -1.0]),
        (Arc::new(decimals), [7.1, -0.05]),
        (Arc::new(wide.with_precision_and_scale(50, 2).unwrap()), [7.1, -0.05]),
        (Arc::new(Float16Array::from(half.to_vec())), [1.5, -2.0]),
        (Arc::new(dictionary), [1.5, -2.0]),
        (Arc::new(StringArray::from(vec!["1,500", "200"])), [1500.0, 200.0]),
    ];
    let folder = TempDir::new().unwrap();
    for (column, expected) in columns {
        let kind = column.data_type().clone();
        let path = one(&folder, column);
        assert_eq!(numbers(&path, "y").unwrap(), (expected.map(Some).to_vec(), vec![]), "{kind}");
    }
}

#[test]
fn of_text_that_may_be_two_numbers_it_is_said_which() {
    let folder = TempDir::new().unwrap();
    let path = one(&folder, Arc::new(StringArray::from(vec!["1.234", "5.678"])));
    let source = open(&path, &schema(&[("y", DataType::Float64)])).unwrap();
    let said = "`y`: `1.234` is read as 1.234, though it may be 1234";
    assert_eq!(source.dialect(), Some(said));
}

#[test]
fn what_holds_no_numbers_says_what_it_holds_and_what_to_do() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let structs =
        StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), inner)]);
    let columns: [(ArrayRef, &str); 5] = [
        (Arc::new(lists), "holds lists, which cannot become DOUBLE; write one value a row"),
        (
            Arc::new(structs),
            "holds structs, which cannot become DOUBLE; write their fields as columns of their own",
        ),
        (
            Arc::new(BinaryArray::from(vec![&b"1"[..]])),
            "holds bytes, which cannot become DOUBLE; write them as numbers or text",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![1])),
            "holds TIMESTAMP(0), which cannot become DOUBLE; declare the column as what the file holds",
        ),
        (
            Arc::new(DurationSecondArray::from(vec![1])),
            "holds durations, which cannot become DOUBLE",
        ),
    ];
    let folder = TempDir::new().unwrap();
    for (column, expected) in columns {
        let is_nested = column.data_type().is_nested();
        let path = one(&folder, column);
        let error = numbers(&path, "y").unwrap_err();
        assert!(error.contains(expected), "{error}");
        let inferred = infer_schema(&path).unwrap();
        assert!(!inferred.may_be_numeric("y"));
        if is_nested {
            let error = inferred.column(&path, "y").unwrap_err().to_string();
            assert!(error.contains("column `y` holds "), "{error}");
        }
    }
}

#[test]
fn a_fraction_is_not_cut_off_for_a_whole_number() {
    let folder = TempDir::new().unwrap();
    let path = one(
        &folder,
        Arc::new(Float64Array::from(vec![Some(7.0), Some(7.5), None, Some(f64::NAN)])),
    );
    let batches = read(&path, &schema(&[("y", DataType::Int64)])).unwrap();
    let errors: Vec<&str> = batches[0].bad.iter().map(|bad| bad.error.as_str()).collect();
    assert_eq!(errors, ["row 1: `7.5` in column `y` is no BIGINT"]);
    assert_eq!(batches[0].rows.num_rows(), 3);
}

#[test]
fn two_columns_of_one_name_and_no_rows_are_refused() {
    let folder = TempDir::new().unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let fields =
        vec![Field::new("y", DataType::Int64, true), Field::new("y", DataType::Int64, true)];
    let twice = RecordBatch::try_new(
        Arc::new(arrow::datatypes::Schema::new(fields)),
        vec![column.clone(), column.clone()],
    );
    let path = parquet(&folder, "b.parquet", &twice.unwrap());
    let error = numbers(&path, "y").unwrap_err();
    assert!(error.contains("has two columns `y` (columns 1 and 2)"), "{error}");
    assert!(infer_schema(&path).is_ok());
    let path = one(&folder, column.slice(0, 0));
    let error = infer_schema(&path).unwrap_err().to_string();
    assert!(error.ends_with("has columns and no rows"), "{error}");
}

/// The first two made the decoder panic, where the schema is and in a page; on
/// the third it counted through a list of two thousand million nothings.
#[test]
fn a_damaged_file_is_an_error_that_says_so() {
    for name in ["schema.parquet", "page.parquet", "endless.parquet"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        let error = match infer_schema(&path) {
            Err(error) => error.to_string(),
            Ok(_) => times(&path, "ts").and_then(|_| numbers(&path, "kw")).unwrap_err(),
        };
        assert!(error.contains("cannot be read as Parquet: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
