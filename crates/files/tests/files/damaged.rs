//! Damaged files: whatever is broken in one, reading it ends, with rows or an
//! error, and never with a panic.
//!
//! A case follows from its number alone. `TIDECAST_FUZZ_CASES` sets how many are
//! tried, `TIDECAST_FUZZ_FIRST` the first, to look at a single one again.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as PageCompression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use tempfile::TempDir;

use tidecast_files::{FileSource, FileSourceConfig, format_of, infer_schema, read_listed_series};
use tidecast_stream::{Source, SourceEvent};

const CASES: u64 = 400;
/// No case takes seconds; one that takes so long does not end.
const LONGEST: Duration = Duration::from_secs(120);

/// SplitMix64: a few lines, and the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// A file that is right: its name's ending and its bytes.
type Whole = (&'static str, Vec<u8>);

fn texts() -> Vec<Whole> {
    let mut csv = "ts,site,kw\n".to_owned();
    let mut semicolons = "ts;site;kw\r\n".to_owned();
    let mut quoted = "\"ts\",\"note\",\"kw\"\n".to_owned();
    let mut json = String::new();
    for row in 0..60 {
        let ts = 1_722_470_400_i64 + row * 3600;
        csv += &format!("{ts},A{},{}.5\n", row % 3, row);
        semicolons += &format!("2024-08-{:02} 10:00;\"µ;{row}\";1.{row:03},5\r\n", row % 28 + 1);
        quoted +=
            &format!("\"2024-08-01T{:02}:00:00Z\",\"a \"\"b\"\",\nc\",\"{row},000\"\n", row % 24);
        json += &format!("{{\"ts\":{ts},\"site\":\"ä\\u00e4\",\"kw\":{row}.25,\"x\":[1,{{}}]}}\n");
    }
    let utf_16 = semicolons.encode_utf16().flat_map(u16::to_le_bytes);
    let utf_16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(utf_16).collect();
    let array = format!("[{}]", json.trim_end().replace('\n', ",\n"));
    let gzip = |text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    vec![
        ("csv.gz", gzip(&csv)),
        ("jsonl.gz", gzip(&json)),
        ("csv", csv.into_bytes()),
        ("csv", semicolons.into_bytes()),
        ("csv", quoted.into_bytes()),
        ("csv", utf_16),
        ("jsonl", json.into_bytes()),
        ("json", array.into_bytes()),
    ]
}

fn rows() -> RecordBatch {
    let count = 300_i64;
    let numbers = || 0..count;
    let ids: DictionaryArray<Int32Type> =
        numbers().map(|row| ["a", "b", "c"][row as usize % 3]).collect();
    let lists = numbers().map(|row| Some((0..row % 4).map(Some).collect::<Vec<_>>()));
    let decimals = Decimal128Array::from_iter_values(numbers().map(i128::from));
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                numbers().map(|row| row * 1_000_000),
            )),
        ),
        ("site", Arc::new(ids)),
        (
            "text",
            Arc::new(StringArray::from_iter(
                numbers().map(|row| (row % 5 > 0).then(|| format!("text {row}"))),
            )),
        ),
        (
            "kw",
            Arc::new(Float64Array::from_iter(
                numbers().map(|row| (row % 7 > 0).then_some(row as f64)),
            )),
        ),
        ("count", Arc::new(Int64Array::from_iter_values(numbers()))),
        ("small", Arc::new(Int32Array::from_iter_values(0..count as i32))),
        ("on", Arc::new(BooleanArray::from_iter(numbers().map(|row| Some(row % 2 == 0))))),
        ("cost", Arc::new(decimals.with_precision_and_scale(12, 2).unwrap())),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn tables() -> Vec<Whole> {
    let mut files = Vec::new();
    let compressions = [
        PageCompression::UNCOMPRESSED,
        PageCompression::SNAPPY,
        PageCompression::ZSTD(ZstdLevel::default()),
    ];
    for compression in compressions {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for encoding in [None, Some(Encoding::PLAIN), Some(Encoding::DELTA_BINARY_PACKED)] {
                let mut properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_writer_version(version)
                    .set_statistics_enabled(EnabledStatistics::Page)
                    .set_data_page_row_count_limit(70)
                    .set_write_batch_size(35)
                    .set_max_row_group_row_count(Some(200))
                    .set_dictionary_enabled(encoding.is_none());
                if let Some(encoding) = encoding {
                    let of_text = match encoding {
                        Encoding::PLAIN => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                        _ => Encoding::DELTA_BYTE_ARRAY,
                    };
                    properties = properties.set_column_encoding("count".into(), encoding);
                    properties = properties.set_column_encoding("text".into(), of_text);
                    properties =
                        properties.set_column_encoding("kw".into(), Encoding::BYTE_STREAM_SPLIT);
                }
                let rows = rows();
                let mut bytes = Vec::new();
                let mut writer =
                    ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties.build()))
                        .unwrap();
                writer.write(&rows).unwrap();
                writer.close().unwrap();
                files.push(("parquet", bytes));
            }
        }
    }
    files
}

/// A place in the file; where all else depends on it, at its end, more often.
fn place(dice: &mut Dice, length: usize) -> usize {
    match dice.below(3) {
        0 => length.saturating_sub(1 + dice.below(length / 4)),
        _ => dice.below(length),
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = place(dice, bytes.len());
    let some = 1 + dice.below(40);
    let end = (at + some).min(bytes.len());
    match dice.below(9) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.roll() as u8,
        2 => bytes[at] = dice.one_of(&[0, 1, 0x7F, 0x80, 0xFF, b'"', b'\n', b',', b'{']),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let noise: Vec<u8> = (0..some).map(|_| dice.roll() as u8).collect();
            bytes.splice(at..at, noise);
        }
        6 => {
            let block = bytes[at..end].to_vec();
            let to = place(dice, bytes.len());
            bytes.splice(to..to, block);
        }
        7 => {
            let from = dice.below(other.len());
            let block = other[from..(from + some).min(other.len())].to_vec();
            bytes.splice(at..end, block);
        }
        _ => bytes[at..end].reverse(),
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

fn read_all(path: &Path, schema: &SchemaRef) -> Result<usize, String> {
    let format = format_of(path).map_err(|error| error.to_string())?;
    let config = FileSourceConfig {
        path: path.to_owned(),
        format,
        schema: schema.clone(),
        fields: Vec::new(),
        batch_rows: 100,
        timestamp_unit: None,
    };
    let mut source = FileSource::open(config).map_err(|error| error.to_string())?;
    let partition = source.partition().clone();
    source.start(&partition, None).map_err(|error| error.to_string())?;
    let mut rows = 0;
    loop {
        match source.poll(Duration::ZERO).map_err(|error| error.to_string())? {
            SourceEvent::Batch(batch) => rows += batch.rows.num_rows() + batch.bad.len(),
            SourceEvent::Finished => return Ok(rows),
            _ => {}
        }
    }
}

/// As a user does: what columns are there, then those, each as what it looks
/// like, as text, and as a time or number.
fn read_in_all_ways(path: &Path) -> bool {
    let Ok(inferred) = infer_schema(path) else { return false };
    let typed = |data_type: &dyn Fn(&Field) -> DataType| -> SchemaRef {
        let fields = inferred.schema.fields().iter();
        let fields = fields.map(|field| Field::new(field.name(), data_type(field), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let as_inferred = typed(&|field| match field.data_type() {
        DataType::Null => DataType::Float64,
        other => other.clone(),
    });
    let outcomes = [
        read_all(path, &as_inferred),
        read_all(path, &typed(&|_| DataType::Utf8)),
        read_all(
            path,
            &typed(&|field| match field.name().as_str() {
                "ts" => super::reading::TIME,
                _ => DataType::Float64,
            }),
        ),
    ];
    if path.extension().is_some_and(|extension| extension == "parquet") {
        let _is_listed = read_listed_series(path).is_ok();
    }
    outcomes.iter().any(Result::is_ok)
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn no_damage_of_a_file_is_a_panic() {
    let first = number_from("TIDECAST_FUZZ_FIRST", 0);
    let count = number_from("TIDECAST_FUZZ_CASES", CASES);
    let wholes: Vec<Whole> = texts().into_iter().chain(tables()).collect();
    let folder = TempDir::new().unwrap();
    for (number, (ending, bytes)) in wholes.iter().enumerate() {
        let path = folder.path().join(format!("whole-{number}.{ending}"));
        std::fs::write(&path, bytes).unwrap();
        let error = infer_schema(&path).err();
        assert!(read_in_all_ways(&path), "the file without damage: {number}.{ending}: {error:?}");
    }
    let begun = watch();
    let (mut readable, mut refused) = (0, 0);
    for number in first..first + count {
        begun.send(number).unwrap();
        let mut dice = Dice(number);
        // Half of them Parquet, of which there is most to damage.
        let of_all = dice.below(wholes.len());
        let of_text = dice.below(8);
        let (ending, whole) = &wholes[if dice.below(3) == 0 { of_text } else { of_all }];
        let (_, other) = &wholes[dice.below(wholes.len())];
        let mut bytes = whole.clone();
        for _ in 0..dice.one_of(&[1, 1, 1, 2, 5]) {
            damage(&mut bytes, other, &mut dice);
        }
        let path = folder.path().join(format!("damaged.{ending}"));
        std::fs::write(&path, &bytes).unwrap();
        let outcome = std::panic::catch_unwind(|| read_in_all_ways(&path));
        match outcome {
            Ok(true) => readable += 1,
            Ok(false) => refused += 1,
            Err(_) => panic!("case {number} ({ending}): a panic; TIDECAST_FUZZ_FIRST={number}"),
        }
    }
    println!("{count} damaged files: {readable} readable, {refused} refused");
    assert!(count < 100 || (readable > 0 && refused > 0), "{readable} and {refused}");
}

/// Ends the process, naming the case, if one does not end.
fn watch() -> mpsc::SyncSender<u64> {
    let (begun, cases) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut case = 0;
        loop {
            match cases.recv_timeout(LONGEST) {
                Ok(next) => case = next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("case {case} does not end; TIDECAST_FUZZ_FIRST={case}");
                    std::process::abort();
                }
            }
        }
    });
    begun
}
