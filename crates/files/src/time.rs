//! Times as files write them.
//!
//! | written | meaning |
//! |---------|---------|
//! | `2024-08-01T10:00:00Z`, `2024-08-01 10:00:00.5+02:00` | that instant |
//! | `2024-08-01 10:00:00`, `2024-08-01T10:00`, `2024-08-01`, `2024/08/01 10:00`, `2024-08` | UTC |
//! | a whole number of 9 to 11 digits | seconds since the epoch |
//! | of 12 to 14 digits | milliseconds |
//! | of 15 to 17 digits | microseconds |
//! | of 18 or 19 digits | nanoseconds |
//!
//! Smaller numbers are refused: `2024` or `20240801` would be read as a moment
//! in 1970. Day-first and month-first dates cannot be told apart and are
//! refused, too.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use tidecast_stream::EventTime;

/// Forms that Arrow's parser does not know: without seconds, or with slashes.
const LOCAL_FORMATS: [&str; 4] =
    ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M"];
const ZONED_FORMATS: [&str; 2] = ["%Y-%m-%d %H:%M%#z", "%Y-%m-%dT%H:%M%#z"];

/// Returns the instant that `text` names, or `None` if it names none.
///
/// ```
/// use tidecast_files::time::parse_time;
/// assert_eq!(parse_time("2024-08-01 02:00+02:00"), parse_time("2024-08-01"));
/// assert_eq!(parse_time("1722470400"), parse_time("2024-08-01T00:00:00Z"));
/// assert_eq!(parse_time("01/08/2024"), None);
/// ```
pub fn parse_time(text: &str) -> Option<EventTime> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return parse_epoch(number);
    }
    if let Ok(instant) = string_to_datetime(&Utc, text) {
        return Some(EventTime::from_micros(instant.timestamp_micros()));
    }
    let zoned = text.strip_suffix('Z').map(|local| format!("{local}+00:00"));
    let zoned = zoned.as_deref().unwrap_or(text);
    let instant = LOCAL_FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|local| local.and_utc())
        .or_else(|| {
            let parse = |format: &&str| DateTime::parse_from_str(zoned, format).ok();
            ZONED_FORMATS.iter().find_map(parse).map(|instant| instant.to_utc())
        })
        .or_else(|| {
            let day = NaiveDate::parse_from_str(text, "%Y/%m/%d")
                .or_else(|_| NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d"));
            Some(day.ok()?.and_hms_opt(0, 0, 0)?.and_utc())
        })?;
    Some(EventTime::from_micros(instant.timestamp_micros()))
}

/// Returns the instant that lies `number` seconds, milliseconds, microseconds
/// or nanoseconds from the epoch, whichever its size tells; `None` for numbers
/// below 10⁸ (before March 1973), which are hardly ever times.
pub fn parse_epoch(number: i64) -> Option<EventTime> {
    let micros = match number.unsigned_abs() {
        0..100_000_000 => return None,
        100_000_000..100_000_000_000 => number.checked_mul(1_000_000)?,
        100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000)?,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number.div_euclid(1_000),
    };
    Some(EventTime::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_written_in_many_ways() {
        let expected = Some(EventTime::from_millis(1_722_506_400_000));
        for text in [
            "2024-08-01T10:00:00Z",
            "2024-08-01T10:00Z",
            " 2024-08-01 10:00 ",
            "2024/08/01 10:00",
            "2024-08-01T12:00:00+02:00",
            "2024-08-01 12:00+0200",
            "1722506400",
            "1722506400000",
            "1722506400000000",
            "1722506400000000000",
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        assert_eq!(parse_time("2024-08"), parse_time("2024-08-01T00:00:00Z"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for text in ["2024", "20240801", "01/08/2024 10:00", "10:00", "", "yesterday", "2024-13-01"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
