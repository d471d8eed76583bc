//! Publishes forecasts together with the source's offsets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};
use rdkafka::util::Timeout;
use tidecast_stream::{Sink, SinkError, Transaction};
use tracing::{info, warn};

use crate::client::{self, LastError, TopicState};
use crate::committer::GroupCommitter;
use crate::config::{Delivery, KafkaSinkConfig};
use crate::encode::{self, Outgoing};
use crate::error::Verdict;

/// A step of librdkafka's waiting: `BaseProducer::poll` takes all of the time it
/// is given, and `flush` polls in tenths of a second, which would be the price
/// of each commit.
const STEP: Duration = Duration::from_millis(1);

/// How long the steps of a transaction are tried again.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(60);

/// A topic of forecasts.
///
/// With [`Delivery::ExactlyOnce`] each [`Transaction`] is one of Kafka's: messages
/// and source offsets become visible together or not at all. With
/// [`Delivery::AtLeastOnce`] the offsets follow once every message is
/// acknowledged. Late rows and bad records go to their topics the same way, on
/// the same cluster; without a topic they are counted.
///
/// After an error nothing more is published: the next generation connects anew.
pub struct KafkaSink {
    producer: BaseProducer<Deliveries>,
    committer: Option<GroupCommitter>,
    config: KafkaSinkConfig,
    failed: Option<SinkError>,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink")
            .field("topic", &self.config.topic)
            .field("delivery", &self.config.delivery)
            .finish_non_exhaustive()
    }
}

/// The first message of a transaction that did not arrive.
#[derive(Default)]
struct Deliveries {
    failure: Mutex<Option<(RDKafkaErrorCode, String)>>,
    last_error: LastError,
}

impl Deliveries {
    fn take_failure(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.keep(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            // When the first fails in a transaction, the others are purged.
            let purged =
                matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
            if failure.as_ref().is_none_or(|(first, _)| is_purge(*first) && !purged) {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                *failure = Some((code, format!("message `{key}` to topic `{}`", message.topic())));
            }
        }
    }
}

fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

impl KafkaSink {
    /// Connects to the brokers, checks that the topics are there and, for exactly
    /// once, fences off older writers of the same transactional id.
    ///
    /// `committer` is the source's
    /// ([`KafkaSource::committer`](crate::KafkaSource::committer)), if that is
    /// Kafka, too; without one, commits are not stored.
    ///
    /// # Errors
    /// If a setting is wrong, or no broker answers, or a topic is missing.
    pub fn connect(
        config: KafkaSinkConfig,
        committer: Option<GroupCommitter>,
    ) -> Result<Self, SinkError> {
        let bootstrap = &config.bootstrap_servers;
        let doing = format!("writing topic `{}`", config.topic);
        let settings = config.client_config().map_err(Verdict::from)?;
        let producer: BaseProducer<Deliveries> = settings
            .create_with_context(Deliveries::default())
            .map_err(|error| Verdict::of(&doing, bootstrap, &error))?;
        for topic in config.topics() {
            let serve = || producer.poll(Duration::ZERO);
            let found = client::find_topic(producer.client(), topic, config.timeout, serve);
            if let TopicState::Failed(code) = found {
                let cause = match code {
                    RDKafkaErrorCode::UnknownTopicOrPartition => code,
                    other => producer.context().last_error.get().unwrap_or(other),
                };
                let doing = format!("writing topic `{topic}`");
                return Err(Verdict::of_code(&doing, bootstrap, cause).into());
            }
        }
        let sink = Self { producer, committer, config, failed: None };
        if let Delivery::ExactlyOnce { transactional_id } = &sink.config.delivery {
            sink.check_one_cluster()?;
            sink.init_transactions(transactional_id)?;
        }
        Ok(sink)
    }

    /// A transaction cannot reach from one cluster to another.
    fn check_one_cluster(&self) -> Result<(), Verdict> {
        let Some(committer) = &self.committer else { return Ok(()) };
        let timeout = self.config.timeout;
        let source = committer.consumer.client().fetch_cluster_id(timeout);
        let sink = self.producer.client().fetch_cluster_id(timeout);
        if let (Some(source), Some(sink)) = (source, sink)
            && source != sink
        {
            return Err(Verdict::user(format!(
                "exactly-once delivery needs source and sink on one Kafka cluster, but `{}` is \
                 cluster `{source}` and `{}` is cluster `{sink}`; set 'delivery' to \
                 'at-least-once' or use one cluster",
                committer.bootstrap, self.config.bootstrap_servers,
            )));
        }
        Ok(())
    }

    fn init_transactions(&self, transactional_id: &str) -> Result<(), Verdict> {
        let doing = format!("taking over transactional id `{transactional_id}`");
        let deadline = Instant::now() + self.config.timeout.max(Duration::from_secs(30));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.init_transactions(left) {
                Ok(()) => {
                    info!(transactional_id, topic = %self.config.topic, "transactions are ready");
                    return Ok(());
                }
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && Instant::now() < deadline =>
                {
                    self.producer.poll(Duration::from_millis(50));
                }
                Err(error) => {
                    return Err(Verdict::of(&doing, &self.config.bootstrap_servers, &error));
                }
            }
        }
    }

    /// Gives a record to librdkafka, waiting while its buffer is full.
    fn send(&self, topic: &str, outgoing: &Outgoing) -> Result<(), Verdict> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.key = outgoing.key.as_deref();
        record.payload = outgoing.payload.as_deref();
        record.headers = Some(outgoing.headers.clone());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    self.producer.poll(STEP);
                }
                Err((error, unsent)) => {
                    let key = String::from_utf8_lossy(unsent.key.unwrap_or_default());
                    let bytes = unsent.payload.map_or(0, <[u8]>::len);
                    let doing = format!("message `{key}` to topic `{topic}`, {bytes} bytes");
                    return Err(Verdict::of(&doing, &self.config.bootstrap_servers, &error));
                }
            }
        }
    }

    /// Sends all messages of `transaction` and waits for their acknowledgement.
    fn send_all(&self, transaction: &mut Transaction) -> Result<(), Verdict> {
        for message in &transaction.forecasts {
            self.send(&self.config.topic, &encode::forecast(message)?)?;
        }
        if let Some(topic) = &self.config.late_topic {
            for record in transaction.late.drain(..) {
                self.send(topic, &encode::late(record))?;
            }
        }
        if let Some(topic) = &self.config.bad_topic {
            for record in transaction.bad.drain(..) {
                self.send(topic, &encode::bad(record))?;
            }
        }
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(STEP);
        }
        // A fatal error is the cause of whatever else went wrong.
        if let Some((code, _)) = self.producer.client().fatal_error() {
            let doing = format!("writing topic `{}`", self.config.topic);
            return Err(Verdict::of_code(&doing, &self.config.bootstrap_servers, code));
        }
        match self.producer.context().take_failure() {
            Some((code, which)) => {
                Err(Verdict::of_code(&which, &self.config.bootstrap_servers, code))
            }
            None => Ok(()),
        }
    }

    /// Calls `step` of the transaction, again as long as librdkafka says so and
    /// our patience lasts. Giving up on a commit leaves its outcome open; the
    /// next writer of the transactional id settles it before it reads offsets.
    fn retrying(&self, mut step: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
        let deadline = Instant::now() + OUTAGE_PATIENCE;
        loop {
            match step() {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable()
                        && !error.is_fatal()
                        && !error.txn_requires_abort()
                        && Instant::now() < deadline =>
                {
                    self.producer.poll(Duration::from_millis(10));
                }
                ended => return ended,
            }
        }
    }

    fn publish_in_transaction(&self, transaction: &mut Transaction) -> Result<(), SinkError> {
        let doing = format!("transaction on topic `{}`", self.config.topic);
        let judge = |error: &KafkaError| Verdict::of(&doing, &self.config.bootstrap_servers, error);
        self.producer.begin_transaction().map_err(|error| judge(&error))?;
        self.send_all(transaction)?;
        if let Some(committer) = &self.committer
            && !transaction.commits.is_empty()
        {
            let (member, offsets) = committer.prepare(&transaction.commits)?;
            self.retrying(|| {
                self.producer.send_offsets_to_transaction(&offsets, &member, self.config.timeout)
            })
            .map_err(|error| Verdict::of(&committer.doing(), &committer.bootstrap, &error))?;
        }
        // Without a limit of ours it takes what is left of the transaction's.
        self.retrying(|| self.producer.commit_transaction(Timeout::Never))
            .map_err(|error| judge(&error).into())
    }

    fn publish_at_least_once(&self, transaction: &mut Transaction) -> Result<(), SinkError> {
        self.send_all(transaction)?;
        match &self.committer {
            Some(committer) => committer.commit(&transaction.commits),
            None => Ok(()),
        }
    }

    /// Ends what an error has left open, so that readers need not wait for the
    /// transaction to time out.
    fn abort(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        if matches!(self.config.delivery, Delivery::ExactlyOnce { .. })
            && self.producer.client().fatal_error().is_none()
        {
            let timeout = self.config.timeout;
            if let Err(error) = self.retrying(|| self.producer.abort_transaction(timeout)) {
                warn!(topic = %self.config.topic, %error, "the transaction could not be aborted; it times out");
            }
        }
    }
}

impl Sink for KafkaSink {
    fn publish(&mut self, mut transaction: Transaction) -> Result<(), SinkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if transaction.is_empty() {
            return Ok(());
        }
        let published = match self.config.delivery {
            Delivery::ExactlyOnce { .. } => self.publish_in_transaction(&mut transaction),
            Delivery::AtLeastOnce => self.publish_at_least_once(&mut transaction),
        };
        if let Err(error) = published {
            self.abort();
            self.failed = Some(error.clone());
            return Err(error);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), SinkError> {
        // Every transaction is complete when `publish` returns.
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
