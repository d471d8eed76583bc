//! Types and constants, spelled by us.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};
use datafusion_common::ScalarValue;

/// Returns `name(argument, …)`.
pub(super) fn call(name: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let arguments: Vec<String> = arguments.into_iter().collect();
    format!("{name}({})", arguments.join(", "))
}

/// Returns a name or a text so that it ends where it ends, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\0'..='\x1f' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a type. Layouts that hold the same values are one type: which of them a plan
/// has is DataFusion's choice, and it has changed its mind before.
pub(super) fn data_type(of: &DataType) -> String {
    let plain = match of {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt8 => "uint8",
        DataType::UInt16 => "uint16",
        DataType::UInt32 => "uint32",
        DataType::UInt64 => "uint64",
        DataType::Float16 => "float16",
        DataType::Float32 => "float32",
        DataType::Float64 => "float64",
        DataType::Date32 => "date32",
        DataType::Date64 => "date64",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::Timestamp(unit, None) => return format!("timestamp({})", time_unit(*unit)),
        DataType::Timestamp(unit, Some(zone)) => {
            return format!("timestamp({}, {})", time_unit(*unit), quoted(zone));
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            return format!("time({})", time_unit(*unit));
        }
        DataType::Duration(unit) => return format!("duration({})", time_unit(*unit)),
        DataType::Interval(unit) => {
            let unit = match unit {
                IntervalUnit::YearMonth => "year_month",
                IntervalUnit::DayTime => "day_time",
                IntervalUnit::MonthDayNano => "month_day_nano",
            };
            return format!("interval({unit})");
        }
        DataType::FixedSizeBinary(size) => return format!("fixed_size_binary({size})"),
        DataType::List(field)
        | DataType::ListView(field)
        | DataType::LargeList(field)
        | DataType::LargeListView(field) => return call("list", [data_type(field.data_type())]),
        DataType::FixedSizeList(field, size) => {
            return call("fixed_size_list", [data_type(field.data_type()), size.to_string()]);
        }
        DataType::Struct(fields) => return call("struct", fields.iter().map(field)),
        DataType::Union(fields, _) => {
            return call("union", fields.iter().map(|(id, of)| format!("{id} {}", field(of))));
        }
        DataType::Dictionary(_, values) => return data_type(values),
        DataType::RunEndEncoded(_, values) => return data_type(values.data_type()),
        DataType::Map(entries, _) => return call("map", [data_type(entries.data_type())]),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            return format!("decimal({precision}, {scale})");
        }
    };
    plain.to_owned()
}

fn field(field: &FieldRef) -> String {
    format!("{} {}", quoted(field.name()), data_type(field.data_type()))
}

fn time_unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// Returns a constant: its type and its value.
pub(super) fn literal(constant: &ScalarValue) -> String {
    let value = if constant.is_null() { "null".to_owned() } else { value(constant) };
    call("literal", [data_type(&constant.data_type()), value])
}

/// Returns the value of a constant that is not null.
fn value(constant: &ScalarValue) -> String {
    use ScalarValue as V;

    fn shown(value: &Option<impl ToString>) -> String {
        value.as_ref().map_or("null".to_owned(), ToString::to_string)
    }
    let bytes = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_deref().unwrap_or_default().iter();
        bytes.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    match constant {
        V::Null => "null".to_owned(),
        V::Boolean(value) => shown(value),
        V::Float16(value) => shown(&value.map(f32::from)),
        // The fewest digits that are read back as the same number.
        V::Float32(value) => shown(value),
        V::Float64(value) => shown(value),
        V::Decimal32(value, ..) => shown(value),
        V::Decimal64(value, ..) => shown(value),
        V::Decimal128(value, ..) => shown(value),
        V::Decimal256(value, ..) => shown(value),
        V::Int8(value) => shown(value),
        V::Int16(value) => shown(value),
        V::Int32(value) => shown(value),
        V::Int64(value) => shown(value),
        V::UInt8(value) => shown(value),
        V::UInt16(value) => shown(value),
        V::UInt32(value) => shown(value),
        V::UInt64(value) => shown(value),
        V::Utf8(value) | V::Utf8View(value) | V::LargeUtf8(value) => {
            quoted(value.as_deref().unwrap_or_default())
        }
        V::Binary(value)
        | V::BinaryView(value)
        | V::LargeBinary(value)
        | V::FixedSizeBinary(_, value) => bytes(value),
        V::Date32(value) | V::Time32Second(value) | V::Time32Millisecond(value) => shown(value),
        V::IntervalYearMonth(value) => shown(value),
        V::Date64(value)
        | V::Time64Microsecond(value)
        | V::Time64Nanosecond(value)
        | V::TimestampSecond(value, _)
        | V::TimestampMillisecond(value, _)
        | V::TimestampMicrosecond(value, _)
        | V::TimestampNanosecond(value, _)
        | V::DurationSecond(value)
        | V::DurationMillisecond(value)
        | V::DurationMicrosecond(value)
        | V::DurationNanosecond(value) => shown(value),
        V::IntervalDayTime(value) => {
            shown(&value.map(|it| format!("{} days {} ms", it.days, it.milliseconds)))
        }
        V::IntervalMonthDayNano(value) => shown(
            &value.map(|it| format!("{} months {} days {} ns", it.months, it.days, it.nanoseconds)),
        ),
        V::FixedSizeList(lists) => elements(&lists.value(0)),
        V::List(lists) => elements(&lists.value(0)),
        V::LargeList(lists) => elements(&lists.value(0)),
        V::ListView(lists) => elements(&lists.value(0)),
        V::LargeListView(lists) => elements(&lists.value(0)),
        V::Map(maps) => {
            let entries = maps.value(0);
            call("entries", entries.columns().iter().map(elements))
        }
        V::Struct(fields) => call("fields", fields.columns().iter().map(elements)),
        V::Union(value, ..) => match value {
            Some((id, value)) => format!("{id} {}", literal(value)),
            None => "null".to_owned(),
        },
        V::Dictionary(_, value) | V::RunEndEncoded(_, _, value) => self::value(value),
    }
}

/// Returns the values of an array, one by one.
fn elements(array: &ArrayRef) -> String {
    let element = |row: usize| match ScalarValue::try_from_array(array, row) {
        Ok(element) if !element.is_null() => value(&element),
        // What has no constant of its own has none that a query could say either.
        _ => "null".to_owned(),
    };
    format!("[{}]", (0..array.len()).map(element).collect::<Vec<_>>().join(", "))
}
