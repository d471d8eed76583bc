use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use tidecast_files::{FileSource, FileSourceConfig, format_of, infer_schema};
use tidecast_stream::{Checkpoint, Offset, Source, SourceBatch, SourceEvent};

pub(crate) const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn readings() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("ts", TIME, false),
    ]))
}

pub(crate) fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn open(
    path: &Path,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<FileSource, String> {
    FileSource::open(FileSourceConfig {
        path: path.to_owned(),
        format: format_of(path).map_err(|error| error.to_string())?,
        schema: schema.clone(),
        fields: Vec::new(),
        batch_rows,
        timestamp_unit: None,
    })
    .map_err(|error| error.to_string())
}

/// Reads the file from `from` to its end, checking the order of events.
fn read_from(
    path: &Path,
    schema: &SchemaRef,
    batch_rows: usize,
    from: Option<Offset>,
) -> Vec<SourceBatch> {
    let mut source = open(path, schema, batch_rows).unwrap();
    let SourceEvent::Assigned(assigned) = source.poll(Duration::ZERO).unwrap() else {
        panic!("the partition comes first")
    };
    assert_eq!(assigned, [(source.partition().clone(), None)]);
    assert!(matches!(source.poll(Duration::ZERO).unwrap(), SourceEvent::Idle), "before start");
    let partition = source.partition().clone();
    source.start(&partition, from).unwrap();
    let (mut batches, mut checkpoint) = (Vec::new(), Checkpoint::default());
    loop {
        match source.poll(Duration::ZERO).unwrap() {
            SourceEvent::Batch(batch) => {
                checkpoint.extend(&partition, batch.range).unwrap();
                assert_eq!(batch.rows.num_rows(), batch.offsets.len());
                assert_eq!(batch.timestamps.null_count(), batch.offsets.len());
                batches.push(batch);
            }
            SourceEvent::CaughtUp(_) => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(matches!(source.poll(Duration::ZERO).unwrap(), SourceEvent::Finished));
    batches
}

pub(crate) fn read(path: &Path, schema: &SchemaRef) -> SourceBatch {
    let mut batches = read_from(path, schema, 1000, None);
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

pub(crate) fn numbers(batch: &SourceBatch, column: &str) -> Vec<Option<f64>> {
    batch.rows.column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().collect()
}

pub(crate) fn times(batch: &SourceBatch) -> Vec<i64> {
    let column = batch.rows.column_by_name("ts").unwrap();
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

pub(crate) fn errors(batch: &SourceBatch) -> Vec<&str> {
    batch.bad.iter().map(|bad| bad.error.as_str()).collect()
}

#[test]
fn csv_rows_are_cast_and_bad_ones_named_with_their_line() {
    let folder = TempDir::new().unwrap();
    let path = file(
        &folder,
        "a.csv",
        b"\xEF\xBB\xBFts,extra,site,kw\n\
          2024-08-01T00:00:00Z,x,A,1.5\n\
          2024-08-01 02:00:00+02:00,,\"B, north\",\n\
          2024-08-01 01:00,x,A,lots\n\
          2024-08-01 01:00,x,A\n\
          2024-08-01 01:00,x,,3\n\
          1722474000000,x,A, NaN \n\
          noon,x,A,1\n\
          2024-08-01 01:00,x,A,inf\n\
          2024-08-01 01:00,x,\xFF,1\n",
    );
    let batch = read(&path, &readings());

    assert_eq!(numbers(&batch, "kw"), [Some(1.5), None, None]);
    let midnight = 1_722_470_400_000_000;
    assert_eq!(times(&batch), [midnight, midnight, midnight + 3_600_000_000]);
    let sites: Vec<_> = batch.rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(sites, ["A", "B, north", "A"]);
    assert_eq!(batch.offsets.values(), &[0, 1, 5]);
    assert_eq!((batch.range.start(), batch.range.end()), (Offset(0), Offset(9)));

    let expected = [
        "line 4: `lots` in column `kw` is no DOUBLE",
        "line 5: has 3 fields, the header has 4",
        "line 6: `site` is missing, and it is NOT NULL",
        "line 8: column `ts`: `noon` is no time; expected e.g. `2024-08-01T10:00:00Z` or a number since 1970",
        "line 9: `inf` in column `kw` is not finite",
    ];
    assert_eq!(errors(&batch)[..5], expected);
    assert!(errors(&batch)[5].starts_with("line 10: is not UTF-8"), "{:?}", errors(&batch));
    assert_eq!(batch.bad[0].payload.as_deref(), Some(&b"2024-08-01 01:00,x,A,lots\n"[..]));
    assert_eq!(batch.bad[0].position.offset, Offset(2));
}

#[test]
fn json_lines_lose_only_the_bad_line() {
    let folder = TempDir::new().unwrap();
    let path = file(
        &folder,
        "a.jsonl",
        br#"{"site":"A","kw":1.5,"ts":"2024-08-01T00:00:00Z","more":{"x":1}}

{"site":"A","kw":"2.5","ts":1722470400000}
{"site":"A","kw":
{"site":"A","kw":3,"ts":"2024-08-01"}{"site":"A","kw":4,"ts":"2024-08-01"}
[1]
{"site":"A","kw":{"x":1},"ts":"2024-08-01"}
{"site":"A","kw":"much","ts":"2024-08-01"}
{"site":7,"ts":"2024-08-01"}
"#,
    );
    let batch = read(&path, &readings());
    assert_eq!(numbers(&batch, "kw"), [Some(1.5), Some(2.5), None]);
    assert_eq!(times(&batch), [1_722_470_400_000_000; 3]);
    assert_eq!(batch.offsets.values(), &[0, 1, 7]);
    let lines: Vec<&str> =
        errors(&batch).iter().map(|error| error.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["line 4", "line 5", "line 6", "line 7", "line 8"]);
    assert_eq!(errors(&batch)[4], "line 8: column `kw`: expected a number, got `\"much\"`");
    assert_eq!(batch.bad[0].payload.as_deref(), Some(&br#"{"site":"A","kw":"#[..]));
}

#[test]
fn parquet_times_of_any_unit_become_the_tables() {
    let folder = TempDir::new().unwrap();
    let moments: [ArrayRef; 3] = [
        Arc::new(TimestampNanosecondArray::from(vec![1_722_470_400_000_000_000, 1])),
        Arc::new(
            TimestampMillisecondArray::from(vec![1_722_470_400_000, 0])
                .with_timezone("America/New_York"),
        ),
        Arc::new(Int64Array::from(vec![1_722_470_400_000, 5])),
    ];
    for (number, ts) in moments.into_iter().enumerate() {
        let rows = RecordBatch::try_from_iter([
            ("kw", Arc::new(Float64Array::from(vec![f64::NAN, 2.0])) as ArrayRef),
            ("ts", ts),
            ("site", Arc::new(StringArray::from(vec!["A", "B"])) as ArrayRef),
        ])
        .unwrap();
        let path = folder.path().join(format!("{number}.parquet"));
        let out = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(out, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();

        let batch = read(&path, &readings());
        assert_eq!(times(&batch)[0], 1_722_470_400_000_000);
        assert_eq!(numbers(&batch, "kw")[0], None);
        // The unit is the column's: 5 is a few milliseconds past 1970.
        let expected = [0, 0, 5_000][number];
        assert_eq!(times(&batch)[1], expected);
        assert_eq!(infer_schema(&path).unwrap().time_columns, ["ts"]);
    }
}

#[test]
fn what_is_wrong_with_a_whole_file_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let message = |name: &str, content: &[u8]| {
        let path = file(&folder, name, content);
        open(&path, &readings(), 10).unwrap_err().replace(folder.path().to_str().unwrap(), "")
    };
    assert_eq!(
        message("a.csv", b"Site,kw,ts\n"),
        "`/a.csv`: has no column `site`; did you mean `Site`?; it has: Site, kw, ts"
    );
    assert_eq!(
        message("empty.csv", b""),
        "`/empty.csv`: cannot be read as CSV: it is empty; expected a header line"
    );
    assert!(
        message("a.parquet", b"PAR1 no").starts_with("`/a.parquet`: cannot be read as Parquet")
    );
    assert!(message("plain.csv.gz", b"plain,text\n").contains("has no column `site`"));
    assert!(message("a.dat", b"").contains("the extension does not tell the format"));
    let gone = open(&folder.path().join("gone.csv"), &readings(), 10).unwrap_err();
    assert!(gone.contains("check 'path'"), "{gone}");
    let is_folder = folder.path().join("b.csv");
    std::fs::create_dir(&is_folder).unwrap();
    assert!(open(&is_folder, &readings(), 10).unwrap_err().contains("is a folder"));
}

#[test]
fn a_misspelt_column_of_json_lines_is_no_column_of_missing_values() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.jsonl", b"{\"site\":\"A\",\"kv\":1,\"ts\":\"2024-08-01\"}\n");
    let error = open(&path, &readings(), 10).unwrap_err();
    assert!(error.contains("has no column `kw`; it has: kv, site, ts"), "{error}");
}

#[test]
fn types_are_told_from_the_values() {
    let folder = TempDir::new().unwrap();
    let csv = b"day,ts,id,kw,on,name,count,gone\n\
        2024-08-01,1722470400,1,1.5,true,a,1722470400,\n\
        2024-08-02,1722474000,2,,false,2024-08-01,1722474000,NA\n";
    let inferred = infer_schema(&file(&folder, "a.csv", csv)).unwrap();
    let types: Vec<_> =
        inferred.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    use DataType::{Boolean, Float64, Int64, Null, Utf8};
    assert_eq!(types, [TIME, TIME, Int64, Float64, Boolean, Utf8, Int64, Null]);
    assert_eq!(inferred.time_columns, ["day", "ts"]);

    let json =
        b"{\"at\":\"2024-08-01T00:00:00Z\",\"kw\":1,\"tags\":[1]}\n{\"kw\":1.5,\"id\":\"x\"}\n";
    let inferred = infer_schema(&file(&folder, "a.ndjson", json)).unwrap();
    let columns: Vec<_> = inferred.schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(columns, ["at", "kw", "id"]);
    assert_eq!(inferred.time_columns, ["at"]);
}

proptest! {
    /// Whatever the batch size, format, and the row one starts at: the same rows.
    #[test]
    fn batches_and_restarts_do_not_change_the_rows(
        values in prop::collection::vec(prop::option::of(-1e6..1e6), 1..60),
        batch_rows in 1_usize..20,
        from in 0_usize..60,
    ) {
        let folder = TempDir::new().unwrap();
        let (mut csv, mut json) = ("site,kw,ts\n".to_owned(), String::new());
        for (row, value) in values.iter().enumerate() {
            // Every seventh row is broken, in each format in its own way.
            let text = value.map(|value: f64| value.to_string()).unwrap_or_default();
            let ts = 1_722_470_400_000_i64 + row as i64;
            if row % 7 == 6 {
                csv += "broken\n";
                json += "broken\n";
            } else {
                csv += &format!("A,{text},{ts}\n");
                let text = value.map_or("null".to_owned(), |value| value.to_string());
                json += &format!("{{\"site\":\"A\",\"kw\":{text},\"ts\":{ts}}}\n");
            }
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(csv.as_bytes()).unwrap();
        let paths = [
            file(&folder, "a.csv.gz", &gzip.finish().unwrap()),
            file(&folder, "a.csv", csv.as_bytes()),
            file(&folder, "a.jsonl", json.as_bytes()),
        ];
        let expected: Vec<(i64, Option<f64>)> = values
            .iter()
            .enumerate()
            .filter(|(row, _)| row % 7 != 6 && *row >= from)
            .map(|(row, value)| (row as i64, *value))
            .collect();
        for path in paths {
            let batches =
                read_from(&path, &readings(), batch_rows, Some(Offset(from as i64)));
            let mut rows = Vec::new();
            for batch in &batches {
                let offsets: &Int64Array = &batch.offsets;
                let offsets = offsets.values().iter().copied();
                rows.extend(offsets.zip(numbers(batch, "kw")));
            }
            prop_assert_eq!(&rows, &expected);
            let bad: usize = batches.iter().map(|batch| batch.bad.len()).sum();
            prop_assert_eq!(bad, (from..values.len()).filter(|row| row % 7 == 6).count());
        }
    }
}

#[test]
fn parquet_can_be_read_from_the_middle() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.parquet");
    let rows = RecordBatch::try_from_iter([(
        "n",
        Arc::new(Int64Array::from_iter_values(0..20_000)) as ArrayRef,
    )])
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let batches = read_from(&path, &schema, 1000, Some(Offset(9_500)));
    let mut values = Vec::new();
    for batch in &batches {
        let column = batch.rows.column(0).as_primitive::<Int64Type>();
        assert_eq!(column.values(), batch.offsets.values());
        values.extend_from_slice(column.values());
    }
    assert_eq!(values, (9_500..20_000).collect::<Vec<i64>>());
}
