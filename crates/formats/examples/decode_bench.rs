//! Measures the decoder against arrow-json's, which reads a batch to a tape and
//! the tape to columns, behind the look at brackets that it needs: the same
//! records, by turns, medians.
//!
//! ```text
//! cargo run --release -p tidecast-formats --example decode_bench -- [ROUNDS]
//! ```
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_formats::{Decoder, DecoderConfig, Payload};

/// As many records as a full batch of the source has.
const BATCH: usize = 8_192;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A kind of records, and whether arrow-json can read it.
struct Kind {
    name: &'static str,
    record: fn(usize) -> String,
    is_usual: bool,
}

const KINDS: [Kind; 7] = [
    Kind { name: "time as text", record: text, is_usual: true },
    Kind { name: "microseconds", record: microseconds, is_usual: true },
    Kind { name: "with a whole number", record: counts, is_usual: true },
    Kind { name: "wide, 20 fields", record: wide, is_usual: true },
    Kind { name: "other case", record: |i| text(i).replace("\"kw\"", "\"Kw\""), is_usual: false },
    Kind { name: "milliseconds, number as id", record: numeric, is_usual: false },
    Kind { name: "every tenth bad", record: bad, is_usual: false },
];

fn text(index: usize) -> String {
    let (hour, minute, second) = (index / 3_600 % 24, index / 60 % 60, index % 60);
    format!(
        r#"{{"site":"a{}","kw":{:.1},"ts":"2024-08-01T{hour:02}:{minute:02}:{second:02}Z"}}"#,
        index % 500,
        index as f64 * 0.1
    )
}

fn microseconds(index: usize) -> String {
    let time = 1_722_470_400_000_000 + index * 1_000;
    format!(r#"{{"site":"a{}","kw":{:.3},"ts":{time}}}"#, index % 500, index as f64 * 0.037)
}

fn counts(index: usize) -> String {
    text(index).replace("\"kw\"", "\"count\":12,\"kw\"")
}

fn wide(index: usize) -> String {
    let more: String =
        (0..17).map(|field| format!(r#","field_{field}":"value {index}""#)).collect();
    text(index).replace('}', &format!("{more}}}"))
}

fn numeric(index: usize) -> String {
    let time = 1_722_470_400_000_usize + index;
    format!(r#"{{"site":{},"kw":{:.1},"ts":{time}}}"#, index % 500, index as f64 * 0.1)
}

fn bad(index: usize) -> String {
    if index.is_multiple_of(10) { r#"{"site":"a","kw":"high"}"#.to_owned() } else { text(index) }
}

fn schema(has_count: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    if has_count {
        fields.push(Field::new("count", DataType::Int64, true));
    }
    Arc::new(Schema::new(fields))
}

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(301), |count| count.parse())?;
    for kind in &KINDS {
        let records: Vec<String> = (0..BATCH).map(kind.record).collect();
        let payloads: Vec<Payload<'_>> =
            records.iter().map(|record| Some(record.as_bytes())).collect();
        let schema = schema(kind.name.contains("whole"));
        let mut ours = Decoder::new(
            DecoderConfig { capacity: BATCH, ..DecoderConfig::new(schema.clone()) },
            None,
        )?;
        let mut arrow =
            arrow_json::ReaderBuilder::new(schema).with_batch_size(BATCH + 1).build_decoder()?;
        let (mut our_times, mut arrow_times) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            black_box(ours.decode(&payloads)?);
            our_times.push(begun.elapsed());
            if kind.is_usual {
                let begun = Instant::now();
                black_box(with_arrow(&mut arrow, &payloads)?);
                arrow_times.push(begun.elapsed());
            }
        }
        let ours = rate(our_times);
        print!("{:<28} {ours:>7.2} million records/s", kind.name);
        if kind.is_usual {
            let arrow = rate(arrow_times);
            print!(", arrow-json {arrow:>6.2}: {:.2} of it", ours / arrow);
        }
        println!();
    }
    Ok(())
}

fn with_arrow(
    decoder: &mut arrow_json::reader::Decoder,
    payloads: &[Payload<'_>],
) -> Result<RecordBatch> {
    for payload in payloads.iter().flatten() {
        // How deep a record is nested has to be known before: arrow-json prints
        // what it did not expect by recursion.
        let brackets = payload.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
        if brackets > 64 {
            return Err("nested deeply".into());
        }
        decoder.decode(payload)?;
    }
    decoder.flush()?.ok_or_else(|| "no rows".into())
}

/// Millions of records a second, by the median.
fn rate(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    BATCH as f64 / median.as_secs_f64().max(f64::EPSILON) / 1e6
}
