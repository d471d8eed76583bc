//! From messages as they come to batches per partition.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use metrics::{Counter, Gauge};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use tidecast_formats::{DecodeError, Decoded, Decoder, Payload};
use tidecast_stream::{
    BadRecord, MetadataColumn, Offset, OffsetRange, Partition, RecordPosition, SourceBatch,
    SourceError, SourceEvent,
};
use tracing::warn;

use super::{KafkaSource, Reading, metadata};
use crate::error::{Verdict, sentence};
use crate::native::{self, Message, Progress};
use crate::observe;

/// Payload bytes after which a run is closed: far below what Arrow's 32-bit
/// string offsets can count, whatever the size of the records.
const MAX_RUN_BYTES: usize = 128 << 20;

/// What is measured of one partition here. Records and bytes are counted by
/// whoever takes the batches, alike for every kind of source.
pub(super) struct Meters {
    lag: Gauge,
    tombstones: Counter,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Drop for Meters {
    /// A partition that is not read here has no lag here.
    fn drop(&mut self) {
        self.lag.set(0.0);
    }
}

impl Meters {
    pub(super) fn of(pipeline: &str, partition: &Partition) -> Self {
        let (topic, number) = (&partition.topic, partition.number);
        Self {
            lag: observe::lag(pipeline, topic, number),
            tombstones: observe::tombstones(pipeline, topic, number),
        }
    }
}

/// What came of one partition in one taking, in order.
struct Run<'a> {
    number: i32,
    messages: Vec<Message<'a>>,
    bytes: usize,
}

/// One taking, sorted out.
#[derive(Default)]
struct Taken<'a> {
    runs: Vec<Run<'a>>,
    /// Errors in the place of messages.
    errors: Vec<(i32, RDKafkaErrorCode, String)>,
}

impl<'a> Taken<'a> {
    fn sort(messages: impl Iterator<Item = Message<'a>>) -> Self {
        let mut taken = Self::default();
        for message in messages {
            let number = message.partition();
            match message.error() {
                None => {
                    let run = taken.open_run(number);
                    run.bytes += message.payload().map_or(0, <[u8]>::len);
                    run.messages.push(message);
                }
                Some(code) => taken.errors.push((number, code, message.reason())),
            }
        }
        taken
    }

    /// Returns the run that the partition's next message belongs to.
    fn open_run(&mut self, number: i32) -> &mut Run<'a> {
        let open = self.runs.iter().rposition(|run| run.number == number);
        let open =
            open.filter(|index| self.runs.get(*index).is_some_and(|run| run.bytes < MAX_RUN_BYTES));
        let index = open.unwrap_or(self.runs.len());
        if index == self.runs.len() {
            self.runs.push(Run { number, messages: Vec::new(), bytes: 0 });
        }
        &mut self.runs[index]
    }
}

impl KafkaSource {
    /// Takes messages, waiting up to `wait` for the first, and makes events of
    /// them.
    pub(super) fn take_batches(&mut self, wait: Duration) -> Result<(), SourceError> {
        for number in self.unproven.difference(&self.held) {
            self.queue.forward(&self.topic, *number);
        }
        let messages = self.queue.take(wait, self.config.linger);
        let taken = Taken::sort(messages.iter());
        for run in &taken.runs {
            // Of a partition that was just taken away: its next owner reads it.
            let Some(reading) = self.reading.get_mut(&run.number) else { continue };
            self.unproven.remove(&run.number);
            if let Some(batch) = reading.batch(run, &mut self.decoder, &self.config.metadata)? {
                self.ready.push_back(SourceEvent::Batch(batch));
            }
        }
        self.absent.look(&self.decoder);
        let errors = taken.errors;
        drop(messages);
        let failed: BTreeSet<i32> = errors.iter().map(|(number, ..)| *number).collect();
        for (number, code, reason) in errors {
            self.on_fetch_error(number, code, &reason)?;
        }
        for (number, reading) in &mut self.reading {
            // librdkafka counts an error in the place of a message as one.
            if !failed.contains(number) && !self.to_restart.contains(number) {
                let progress = native::progress(self.consumer.client(), &self.topic, *number);
                reading.advance(progress, &mut self.ready);
            }
        }
        Ok(())
    }

    fn on_fetch_error(
        &mut self,
        number: i32,
        code: RDKafkaErrorCode,
        reason: &str,
    ) -> Result<(), SourceError> {
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopic => {
                let verdict = Verdict::of_code(self.doing(), &self.config.bootstrap_servers, code);
                return Err(verdict.into());
            }
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {}
            _ => warn!(
                topic = %self.topic, partition = number, error = %sentence(code),
                reason, "a fetch failed; trying again",
            ),
        }
        self.to_restart.insert(number);
        Ok(())
    }
}

impl Reading {
    /// Decodes a run and moves on to its end; `None` if it brings nothing new.
    fn batch(
        &mut self,
        run: &Run<'_>,
        decoder: &mut Decoder,
        metadata: &[MetadataColumn],
    ) -> Result<Option<SourceBatch>, SourceError> {
        // What was handed out is not handed out again.
        let seen = run.messages.partition_point(|message| message.offset() < self.next.0);
        let messages = run.messages.get(seen..).unwrap_or_default();
        let Some(last) = messages.last() else { return Ok(None) };
        let end = Offset(last.offset()).next();
        let Some(range) = OffsetRange::new(self.next, end) else { return Ok(None) };
        let payloads: Vec<Payload<'_>> = messages.iter().map(Message::payload).collect();
        let value = |index: usize, column: usize| {
            let message = messages.get(index);
            let from = metadata.iter().find(|it| it.column == column).map(|it| &it.from);
            match (message, from) {
                (Some(message), Some(from)) => metadata::text(message, &self.partition, from),
                _ => Ok(None),
            }
        };
        let header = |index: usize, name: &str| messages.get(index).and_then(|it| it.header(name));
        let decoded = decoder.decode_records(&payloads, value, header).map_err(|error| {
            let message = format!("decoding `{}` at {range}: {error}", self.partition);
            match error {
                DecodeError::Schema(error) if error.is_transient => Verdict::transient(message),
                DecodeError::Schema(_) => Verdict::user(message),
                DecodeError::Arrow(_) | DecodeError::Column { .. } => Verdict::internal(message),
            }
        })?;
        self.meters.tombstones.increment(decoded.tombstones);
        let batch = assemble(&self.partition, range, messages, decoded);
        self.next = end;
        Ok(Some(batch))
    }

    /// Moves over what is no record, and says when the end is reached.
    fn advance(&mut self, progress: Progress, ready: &mut VecDeque<SourceEvent>) {
        // Before the first record librdkafka has no position.
        let position = progress.position.map_or(self.fetch_from, Offset).max(self.fetch_from);
        let position = Some(position).filter(|position| *position > self.next);
        if let Some(position) = position
            && let Some(range) = OffsetRange::new(self.next, position)
        {
            // The batch before it takes it in, if it was not handed out yet.
            let last = ready.iter_mut().rev().find_map(|event| match event {
                SourceEvent::Batch(batch) if batch.partition == self.partition => Some(batch),
                _ => None,
            });
            match last {
                Some(batch) => {
                    batch.range =
                        OffsetRange::new(batch.range.start(), position).unwrap_or(batch.range);
                }
                None => ready.push_back(SourceEvent::Batch(SourceBatch {
                    partition: self.partition.clone(),
                    range,
                    rows: RecordBatch::new_empty(self.schema.clone()),
                    offsets: Int64Array::from(Vec::<i64>::new()),
                    timestamps: Int64Array::from(Vec::<i64>::new()),
                    bad: Vec::new(),
                    payload_bytes: 0,
                })),
            }
            self.next = position;
        }
        let Some(end) = progress.end.map(Offset) else { return };
        self.meters.lag.set(end.0.saturating_sub(self.next.0).max(0) as f64);
        // What the client knows may date from an earlier time as owner.
        if self.next >= end.max(self.end_at_start) && self.told_end != Some(self.next) {
            self.told_end = Some(self.next);
            ready.push_back(SourceEvent::CaughtUp(self.partition.clone()));
        }
    }
}

fn assemble(
    partition: &Partition,
    range: OffsetRange,
    messages: &[Message<'_>],
    decoded: Decoded,
) -> SourceBatch {
    let rows = || decoded.indices.iter().filter_map(|index| messages.get(*index));
    let offsets = rows().map(Message::offset).collect::<Vec<_>>().into();
    let timestamps = rows().map(Message::timestamp_ms).collect::<Int64Array>();
    let bad = decoded.bad.into_iter().filter_map(|(index, error)| {
        let message = messages.get(index)?;
        Some(BadRecord {
            position: RecordPosition {
                partition: partition.clone(),
                offset: Offset(message.offset()),
            },
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            error,
        })
    });
    SourceBatch {
        partition: partition.clone(),
        range,
        offsets,
        timestamps,
        bad: bad.collect(),
        payload_bytes: messages.iter().filter_map(Message::payload).map(<[u8]>::len).sum(),
        rows: decoded.rows,
    }
}
