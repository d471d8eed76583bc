//! In-memory doubles of the two ports, for tests of what stands between them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::partition::{Offset, Partition};
use crate::sink::{Sink, SinkError, Transaction};
use crate::source::{Source, SourceError, SourceEvent};

/// A source that plays a list of events, then says [`SourceEvent::Finished`].
///
/// ```
/// use std::time::Duration;
/// use tidecast_stream::{Source, SourceEvent, memory::MemorySource};
/// let mut source = MemorySource::new([SourceEvent::Idle]);
/// assert!(matches!(source.poll(Duration::ZERO).unwrap(), SourceEvent::Idle));
/// assert!(matches!(source.poll(Duration::ZERO).unwrap(), SourceEvent::Finished));
/// ```
#[derive(Debug, Default)]
pub struct MemorySource {
    events: VecDeque<SourceEvent>,
    held: BTreeSet<Partition>,
    /// Assigned, and not started yet.
    unstarted: BTreeSet<Partition>,
    /// What was started, and from where.
    pub started: Vec<(Partition, Option<Offset>)>,
}

impl MemorySource {
    /// Returns a source that plays `events`.
    pub fn new(events: impl IntoIterator<Item = SourceEvent>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }
}

impl Source for MemorySource {
    fn poll(&mut self, _wait: Duration) -> Result<SourceEvent, SourceError> {
        // One list for all partitions: held back with one, they all are. Nothing comes
        // of a partition before it is started.
        if !self.held.is_empty() || !self.unstarted.is_empty() {
            return Ok(SourceEvent::Idle);
        }
        let event = self.events.pop_front().unwrap_or(SourceEvent::Finished);
        if let SourceEvent::Assigned(assigned) = &event {
            self.unstarted.extend(assigned.iter().map(|(partition, _)| partition.clone()));
        }
        Ok(event)
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        self.unstarted.remove(partition);
        self.started.push((partition.clone(), from));
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        self.held.retain(|partition| !partitions.contains(partition));
        Ok(())
    }

    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        if is_held {
            self.held.insert(partition.clone());
        } else {
            self.held.remove(partition);
        }
        Ok(())
    }
}

/// A sink that keeps what it is given; clones share the same list.
///
/// ```
/// use tidecast_stream::{Sink, Transaction, memory::MemorySink};
/// let sink = MemorySink::default();
/// sink.clone().publish(Transaction::default()).unwrap();
/// assert_eq!(sink.take().len(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    published: Arc<Mutex<Vec<Transaction>>>,
}

impl MemorySink {
    /// Takes what has been published so far, in order.
    pub fn take(&self) -> Vec<Transaction> {
        std::mem::take(&mut *self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for MemorySink {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).push(transaction);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
