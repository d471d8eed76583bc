//! Where reading begins, and begins again.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use tidecast_stream::{Offset, SourceError};
use tracing::warn;

use super::KafkaSource;
use crate::config::{LostRecords, StartupMode};
use crate::error::Verdict;
use crate::observe;

/// Where the reading of a partition begins.
pub(super) struct Beginning {
    /// Where the first range starts.
    pub(super) from: Offset,
    /// The first record that is still there.
    pub(super) fetch_from: Offset,
    /// The partition's end.
    pub(super) end: Offset,
}

impl KafkaSource {
    /// Asks for the partition's first offset and its end.
    fn bounds(&self, number: i32) -> Result<(Offset, Offset), SourceError> {
        let (first, end) = self
            .consumer
            .fetch_watermarks(&self.topic, number, self.config.timeout)
            .map_err(|error| self.verdict(&error))?;
        Ok((Offset(first), Offset(end)))
    }

    pub(super) fn assign(&self, number: i32, from: Offset) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, number, KafkaOffset::Offset(from.0))
            .and_then(|()| self.consumer.incremental_assign(&list))
            .map_err(|error| {
                Verdict::transient(format!(
                    "{}: partition {number} could not be started at {from}: {error}",
                    self.doing()
                ))
                .into()
            })
    }

    /// Checks where reading is to begin against what is there. Where retention has
    /// overtaken the reader the configuration decides; going back is refused, for
    /// it would repeat forecasts.
    pub(super) fn position(
        &mut self,
        number: i32,
        from: Option<Offset>,
    ) -> Result<Beginning, SourceError> {
        let (first, end) = self.bounds(number)?;
        let from = match (from, self.config.startup) {
            (Some(from), _) => from,
            (None, StartupMode::Earliest) => first,
            (None, StartupMode::Latest) => end,
            (None, StartupMode::Timestamp(millis)) => {
                self.first_since(number, millis)?.unwrap_or(end)
            }
            (None, StartupMode::Warm(start)) => self.warm(number, first, end, start)?,
            (None, StartupMode::GroupOffsets) => {
                return Err(Verdict::user(format!(
                    "the group `{}` has no committed offset in partition `{}[{number}]`, and \
                     'scan.startup.mode'='group-offsets' begins nowhere else: give the group's name \
                     ('group.id') or choose another mode for the first start",
                    self.config.group_id, self.topic
                ))
                .into());
            }
        };
        if from > end {
            return Err(Verdict::user(format!(
                "partition `{}[{number}]` ends at {end}, but the group `{}` stands at {from}: the \
                 topic was deleted and created anew; delete the group's offsets (and the \
                 pipeline's snapshots) or choose another 'group.id'",
                self.topic, self.config.group_id
            ))
            .into());
        }
        self.lost(number, from, first)?;
        Ok(Beginning { from, fetch_from: from.max(first), end })
    }

    /// Asks for the first record of a partition whose timestamp is no less than this.
    pub(super) fn first_since(
        &self,
        number: i32,
        millis: i64,
    ) -> Result<Option<Offset>, SourceError> {
        let found = || {
            let mut wanted = TopicPartitionList::with_capacity(1);
            wanted.add_partition_offset(&self.topic, number, KafkaOffset::Offset(millis))?;
            let found = self.consumer.offsets_for_times(wanted, self.config.timeout)?;
            let element = found.find_partition(&self.topic, number);
            element.map(|element| element.error().map(|()| element.offset())).transpose()
        };
        let offset = found().map_err(|error: KafkaError| self.verdict(&error))?;
        Ok(offset.and_then(|offset| match offset {
            KafkaOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        }))
    }

    /// Counts records from `from` on that are gone up to `first`, and says so if there are
    /// any; they may stop the pipeline.
    fn lost(&self, number: i32, from: Offset, first: Offset) -> Result<(), SourceError> {
        let count = u64::try_from(first.0.saturating_sub(from.0)).unwrap_or(0);
        observe::lost_records(&self.config.pipeline, &self.topic, number, count);
        if count == 0 {
            return Ok(());
        }
        match self.config.lost_records {
            LostRecords::Skip => {
                warn!(
                    topic = %self.topic, partition = number, %from, %first,
                    "records were removed before they were read (retention); going on at the first left",
                );
                Ok(())
            }
            LostRecords::Fail => Err(Verdict::user(format!(
                "partition `{}[{number}]` begins at {first}, but reading has to go on at {from} to \
                 rebuild or continue windows: the records between were removed (retention); give \
                 the topic a longer `retention.ms`, or go on without them with \
                 'lost.records'='skip'",
                self.topic
            ))
            .into()),
        }
    }

    /// Goes back to where failed partitions stand: in what librdkafka takes for
    /// its position an error counts as a record, which the next rebalance would
    /// skip.
    pub(super) fn restart_failed(&mut self) -> Result<(), SourceError> {
        for number in std::mem::take(&mut self.to_restart) {
            let Some(next) = self.reading.get(&number).map(|reading| reading.next) else {
                continue;
            };
            let from = self.position(number, Some(next))?.fetch_from;
            if let Some(reading) = self.reading.get_mut(&number) {
                reading.fetch_from = from;
            }
            if self.seek(number, from).is_ok() {
                continue;
            }
            // After "out of range" librdkafka has stopped and cannot seek.
            if !self.consumer.context().ownership().revoking.is_empty() {
                // An unassignment would answer the revocation before its time.
                self.to_restart.insert(number);
                continue;
            }
            let list = self.consumer.context().list(&[number]);
            self.consumer.incremental_unassign(&list).map_err(|error| self.verdict(&error))?;
            self.assign(number, from)?;
            self.unproven.insert(number);
        }
        Ok(())
    }

    fn seek(&self, number: i32, to: Offset) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, number, KafkaOffset::Offset(to.0))?;
        let sought = self.consumer.seek_partitions(list, self.config.timeout)?;
        sought.elements().iter().try_for_each(|element| element.error())
    }
}
