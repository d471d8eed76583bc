//! The source's half of a commit.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use tidecast_stream::{PartitionCommit, SinkError};

use crate::error::{Doing, Verdict};
use crate::native;
use crate::rebalance::SourceContext;

/// What Kafka keeps beside an offset, by default (`offset.metadata.max.bytes`).
const MAX_METADATA_BYTES: usize = 4_096;

/// How long a commit waits for a rebalance to pass.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(5);

/// Commits offsets for the consumer group of one
/// [`KafkaSource`](crate::KafkaSource), from any thread.
///
/// A partition that the source no longer owns is refused here; the broker refuses
/// the rest of what a member that was thrown out might try, by its generation.
/// The source must live while commits are made: closing it leaves the group.
#[derive(Clone)]
pub struct GroupCommitter {
    pub(crate) consumer: Arc<BaseConsumer<SourceContext>>,
    pub(crate) topic: Arc<str>,
    pub(crate) group_id: Arc<str>,
    pub(crate) bootstrap: Arc<str>,
}

impl fmt::Debug for GroupCommitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommitter")
            .field("group_id", &self.group_id)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl GroupCommitter {
    /// Commits `commits` and returns when the broker has them.
    ///
    /// # Errors
    /// If they are not certain to be stored.
    pub fn commit(&self, commits: &[PartitionCommit]) -> Result<(), SinkError> {
        if commits.is_empty() {
            return Ok(());
        }
        self.membership()?;
        let offsets = self.offsets(commits)?;
        let deadline = Instant::now() + REBALANCE_PATIENCE;
        loop {
            match self.consumer.commit(&offsets, CommitMode::Sync) {
                Ok(()) => return Ok(()),
                // The group is between two generations. The thread that polls
                // the source carries it over.
                Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress))
                    if Instant::now() < deadline =>
                {
                    thread::park_timeout(Duration::from_millis(50));
                }
                Err(error) => {
                    return Err(Verdict::of(self.doing(), &self.bootstrap, &error).into());
                }
            }
        }
    }

    /// Returns the offsets to send, and the proof of membership to send with
    /// them. The proof is taken first: if a partition is lost after it is looked
    /// up here, the proof is out of date and the broker refuses it.
    ///
    /// A consumer that has been thrown out has a proof, too, one without a member
    /// in it, and that a broker accepts as coming from before such proofs were
    /// invented. So it is looked at before it is used.
    pub(crate) fn prepare(
        &self,
        commits: &[PartitionCommit],
    ) -> Result<(ConsumerGroupMetadata, TopicPartitionList), SinkError> {
        let mut before = self.membership()?;
        loop {
            let proof = self.consumer.group_metadata();
            let after = self.membership()?;
            // rdkafka does not show what is in a proof; but what stood before
            // and after it was taken is in it.
            if let Some(proof) = proof
                && before == after
            {
                return Ok((proof, self.offsets(commits)?));
            }
            before = after;
        }
    }

    /// Returns generation and member id, while there is a membership.
    fn membership(&self) -> Result<(i32, String), SinkError> {
        native::membership(self.consumer.client()).ok_or_else(|| {
            let message = format!("{}: this member is not in the group any more", self.doing());
            Verdict::transient(message).into()
        })
    }

    fn offsets(&self, commits: &[PartitionCommit]) -> Result<TopicPartitionList, SinkError> {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        let ownership = self.consumer.context().ownership();
        for commit in commits {
            let partition = &commit.partition;
            if partition.topic != self.topic {
                return Err(Verdict::internal(format!(
                    "{}: `{partition}` is of another topic",
                    self.doing()
                ))
                .into());
            }
            if !ownership.owned.contains(&partition.number) {
                return Err(Verdict::transient(format!(
                    "{}: `{partition}` has moved to another member of the group",
                    self.doing()
                ))
                .into());
            }
            if commit.metadata.len() > MAX_METADATA_BYTES {
                return Err(Verdict::internal(format!(
                    "{}: {} bytes of metadata for `{partition}`, expected at most {MAX_METADATA_BYTES}",
                    self.doing(),
                    commit.metadata.len()
                ))
                .into());
            }
            let mut element = list.add_partition(&partition.topic, partition.number);
            let set = element.set_offset(Offset::Offset(commit.offset.0));
            element.set_metadata(&commit.metadata);
            set.map_err(|error| Verdict::of(self.doing(), &self.bootstrap, &error))?;
        }
        Ok(list)
    }

    pub(crate) fn doing(&self) -> Doing {
        Doing::committing(&self.topic, &self.group_id)
    }
}
