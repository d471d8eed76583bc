//! Arrow's arrays as values of records.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array,
    ListArray, StringArray, StructArray, UInt64Array, UnionArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType as _, DataType, Date32Type, Float32Type, Float64Type, Int64Type, TimeUnit,
};
use arrow::error::ArrowError;
use tidecast_stream::EventTime;

use crate::lists::{Elements, List, Listed};
use crate::uuid_text;
use crate::value::Value;

/// A field of a batch of records.
#[derive(Debug)]
pub(crate) enum Cells {
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
    Union(UnionArray, Vec<(i8, Cells)>),
    /// Inside of a record, and where that is null.
    Inside(NullBuffer, Box<Cells>),
    /// A branch of a union that has no such field.
    Absent,
    Record(Option<NullBuffer>),
    /// A list whose elements are a row each.
    List(Box<ListCells>),
    /// What no column takes.
    Other(&'static str, Option<NullBuffer>),
}

/// Lists of a batch of records, and in their elements the fields of columns.
#[derive(Debug)]
pub(crate) struct ListCells {
    lists: ListArray,
    /// Each element itself.
    elements: Cells,
    fields: Vec<Option<Cells>>,
}

impl Cells {
    /// Returns the field at the end of `path` inside of `array`; `None` if there is none.
    ///
    /// # Errors
    /// If Arrow cannot cast a value to its text.
    pub(crate) fn at(array: &ArrayRef, path: &[String]) -> Result<Option<Self>, ArrowError> {
        Self::find(array, path, &Self::of)
    }

    /// Returns the list at the end of `path`, with the fields of its elements at the ends of
    /// `fields`.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub(crate) fn list_at(
        array: &ArrayRef,
        path: &[String],
        fields: &[Vec<String>],
    ) -> Result<Option<Self>, ArrowError> {
        Self::find(array, path, &|array| Self::list_of(array, fields))
    }

    fn find(
        array: &ArrayRef,
        path: &[String],
        last: &dyn Fn(&ArrayRef) -> Result<Self, ArrowError>,
    ) -> Result<Option<Self>, ArrowError> {
        let Some((name, rest)) = path.split_first() else { return last(array).map(Some) };
        if let Some(record) = array.as_struct_opt() {
            let Some(inner) = field(record, name) else { return Ok(None) };
            let found = Self::find(inner, rest, last)?;
            return Ok(match (found, record.nulls()) {
                (Some(found), Some(nulls)) => Some(Self::Inside(nulls.clone(), Box::new(found))),
                (found, _) => found,
            });
        }
        let DataType::Union(branches, _) = array.data_type() else { return Ok(None) };
        // The branch that a record has counts.
        let union = array.as_union();
        let mut cells = Vec::new();
        for (id, _) in branches.iter() {
            let found = Self::find(union.child(id), path, last)?;
            cells.push((id, found.unwrap_or(Self::Absent)));
        }
        let is_somewhere = cells.iter().any(|(_, cells)| !matches!(cells, Self::Absent));
        Ok(is_somewhere.then(|| Self::Union(union.clone(), cells)))
    }

    fn list_of(array: &ArrayRef, fields: &[Vec<String>]) -> Result<Self, ArrowError> {
        match array.data_type() {
            DataType::List(_) => {
                let lists: &ListArray = array.as_list();
                let fields = fields.iter().map(|path| Self::at(lists.values(), path));
                Ok(Self::List(Box::new(ListCells {
                    elements: Self::of(lists.values())?,
                    fields: fields.collect::<Result<_, _>>()?,
                    lists: lists.clone(),
                })))
            }
            DataType::Union(..) => Self::union(array, &|array| Self::list_of(array, fields)),
            _ => Self::of(array),
        }
    }

    fn union(
        array: &ArrayRef,
        of: &dyn Fn(&ArrayRef) -> Result<Self, ArrowError>,
    ) -> Result<Self, ArrowError> {
        let union = array.as_union().clone();
        let ids = union.fields().iter().map(|(id, _)| id);
        let branches = ids.map(|id| Ok((id, of(union.child(id))?)));
        let branches = branches.collect::<Result<_, ArrowError>>()?;
        Ok(Self::Union(union, branches))
    }

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
            DataType::Union(..) => Self::union(array, &Self::of)?,
            DataType::Struct(_) => Self::Record(array.nulls().cloned()),
            DataType::Map(..) => Self::Other("a map", array.nulls().cloned()),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                Self::Other("a list", array.nulls().cloned())
            }
            _ => Self::Other("a value of a type that no column has", array.nulls().cloned()),
        })
    }

    pub(crate) fn value(&self, row: usize) -> Value<'_> {
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
            Self::Null | Self::Absent => Value::Null,
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
            Self::Union(array, branches) => {
                branch(array, branches, row).map_or(Value::Null, |(cells, at)| cells.value(at))
            }
            Self::Inside(nulls, _) if is_null(nulls, row) => Value::Null,
            Self::Inside(_, cells) => cells.value(row),
            Self::List(list) => cell!(list.lists, |_| Value::Other("a list")),
            Self::Record(Some(nulls)) | Self::Other(_, Some(nulls)) if is_null(nulls, row) => {
                Value::Null
            }
            Self::Record(_) => Value::Other("a record"),
            Self::Other(what, _) => Value::Other(what),
        }
    }

    /// Returns the list of a record, of cells that are such.
    pub(crate) fn list(&self, row: usize) -> Listed<'_> {
        match self {
            Self::Absent => Listed::Missing,
            Self::Inside(nulls, _) if is_null(nulls, row) => Listed::Missing,
            Self::Inside(_, cells) => cells.list(row),
            Self::Union(array, branches) => {
                branch(array, branches, row).map_or(Listed::Missing, |(cells, at)| cells.list(at))
            }
            Self::List(list) if row < list.lists.len() && list.lists.is_valid(row) => {
                let ends = list.lists.value_offsets().get(row..row + 2);
                let ends = ends.unwrap_or_default().iter().map(|end| end.as_usize());
                let ends: Vec<usize> = ends.collect();
                match ends.as_slice() {
                    [begin, end] => {
                        Listed::Elements(Elements { list: list.as_ref(), range: *begin..*end })
                    }
                    _ => Listed::Missing,
                }
            }
            other => Listed::Other(other.value(row)),
        }
    }

    fn is_record(&self, row: usize) -> bool {
        match self {
            Self::Record(nulls) => !nulls.as_ref().is_some_and(|nulls| is_null(nulls, row)),
            Self::Union(array, branches) => {
                branch(array, branches, row).is_some_and(|(cells, at)| cells.is_record(at))
            }
            _ => false,
        }
    }
}

impl List for ListCells {
    fn is_object(&self, element: usize) -> bool {
        self.elements.is_record(element)
    }

    fn value(&self, element: usize, field: usize) -> Option<Value<'_>> {
        let cells = self.fields.get(field)?.as_ref()?;
        Some(cells.value(element))
    }
}

/// Returns the field of this name, else the only one whose name differs in case alone.
fn field<'a>(record: &'a StructArray, name: &str) -> Option<&'a ArrayRef> {
    record.column_by_name(name).or_else(|| {
        let lower = name.to_lowercase();
        let mut alike = record.fields().iter().zip(record.columns());
        let mut next = || alike.find(|(field, _)| field.name().to_lowercase() == lower);
        let (only, another) = (next()?, next());
        another.is_none().then_some(only.1)
    })
}

/// Returns the branch that a row of a union has, and its row there.
fn branch<'a>(
    union: &UnionArray,
    branches: &'a [(i8, Cells)],
    row: usize,
) -> Option<(&'a Cells, usize)> {
    if row >= union.len() {
        return None;
    }
    let id = union.type_id(row);
    let (_, cells) = branches.iter().find(|(known, _)| *known == id)?;
    Some((cells, union.value_offset(row)))
}

fn is_null(nulls: &NullBuffer, row: usize) -> bool {
    row < nulls.len() && nulls.is_null(row)
}
