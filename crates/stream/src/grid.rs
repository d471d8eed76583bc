//! Steps on the time line: of one length, or of a calendar.
//!
//! A window of a pipeline, a step of a context and a step of a horizon are all
//! cells of one [`TimeGrid`]: half-open stretches that follow each other without
//! a gap, numbered along time. A grid is data: the same grid gives the same
//! cells wherever it is used, which is what makes windows, contexts and the
//! times of a forecast fit together.

mod period;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta,
    TimeZone, Timelike, Utc,
};
pub use chrono_tz::Tz;

pub use self::period::{Period, PeriodError, format_micros};
use crate::time::EventTime;

/// Microseconds of a day of 24 hours.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// 1970-01-01 as chrono counts days.
const EPOCH_DAY: i64 = 719_163;

/// Cells of time that follow each other, and their numbers.
///
/// ```
/// use tidecast_stream::{EventTime, Period, TimeGrid};
/// let months = TimeGrid::new(Period::Months(1), 0, chrono_tz::UTC);
/// let march: EventTime = "2024-03-10T12:00:00Z".parse().unwrap();
/// assert_eq!(months.floor(march).unwrap().to_string(), "2024-03-01T00:00:00Z");
/// assert_eq!(months.after(march, 1).unwrap().to_string(), "2024-04-10T12:00:00Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeGrid {
    period: Period,
    /// Where cells begin, counted from 1970-01-01T00:00 in the zone: of fixed
    /// lengths and days in microseconds; of months see `month_day`.
    offset_micros: i64,
    /// Of months: which of `count` months a cell begins with, from January 1970.
    month_phase: u32,
    /// Of months: the day a cell begins on.
    month_day: MonthDay,
    zone: Tz,
}

/// On which day of a month a cell of months begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MonthDay {
    /// The day of that number, from 1; the last one where the month is shorter.
    FromFirst(u32),
    /// So many days before the last one; 0 is the last.
    FromLast(u32),
}

impl TimeGrid {
    /// Returns the grid of this period whose cells begin `offset_micros` behind
    /// 1970-01-01T00:00 in `zone`, and at every multiple of the period from there.
    ///
    /// Of months the offset's whole days say on which day of the month a cell
    /// begins: 14 days are the 15th, -1 day is the last of the month before. Days
    /// in a zone whose offset from UTC never changes have 24 hours, so they are a
    /// fixed length. Lengths of hours and less know no zone.
    pub fn new(period: Period, offset_micros: i64, zone: Tz) -> Self {
        let (days, time) =
            (offset_micros.div_euclid(DAY_MICROS), offset_micros.rem_euclid(DAY_MICROS));
        match period {
            Period::Months(_) => {
                let number = |days: i64| u32::try_from(days).unwrap_or(u32::MAX);
                let day = match days {
                    0.. => MonthDay::FromFirst(number(days).saturating_add(1)),
                    _ => MonthDay::FromLast(number(-1 - days)),
                };
                Self::months(period, 0, day, time, zone)
            }
            Period::Days(count) if zone == Tz::UTC => {
                let micros = i64::from(count).saturating_mul(DAY_MICROS);
                Self::new(Period::Fixed(micros), offset_micros, zone)
            }
            // Which business day is a cell of its own; only the hour can move.
            Period::BusinessDays => Self { offset_micros: time, ..Self::plain(period, zone) },
            Period::Days(_) => Self { offset_micros, ..Self::plain(period, zone) },
            Period::Fixed(_) => Self { offset_micros, ..Self::plain(period, Tz::UTC) },
        }
    }

    /// Returns the grid of `Period::Months` whose cells begin in every month whose
    /// number since January 1970 is `phase` more than a multiple of the period's, on
    /// `day`, `time_micros` after midnight in `zone`.
    pub fn months(period: Period, phase: u32, day: MonthDay, time_micros: i64, zone: Tz) -> Self {
        let offset_micros = time_micros.rem_euclid(DAY_MICROS);
        Self { offset_micros, month_phase: phase, month_day: day, ..Self::plain(period, zone) }
    }

    fn plain(period: Period, zone: Tz) -> Self {
        let month_day = MonthDay::FromFirst(1);
        Self { period, offset_micros: 0, month_phase: 0, month_day, zone }
    }

    /// Returns the length of a cell, in whatever a calendar counts.
    pub fn period(&self) -> Period {
        self.period
    }

    /// Returns the time zone of days and months; UTC of what knows none.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Returns where cells begin, counted from 1970-01-01T00:00 in the zone: of
    /// months their time of day alone.
    pub fn offset_micros(&self) -> i64 {
        self.offset_micros
    }

    /// Returns where cells of months begin: the first month's number, and the day.
    pub fn month_anchor(&self) -> (u32, MonthDay) {
        (self.month_phase, self.month_day)
    }

    /// Returns the length of every cell in microseconds; `None` where a calendar
    /// makes them differ.
    pub fn fixed_micros(&self) -> Option<i64> {
        self.period.fixed_micros()
    }

    /// Returns the number of the cell that begins at `time`, or that a calendar's
    /// time lies in. Times of cells of a fixed length are divided by it, whatever
    /// the offset: those a whole number of cells apart have numbers so far apart.
    pub fn number(&self, time: EventTime) -> i64 {
        match self.period {
            Period::Fixed(micros) => time.as_micros().div_euclid(micros.max(1)),
            _ => self.calendar_number(time).unwrap_or(i64::MIN),
        }
    }

    /// Returns the first instant of the cell that `time` lies in; `None` where that
    /// or the cell's end cannot be said in 64 bits of microseconds.
    pub fn floor(&self, time: EventTime) -> Option<EventTime> {
        let micros = time.as_micros();
        match self.period {
            Period::Fixed(size) => {
                let into = micros.checked_sub(self.offset_micros)?.rem_euclid(size.max(1));
                let start = micros.checked_sub(into)?;
                start.checked_add(size)?;
                Some(EventTime::from_micros(start))
            }
            _ => {
                let number = self.calendar_number(time)?;
                self.calendar_start(number.checked_add(1)?)?;
                self.calendar_start(number)
            }
        }
    }

    /// Returns the first instant behind the cell that `time` lies in; the last
    /// instant there is where that cannot be said.
    pub fn ceil(&self, time: EventTime) -> EventTime {
        let end = match self.period {
            Period::Fixed(size) => self.floor(time).map(|start| start.plus_micros(size)),
            _ => self
                .calendar_number(time)
                .and_then(|number| self.calendar_start(number.checked_add(1)?)),
        };
        end.unwrap_or(EventTime::from_micros(i64::MAX))
    }

    /// Returns the time that lies as far into a cell as `time` into its own, `cells`
    /// cells later (earlier if negative). A time of day or a day of a month that
    /// the later cell lacks is its last instant at most.
    pub fn after(&self, time: EventTime, cells: i64) -> Option<EventTime> {
        match self.period {
            Period::Fixed(size) => {
                let micros = size.checked_mul(cells)?;
                Some(EventTime::from_micros(time.as_micros().checked_add(micros)?))
            }
            _ => {
                let number = self.calendar_number(time)?;
                let into =
                    time.as_micros().checked_sub(self.calendar_start(number)?.as_micros())?;
                let number = number.checked_add(cells)?;
                let start = self.calendar_start(number)?;
                let end = self.calendar_start(number.checked_add(1)?)?;
                Some(start.plus_micros(into).min(end.plus_micros(-1)).max(start))
            }
        }
    }

    /// Returns the length of a cell as an ISO 8601 duration: `PT1H`, `P1D`, `P1M`.
    /// A business day is `P1D`: ISO 8601 knows none, and a message says each
    /// step's time.
    pub fn iso8601(&self) -> String {
        self.period.iso8601()
    }

    /// Returns what tells this grid from another, for people and for a plan's
    /// description.
    pub fn describe(&self) -> String {
        let mut text = self.period.to_string();
        let mut add = |part: String| text.push_str(&part);
        if let Period::Months(count) = self.period {
            match self.month_day {
                MonthDay::FromFirst(1) => {}
                MonthDay::FromFirst(day) => add(format!(" from day {day}")),
                MonthDay::FromLast(0) => add(" from the last day".to_owned()),
                MonthDay::FromLast(days) => add(format!(" from {days} days before the last")),
            }
            if count > 1 && self.month_phase > 0 {
                add(format!(" from month {}", self.month_phase + 1));
            }
        }
        if self.offset_micros != 0 {
            add(format!(", offset {}", format_micros(self.offset_micros)));
        }
        if self.zone != Tz::UTC {
            add(format!(", {}", self.zone.name()));
        }
        text
    }

    /// Returns the number of a calendar's cell; `None` outside of its range.
    fn calendar_number(&self, time: EventTime) -> Option<i64> {
        let utc = DateTime::<Utc>::from_timestamp_micros(time.as_micros())?.naive_utc();
        let offset = self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        let local = utc.checked_add_signed(TimeDelta::seconds(i64::from(offset)))?;
        let mut number = self.local_number(local)?;
        // Where clocks are put on or back, a cell's first instant is not the one that
        // its local time says; it is within two cells.
        for _ in 0..2 {
            if self.calendar_start(number)? > time {
                number = number.checked_sub(1)?;
            }
        }
        for _ in 0..2 {
            if self.calendar_start(number.checked_add(1)?)? <= time {
                number = number.checked_add(1)?;
            }
        }
        Some(number)
    }

    fn local_number(&self, local: NaiveDateTime) -> Option<i64> {
        let day = |local: NaiveDateTime| i64::from(local.num_days_from_ce()) - EPOCH_DAY;
        match self.period {
            Period::Fixed(_) => None,
            Period::Days(count) => {
                let local =
                    local.checked_sub_signed(TimeDelta::microseconds(self.offset_micros))?;
                Some(day(local).div_euclid(i64::from(count.max(1))))
            }
            Period::BusinessDays => {
                let local =
                    local.checked_sub_signed(TimeDelta::microseconds(self.offset_micros))?;
                // 1970-01-01 was a Thursday; weeks are counted from the Monday before.
                // What comes at a weekend is Friday's.
                let from_monday = day(local) + 3;
                let weekday = from_monday.rem_euclid(7).min(4);
                Some(from_monday.div_euclid(7) * 5 + weekday)
            }
            Period::Months(count) => {
                let month = i64::from(local.year() - 1970) * 12 + i64::from(local.month0());
                let begun = if local < self.month_start(month)? { month - 1 } else { month };
                let phase = i64::from(self.month_phase);
                Some((begun - phase).div_euclid(i64::from(count.max(1))))
            }
        }
    }

    /// Returns the first instant of a calendar's cell.
    fn calendar_start(&self, number: i64) -> Option<EventTime> {
        let date = |day: i64| {
            let day = i32::try_from(day.checked_add(EPOCH_DAY)?).ok()?;
            NaiveDate::from_num_days_from_ce_opt(day)
        };
        let at = |date: NaiveDate| {
            let shift = TimeDelta::microseconds(self.offset_micros);
            date.and_time(NaiveTime::MIN).checked_add_signed(shift)
        };
        let local = match self.period {
            Period::Fixed(_) => None,
            Period::Days(count) => at(date(number.checked_mul(i64::from(count))?)?),
            Period::BusinessDays => {
                at(date(number.div_euclid(5).checked_mul(7)? + number.rem_euclid(5) - 3)?)
            }
            Period::Months(count) => {
                let month = number.checked_mul(i64::from(count))?;
                self.month_start(month.checked_add(i64::from(self.month_phase))?)
            }
        }?;
        self.instant(local)
    }

    /// Returns where the cell that begins in a month, counted from January 1970,
    /// begins in local time.
    fn month_start(&self, month: i64) -> Option<NaiveDateTime> {
        let year = i32::try_from(1970_i64.checked_add(month.div_euclid(12))?).ok()?;
        let first =
            NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)?;
        let days = u64::from(first.num_days_in_month());
        let day = match self.month_day {
            MonthDay::FromFirst(day) => u64::from(day).clamp(1, days),
            MonthDay::FromLast(before) => days.saturating_sub(u64::from(before)).max(1),
        };
        let date = first.checked_add_days(Days::new(day - 1))?;
        let shift = TimeDelta::microseconds(self.offset_micros);
        date.and_time(NaiveTime::MIN).checked_add_signed(shift)
    }

    /// Returns the first instant at which clocks in the zone show `local` or, where
    /// they skip it, more.
    fn instant(&self, local: NaiveDateTime) -> Option<EventTime> {
        use chrono::offset::LocalResult;
        let instant = match self.zone.from_local_datetime(&local) {
            LocalResult::Single(instant) => instant.timestamp_micros(),
            LocalResult::Ambiguous(one, other) => {
                one.timestamp_micros().min(other.timestamp_micros())
            }
            LocalResult::None => self.skipped(local.and_utc().timestamp_micros())?,
        };
        Some(EventTime::from_micros(instant))
    }

    /// Finds where the clocks jump over `local`, by halving the days around it.
    fn skipped(&self, local: i64) -> Option<i64> {
        let shows = |instant: i64| {
            let utc = DateTime::<Utc>::from_timestamp_micros(instant)?.naive_utc();
            let offset = self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
            Some(instant + i64::from(offset) * 1_000_000)
        };
        let (mut before, mut after) =
            (local.checked_sub(2 * DAY_MICROS)?, local.checked_add(2 * DAY_MICROS)?);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if shows(middle)? >= local { after = middle } else { before = middle }
        }
        Some(after)
    }
}

impl fmt::Display for TimeGrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Returns the time zone of that name (`Europe/Berlin`), however it is capitalised.
pub fn zone(name: &str) -> Option<Tz> {
    let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
    found.copied()
}

/// Returns the names of all time zones.
pub fn zone_names() -> impl Iterator<Item = &'static str> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// Returns the local date and time of day, in microseconds, of an instant in a zone.
///
/// ```
/// use tidecast_stream::{EventTime, grid::local};
/// let time: EventTime = "2024-07-01T22:00:00Z".parse().unwrap();
/// let (date, micros) = local(time, chrono_tz::Europe::Berlin).unwrap();
/// assert_eq!((date.to_string().as_str(), micros), ("2024-07-02", 0));
/// ```
pub fn local(time: EventTime, zone: Tz) -> Option<(NaiveDate, i64)> {
    let utc = DateTime::<Utc>::from_timestamp_micros(time.as_micros())?.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    let local = utc.checked_add_signed(TimeDelta::seconds(i64::from(offset)))?;
    let seconds = i64::from(local.num_seconds_from_midnight());
    Some((local.date(), seconds * 1_000_000 + i64::from(local.nanosecond() / 1_000)))
}
