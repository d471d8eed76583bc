//! One aggregate of a view, and its state in one window.
//!
//! Bit for bit the same whatever the batches (DESIGN promise: a replay
//! reproduces the forecasts) is not what DataFusion's accumulators promise by
//! themselves. Three ways of feeding them make it so:
//!
//! * A few `GroupsAccumulator`s are known to go through their rows one after
//!   the other ([`KNOWN`]); they are handed batches as they come.
//! * All others (t-digests, covariances, `first_value`, anything new) run as
//!   plain `Accumulator`s, one per group, and are handed [`PIECE`] rows at a
//!   time, gathered across batches. What they see is then a function of the rows.
//! * `DISTINCT` is done here, before the function: DataFusion's own distinct
//!   sums walk hash sets, whose order is not that of the rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, UInt64Array, make_array};
use arrow::compute::{concat, prep_null_mask_filter, take_arrays};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_common::error::Result;
use datafusion_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

mod saved;

/// What is known of a function: its name, whether its `GroupsAccumulator` treats its rows
/// strictly in order, so that a batch cut in two gives the same bits (proved by
/// `tests/window/properties.rs`), and whether its state, merged into an accumulator that
/// has seen nothing, goes on to the same bits (`tests/window/restored.rs`). Of others
/// neither is taken for granted.
const KNOWN: [(&str, bool, bool); 23] = [
    ("approx_distinct", false, true),
    ("array_agg", false, true),
    ("avg", true, true),
    ("bit_and", true, true),
    ("bit_or", true, true),
    ("bit_xor", true, true),
    ("bool_and", true, true),
    ("bool_or", true, true),
    ("corr", true, false),
    ("count", true, true),
    ("first_value", true, true),
    ("last_value", true, true),
    ("max", true, true),
    ("median", true, true),
    ("min", true, true),
    ("percentile_cont", true, true),
    ("stddev", true, false),
    ("stddev_pop", true, false),
    ("string_agg", false, true),
    ("sum", true, true),
    ("var", true, false),
    ("var_pop", true, false),
    ("var_samp", true, false),
];

/// Rows handed at once to an accumulator that is not row by row.
const PIECE: usize = 64;

/// One aggregate of the view.
#[derive(Clone)]
pub(crate) struct Aggregate {
    /// The function, without `DISTINCT`.
    pub(crate) function: Arc<AggregateFunctionExpr>,
    /// `DISTINCT`: only the first row of equal arguments counts.
    pub(crate) distinct: bool,
    /// `FILTER (WHERE …)`.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The arguments, then what `ORDER BY` sorts by.
    pub(crate) inputs: Vec<Arc<dyn PhysicalExpr>>,
    /// Their types.
    pub(crate) input_types: Vec<DataType>,
    /// How many of `inputs` are arguments.
    pub(crate) arguments: usize,
    /// Group number and arguments: the schema of what `DISTINCT` remembers.
    pub(crate) distinct_schema: SchemaRef,
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate")
            .field("function", &self.function.name())
            .field("distinct", &self.distinct)
            .finish_non_exhaustive()
    }
}

impl Aggregate {
    /// Returns the schema `DISTINCT` needs for arguments of these types.
    pub(crate) fn distinct_schema(types: impl IntoIterator<Item = DataType>) -> SchemaRef {
        let group = Field::new("group", DataType::UInt64, false);
        let arguments = types
            .into_iter()
            .enumerate()
            .map(|(index, data_type)| Field::new(format!("argument_{index}"), data_type, true));
        Arc::new(Schema::new(std::iter::once(group).chain(arguments).collect::<Vec<_>>()))
    }

    /// Returns whether the function goes row by row, and whether it merges to the bit.
    fn known(&self) -> (bool, bool) {
        let name = self.function.fun().name();
        let known = KNOWN.iter().find(|(known, ..)| *known == name);
        known.map_or((false, false), |(_, by_row, to_the_bit)| (*by_row, *to_the_bit))
    }

    fn is_row_by_row(&self) -> bool {
        self.known().0 && self.function.groups_accumulator_supported()
    }

    /// Returns the state of a window without rows.
    pub(crate) fn start(&self) -> Result<AggregateState> {
        let function = &self.function;
        let accumulators = if self.is_row_by_row() {
            Accumulators::RowByRow(function.create_groups_accumulator()?)
        } else {
            Accumulators::InPieces { function: Arc::clone(function), groups: Vec::new() }
        };
        let distinct = self.distinct.then(|| Distinct::new(&self.distinct_schema)).transpose()?;
        Ok(AggregateState { accumulators, distinct, arguments: self.arguments })
    }
}

/// An aggregate's state in one window, for all its groups.
pub(crate) struct AggregateState {
    accumulators: Accumulators,
    distinct: Option<Distinct>,
    arguments: usize,
}

enum Accumulators {
    RowByRow(Box<dyn GroupsAccumulator>),
    InPieces { function: Arc<AggregateFunctionExpr>, groups: Vec<PieceWise> },
}

impl AggregateState {
    /// Adds rows in offset order.
    ///
    /// `inputs` are the arguments and sort keys, one value per row; `groups` the
    /// rows' groups; of the rows only those count for which `filter` is true;
    /// `total_groups` is the number of groups known so far.
    pub(crate) fn update(
        &mut self,
        inputs: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        if let (Accumulators::RowByRow(accumulator), None) =
            (&mut self.accumulators, &self.distinct)
        {
            return accumulator.update_batch(inputs, groups, filter, total_groups);
        }
        let mut chosen: Vec<u32> = match filter {
            None => (0..groups.len() as u32).collect(),
            Some(mask) if mask.null_count() == 0 => mask.values().set_indices_u32().collect(),
            Some(mask) => prep_null_mask_filter(mask).values().set_indices_u32().collect(),
        };
        if let Some(distinct) = &mut self.distinct {
            let arguments = inputs.get(..self.arguments).unwrap_or(inputs);
            chosen = distinct.first_of_each(arguments, groups, chosen)?;
        }
        let groups_of = |rows: &[u32]| -> Vec<usize> {
            rows.iter().filter_map(|row| groups.get(*row as usize).copied()).collect()
        };
        match &mut self.accumulators {
            Accumulators::RowByRow(accumulator) => {
                let groups = groups_of(&chosen);
                let rows = take_arrays(inputs, &UInt32Array::from(chosen), None)?;
                accumulator.update_batch(&rows, &groups, None, total_groups)
            }
            Accumulators::InPieces { function, groups: states } => {
                while states.len() < total_groups {
                    states.push(PieceWise::new(function.create_accumulator()?));
                }
                // A stable sort: within a group the rows keep their order.
                chosen.sort_by_key(|row| groups.get(*row as usize).copied());
                for rows in
                    chosen.chunk_by(|a, b| groups.get(*a as usize) == groups.get(*b as usize))
                {
                    let group = rows.first().and_then(|row| groups.get(*row as usize));
                    if let Some(state) = group.and_then(|group| states.get_mut(*group)) {
                        state.add(inputs, rows)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Returns the result per group.
    pub(crate) fn finish(self) -> Result<ArrayRef> {
        match self.accumulators {
            Accumulators::RowByRow(mut accumulator) => accumulator.evaluate(EmitTo::All),
            Accumulators::InPieces { groups, .. } => {
                let results =
                    groups.into_iter().map(PieceWise::finish).collect::<Result<Vec<_>>>()?;
                ScalarValue::iter_to_array(results)
            }
        }
    }
}

/// A plain accumulator that is handed [`PIECE`] rows at a time.
struct PieceWise {
    accumulator: Box<dyn Accumulator>,
    /// Rows not handed over yet, fewer than [`PIECE`]; no arrays when there are none.
    pending: Vec<ArrayRef>,
}

impl PieceWise {
    fn new(accumulator: Box<dyn Accumulator>) -> Self {
        Self { accumulator, pending: Vec::new() }
    }

    fn pending_rows(&self) -> usize {
        self.pending.first().map_or(0, |column| column.len())
    }

    fn add(&mut self, inputs: &[ArrayRef], mut rows: &[u32]) -> Result<()> {
        while !rows.is_empty() {
            let room = PIECE - self.pending_rows();
            let (now, later) = rows.split_at(room.min(rows.len()));
            rows = later;
            // Copies, so that a few waiting rows do not keep whole batches alive.
            let taken = take_arrays(inputs, &UInt32Array::from(now.to_vec()), None)?;
            self.pending = if self.pending.is_empty() {
                taken
            } else {
                self.pending
                    .iter()
                    .zip(&taken)
                    .map(|(old, new)| concat(&[old.as_ref(), new.as_ref()]))
                    .collect::<Result<_, _>>()?
            };
            if self.pending_rows() == PIECE {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        let piece =
            self.pending.drain(..).map(without_idle_mask).collect::<Result<Vec<ArrayRef>>>()?;
        self.accumulator.update_batch(&piece)
    }

    fn finish(mut self) -> Result<ScalarValue> {
        if self.pending_rows() > 0 {
            self.hand_over()?;
        }
        self.accumulator.evaluate()
    }
}

/// Drops a null mask that masks nothing. Whether there is one depends on what
/// else was in the batch, and nothing forbids a kernel to round differently
/// with and without.
fn without_idle_mask(array: ArrayRef) -> Result<ArrayRef> {
    if array.nulls().is_none() || array.null_count() > 0 {
        return Ok(array);
    }
    Ok(make_array(array.to_data().into_builder().nulls(None).build()?))
}

/// Remembers which arguments each group has seen.
struct Distinct {
    seen: Box<dyn GroupValues>,
}

impl Distinct {
    fn new(schema: &SchemaRef) -> Result<Self> {
        Ok(Self { seen: new_group_values(Arc::clone(schema), &GroupOrdering::None)? })
    }

    /// Of the rows `chosen`, returns those whose arguments are new to their group.
    fn first_of_each(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        chosen: Vec<u32>,
    ) -> Result<Vec<u32>> {
        let known = self.seen.len();
        let group = chosen.iter().map(|row| groups.get(*row as usize).map_or(0, |g| *g as u64));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter_values(group))];
        let rows = UInt32Array::from(chosen);
        columns.extend(take_arrays(arguments, &rows, None)?);
        let mut ids = Vec::with_capacity(rows.len());
        self.seen.intern(&columns, &mut ids)?;
        let mut is_new = vec![true; self.seen.len() - known];
        let firsts = rows.values().iter().zip(ids).filter_map(|(row, id)| {
            let new = is_new.get_mut(id.checked_sub(known)?)?;
            std::mem::take(new).then_some(*row)
        });
        Ok(firsts.collect())
    }
}
