//! What follows when a broker refuses messages.

use std::collections::{BTreeMap, BTreeSet};

use tidecast_stream::SinkError;
use tracing::warn;

use super::KafkaSink;
use super::deliveries::Refusal;
use super::outbox::Outbox;
use crate::error::Verdict;
use crate::observe;

/// A message that was too large.
struct Sent {
    refusal: Refusal,
    /// As it was sent.
    bytes: usize,
}

impl KafkaSink {
    /// Learns from what was refused, and returns the letters that no topic takes
    /// in any form; they are counted.
    ///
    /// # Errors
    /// If a forecast is among what cannot be sent: nothing can stand in for it.
    pub(super) fn adapt(
        &mut self,
        outbox: &Outbox<'_>,
        refused: &[Refusal],
    ) -> Result<BTreeSet<usize>, SinkError> {
        let mut too_large: BTreeMap<&str, Vec<Sent>> = BTreeMap::new();
        let mut invalid: BTreeMap<&str, Vec<Refusal>> = BTreeMap::new();
        for &refusal in refused {
            let Some(topic) = outbox.topic(refusal.index) else { continue };
            if refusal.is_too_large() {
                let bytes = outbox.wire_bytes(refusal.index, &self.limits);
                too_large.entry(topic).or_default().push(Sent { refusal, bytes });
            } else {
                invalid.entry(topic).or_default().push(refusal);
            }
        }
        let batch_bytes = self.limits.batch_bytes();
        if !too_large.is_empty() {
            // Somebody may have lowered a limit since it was asked for.
            let topics: Vec<&str> = too_large.keys().copied().collect();
            let settings = self.config.client_config().map_err(Verdict::from)?;
            self.limits.ask(&settings, &topics, self.config.timeout);
        }
        let mut given_up = BTreeSet::new();
        for (topic, sent) in too_large {
            given_up.extend(self.adapt_size(outbox, topic, &sent, batch_bytes)?);
        }
        for (topic, refused) in invalid {
            given_up.extend(self.adapt_kind(outbox, topic, &refused)?);
        }
        Ok(given_up)
    }

    /// Tries smaller batches, and so smaller letters, on `topic`; what was refused
    /// was sent in batches of at most `batch_bytes`, or one larger message.
    fn adapt_size(
        &mut self,
        outbox: &Outbox<'_>,
        topic: &str,
        sent: &[Sent],
        batch_bytes: usize,
    ) -> Result<Vec<usize>, Verdict> {
        for Sent { refusal, bytes } in sent {
            // Nothing joins a batch whose first message fills it.
            let was_alone = sent.len() == 1 || *bytes > batch_bytes;
            if outbox.is_forecast(refusal.index) && was_alone {
                if *bytes > self.limits.message_bytes() && self.limits.widen(topic) {
                    return Ok(Vec::new());
                }
                return Err(self.too_large(outbox, refusal, *bytes));
            }
        }
        let bytes = || sent.iter().map(|sent| sent.bytes);
        let largest = bytes().max().unwrap_or_default();
        if self.limits.lower(topic, bytes().sum::<usize>().min(batch_bytes.max(largest))) {
            return Ok(Vec::new());
        }
        let refused: Vec<Refusal> = sent.iter().map(|sent| sent.refusal).collect();
        self.give_up(outbox, topic, &refused)
    }

    /// Gives letters a key where they have none, as a compacted topic wants it.
    fn adapt_kind(
        &mut self,
        outbox: &Outbox<'_>,
        topic: &str,
        refused: &[Refusal],
    ) -> Result<Vec<usize>, Verdict> {
        let is_letter = |refusal: &Refusal| !outbox.is_forecast(refusal.index);
        if refused.iter().any(is_letter) && self.limits.require_keys(topic) {
            return Ok(Vec::new());
        }
        self.give_up(outbox, topic, refused)
    }

    /// Goes on without these letters.
    fn give_up(
        &self,
        outbox: &Outbox<'_>,
        topic: &str,
        refused: &[Refusal],
    ) -> Result<Vec<usize>, Verdict> {
        if let Some(refusal) = refused.iter().find(|refusal| outbox.is_forecast(refusal.index)) {
            let doing = outbox.describe(refusal.index);
            return Err(Verdict::of_code(doing, &self.config.bootstrap_servers, refusal.code));
        }
        observe::lost_letters(&self.config.pipeline, topic, refused.len() as u64);
        for refusal in refused {
            warn!(
                letter = %outbox.describe(refusal.index),
                reason = %refusal.code,
                "the topic takes no letter about this record in any form; it is counted only"
            );
        }
        Ok(refused.iter().map(|refusal| refusal.index).collect())
    }

    /// Says that a forecast is larger than what may be sent or kept.
    fn too_large(&self, outbox: &Outbox<'_>, refusal: &Refusal, bytes: usize) -> Verdict {
        let which = outbox.describe(refusal.index);
        let topic = &self.config.topic;
        let sent = self.limits.message_bytes();
        let limit = match self.limits.told(topic) {
            _ if bytes > sent => format!(
                "more than the {sent} that the sink sends; raise `message.max.bytes` \
                 (`'properties.message.max.bytes'` of the sink table) and `max.message.bytes` of \
                 topic `{topic}`"
            ),
            Some(told) => format!(
                "more than the {told} that the topic takes; raise its `max.message.bytes`, and the \
                 sink table's `'properties.message.max.bytes'` where that is lower"
            ),
            None => "more than the topic takes; raise its `max.message.bytes`, and the sink \
                     table's `'properties.message.max.bytes'` where that is lower"
                .to_owned(),
        };
        Verdict::user(format!(
            "{which}: {bytes} bytes, {limit}, or forecast fewer steps, quantiles or samples"
        ))
    }
}
