//! Reads a topic as a member of a consumer group.

mod absent;
mod batches;
pub(crate) mod decoder;
pub(crate) mod metadata;
mod positions;
mod warm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use tidecast_formats::Decoder;
use tidecast_stream::{Offset, Partition, PartitionCommit, Source, SourceError, SourceEvent};
use tracing::{debug, info, warn};

use self::absent::AbsentColumns;
use self::positions::Beginning;
use crate::certificate;
use crate::client::{self, Refusals, TopicState};
use crate::committer::GroupCommitter;
use crate::config::KafkaSourceConfig;
use crate::error::{Doing, Verdict, sentence};
use crate::native::{self, BatchQueue};
use crate::rebalance::{Change, SourceContext};

/// How long a wait for records may delay the report of a rebalance.
const SLICE: Duration = Duration::from_millis(25);

/// How long the topic may be reported missing while we are in the group.
const TOPIC_PATIENCE: Duration = Duration::from_secs(30);

/// A topic, read through a consumer group.
///
/// It is polled by one thread, without which neither rebalances nor closing go
/// on: after `max.poll.interval.ms` (5 minutes) without a poll the group takes the
/// partitions away. [`hold`](Source::hold) is how to slow a partition down: librdkafka
/// prefetches a bounded amount of it.
///
/// Ranges cover what is not there, too: records that retention or compaction has
/// removed, aborted transactions, transaction markers. So a batch may have
/// neither rows nor bad records and still move the partition on.
///
/// Dropping it leaves the group; commit before.
pub struct KafkaSource {
    config: KafkaSourceConfig,
    topic: Arc<str>,
    /// Before `consumer`, whose client it uses.
    queue: BatchQueue<SourceContext>,
    consumer: Arc<BaseConsumer<SourceContext>>,
    decoder: Decoder,
    absent: AbsentColumns,
    reading: BTreeMap<i32, Reading>,
    ready: VecDeque<SourceEvent>,
    /// Partitions to be started again where they stand, after an error.
    to_restart: BTreeSet<i32>,
    /// Partitions of which nothing has come yet. Stopping a partition ends, a
    /// little later, the forwarding of its messages; were it started again by
    /// then, it would stall. So forwarding is renewed until a message comes.
    unproven: BTreeSet<i32>,
    /// Partitions of which no more is to come for now.
    held: BTreeSet<i32>,
    /// What there is to say of where partitions were begun.
    beginnings: BTreeMap<i32, String>,
    /// Since when the topic is reported missing.
    missing_since: Option<Instant>,
    refusals: Refusals,
}

/// A started partition.
#[derive(Debug)]
struct Reading {
    partition: Partition,
    /// The position up to which ranges have been handed out.
    next: Offset,
    /// Where fetching was begun, or begun again: what is gone before it is passed over,
    /// though no record comes that says so.
    fetch_from: Offset,
    /// The partition's end when it was started.
    end_at_start: Offset,
    /// The end whose reaching was reported last.
    told_end: Option<Offset>,
    schema: SchemaRef,
    meters: batches::Meters,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource")
            .field("topic", &self.topic)
            .field("group_id", &self.config.group_id)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// Connects to the brokers, checks that the topic is there and joins the group.
    ///
    /// # Errors
    /// If a setting is wrong, or within the configured patience no broker answers
    /// or the topic does not exist.
    pub fn connect(config: KafkaSourceConfig) -> Result<Self, SourceError> {
        let doing = Doing::reading(&config.topic, &config.group_id);
        let verdict = |error: &KafkaError| Verdict::of(&doing, &config.bootstrap_servers, error);
        let settings = config.client_config().map_err(Verdict::from)?;
        let decoder = decoder::decoder(&config)
            .map_err(|reason| Verdict::user(format!("{doing}: {reason}")))?;
        let consumer: BaseConsumer<SourceContext> = settings
            .create_with_context(SourceContext::new(&config.topic))
            .map_err(|error| verdict(&error))?;
        let consumer = Arc::new(consumer);
        // Errors that concern no call come with the events.
        let serve = || drop(consumer.poll(Duration::ZERO));
        let last_error = &consumer.context().last_error;
        match client::find_topic(
            consumer.client(),
            &config.topic,
            config.timeout,
            last_error,
            serve,
        ) {
            TopicState::Partitions(partitions) => {
                info!(topic = %config.topic, partitions, group = %config.group_id, "topic found");
            }
            TopicState::Failed(failure) => {
                let failure = certificate::looked_into(failure, &settings);
                let bootstrap = &config.bootstrap_servers;
                return Err(Verdict::of_failure(&doing, bootstrap, &failure).into());
            }
        }
        consumer.subscribe(&[&config.topic]).map_err(|error| verdict(&error))?;
        let queue = BatchQueue::new(Arc::clone(&consumer), config.max_batch_records.max(1))
            .ok_or_else(|| Verdict::internal(format!("{doing}: no queue could be made")))?;
        Ok(Self {
            topic: Arc::from(config.topic.as_str()),
            queue,
            consumer,
            decoder,
            absent: AbsentColumns::new(&config.pipeline, Arc::from(config.topic.as_str())),
            reading: BTreeMap::new(),
            ready: VecDeque::new(),
            to_restart: BTreeSet::new(),
            unproven: BTreeSet::new(),
            held: BTreeSet::new(),
            beginnings: BTreeMap::new(),
            missing_since: None,
            refusals: Refusals::default(),
            config,
        })
    }

    /// Returns a handle that commits offsets for this source's group.
    pub fn committer(&self) -> GroupCommitter {
        GroupCommitter {
            consumer: Arc::clone(&self.consumer),
            topic: Arc::clone(&self.topic),
            group_id: Arc::from(self.config.group_id.as_str()),
            bootstrap: Arc::from(self.config.bootstrap_servers.as_str()),
        }
    }

    fn doing(&self) -> Doing {
        Doing::reading(&self.topic, &self.config.group_id)
    }

    fn verdict(&self, error: &KafkaError) -> Verdict {
        Verdict::of(self.doing(), &self.config.bootstrap_servers, error)
    }

    fn partition(&self, number: i32) -> Partition {
        Partition::new(Arc::clone(&self.topic), number)
    }

    /// Whether a partition is not ours, or will not be soon.
    fn is_going(&self, partition: &Partition) -> bool {
        let ownership = self.consumer.context().ownership();
        let number = partition.number;
        let is_going = !ownership.owned.contains(&number) || ownership.revoking.contains(&number);
        if is_going {
            // The event that says so is on its way.
            debug!(%partition, "not started: it is being taken away");
        }
        is_going
    }

    /// Serves librdkafka's events for up to `wait`: rebalances, errors.
    fn serve_events(&mut self, wait: Duration) -> Result<(), SourceError> {
        match self.consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                drop(message);
                debug!(topic = %self.topic, "a message came without its partition being started");
            }
            Some(Err(error)) => self.on_error(&error)?,
        }
        let missing = self.missing_since.is_some_and(|since| since.elapsed() > TOPIC_PATIENCE);
        if missing {
            let code = RDKafkaErrorCode::UnknownTopicOrPartition;
            let verdict = Verdict::of_code(self.doing(), &self.config.bootstrap_servers, code);
            return Err(verdict.into());
        }
        Ok(())
    }

    fn on_error(&mut self, error: &KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode as Code;
        let Some(code) = error.rdkafka_error_code() else {
            return Err(self.verdict(error).into());
        };
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(self.verdict(error).into());
        }
        match code {
            // librdkafka mends these by itself, however long it takes.
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::NetworkException
            | Code::Retry => {
                warn!(
                    topic = %self.topic, bootstrap = %self.config.bootstrap_servers,
                    reason = %sentence(code), "connection trouble; trying again",
                );
                Ok(())
            }
            Code::Authentication | Code::SSL => {
                let failure = self.consumer.context().last_error.behind(Code::OperationTimedOut);
                if self.refusals.note(Instant::now()) {
                    let bootstrap = &self.config.bootstrap_servers;
                    let verdict = Verdict::of_failure(self.doing(), bootstrap, &failure);
                    return Err(verdict.retriable().into());
                }
                warn!(
                    topic = %self.topic, bootstrap = %self.config.bootstrap_servers,
                    reason = %failure.reason, "a broker refused the connection; trying again",
                );
                Ok(())
            }
            Code::PollExceeded => {
                warn!(
                    topic = %self.topic, group = %self.config.group_id,
                    "records were not taken for `max.poll.interval.ms`; rejoining the group",
                );
                Ok(())
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic => {
                self.missing_since.get_or_insert_with(Instant::now);
                warn!(topic = %self.topic, "the topic is reported missing; waiting for it");
                Ok(())
            }
            _ => Err(self.verdict(error).into()),
        }
    }

    /// Turns the next change of ownership into an event.
    fn next_change(&mut self) -> Result<Option<SourceEvent>, SourceError> {
        let Some(change) = self.consumer.context().ownership().next_change() else {
            return Ok(None);
        };
        let event = match change {
            Change::Assigned(numbers) => {
                info!(topic = %self.topic, partitions = ?numbers, "partitions assigned");
                self.missing_since = None;
                SourceEvent::Assigned(self.committed(&numbers)?)
            }
            Change::Revoked(numbers) => {
                info!(topic = %self.topic, partitions = ?numbers, "partitions revoked");
                self.discard_ready(&numbers);
                SourceEvent::Revoked(numbers.iter().map(|n| self.partition(*n)).collect())
            }
            Change::Lost(numbers) => {
                warn!(topic = %self.topic, partitions = ?numbers, "partitions lost");
                self.forget(&numbers);
                SourceEvent::Lost(numbers.iter().map(|n| self.partition(*n)).collect())
            }
        };
        Ok(Some(event))
    }

    /// Asks what the last owners of these partitions committed.
    fn committed(
        &self,
        numbers: &[i32],
    ) -> Result<Vec<(Partition, Option<PartitionCommit>)>, SourceError> {
        let mut list = self.consumer.context().list(numbers);
        if !numbers.is_empty() {
            list = self
                .consumer
                .committed_offsets(list, self.config.timeout)
                .map_err(|error| self.verdict(&error))?;
        }
        let mut assigned = Vec::with_capacity(numbers.len());
        for (element, metadata) in list.elements().iter().zip(native::metadata(&list)) {
            element.error().map_err(|error| self.verdict(&error))?;
            let partition = self.partition(element.partition());
            let commit = match element.offset() {
                KafkaOffset::Offset(offset) => Some(PartitionCommit {
                    partition: partition.clone(),
                    offset: Offset(offset),
                    metadata,
                }),
                _ => None,
            };
            assigned.push((partition, commit));
        }
        Ok(assigned)
    }

    /// Drops all that is known of partitions that are not ours any more.
    fn forget(&mut self, numbers: &[i32]) {
        self.discard_ready(numbers);
        for number in numbers {
            self.reading.remove(number);
            self.to_restart.remove(number);
            self.unproven.remove(number);
            self.held.remove(number);
            self.beginnings.remove(number);
        }
    }

    /// Drops batches that were not handed out before their partition was taken
    /// away: its next owner reads them again.
    fn discard_ready(&mut self, numbers: &[i32]) {
        self.ready.retain(|event| match event {
            SourceEvent::Batch(batch) => !numbers.contains(&batch.partition.number),
            SourceEvent::CaughtUp(partition) => !numbers.contains(&partition.number),
            _ => true,
        });
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            self.serve_events(Duration::ZERO)?;
            if let Some(event) = self.next_change()? {
                return Ok(event);
            }
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            self.restart_failed()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if self.reading.is_empty() {
                self.serve_events(left.min(SLICE))?;
            } else {
                self.take_batches(left.min(SLICE))?;
            }
            if self.ready.is_empty() && Instant::now() >= deadline {
                return Ok(self.next_change()?.unwrap_or(SourceEvent::Idle));
            }
        }
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        let number = partition.number;
        if partition.topic != self.topic {
            let message = format!("{}: `{partition}` is of another topic", self.doing());
            return Err(Verdict::internal(message).into());
        }
        if self.consumer.context().ownership().started.contains(&number) {
            let message = format!("{}: `{partition}` is started already", self.doing());
            return Err(Verdict::internal(message).into());
        }
        if self.is_going(partition) {
            return Ok(());
        }
        let Beginning { from, fetch_from, end } = self.position(number, from)?;
        // Finding that out serves the group's events.
        if self.is_going(partition) {
            return Ok(());
        }
        if !self.queue.forward(&self.topic, number) {
            let message = format!("{}: `{partition}` has no queue", self.doing());
            return Err(Verdict::internal(message).into());
        }
        self.assign(number, fetch_from)?;
        self.consumer.context().ownership().started.insert(number);
        self.unproven.insert(number);
        let meters = batches::Meters::of(&self.config.pipeline, partition);
        let reading = Reading {
            partition: partition.clone(),
            next: from,
            fetch_from,
            end_at_start: end,
            told_end: None,
            schema: Arc::clone(&self.config.schema),
            meters,
        };
        self.reading.insert(number, reading);
        debug!(%partition, %from, "reading");
        Ok(())
    }

    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        let number = partition.number;
        if partition.topic != self.topic || !self.reading.contains_key(&number) {
            return Ok(());
        }
        let is_done = if is_held {
            self.held.insert(number);
            self.queue.keep_back(&self.topic, number)
        } else {
            self.held.remove(&number);
            self.queue.forward(&self.topic, number)
        };
        match is_done {
            true => Ok(()),
            false => {
                let message = format!("{}: `{partition}` has no queue", self.doing());
                Err(Verdict::internal(message).into())
            }
        }
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        let numbers: Vec<i32> = partitions.iter().map(|partition| partition.number).collect();
        self.forget(&numbers);
        self.consumer
            .context()
            .release(&self.consumer, numbers)
            .map_err(|error| self.verdict(&error).into())
    }

    fn warnings(&self) -> Vec<String> {
        let absent = self.absent.warnings();
        absent.into_iter().chain(self.beginnings.values().cloned()).collect()
    }
}

impl Drop for KafkaSource {
    /// Leaves the group now: a committer may keep the client itself alive.
    fn drop(&mut self) {
        self.consumer.context().close(&self.consumer);
        match self.consumer.close_queue() {
            Ok(()) => {
                let deadline = Instant::now() + self.config.timeout;
                while !self.consumer.closed() && Instant::now() < deadline {
                    drop(self.consumer.poll(SLICE));
                }
            }
            Err(error) => debug!(topic = %self.topic, %error, "the consumer could not be closed"),
        }
    }
}
