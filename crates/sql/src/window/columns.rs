//! The view's columns by the part they play in a forecast.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use tidecast_stream::SeriesKey;

use super::json;
use super::output::WindowError;
use super::query::is_instant;
use crate::spec::ForecastClause;

/// Reads series, time and values out of the view's rows.
pub(super) struct ViewColumns {
    series: Vec<usize>,
    /// The series columns' names.
    names: Vec<String>,
    time: usize,
    /// Targets, past covariates, future covariates.
    values: Vec<usize>,
    /// How many of these come before the future covariates.
    known_late: usize,
    converter: RowConverter,
}

/// By series the time of the step and the future covariates.
pub(super) type FutureBySeries = HashMap<Box<[u8]>, (i64, Vec<f64>)>;

/// The view's rows, read.
pub(super) struct ViewRows {
    /// The series, in a form that can be compared.
    pub(super) keys: Vec<Box<[u8]>>,
    times: ArrayRef,
    values: Vec<ArrayRef>,
}

impl ViewColumns {
    /// Finds the columns that `clause` names.
    ///
    /// # Errors
    /// If there is no such column, or its type will not do.
    pub(super) fn new(clause: &ForecastClause, schema: &SchemaRef) -> Result<Self, WindowError> {
        let column = |name: &String| {
            schema
                .index_of(name)
                .map_err(|_| WindowError::new(format!("the view has no column `{name}`")))
        };
        let series = clause.series.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let names = clause.targets.iter();
        let names = names.chain(&clause.past_covariates).chain(&clause.future_covariates);
        let values = names.map(column).collect::<Result<Vec<_>, _>>()?;
        let time = column(&clause.time)?;
        if !is_instant(schema.field(time).data_type()) {
            return Err(WindowError::new(format!("`{}` must be a timestamp", clause.time)));
        }
        for index in &values {
            let field = schema.field(*index);
            if !field.data_type().is_numeric() {
                let (name, found) = (field.name(), field.data_type());
                return Err(WindowError::new(format!("`{name}` is {found}, not a number")));
            }
        }
        let sort_fields =
            series.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
        let converter = RowConverter::new(sort_fields.collect()).map_err(from_arrow)?;
        Ok(Self {
            series,
            names: clause.series.clone(),
            time,
            values,
            known_late: clause.targets.len() + clause.past_covariates.len(),
            converter,
        })
    }

    /// Reads rows of the view.
    pub(super) fn read(&self, rows: &RecordBatch) -> Result<ViewRows, WindowError> {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let values = self.values.iter();
        let values = values.map(|index| cast(rows.column(*index), &DataType::Float64));
        Ok(ViewRows {
            keys: self.keys(rows)?,
            times: cast(rows.column(self.time), &instant).map_err(from_arrow)?,
            values: values.collect::<Result<_, _>>().map_err(from_arrow)?,
        })
    }

    /// Returns by series the step's time and the future covariates; of two rows
    /// of a series the first counts, as when the window closes.
    pub(super) fn future_by_series(
        &self,
        rows: &RecordBatch,
    ) -> Result<FutureBySeries, WindowError> {
        let read = self.read(rows)?;
        let mut found = FutureBySeries::with_capacity(rows.num_rows());
        for (row, key) in read.keys.iter().enumerate() {
            let Some(time) = read.time(row) else { continue };
            let values = || read.values(row).split_off(self.known_late);
            found.entry(key.clone()).or_insert_with(|| (time, values()));
        }
        Ok(found)
    }

    /// Returns the series of a row.
    pub(super) fn series_key(
        &self,
        rows: &RecordBatch,
        row: usize,
    ) -> Result<SeriesKey, WindowError> {
        let keys = self.series_keys(&rows.slice(row, 1))?;
        Ok(keys.into_iter().next().unwrap_or_default())
    }

    /// Returns the series of rows of the view.
    pub(super) fn series_keys(&self, rows: &RecordBatch) -> Result<Vec<SeriesKey>, WindowError> {
        let columns = self.series.iter().map(|index| Arc::clone(rows.column(*index)));
        self.named(columns.collect(), rows.num_rows())
    }

    /// Returns the series that these keys are of.
    pub(super) fn series_of(&self, keys: &[&[u8]]) -> Result<Vec<SeriesKey>, WindowError> {
        self.named(self.key_columns(keys), keys.len())
    }

    /// Returns the series of `count` rows of these series columns.
    fn named(&self, columns: Vec<ArrayRef>, count: usize) -> Result<Vec<SeriesKey>, WindowError> {
        if columns.is_empty() || count == 0 {
            return Ok(vec![SeriesKey::default(); count]);
        }
        let columns = self.names.iter().zip(columns).map(|(name, column)| (name, column, true));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).map_err(from_arrow)?;
        let texts = exact(&rows).and_then(|rows| json::objects(&rows)).map_err(from_arrow)?;
        let keys = texts.iter().map(|text| serde_json::from_str(text).map(SeriesKey));
        keys.collect::<Result<_, _>>().map_err(|error| WindowError::new(error.to_string()))
    }

    /// Returns the columns that some keys were made of; none without series
    /// columns.
    pub(super) fn key_columns(&self, keys: &[&[u8]]) -> Vec<ArrayRef> {
        let parser = self.converter.parser();
        let rows = keys.iter().map(|key| parser.parse(key));
        self.converter.convert_rows(rows).unwrap_or_default()
    }

    /// Returns the keys of `count` rows of these columns.
    pub(super) fn keys_of(
        &self,
        columns: &[ArrayRef],
        count: usize,
    ) -> Result<Vec<Box<[u8]>>, WindowError> {
        if self.series.is_empty() {
            return Ok(vec![Box::default(); count]);
        }
        let keys = self.converter.convert_columns(columns).map_err(from_arrow)?;
        Ok(keys.iter().map(|key| key.as_ref().into()).collect())
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>, WindowError> {
        if self.series.is_empty() {
            return Ok(vec![Box::default(); rows.num_rows()]);
        }
        let columns: Vec<ArrayRef> =
            self.series.iter().map(|index| rows.column(*index).clone()).collect();
        let keys = self.converter.convert_columns(&columns).map_err(from_arrow)?;
        Ok(keys.iter().map(|key| key.as_ref().into()).collect())
    }
}

impl fmt::Debug for ViewColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewColumns").field("values", &self.values).finish_non_exhaustive()
    }
}

impl ViewRows {
    /// Returns the time of a row's step in microseconds.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        let times = self.times.as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| times.value(row))
    }

    /// Returns a row's targets, past covariates and future covariates; NaN where
    /// one is missing or not finite.
    pub(super) fn values(&self, row: usize) -> Vec<f64> {
        self.values.iter().map(|column| value(column, row)).collect()
    }
}

/// Returns the columns with decimals as their exact text: as JSON numbers those of more
/// than 15 digits would become others.
fn exact(row: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = row.schema_ref().fields().iter().zip(row.columns()).map(|(field, column)| {
        let column = match column.data_type().is_decimal() {
            true => cast(column, &DataType::Utf8)?,
            false => Arc::clone(column),
        };
        Ok((field.name().clone(), column))
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
}

fn value(column: &ArrayRef, row: usize) -> f64 {
    if column.is_null(row) {
        return f64::NAN;
    }
    let value = column.as_primitive::<Float64Type>().value(row);
    // Adding nothing makes -0 a 0: in a ring -0 is a step without a row.
    if value.is_finite() { value + 0.0 } else { f64::NAN }
}

fn from_arrow(error: ArrowError) -> WindowError {
    WindowError::new(error.to_string())
}
