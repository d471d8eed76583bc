//! SQL column types to Arrow types.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

/// Returns the Arrow type of a column.
///
/// Text is `Utf8` and never `Utf8View`, because that is what the JSON decoder
/// fills. A timestamp has no zone and means UTC; the type says how much of a time
/// is kept (`TIMESTAMP` microseconds, `TIMESTAMP(3)` milliseconds, `TIMESTAMP(0)`
/// seconds), not what a number counts: that is `'timestamp.unit'`.
pub(super) fn column_type(sql: &SqlType) -> Result<DataType, String> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::TinyIntUnsigned(_) => DataType::UInt8,
        SqlType::SmallIntUnsigned(_) => DataType::UInt16,
        SqlType::IntUnsigned(_) | SqlType::IntegerUnsigned(_) => DataType::UInt32,
        SqlType::BigIntUnsigned(_) => DataType::UInt64,
        SqlType::Real | SqlType::Float4 | SqlType::Float(_) => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(*info)?,
        SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Nvarchar(_)
        | SqlType::String(_)
        | SqlType::Text => DataType::Utf8,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(time_unit(*precision)?, None)
        }
        SqlType::Timestamp(_, _) | SqlType::TimestampNtz(_) => {
            return Err(format!(
                "`{sql}` is not supported, expected TIMESTAMP or TIMESTAMP(3): values are UTC, and \
                 an offset in the text of a value is converted"
            ));
        }
        SqlType::Array(ArrayElemTypeDef::AngleBracket(_) | ArrayElemTypeDef::SquareBracket(..))
        | SqlType::Struct(..)
        | SqlType::Map(..) => {
            return Err(format!(
                "nested type `{sql}` is not supported in this version, expected a scalar type"
            ));
        }
        other => {
            return Err(format!(
                "unknown type `{other}`, expected BOOLEAN, SMALLINT, INT, BIGINT, REAL, DOUBLE, \
                 DECIMAL(p, s), VARCHAR, DATE, TIMESTAMP or TIMESTAMP(3)"
            ));
        }
    })
}

/// Whether a column of this type can be forecast.
pub(super) fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Returns a type as SQL says it.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(unit, None) => match unit {
            TimeUnit::Second => "TIMESTAMP(0)".to_owned(),
            TimeUnit::Millisecond => "TIMESTAMP(3)".to_owned(),
            TimeUnit::Microsecond => "TIMESTAMP".to_owned(),
            TimeUnit::Nanosecond => "TIMESTAMP(9)".to_owned(),
        },
        other => other.to_string(),
    }
}

fn decimal(info: ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && i64::from(s) <= i64::from(p) => {
            Ok(DataType::Decimal128(p, s))
        }
        _ => Err(format!(
            "DECIMAL({precision}, {scale}) is out of range, expected a precision from 1 to 38 and \
             a scale from 0 to the precision"
        )),
    }
}

fn time_unit(precision: Option<u64>) -> Result<TimeUnit, String> {
    match precision {
        Some(0) => Ok(TimeUnit::Second),
        Some(3) => Ok(TimeUnit::Millisecond),
        None | Some(6) => Ok(TimeUnit::Microsecond),
        Some(9) => Ok(TimeUnit::Nanosecond),
        Some(other) => Err(format!(
            "TIMESTAMP({other}) is not supported, expected a precision of 0, 3, 6 or 9"
        )),
    }
}
