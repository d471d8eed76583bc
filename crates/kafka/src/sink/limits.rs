//! How large what goes to a topic may be: what the brokers teach by refusing, and
//! tell when they are asked about it. Not before: it is rarely of interest.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use tracing::{debug, info};

use crate::admin;
use crate::encode::LetterBounds;

/// librdkafka's `message.max.bytes`, the most bytes of a record, and
/// `batch.size`, the most of a batch of several, where nobody sets them.
const DEFAULT_BYTES: usize = 1_000_000;

/// What a broker takes where nobody says otherwise.
const BROKER_BYTES: usize = 1_048_588;

/// The largest `message.max.bytes` that librdkafka takes.
const MOST_BYTES: usize = 1_000_000_000;

/// A letter of this size is its position and the beginning of the reason. A topic
/// that refuses it takes none.
const SMALLEST_LETTER_BYTES: usize = 512;

/// How long the brokers may take to tell: what they do not tell can be tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the producer and the topics take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// The producer's `message.max.bytes`.
    message: usize,
    /// Whether the user has set it.
    is_message_set: bool,
    /// The user's `batch.size`.
    batch: usize,
    /// Whether the brokers have kept the limits to themselves.
    is_secret: bool,
    topics: BTreeMap<String, TopicLimit>,
}

#[derive(Clone, Copy, Debug, Default)]
struct TopicLimit {
    /// The topic's `max.message.bytes`, if the brokers have told.
    told: Option<usize>,
    /// The most bytes of a batch, from what was refused.
    learned: Option<usize>,
    /// Whether records without a key are refused.
    needs_key: bool,
}

impl TopicLimit {
    fn bytes(&self) -> usize {
        self.learned.or(self.told).unwrap_or(usize::MAX)
    }
}

impl Limits {
    /// Returns what `settings` of a producer say.
    pub(super) fn of(settings: &ClientConfig) -> Self {
        let set = |name: &str| settings.get(name).and_then(|value| value.trim().parse().ok());
        let message = set("message.max.bytes");
        Self {
            message: message.unwrap_or(DEFAULT_BYTES),
            is_message_set: message.is_some(),
            batch: set("batch.size").unwrap_or(DEFAULT_BYTES),
            is_secret: false,
            topics: BTreeMap::new(),
        }
    }

    /// Asks the brokers for the topics' limits. They may keep them to themselves:
    /// that takes a right of its own (`DescribeConfigs`).
    pub(super) fn ask(&mut self, settings: &ClientConfig, topics: &[&str], timeout: Duration) {
        if self.is_secret {
            return;
        }
        let told = match admin::max_message_bytes(settings, topics, timeout.min(PATIENCE)) {
            Ok(told) => told,
            Err(error) => {
                self.is_secret = true;
                return debug!(%error, "the topics' limits are not told");
            }
        };
        for (topic, bytes) in told {
            debug!(topic, bytes, "max.message.bytes");
            self.topics.entry(topic).or_default().told = Some(bytes);
        }
    }

    /// Lets the producer send as large a record as the forecasts' topic takes,
    /// where that was made to take more than others do and nobody has said how
    /// much the producer may send. Returns whether that is more than before.
    pub(super) fn widen(&mut self, topic: &str) -> bool {
        match self.told(topic) {
            Some(told) if told > BROKER_BYTES && !self.is_message_set => {
                let before = std::mem::replace(&mut self.message, told.min(MOST_BYTES));
                self.message > before
            }
            _ => false,
        }
    }

    /// Sets what follows for the producer. A batch is refused as a whole, so it
    /// must fit the topic that takes least.
    pub(super) fn apply(&self, settings: &mut ClientConfig) {
        settings
            .set("message.max.bytes", self.message.to_string())
            .set("batch.size", self.batch_bytes().to_string());
    }

    /// Returns the most bytes of a batch of several records.
    pub(super) fn batch_bytes(&self) -> usize {
        self.topics.values().map(TopicLimit::bytes).fold(self.batch, usize::min).max(1)
    }

    /// Returns the most bytes of a record that the producer sends.
    pub(super) fn message_bytes(&self) -> usize {
        self.message
    }

    /// Returns the topic's `max.message.bytes`, if the brokers have told.
    pub(super) fn told(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic)?.told
    }

    /// Returns what a topic takes of a late row or dead letter.
    pub(super) fn letter(&self, topic: &str) -> LetterBounds {
        let limit = self.topics.get(topic).copied().unwrap_or_default();
        LetterBounds { bytes: limit.bytes().min(self.message), needs_key: limit.needs_key }
    }

    /// Learns that `topic` refused a batch of at most `bytes` as too large: to
    /// what the brokers tell, where that says more, or else to half. Returns
    /// `false` where nothing smaller is left to try.
    pub(super) fn lower(&mut self, topic: &str, bytes: usize) -> bool {
        let limit = self.topics.entry(topic.to_owned()).or_default();
        let refused = bytes.min(limit.learned.unwrap_or(usize::MAX));
        let next = match limit.told {
            Some(told) if told < refused => told,
            _ => refused / 2,
        };
        if refused <= SMALLEST_LETTER_BYTES {
            return false;
        }
        let next = next.max(SMALLEST_LETTER_BYTES);
        info!(topic, refused, next, "the topic takes no batch of this size, trying smaller ones");
        limit.learned = Some(next);
        true
    }

    /// Learns that `topic` refused records as invalid, which a compacted topic
    /// does with those that have no key. Returns `false` where they have one.
    pub(super) fn require_keys(&mut self, topic: &str) -> bool {
        let limit = self.topics.entry(topic.to_owned()).or_default();
        !std::mem::replace(&mut limit.needs_key, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(properties: &[(&str, &str)]) -> Limits {
        let mut settings = ClientConfig::new();
        for (name, value) in properties {
            settings.set(*name, *value);
        }
        Limits::of(&settings)
    }

    #[test]
    fn a_refused_size_is_never_tried_again_and_the_search_ends() {
        let mut limits = limits(&[]);
        let mut tried = vec![limits.letter("bad").bytes];
        while limits.lower("bad", limits.letter("bad").bytes) {
            tried.push(limits.letter("bad").bytes);
        }
        assert_eq!(tried.first(), Some(&1_000_000));
        assert_eq!(tried.last(), Some(&SMALLEST_LETTER_BYTES));
        assert!(tried.is_sorted_by(|larger, smaller| larger > smaller), "{tried:?}");
        assert!(tried.len() < 15, "{tried:?}");
    }

    #[test]
    fn what_a_topic_tells_bounds_letters_and_the_batches_of_all() {
        let mut limits = limits(&[]);
        limits.topics.insert("bad".into(), TopicLimit { told: Some(500), ..Default::default() });
        assert_eq!(limits.letter("bad").bytes, 500);
        assert_eq!(limits.letter("late").bytes, 1_000_000);
        assert_eq!(limits.batch_bytes(), 500);
        // It was refused all the same: nothing smaller is left.
        assert!(!limits.lower("bad", 400));
    }

    #[test]
    fn a_limit_that_was_lowered_meanwhile_is_taken_as_told() {
        let mut limits = limits(&[]);
        limits.topics.insert("bad".into(), TopicLimit { told: Some(90_000), ..Default::default() });
        limits.topics.get_mut("bad").unwrap().told = Some(20_000);
        assert!(limits.lower("bad", 80_000));
        assert_eq!(limits.letter("bad").bytes, 20_000);
    }

    #[test]
    fn the_producer_sends_what_the_forecasts_topic_was_made_to_take() {
        let wide = TopicLimit { told: Some(5_000_000), ..Default::default() };
        let mut automatic = limits(&[]);
        automatic.topics.insert("out".into(), wide);
        assert!(automatic.widen("out") && !automatic.widen("out"));
        assert_eq!((automatic.message_bytes(), automatic.batch_bytes()), (5_000_000, 1_000_000));
        let mut said = limits(&[("message.max.bytes", "2000")]);
        said.topics.insert("out".into(), wide);
        assert!(!said.widen("out"));
        assert_eq!(said.message_bytes(), 2_000);
    }
}
