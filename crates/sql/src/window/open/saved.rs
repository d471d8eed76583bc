//! An open window, written down and taken up again.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::error::Result;
use datafusion_common::internal_datafusion_err;
use datafusion_expr::EmitTo;
use datafusion_physical_plan::aggregates::group_values::new_group_values;
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use tidecast_stream::Offset;

use super::{AggregateInput, OpenWindow};
use crate::window::query::QueryPlan;

/// What a window amounts to so far; see
/// [`WindowOperator::save`](crate::window::WindowOperator::save).
#[derive(Debug, Clone)]
pub struct SavedWindow {
    pub(crate) start: i64,
    pub(crate) first_offset: Offset,
    pub(crate) failure: Option<String>,
    /// Rows of `columns`: one per group, or one per record where windows keep what
    /// comes into them.
    pub(crate) rows: usize,
    /// Those of [`schema`](Self::schema); none if there is nothing to keep.
    pub(crate) columns: Vec<ArrayRef>,
}

impl SavedWindow {
    /// Returns the columns of a saved window: keys and states per group or, if windows
    /// `keep` what comes into them, keys, inputs and filters per record.
    ///
    /// # Errors
    /// If a function does not say what its state is.
    pub(crate) fn schema(plan: &QueryPlan, keep: bool) -> Result<SchemaRef> {
        let key_types = plan.key_schema.fields().iter().map(|field| field.data_type().clone());
        let mut fields: Vec<(String, DataType)> =
            key_types.enumerate().map(|(index, of)| (format!("key.{index}"), of)).collect();
        for (number, aggregate) in plan.aggregates.iter().enumerate() {
            let (what, types) = match keep {
                true => ("input", aggregate.input_types.clone()),
                false => ("state", aggregate.saved_types()?),
            };
            let types = types.into_iter().enumerate();
            fields.extend(types.map(|(index, of)| (format!("{what}.{number}.{index}"), of)));
        }
        if keep {
            let filtered = plan.aggregates.iter().enumerate().filter(|(_, a)| a.filter.is_some());
            fields.extend(filtered.map(|(i, _)| (format!("filter.{i}"), DataType::Boolean)));
        }
        let fields: Vec<Field> =
            fields.into_iter().map(|(name, of)| Field::new(name, of, true)).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Whether the columns are of this schema, as they should be: some function's state
    /// might be of another type than it says.
    pub(crate) fn is_of(&self, schema: &Schema) -> bool {
        let types = schema.fields().iter().map(|field| field.data_type());
        self.columns.is_empty() || self.columns.iter().map(|column| column.data_type()).eq(types)
    }
}

impl OpenWindow {
    /// Returns what the window amounts to, and goes on from it.
    ///
    /// # Errors
    /// If an accumulator cannot be asked, which is a bug; the window is of no use then.
    pub(crate) fn save(&mut self, plan: &QueryPlan) -> Result<SavedWindow> {
        let (rows, columns) = match (&mut self.kept, &self.failure) {
            (Some(kept), _) => {
                kept.merge()?;
                let all = kept.inputs.first();
                all.map(|(input, rows)| (*rows, input.arrays())).unwrap_or_default()
            }
            (None, Some(_)) => Default::default(),
            (None, None) => self.save_groups(plan)?,
        };
        Ok(SavedWindow {
            start: self.start,
            first_offset: self.first_offset,
            failure: self.failure.clone(),
            rows,
            columns,
        })
    }

    fn save_groups(&mut self, plan: &QueryPlan) -> Result<(usize, Vec<ArrayRef>)> {
        let (count, mut columns) = match &mut self.groups {
            None => (1, Vec::new()),
            Some(groups) => {
                let keys = groups.emit(EmitTo::All)?;
                // The same numbers again: groups are numbered as they come.
                *groups = new_group_values(Arc::clone(&plan.key_schema), &GroupOrdering::None)?;
                groups.intern(&keys, &mut Vec::new())?;
                (groups.len(), keys)
            }
        };
        for (state, aggregate) in self.states.iter_mut().zip(&plan.aggregates) {
            columns.extend(state.save(aggregate, count)?);
        }
        Ok((count, columns))
    }

    /// Returns the window that was saved, by columns of the schema that
    /// [`SavedWindow::schema`] gives.
    ///
    /// # Errors
    /// If the columns are not what was written.
    pub(crate) fn restore(plan: &QueryPlan, saved: SavedWindow, keeps: bool) -> Result<Self> {
        let SavedWindow { start, first_offset, failure, rows, columns } = saved;
        let mut window = Self::new(plan, start, first_offset, keeps)?;
        if keeps {
            if rows > 0 {
                let aggregates =
                    plan.aggregates.iter().map(|a| (a.inputs.len(), a.filter.is_some()));
                let keys = plan.key_schema.fields().len();
                let input = AggregateInput::from_arrays(columns, keys, aggregates)?;
                window.add(&input, rows, &mut Vec::new());
            }
        } else if failure.is_none() {
            let too_few = || internal_datafusion_err!("columns are missing");
            let keys = plan.key_schema.fields().len();
            let (keys, mut states) = columns.split_at_checked(keys).ok_or_else(too_few)?;
            if let Some(groups) = &mut window.groups {
                groups.intern(keys, &mut Vec::new())?;
                if groups.len() != rows {
                    return Err(internal_datafusion_err!("its groups are not distinct"));
                }
            }
            for (state, aggregate) in window.states.iter_mut().zip(&plan.aggregates) {
                let own = aggregate.saved_types()?.len();
                let (own, others) = states.split_at_checked(own).ok_or_else(too_few)?;
                *state = aggregate.restore(own, rows)?;
                states = others;
            }
        }
        window.failure = failure;
        Ok(window)
    }
}
