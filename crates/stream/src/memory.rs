//! In-memory doubles of the two ports, for tests of what stands between them.

use std::collections::VecDeque;
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
    /// What was started, and from where.
    pub started: Vec<(Partition, Option<Offset>)>,
}

impl MemorySource {
    /// Returns a source that plays `events`.
    pub fn new(events: impl IntoIterator<Item = SourceEvent>) -> Self {
        Self { events: events.into_iter().collect(), started: Vec::new() }
    }
}

impl Source for MemorySource {
    fn poll(&mut self, _wait: Duration) -> Result<SourceEvent, SourceError> {
        Ok(self.events.pop_front().unwrap_or(SourceEvent::Finished))
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        self.started.push((partition.clone(), from));
        Ok(())
    }

    fn release(&mut self, _partitions: &[Partition]) -> Result<(), SourceError> {
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
