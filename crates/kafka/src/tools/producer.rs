//! A plain producer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};

use super::KafkaToolError;
use crate::client::{self, LastError};
use crate::error::Verdict;

/// Sends records; partitions by key like every Kafka client written in C.
pub struct Producer {
    producer: ThreadedProducer<ProducerState>,
    bootstrap: String,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct ProducerState {
    undelivered: AtomicU64,
    last_error: LastError,
}

impl ClientContext for ProducerState {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.keep(&error, reason);
    }
}

impl ProducerContext for ProducerState {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            self.last_error.keep(error, "not delivered");
        }
    }
}

impl Producer {
    /// Returns a producer for the brokers at `bootstrap`.
    ///
    /// # Errors
    /// If librdkafka cannot start one.
    pub fn connect(bootstrap: &str) -> Result<Self, KafkaToolError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2");
        let producer = config
            .create_with_context(ProducerState::default())
            .map_err(|error| Verdict::of("starting a producer", bootstrap, &error))?;
        Ok(Self { producer, bootstrap: bootstrap.to_owned() })
    }

    /// Sends a record; waits while the buffer is full. `timestamp_ms` is in
    /// milliseconds since the epoch; now when `None`. Whether it arrived,
    /// [`flush`](Self::flush) says.
    ///
    /// # Errors
    /// If the record cannot be sent as it is.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), KafkaToolError> {
        self.send_to(topic, None, key, payload, timestamp_ms)
    }

    /// As [`send`](Self::send), to a certain partition.
    ///
    /// # Errors
    /// If the record cannot be sent as it is.
    pub fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), KafkaToolError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.partition = partition;
        record.key = key;
        record.payload = payload;
        record.timestamp = timestamp_ms;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    let doing = format!("sending to topic `{topic}`");
                    return Err(Verdict::of(&doing, &self.bootstrap, &error).into());
                }
            }
        }
    }

    /// Waits until all that was sent has arrived, at most for `wait`.
    ///
    /// # Errors
    /// If something has not arrived.
    pub fn flush(&self, wait: Duration) -> Result<(), KafkaToolError> {
        let flushed = self.producer.flush(wait);
        let state = self.producer.context();
        let undelivered = state.undelivered.swap(0, Ordering::Relaxed);
        if flushed.is_ok() && undelivered == 0 {
            return Ok(());
        }
        let timed_out = RDKafkaErrorCode::OperationTimedOut;
        let failure = state.last_error.get().unwrap_or_else(|| timed_out.into());
        let waiting = self.producer.in_flight_count();
        let doing = format!("sending ({undelivered} records refused, {waiting} still under way)");
        Err(Verdict::of_failure(&doing, &self.bootstrap, &failure).into())
    }
}
