//! How long a cell is, as people and ISO 8601 write it.

use std::fmt;
use std::str::FromStr;

use super::DAY_MICROS;

/// The length of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// So many microseconds, above zero.
    Fixed(i64),
    /// So many days of a time zone; most have 24 hours.
    Days(u32),
    /// From a day of Monday to Friday to the next.
    BusinessDays,
    /// So many months: 3 are a quarter, 12 a year.
    Months(u32),
}

/// A text is no length of a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read `{0}` as a step, expected a number and a unit such as `15min`, `1h`, `1d`, `1w`, \
     `1month`, `1quarter`, `1y`, `1 business day`, or an ISO 8601 period such as `PT15M` or `P1M`"
)]
pub struct PeriodError(String);

impl Period {
    /// Returns the length in microseconds, of a calendar's periods a typical one.
    pub fn typical_micros(self) -> i64 {
        match self {
            Self::Fixed(micros) => micros,
            Self::Days(count) => i64::from(count).saturating_mul(DAY_MICROS),
            Self::BusinessDays => DAY_MICROS,
            // 400 years of the Gregorian calendar are 146,097 days and 4,800 months.
            Self::Months(count) => {
                i64::from(count).saturating_mul(DAY_MICROS / 4_800).saturating_mul(146_097)
            }
        }
    }

    /// Returns the length in microseconds where it is always the same; `None` of a
    /// calendar's periods.
    pub fn fixed_micros(self) -> Option<i64> {
        match self {
            Self::Fixed(micros) => Some(micros),
            Self::Days(_) | Self::BusinessDays | Self::Months(_) => None,
        }
    }

    /// Returns it as an ISO 8601 duration: `PT1H`, `P1D`, `P1M`. A business day is `P1D`:
    /// ISO 8601 knows none.
    pub fn iso8601(self) -> String {
        match self {
            Self::Fixed(micros) => fixed_iso8601(micros),
            Self::Days(count) if count % 7 == 0 => format!("P{}W", count / 7),
            Self::Days(count) => format!("P{count}D"),
            Self::BusinessDays => "P1D".to_owned(),
            Self::Months(count) if count % 12 == 0 => format!("P{}Y", count / 12),
            Self::Months(count) => format!("P{count}M"),
        }
    }
}

fn fixed_iso8601(micros: i64) -> String {
    let micros = micros.unsigned_abs();
    let day = DAY_MICROS.unsigned_abs();
    let (days, rest) = (micros / day, micros % day);
    if rest == 0 && days > 0 && days.is_multiple_of(7) {
        return format!("P{}W", days / 7);
    }
    let (hours, rest) = (rest / 3_600_000_000, rest % 3_600_000_000);
    let (minutes, rest) = (rest / 60_000_000, rest % 60_000_000);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let mut text = "P".to_owned();
    if days > 0 {
        text.push_str(&format!("{days}D"));
    }
    let time = [(hours, 'H'), (minutes, 'M')];
    let time: String = time
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    let seconds = match (seconds, fraction) {
        (0, 0) if days > 0 || !time.is_empty() => String::new(),
        (_, 0) => format!("{seconds}S"),
        _ => format!("{}S", format!("{seconds}.{fraction:06}").trim_end_matches('0')),
    };
    if !time.is_empty() || !seconds.is_empty() {
        text.push('T');
        text.push_str(&time);
        text.push_str(&seconds);
    }
    text
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, one, many) = match *self {
            Self::Fixed(micros) => return f.write_str(&format_micros(micros)),
            Self::Days(count) if count % 7 == 0 => (count / 7, "week", "weeks"),
            Self::Days(count) => (count, "day", "days"),
            Self::BusinessDays => (1, "business day", "business days"),
            Self::Months(count) if count % 12 == 0 => (count / 12, "year", "years"),
            Self::Months(count) if count % 3 == 0 => (count / 3, "quarter", "quarters"),
            Self::Months(count) => (count, "month", "months"),
        };
        write!(f, "{count} {}", if count == 1 { one } else { many })
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let error = || PeriodError(text.trim().to_owned());
        let lower = text.trim().to_lowercase();
        let period = match lower.strip_prefix('p') {
            Some(iso) => parse_iso8601(iso),
            None => parse_words(&lower),
        };
        period.filter(|period| period.typical_micros() > 0).ok_or_else(error)
    }
}

/// The sum of what was named: months and microseconds do not mix, nor do days of
/// a calendar and hours.
#[derive(Default)]
struct Sum {
    months: u32,
    days: u32,
    micros: i64,
    business_days: u32,
}

impl Sum {
    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let count = || number.parse::<u32>().ok();
        let months = |count: Option<u32>, each: u32| count?.checked_mul(each);
        match unit {
            "mo" | "mon" | "month" | "months" => self.months += months(count(), 1)?,
            "q" | "quarter" | "quarters" => self.months += months(count(), 3)?,
            "y" | "year" | "years" => self.months += months(count(), 12)?,
            "b" | "bd" | "business day" | "business days" => self.business_days += count()?,
            "w" | "week" | "weeks" => self.days += months(count(), 7)?,
            "d" | "day" | "days" if count().is_some() => self.days += count()?,
            _ => {
                let each = match unit {
                    "us" | "µs" | "microsecond" | "microseconds" => 1,
                    "ms" | "millisecond" | "milliseconds" => 1_000,
                    "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
                    "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
                    "h" | "hour" | "hours" => 3_600_000_000,
                    "d" | "day" | "days" => DAY_MICROS,
                    _ => return None,
                };
                let micros = number.parse::<f64>().ok()? * each as f64;
                let whole = micros.round();
                if !(whole > 0.0 && whole < 9e18 && (micros - whole).abs() <= whole * 1e-12) {
                    return None;
                }
                self.micros = self.micros.checked_add(whole as i64)?;
            }
        }
        Some(())
    }

    fn period(self) -> Option<Period> {
        match self {
            Self { months, days: 0, micros: 0, business_days: 0 } => Some(Period::Months(months)),
            Self { months: 0, days: 0, micros: 0, business_days: 1 } => Some(Period::BusinessDays),
            Self { months: 0, days, micros: 0, business_days: 0 } => Some(Period::Days(days)),
            Self { months: 0, days, micros, business_days: 0 } => {
                let days = i64::from(days).checked_mul(DAY_MICROS)?;
                Some(Period::Fixed(micros.checked_add(days)?))
            }
            _ => None,
        }
    }
}

/// `1h 30m`, `1 business day`.
fn parse_words(text: &str) -> Option<Period> {
    let mut sum = Sum::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        sum.add(number, unit.trim())?;
        rest = behind;
    }
    sum.period()
}

/// What stands behind the `p`: `1m`, `t15m`, `1dt12h`.
fn parse_iso8601(text: &str) -> Option<Period> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    let mut sum = Sum::default();
    for (part, is_time) in [(date, false), (time, true)] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, behind) = rest.split_at(end);
            let (unit, behind) = behind.split_at(1);
            let unit = match (unit, is_time) {
                ("m", false) => "mo",
                ("y" | "w" | "d", false) | ("h" | "m" | "s", true) => unit,
                _ => return None,
            };
            sum.add(&number.replace(',', "."), unit)?;
            rest = behind;
        }
    }
    sum.period()
}

/// Returns microseconds as people write them: `1h 30m`, `31d`.
pub fn format_micros(micros: i64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    let mut rest = micros.unsigned_abs();
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    let sign = if micros < 0 { "-" } else { "" };
    let text = if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") };
    format!("{sign}{text}")
}
