//! Where a new pipeline begins that is to have full contexts at once.
//!
//! Kafka finds a record by its own timestamp alone, which says when it was written: of a topic
//! that was filled later than things happened, all at once perhaps, nothing follows from that.
//! So the place that Kafka names is only the first guess, and event times decide.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use tidecast_formats::Decoder;
use tidecast_stream::{EventTime, Offset, Partition, SourceError};
use tracing::{info, warn};

use super::KafkaSource;
use super::decoder::decoder;
use super::metadata::{self, Beside};
use crate::client::PlainContext;
use crate::config::{ConfigError, KafkaSourceConfig, WarmStart};
use crate::error::{Doing, Verdict};

/// Records that are looked at in a place: their median is its event time, which some that are
/// years off do not move.
const SAMPLE: i64 = 15;
/// Records that are tried for them: many may be unusable.
const TRIES: usize = 1_000;
/// Records that are not worth looking at another place for.
const FEW: i64 = 1_024;
/// Of what is read, the share that may be more than is needed, as 1 in so many.
const SPARE: i64 = 8;

/// A place that was found.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    offset: Offset,
    /// How many places were looked at.
    looks: usize,
}

/// Returns a place between `first` and `end` from which on everything is that is no older
/// than `wanted`, beginning at `guess`: back, twice as far from the end each time, and then
/// forth again by halves. `time_at` says how old records are from an offset on; nothing where
/// none of them tells, which counts as too young.
///
/// What it finds it has looked at, but for `first`, before which there is nothing.
fn search<E>(
    (first, end): (Offset, Offset),
    guess: Offset,
    wanted: EventTime,
    mut time_at: impl FnMut(Offset) -> Result<Option<EventTime>, E>,
) -> Result<Place, E> {
    let mut looks = 0;
    let mut is_older = |place: i64| {
        looks += 1;
        Ok(time_at(Offset(place))?.is_some_and(|time| time < wanted))
    };
    let mut young = end.0;
    let mut old = guess.0.clamp(first.0, end.0);
    while old > first.0 && (old == end.0 || !is_older(old)?) {
        young = old;
        let distance = end.0.saturating_sub(old).max(FEW / 2);
        old = end.0.saturating_sub(distance.saturating_mul(2)).max(first.0);
    }
    while young - old > FEW.max((end.0 - old) / SPARE) {
        let middle = old + (young - old) / 2;
        match is_older(middle)? {
            true => old = middle,
            false => young = middle,
        }
    }
    Ok(Place { offset: Offset(old), looks })
}

impl KafkaSource {
    /// Finds where contexts begin in a partition, and says what it found.
    pub(super) fn warm(
        &mut self,
        number: i32,
        first: Offset,
        end: Offset,
        start: WarmStart,
    ) -> Result<Offset, SourceError> {
        if first >= end {
            return Ok(end);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = EventTime::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let history = i64::try_from(start.history.as_micros()).unwrap_or(i64::MAX);
        // Some more is asked of Kafka than is needed, so that where it is right it is not a
        // matter of a record or two.
        let needed = history / 11 * 10;
        let millis = now.plus_micros(-history).as_millis().max(0);
        let by_kafka = self.first_since(number, millis)?;

        let partition = self.partition(number);
        let config = self.config.clone();
        let mut looking = Looking::new(&config, partition.clone(), end, start.time)?;
        // A topic whose newest records are old needs those before them.
        let newest = looking.newest(first)?.unwrap_or(now).min(now);
        let wanted = newest.plus_micros(-needed);
        let Place { offset, looks } =
            search((first, end), by_kafka.unwrap_or(end), wanted, |place| {
                // Many partitions far away take minutes: the group has to see that we are here.
                self.serve_events(Duration::ZERO)?;
                looking.time_at(place)
            })?;
        let time = looking.time_at(offset)?;
        drop(looking);
        let shown = time.map_or_else(|| "unknown".to_owned(), |time| time.to_string());
        info!(
            pipeline = %self.config.pipeline, %partition, %offset, event_time = shown,
            records = end.0 - offset.0, of = end.0 - first.0, %wanted, looks,
            "contexts are filled from here on"
        );
        if time.is_none_or(|time| time >= wanted) {
            info!(
                pipeline = %self.config.pipeline, %partition, %wanted,
                "the partition reaches no further back: contexts are not full at first"
            );
        }
        if let Some(by_kafka) = by_kafka.filter(|by_kafka| offset < *by_kafka) {
            let said = format!(
                "`{partition}`: when records were written says little of when things happened: to fill \
                 contexts it was read from offset {offset}, event time {shown}, {} of {} records, where \
                 Kafka's timestamps would have begun at {by_kafka}",
                end.0 - offset.0,
                end.0 - first.0,
            );
            warn!(pipeline = %self.config.pipeline, "{said}");
            self.beginnings.insert(number, said);
        }
        Ok(offset)
    }
}

/// Looks at records here and there in a partition, beside the group.
struct Looking<'a> {
    config: &'a KafkaSourceConfig,
    consumer: BaseConsumer<PlainContext>,
    decoder: Decoder,
    partition: Partition,
    /// Records from here on came later.
    end: Offset,
    /// The column of event times.
    column: usize,
}

impl<'a> Looking<'a> {
    fn new(
        config: &'a KafkaSourceConfig,
        partition: Partition,
        end: Offset,
        column: usize,
    ) -> Result<Self, SourceError> {
        let mut settings = config
            .client_config()
            .map_err(|error: ConfigError| SourceError::from(Verdict::from(error)))?;
        settings.remove("group.instance.id");
        settings
            .set("enable.partition.eof", "true")
            // A look is at some records, not at what could be read next.
            .set("fetch.message.max.bytes", "65536")
            .set("queued.min.messages", "1")
            // Or the next look would wait for what this one did not take.
            .set("fetch.queue.backoff.ms", "0")
            .set("fetch.wait.max.ms", "20");
        let doing = Doing::reading(&config.topic, &config.group_id);
        let consumer: BaseConsumer<PlainContext> = settings
            .create_with_context(PlainContext::default())
            .map_err(|error| Verdict::of(&doing, &config.bootstrap_servers, &error))?;
        let decoder =
            decoder(config).map_err(|reason| Verdict::user(format!("{doing}: {reason}")))?;
        Ok(Self { config, consumer, decoder, partition, end, column })
    }

    /// Returns the median event time of the first records from `from` on that have one.
    fn time_at(&mut self, from: Offset) -> Result<Option<EventTime>, SourceError> {
        let times = self.times(from)?;
        Ok(times.get(times.len() / 2).copied())
    }

    /// Returns about the newest event time: the newest but one of the last records that have
    /// one, which a single one of next year does not move.
    fn newest(&mut self, first: Offset) -> Result<Option<EventTime>, SourceError> {
        for back in [SAMPLE, FEW] {
            let times = self.times(Offset(self.end.0.saturating_sub(back).max(first.0)))?;
            if let Some(newest) = times.iter().rev().nth(1).or(times.last()) {
                return Ok(Some(*newest));
            }
        }
        Ok(None)
    }

    /// Returns the event times of the first records from `from` on that have one, the oldest
    /// first.
    fn times(&mut self, from: Offset) -> Result<Vec<EventTime>, SourceError> {
        let (topic, number) = (&self.config.topic, self.partition.number);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, number, KafkaOffset::Offset(from.0))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| self.verdict(&error))?;
        let deadline = Instant::now() + self.config.timeout;
        let mut times = Vec::new();
        let mut left = TRIES;
        while (times.len() as i64) < SAMPLE && left > 0 {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) if message.offset() >= self.end.0 => break,
                Some(Ok(message)) => {
                    left -= 1;
                    let decoded = time_of(&message, &mut self.decoder, self.config, self.column);
                    times.extend(decoded);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => {
                    let verdict = self.verdict(&error);
                    if !verdict.retriable {
                        return Err(verdict.into());
                    }
                }
                None => {}
            }
            if Instant::now() >= deadline {
                if times.is_empty() {
                    let message = format!(
                        "`{}` at {from}: no record within {:?}, while looking for where contexts begin",
                        self.partition, self.config.timeout
                    );
                    return Err(Verdict::transient(message).into());
                }
                break;
            }
        }
        times.sort_unstable();
        Ok(times)
    }

    fn verdict(&self, error: &KafkaError) -> Verdict {
        let doing = Doing::reading(&self.config.topic, &self.config.group_id);
        Verdict::of(doing, &self.config.bootstrap_servers, error)
    }
}

/// Returns the event time of a record's first row; nothing if it is none or has none. What
/// cannot be read is told when it is read in earnest.
fn time_of(
    message: &BorrowedMessage<'_>,
    decoder: &mut Decoder,
    config: &KafkaSourceConfig,
    column: usize,
) -> Option<EventTime> {
    let partition = Partition::new(config.topic.as_str(), message.partition());
    let value = |_, column: usize| {
        let from = config.metadata.iter().find(|it| it.column == column).map(|it| &it.from);
        from.map_or(Ok(None), |from| metadata::text(&message, &partition, from))
    };
    let decoded = decoder.decode_beside(&[message.payload()], value).ok()?;
    let times = decoded.rows.columns().get(column)?;
    let micros = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
    let micros = micros.as_primitive_opt::<TimestampMicrosecondType>()?;
    let is_known = !micros.is_empty() && micros.is_valid(0);
    is_known.then(|| EventTime::from_micros(micros.value(0)))
}

impl<'a> Beside<'a> for &'a BorrowedMessage<'_> {
    fn key(&self) -> Option<&'a [u8]> {
        Message::key(*self)
    }

    fn header(&self, name: &str) -> Option<&'a [u8]> {
        let headers = self.headers()?;
        let mut newest_first = (0..headers.count()).rev().map(|index| headers.get(index));
        newest_first.find(|header| header.key == name)?.value
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp().to_millis()
    }

    fn offset(&self) -> i64 {
        Message::offset(*self)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// Searches a partition of `times` from offset 100 on; returns the found offset and how
    /// many places were looked at.
    fn found(times: &[i64], guess: i64, wanted: i64) -> (i64, usize) {
        let end = 100 + times.len() as i64;
        let mut looks = 0;
        let place = search(
            (Offset(100), Offset(end)),
            Offset(guess),
            EventTime::from_micros(wanted),
            |at| {
                looks += 1;
                assert!((100..end).contains(&at.0), "nothing is at {at}");
                let from = usize::try_from(at.0 - 100).unwrap();
                Ok::<_, Infallible>(times.get(from).map(|time| EventTime::from_micros(*time)))
            },
        );
        let place = place.unwrap();
        assert_eq!(place.looks, looks);
        (place.offset.0, looks)
    }

    #[test]
    fn a_guess_that_is_right_is_kept() {
        let times: Vec<i64> = (0..100_000).collect();
        assert_eq!(found(&times, 90_050, 90_000), (90_050, 4), "a tenth too much is fine");
    }

    /// A month that was written yesterday: Kafka's timestamps name any place in it.
    #[test]
    fn what_was_written_later_is_found_by_its_event_time() {
        let times: Vec<i64> = (0..1_000_000).collect();
        for guess in [100, 500_000, 999_990, 1_000_100] {
            let (offset, looks) = found(&times, guess, 900_000);
            assert!((880_000..900_100).contains(&offset), "from {guess}: {offset}");
            assert!(looks < 20, "from {guess}: {looks} looks");
        }
    }

    #[test]
    fn all_of_it_is_read_where_nothing_is_old_enough_or_tells() {
        let young = vec![7; 50_000];
        assert_eq!(found(&young, 40_000, 7).0, 100);
        let place = search((Offset(0), Offset(9_000)), Offset(9_000), EventTime::MIN, |_| {
            Ok::<_, Infallible>(None)
        });
        assert_eq!(place.unwrap().offset, Offset(0));
        assert_eq!(found(&[1], 101, 5).0, 100);
    }

    proptest! {
        /// Whatever the guess: nothing that is wanted lies before the place, and it is not far
        /// before the best one.
        #[test]
        fn nothing_that_is_wanted_is_left_out(
            steps in prop::collection::vec(0_i64..5, 1..20_000),
            guess in 0_i64..25_000,
            wanted in 0_i64..40_000,
        ) {
            let times: Vec<i64> = steps
                .iter()
                .scan(0, |time, step| { *time += step; Some(*time) })
                .collect();
            let (offset, _) = found(&times, guess, wanted);
            let place = usize::try_from(offset - 100).unwrap();
            prop_assert!(times[..place].iter().all(|time| *time < wanted));
            let best = times.partition_point(|time| *time < wanted);
            let read = times.len() - place;
            prop_assert!(best - place.min(best) <= 1_024.max(read / 8) + 1);
        }
    }
}
