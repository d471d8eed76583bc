//! Measures the decoder on one kind of readings in each format, beside the plain reader of
//! the crate that it rests on: the same records, by turns, medians.
//!
//! ```text
//! cargo run --release -p tidecast-formats --example formats_bench -- [ROUNDS]
//! ```
//!
//! The plain readers do less: arrow-avro makes columns of the schema's types and stops at the
//! first bad record, prost-reflect makes messages and no columns, csv-core splits fields and
//! reads no number.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tidecast_formats::schemas::{
    RegisteredSchema, SchemaError, SchemaId, SchemaKind, SchemaSource,
};
use tidecast_formats::{Decoder, DecoderConfig, Payload};
use tidecast_stream::{AvroFormat, CsvDialect, ProtobufFormat, SchemaFraming, ValueFormat};

/// As many records as a full batch of the source has.
const BATCH: usize = 8_192;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"site","type":"string"},
    {"name":"kw","type":"double"},
    {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;

const PROTO: &str =
    "syntax = \"proto3\"; message R { string site = 1; double kw = 2; int64 ts = 3; }";

/// A schema that every number has.
struct One(RegisteredSchema);

impl SchemaSource for One {
    fn schema(
        &mut self,
        _: SchemaId,
    ) -> std::result::Result<Option<RegisteredSchema>, SchemaError> {
        Ok(Some(self.0.clone()))
    }
}

struct Proto;

impl protox::file::FileResolver for Proto {
    fn open_file(&self, name: &str) -> std::result::Result<protox::file::File, protox::Error> {
        protox::file::File::from_source(name, PROTO)
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7F) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn reading(index: usize) -> (String, f64, u64) {
    (format!("a{}", index % 500), index as f64 * 0.1, 1_722_470_400_000 + index as u64)
}

fn json(index: usize) -> Vec<u8> {
    let (site, kw, ms) = reading(index);
    format!(r#"{{"site":"{site}","kw":{kw:.1},"ts":{ms}}}"#).into_bytes()
}

fn csv(index: usize) -> Vec<u8> {
    let (site, kw, ms) = reading(index);
    format!("{site},{kw:.1},{ms}").into_bytes()
}

fn avro(index: usize) -> Vec<u8> {
    let (site, kw, ms) = reading(index);
    let head = [0, 0, 0, 0, 1].to_vec();
    let site = [varint(2 * site.len() as u64), site.into_bytes()].concat();
    [head, site, kw.to_le_bytes().to_vec(), varint(2 * ms)].concat()
}

fn protobuf(index: usize) -> Vec<u8> {
    let (site, kw, ms) = reading(index);
    let head = [0, 0, 0, 0, 1, 0].to_vec();
    let site = [vec![10, site.len() as u8], site.into_bytes()].concat();
    [head, site, vec![17], kw.to_le_bytes().to_vec(), vec![24], varint(ms)].concat()
}

/// Reads a batch with nothing but the crate, and returns how many records it had.
type Plain = Box<dyn FnMut(&[Payload<'_>]) -> Result<usize>>;

fn plain_avro() -> Result<Plain> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(1), AvroSchema::new(AVRO.to_owned()))?;
    let mut decoder = ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(1))
        .with_batch_size(BATCH)
        .build_decoder()?;
    Ok(Box::new(move |payloads| {
        for payload in payloads.iter().flatten() {
            decoder.decode(payload)?;
        }
        Ok(decoder.flush()?.map_or(0, |batch| batch.num_rows()))
    }))
}

fn plain_protobuf() -> Result<Plain> {
    let mut compiler = protox::Compiler::with_file_resolver(Proto);
    let set = compiler.open_file("r.proto")?.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(set.as_slice())?;
    let message: MessageDescriptor = pool.get_message_by_name("R").ok_or("no message")?;
    Ok(Box::new(move |payloads| {
        let mut count = 0;
        for payload in payloads.iter().flatten() {
            let body = payload.get(6..).ok_or("short")?;
            black_box(DynamicMessage::decode(message.clone(), body)?);
            count += 1;
        }
        Ok(count)
    }))
}

fn plain_csv() -> Plain {
    let mut reader = csv_core::Reader::new();
    let (mut output, mut ends) = ([0; 256], [0; 8]);
    Box::new(move |payloads| {
        let mut count = 0;
        for payload in payloads.iter().flatten() {
            reader.reset();
            reader.read_record(payload, &mut output, &mut ends);
            black_box(&output);
            count += 1;
        }
        Ok(count)
    })
}

/// A format, how a reading is written in it, and who reads it plainly.
struct Kind {
    format: ValueFormat,
    write: fn(usize) -> Vec<u8>,
    plain: Option<(&'static str, Plain)>,
}

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(101), |count| count.parse())?;
    let framing = SchemaFraming::Confluent;
    let kinds = [
        Kind { format: ValueFormat::Json, write: json, plain: None },
        Kind {
            format: ValueFormat::Csv(CsvDialect::default()),
            write: csv,
            plain: Some(("csv-core", plain_csv())),
        },
        Kind {
            format: ValueFormat::Avro(AvroFormat { framing, schema: None }),
            write: avro,
            plain: Some(("arrow-avro", plain_avro()?)),
        },
        Kind {
            format: ValueFormat::Protobuf(ProtobufFormat { framing, schema: None, message: None }),
            write: protobuf,
            plain: Some(("prost-reflect", plain_protobuf()?)),
        },
    ];
    let table = Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("kw", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]));
    for Kind { format, write, mut plain } in kinds {
        let name = format.name();
        let is_avro = matches!(format, ValueFormat::Avro(_));
        let (kind, text) = match is_avro {
            true => (SchemaKind::Avro, AVRO),
            false => (SchemaKind::Protobuf, PROTO),
        };
        let schema = RegisteredSchema { kind, text: text.to_owned(), references: Vec::new() };
        let config =
            DecoderConfig { format, capacity: BATCH, ..DecoderConfig::new(Arc::clone(&table)) };
        let mut ours = Decoder::new(config, Some(Box::new(One(schema))))?;
        let records: Vec<Vec<u8>> = (0..BATCH).map(write).collect();
        let payloads: Vec<Payload<'_>> =
            records.iter().map(|record| Some(record.as_slice())).collect();
        let (mut our_times, mut plain_times) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            let decoded = black_box(ours.decode(&payloads)?);
            our_times.push(begun.elapsed());
            if decoded.indices.len() != BATCH {
                return Err(format!("{name}: {:?}", decoded.bad.first()).into());
            }
            if let Some((_, plain)) = &mut plain {
                let begun = Instant::now();
                if plain(&payloads)? != BATCH {
                    return Err(format!("{name}: the plain reader lost records").into());
                }
                plain_times.push(begun.elapsed());
            }
        }
        let ours = rate(our_times);
        print!("{name:<20} {ours:>6.2} million records/s");
        if let Some((crate_name, _)) = plain {
            let plain = rate(plain_times);
            print!(", {crate_name} alone {plain:>6.2}: {:.2} of it", ours / plain);
        }
        println!();
    }
    Ok(())
}

/// Millions of records a second, by the median.
fn rate(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    BATCH as f64 / median.as_secs_f64().max(f64::EPSILON) / 1e6
}
