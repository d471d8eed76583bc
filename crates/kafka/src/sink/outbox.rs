//! The messages of a transaction, numbered, so that what is known of one can be
//! said by its number: the records of forecasts first, then late rows, then dead letters.

use std::collections::BTreeSet;

use tidecast_formats::forecast::ForecastEncoder;
use tidecast_stream::{ForecastMessage, RecordPosition, Transaction};

use super::deliveries::Refusal;
use super::limits::Limits;
use crate::config::KafkaSinkConfig;
use crate::encode::{self, Outgoing};
use crate::error::{Doing, Verdict, readable};

/// What is sent for one [`Transaction`].
pub(super) struct Outbox<'a> {
    transaction: &'a Transaction,
    config: &'a KafkaSinkConfig,
    encoder: &'a ForecastEncoder,
    /// The number of each forecast's first record, and behind them the number of all.
    starts: Vec<usize>,
}

impl<'a> Outbox<'a> {
    pub(super) fn of(
        transaction: &'a Transaction,
        config: &'a KafkaSinkConfig,
        encoder: &'a ForecastEncoder,
    ) -> Self {
        let mut starts = Vec::with_capacity(transaction.forecasts.len() + 1);
        let mut records = 0;
        for message in &transaction.forecasts {
            starts.push(records);
            records += encoder.records(message);
        }
        starts.push(records);
        Self { transaction, config, encoder, starts }
    }

    /// Returns the number of the forecasts' records.
    fn records(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Returns the forecast that a message is a record of, and the how many-th.
    fn forecast(&self, index: usize) -> Option<(&'a ForecastMessage, usize)> {
        let number = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        let message = self.transaction.forecasts.get(number)?;
        Some((message, index - self.starts.get(number)?))
    }

    /// Returns the numbers of all messages that have a topic.
    pub(super) fn indices(&self) -> Vec<usize> {
        let Transaction { late, bad, .. } = self.transaction;
        (0..self.records() + late.len() + bad.len())
            .filter(|index| self.topic(*index).is_some())
            .collect()
    }

    /// Returns what has to be sent again where the others have arrived: what was
    /// refused, and the records of forecasts behind, of which the newest of a series has to
    /// be the last in its partition.
    pub(super) fn again(&self, refused: &[Refusal]) -> Vec<usize> {
        let refused: BTreeSet<usize> = refused.iter().map(|refusal| refusal.index).collect();
        let first = refused.first().copied().unwrap_or(usize::MAX);
        let forecasts = first..self.records();
        let letters = refused.into_iter().filter(|index| !self.is_forecast(*index));
        forecasts.chain(letters).collect()
    }

    pub(super) fn is_forecast(&self, index: usize) -> bool {
        index < self.records()
    }

    /// Returns where a message goes; nowhere if the pipeline has no such topic,
    /// or there is no message of this number.
    pub(super) fn topic(&self, index: usize) -> Option<&'a str> {
        let Transaction { late, bad, .. } = self.transaction;
        let of_late = index.checked_sub(self.records());
        match of_late.map(|index| index.checked_sub(late.len())) {
            None => Some(&self.config.topic),
            Some(None) => self.config.late_topic.as_deref(),
            Some(Some(index)) if index < bad.len() => self.config.bad_topic.as_deref(),
            Some(Some(_)) => None,
        }
    }

    /// Returns a message as it is sent, letters cut to what `limits` allow.
    pub(super) fn message(
        &self,
        index: usize,
        limits: &Limits,
    ) -> Result<Option<(&'a str, Outgoing<'a>)>, Verdict> {
        let Transaction { late, bad, .. } = self.transaction;
        let Some(topic) = self.topic(index) else { return Ok(None) };
        if let Some((message, record)) = self.forecast(index) {
            return Ok(Some((topic, encode::forecast(self.encoder, message, record)?)));
        }
        let index = index - self.records();
        let bounds = limits.letter(topic);
        let letter = match late.get(index) {
            Some(record) => Some(encode::late(record, bounds)),
            None => bad.get(index - late.len()).map(|record| encode::bad(record, bounds)),
        };
        Ok(letter.map(|letter| (topic, letter)))
    }

    /// Returns how many bytes a message has at most, as it is sent.
    pub(super) fn wire_bytes(&self, index: usize, limits: &Limits) -> usize {
        let message = self.message(index, limits).ok().flatten();
        message.map_or(0, |(_, outgoing)| outgoing.wire_bytes())
    }

    /// Returns the position of the record that a letter is about.
    pub(super) fn position(&self, index: usize) -> Option<&'a RecordPosition> {
        let Transaction { late, bad, .. } = self.transaction;
        let index = index.checked_sub(self.records())?;
        match late.get(index) {
            Some(record) => Some(&record.position),
            None => bad.get(index - late.len()).map(|record| &record.position),
        }
    }

    /// Names a message in a sentence for people.
    pub(super) fn describe(&self, index: usize) -> Doing {
        let topic = self.topic(index).unwrap_or_default();
        if let Some(position) = self.position(index) {
            let sentence = format!("the letter about `{position}` to topic `{topic}`");
            return Doing::writing(sentence, topic);
        }
        let series = self.forecast(index).map(|(message, _)| &message.series);
        let key = series.and_then(|series| serde_json::to_vec(series).ok()).unwrap_or_default();
        Doing::writing(format!("message `{}` to topic `{topic}`", readable(&key)), topic)
    }
}
