//! Which waiting tasks go to the model together.
//!
//! A policy and nothing more: no threads, no clock of its own. Whoever owns
//! the model pushes what arrives and asks for the next batch.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::provider::PROCESSOR_BATCH;

/// How large a batch may get and how long it may wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Tokens of one batch, as [`Provider::cost`](crate::Provider::cost)
    /// counts them. A task that has more goes alone.
    pub max_tokens: usize,
    /// Tasks of one batch.
    pub max_tasks: usize,
    /// How long the oldest task waits for others.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    /// What suits a processor.
    fn default() -> Self {
        let (max_tokens, max_tasks) = PROCESSOR_BATCH;
        Self { max_tokens, max_tasks, max_wait: Duration::from_millis(5) }
    }
}

/// What [`BatchQueue::next`] says.
#[derive(Debug, PartialEq, Eq)]
pub enum NextBatch<T> {
    /// These go to the model now, oldest first.
    Ready(Vec<T>),
    /// Ask again when something was pushed, or at this time.
    WaitUntil(Instant),
    /// Nothing waits.
    Empty,
}

/// Tasks waiting for the model, oldest first.
///
/// ```
/// use std::time::{Duration, Instant};
/// use tidecast_forecast::{BatchLimits, BatchQueue, NextBatch};
///
/// let limits = BatchLimits { max_tokens: 100, max_tasks: 8, max_wait: Duration::from_millis(5) };
/// let mut queue = BatchQueue::new(limits);
/// let now = Instant::now();
/// queue.push("a", 60, now);
/// assert_eq!(queue.next(now), NextBatch::WaitUntil(now + limits.max_wait));
/// queue.push("b", 60, now);
/// assert_eq!(queue.next(now), NextBatch::Ready(vec!["a"]));
/// assert_eq!(queue.next(now + limits.max_wait), NextBatch::Ready(vec!["b"]));
/// ```
#[derive(Debug)]
pub struct BatchQueue<T> {
    limits: BatchLimits,
    waiting: VecDeque<Waiting<T>>,
    tokens: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    tokens: usize,
    since: Instant,
}

impl<T> BatchQueue<T> {
    /// Returns an empty queue.
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, waiting: VecDeque::new(), tokens: 0 }
    }

    /// Adds a task of this many tokens.
    pub fn push(&mut self, item: T, tokens: usize, now: Instant) {
        self.tokens += tokens;
        self.waiting.push_back(Waiting { item, tokens, since: now });
    }

    /// Returns the next batch if it is full or has waited long enough, else
    /// until when to wait.
    pub fn next(&mut self, now: Instant) -> NextBatch<T> {
        let Some(oldest) = self.waiting.front() else {
            return NextBatch::Empty;
        };
        let deadline = oldest.since + self.limits.max_wait;
        let is_full =
            self.tokens >= self.limits.max_tokens || self.waiting.len() >= self.limits.max_tasks;
        if is_full || now >= deadline {
            return NextBatch::Ready(self.take());
        }
        NextBatch::WaitUntil(deadline)
    }

    /// Returns when the oldest task has waited long enough; `None` when nothing
    /// waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.since + self.limits.max_wait)
    }

    /// Returns the next batch without waiting; empty when nothing waits. For
    /// draining.
    pub fn take(&mut self) -> Vec<T> {
        let mut batch = Vec::new();
        let mut tokens = 0;
        while let Some(next) = self.waiting.front() {
            let fits = tokens + next.tokens <= self.limits.max_tokens
                && batch.len() < self.limits.max_tasks;
            if !fits && !batch.is_empty() {
                break;
            }
            tokens += next.tokens;
            batch.extend(self.waiting.pop_front().map(|waiting| waiting.item));
        }
        self.tokens -= tokens;
        batch
    }

    /// Returns the number of waiting tasks.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the tokens of all waiting tasks.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_task_leaves_once_in_order_and_within_the_limits(
            costs in prop::collection::vec(0usize..50, 0..60),
            max_tokens in 1usize..80,
            max_tasks in 1usize..8,
        ) {
            let limits = BatchLimits { max_tokens, max_tasks, max_wait: Duration::from_secs(1) };
            let mut queue = BatchQueue::new(limits);
            let start = Instant::now();
            for (index, &tokens) in costs.iter().enumerate() {
                queue.push(index, tokens, start);
            }
            let mut seen = Vec::new();
            while let NextBatch::Ready(batch) = queue.next(start + limits.max_wait) {
                let tokens: usize = batch.iter().map(|&index| costs[index]).sum();
                prop_assert!(batch.len() <= max_tasks);
                prop_assert!(tokens <= max_tokens || batch.len() == 1);
                seen.extend(batch);
            }
            prop_assert_eq!(seen, (0..costs.len()).collect::<Vec<_>>());
            prop_assert_eq!(queue.tokens(), 0);
        }
    }

    #[test]
    fn the_oldest_task_sets_the_deadline() {
        let limits = BatchLimits { max_wait: Duration::from_millis(5), ..BatchLimits::default() };
        let mut queue = BatchQueue::new(limits);
        let start = Instant::now();
        queue.push(1, 10, start);
        queue.push(2, 10, start + Duration::from_millis(4));
        let deadline = start + Duration::from_millis(5);
        assert_eq!(queue.next(start), NextBatch::WaitUntil(deadline));
        assert_eq!(queue.next(deadline), NextBatch::Ready(vec![1, 2]));
        assert_eq!(queue.next(deadline), NextBatch::Empty);
    }
}
