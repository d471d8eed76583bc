//! Where ticks stand and what they say.

use std::ops::Range;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A stretch of numbers with ticks of our own choice.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    /// Returns the axis from one value to another.
    pub(super) fn new(from: f64, to: f64, ticks: Vec<f64>) -> Self {
        Self { range: from..to, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Asked a second time for fine lines, there are none.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances of ticks that people count in, up to which days are as long as each other.
const EVEN: [i64; 22] = [
    1,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];
const MONTHS: [u32; 8] = [1, 3, 6, 12, 24, 60, 120, 600];

/// Returns at most `most` ticks between two times, in seconds since the epoch,
/// and how they are written.
pub(super) fn time_ticks(from: f64, to: f64, most: usize) -> (Vec<f64>, &'static str) {
    let most = most.max(2) as f64;
    let span = to - from;
    let even = EVEN.iter().take_while(|step| **step < 28 * DAY).find(|step| {
        // One more than fits between: a tick may stand on each end.
        span / **step as f64 + 1.0 <= most
    });
    let Some(step) = even else { return month_ticks(from, to, most) };
    // Weeks start on Monday; the epoch was a Thursday.
    let shift = if step % (7 * DAY) == 0 { 4 * DAY } else { 0 };
    let first = ((from - shift as f64) / *step as f64).ceil() as i64 * step + shift;
    let ticks =
        (0..).map(|index| (first + index * step) as f64).take_while(|tick| *tick <= to).collect();
    let format = match *step {
        step if step < MINUTE => "%H:%M:%S",
        step if step < DAY && span < DAY as f64 => "%H:%M",
        step if step < DAY => "%b %d %H:%M",
        _ => "%b %d",
    };
    (ticks, format)
}

fn month_ticks(from: f64, to: f64, most: f64) -> (Vec<f64>, &'static str) {
    let date = |seconds: f64| DateTime::from_timestamp(seconds as i64, 0);
    let (Some(start), Some(end)) = (date(from), date(to)) else { return (Vec::new(), "%Y") };
    let months = (to - from) / (30.44 * DAY as f64);
    let step = MONTHS.into_iter().find(|step| months / f64::from(*step) + 1.0 <= most);
    let step = step.unwrap_or(1200);
    let year = if step >= 12 {
        let years = i32::try_from(step / 12).unwrap_or(1);
        start.year().div_euclid(years) * years
    } else {
        start.year()
    };
    let mut ticks = Vec::new();
    let mut next = NaiveDate::from_ymd_opt(year, 1, 1);
    while let Some(day) = next {
        let tick = day.and_time(NaiveTime::MIN).and_utc();
        if tick > end {
            break;
        }
        if tick >= start {
            ticks.push(tick.timestamp() as f64);
        }
        next = day.checked_add_months(Months::new(step));
    }
    (ticks, if step < 12 { "%b %Y" } else { "%Y" })
}

/// Returns the tick's text: at midnight the day rather than `00:00`.
pub(super) fn time_text(seconds: f64, format: &str) -> String {
    let Some(time) = DateTime::<Utc>::from_timestamp(seconds as i64, 0) else {
        return String::new();
    };
    let is_midnight = time.time().signed_duration_since(NaiveTime::MIN) == TimeDelta::zero();
    let format = match format {
        "%b %d %H:%M" | "%H:%M" if is_midnight => "%b %d",
        "%b %d %H:%M" => "%H:%M",
        format => format,
    };
    time.format(format).to_string()
}

/// Returns at most `most` round numbers between two values.
pub(super) fn value_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let span = to - from;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let rough = span / most.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power);
    let first = (from / step).ceil();
    (0..=most)
        .map(|index| (first + index as f64) * step)
        .take_while(|tick| *tick <= to + step * 1e-9)
        .collect()
}

/// Returns a value's text with as many decimals as ticks `step` apart need.
pub(super) fn value_text(value: f64, step: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (1e-9, "G"),
        size if size >= 1e6 => (1e-6, "M"),
        _ => (1.0, ""),
    };
    // An exact multiple of the step, without the zeros that say nothing.
    let needed = (0..6).find(|decimals| {
        let shifted = step * scaled * 10_f64.powi(*decimals);
        (shifted - shifted.round()).abs() < 1e-6 * shifted.max(1.0)
    });
    let decimals = usize::try_from(needed.unwrap_or(6)).unwrap_or(0);
    let text = format!("{:.decimals$}", value * scaled);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("−", rest));
    let (whole, rest) = digits.split_once('.').map_or((digits, ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{rest}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> f64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp() as f64
    }

    fn texts(from: &str, to: &str, most: usize) -> Vec<String> {
        let (ticks, format) = time_ticks(time(from), time(to), most);
        assert!(ticks.len() <= most, "{ticks:?}");
        ticks.into_iter().map(|tick| time_text(tick, format)).collect()
    }

    #[test]
    fn ticks_stand_where_people_look_for_them() {
        assert_eq!(
            texts("2024-08-01T22:10:00Z", "2024-08-02T03:00:00Z", 6),
            ["23:00", "Aug 02", "01:00", "02:00", "03:00"]
        );
        assert_eq!(
            texts("2024-08-01T10:00:00Z", "2024-08-04T00:00:00Z", 7),
            ["12:00", "Aug 02", "12:00", "Aug 03", "12:00", "Aug 04"]
        );
        assert_eq!(
            texts("2024-08-01T00:00:00Z", "2024-08-30T00:00:00Z", 6),
            ["Aug 05", "Aug 12", "Aug 19", "Aug 26"]
        );
        assert_eq!(
            texts("2023-11-20T00:00:00Z", "2024-10-03T00:00:00Z", 6),
            ["Jan 2024", "Apr 2024", "Jul 2024", "Oct 2024"]
        );
        assert_eq!(
            texts("1999-01-02T00:00:00Z", "2024-06-01T00:00:00Z", 7),
            ["2000", "2005", "2010", "2015", "2020"]
        );
    }

    #[test]
    fn values_are_round_and_short() {
        assert_eq!(value_ticks(26_100.0, 55_000.0, 5), [30_000.0, 40_000.0, 50_000.0]);
        assert_eq!(value_text(30_000.0, 10_000.0), "30,000");
        assert_eq!(value_text(-0.25, 0.25), "−0.25");
        assert_eq!(value_text(2_500_000.0, 500_000.0), "2.5M");
        assert!(value_ticks(1.0, 1.0, 5).is_empty());
    }
}
