//! A value of a record as its format has it, before it is one of a column.

use std::borrow::Cow;

use tidecast_stream::EventTime;

/// A value as it is written, or as a binary format types it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// A text: of JSON what stands between the quotes, and whether it has escapes.
    Text(&'a str, bool),
    /// The characters of a number.
    Number(&'a str),
    Truth(bool),
    Null,
    /// A bare `NaN`.
    NotANumber,
    /// `Infinity` or `-Infinity`, bare.
    Infinite(&'a str),
    /// An object or a list, as it is written.
    Nested(&'a str),
    Whole(i64),
    /// A whole number that may be too large for the one above.
    Unsigned(u64),
    Real(f64),
    Single(f32),
    /// An instant that its format says to be one.
    Time(EventTime),
    /// Days since 1970 that their format says to be a date.
    Date(i32),
    Bytes(&'a [u8]),
    /// What no column takes, in words.
    Other(&'static str),
}

impl<'a> Value<'a> {
    /// Returns the value as JSON would have it.
    pub(crate) fn written(self) -> Cow<'a, str> {
        match self {
            Self::Text(text, _) => format!("\"{text}\"").into(),
            Self::Number(text) | Self::Infinite(text) | Self::Nested(text) => text.into(),
            Self::Truth(true) => "true".into(),
            Self::Truth(false) => "false".into(),
            Self::Null => "null".into(),
            Self::NotANumber => "NaN".into(),
            Self::Whole(number) => number.to_string().into(),
            Self::Unsigned(number) => number.to_string().into(),
            Self::Real(number) => number.to_string().into(),
            Self::Single(number) => number.to_string().into(),
            Self::Time(time) => time.to_string().into(),
            Self::Date(days) => date(days).into(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
            Self::Other(what) => what.into(),
        }
    }

    /// Returns it with numbers that are none, or not finite, told apart as JSON does.
    pub(crate) fn told_apart(self) -> Self {
        let number = match self {
            Self::Real(number) => number,
            Self::Single(number) => f64::from(number),
            _ => return self,
        };
        match number {
            number if number.is_nan() => Self::NotANumber,
            f64::INFINITY => Self::Infinite("Infinity"),
            f64::NEG_INFINITY => Self::Infinite("-Infinity"),
            _ => self,
        }
    }
}

/// Returns the date so many days after 1970 began, as it is written.
fn date(days: i32) -> String {
    let epoch = chrono::NaiveDate::default();
    let date = epoch.checked_add_signed(chrono::TimeDelta::days(days.into()));
    date.map_or_else(|| format!("{days} days since 1970"), |date| date.to_string())
}
