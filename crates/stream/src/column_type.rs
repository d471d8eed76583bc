//! Types of columns as people call them.

use arrow::datatypes::{DataType, TimeUnit};

/// Returns a type as SQL says it; Arrow's word where SQL has none.
///
/// ```
/// use arrow::datatypes::{DataType, TimeUnit};
/// use tidecast_stream::column_type::sql_name;
/// assert_eq!(sql_name(&DataType::Int32), "INT");
/// assert_eq!(sql_name(&DataType::Timestamp(TimeUnit::Millisecond, None)), "TIMESTAMP(3)");
/// ```
pub fn sql_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => "TIMESTAMP(0)",
            TimeUnit::Millisecond => "TIMESTAMP(3)",
            TimeUnit::Microsecond => "TIMESTAMP",
            TimeUnit::Nanosecond => "TIMESTAMP(9)",
        },
        other => return other.to_string(),
    };
    name.to_owned()
}
