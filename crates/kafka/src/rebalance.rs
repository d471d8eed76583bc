//! Who owns which partition, and what the group changes about it.
//!
//! librdkafka reports an assignment or a revocation as an event, served inside
//! [`BaseConsumer::poll`], and goes on with the rebalance when the application
//! answers with a call of `incremental_assign` or `incremental_unassign`; until
//! then it keeps up the heartbeats and stays in the group. rdkafka answers from
//! within the event. We do so for assignments, with an empty list (partitions
//! are added one by one as they are started), and for partitions that are lost;
//! but a revocation is answered by
//! [`Source::release`](tidecast_stream::Source::release), once
//! what was under way is committed. That is allowed: the answer is due within
//! `max.poll.interval.ms`, and any number of polls may come before it. Until then
//! librdkafka fetches nothing for the other partitions either.
//!
//! All of this needs the cooperative protocol or KIP-848's, where an answer
//! speaks of some partitions and leaves the others running.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use tracing::warn;

use crate::client::{self, LastError};

/// A change of ownership that the source has yet to report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    Lost(Vec<i32>),
}

/// The partitions of the topic, as this member sees them.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    /// Ours to commit for.
    pub(crate) owned: BTreeSet<i32>,
    /// Being read: librdkafka's own assignment.
    pub(crate) started: BTreeSet<i32>,
    /// Revoked and not yet released.
    pub(crate) revoking: BTreeSet<i32>,
    /// Revoked, released, and waiting for the rest of their revocation.
    released: BTreeSet<i32>,
    changes: VecDeque<Change>,
    /// No one will release anything any more.
    closing: bool,
}

impl Ownership {
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    fn forget(&mut self, partitions: &BTreeSet<i32>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        self.started.retain(|partition| !partitions.contains(partition));
        self.revoking.retain(|partition| !partitions.contains(partition));
    }

    /// Takes those of `partitions` out that librdkafka has been given.
    fn take_started(&mut self, partitions: &BTreeSet<i32>) -> Vec<i32> {
        let started = self.started.intersection(partitions).copied().collect();
        self.forget(partitions);
        started
    }

    /// Notes that `partitions` are released. When that completes a revocation,
    /// returns the partitions to take from librdkafka.
    fn release(&mut self, partitions: impl IntoIterator<Item = i32>) -> Option<Vec<i32>> {
        let revoked = !self.revoking.is_empty();
        for partition in partitions {
            if self.revoking.remove(&partition) {
                self.released.insert(partition);
            }
        }
        if !revoked || !self.revoking.is_empty() {
            return None;
        }
        let released = std::mem::take(&mut self.released);
        Some(self.take_started(&released))
    }
}

/// The consumer's half that librdkafka calls.
pub(crate) struct SourceContext {
    topic: String,
    ownership: Mutex<Ownership>,
    pub(crate) last_error: LastError,
}

impl SourceContext {
    pub(crate) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            ownership: Mutex::default(),
            last_error: LastError::default(),
        }
    }

    /// Never held across a call into librdkafka.
    pub(crate) fn ownership(&self) -> MutexGuard<'_, Ownership> {
        self.ownership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    /// Answers a revocation as far as `partitions` complete it.
    pub(crate) fn release(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: impl IntoIterator<Item = i32>,
    ) -> KafkaResult<()> {
        let answer = self.ownership().release(partitions);
        match answer {
            Some(started) => consumer.incremental_unassign(&self.list(&started)),
            None => Ok(()),
        }
    }

    /// From now on revocations are answered at once; the pending one is, too.
    pub(crate) fn close(&self, consumer: &BaseConsumer<Self>) {
        let pending: Vec<i32> = {
            let mut ownership = self.ownership();
            ownership.closing = true;
            ownership.owned.clear();
            ownership.revoking.iter().copied().collect()
        };
        if let Err(error) = self.release(consumer, pending) {
            warn!(topic = %self.topic, %error, "partitions could not be released at close");
        }
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.keep(&error, reason);
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> =
            list.elements().iter().map(|element| element.partition()).collect();
        let answered = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            {
                let mut ownership = self.ownership();
                if !ownership.closing && !partitions.is_empty() {
                    ownership.owned.extend(&partitions);
                    ownership.changes.push_back(Change::Assigned(partitions));
                }
            }
            consumer.incremental_assign(&TopicPartitionList::new())
        } else {
            let lost = consumer.assignment_lost();
            let set: BTreeSet<i32> = partitions.iter().copied().collect();
            let answer = {
                let mut ownership = self.ownership();
                if ownership.closing {
                    Some(ownership.take_started(&set))
                } else if set.is_empty() {
                    Some(Vec::new())
                } else if lost {
                    ownership.changes.push_back(Change::Lost(partitions));
                    Some(ownership.take_started(&set))
                } else {
                    ownership.revoking.extend(&set);
                    ownership.changes.push_back(Change::Revoked(partitions));
                    None
                }
            };
            match answer {
                Some(started) => consumer.incremental_unassign(&self.list(&started)),
                None => Ok(()),
            }
        };
        if let Err(error) = answered {
            warn!(topic = %self.topic, %error, "the group's change of partitions was not accepted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(owned: &[i32], started: &[i32], revoking: &[i32]) -> Ownership {
        Ownership {
            owned: owned.iter().copied().collect(),
            started: started.iter().copied().collect(),
            revoking: revoking.iter().copied().collect(),
            ..Ownership::default()
        }
    }

    #[test]
    fn a_revocation_is_answered_when_all_of_it_is_released() {
        let mut ownership = ownership(&[0, 1, 2], &[0, 1, 2], &[0, 2]);
        assert_eq!(ownership.release([0]), None);
        assert_eq!(ownership.owned, BTreeSet::from([0, 1, 2]), "still ours to commit for");
        assert_eq!(ownership.release([2]), Some(vec![0, 2]));
        assert_eq!(ownership.owned, BTreeSet::from([1]));
        assert_eq!(ownership.started, BTreeSet::from([1]));
    }

    #[test]
    fn only_what_was_started_is_taken_from_librdkafka() {
        let mut ownership = ownership(&[0, 1], &[1], &[0, 1]);
        assert_eq!(ownership.release([1, 0]), Some(vec![1]));
    }

    #[test]
    fn releasing_what_was_not_revoked_answers_nothing() {
        let mut ownership = ownership(&[0], &[0], &[]);
        assert_eq!(ownership.release([0]), None);
        assert_eq!(ownership.started, BTreeSet::from([0]));
    }
}
