//! One column: values as the file has them into values of the table's type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, Int64Array, Int64Builder,
    PrimitiveArray, StringArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options, nullif};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit};

use tidecast_formats::time::{TimeProblem, TimeRule};
use tidecast_formats::{is_missing, uuid_text};
use tidecast_stream::EventTime;
use tidecast_stream::column_type::sql_name;

use super::{ColumnRule, shown};
use crate::error::FileError;
use crate::numbers::NumberStyle;

/// A column of the table, and which of its rows are no values of it.
pub(super) struct Converted {
    pub(super) array: ArrayRef,
    pub(super) problems: Vec<(usize, String)>,
}

impl Converted {
    fn new(array: ArrayRef) -> Self {
        Self { array, problems: Vec::new() }
    }
}

/// Casts one column to its field's type.
pub(super) fn convert(
    column: &ArrayRef,
    field: &Field,
    rule: ColumnRule,
) -> Result<Converted, FileError> {
    let column = unpacked(column)?;
    let wanted = field.data_type();
    let mut converted = match (column.data_type(), wanted) {
        (found, wanted) if found == wanted && !wanted.is_floating() => Converted::new(column),
        (DataType::Utf8, DataType::Float64) => {
            floats_of_text(column.as_string(), field, rule.numbers)
        }
        (DataType::Utf8, DataType::Timestamp(..)) => {
            times_of_text(column.as_string(), field, rule.times)?
        }
        (DataType::Utf8, number) if number.is_numeric() => {
            numbers_of_text(column.as_string(), field, rule.numbers)?
        }
        (DataType::Utf8, wanted) if !is_text(wanted) => {
            let tidied: StringArray = column
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(str::trim).filter(|text| !is_missing(text)))
                .collect();
            casted(&(Arc::new(tidied) as ArrayRef), field)?
        }
        (found, DataType::Timestamp(..)) if found.is_numeric() => {
            times_of_numbers(&column, field, rule.times)?
        }
        (DataType::FixedSizeBinary(16), wanted) if is_text(wanted) => {
            let texts: StringArray =
                column.as_fixed_size_binary().iter().map(|bytes| bytes.map(uuid_text)).collect();
            casted(&(Arc::new(texts) as ArrayRef), field)?
        }
        (DataType::Timestamp(unit, Some(_)), wanted) if is_text(wanted) => {
            // Arrow knows no named zones; the instant is what counts.
            let utc = cast(&column, &DataType::Timestamp(*unit, Some("+00:00".into())))?;
            casted(&utc, field)?
        }
        _ => casted(&column, field)?,
    };
    if wanted.is_floating() {
        converted.array =
            missing_where_not_finite(&converted.array, field, &mut converted.problems)?;
    }
    if !field.is_nullable() && converted.array.null_count() > 0 {
        let array = &converted.array;
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            converted
                .problems
                .push((row, format!("`{}` is missing, and it is NOT NULL", field.name())));
        }
    }
    Ok(converted)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

/// Returns dictionaries as their values, and texts of all kinds as plain ones.
pub(crate) fn unpacked(column: &ArrayRef) -> Result<ArrayRef, FileError> {
    let column = match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values)?,
        _ => column.clone(),
    };
    Ok(match column.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => cast(&column, &DataType::Utf8)?,
        _ => column,
    })
}

fn not_a_value(value: &str, field: &Field) -> String {
    let value = shown(value.trim());
    let name = field.name();
    let wanted = sql_name(field.data_type());
    let has_sign = |signs: &[char]| value.contains(signs);
    let hint = if !field.data_type().is_numeric() {
        ""
    } else if has_sign(&['€', '$', '£', '¥', '₹']) {
        ": it has a currency sign"
    } else if has_sign(&['%']) {
        ": it has a per cent sign"
    } else {
        ""
    };
    format!("`{value}` in column `{name}` is no {wanted}{hint}")
}

fn not_finite(value: &str, field: &Field) -> String {
    format!("`{}` in column `{}` is not finite", shown(value.trim()), field.name())
}

/// In files NaN says "missing"; an infinity is an error of whoever wrote it.
fn floats_of_text(texts: &StringArray, field: &Field, style: NumberStyle) -> Converted {
    let mut numbers = Float64Builder::with_capacity(texts.len());
    let mut problems = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            numbers.append_null();
            continue;
        };
        match style.number(text) {
            Some(number) if number.is_finite() => {
                numbers.append_value(number);
                continue;
            }
            Some(number) if number.is_nan() => {}
            Some(_) => problems.push((row, not_finite(text, field))),
            None if is_missing(text) => {}
            None => problems.push((row, not_a_value(text, field))),
        }
        numbers.append_null();
    }
    Converted { array: Arc::new(numbers.finish()), problems }
}

/// Numbers of other types than DOUBLE.
fn numbers_of_text(
    texts: &StringArray,
    field: &Field,
    style: NumberStyle,
) -> Result<Converted, FileError> {
    if field.data_type().is_integer() {
        return integers_of_text(texts, field, style);
    }
    let plain: StringArray = texts
        .iter()
        .map(|text| {
            let text = text.filter(|text| !is_missing(text))?;
            // What is not in the style stays as it is, to be named.
            let plain = if style.is_plain() { None } else { style.plain(text) };
            Some(plain.unwrap_or_else(|| text.trim().to_owned()))
        })
        .collect();
    casted(&(Arc::new(plain) as ArrayRef), field)
}

fn integers_of_text(
    texts: &StringArray,
    field: &Field,
    style: NumberStyle,
) -> Result<Converted, FileError> {
    let mut numbers = Int64Builder::with_capacity(texts.len());
    let mut problems = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let number = text.and_then(|text| whole(text, style));
        if let (None, Some(text)) = (number, text)
            && !is_missing(text)
        {
            problems.push((row, not_a_value(text, field)));
        }
        numbers.append_option(number);
    }
    let narrow = casted(&(Arc::new(numbers.finish()) as ArrayRef), field)?;
    problems.extend(narrow.problems);
    Ok(Converted { array: narrow.array, problems })
}

/// `7`, and `7.0`, which is whole, too.
fn whole(text: &str, style: NumberStyle) -> Option<i64> {
    if let Ok(number) = text.trim().parse() {
        return Some(number);
    }
    let plain = style.plain(text)?;
    let (digits, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    if !fraction.bytes().all(|byte| byte == b'0') {
        return None;
    }
    digits.parse().ok()
}

fn times_of_text(
    texts: &StringArray,
    field: &Field,
    rule: TimeRule,
) -> Result<Converted, FileError> {
    times(texts.iter(), field, |text| match rule.parse(text) {
        Ok(time) => Ok(Some(time)),
        Err(_) if is_missing(text) => Ok(None),
        Err(problem) => Err(problem),
    })
}

fn times_of_numbers(
    column: &ArrayRef,
    field: &Field,
    rule: TimeRule,
) -> Result<Converted, FileError> {
    match column.data_type() {
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::UInt64 => {
            let texts = cast(column, &DataType::Utf8)?;
            times_of_text(texts.as_string(), field, rule)
        }
        found if found.is_floating() => {
            let numbers = cast(column, &DataType::Float64)?;
            let numbers: &Float64Array = numbers.as_primitive::<Float64Type>();
            times(numbers.iter(), field, |number| {
                if number.is_nan() { Ok(None) } else { rule.of_float(number).map(Some) }
            })
        }
        _ => {
            let numbers = cast(column, &DataType::Int64)?;
            let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
            times(numbers.iter(), field, |number| rule.of_number(number).map(Some))
        }
    }
}

/// Reads each value as a time; `Ok(None)` is a missing one.
fn times<T>(
    values: impl ExactSizeIterator<Item = Option<T>>,
    field: &Field,
    read: impl Fn(T) -> Result<Option<EventTime>, TimeProblem>,
) -> Result<Converted, FileError> {
    let DataType::Timestamp(unit, zone) = field.data_type() else {
        return Err(FileError::Arrow(arrow::error::ArrowError::CastError(format!(
            "`{}` is no column of times",
            field.name()
        ))));
    };
    let mut moments = Int64Builder::with_capacity(values.len());
    let mut problems = Vec::new();
    for (row, value) in values.enumerate() {
        let Some(value) = value else {
            moments.append_null();
            continue;
        };
        let time = read(value).unwrap_or_else(|problem| {
            problems.push((row, format!("column `{}`: {problem}", field.name())));
            None
        });
        let moment = time.and_then(|time| in_unit(time.as_micros(), *unit));
        if let (Some(_), None) = (time, moment) {
            let reason =
                format!("column `{}`: the time is out of the range of its type", field.name());
            problems.push((row, reason));
        }
        moments.append_option(moment);
    }
    let moments = moments.finish();
    let (_, values, nulls) = moments.into_parts();
    let array: ArrayRef = match unit {
        TimeUnit::Second => Arc::new(
            PrimitiveArray::<arrow::datatypes::TimestampSecondType>::new(values, nulls)
                .with_timezone_opt(zone.clone()),
        ),
        TimeUnit::Millisecond => Arc::new(
            PrimitiveArray::<arrow::datatypes::TimestampMillisecondType>::new(values, nulls)
                .with_timezone_opt(zone.clone()),
        ),
        TimeUnit::Microsecond => Arc::new(
            PrimitiveArray::<arrow::datatypes::TimestampMicrosecondType>::new(values, nulls)
                .with_timezone_opt(zone.clone()),
        ),
        TimeUnit::Nanosecond => Arc::new(
            PrimitiveArray::<arrow::datatypes::TimestampNanosecondType>::new(values, nulls)
                .with_timezone_opt(zone.clone()),
        ),
    };
    Ok(Converted { array, problems })
}

fn in_unit(micros: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(micros.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Some(micros.div_euclid(1_000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000),
    }
}

/// What Arrow casts; a value that does not survive it is named.
fn casted(column: &ArrayRef, field: &Field) -> Result<Converted, FileError> {
    let wanted = field.data_type();
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let array = cast_with_options(column, wanted, &options)?;
    let mut converted = Converted::new(array);
    let lost = |row: &usize| converted.array.is_null(*row) && column.is_valid(*row);
    let mut bad: Vec<usize> = Vec::new();
    if converted.array.null_count() > column.null_count() {
        bad.extend((0..column.len()).filter(lost));
    }
    let has_fractions = !column.data_type().is_integer() && column.data_type().is_numeric();
    if wanted.is_integer() && has_fractions {
        // Arrow cuts fractions off.
        let back = cast_with_options(&converted.array, column.data_type(), &options)?;
        let is_same = arrow::compute::kernels::cmp::not_distinct(&back, column)?;
        let is_nan = |row: usize| {
            column.data_type().is_floating() && {
                let wide = cast(&column.slice(row, 1), &DataType::Float64).ok();
                wide.is_some_and(|wide| wide.as_primitive::<Float64Type>().value(0).is_nan())
            }
        };
        let changed = (0..column.len()).filter(|row| !is_same.value(*row));
        bad = changed.filter(|row| !is_nan(*row)).collect();
    }
    if !bad.is_empty() {
        let texts = cast(column, &DataType::Utf8).ok();
        for row in bad {
            let text = texts.as_ref().map(|texts| texts.as_string::<i32>());
            let value = text.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
            converted.problems.push((row, not_a_value(value.unwrap_or("value"), field)));
        }
    }
    Ok(converted)
}

fn missing_where_not_finite(
    array: &ArrayRef,
    field: &Field,
    problems: &mut Vec<(usize, String)>,
) -> Result<ArrayRef, FileError> {
    let wide = cast(array, &DataType::Float64)?;
    let values: &Float64Array = wide.as_primitive();
    if values.iter().flatten().all(f64::is_finite) {
        return Ok(array.clone());
    }
    for (row, value) in values.iter().enumerate() {
        if let Some(value) = value.filter(|value| value.is_infinite()) {
            problems.push((row, not_finite(&value.to_string(), field)));
        }
    }
    let is_nan: BooleanArray =
        values.iter().map(|value| Some(value.is_some_and(f64::is_nan))).collect();
    Ok(nullif(array, &is_nan)?)
}
