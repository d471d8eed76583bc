//! From values as they are written to a column of one type.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::builder::{
    BooleanBuilder, GenericStringBuilder, PrimitiveBuilder, StringViewBuilder,
};
use arrow::array::{ArrayRef, ArrowPrimitiveType, OffsetSizeTrait};
use arrow::compute::kernels::cast_utils::{Parser, parse_decimal};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DecimalType, Field,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use tidecast_stream::EventTime;

use crate::explain::{quote, unfit};
use crate::is_missing;
use crate::json::scan::unescape;
use crate::time::{Decimal, TimeRule};
use crate::value::Value;

const DAY_MICROS: i64 = 86_400_000_000;

/// A column under way. After an error it has not grown.
pub(crate) trait Column: Send {
    /// Appends a value; the error says what was expected.
    fn push(&mut self, value: Value<'_>) -> Result<(), Unfit>;
    fn push_null(&mut self);
    /// Returns the column and begins anew.
    fn finish(&mut self) -> ArrayRef;
}

/// Why a value is none of its column.
pub(crate) enum Unfit {
    /// Nothing there, where the table says NOT NULL.
    Missing,
    /// Of another kind.
    Kind,
    /// For a reason of its own.
    Because(String),
}

impl Unfit {
    pub(crate) fn explain(self, field: &Field, value: Value<'_>) -> String {
        let name = field.name();
        match self {
            Self::Missing => format!("column `{name}` is NOT NULL but missing or null"),
            Self::Kind => unfit(name, field.data_type(), value),
            Self::Because(reason) => format!("column `{name}`: {reason}"),
        }
    }
}

/// Returns the builder of `field`'s column; `None` if no record can fill one of its type.
pub(crate) fn column(field: &Field, capacity: usize, rule: TimeRule) -> Option<Box<dyn Column>> {
    macro_rules! numbers {
        ($kind:ty, $read:expr) => {
            Box::new(Primitive {
                builder: PrimitiveBuilder::<$kind>::with_capacity(capacity)
                    .with_data_type(field.data_type().clone()),
                read: $read,
                is_nullable: field.is_nullable(),
            })
        };
    }
    macro_rules! times {
        ($kind:ty, $unit:expr) => {
            numbers!($kind, move |value: Value<'_>| in_unit(time(value, &rule)?, $unit))
        };
    }
    let is_nullable = field.is_nullable();
    Some(match field.data_type() {
        DataType::Boolean => {
            Box::new(Truths { builder: BooleanBuilder::with_capacity(capacity), is_nullable })
        }
        DataType::Utf8 => Box::new(Texts::<i32>::new(capacity, is_nullable)),
        DataType::LargeUtf8 => Box::new(Texts::<i64>::new(capacity, is_nullable)),
        DataType::Utf8View => {
            Box::new(Views { builder: StringViewBuilder::with_capacity(capacity), is_nullable })
        }
        DataType::Int8 => numbers!(Int8Type, whole::<i8>),
        DataType::Int16 => numbers!(Int16Type, whole::<i16>),
        DataType::Int32 => numbers!(Int32Type, whole::<i32>),
        DataType::Int64 => numbers!(Int64Type, whole::<i64>),
        DataType::UInt8 => numbers!(UInt8Type, whole::<u8>),
        DataType::UInt16 => numbers!(UInt16Type, whole::<u16>),
        DataType::UInt32 => numbers!(UInt32Type, whole::<u32>),
        DataType::UInt64 => numbers!(UInt64Type, whole::<u64>),
        DataType::Float32 => numbers!(Float32Type, float32),
        DataType::Float64 => numbers!(Float64Type, float64),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            numbers!(Decimal128Type, move |value: Value<'_>| decimal::<Decimal128Type>(
                value, precision, scale
            ))
        }
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            numbers!(Decimal256Type, move |value: Value<'_>| decimal::<Decimal256Type>(
                value, precision, scale
            ))
        }
        DataType::Date32 => numbers!(Date32Type, move |value: Value<'_>| {
            let days = days(value, &rule)?;
            days.map(|days| i32::try_from(days).map_err(|_| Unfit::Kind)).transpose()
        }),
        DataType::Date64 => numbers!(Date64Type, move |value: Value<'_>| {
            Ok(days(value, &rule)?.map(|days| days.saturating_mul(DAY_MICROS / 1_000)))
        }),
        DataType::Timestamp(TimeUnit::Second, _) => times!(TimestampSecondType, TimeUnit::Second),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            times!(TimestampMillisecondType, TimeUnit::Millisecond)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            times!(TimestampMicrosecondType, TimeUnit::Microsecond)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            times!(TimestampNanosecondType, TimeUnit::Nanosecond)
        }
        _ => return None,
    })
}

/// What a value is: `None` where it is missing.
type Read<T> = Result<Option<T>, Unfit>;

struct Primitive<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    read: F,
    is_nullable: bool,
}

impl<T, F> Column for Primitive<T, F>
where
    T: ArrowPrimitiveType,
    F: FnMut(Value<'_>) -> Read<T::Native> + Send,
{
    #[inline]
    fn push(&mut self, value: Value<'_>) -> Result<(), Unfit> {
        match (self.read)(value)? {
            Some(value) => self.builder.append_value(value),
            None if self.is_nullable => self.builder.append_null(),
            None => return Err(Unfit::Missing),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct Truths {
    builder: BooleanBuilder,
    is_nullable: bool,
}

impl Column for Truths {
    fn push(&mut self, value: Value<'_>) -> Result<(), Unfit> {
        match truth(value)? {
            Some(value) => self.builder.append_value(value),
            None if self.is_nullable => self.builder.append_null(),
            None => return Err(Unfit::Missing),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct Texts<O: OffsetSizeTrait> {
    builder: GenericStringBuilder<O>,
    is_nullable: bool,
}

impl<O: OffsetSizeTrait> Texts<O> {
    fn new(capacity: usize, is_nullable: bool) -> Self {
        let builder = GenericStringBuilder::with_capacity(capacity, capacity.saturating_mul(8));
        Self { builder, is_nullable }
    }
}

impl<O: OffsetSizeTrait> Column for Texts<O> {
    #[inline]
    fn push(&mut self, value: Value<'_>) -> Result<(), Unfit> {
        match verbatim(value)? {
            Some(text) => self.builder.append_value(text),
            None if self.is_nullable => self.builder.append_null(),
            None => return Err(Unfit::Missing),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct Views {
    builder: StringViewBuilder,
    is_nullable: bool,
}

impl Column for Views {
    fn push(&mut self, value: Value<'_>) -> Result<(), Unfit> {
        match verbatim(value)? {
            Some(text) => self.builder.append_value(text),
            None if self.is_nullable => self.builder.append_null(),
            None => return Err(Unfit::Missing),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Text as it is, and what else is plain by its characters: an id is its text,
/// with every zero that somebody wrote.
fn verbatim<'a>(value: Value<'a>) -> Read<Cow<'a, str>> {
    match value {
        Value::Text(text, false) => Ok(Some(text.into())),
        Value::Text(text, true) => Ok(Some(unescape(text).map_err(Unfit::Because)?.into())),
        Value::Null | Value::NotANumber => Ok(None),
        Value::Nested(_) | Value::Other(_) => Err(Unfit::Kind),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(Unfit::Because("expected a text, got bytes that are not UTF-8".into())),
        },
        plain => Ok(Some(plain.written())),
    }
}

/// The characters of a plain value that is no text: a number's, quoted or not.
/// `None` where they say that nothing is there.
#[inline]
fn plain(value: Value<'_>) -> Read<Cow<'_, str>> {
    match value {
        Value::Number(text) => Ok(Some(text.into())),
        Value::Null | Value::NotANumber => Ok(None),
        Value::Text(text, false) => {
            let text = text.trim();
            Ok((!is_missing(text)).then_some(text.into()))
        }
        Value::Text(text, true) => {
            let text = unescape(text).map_err(Unfit::Because)?;
            let text = text.trim();
            Ok((!is_missing(text)).then(|| text.to_owned().into()))
        }
        Value::Whole(_) | Value::Unsigned(_) | Value::Real(_) | Value::Single(_) => {
            Ok(Some(value.written()))
        }
        Value::Truth(_)
        | Value::Infinite(_)
        | Value::Nested(_)
        | Value::Time(_)
        | Value::Date(_)
        | Value::Bytes(_)
        | Value::Other(_) => Err(Unfit::Kind),
    }
}

fn truth(value: Value<'_>) -> Read<bool> {
    match value {
        Value::Truth(value) => Ok(Some(value)),
        Value::Text(..) => {
            let Some(text) = plain(value)? else { return Ok(None) };
            match text {
                text if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
                text if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
                _ => Err(Unfit::Kind),
            }
        }
        Value::Null | Value::NotANumber => Ok(None),
        _ => Err(Unfit::Kind),
    }
}

fn float64(value: Value<'_>) -> Read<f64> {
    match value {
        Value::Number(_) => float(value, f64::is_finite),
        Value::Real(number) => Ok(Some(number)),
        Value::Single(number) => Ok(Some(number.into())),
        Value::Whole(number) => Ok(Some(number as f64)),
        value => float(value, f64::is_finite),
    }
}

fn float32(value: Value<'_>) -> Read<f32> {
    match value {
        Value::Single(number) => Ok(Some(number)),
        value => float(value, f32::is_finite),
    }
}

#[inline]
fn float<T: std::str::FromStr + Copy>(value: Value<'_>, is_finite: fn(T) -> bool) -> Read<T> {
    if let Value::Infinite(_) = value {
        return Err(not_finite(value));
    }
    let Some(text) = plain(value)? else { return Ok(None) };
    match text.parse::<T>() {
        Ok(value) if is_finite(value) => Ok(Some(value)),
        Ok(_) => Err(not_finite(value)),
        Err(_) => Err(Unfit::Kind),
    }
}

fn not_finite(value: Value<'_>) -> Unfit {
    Unfit::Because(format!("`{}` is not a finite number", quote(value.written().as_bytes())))
}

#[inline]
fn whole<T: std::str::FromStr + TryFrom<i128>>(value: Value<'_>) -> Read<T> {
    if let Value::Whole(number) = value {
        return T::try_from(number.into()).map(Some).map_err(|_| Unfit::Kind);
    }
    let Some(text) = plain(value)? else { return Ok(None) };
    if let Ok(number) = text.parse() {
        return Ok(Some(number));
    }
    // `7.0` and `7e0` are seven; a fraction is none of ours, and not to be cut off.
    let Some(decimal) = Decimal::parse(&text) else { return Err(Unfit::Kind) };
    match decimal.whole() {
        Some(number) => T::try_from(number).map(Some).map_err(|_| Unfit::Kind),
        None if decimal.magnitude() < 1e19 => {
            let got = quote(text.as_bytes());
            Err(Unfit::Because(format!("expected a whole number, got `{got}`")))
        }
        None => Err(Unfit::Kind),
    }
}

fn decimal<T: DecimalType>(value: Value<'_>, precision: u8, scale: i8) -> Read<T::Native> {
    let Some(text) = plain(value)? else { return Ok(None) };
    let is_number = Decimal::parse(&text).is_some() && !text.contains(',');
    let value = parse_decimal::<T>(&text, precision, scale).ok().filter(|_| is_number);
    value.map(Some).ok_or(Unfit::Kind)
}

/// Days since 1970: a number of them, or a date or time as text.
fn days(value: Value<'_>, rule: &TimeRule) -> Read<i64> {
    match value {
        Value::Date(days) => return Ok(Some(days.into())),
        Value::Time(time) => return Ok(Some(time.as_micros().div_euclid(DAY_MICROS))),
        Value::Number(_) | Value::Whole(_) => return whole::<i64>(value),
        _ => {}
    }
    let Some(text) = plain(value)? else { return Ok(None) };
    if let Some(days) = Date32Type::parse(&text) {
        return Ok(Some(days.into()));
    }
    let time = rule.parse(&text).map_err(|problem| Unfit::Because(problem.to_string()))?;
    Ok(Some(time.as_micros().div_euclid(DAY_MICROS)))
}

#[inline]
fn time(value: Value<'_>, rule: &TimeRule) -> Read<EventTime> {
    let problem = |problem: crate::time::TimeProblem| Unfit::Because(problem.to_string());
    match value {
        Value::Text(text, false) => {
            if let Some(time) = TimeRule::common(text) {
                return Ok(Some(time));
            }
        }
        Value::Number(text) => {
            if let Ok(number) = text.parse() {
                return rule.of_number(number).map(Some).map_err(problem);
            }
        }
        Value::Time(time) => return Ok(Some(time)),
        Value::Whole(number) => return rule.of_number(number).map(Some).map_err(problem),
        Value::Real(number) => return rule.of_float(number).map(Some).map_err(problem),
        Value::Date(days) => {
            return Ok(Some(EventTime::from_micros(i64::from(days).saturating_mul(DAY_MICROS))));
        }
        _ => {}
    }
    let Some(text) = plain(value)? else { return Ok(None) };
    rule.parse(&text).map(Some).map_err(problem)
}

fn in_unit(time: Option<EventTime>, unit: TimeUnit) -> Read<i64> {
    let Some(micros) = time.map(EventTime::as_micros) else { return Ok(None) };
    let value = match unit {
        TimeUnit::Second => Some(micros.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Some(micros.div_euclid(1_000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000),
    };
    let out_of_range = || "out of the range of timestamps in nanoseconds (1677 to 2262)".to_owned();
    value.map(Some).ok_or_else(|| Unfit::Because(out_of_range()))
}
