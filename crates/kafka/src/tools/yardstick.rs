//! How fast this machine can take records at all: what the source is measured
//! against.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaToolError;
use crate::error::Verdict;
use crate::native::BatchQueue;

/// Messages taken per call, as the source does.
const BATCH: usize = 8_192;
/// Silence after which the records are taken to be fewer than asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes `records` messages of partitions `0..partitions` of `topic` from their
/// beginning and throws them away, with librdkafka's batch call and more
/// fetched ahead than the source has. Returns the time from the first to the last.
///
/// # Errors
/// If the broker cannot be reached, or fewer records are there.
pub fn consume_bare(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    records: u64,
) -> Result<Duration, KafkaToolError> {
    let doing = format!("reading topic `{topic}`");
    let failed = |error| KafkaToolError::from(Verdict::of(&doing, bootstrap, &error));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "tidecast-yardstick")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144");
    let consumer: BaseConsumer<DefaultConsumerContext> = config.create().map_err(failed)?;
    let consumer = Arc::new(consumer);
    let mut queue = BatchQueue::new(Arc::clone(&consumer), BATCH)
        .ok_or_else(|| KafkaToolError::new(format!("{doing}: no queue can be had")))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        queue.forward(topic, partition);
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let (mut taken, mut began) = (0, None);
    let mut last = Instant::now();
    while taken < records {
        let messages = queue.take(Duration::from_millis(100), Duration::ZERO);
        let count = messages.iter().filter(|message| message.error().is_none()).count() as u64;
        if count > 0 {
            last = Instant::now();
            began.get_or_insert(last);
            taken += count;
        } else if last.elapsed() > PATIENCE {
            let message = format!("{doing}: `{taken}` records found, `{records}` expected");
            return Err(KafkaToolError::new(message));
        }
    }
    Ok(began.map_or(Duration::ZERO, |began| began.elapsed()))
}
