//! Durations: `INTERVAL '1' MINUTE` in SQL, `'30s'` in options.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{Expr, Interval, UnaryOperator, Value};

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
    #[error("a {0} has no fixed length, expected weeks, days or shorter units")]
    Calendar(&'static str),
    #[error("`{0}` is finer than a microsecond or longer than 292,000 years")]
    OutOfRange(String),
    #[error("expected an interval such as INTERVAL '1' MINUTE, found `{0}`")]
    NotAnInterval(String),
}

/// Returns the length of time that `text` says: `'30s'`, `'200 ms'`, `'1 hour
/// 30 minutes'`, `'1.5h'`. It is never negative.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let micros = parse_micros(text)?;
    let micros =
        u64::try_from(micros).map_err(|_| DurationError::Unreadable(text.trim().to_owned()))?;
    Ok(Duration::from_micros(micros))
}

/// Returns the microseconds of an `INTERVAL …` expression; they may be negative.
pub(crate) fn interval_micros(expression: &Expr) -> Result<i64, DurationError> {
    match expression {
        Expr::Interval(interval) => micros_of(interval),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => interval_micros(expr)?
            .checked_neg()
            .ok_or_else(|| DurationError::OutOfRange(expression.to_string())),
        Expr::Nested(inner) => interval_micros(inner),
        other => Err(DurationError::NotAnInterval(other.to_string())),
    }
}

/// Returns microseconds as people write them and [`parse_duration`] reads them:
/// `1h 30m`.
pub(crate) fn format_micros(micros: i64) -> String {
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

/// [`format_micros`] of a [`Duration`].
pub(crate) fn format_duration(duration: Duration) -> String {
    format_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

fn micros_of(interval: &Interval) -> Result<i64, DurationError> {
    let Some(text) = literal_text(&interval.value) else {
        return Err(DurationError::NotAnInterval(interval.to_string()));
    };
    if interval.last_field.is_some() {
        return Err(DurationError::NotAnInterval(interval.to_string()));
    }
    match &interval.leading_field {
        None => parse_micros(&text),
        Some(field) => scale(text.trim(), unit_micros(&field.to_string(), &text)?, &text),
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
fn parse_micros(text: &str) -> Result<i64, DurationError> {
    let unreadable = || DurationError::Unreadable(text.trim().to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(unreadable());
    }
    let mut total = 0_i64;
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
        let (unit, after_unit) = after_number.split_at(unit_end);
        let micros = scale(number, unit_micros(unit, text)?, text)?;
        total = total
            .checked_add(micros)
            .ok_or_else(|| DurationError::OutOfRange(text.trim().to_owned()))?;
        rest = after_unit.trim_start();
    }
    Ok(total)
}

/// Returns `number` units of `unit_micros`, exactly or not at all: decimal
/// digits are counted, never rounded through a float.
fn scale(number: &str, unit_micros: i64, text: &str) -> Result<i64, DurationError> {
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
    let micros = scaled.checked_mul(i128::from(unit_micros)).ok_or_else(out_of_range)?;
    if micros % divisor != 0 {
        return Err(out_of_range());
    }
    let micros = i64::try_from(micros / divisor).map_err(|_| out_of_range())?;
    Ok(if negative { -micros } else { micros })
}

fn unit_micros(unit: &str, text: &str) -> Result<i64, DurationError> {
    const SECOND: i64 = 1_000_000;
    Ok(match unit.to_lowercase().as_str() {
        "us" | "µs" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        "month" | "months" => return Err(DurationError::Calendar("month")),
        "quarter" | "quarters" => return Err(DurationError::Calendar("quarter")),
        "y" | "year" | "years" => return Err(DurationError::Calendar("year")),
        "" => return Err(DurationError::Unreadable(text.trim().to_owned())),
        _ => {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.trim().to_owned(),
            });
        }
    })
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
