//! Measures how fast records come in: librdkafka's bare batch call, and the
//! source, which also decodes them to Arrow. Both in one process, on the same
//! topic, several times in turn; the best of each is what the machine can do.
//!
//! ```text
//! cargo run --release -p tidecast-kafka --example consume_bench -- [BOOTSTRAP] [RECORDS] [ROUNDS]
//! ```
//!
//! Without `BOOTSTRAP`, or with `mock`, it runs on librdkafka's mock broker in
//! this process, which takes its part of the machine and keeps 5 MiB of each
//! partition: at most 1,400,000 records then.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_kafka::tools::{MockBroker, Producer, consume_bare, create_topics};
use tidecast_kafka::{KafkaSource, KafkaSourceConfig};
use tidecast_stream::{Source, SourceEvent};

const PARTITIONS: i32 = 32;
const BATCH: usize = 8_192;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().filter(|bootstrap| bootstrap != "mock");
    let records: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |count| count.parse())?;

    let mock = match bootstrap {
        Some(_) => None,
        None => Some(MockBroker::start(&[])?),
    };
    let bootstrap = bootstrap.or(mock.as_ref().map(|mock| mock.bootstrap().to_owned()));
    let bootstrap = bootstrap.ok_or("no broker")?;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_micros();
    let topic = format!("consume-bench-{now}");
    match &mock {
        Some(mock) => mock.create_topic(&topic, PARTITIONS)?,
        None => create_topics(&bootstrap, &[(&topic, PARTITIONS)])?,
    }
    let bytes = fill(&bootstrap, &topic, records)?;
    println!(
        "{records} records of {:.0} bytes in {PARTITIONS} partitions, batches of {BATCH}, {} broker",
        bytes as f64 / records as f64,
        if mock.is_some() { "mock" } else { "real" },
    );
    for round in 1..=rounds {
        for (name, taken) in [
            ("bare batch consume", consume_bare(&bootstrap, &topic, PARTITIONS, records)?),
            (
                "source with decode",
                decoded(&bootstrap, &format!("{topic}-{round}"), &topic, records)?,
            ),
        ] {
            let rate = records as f64 / taken.as_secs_f64();
            let megabytes = bytes as f64 / taken.as_secs_f64() / 1e6;
            println!("round {round}: {name}: {rate:>9.0} records/s, {megabytes:>4.0} MB/s");
        }
    }
    Ok(())
}

fn fill(bootstrap: &str, topic: &str, records: u64) -> Result<usize> {
    let producer = Producer::connect(bootstrap)?;
    let mut bytes = 0;
    for index in 0..records {
        let payload = format!(
            r#"{{"site":"site-{:03}","sensor":"s{}","kw":{:.3},"volt":{:.1},"ts":{}}}"#,
            index % 500,
            index % 7,
            (index % 9_973) as f64 * 0.037,
            230.0 + (index % 50) as f64 * 0.1,
            1_763_805_600_000 + index,
        );
        bytes += payload.len();
        let partition = Some((index % PARTITIONS as u64) as i32);
        producer.send_to(topic, partition, None, Some(payload.as_bytes()), None)?;
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(bytes)
}

fn decoded(bootstrap: &str, group: &str, topic: &str, records: u64) -> Result<Duration> {
    let mut config = KafkaSourceConfig::new(bootstrap, group, topic, schema());
    config.max_batch_records = BATCH;
    let mut source = KafkaSource::connect(config)?;
    let mut taken = 0;
    let mut began = None;
    while taken < records {
        match source.poll(Duration::from_millis(100))? {
            SourceEvent::Assigned(assigned) => {
                for (partition, _) in assigned {
                    source.start(&partition, None)?;
                }
            }
            SourceEvent::Batch(batch) => {
                began.get_or_insert_with(Instant::now);
                taken += batch.rows.num_rows() as u64;
                if let Some(bad) = batch.bad.first() {
                    return Err(bad.error.clone().into());
                }
            }
            _ => {}
        }
    }
    Ok(began.map_or(Duration::ZERO, |began| began.elapsed()))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("site", DataType::Utf8, false),
        Field::new("sensor", DataType::Utf8, true),
        Field::new("kw", DataType::Float64, true),
        Field::new("volt", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}
