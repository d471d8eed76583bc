//! Arrow's arrays as values of records.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array,
    StringArray, UInt64Array, UnionArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use tidecast_stream::EventTime;

use crate::uuid_text;
use crate::value::Value;

/// A field of a batch of records.
#[derive(Debug)]
pub(crate) struct Cells {
    values: Kind,
    /// Where objects that it is inside of are null.
    outer: Vec<NullBuffer>,
}

#[derive(Debug)]
enum Kind {
    Null,
    Truths(BooleanArray),
    Whole(Int64Array),
    Unsigned(UInt64Array),
    Reals(Float64Array),
    Singles(Float32Array),
    Texts(StringArray),
    /// Numbers as they are written.
    Numbers(StringArray),
    Bytes(BinaryArray),
    /// Microseconds since 1970.
    Times(Int64Array),
    Dates(Arc<arrow::array::Date32Array>),
    /// Of several types: which, and each one's values.
    Union(UnionArray, Vec<(i8, Kind)>),
    /// What no column takes.
    Other(&'static str, Option<NullBuffer>),
}

impl Cells {
    /// Returns the field at the end of `path` inside of `array`; `None` if there is none.
    ///
    /// # Errors
    /// If Arrow cannot cast a value to its text.
    pub(crate) fn at(array: &ArrayRef, path: &[String]) -> Result<Option<Self>, ArrowError> {
        let mut array = Arc::clone(array);
        let mut outer = Vec::new();
        for name in path {
            let Some(record) = array.as_struct_opt() else { return Ok(None) };
            let Some(inner) = record.column_by_name(name) else { return Ok(None) };
            outer.extend(record.nulls().cloned());
            array = Arc::clone(inner);
        }
        Ok(Some(Self { values: Kind::of(&array)?, outer }))
    }

    pub(crate) fn value(&self, row: usize) -> Value<'_> {
        match self.outer.iter().any(|nulls| row < nulls.len() && nulls.is_null(row)) {
            true => Value::Null,
            false => self.values.value(row),
        }
    }
}

impl Kind {
    fn of(array: &ArrayRef) -> Result<Self, ArrowError> {
        let as_type = |wanted: &DataType| cast(array, wanted);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Truths(array.as_boolean().clone()),
            DataType::UInt64 => Self::Unsigned(array.as_primitive().clone()),
            whole if whole.is_integer() => {
                Self::Whole(as_type(&DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Float64 => Self::Reals(array.as_primitive::<Float64Type>().clone()),
            DataType::Float16 | DataType::Float32 => {
                Self::Singles(as_type(&DataType::Float32)?.as_primitive::<Float32Type>().clone())
            }
            DataType::Utf8 => Self::Texts(array.as_string().clone()),
            DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Texts(as_type(&DataType::Utf8)?.as_string().clone())
            }
            DataType::Dictionary(_, values) => Self::of(&cast(array, values)?)?,
            decimal if decimal.is_numeric() => {
                Self::Numbers(as_type(&DataType::Utf8)?.as_string().clone())
            }
            DataType::FixedSizeBinary(16) => {
                let bytes = array.as_fixed_size_binary();
                Self::Texts(bytes.iter().map(|bytes| bytes.map(uuid_text)).collect())
            }
            DataType::FixedSizeBinary(_) | DataType::LargeBinary | DataType::BinaryView => {
                Self::Bytes(as_type(&DataType::Binary)?.as_binary().clone())
            }
            DataType::Binary => Self::Bytes(array.as_binary().clone()),
            DataType::Timestamp(unit, _) => {
                let numbers = as_type(&DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let micros = |number: i64| match unit {
                    TimeUnit::Second => number.saturating_mul(1_000_000),
                    TimeUnit::Millisecond => number.saturating_mul(1_000),
                    TimeUnit::Microsecond => number,
                    TimeUnit::Nanosecond => number.div_euclid(1_000),
                };
                Self::Times(numbers.unary(micros))
            }
            DataType::Date32 => Self::Dates(Arc::new(array.as_primitive::<Date32Type>().clone())),
            DataType::Time32(_) | DataType::Time64(_) => {
                Self::Texts(as_type(&DataType::Utf8)?.as_string().clone())
            }
            DataType::Union(fields, _) => {
                let union = array.as_union().clone();
                let kinds = fields.iter().map(|(id, _)| Ok((id, Self::of(union.child(id))?)));
                let kinds = kinds.collect::<Result<_, ArrowError>>()?;
                Self::Union(union, kinds)
            }
            DataType::Struct(_) => Self::Other("a record", array.nulls().cloned()),
            DataType::Map(..) => Self::Other("a map", array.nulls().cloned()),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                Self::Other("a list", array.nulls().cloned())
            }
            _ => Self::Other("a value of a type that no column has", array.nulls().cloned()),
        })
    }

    fn value(&self, row: usize) -> Value<'_> {
        // Each is asked for a row of its batch; what is beyond it is nothing.
        macro_rules! cell {
            ($array:expr, $value:expr) => {
                match row < $array.len() && $array.is_valid(row) {
                    true => $value($array.value(row)),
                    false => Value::Null,
                }
            };
        }
        match self {
            Self::Null => Value::Null,
            Self::Truths(array) => cell!(array, Value::Truth),
            Self::Whole(array) => cell!(array, Value::Whole),
            Self::Unsigned(array) => cell!(array, Value::Unsigned),
            Self::Reals(array) => cell!(array, |number| Value::Real(number).told_apart()),
            Self::Singles(array) => cell!(array, |number| Value::Single(number).told_apart()),
            Self::Texts(array) => cell!(array, |text| Value::Text(text, false)),
            Self::Numbers(array) => cell!(array, Value::Number),
            Self::Bytes(array) => cell!(array, Value::Bytes),
            Self::Times(array) => {
                cell!(array, |micros| Value::Time(EventTime::from_micros(micros)))
            }
            Self::Dates(array) => cell!(array, Value::Date),
            Self::Union(array, kinds) => {
                if row >= array.len() {
                    return Value::Null;
                }
                let (id, at) = (array.type_id(row), array.value_offset(row));
                let kind = kinds.iter().find(|(known, _)| *known == id);
                kind.map_or(Value::Null, |(_, kind)| kind.value(at))
            }
            Self::Other(what, nulls) => {
                match nulls.as_ref().is_some_and(|nulls| row < nulls.len() && nulls.is_null(row)) {
                    true => Value::Null,
                    false => Value::Other(what),
                }
            }
        }
    }
}
