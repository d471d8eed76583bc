//! Publishes forecasts together with the source's offsets.
//!
//! A record that cannot be used may not stop the pipeline, and so neither may the
//! letter about it: letters are cut to what their topic takes. What a broker
//! refuses all the same is sent again, smaller; in a transaction everything is, as
//! one refusal spoils the whole.

mod deliveries;
mod encoder;
mod limits;
mod outbox;
mod refused;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::util::Timeout;
use tidecast_formats::forecast::ForecastEncoder;
use tidecast_stream::{Sink, SinkError, Transaction};
use tracing::{info, warn};

use self::deliveries::{Deliveries, Refusal};
use self::limits::Limits;
use self::outbox::Outbox;
use crate::certificate;
use crate::client::{self, TopicState};
use crate::committer::GroupCommitter;
use crate::config::{Delivery, KafkaSinkConfig};
use crate::encode::Outgoing;
use crate::error::{Doing, Verdict, code_of};
use crate::native::NotifiedProducer;

/// The longest wait for deliveries before the question whether any are outstanding is
/// asked again. A wait ends with the first delivery, so nothing is the later for it.
const WAIT: Duration = Duration::from_millis(100);

/// How long the steps of a transaction are tried again.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(60);

/// A topic of forecasts.
///
/// With [`Delivery::ExactlyOnce`] each [`Transaction`] is one of Kafka's: messages
/// and source offsets become visible together or not at all. With
/// [`Delivery::AtLeastOnce`] the offsets follow once every message is
/// acknowledged. Late rows and bad records go to their topics the same way, on
/// the same cluster; without a topic they are counted. They are cut where they are
/// larger than their topic takes; forecasts never are.
///
/// After an error nothing more is published: the next generation connects anew.
pub struct KafkaSink {
    producer: NotifiedProducer<Deliveries>,
    committer: Option<GroupCommitter>,
    config: Arc<KafkaSinkConfig>,
    encoder: Arc<ForecastEncoder>,
    limits: Limits,
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

/// A [`KafkaSink`] whose topics and schema were found, and that may not write yet.
#[derive(Debug)]
pub struct OpenKafkaSink(KafkaSink);

impl OpenKafkaSink {
    /// Connects to the brokers, registers the schema of the forecasts where their format has
    /// one in a registry, and checks that the topics are there.
    ///
    /// To be called before the source joins its group: a sink that cannot be had then moves
    /// no partitions. (And librdkafka 2.12 crashes now and then where a consumer is closed
    /// that is about to join, in `rd_kafka_cgrp_handle_LeaveGroup`.)
    ///
    /// # Errors
    /// If a setting is wrong, or no broker answers, or a topic is missing, or the registry
    /// refuses the schema or does not answer.
    pub fn open(config: KafkaSinkConfig) -> Result<Self, SinkError> {
        let encoder = Arc::new(encoder::encoder(&config)?);
        let settings = config.client_config().map_err(Verdict::from)?;
        let limits = Limits::of(&settings);
        let producer = producer(&config, &settings)?;
        find_topics(&config, &producer, &settings)?;
        let config = Arc::new(config);
        Ok(Self(KafkaSink { producer, committer: None, config, encoder, limits, failed: None }))
    }

    /// Returns the sink; for exactly once older writers of the same transactional id are
    /// fenced off.
    ///
    /// `committer` is the source's
    /// ([`KafkaSource::committer`](crate::KafkaSource::committer)), if that is
    /// Kafka, too; without one, commits are not stored.
    ///
    /// # Errors
    /// If the source is on another cluster, or no broker answers.
    pub fn start(self, committer: Option<GroupCommitter>) -> Result<KafkaSink, SinkError> {
        let Self(mut sink) = self;
        sink.committer = committer;
        if let Delivery::ExactlyOnce { transactional_id } = &sink.config.delivery {
            sink.check_one_cluster()?;
            sink.init_transactions(transactional_id)?;
        }
        Ok(sink)
    }
}

impl KafkaSink {
    /// Opens and starts a sink; see [`OpenKafkaSink`].
    ///
    /// # Errors
    /// If it cannot be opened or started.
    pub fn connect(
        config: KafkaSinkConfig,
        committer: Option<GroupCommitter>,
    ) -> Result<Self, SinkError> {
        OpenKafkaSink::open(config)?.start(committer)
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
        let doing =
            doing(&self.config).said(format!("taking over transactional id `{transactional_id}`"));
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
                    return Err(self.verdict(&doing, &error));
                }
            }
        }
    }

    /// Judges what the producer has ended of: the cause of whatever else went wrong.
    fn fatal(&self) -> Option<Verdict> {
        let (code, _) = self.producer.client().fatal_error()?;
        Some(Verdict::of_code(doing(&self.config), &self.config.bootstrap_servers, code))
    }

    /// Judges what a call gave.
    fn verdict(&self, doing: &Doing, error: &KafkaError) -> Verdict {
        match code_of(error) {
            Some(code) => self.verdict_of_code(doing, code),
            None => Verdict::of(doing, &self.config.bootstrap_servers, error),
        }
    }

    /// Judges `code`; where a call only waited in vain, what was behind that.
    fn verdict_of_code(&self, doing: &Doing, code: RDKafkaErrorCode) -> Verdict {
        let failure = self.producer.context().last_error.behind(code);
        let verdict = Verdict::of_failure(doing, &self.config.bootstrap_servers, &failure);
        // Who was let in before may be so again, with what the next generation reads.
        if failure.code == code { verdict } else { verdict.retriable() }
    }

    /// Gives a record to librdkafka, waiting while its buffer is full.
    fn send(&self, topic: &str, outgoing: Outgoing<'_>, index: usize) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, index);
        record.key = outgoing.key.as_deref();
        record.payload = outgoing.payload.as_deref();
        record.headers = Some(outgoing.headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    self.producer.serve(WAIT);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Sends the messages with these numbers and waits for their acknowledgement.
    /// Returns those that another kind of message might have to stand in for.
    fn send_all(&self, outbox: &Outbox<'_>, pending: &[usize]) -> Result<Vec<Refusal>, Verdict> {
        let bootstrap = &self.config.bootstrap_servers;
        let deliveries = self.producer.context();
        let mut ended = None;
        for &index in pending {
            let Some((topic, outgoing)) = outbox.message(index, &self.limits)? else { continue };
            let Err(error) = self.send(topic, outgoing, index) else { continue };
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let refusal = Refusal { index, code };
            if refusal.is_too_large() {
                deliveries.add(refusal);
            } else if deliveries.has_any() {
                // A transaction takes no more once it has to be aborted.
                break;
            } else {
                let verdict = || Verdict::of(outbox.describe(index), bootstrap, &error);
                let verdict = self.fatal().unwrap_or_else(verdict);
                if code != RDKafkaErrorCode::State {
                    return Err(verdict);
                }
                // It has to be aborted, and what says why may be on its way.
                ended = Some(verdict);
                break;
            }
        }
        while self.producer.in_flight_count() > 0 {
            self.producer.serve(WAIT);
        }
        if let Some(fatal) = self.fatal() {
            return Err(fatal);
        }
        let refused = deliveries.take();
        if let Some(ended) = ended.filter(|_| refused.is_empty()) {
            return Err(ended);
        }
        match refused.iter().find(|refusal| !refusal.is_about_the_message()) {
            Some(other) => Err(self.verdict_of_code(&outbox.describe(other.index), other.code)),
            None => Ok(refused),
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

    /// Publishes everything, however often it takes to find out what the topics
    /// take: each turn tries something smaller, gives up a letter, or is the last.
    fn publish_all(&mut self, transaction: &Transaction) -> Result<(), SinkError> {
        let config = Arc::clone(&self.config);
        let encoder = Arc::clone(&self.encoder);
        let outbox = Outbox::of(transaction, &config, &encoder);
        let mut pending = outbox.indices();
        loop {
            let refused = match config.delivery {
                Delivery::ExactlyOnce { .. } => self.attempt(transaction, &outbox, &pending)?,
                Delivery::AtLeastOnce => self.send_all(&outbox, &pending)?,
            };
            if refused.is_empty() {
                break;
            }
            let given_up = self.adapt(&outbox, &refused)?;
            if config.delivery == Delivery::AtLeastOnce {
                pending = outbox.again(&refused);
            } else {
                self.abort();
            }
            pending.retain(|index| !given_up.contains(index));
            self.reconnect()?;
        }
        match &self.committer {
            Some(committer) if config.delivery == Delivery::AtLeastOnce => {
                committer.commit(&transaction.commits)
            }
            _ => Ok(()),
        }
    }

    /// Begins a transaction, and commits it unless something was refused.
    fn attempt(
        &self,
        transaction: &Transaction,
        outbox: &Outbox<'_>,
        pending: &[usize],
    ) -> Result<Vec<Refusal>, SinkError> {
        let doing =
            doing(&self.config).said(format!("transaction on topic `{}`", self.config.topic));
        let verdict = |error: &KafkaError| self.verdict(&doing, error);
        self.producer.begin_transaction().map_err(|error| verdict(&error))?;
        let refused = self.send_all(outbox, pending)?;
        if !refused.is_empty() {
            return Ok(refused);
        }
        if let Some(committer) = &self.committer
            && !transaction.commits.is_empty()
        {
            let (member, offsets) = committer.prepare(&transaction.commits)?;
            self.retrying(|| {
                self.producer.send_offsets_to_transaction(&offsets, &member, self.config.timeout)
            })
            .map_err(|error| self.verdict(&committer.doing(), &error))?;
        }
        // Without a limit of ours it takes what is left of the transaction's.
        self.retrying(|| self.producer.commit_transaction(Timeout::Never))
            .map_err(|error| verdict(&error))?;
        Ok(Vec::new())
    }

    /// Starts another producer with what was learned. After a refusal the old
    /// one's numbering of messages has a gap, which brokers take for a loss.
    fn reconnect(&mut self) -> Result<(), Verdict> {
        self.producer = limited_producer(&self.config, &self.limits)?;
        match &self.config.delivery {
            Delivery::ExactlyOnce { transactional_id } => self.init_transactions(transactional_id),
            Delivery::AtLeastOnce => Ok(()),
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
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if transaction.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.publish_all(&transaction) {
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

fn doing(config: &KafkaSinkConfig) -> Doing {
    let doing = Doing::writing(format!("writing topic `{}`", config.topic), &config.topic);
    match &config.delivery {
        Delivery::ExactlyOnce { transactional_id } => doing.under(transactional_id),
        Delivery::AtLeastOnce => doing,
    }
}

fn producer(
    config: &KafkaSinkConfig,
    settings: &ClientConfig,
) -> Result<NotifiedProducer<Deliveries>, Verdict> {
    let doing = doing(config);
    let producer = settings
        .create_with_context(Deliveries::default())
        .map_err(|error| Verdict::of(&doing, &config.bootstrap_servers, &error))?;
    NotifiedProducer::new(producer)
        .ok_or_else(|| Verdict::internal(format!("{doing}: no queue could be had")))
}

fn limited_producer(
    config: &KafkaSinkConfig,
    limits: &Limits,
) -> Result<NotifiedProducer<Deliveries>, Verdict> {
    let mut settings = config.client_config()?;
    limits.apply(&mut settings);
    producer(config, &settings)
}

/// Checks that all topics are there.
fn find_topics(
    config: &KafkaSinkConfig,
    producer: &BaseProducer<Deliveries>,
    settings: &ClientConfig,
) -> Result<(), Verdict> {
    for topic in config.topics() {
        let serve = || {
            producer.poll(Duration::ZERO);
        };
        let last_error = &producer.context().last_error;
        let found = client::find_topic(producer.client(), topic, config.timeout, last_error, serve);
        if let TopicState::Failed(failure) = found {
            let failure = certificate::looked_into(failure, settings);
            let is = |letters: &Option<String>| letters.as_deref() == Some(topic);
            let option = match topic {
                _ if is(&config.bad_topic) => " ('bad.topic' of the source table)",
                _ if is(&config.late_topic) => " ('late.topic' of the source table)",
                _ => "",
            };
            let doing = Doing::writing(format!("writing topic `{topic}`{option}"), topic);
            return Err(Verdict::of_failure(doing, &config.bootstrap_servers, &failure));
        }
    }
    Ok(())
}
