//! Durations: `INTERVAL '1' MINUTE` in SQL, `'30s'` in options.

use std::fmt;
use std::time::Duration;

use sqlparser::ast::{Expr, Interval, UnaryOperator, Value};
use tidecast_stream::Period;
pub(crate) use tidecast_stream::grid::format_micros;

/// A length of time was not understood; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error(
        "cannot read `{0}` as a length of time, expected a number and a unit such as '30s', '200ms' or '1 hour'"
    )]
    Unreadable(String),
    #[error(
        "unknown unit of time `{unit}` in `{text}`, expected one of ms, s, m, h, d, w or their long names"
    )]
    UnknownUnit { unit: String, text: String },
    #[error("a month, quarter or year has no fixed length, expected weeks, days or shorter units")]
    Calendar,
    #[error("`{0}` is finer than a microsecond or longer than 292,000 years")]
    OutOfRange(String),
    #[error("expected an interval such as INTERVAL '1' MINUTE, found `{0}`")]
    NotAnInterval(String),
}

/// Returns the length of time that `text` says: `'30s'`, `'200 ms'`, `'1 hour
/// 30 minutes'`, `'1.5h'`. It is never negative.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let Length { months: 0, micros } = parse_length(text)? else {
        return Err(DurationError::Calendar);
    };
    let micros =
        u64::try_from(micros).map_err(|_| DurationError::Unreadable(text.trim().to_owned()))?;
    Ok(Duration::from_micros(micros))
}

/// Returns the microseconds of an `INTERVAL …` expression; they may be negative.
pub(crate) fn interval_micros(expression: &Expr) -> Result<i64, DurationError> {
    match interval_length(expression)? {
        Length { months: 0, micros } => Ok(micros),
        _ => Err(DurationError::Calendar),
    }
}

/// Returns the length of an `INTERVAL …` expression; it may be negative.
pub(crate) fn interval_length(expression: &Expr) -> Result<Length, DurationError> {
    match expression {
        Expr::Interval(interval) => length_of(interval),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => interval_length(expr)?
            .checked_neg()
            .ok_or_else(|| DurationError::OutOfRange(expression.to_string())),
        Expr::Nested(inner) => interval_length(inner),
        other => Err(DurationError::NotAnInterval(other.to_string())),
    }
}

/// A length of time: months, which differ, and what has one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Length {
    /// A quarter has 3, a year 12.
    pub(crate) months: i64,
    pub(crate) micros: i64,
}

impl Length {
    /// Returns how many steps of this period it is, if it is a whole number of them.
    pub(crate) fn steps_of(self, step: Period) -> Option<i64> {
        let (length, other, step) = match step {
            Period::Months(step) => (self.months, self.micros, i64::from(step)),
            step => (self.micros, self.months, step.typical_micros()),
        };
        (other == 0 && length.checked_rem(step)? == 0).then_some(length / step)
    }

    fn checked_add(self, other: Self) -> Option<Self> {
        let months = self.months.checked_add(other.months)?;
        Some(Self { months, micros: self.micros.checked_add(other.micros)? })
    }

    fn checked_neg(self) -> Option<Self> {
        Some(Self { months: self.months.checked_neg()?, micros: self.micros.checked_neg()? })
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.months, u32::try_from(self.months)) {
            (0, _) => f.write_str(&format_micros(self.micros)),
            (_, Ok(months)) if self.micros == 0 => write!(f, "{}", Period::Months(months)),
            (months, _) if self.micros == 0 => write!(f, "{months} months"),
            _ => {
                write!(f, "{} and {}", Length { micros: 0, ..*self }, format_micros(self.micros))
            }
        }
    }
}

/// [`format_micros`] of a [`Duration`].
pub(crate) fn format_duration(duration: Duration) -> String {
    format_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

fn length_of(interval: &Interval) -> Result<Length, DurationError> {
    let Some(text) = literal_text(&interval.value) else {
        return Err(DurationError::NotAnInterval(interval.to_string()));
    };
    if interval.last_field.is_some() {
        return Err(DurationError::NotAnInterval(interval.to_string()));
    }
    match &interval.leading_field {
        None => parse_length(&text),
        Some(field) => unit(&field.to_string(), &text)?.times(text.trim(), &text),
    }
}

fn literal_text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            literal_text(expr).map(|text| format!("-{text}"))
        }
        _ => None,
    }
}

/// Sums `number unit` pairs, spaces optional.
fn parse_length(text: &str) -> Result<Length, DurationError> {
    let unreadable = || DurationError::Unreadable(text.trim().to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(unreadable());
    }
    let mut total = Length::default();
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
            .ok_or_else(unreadable)?;
        let (number, after_number) = rest.split_at(number_end);
        if number.is_empty() {
            return Err(unreadable());
        }
        let after_number = after_number.trim_start();
        let unit_end =
            after_number.find(|c: char| !c.is_alphabetic()).unwrap_or(after_number.len());
        let (name, after_unit) = after_number.split_at(unit_end);
        total = total
            .checked_add(unit(name, text)?.times(number, text)?)
            .ok_or_else(|| DurationError::OutOfRange(text.trim().to_owned()))?;
        rest = after_unit.trim_start();
    }
    Ok(total)
}

/// What a number counts.
enum Unit {
    Micros(i64),
    Months(i64),
}

impl Unit {
    fn times(&self, number: &str, text: &str) -> Result<Length, DurationError> {
        Ok(match self {
            Self::Micros(unit) => Length { micros: scale(number, *unit, text)?, months: 0 },
            Self::Months(unit) => Length { months: scale(number, *unit, text)?, micros: 0 },
        })
    }
}

/// Returns `number` times `unit`, exactly or not at all: decimal
/// digits are counted, never rounded through a float.
fn scale(number: &str, unit: i64, text: &str) -> Result<i64, DurationError> {
    let unreadable = || DurationError::Unreadable(text.trim().to_owned());
    let out_of_range = || DurationError::OutOfRange(text.trim().to_owned());
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !is_number {
        return Err(unreadable());
    }
    let fraction = fraction.trim_end_matches('0');
    let places = u32::try_from(fraction.len()).map_err(|_| out_of_range())?;
    let scaled: i128 = format!("0{whole}{fraction}").parse().map_err(|_| out_of_range())?;
    let divisor = 10_i128.checked_pow(places).ok_or_else(out_of_range)?;
    let micros = scaled.checked_mul(i128::from(unit)).ok_or_else(out_of_range)?;
    if micros % divisor != 0 {
        return Err(out_of_range());
    }
    let micros = i64::try_from(micros / divisor).map_err(|_| out_of_range())?;
    Ok(if negative { -micros } else { micros })
}

fn unit(name: &str, text: &str) -> Result<Unit, DurationError> {
    const SECOND: i64 = 1_000_000;
    Ok(Unit::Micros(match name.to_lowercase().as_str() {
        "us" | "µs" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        "month" | "months" => return Ok(Unit::Months(1)),
        "quarter" | "quarters" => return Ok(Unit::Months(3)),
        "y" | "year" | "years" => return Ok(Unit::Months(12)),
        "" => return Err(DurationError::Unreadable(text.trim().to_owned())),
        _ => {
            return Err(DurationError::UnknownUnit {
                unit: name.to_owned(),
                text: text.trim().to_owned(),
            });
        }
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let micros = |text| parse_duration(text).unwrap().as_micros();
        assert_eq!(micros("30s"), 30_000_000);
        assert_eq!(micros("200ms"), 200_000);
        assert_eq!(micros("1 hour"), 3_600_000_000);
        assert_eq!(micros("1 hour 30 minutes"), 5_400_000_000);
        assert_eq!(micros("1h30m"), 5_400_000_000);
        assert_eq!(micros("1.5 h"), 5_400_000_000);
        assert_eq!(micros("0s"), 0);
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1 month", "1 lightyear", "1e3s", "0.0000001s", ".s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("99999999999999 days").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(micros in 0_i64..4_000_000_000_000_000) {
            let text = format_micros(micros);
            prop_assert_eq!(parse_duration(&text).unwrap().as_micros(), micros as u128);
        }

        #[test]
        fn no_text_panics(text in "[0-9.+\\- a-z]{0,30}") {
            let _outcome = parse_duration(&text);
        }
    }
}
