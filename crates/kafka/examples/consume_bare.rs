//! Takes all records of a topic with librdkafka's batch call and throws them away: the rate
//! that nothing which reads the topic can exceed. `bench/streams` runs it.
//!
//! ```text
//! cargo run --release -p tidecast-kafka --example consume_bare -- BOOTSTRAP TOPIC PARTITIONS RECORDS
//! ```
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;

use tidecast_kafka::tools::consume_bare;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, partitions, records] = arguments.as_slice() else {
        return Err("expected BOOTSTRAP TOPIC PARTITIONS RECORDS".into());
    };
    let taken = consume_bare(bootstrap, topic, partitions.parse()?, records.parse()?)?;
    println!(r#"{{"records":{records},"seconds":{:.3}}}"#, taken.as_secs_f64());
    Ok(())
}
