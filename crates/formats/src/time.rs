//! Times as people and programs write them.
//!
//! | written | meaning |
//! |---------|---------|
//! | `2024-08-01T10:00:00Z`, `2024-08-01 10:00:00.5+02:00`, `2024-08-01 10:00 UTC` | that instant |
//! | `2024-08-01 10:00:00`, `2024-08-01T10:00`, `2024-08-01T10`, `2024/08/01 10:00`, `20240801T100000` | UTC |
//! | `2024-08-01 24:00` | the midnight that ends the day |
//! | `2024-08-01`, `2024/08/01`, `2024-08`, `2024-Q3`, `2024Q3`, `2024-W31`, `2024-W31-4` | its first moment, UTC |
//! | a number: `1722470400`, `1722470400.25`, `1722470400,25`, `1.7224704e9`, as text or not | since 1970, in the rule's unit |
//! | `20240801`, `202408`, `1999`, `2024080110`, … in a column that has only such | that date |
//!
//! Where nobody said the unit, a number is in the coarsest of seconds,
//! milliseconds, microseconds and nanoseconds in which it lies before
//! 2262-04-11, where 64-bit nanoseconds end. One value on its own must also lie
//! far enough from 1970 to tell; of a column the largest number decides for all
//! ([`TimeRule::infer`]). Day-first and month-first dates cannot be told apart
//! and are refused. Digits below a microsecond round down.

mod column;
mod number;
mod text;

use std::fmt;

use tidecast_stream::{EpochUnit, EventTime};

pub use self::column::{AbsurdTimes, CompactDates};
pub(crate) use self::number::Decimal;

/// Smaller numbers of unknown unit are no times: in seconds it is March 1973,
/// in anything finer the first day and a half of 1970.
const LEAST_UNSAID: u64 = 100_000_000;

/// One year: a number that its size puts nearer to 1970 was meant otherwise.
const YEAR_MICROS: i64 = 365 * 86_400_000_000;

/// The longest piece of a value that a message repeats.
const MAX_QUOTE: usize = 60;

/// What the numbers of a time column mean. Decided for the column (by who wrote
/// the table, or [`TimeRule::infer`]); the default judges each value by its size,
/// which is all that can be done on a topic, whose first record must not decide
/// about the others.
///
/// ```
/// use tidecast_formats::time::TimeRule;
/// use tidecast_stream::{EpochUnit, EventTime};
/// let rule = TimeRule::default();
/// let expected = Ok(EventTime::from_millis(1_722_470_400_000));
/// for text in ["2024-08-01 02:00+02:00", "2024-07-31 24:00", "1722470400", "1722470400000.0"] {
///     assert_eq!(rule.parse(text), expected, "{text}");
/// }
/// assert!(rule.parse("01/08/2024").is_err());
/// assert!(rule.parse("7200").is_err());
/// let hours = TimeRule::in_unit(EpochUnit::Seconds).parse("7200");
/// assert_eq!(hours, Ok(EventTime::from_millis(7_200_000)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRule {
    /// The unit of numbers; `None`: told by each number's size.
    pub unit: Option<EpochUnit>,
    /// How the column's numbers spell dates, if that is what they do.
    pub compact: Option<CompactDates>,
}

impl TimeRule {
    /// Returns the rule by which all numbers are in `unit`.
    pub const fn in_unit(unit: EpochUnit) -> Self {
        Self { unit: Some(unit), compact: None }
    }

    /// Returns the instant of a text in the form that nearly all programs write,
    /// `2024-08-01T10:00:00Z` with or without fraction and `Z`, for which no rule
    /// is needed; `None` for others.
    #[inline]
    pub(crate) fn common(text: &str) -> Option<EventTime> {
        text::common(text.as_bytes()).map(EventTime::from_micros)
    }

    /// Returns the instant that `text` names: text of a CSV field or of a JSON
    /// string, or the digits of a JSON number.
    ///
    /// # Errors
    /// If it names none, or one that microseconds in 64 bits cannot hold.
    pub fn parse(&self, text: &str) -> Result<EventTime, TimeProblem> {
        if let Some(micros) = text::common(text.as_bytes()) {
            return Ok(EventTime::from_micros(micros));
        }
        let trimmed = text.trim();
        // Most numbers are a few digits: no need for decimals there.
        if self.compact.is_none()
            && let Some(number) = number::whole(trimmed)
        {
            return self.of_number(number);
        }
        if let Some(decimal) = Decimal::parse(trimmed) {
            return self.of_decimal(&decimal, || trimmed.to_owned());
        }
        text::parse(trimmed)
            .map(EventTime::from_micros)
            .map_err(|reason| TimeProblem::new(trimmed, reason))
    }

    /// Returns the instant that lies `number` units from 1970, or that its digits
    /// spell.
    ///
    /// # Errors
    /// As for [`TimeRule::parse`].
    #[inline]
    pub fn of_number(&self, number: i64) -> Result<EventTime, TimeProblem> {
        if self.compact.is_some() {
            return self.of_decimal(&Decimal::from(number), || number.to_string());
        }
        let problem = |reason| TimeProblem::new(&number.to_string(), reason);
        let unit = match self.unit {
            Some(unit) => unit,
            None if number.unsigned_abs() < LEAST_UNSAID => return Err(problem(Reason::TooSmall)),
            None => unit_of_whole(number),
        };
        let micros = match unit {
            EpochUnit::Seconds => number.checked_mul(1_000_000),
            EpochUnit::Milliseconds => number.checked_mul(1_000),
            EpochUnit::Microseconds => Some(number),
            EpochUnit::Nanoseconds => Some(number.div_euclid(1_000)),
        };
        match micros {
            Some(micros) if self.unit.is_none() && micros.unsigned_abs() < YEAR_MICROS as u64 => {
                Err(problem(Reason::BetweenUnits(unit)))
            }
            Some(micros) => Ok(EventTime::from_micros(micros)),
            None => Err(problem(Reason::OutOfRange(Some(unit)))),
        }
    }

    /// Returns the instant of a number that may have a fraction.
    ///
    /// # Errors
    /// As for [`TimeRule::parse`]; also if it is not finite.
    pub fn of_float(&self, number: f64) -> Result<EventTime, TimeProblem> {
        if let Some(whole) = number::exact(number) {
            return self.of_number(whole);
        }
        // The shortest digits that are this float are what was meant: 0.1 is a
        // tenth, not a tenth and a bit.
        let text = format!("{number:e}");
        match Decimal::parse(&text) {
            Some(decimal) => self.of_decimal(&decimal, || number.to_string()),
            None => Err(TimeProblem::new(&number.to_string(), Reason::NotFinite)),
        }
    }

    fn of_decimal(
        &self,
        decimal: &Decimal,
        written: impl Fn() -> String,
    ) -> Result<EventTime, TimeProblem> {
        let problem = |reason| TimeProblem::new(&written(), reason);
        if let Some(compact) = self.compact {
            let whole = decimal.whole().and_then(|number| i64::try_from(number).ok());
            let micros = whole.and_then(|number| compact.micros(number));
            return match micros {
                Some(micros) => Ok(EventTime::from_micros(micros)),
                None => Err(problem(Reason::NotCompact(compact))),
            };
        }
        let magnitude = decimal.magnitude();
        let unit = match self.unit {
            Some(unit) => unit,
            None if magnitude < LEAST_UNSAID as f64 => return Err(problem(Reason::TooSmall)),
            None => unit_by_size(magnitude),
        };
        match decimal.micros(unit) {
            Some(micros) if self.unit.is_none() && micros.unsigned_abs() < YEAR_MICROS as u64 => {
                Err(problem(Reason::BetweenUnits(unit)))
            }
            Some(micros) => Ok(EventTime::from_micros(micros)),
            None => Err(problem(Reason::OutOfRange(Some(unit)))),
        }
    }
}

/// Returns the coarsest unit in which a number as large as `number` lies before
/// the end of 64-bit nanoseconds; for numbers beyond it in all, nanoseconds.
fn unit_by_size(number: f64) -> EpochUnit {
    let lies_before = |unit: &EpochUnit| number.abs() < unit_end(*unit);
    EpochUnit::ALL.into_iter().find(lies_before).unwrap_or(EpochUnit::Nanoseconds)
}

/// [`unit_by_size`] of a whole number.
#[inline]
fn unit_of_whole(number: i64) -> EpochUnit {
    match number.unsigned_abs() {
        0..9_223_372_036 => EpochUnit::Seconds,
        9_223_372_036..9_223_372_036_000 => EpochUnit::Milliseconds,
        9_223_372_036_000..9_223_372_036_000_000 => EpochUnit::Microseconds,
        _ => EpochUnit::Nanoseconds,
    }
}

/// The end of 64-bit nanoseconds, 2262-04-11T23:47:16Z, in `unit`.
fn unit_end(unit: EpochUnit) -> f64 {
    9_223_372_036.0 * unit.per_second() as f64
}

/// Why a value is no time, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeProblem {
    /// The value as written, shortened, without control characters.
    value: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    TooSmall,
    BetweenUnits(EpochUnit),
    OutOfRange(Option<EpochUnit>),
    NotFinite,
    NotCompact(CompactDates),
    DayOrMonthFirst,
    NoDate,
    NoSuchDate,
    NoSuchTime,
    Unknown,
}

impl TimeProblem {
    fn new(value: &str, reason: Reason) -> Self {
        let mut shown: String = value.chars().take(MAX_QUOTE).flat_map(shown).collect();
        if value.chars().nth(MAX_QUOTE).is_some() {
            shown.push('…');
        }
        Self { value: shown, reason }
    }
}

/// A character as a message shows it.
fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

impl fmt::Display for TimeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = &self.value;
        const SAY: &str = "say the unit: `'timestamp.unit' = 's'`, `'ms'`, `'us'` or `'ns'`";
        match self.reason {
            Reason::Empty => write!(f, "no time is written; expected {EXAMPLE}"),
            Reason::TooSmall => write!(
                f,
                "`{value}` is too small a number to tell its unit, expected at least \
                 {LEAST_UNSAID} (March 1973 in seconds since 1970); {SAY}"
            ),
            Reason::BetweenUnits(unit) => write!(
                f,
                "`{value}` would be {} since 1970 by its size and lie within a year of it, which \
                 is hardly meant; {SAY}",
                unit.name()
            ),
            Reason::OutOfRange(unit) => {
                write!(f, "`{value}`")?;
                if let Some(unit) = unit {
                    write!(f, " in {} since 1970", unit.name())?;
                }
                write!(f, " lies outside the years that can be told apart (±292,000)")
            }
            Reason::NotFinite => write!(f, "`{value}` is no finite number, expected {EXAMPLE}"),
            Reason::NotCompact(compact) => write!(
                f,
                "`{value}` is no date written {}, as the column's others are",
                compact.pattern()
            ),
            Reason::DayOrMonthFirst => write!(
                f,
                "`{value}` has the day or the month in front, which cannot be told apart; \
                 expected the year first, e.g. `2024-08-01T10:00:00Z`"
            ),
            Reason::NoDate => {
                write!(f, "`{value}` is a time of day without a date; expected {EXAMPLE}")
            }
            Reason::NoSuchDate => write!(f, "`{value}` names a day that no calendar has"),
            Reason::NoSuchTime => write!(
                f,
                "`{value}` names a time that no day has; expected 00:00 to 24:00 and an offset \
                 below 24 hours"
            ),
            Reason::Unknown => write!(f, "`{value}` is no time; expected {EXAMPLE}"),
        }
    }
}

const EXAMPLE: &str = "e.g. `2024-08-01T10:00:00Z` or a number since 1970";

impl std::error::Error for TimeProblem {}

#[cfg(test)]
mod tests;
