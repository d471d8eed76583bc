//! SQL column types to Arrow types.

use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

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
        // The standard's precision counts binary digits, of which a REAL has 24.
        SqlType::Float(ExactNumberInfo::Precision(25..=53)) => DataType::Float64,
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
        other => return Err(refusal(other)),
    })
}

/// Says that a type is not supported, and what to write instead.
fn refusal(sql: &SqlType) -> String {
    let said = sql.to_string();
    let head: String =
        said.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let head = head.to_uppercase();
    if is_nested(&head) || said.ends_with(']') {
        return format!(
            "nested type `{said}` is not supported in this version, expected a scalar type; leave \
             the column out, since what is not declared is passed over, or have its fields \
             written beside the others"
        );
    }
    let remedy = match other_products_type(&head) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    };
    format!(
        "unknown type `{said}`, expected BOOLEAN, SMALLINT, INT, BIGINT, REAL, DOUBLE, \
         DECIMAL(p, s), VARCHAR, DATE, TIMESTAMP or TIMESTAMP(3){remedy}"
    )
}

/// Returns whether values of a type, given by its first word in capitals, have
/// parts.
pub(crate) fn is_nested(head: &str) -> bool {
    const NESTED: [&str; 15] = [
        "ARRAY", "HSTORE", "JSON", "JSONB", "LIST", "MAP", "MULTISET", "NESTED", "OBJECT",
        "RECORD", "ROW", "STRUCT", "TUPLE", "VARIANT", "VECTOR",
    ];
    NESTED.contains(&head)
}

/// Returns our name for a type that other products, and people, call `head`.
fn other_products_type(head: &str) -> Option<&'static str> {
    Some(match head {
        "BYTE" | "INT1" => "TINYINT",
        "SHORT" | "INT16" => "SMALLINT",
        "INT32" | "MEDIUMINT" | "SERIAL" => "INT",
        "INT64" | "LONG" | "BIGSERIAL" | "INT128" | "INT256" | "HUGEINT" => "BIGINT",
        "UINT8" | "UTINYINT" => "TINYINT UNSIGNED",
        "UINT16" | "USMALLINT" => "SMALLINT UNSIGNED",
        "UINT32" | "UINTEGER" | "UNSIGNED" => "INT UNSIGNED",
        "UINT64" | "UBIGINT" | "UINT128" | "UINT256" | "UHUGEINT" => "BIGINT UNSIGNED",
        "FLOAT32" => "REAL",
        "FLOAT64" | "NUMBER" | "FIXED" | "MONEY" | "BIGNUMERIC" | "BIGDECIMAL" | "DOUBLE" => {
            "DOUBLE"
        }
        "BIT" | "LOGICAL" => "BOOLEAN",
        "DATE32" => "DATE",
        "DATETIME" | "DATETIME2" | "DATETIME64" | "SMALLDATETIME" | "TIMESTAMPNTZ"
        | "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" | "TIMESTAMPLTZ" | "TIMESTAMP_US" | "EPOCH" => {
            "TIMESTAMP"
        }
        "TIMESTAMP_MS" => "TIMESTAMP(3)",
        "TIMESTAMP_S" => "TIMESTAMP(0)",
        "TIMESTAMP_NS" => "TIMESTAMP(9)",
        "UUID" | "ENUM" | "CLOB" | "VARCHAR2" | "NVARCHAR2" | "NCHAR" | "CHARACTER" | "INET"
        | "CIDR" | "XML" | "TIME" | "INTERVAL" | "STR" | "UTF8" | "LONGTEXT" | "MEDIUMTEXT"
        | "TINYTEXT" | "LOWCARDINALITY" | "FIXEDSTRING" | "REGCLASS" | "KEYWORD" | "SYMBOL" => {
            "VARCHAR"
        }
        _ => return None,
    })
}

/// Whether a column of this type can be forecast.
pub(super) fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_numeric()
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
