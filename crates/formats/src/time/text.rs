//! Times that are written as dates.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{Datelike, NaiveDate, Utc, Weekday};

use super::Reason;

const DAY_SECONDS: i64 = 86_400;

/// Returns the days from 1970 to a date, if there is such a date.
pub(super) fn days(year: i32, month: u32, day: u32) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    Some(since_1970(date))
}

fn since_1970(date: NaiveDate) -> i64 {
    // Of 1970-01-01, from the first day of the common era.
    const EPOCH: i64 = 719_163;
    i64::from(date.num_days_from_ce()) - EPOCH
}

/// Reads the form that nearly all programs write, `2024-08-01T10:00:00`, with or
/// without fraction and `Z`, in microseconds since 1970; `None` for any other,
/// which [`parse`] looks at.
pub(super) fn common(text: &[u8]) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let separators = [head[4], head[7], head[10], head[13], head[16]];
    if !matches!(separators, [b'-', b'-', b'T' | b' ', b':', b':']) {
        return None;
    }
    let mut is_digits = true;
    let mut pair = |at: usize| {
        let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        is_digits &= tens < 10 && ones < 10;
        i64::from(tens) * 10 + i64::from(ones)
    };
    let (century, year, month, day) = (pair(0), pair(2), pair(5), pair(8));
    let (hour, minute, second) = (pair(11), pair(14), pair(17));
    let is_time = hour < 24 && minute < 60 && second < 60;
    let year = century * 100 + year;
    if !is_digits || !is_time || !is_day(year, month, day) {
        return None;
    }
    let micros = match rest {
        [] | [b'Z'] => 0,
        [b'.', fraction @ ..] => fraction_micros(fraction.strip_suffix(b"Z").unwrap_or(fraction))?,
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn is_day(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=length).contains(&day)
}

/// Days from 1970 to a date that exists, counted in years that begin in March,
/// so that the leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The digits behind a second's point as microseconds, rounded down.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let kept = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some(kept.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
}

/// Reads all forms of the module's table but numbers, in microseconds since 1970.
pub(super) fn parse(text: &str) -> Result<i64, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    match Scan::new(text).instant() {
        Ok(seconds_and_micros) => Ok(seconds_and_micros),
        // Zones by name, and what else Arrow's parser knows.
        Err(reason) => match string_to_datetime(&Utc, text) {
            Ok(instant) => Ok(instant.timestamp_micros()),
            Err(_) => Err(reason),
        },
    }
}

/// A text and how much of it is read.
struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.as_bytes() }
    }

    fn instant(&mut self) -> Result<i64, Reason> {
        if self.is_day_or_month_first() {
            return Err(Reason::DayOrMonthFirst);
        }
        if self.is_time_alone() {
            return Err(Reason::NoDate);
        }
        let (date, takes_time) = self.date()?;
        let mut micros = since_1970(date) * DAY_SECONDS * 1_000_000;
        if takes_time && self.separator() {
            micros += self.time_of_day()?;
            micros -= self.offset()?.unwrap_or(0) * 1_000_000;
        } else {
            self.universal();
        }
        if self.rest.is_empty() { Ok(micros) } else { Err(Reason::Unknown) }
    }

    /// `1/8/2024`, `01.08.24`, `8-1-2024`: a short number in front, a second one
    /// and a third, parted alike.
    fn is_day_or_month_first(&self) -> bool {
        let mut look = Scan { rest: self.rest };
        let first = look.digits(3).len();
        let Some(separator @ (b'/' | b'.' | b'-')) = look.take() else { return false };
        let second = look.digits(3).len();
        (1..=2).contains(&first)
            && (1..=2).contains(&second)
            && look.take() == Some(separator)
            && !look.digits(4).is_empty()
    }

    fn is_time_alone(&self) -> bool {
        let mut look = Scan { rest: self.rest };
        (1..=2).contains(&look.digits(3).len()) && look.eat(b":") && look.digits(3).len() == 2
    }

    /// A date, and whether a time may follow it.
    fn date(&mut self) -> Result<(NaiveDate, bool), Reason> {
        let digits = self.digits(9);
        let (year, rest) = match digits.len() {
            4 => (number(digits), None),
            // 20240801T…, which alone would be a number.
            8 => (number(&digits[..4]), Some((number(&digits[4..6]), number(&digits[6..])))),
            _ => return Err(Reason::Unknown),
        };
        let year = i32::try_from(year).map_err(|_| Reason::Unknown)?;
        if let Some((month, day)) = rest {
            return Ok((date(year, month, day)?, true));
        }
        let separator = match self.rest.first().copied() {
            Some(separator @ (b'-' | b'/' | b'.')) => {
                self.take();
                Some(separator)
            }
            _ => None,
        };
        match (separator, self.rest.first()) {
            (None | Some(b'-'), Some(b'Q' | b'q')) => {
                self.take();
                let quarter = number(self.digits(1));
                if !(1..=4).contains(&quarter) {
                    return Err(Reason::NoSuchDate);
                }
                Ok((date(year, quarter * 3 - 2, 1)?, false))
            }
            (None | Some(b'-'), Some(b'W' | b'w')) => {
                self.take();
                self.week(year)
            }
            (Some(separator), _) => {
                let month = self.one_or_two()?;
                if self.rest.first() == Some(&separator) {
                    self.take();
                    return Ok((date(year, month, self.one_or_two()?)?, true));
                }
                if separator == b'.' {
                    Err(Reason::Unknown)
                } else {
                    Ok((date(year, month, 1)?, false))
                }
            }
            (None, _) => Err(Reason::Unknown),
        }
    }

    /// `31`, `31-4` or `314`: a week of ISO 8601 and perhaps its day.
    fn week(&mut self, year: i32) -> Result<(NaiveDate, bool), Reason> {
        let week = self.digits(2);
        if week.len() != 2 {
            return Err(Reason::Unknown);
        }
        let week = number(week);
        let has_dash = self.eat(b"-");
        let day = self.digits(1);
        if has_dash && day.is_empty() {
            return Err(Reason::Unknown);
        }
        let weekday = match day {
            [] => Weekday::Mon,
            [digit] => {
                Weekday::try_from(digit.wrapping_sub(b'1')).map_err(|_| Reason::NoSuchDate)?
            }
            _ => return Err(Reason::Unknown),
        };
        let date = NaiveDate::from_isoywd_opt(year, week, weekday).ok_or(Reason::NoSuchDate)?;
        Ok((date, !day.is_empty()))
    }

    /// What stands between date and time; `false` at the end, or where a zone
    /// follows the date.
    fn separator(&mut self) -> bool {
        let before = self.rest;
        let is_letter = self.eat(b"T") || self.eat(b"t");
        if !is_letter {
            self.blanks();
        }
        let is_time = self.rest.first().is_some_and(u8::is_ascii_digit);
        if !is_time {
            self.rest = before;
        }
        is_time && self.rest.len() < before.len()
    }

    /// Microseconds since midnight: `10`, `10:00`, `10:00:00.5`, `1000`, `100000`,
    /// each also with `AM` or `PM`; `24` with zeros only.
    fn time_of_day(&mut self) -> Result<i64, Reason> {
        let hour = self.digits(6);
        let (hour, minute, second) = match hour.len() {
            1 | 2 => {
                let minute = if self.eat(b":") { Some(self.two()?) } else { None };
                let has_second = minute.is_some() && self.eat(b":");
                let second = if has_second { Some(self.two()?) } else { None };
                (number(hour), minute, second)
            }
            4 => (number(&hour[..2]), Some(number(&hour[2..])), None),
            6 => (number(&hour[..2]), Some(number(&hour[2..4])), Some(number(&hour[4..]))),
            _ => return Err(Reason::Unknown),
        };
        let mut micros = 0;
        if second.is_some() && (self.eat(b".") || self.eat(b",")) {
            micros = fraction_micros(self.digits(usize::MAX)).ok_or(Reason::Unknown)?;
        }
        let hour = self.half_of_day(hour)?;
        let (minute, second) = (minute.unwrap_or(0), second.unwrap_or(0));
        // The leap second is taken as the second behind it, as clocks do.
        let is_leap = minute == 59 && second == 60;
        let is_midnight = hour == 24 && minute == 0 && second == 0 && micros == 0;
        if !(hour < 24 || is_midnight) || minute > 59 || (second > 59 && !is_leap) {
            return Err(Reason::NoSuchTime);
        }
        let seconds = hour * 3_600 + minute * 60 + second;
        Ok(i64::from(seconds) * 1_000_000 + micros)
    }

    fn half_of_day(&mut self, hour: u32) -> Result<u32, Reason> {
        let before = self.rest;
        self.blanks();
        let half = match self.rest {
            [a @ (b'A' | b'a' | b'P' | b'p'), b'M' | b'm', rest @ ..] => {
                self.rest = rest;
                a.to_ascii_uppercase()
            }
            _ => {
                self.rest = before;
                return Ok(hour);
            }
        };
        match (half, hour) {
            (_, 0 | 13..) => Err(Reason::NoSuchTime),
            (b'A', hour) => Ok(hour % 12),
            (_, hour) => Ok(hour % 12 + 12),
        }
    }

    /// Seconds east of Greenwich, if an offset or UTC is written: `Z`, ` UTC`,
    /// `GMT`, `+02`, `+0200`, `+02:00`, ` +0200 CEST`, `+02:00[Europe/Berlin]`.
    fn offset(&mut self) -> Result<Option<i64>, Reason> {
        let before = self.rest;
        self.blanks();
        let is_east = match self.rest.first() {
            Some(b'+') => true,
            Some(b'-') => false,
            _ => {
                self.rest = before;
                let is_universal = self.universal();
                return Ok(is_universal.then_some(0));
            }
        };
        self.take();
        let digits = self.digits(6);
        let (hour, minute) = match digits.len() {
            1 | 2 if self.eat(b":") => (number(digits), self.two()?),
            1 | 2 => (number(digits), 0),
            4 => (number(&digits[..2]), number(&digits[2..])),
            _ => return Err(Reason::Unknown),
        };
        if hour > 23 || minute > 59 {
            return Err(Reason::NoSuchTime);
        }
        self.zone_name();
        let seconds = i64::from(hour * 3_600 + minute * 60);
        Ok(Some(if is_east { seconds } else { -seconds }))
    }

    /// Skips `Z`, `UTC` or `GMT`; returns whether one was there.
    fn universal(&mut self) -> bool {
        let before = self.rest;
        self.blanks();
        for name in [b"Z".as_slice(), b"UTC", b"GMT"] {
            if let Some((head, rest)) = self.rest.split_at_checked(name.len())
                && head.eq_ignore_ascii_case(name)
            {
                self.rest = rest;
                self.zone_name();
                return true;
            }
        }
        self.rest = before;
        false
    }

    /// Skips a zone's name behind an offset that says it all: ` CEST`, `[Europe/Berlin]`.
    fn zone_name(&mut self) {
        if let [b'[', .., b']'] = self.rest {
            self.rest = &[];
        }
        if let [b' ', name @ ..] = self.rest
            && (1..=5).contains(&name.len())
            && name.iter().all(u8::is_ascii_uppercase)
        {
            self.rest = &[];
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, wanted: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Takes the digits in front, up to `most`.
    fn digits(&mut self, most: usize) -> &'a [u8] {
        let count = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits
    }

    fn two(&mut self) -> Result<u32, Reason> {
        let digits = self.digits(2);
        if digits.len() == 2 { Ok(number(digits)) } else { Err(Reason::Unknown) }
    }

    fn one_or_two(&mut self) -> Result<u32, Reason> {
        let digits = self.digits(3);
        if (1..=2).contains(&digits.len()) { Ok(number(digits)) } else { Err(Reason::Unknown) }
    }
}

/// The number that up to nine digits are.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

fn date(year: i32, month: u32, day: u32) -> Result<NaiveDate, Reason> {
    NaiveDate::from_ymd_opt(year, month, day).ok_or(Reason::NoSuchDate)
}
