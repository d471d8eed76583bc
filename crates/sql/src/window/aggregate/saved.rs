//! An aggregate's state, written down and taken up again.
//!
//! DataFusion's accumulators have a state and can merge one, but asking for the state
//! ends the accumulator, and merging may round: `(mean * n) / n` is not always `mean`.
//! So only states of functions that are known to merge to the bit are written down
//! ([`KNOWN`](super::KNOWN)), and whoever writes goes on from what was written, as whoever reads.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, UInt32Array, UInt64Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take_arrays};
use arrow::datatypes::{DataType, Field, UInt64Type};
use datafusion_common::error::Result;
use datafusion_common::{ScalarValue, internal_datafusion_err};
use datafusion_expr::EmitTo;

use super::{Accumulators, Aggregate, AggregateState, Distinct, PieceWise};

impl Aggregate {
    /// Whether a state that was written down goes on to the bit.
    pub(crate) fn is_restorable(&self) -> bool {
        self.known().1
    }

    /// Returns the types of a saved state's columns: what the function says, and as
    /// lists per group the rows it was not handed yet and the arguments that
    /// `DISTINCT` has seen.
    pub(crate) fn saved_types(&self) -> Result<Vec<DataType>> {
        let own = self.function.state_fields()?;
        let mut types: Vec<DataType> = own.iter().map(|field| field.data_type().clone()).collect();
        if !self.is_row_by_row() {
            types.extend(self.input_types.iter().cloned().map(list_of));
        }
        if self.distinct {
            types.extend(self.input_types.iter().take(self.arguments).cloned().map(list_of));
        }
        Ok(types)
    }

    /// Returns a state of `groups` groups that was saved.
    pub(crate) fn restore(&self, columns: &[ArrayRef], groups: usize) -> Result<AggregateState> {
        let mut state = self.start()?;
        let mut columns = columns.iter().cloned();
        let own: Vec<ArrayRef> =
            columns.by_ref().take(self.function.state_fields()?.len()).collect();
        match &mut state.accumulators {
            Accumulators::RowByRow(accumulator) => {
                let ids: Vec<usize> = (0..groups).collect();
                accumulator.merge_batch(&own, &ids, groups)?;
            }
            Accumulators::InPieces { function, groups: states } => {
                let pending: Vec<ArrayRef> = columns.by_ref().take(self.inputs.len()).collect();
                let pending: Vec<&ListArray> =
                    pending.iter().filter_map(|column| column.as_list_opt()).collect();
                for group in 0..groups {
                    let own: Vec<ArrayRef> =
                        own.iter().map(|column| column.slice(group, 1)).collect();
                    let mut accumulator = function.create_accumulator()?;
                    accumulator.merge_batch(&own)?;
                    let pending = pending.iter().map(|column| column.value(group));
                    let pending = pending.filter(|rows| !rows.is_empty()).collect();
                    states.push(PieceWise { accumulator, pending });
                }
            }
        }
        if let Some(distinct) = &mut state.distinct {
            distinct.restore(&columns.collect::<Vec<_>>(), groups)?;
        }
        Ok(state)
    }
}

impl AggregateState {
    /// Returns the state of `groups` groups, a row each, and goes on from it.
    ///
    /// # Errors
    /// If the accumulator cannot, which is a bug; the state is of no use then.
    pub(crate) fn save(&mut self, aggregate: &Aggregate, groups: usize) -> Result<Vec<ArrayRef>> {
        let mut columns = match &mut self.accumulators {
            Accumulators::RowByRow(accumulator) => accumulator.state(EmitTo::All)?,
            Accumulators::InPieces { groups, .. } => {
                let mut columns = own_states(groups)?;
                for (index, data_type) in aggregate.input_types.iter().enumerate() {
                    let of_group = |state: &PieceWise| state.pending.get(index).cloned();
                    let pending: Vec<Option<ArrayRef>> = groups.iter().map(of_group).collect();
                    columns.push(lists(data_type, &pending)?);
                }
                columns
            }
        };
        if let Some(distinct) = &mut self.distinct {
            columns.extend(distinct.take(groups)?);
        }
        if let Some(column) = columns.iter().find(|column| column.len() != groups) {
            let (name, found) = (aggregate.function.name(), column.len());
            return Err(internal_datafusion_err!("`{name}` has {found} states of {groups} groups"));
        }
        *self = aggregate.restore(&columns, groups)?;
        Ok(columns)
    }
}

/// Returns the states of plain accumulators, a row each.
fn own_states(groups: &mut [PieceWise]) -> Result<Vec<ArrayRef>> {
    let mut columns: Vec<Vec<ScalarValue>> = Vec::new();
    for group in groups {
        let state = group.accumulator.state()?;
        columns.resize_with(state.len(), Vec::new);
        columns.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
    }
    columns.into_iter().map(ScalarValue::iter_to_array).collect()
}

impl Distinct {
    /// Returns the arguments that each group has seen, a list a group, and knows them
    /// no more.
    fn take(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let columns = self.seen.emit(EmitTo::All)?;
        let Some((ids, arguments)) = columns.split_first() else { return Ok(Vec::new()) };
        let ids = ids.as_primitive::<UInt64Type>().values();
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|row| ids.get(*row as usize).copied());
        let mut lengths = vec![0; groups];
        for id in ids {
            if let Some(length) = lengths.get_mut(*id as usize) {
                *length += 1;
            }
        }
        let sorted = take_arrays(arguments, &UInt32Array::from(order), None)?;
        sorted.into_iter().map(|values| list(&lengths, values)).collect()
    }

    fn restore(&mut self, lists: &[ArrayRef], groups: usize) -> Result<()> {
        let lists: Vec<&ListArray> = lists.iter().filter_map(|list| list.as_list_opt()).collect();
        let Some(first) = lists.first() else { return Ok(()) };
        let ids = (0..groups).flat_map(|group| {
            let length = usize::try_from(first.value_length(group)).unwrap_or(0);
            std::iter::repeat_n(group as u64, length)
        });
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter_values(ids))];
        columns.extend(lists.iter().map(|list| flat(list)));
        self.seen.intern(&columns, &mut Vec::new())
    }
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(data_type, true)))
}

/// Returns the values of all lists, one after the other.
fn flat(list: &ListArray) -> ArrayRef {
    let offsets = list.value_offsets();
    let (from, to) = (offsets.first().copied(), offsets.last().copied());
    let (from, to) = (from.unwrap_or(0) as usize, to.unwrap_or(0) as usize);
    list.values().slice(from, to - from)
}

/// Returns a list a group; `None` is an empty one.
fn lists(data_type: &DataType, groups: &[Option<ArrayRef>]) -> Result<ArrayRef> {
    let lengths: Vec<usize> =
        groups.iter().map(|group| group.as_ref().map_or(0, |values| values.len())).collect();
    let values: Vec<&dyn Array> = groups.iter().flatten().map(AsRef::as_ref).collect();
    let values = if values.is_empty() { new_empty_array(data_type) } else { concat(&values)? };
    list(&lengths, values)
}

fn list(lengths: &[usize], values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
}
