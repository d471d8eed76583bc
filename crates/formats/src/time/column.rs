//! What a whole column's numbers say that one of them cannot.

use std::fmt;

use chrono::{Datelike, NaiveDate};
use tidecast_stream::{EpochUnit, EventTime};

use super::number::Decimal;
use super::{TimeRule, YEAR_MICROS, text, unit_by_size};

/// Whole numbers that spell dates, in the order of their digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactDates {
    /// `YYYY`, from 1600 to 2199.
    Year,
    /// `YYYYMM`, from 1900 to 2199, as are those below.
    Month,
    /// `YYYYMMDD`.
    Day,
    /// `YYYYMMDDHH`.
    Hour,
    /// `YYYYMMDDHHMM`.
    Minute,
    /// `YYYYMMDDHHMMSS`.
    Second,
}

impl CompactDates {
    const ALL: [Self; 6] =
        [Self::Year, Self::Month, Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// Returns how such a date is written.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Year => "YYYY",
            Self::Month => "YYYYMM",
            Self::Day => "YYYYMMDD",
            Self::Hour => "YYYYMMDDHH",
            Self::Minute => "YYYYMMDDHHMM",
            Self::Second => "YYYYMMDDHHMMSS",
        }
    }

    /// Returns the microseconds since 1970 of the first moment of the date that
    /// `number` spells, UTC.
    pub(super) fn micros(self, number: i64) -> Option<i64> {
        // Digits are taken off from behind, two at a time.
        let mut rest = number;
        let mut take = |is_there: bool, unsaid: i64| {
            if !is_there {
                return unsaid;
            }
            let taken = rest.rem_euclid(100);
            rest = rest.div_euclid(100);
            taken
        };
        let second = take(matches!(self, Self::Second), 0);
        let minute = take(matches!(self, Self::Second | Self::Minute), 0);
        let hour = take(matches!(self, Self::Second | Self::Minute | Self::Hour), 0);
        let day = take(!matches!(self, Self::Year | Self::Month), 1);
        let month = take(!matches!(self, Self::Year), 1);
        let years = if self == Self::Year { 1600..=2199 } else { 1900..=2199 };
        // Hours are counted to 24 by some, who mean the midnight that ends the day.
        let is_time =
            second < 60 && minute < 60 && (hour < 24 || (hour, minute, second) == (24, 0, 0));
        if !years.contains(&rest) || !is_time {
            return None;
        }
        let narrow = |number: i64| u32::try_from(number).ok();
        let days = text::days(i32::try_from(rest).ok()?, narrow(month)?, narrow(day)?)?;
        Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000)
    }
}

impl TimeRule {
    /// Returns the rule for a column of texts, by a sample of them: if they are
    /// numbers, the largest of them decides the unit of all, unless all spell
    /// dates. Texts that are no numbers have no say.
    ///
    /// ```
    /// use tidecast_formats::time::TimeRule;
    /// use tidecast_stream::EventTime;
    /// // The first is 1970-01-02 in milliseconds, as the others are of 1974.
    /// let rule = TimeRule::infer(["86400000", "136684800000"]);
    /// assert_eq!(rule.parse("86400000"), Ok(EventTime::from_millis(86_400_000)));
    /// let rule = TimeRule::infer(["20240801", "20240802"]);
    /// assert_eq!(rule.parse("20240801"), rule.parse("2024-08-01"));
    /// ```
    pub fn infer<'a>(sample: impl IntoIterator<Item = &'a str>) -> Self {
        let mut numbers = Numbers::default();
        for text in sample {
            match Decimal::parse(text.trim()) {
                Some(decimal) => numbers.add(
                    decimal.to_f64(),
                    decimal.whole().and_then(|whole| i64::try_from(whole).ok()),
                ),
                None if text.trim().is_empty() => {}
                // A column of both is no column of compact dates.
                None => numbers.compact.clear(),
            }
        }
        numbers.rule()
    }

    /// [`TimeRule::infer`] for a column of whole numbers.
    pub fn infer_integers(sample: impl IntoIterator<Item = i64>) -> Self {
        let mut numbers = Numbers::default();
        for number in sample {
            numbers.add(number as f64, Some(number));
        }
        numbers.rule()
    }

    /// [`TimeRule::infer`] for a column of numbers; those that are not finite have
    /// no say.
    pub fn infer_floats(sample: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers = Numbers::default();
        for number in sample.into_iter().filter(|number| number.is_finite()) {
            numbers.add(number, super::number::exact(number));
        }
        numbers.rule()
    }

    /// Returns what is wrong with a column of numbers of which these are the
    /// `smallest` and the `largest`, if all its times are absurd: within a year of
    /// 1970, or centuries ahead. Of dates as text there is nothing to ask.
    pub fn absurd(&self, smallest: f64, largest: f64) -> Option<AbsurdTimes> {
        let unit = match (self.compact, self.unit) {
            (Some(_), _) => return None,
            (None, Some(unit)) => unit,
            (None, None) => unit_by_size(smallest.abs().max(largest.abs())),
        };
        let year = YEAR_MICROS as f64 / 1e6 * unit.per_second() as f64;
        let is_near = smallest > -year && largest < year;
        let is_far = smallest > 230.0 * year;
        if !(is_near || is_far) {
            return None;
        }
        Some(AbsurdTimes { smallest, largest, unit, likely: likely(smallest, largest) })
    }
}

/// The unit in which numbers from `smallest` to `largest` are times of our days:
/// its name, and the first of them.
fn likely(smallest: f64, largest: f64) -> Option<(&'static str, EventTime)> {
    const UNITS: [(&str, f64); 7] = [
        ("days", 86_400e6),
        ("hours", 3_600e6),
        ("minutes", 60e6),
        ("seconds", 1e6),
        ("milliseconds", 1e3),
        ("microseconds", 1.0),
        ("nanoseconds", 1e-3),
    ];
    let year = YEAR_MICROS as f64;
    let is_plausible = |(_, micros): &&(&str, f64)| {
        smallest * micros > 10.0 * year && largest * micros < 100.0 * year
    };
    let (name, micros) = UNITS.iter().find(is_plausible)?;
    Some((name, EventTime::from_micros((smallest * micros) as i64)))
}

/// What a sample of numbers has been so far.
#[derive(Debug)]
struct Numbers {
    magnitudes: Vec<f64>,
    /// The ways in which all of them spell dates.
    compact: Vec<CompactDates>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { magnitudes: Vec::new(), compact: CompactDates::ALL.to_vec() }
    }
}

impl Numbers {
    fn add(&mut self, number: f64, whole: Option<i64>) {
        self.magnitudes.push(number.abs());
        self.compact.retain(|compact| whole.is_some_and(|number| compact.micros(number).is_some()));
    }

    fn rule(mut self) -> TimeRule {
        let Some(largest) = self.magnitudes.iter().copied().max_by(f64::total_cmp) else {
            return TimeRule::default();
        };
        if let Some(compact) = self.compact.first() {
            return TimeRule { unit: None, compact: Some(*compact) };
        }
        let unit = unit_by_size(largest);
        // A far-off placeholder (9999-12-31 in seconds) must not put all others
        // into January 1970: then the middle one decides.
        let middle = self.magnitudes.len() / 2;
        let (_, median, _) = self.magnitudes.select_nth_unstable_by(middle, f64::total_cmp);
        let year = |unit: EpochUnit| YEAR_MICROS as f64 / 1e6 * unit.per_second() as f64;
        let other = unit_by_size(*median);
        let is_better = *median < year(unit) && (year(other)..130.0 * year(other)).contains(median);
        TimeRule::in_unit(if is_better { other } else { unit })
    }
}

/// A column of numbers whose times all lie within a year of 1970, or centuries
/// ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsurdTimes {
    smallest: f64,
    largest: f64,
    unit: EpochUnit,
    likely: Option<(&'static str, EventTime)>,
}

impl AbsurdTimes {
    /// Returns the unit, in words, in which the numbers would be times of our days,
    /// if there is one.
    pub fn likely_unit(&self) -> Option<&'static str> {
        self.likely.map(|(name, _)| name)
    }
}

impl fmt::Display for AbsurdTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smallest, largest, unit, likely } = self;
        write!(f, "numbers from `{smallest}` to `{largest}` are ")?;
        let per_second = unit.per_second() as f64;
        let year = |number: &f64| {
            let seconds = (number / per_second) as i64;
            let date = NaiveDate::from_ymd_opt(1970, 1, 1)?
                .checked_add_signed(chrono::TimeDelta::try_seconds(seconds)?)?;
            Some(date.year())
        };
        match (year(smallest), year(largest)) {
            (Some(first), Some(last)) if first == last => write!(f, "times of {first}")?,
            (Some(first), Some(last)) => write!(f, "times of {first} to {last}")?,
            _ => write!(f, "times hundreds of thousands of years ahead")?,
        }
        write!(f, " when read as {} since 1970", unit.name())?;
        match likely {
            Some((name, time)) => {
                let unit = EpochUnit::ALL.into_iter().find(|unit| unit.name() == *name);
                write!(f, "; in {name} the first is {time}: ")?;
                match unit {
                    Some(unit) => write!(f, "say so with `'timestamp.unit' = '{unit}'`"),
                    None => write!(f, "write them as times, or in seconds"),
                }
            }
            None => write!(f, "; expected times, or numbers since 1970 in s, ms, us or ns"),
        }
    }
}

impl std::error::Error for AbsurdTimes {}
