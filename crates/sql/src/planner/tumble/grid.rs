//! Size, offset, time zone and calendar of a window: the grid they make.

use sqlparser::ast::{Expr, Value};
use sqlparser::tokenizer::Span;
use tidecast_stream::grid::Tz;
use tidecast_stream::{MonthDay, Period, TimeGrid};

use super::{SpanOr, interval_span};
use crate::dialect::duration::{Length, format_micros, interval_length};
use crate::error::{Problem, did_you_mean};

const DAY_MICROS: i64 = 86_400_000_000;

/// What a call of `TUMBLE` says of its windows.
pub(super) struct Windows<'a> {
    pub(super) size: &'a Expr,
    pub(super) offset: Option<&'a Expr>,
    pub(super) zone: Option<&'a Expr>,
    pub(super) calendar: Option<&'a Expr>,
    pub(super) place: Span,
}

impl Windows<'_> {
    /// Returns the grid whose cells are the windows.
    pub(super) fn grid(&self) -> Result<TimeGrid, Problem> {
        let zone = self.zone.map(|zone| self.zone(zone)).transpose()?;
        let period = self.period(zone.is_some())?;
        let offset = match self.offset {
            Some(offset) => self.length(offset)?,
            None => Length::default(),
        };
        let zone = zone.unwrap_or(Tz::UTC);
        let is_possible = match period {
            Period::Fixed(size) => {
                offset.months == 0 && offset.micros.unsigned_abs() < size.unsigned_abs()
            }
            Period::Days(_) => offset.months == 0 && offset.micros.abs() < period.typical_micros(),
            Period::BusinessDays => offset.months == 0 && (0..DAY_MICROS).contains(&offset.micros),
            Period::Months(count) => {
                (0..i64::from(count)).contains(&offset.months)
                    && offset.micros.abs() < 31 * DAY_MICROS
            }
        };
        if !is_possible || offset.micros % 1_000 != 0 {
            let span = self.offset.map_or(self.place, |offset| interval_span(offset, self.place));
            return Err(Problem::new(
                span,
                format!(
                    "an offset of {offset} is not possible, expected whole milliseconds and less \
                     than the window's {period}"
                ),
            ));
        }
        let grid = TimeGrid::new(period, offset.micros, zone);
        Ok(match period {
            Period::Months(_) => {
                let phase = u32::try_from(offset.months).unwrap_or(0);
                let day: MonthDay = grid.month_anchor().1;
                TimeGrid::months(period, phase, day, offset.micros, zone)
            }
            _ => grid,
        })
    }

    fn period(&self, has_zone: bool) -> Result<Period, Problem> {
        let span = interval_span(self.size, self.place);
        let length = self.length(self.size)?;
        let refuse = |what: String| Err(Problem::new(span, what));
        if let Some(calendar) = self.calendar {
            return match text(calendar).as_deref() {
                Some("business") if length == (Length { months: 0, micros: DAY_MICROS }) => {
                    Ok(Period::BusinessDays)
                }
                Some("business") => refuse(format!(
                    "a window of {length} is not possible with the business calendar, expected \
                     INTERVAL '1' DAY"
                )),
                _ => Err(Problem::new(
                    sqlparser::ast::Spanned::span(calendar).or(self.place),
                    format!("argument `calendar` of TUMBLE is `{calendar}`, expected 'business'"),
                )),
            };
        }
        match length {
            Length { months: 0, micros } if micros > 0 && micros % 1_000 == 0 => {
                match (has_zone, micros % DAY_MICROS, u32::try_from(micros / DAY_MICROS)) {
                    (true, 0, Ok(days)) => Ok(Period::Days(days)),
                    (true, ..) => refuse(format!(
                        "windows of {length} are the same in every time zone, expected days, weeks \
                         or months, or no timezone"
                    )),
                    _ => Ok(Period::Fixed(micros)),
                }
            }
            Length { months, micros: 0 } if months > 0 => match u32::try_from(months) {
                Ok(months) => Ok(Period::Months(months)),
                Err(_) => refuse(format!("a window of {length} is too long")),
            },
            Length { months: 0, micros } => refuse(format!(
                "a window of {} is not possible, expected a whole number of milliseconds above zero",
                format_micros(micros)
            )),
            length => refuse(format!(
                "a window of {length} is not possible, expected months or days, not both, above zero"
            )),
        }
    }

    fn length(&self, interval: &Expr) -> Result<Length, Problem> {
        let span = interval_span(interval, self.place);
        interval_length(interval).map_err(|error| Problem::new(span, error.to_string()))
    }

    fn zone(&self, expression: &Expr) -> Result<Tz, Problem> {
        let span = sqlparser::ast::Spanned::span(expression).or(self.place);
        let Some(name) = text(expression) else {
            return Err(Problem::new(
                span,
                format!("`{expression}` names no time zone, expected for instance 'Europe/Berlin'"),
            ));
        };
        tidecast_stream::grid::zone(&name).ok_or_else(|| {
            let known = tidecast_stream::grid::zone_names();
            Problem::new(
                span,
                format!(
                    "unknown time zone `{name}`, expected a name such as 'Europe/Berlin'{}",
                    did_you_mean(&name, known)
                ),
            )
        })
    }
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}
