//! Event time, the units in which numbers count it, and the watermark.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant of event time, in microseconds since the Unix epoch, UTC.
///
/// ```
/// use tidecast_stream::EventTime;
/// let t = EventTime::from_millis(1_500);
/// assert_eq!(t.as_micros(), 1_500_000);
/// assert_eq!(t.to_string(), "1970-01-01T00:00:01.500Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// The earliest instant.
    pub const MIN: EventTime = EventTime(i64::MIN);

    /// Returns the instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the instant `millis` milliseconds after the epoch, saturating.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Returns the instant `micros` later (earlier when negative), saturating.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl FromStr for EventTime {
    type Err = chrono::ParseError;

    /// Reads RFC 3339, as [`Display`](fmt::Display) writes it.
    fn from_str(text: &str) -> Result<Self, chrono::ParseError> {
        DateTime::parse_from_rfc3339(text).map(|t| Self(t.timestamp_micros()))
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC, with as many fractional digits as needed. Instants
    /// outside chrono's range are printed as microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a number counts that stands for a time: the time since the Unix epoch, in
/// this unit.
///
/// ```
/// use tidecast_stream::EpochUnit;
/// assert_eq!("ms".parse(), Ok(EpochUnit::Milliseconds));
/// assert_eq!(EpochUnit::Milliseconds.to_string(), "ms");
/// assert_eq!(EpochUnit::Milliseconds.name(), "milliseconds");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EpochUnit {
    /// `s`.
    Seconds,
    /// `ms`.
    Milliseconds,
    /// `us`.
    Microseconds,
    /// `ns`.
    Nanoseconds,
}

impl EpochUnit {
    /// All units, the coarsest first.
    pub const ALL: [EpochUnit; 4] =
        [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// Returns how many of it a second has.
    pub const fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    /// Returns its name in words, in the plural.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

impl fmt::Display for EpochUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        })
    }
}

/// Text that names no [`EpochUnit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no unit of time, expected `s`, `ms`, `us` or `ns`")]
pub struct UnknownEpochUnit(pub String);

impl FromStr for EpochUnit {
    type Err = UnknownEpochUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = Self::ALL.into_iter().find(|unit| unit.to_string() == text);
        unit.ok_or_else(|| UnknownEpochUnit(text.to_owned()))
    }
}

/// The claim that no record with an earlier event time is expected any more.
///
/// It only moves forward. It is a function of the record sequence: the running
/// maximum of event time, less the allowed delay; where a fetch ended has no
/// part in it, which is what makes a replay reproduce every close and every
/// late record.
///
/// ```
/// use tidecast_stream::{EventTime, Watermark};
/// let mut watermark = Watermark::default();
/// assert!(watermark.advance(EventTime::from_millis(10)));
/// assert!(!watermark.advance(EventTime::from_millis(4)), "never backwards");
/// assert!(watermark.has_passed(EventTime::from_millis(10)));
/// assert!(!watermark.has_passed(EventTime::from_millis(11)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(i64);

impl Default for Watermark {
    /// The watermark of a partition that has seen nothing.
    fn default() -> Self {
        Self(i64::MIN)
    }
}

impl Watermark {
    /// Returns the watermark at `time`.
    pub const fn at(time: EventTime) -> Self {
        Self(time.as_micros())
    }

    /// Returns the event time it stands at, or `None` before the first record.
    pub fn event_time(self) -> Option<EventTime> {
        (self.0 != i64::MIN).then_some(EventTime(self.0))
    }

    /// Moves forward to `time`; returns whether it moved.
    pub fn advance(&mut self, time: EventTime) -> bool {
        let moved = time.as_micros() > self.0;
        self.0 = self.0.max(time.as_micros());
        moved
    }

    /// Returns whether a window that ends (exclusively) at `end` is complete.
    pub const fn has_passed(self, end: EventTime) -> bool {
        self.0 >= end.as_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_prints_and_parses_rfc3339() {
        let t = EventTime::from_micros(1_763_805_600_123_456);
        let text = serde_json::to_string(&t).unwrap();
        assert_eq!(text, "\"2025-11-22T10:00:00.123456Z\"");
        assert_eq!(serde_json::from_str::<EventTime>(&text).unwrap(), t);
        assert_eq!(EventTime::MIN.to_string(), format!("{}us", i64::MIN));
    }

    #[test]
    fn units_are_read_as_they_are_written() {
        for unit in EpochUnit::ALL {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        assert!("m".parse::<EpochUnit>().is_err(), "minutes or months");
    }

    #[test]
    fn negative_times_round_down() {
        assert_eq!(EventTime::from_micros(-1).as_millis(), -1);
    }
}
