//! The series of a snapshot: a row each, some thousand to a batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
    UInt64Array, UInt64Builder,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, UInt64Type};
use arrow::error::ArrowError;
use tidecast_stream::SeriesKey;

use super::SnapshotError;
use crate::window::captured::{Captured, CapturedSeries};
use crate::window::ring::{Prior, RingParts, RunningPrior};

/// Series in a batch, so that the values of a batch are fewer than lists can count
/// (2^31) with the longest contexts.
const SERIES_PER_BATCH: usize = 8192;

/// Returns the series in batches of one schema, at least one; a batch is made when it is
/// its turn.
pub(super) fn batches(rings: &Captured) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    rings.in_order(SERIES_PER_BATCH).map(|series| {
        let series = series.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        batch(series)
    })
}

fn batch(series: CapturedSeries) -> Result<RecordBatch, ArrowError> {
    let CapturedSeries { keys, names, rings: parts } = series;
    let parts = &parts;
    let lists = |field: &dyn Fn(&RingParts, &mut ListBuilder<Float64Builder>)| -> ArrayRef {
        let mut builder = ListBuilder::new(Float64Builder::new());
        for part in parts {
            field(part, &mut builder);
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let counts = |field: &dyn Fn(&RunningPrior) -> u64| -> ArrayRef {
        let mut builder = ListBuilder::new(UInt64Builder::new());
        for part in parts {
            part.prior.iter().for_each(|prior| builder.values().append_value(field(prior)));
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let floats = |field: &dyn Fn(&RingParts) -> Vec<f64>| -> ArrayRef {
        let mut builder = ListBuilder::new(Float64Builder::new());
        for part in parts {
            builder.values().append_slice(&field(part));
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let whole = |field: &dyn Fn(&RingParts) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(parts.iter().map(field)))
    };
    let names = names.iter().map(SeriesKey::to_string);
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("series".into(), Arc::new(StringArray::from_iter_values(names))),
        (
            "serial".into(),
            Arc::new(UInt64Array::from_iter_values(parts.iter().map(|part| part.serial))),
        ),
        ("values".into(), lists(&|part, builder| builder.values().append_slice(&part.values))),
        (
            "prior_sum".into(),
            lists(&|part, builder| {
                part.prior.iter().for_each(|prior| builder.values().append_value(prior.known.sum));
            }),
        ),
        ("prior_count".into(), counts(&|prior| prior.known.count)),
        ("prior_last".into(), floats(&|part| part.prior.iter().map(|p| p.known.last).collect())),
        ("prior_leading".into(), counts(&|prior| prior.leading)),
        ("observed".into(), whole(&|part| part.observed as i64)),
        ("last_step".into(), whole(&|part| part.last_step)),
        ("last_time".into(), whole(&|part| part.last_time)),
        ("last_window".into(), whole(&|part| part.last_window)),
        ("lost".into(), Arc::new(Int64Array::from_iter(parts.iter().map(|part| part.lost)))),
    ];
    let own = keys.into_iter().enumerate();
    columns.extend(own.map(|(index, column)| (format!("key.{index}"), column)));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Returns what is known of the series of all batches.
pub(super) fn read(batches: &[RecordBatch]) -> Result<CapturedSeries, SnapshotError> {
    let (mut names, mut rings) = (Vec::new(), Vec::new());
    for batch in batches {
        Columns { batch }.read(&mut names, &mut rings)?;
    }
    let keys = read_keys(batches)?;
    Ok(CapturedSeries { keys, names, rings })
}

fn read_keys(batches: &[RecordBatch]) -> Result<Vec<ArrayRef>, SnapshotError> {
    let names = (0..).map(|index| format!("key.{index}"));
    let mut keys = Vec::new();
    for name in names {
        let parts: Vec<&dyn Array> =
            batches.iter().filter_map(|b| b.column_by_name(&name)).map(AsRef::as_ref).collect();
        if parts.is_empty() {
            break;
        }
        keys.push(concat(&parts)?);
    }
    Ok(keys)
}

/// The columns of the series' batch.
struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn column(&self, name: &str, wanted: &DataType) -> Result<&ArrayRef, SnapshotError> {
        let column = self.batch.column_by_name(name);
        let column = column.filter(|column| column.data_type() == wanted);
        column.ok_or_else(|| SnapshotError::Damaged(format!("it has no column `{name}`")))
    }

    fn whole(&self, name: &str) -> Result<&Int64Array, SnapshotError> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>())
    }

    fn list(&self, name: &str, of: DataType) -> Result<Vec<ArrayRef>, SnapshotError> {
        let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
        let column = self.column(name, &list)?.as_list::<i32>();
        Ok((0..column.len()).map(|row| column.value(row)).collect())
    }

    fn read(
        &self,
        names: &mut Vec<SeriesKey>,
        rings: &mut Vec<RingParts>,
    ) -> Result<(), SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(what.to_owned());
        let series = self.column("series", &DataType::Utf8)?.as_string::<i32>();
        let serial = self.column("serial", &DataType::UInt64)?.as_primitive::<UInt64Type>();
        let values = self.list("values", DataType::Float64)?;
        let sums = self.list("prior_sum", DataType::Float64)?;
        let counts = self.list("prior_count", DataType::UInt64)?;
        let lasts = self.list("prior_last", DataType::Float64)?;
        let leading = self.list("prior_leading", DataType::UInt64)?;
        let (observed, last_step) = (self.whole("observed")?, self.whole("last_step")?);
        let (last_time, last_window) = (self.whole("last_time")?, self.whole("last_window")?);
        let lost = self.whole("lost")?;
        for row in 0..self.batch.num_rows() {
            let name = serde_json::from_str(series.value(row));
            names.push(name.map_err(|error| damaged(&error.to_string()))?);
            let sums = sums[row].as_primitive::<Float64Type>();
            let counts = counts[row].as_primitive::<UInt64Type>();
            let lasts = lasts[row].as_primitive::<Float64Type>();
            let leading = leading[row].as_primitive::<UInt64Type>();
            let targets = sums.len();
            if [counts.len(), lasts.len(), leading.len()].iter().any(|len| *len != targets) {
                return Err(damaged("its sums are not of one length"));
            }
            let prior = (0..targets).map(|target| RunningPrior {
                known: Prior {
                    sum: sums.value(target),
                    count: counts.value(target),
                    last: lasts.value(target),
                },
                leading: leading.value(target),
            });
            rings.push(RingParts {
                serial: serial.value(row),
                values: values[row].as_primitive::<Float64Type>().values().to_vec(),
                prior: prior.collect(),
                observed: usize::try_from(observed.value(row))
                    .map_err(|_| damaged("a count is negative"))?,
                last_step: last_step.value(row),
                last_time: last_time.value(row),
                last_window: last_window.value(row),
                lost: lost.is_valid(row).then(|| lost.value(row)),
            });
        }
        Ok(())
    }
}
