//! Types as people call them.

use arrow::datatypes::DataType;
use tidecast_stream::column_type::sql_name;

/// Returns what a column of a file is, and what to do where that does not fit.
pub(crate) fn found_name(data_type: &DataType) -> (String, &'static str) {
    const DECLARE: &str = "declare the column as what the file holds";
    const UNNEST: &str = "write one value a row";
    let (name, remedy) = match data_type {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            ("lists", UNNEST)
        }
        DataType::ListView(_) | DataType::LargeListView(_) => ("lists", UNNEST),
        DataType::Map(..) => ("maps", "write their values as columns of their own"),
        DataType::Struct(_) => ("structs", "write their fields as columns of their own"),
        DataType::Union(..) => ("values of several types", "write a column for each type"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            ("bytes", "write them as numbers or text")
        }
        DataType::FixedSizeBinary(_) => ("bytes", "write them as numbers or text"),
        DataType::Time32(_) | DataType::Time64(_) => {
            ("times of day without a date", "write date and time in one column")
        }
        DataType::Duration(_) | DataType::Interval(_) => {
            ("durations", "write them as numbers, e.g. of seconds")
        }
        DataType::Null => ("nothing", "write the column with a type"),
        DataType::Dictionary(_, values) => return found_name(values),
        other => return (sql_name(other), DECLARE),
    };
    (name.to_owned(), remedy)
}
